//! What is published, as data.
//!
//! *Invariant:* holds digests, never contents.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use crate::config::Mode;
use crate::names::Generation;
use crate::plan::Attributes;
use crate::render::RenderedFile;
use crate::secret::Digest;

use super::layout;

/// What is published now. The empty one is what a fresh directory has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    /// The generation that `..data` names.
    pub live: Option<Tree>,
    /// The generation that `..data_prev` names: the way back.
    pub previous: Option<Tree>,
    /// Older generations that are still there for slow readers.
    pub superseded: BTreeSet<Generation>,
    /// Generations whose directories somebody else made, so that we cannot.
    pub taken: BTreeSet<Generation>,
    /// The top-level names that have a stable link.
    pub exposed: BTreeSet<PathBuf>,
    /// What stands at absolute destinations.
    pub absolute: BTreeMap<PathBuf, Standing>,
    /// What a run that did not end well left behind.
    pub leftovers: Vec<Leftover>,
}

impl Manifest {
    /// The highest generation there is. The first release after a restart has to be numbered above it.
    pub fn highest(&self) -> Option<Generation> {
        let named = self.live.iter().chain(&self.previous).map(|tree| tree.generation);
        let half_made = self.leftovers.iter().filter_map(|leftover| match leftover {
            Leftover::Generation(generation) => Some(*generation),
            Leftover::Link(_) | Leftover::Temporary(_) => None,
        });
        named.chain(self.superseded.iter().copied()).chain(half_made).max()
    }

    /// What is published at this path of a release: in the live generation, or at an absolute destination.
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
    /// Its mode, and that of the directories in it, without the setgid bit that a directory may inherit.
    pub mode: Mode,
    /// Its files, by their path below it.
    pub files: BTreeMap<PathBuf, Entry>,
}

impl Tree {
    /// The directory that would hold these files.
    pub(super) fn of(generation: Generation, mode: Mode, files: &[&RenderedFile]) -> Self {
        Self {
            generation,
            mode: mode.without_setgid(),
            files: files.iter().map(|file| (file.path.clone(), Entry::of(file))).collect(),
        }
    }

    /// Whether both hold the same; the number does not matter.
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
    /// Tells whether its contents are others.
    pub digest: Digest,
    /// Who may read it.
    pub attributes: Attributes,
}

impl Entry {
    /// What this file is once it is published.
    pub(super) fn of(file: &RenderedFile) -> Self {
        Self { digest: file.digest, attributes: file.attributes }
    }

    /// Whether both are the same file, as far as that is known before a file system has given it its group.
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
    /// What it is.
    pub entry: Entry,
    /// Whether it is what we published. Only such a file is ever removed.
    pub ours: bool,
}

/// What a run that did not end well left behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Leftover {
    /// A generation that was never live.
    Generation(Generation),
    /// A link in `output.dir` that was not renamed into its place.
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
