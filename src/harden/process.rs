//! Makes the process one that is not dumped, and that others of the same user cannot look into.
//!
//! *Invariant:* the hard limit stays, so that a child can have back what was there.

use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::config::Limit;

/// No core dumps, no ptrace and no `/proc/PID/mem` for who is not root. Answers the limits that a child is to have back. To be called
/// early; a program that is executed is as others are.
pub fn seal() -> Vec<Limit> {
    if let Err(error) = prctl::set_dumpable(false) {
        tracing::warn!(%error, "other processes of this user can look into this one");
    }
    let resource = Resource::RLIMIT_CORE;
    let lowered = getrlimit(resource).and_then(|(soft, hard)| {
        setrlimit(resource, 0, hard)?;
        Ok(Limit { resource, soft, hard })
    });
    match lowered {
        Ok(limit) => vec![limit],
        Err(error) => {
            tracing::warn!(%error, "the size of core dumps cannot be limited");
            Vec::new()
        }
    }
}
