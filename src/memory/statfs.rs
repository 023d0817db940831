//! Asks the system which file system a path is on.
//!
//! *Invariant:* only reads.

use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{fstatfs, statfs};
use rustix::io::Errno;

use super::{MemoryError, demand};

/// Requires that this path is on tmpfs or ramfs, or that disk is allowed. If it does not exist, the nearest existing directory above it is
/// asked.
///
/// # Errors
/// [`MemoryError::Disk`] names the file system, and what to do.
pub fn require(path: &Path, allow_disk: bool) -> Result<(), MemoryError> {
    for ancestor in path.ancestors() {
        match statfs(ancestor) {
            Ok(found) => return demand(found.f_type, ancestor, allow_disk).map(drop),
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(cannot_ask(ancestor, errno)),
        }
    }
    Err(cannot_ask(path, Errno::NOENT))
}

/// The same for an open directory; the path is only for the error. Tells whether it is in memory.
pub fn require_of(fd: impl AsFd, path: &Path, allow_disk: bool) -> Result<bool, MemoryError> {
    let found = fstatfs(fd).map_err(|errno| cannot_ask(path, errno))?;
    demand(found.f_type, path, allow_disk)
}

fn cannot_ask(path: &Path, errno: Errno) -> MemoryError {
    MemoryError::Unknown { path: path.to_path_buf(), source: io::Error::from(errno) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_is_not_there_yet_is_judged_by_the_directory_above() {
        require(Path::new("/dev/shm/squire-not-there/deeper"), false).unwrap();
    }

    #[test]
    fn procfs_is_not_memory_of_ours() {
        let error = require(Path::new("/proc/squire-not-there"), false).unwrap_err();
        assert_eq!(
            error.to_string(),
            "/proc is on a file system of type 0x9fa0, which may keep secrets on disk: use a directory on tmpfs (below \
             /dev/shm or /run, or a mounted one), or accept it with `allow_disk = true` in [output]"
        );
        require(Path::new("/proc/squire-not-there"), true).unwrap();
    }
}
