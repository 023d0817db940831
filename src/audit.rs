//! The agent's audit: a line for each thing that it did with a secret, each bound to all lines before it.
//!
//! The chain is that of the store's audit (`crate::chain`). It is made under a key, which the anchor has: a small file elsewhere, with the
//! newest link. Whoever can write the audit, but not the anchor, can neither change, remove nor add a line without being found; `docs/audit.md`
//! says who can hide what.
//!
//! ```text
//! audit.jsonl         the lines, newest at the end
//! audit.jsonl.41      a full file, named by the number of its first line
//! audit.anchor        elsewhere: which chain, its key, its oldest and its newest line
//! audit.anchor.lock   locked while a Squire writes
//! ```
//!
//! *Invariant:* `line`, `verify`, `report` and this file are pure; `file`, `anchor`, `read` and `writer` act. No line holds a value.

pub mod anchor;
mod error;
pub mod file;
pub mod line;
pub mod read;
pub mod report;
pub mod verify;
pub mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

pub use error::AuditError;

/// Whether a new secret may be fetched: the audit decides, and keepers ask it before a question.
#[derive(Clone, Debug, Default)]
pub struct Gate(Arc<AtomicBool>);

impl Gate {
    /// Whether nothing new may be fetched now.
    pub fn is_closed(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    fn set_closed(&self, is_closed: bool) {
        self.0.store(is_closed, Ordering::Relaxed);
    }
}

/// Why a secret is not fetched while the gate is closed.
pub const CLOSED: &str =
    "the audit cannot be written, and with audit.on_failure = \"refuse\" nothing new is fetched until it can";

/// The name of a full file whose first line has this number.
fn full_name(file: &Path, first: u64) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(format!(".{first}"));
    PathBuf::from(name)
}
