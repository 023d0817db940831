//! Why a ledger, or a page of it, is of no use.
//!
//! *Invariant:* names paths and numbers, never what a page holds. Every one of them costs a new login, and nothing else.

use std::io;
use std::path::PathBuf;

use crate::memory::MemoryError;

/// Why a ledger, or a page of it, is of no use: it is ignored, and the token and the leases are made anew.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// Something else, or less than the beginning of a page.
    #[error("this is not a page of a ledger, or it is cut off: it is ignored")]
    NotAPage,
    /// From the future.
    #[error("this page has version {found}, and this squire knows only version {known}: it is ignored")]
    Version {
        /// The page's.
        found: u8,
        /// Ours.
        known: u8,
    },
    /// It does not open. Which of the reasons it is, the cipher cannot tell.
    #[error(
        "this page does not open: it was written under another login or another key, or was cut off or changed since; it is \
         ignored"
    )]
    Sealed,
    /// It opens, but we did not write it.
    #[error("this page opens, but is not laid out as version {version} is: it is ignored")]
    Layout {
        /// What it says it is.
        version: u8,
    },
    /// More than a page may have.
    #[error("the page would be larger than 16 MiB: it is not kept")]
    TooLarge,
    /// The page of one source.
    #[error("{path}")]
    Page {
        /// Where it is.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<LedgerError>,
    },
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
    /// The ledger would be on a disk, or nobody can say.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// Somebody else may read it, or put something else in its place.
    #[error("{path} {what}: {way_out}")]
    Exposed {
        /// The directory or the key.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
        /// What to do about it.
        way_out: &'static str,
    },
    /// Another agent has it.
    #[error("another squire uses the ledger {path}: give each a directory of its own")]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// The key is none.
    #[error("{path} is not a key: it has to be a file of 32 bytes; remove it and squire makes one")]
    NotAKey {
        /// The key file.
        path: PathBuf,
    },
}
