//! Why the audit cannot be written or read.

use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

/// Why the audit cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The system refuses.
    #[error("cannot {doing} {}", path.display())]
    System {
        /// What was tried.
        doing: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another Squire has it.
    #[error("{} is in use by another squire: give each its own `audit.file` and `audit.anchor`", path.display())]
    InUse {
        /// Which file.
        path: PathBuf,
    },
    /// It is not a file of ours.
    #[error("{} {what}: {way_out}", path.display())]
    Foreign {
        /// Which file.
        path: PathBuf,
        /// What it is.
        what: &'static str,
        /// What to do.
        way_out: &'static str,
    },
    /// The anchor holds something else.
    #[error(
        "{} is no anchor of an audit: put its copy back, or remove it, and the audit begins anew with what was there set aside", path.display()
    )]
    NoAnchor {
        /// Which file.
        path: PathBuf,
    },
    /// There is none.
    #[error("there is no anchor at {}: nothing tells which lines the audit has to have", path.display())]
    Unanchored {
        /// Where.
        path: PathBuf,
    },
}

impl AuditError {
    /// Why a file could not be opened. No link is followed: where it leads to is another place than the one that was named.
    pub(super) fn of_opening(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        if source.raw_os_error() == Some(Errno::LOOP.raw_os_error()) {
            return Self::Foreign {
                path,
                what: "is a symbolic link",
                way_out: "remove it, or name the place that it leads to",
            };
        }
        Self::System { doing: "open", path, source }
    }
}
