//! The lock that lets only one Squire use a directory.
//!
//! The kernel releases the lock with the last copy of its descriptor. If a Squire is killed while it starts a process, the child still has
//! a copy, and closes it when it becomes its program. So a lock that is held is tried again for a moment.

use std::os::fd::AsFd;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

/// A child takes milliseconds from the fork to its program.
const LONG_ENOUGH: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(20);

/// Locks an open file or directory; returns `false` if another process holds the lock and keeps it. Blocks for a second at most.
///
/// # Errors
/// When the file system has no locks.
pub fn lock(file: impl AsFd) -> Result<bool, Errno> {
    let begun = Instant::now();
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(true),
            Err(Errno::WOULDBLOCK) if begun.elapsed() < LONG_ENOUGH => thread::sleep(PAUSE),
            Err(Errno::WOULDBLOCK) => return Ok(false),
            Err(errno) => return Err(errno),
        }
    }
}
