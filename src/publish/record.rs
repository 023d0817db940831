//! Records, beside the published files, of which files are Squire's own, for later runs: after SIGKILL too.
//!
//! ```text
//! /etc/app/.app.key.squire   beside an absolute destination: the files that Squire put there
//! OUTPUT/..published         or `published.json` in the ledger: where a run publishes
//! ```
//!
//! Without the first, nobody could tell Squire's file from one that was there before. Without the second, a run with another configuration
//! would not know where to look.
//!
//! *Invariant:* contains paths and numbers, and nothing of the files' contents. A record that cannot be read counts as missing, and is no
//! error.

use std::path::PathBuf;

use rustix::fs::Stat;
use serde::{Deserialize, Serialize};

/// The files that Squire put at one destination: the present one, and the next one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) files: Vec<Identity>,
}

impl Record {
    /// Adds a file that was prepared. Of the older ones only the one at the destination still counts.
    pub(super) fn with(&self, standing: Option<Identity>, prepared: Identity) -> Self {
        let kept = standing.filter(|standing| self.files.contains(standing));
        Self { files: kept.into_iter().chain([prepared]).collect() }
    }
}

/// Tells a file from every other file of that name, and from itself after somebody wrote to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    inode: u64,
    /// Seconds and nanoseconds.
    modified: (i64, u64),
    size: i64,
}

impl Identity {
    /// Whether it is the same file, whoever wrote to it since.
    pub(super) fn is_same_file(self, other: Self) -> bool {
        self.inode == other.inode
    }

    #[expect(clippy::useless_conversion, reason = "the types of these fields differ between architectures")]
    pub(super) fn of(found: &Stat) -> Self {
        Self {
            inode: found.st_ino.into(),
            modified: (found.st_mtime.into(), found.st_mtime_nsec.into()),
            size: found.st_size.into(),
        }
    }
}

/// Where a run publishes. What it could not remove, since it was killed, the next run does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Roster {
    /// Output directories of which everything is to be removed.
    pub outputs: Vec<PathBuf>,
    /// Absolute destinations of which everything is to be removed.
    pub absolute: Vec<PathBuf>,
    /// Absolute destinations where what is published stays for others, and only what is being staged is to be removed.
    pub staged: Vec<PathBuf>,
}

impl Roster {
    /// That of a run that publishes here, and removes all of it at its end or leaves it.
    pub fn new(output: Option<&PathBuf>, absolute: &[PathBuf], sweeps: bool) -> Self {
        if sweeps {
            Self {
                outputs: output.cloned().into_iter().collect(),
                absolute: absolute.to_vec(),
                staged: Vec::new(),
            }
        } else {
            Self { staged: absolute.to_vec(), ..Self::default() }
        }
    }

    /// Takes in what another one still has to say.
    pub fn extend(&mut self, other: Self) {
        self.outputs.extend(other.outputs);
        self.absolute.extend(other.absolute);
        self.staged.extend(other.staged);
    }
}
