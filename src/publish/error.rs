//! Why something could not be published.
//!
//! *Invariant:* names paths, never contents.

use std::io;
use std::path::PathBuf;

use crate::memory::MemoryError;

/// Why something could not be published. What was live before is live still.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// A system call failed.
    #[error("cannot {doing} {path}")]
    System {
        /// What we were doing: a verb, with its preposition where it needs one.
        doing: &'static str,
        /// To which path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Secrets would reach a disk, or nobody can say.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// Somebody else's file has a name that we need.
    #[error("{path} is there already and is not Squire's: remove it, or give the file another path")]
    Foreign {
        /// The name.
        path: PathBuf,
    },
    /// A file would take one of our own names.
    #[error("{path} begins with `..`, which is reserved in the output directory: give the file another path")]
    Reserved {
        /// The name.
        path: PathBuf,
    },
    /// This cannot be the output directory, or an absolute destination.
    #[error("{path} is {kind}: {way_out}")]
    Unfit {
        /// The path.
        path: PathBuf,
        /// What it is.
        kind: &'static str,
        /// What to do about it.
        way_out: &'static str,
    },
    /// The directory of an absolute destination is missing.
    #[error(
        "the directory {parent} of {path} is not there: make it first, or write `make_dir = true` in its [[file]]"
    )]
    NoParent {
        /// The directory.
        parent: PathBuf,
        /// The destination.
        path: PathBuf,
    },
    /// Somebody wrote to a file of ours, which is therefore not removed.
    #[error("{path} stays: somebody else wrote to it after Squire did; remove it yourself")]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// Whoever did it could show readers what they like.
    #[error(
        "{path} is another directory than when Squire started: put the former one back, or start Squire again"
    )]
    Exchanged {
        /// The output directory.
        path: PathBuf,
    },
    /// Who owns the directory could exchange what is published in it.
    #[error(
        "{path} belongs to user {owner}, who could put files of their own in the place of Squire's, or read them: publish elsewhere, give it \
         to root or to Squire's user, or say with `owner` or `process.user` that the files are for that user"
    )]
    Theirs {
        /// The directory.
        path: PathBuf,
        /// Its owner.
        owner: u32,
    },
    /// Two would remove each other's files.
    #[error("another Squire publishes in {path}: give each a directory of its own, or end the other first")]
    Shared {
        /// The output directory.
        path: PathBuf,
    },
    /// There is a relative file, and no place for it.
    #[error("a relative file needs `dir` in [output]")]
    NoDirectory,
    /// A generation that is live, or the way back.
    #[error("{path} is still in use and cannot be removed")]
    InUse {
        /// Its directory.
        path: PathBuf,
    },
}
