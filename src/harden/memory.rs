//! Locks Squire's memory, so that no page of it reaches a swap device.
//!
//! *Invariant:* all of it or nothing: if the limit is too small for later allocations, nothing is locked, since allocations and threads
//! fail when the limit is hit.

use std::fs;

use nix::errno::Errno;
use nix::libc::RLIM_INFINITY;
use nix::sys::mman::{MlockAllFlags, mlockall};
use nix::sys::resource::{Resource, getrlimit};

/// Squire's address space, including stacks and reserves of the allocator, stays well below this, in bytes.
const ENOUGH: u64 = 256 << 20;

/// The number of `CAP_IPC_LOCK`; a process with it has no limit.
const CAP_IPC_LOCK: u32 = 14;

/// Why nothing is locked.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// There may not be room for later allocations.
    #[error(
        "the limit for locked memory is {limit} bytes, and {ENOUGH} are needed: raise it (LimitMEMLOCK=, --ulimit memlock=), or give \
         Squire CAP_IPC_LOCK"
    )]
    Limited {
        /// The soft limit.
        limit: u64,
    },
    /// The system refuses.
    #[error("the system refuses to lock memory")]
    Refused(#[source] Errno),
}

/// Locks the present and all later memory.
pub fn lock() -> Result<(), LockError> {
    let (limit, _) = getrlimit(Resource::RLIMIT_MEMLOCK).map_err(LockError::Refused)?;
    if limit != RLIM_INFINITY && limit < ENOUGH && !is_capable() {
        return Err(LockError::Limited { limit });
    }
    mlockall(MlockAllFlags::MCL_CURRENT | MlockAllFlags::MCL_FUTURE).map_err(LockError::Refused)
}

fn is_capable() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = effective.and_then(|set| u64::from_str_radix(set.trim(), 16).ok());
    effective.is_some_and(|set| set & (1 << CAP_IPC_LOCK) != 0)
}
