//! The published state, as data.
//!
//! *Invariant:* contains digests, never contents.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use crate::config::Mode;
use crate::names::Generation;
use crate::ordered::Order as _;
use crate::plan::Attributes;
use crate::render::RenderedFile;
use crate::secret::Digest;

use super::layout;

/// The present published state. A fresh directory has the empty one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    /// The generation that `..data` names.
    pub live: Option<Tree>,
    /// The generation that `..data_prev` names: the one to go back to.
    pub previous: Option<Tree>,
    /// Older generations that are still there for slow readers.
    pub superseded: BTreeSet<Generation>,
    /// Generation numbers whose directories another user made, so Squire cannot use them.
    pub taken: BTreeSet<Generation>,
    /// The top-level names that have a stable link.
    pub exposed: BTreeSet<PathBuf>,
    /// The files at absolute destinations.
    pub absolute: BTreeMap<PathBuf, Standing>,
    /// Files that an earlier run left behind because it was killed.
    pub leftovers: Vec<Leftover>,
}

impl Manifest {
    /// The highest generation number. The first release after a restart has to have a higher one.
    pub fn highest(&self) -> Option<Generation> {
        let named = self.live.iter().chain(&self.previous).map(|tree| tree.generation);
        let half_made = self.leftovers.iter().filter_map(|leftover| match leftover {
            Leftover::Generation(generation) => Some(*generation),
            Leftover::Link(_) | Leftover::Temporary(_) => None,
        });
        named.chain(self.superseded.iter().copied()).chain(half_made).max()
    }

    /// The published file at this path of a release: in the live generation, or at an absolute destination.
    pub fn entry(&self, path: &Path) -> Option<&Entry> {
        if path.is_absolute() {
            self.absolute.get(path).map(|standing| &standing.entry)
        } else {
            self.live.as_ref()?.files.get(path)
        }
    }
}

/// One generation directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tree {
    /// Its number.
    pub generation: Generation,
    /// Its mode, and that of its directories, without the setgid bit that a directory may inherit.
    pub mode: Mode,
    /// Its files, by their path below it.
    pub files: BTreeMap<PathBuf, Entry>,
}

impl Tree {
    /// The directory for these files.
    pub(super) fn of(generation: Generation, mode: Mode, files: &[&RenderedFile]) -> Self {
        Self {
            generation,
            mode: mode.without_setgid(),
            files: files.iter().map(|file| (file.path.clone(), Entry::of(file))).ordered(),
        }
    }

    /// Whether both have the same contents; the number does not matter.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        self.mode == other.mode
            && self.files.len() == other.files.len()
            && self
                .files
                .iter()
                .all(|(path, entry)| other.files.get(path).is_some_and(|file| file.agrees(entry)))
    }
}

/// One published file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// A digest that tells whether its contents differ.
    pub digest: Digest,
    /// Its mode and owners.
    pub attributes: Attributes,
}

impl Entry {
    /// The entry of this file once it is published.
    pub(super) fn of(file: &RenderedFile) -> Self {
        Self { digest: file.digest, attributes: file.attributes }
    }

    /// Whether both are the same file, as far as that is known before a file system has chosen its group.
    pub(super) fn agrees(&self, other: &Self) -> bool {
        let (one, another) = (&self.attributes, &other.attributes);
        self.digest == other.digest
            && (one.mode, one.owner) == (another.mode, another.owner)
            && one.group.agrees(another.group)
    }
}

/// A file at an absolute destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Its entry.
    pub entry: Entry,
    /// Whether it is what Squire published. Only such a file is ever removed.
    pub ours: bool,
}

/// A file that a killed run left behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Leftover {
    /// A generation that was never live.
    Generation(Generation),
    /// A link, a file or an empty directory in `output.dir` that was not renamed to its final name.
    Link(PathBuf),
    /// A file that was not renamed over its absolute destination.
    Temporary(PathBuf),
}

impl fmt::Display for Leftover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Generation(generation) => f.write_str(&layout::directory(*generation)),
            Self::Link(path) | Self::Temporary(path) => write!(f, "{}", path.display()),
        }
    }
}
