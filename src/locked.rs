//! A lock that says: one Squire here, and no other.
//!
//! The kernel takes it off with the last copy of its descriptor. A Squire that is killed while it starts a process leaves one in the child,
//! which closes it as it becomes its program. So a lock that is held is tried again for a moment.

use std::os::fd::AsFd;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

/// From a fork to the program it takes milliseconds.
const LONG_ENOUGH: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(20);

/// Locks an open file or directory; `false` where somebody else has it and keeps it. Blocks for a second at most.
///
/// # Errors
/// Where the file system has no locks.
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
