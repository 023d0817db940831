//! Demands that a path is in memory, so that no secret reaches a disk.
//!
//! *Invariant:* only looks.

use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use rustix::fs::{FsWord, StatFs, fstatfs, statfs};
use rustix::io::Errno;

use super::PublishError;

const TMPFS: FsWord = 0x0102_1994;
const RAMFS: FsWord = 0x8584_58f6;

/// Demands that this path is on tmpfs or ramfs, or that disk is allowed. Where it is not there yet, the nearest directory
/// above it that is there is asked.
///
/// # Errors
/// [`PublishError::Disk`] names what it is on, and the ways out.
pub fn require_memory(path: &Path, allow_disk: bool) -> Result<(), PublishError> {
    for ancestor in path.ancestors() {
        match statfs(ancestor) {
            Ok(found) => return demand(&found, ancestor, allow_disk).map(drop),
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(cannot_ask(ancestor, errno)),
        }
    }
    Err(cannot_ask(path, Errno::NOENT))
}

/// The same for an open directory. Tells whether it is in memory.
pub(super) fn require_memory_of(fd: impl AsFd, path: &Path, allow_disk: bool) -> Result<bool, PublishError> {
    let found = fstatfs(fd).map_err(|errno| cannot_ask(path, errno))?;
    demand(&found, path, allow_disk)
}

fn demand(found: &StatFs, path: &Path, allow_disk: bool) -> Result<bool, PublishError> {
    let in_memory = matches!(found.f_type, TMPFS | RAMFS);
    if in_memory || allow_disk {
        return Ok(in_memory);
    }
    Err(PublishError::Disk { path: path.to_path_buf(), file_system: name(found.f_type) })
}

fn cannot_ask(path: &Path, errno: Errno) -> PublishError {
    PublishError::System {
        doing: "ask for the file system of",
        path: PathBuf::from(path),
        source: io::Error::from(errno),
    }
}

/// The names that `statfs(2)` has for the numbers met most.
fn name(kind: FsWord) -> String {
    let known = match kind {
        0xef53 => "ext4",
        0x5846_5342 => "xfs",
        0x9123_683e => "btrfs",
        0x794c_7630 => "overlayfs",
        0x2fc1_2fc1 => "zfs",
        0x6969 => "nfs",
        0x0102_1997 => "9p",
        0x6573_5546 => "fuse",
        other => return format!("a file system of type {other:#x}"),
    };
    known.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_is_not_there_yet_is_judged_by_the_directory_above() {
        require_memory(Path::new("/dev/shm/squire-not-there/deeper"), false).unwrap();
    }

    #[test]
    fn procfs_is_not_memory_of_ours() {
        let error = require_memory(Path::new("/proc/squire-not-there"), false).unwrap_err();
        assert_eq!(
            error.to_string(),
            "/proc is on a file system of type 0x9fa0, which may keep secrets on disk: use a directory on tmpfs (below \
             /dev/shm or /run, or a mounted one), or accept it with `allow_disk = true` in [output]"
        );
        require_memory(Path::new("/proc/squire-not-there"), true).unwrap();
    }
}
