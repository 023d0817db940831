//! Lets the process leave no core dump, and keeps other processes of the same user from looking into it.
//!
//! *Invariant:* the hard limit stays, so that a child can get the first limit back.

use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::config::Limit;

/// No other process of this user looks into this one. For every command, and before anything else: where containers share their processes and a
/// user, the `squire status` of a probe would be a way into Squire's container, by `/proc/PID/root`. [`seal`] says it if that is not possible.
pub fn shield() {
    prctl::set_dumpable(false).ok();
}

/// No core dumps, and no ptrace and no `/proc/PID/mem` except for root. Returns the limits that a child gets back. Call it early; a program
/// that is executed later is not affected.
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
