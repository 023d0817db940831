//! The single steps of publishing.
//!
//! *Invariant:* a step is data; it names everything it needs, and contains no contents.

use std::fmt;
use std::path::PathBuf;

use crate::config::Mode;
use crate::names::Generation;
use crate::render::RenderedFile;

use super::layout;
use super::manifest::{Entry, Leftover};

/// One step. For readers of published files, each is done as a whole or not at all.
#[derive(Clone, Debug)]
pub enum Step {
    /// Remove half-made files of an earlier run.
    Clear(Leftover),
    /// Check that this top-level name is free, or Squire's.
    Claim(PathBuf),
    /// Make the directory of a generation.
    MakeGeneration(Generation),
    /// Make a directory in it.
    MakeDirectory {
        /// The generation.
        generation: Generation,
        /// Its path there.
        path: PathBuf,
    },
    /// Link an unchanged file into the new generation; write it anew if that is not possible.
    Link {
        /// The generation that has the file.
        from: Generation,
        /// The generation that gets it.
        to: Generation,
        /// The file.
        file: RenderedFile,
    },
    /// Write a file whole, then give it its group, its mode and its owner.
    Write {
        /// The generation.
        generation: Generation,
        /// The file.
        file: RenderedFile,
    },
    /// Give a directory its final mode.
    Seal {
        /// The generation.
        generation: Generation,
        /// Its path there; empty for the generation itself.
        path: PathBuf,
        /// The mode.
        mode: Mode,
    },
    /// Prepare the link that will become `..data`.
    Point(Generation),
    /// Write the file that will replace an absolute destination, beside it.
    Prepare {
        /// The file.
        file: RenderedFile,
        /// The destination.
        temporary: PathBuf,
    },
    /// Make the prepared link `..data`.
    Swap {
        /// The generation that was live; the prepared link names it afterwards.
        from: Option<Generation>,
        /// The generation that becomes live.
        to: Generation,
    },
    /// Exchange `..data` and `..data_prev`.
    Exchange {
        /// The generation that was live.
        from: Generation,
        /// The generation that becomes live again.
        to: Generation,
    },
    /// Make the stable link of a top-level name.
    Expose(PathBuf),
    /// Rename the prepared file over an absolute destination.
    Replace {
        /// The destination.
        path: PathBuf,
        /// The prepared file.
        temporary: PathBuf,
    },
    /// Remove the stable link of a top-level name.
    Withdraw(PathBuf),
    /// Remove an absolute file, if it is still as Squire published it.
    Delete {
        /// Its path.
        path: PathBuf,
        /// The entry as it was published.
        entry: Entry,
    },
    /// Make `..data_prev` name the first generation, so that nobody else takes the name.
    Reserve(Generation),
    /// Make `..data_prev` name the generation that was live before.
    Remember {
        /// That generation.
        from: Generation,
        /// The live one.
        to: Generation,
    },
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let directory = |generation: &Generation| layout::directory(*generation);
        match self {
            Self::Clear(leftover) => write!(f, "clear {leftover}"),
            Self::Claim(name) => write!(f, "claim {}", name.display()),
            Self::MakeGeneration(generation) => write!(f, "make {}", directory(generation)),
            Self::MakeDirectory { generation, path } => {
                write!(f, "make {}/{}", directory(generation), path.display())
            }
            Self::Link { from, to, file } => {
                write!(f, "link {}/{} to {}", directory(from), file.path.display(), directory(to))
            }
            Self::Write { generation, file } => {
                write!(f, "write {}/{}", directory(generation), file.path.display())
            }
            Self::Seal { generation, path, mode } => {
                write!(f, "seal {}/{} {mode}", directory(generation), path.display())
            }
            Self::Point(generation) => write!(f, "point at {}", directory(generation)),
            Self::Prepare { file, .. } => write!(f, "prepare {}", file.path.display()),
            Self::Swap { from: Some(from), to } => {
                write!(f, "swap {} for {}", directory(from), directory(to))
            }
            Self::Swap { from: None, to } => write!(f, "swap in {}", directory(to)),
            Self::Exchange { from, to } => write!(f, "exchange {} for {}", directory(from), directory(to)),
            Self::Expose(name) => write!(f, "expose {}", name.display()),
            Self::Replace { path, .. } => write!(f, "replace {}", path.display()),
            Self::Withdraw(name) => write!(f, "withdraw {}", name.display()),
            Self::Delete { path, .. } => write!(f, "delete {}", path.display()),
            Self::Reserve(generation) => write!(f, "reserve for {}", directory(generation)),
            Self::Remember { from, .. } => write!(f, "remember {}", directory(from)),
        }
    }
}
