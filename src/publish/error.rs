//! Why a release could not be published.
//!
//! *Invariant:* contains paths, never contents.

use std::io;
use std::path::PathBuf;

use crate::memory::MemoryError;

/// Why a release could not be published. The live release is still live.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// A system call failed.
    #[error("cannot {doing} {path}")]
    System {
        /// The operation: a verb, with its preposition if it needs one.
        doing: &'static str,
        /// The path.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// Secrets would reach a disk, or the file system is unknown.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// Another user's file has a name that Squire needs.
    #[error("{path} is there already and is not Squire's: remove it, or give the file another path")]
    Foreign {
        /// The name.
        path: PathBuf,
    },
    /// A file would have one of Squire's own names.
    #[error("{path} begins with `..`, which is reserved in the output directory: give the file another path")]
    Reserved {
        /// The name.
        path: PathBuf,
    },
    /// This path cannot be the output directory, or an absolute destination.
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
    /// Somebody wrote to one of Squire's files, so it is not removed.
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
    /// Two instances of Squire would remove each other's files.
    #[error("another Squire publishes in {path}: give each a directory of its own, or end the other first")]
    Shared {
        /// The output directory.
        path: PathBuf,
    },
    /// There is a relative file, but no output directory.
    #[error("a relative file needs `dir` in [output]")]
    NoDirectory,
    /// The generation is live, or the previous one.
    #[error("{path} is still in use and cannot be removed")]
    InUse {
        /// Its directory.
        path: PathBuf,
    },
}
