//! Tells whether a path is in memory, so that no secret reaches a disk. Every place for plaintext, or for keys to it, is checked.
//!
//! *Invariant:* pure; `memory/statfs.rs` asks.

mod statfs;

use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::FsWord;

pub use statfs::{require, require_of};

const TMPFS: FsWord = 0x0102_1994;
const RAMFS: FsWord = 0x8584_58f6;

/// Why a path may not hold secrets.
#[derive(Debug, thiserror::Error)]
pub enum MemoryError {
    /// Secrets would reach a disk.
    #[error(
        "{path} is on {file_system}, which may keep secrets on disk: use a directory on tmpfs (below /dev/shm or /run, or a \
         mounted one), or accept it with `allow_disk = true` in [output]"
    )]
    Disk {
        /// The path, or the nearest existing directory above it.
        path: PathBuf,
        /// The file system that it is on.
        file_system: String,
    },
    /// The system gives no answer.
    #[error("cannot ask for the file system of {path}")]
    Unknown {
        /// The path that was asked about.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

/// Judges a path by the number that `statfs(2)` gives its file system. Tells whether the path is in memory.
fn demand(file_system: FsWord, path: &Path, allow_disk: bool) -> Result<bool, MemoryError> {
    let in_memory = matches!(file_system, TMPFS | RAMFS);
    if in_memory || allow_disk {
        return Ok(in_memory);
    }
    Err(MemoryError::Disk { path: path.to_path_buf(), file_system: name(file_system) })
}

/// Names for the most common numbers of `statfs(2)`.
fn name(file_system: FsWord) -> String {
    let known = match file_system {
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
