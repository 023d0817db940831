//! A small tmpfs of the test's own, which can become full and read-only.
//!
//! *Invariant:* it is unmounted when it is dropped.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{SOON, wait_until};

/// Mounts, or changes a mount.
#[track_caller]
pub(crate) fn mount(arguments: &[&str]) {
    let output = Command::new("mount").args(arguments).output().unwrap();
    assert!(output.status.success(), "mount {arguments:?} (are we root?): {output:?}");
}

/// Unmounts it with all mounts below, lazily: a process that another test forked may hold a file of it until it executes its program.
#[track_caller]
pub(crate) fn unmount(at: &Path) {
    let output = Command::new("umount").args(["-R", "-l"]).arg(at).output().unwrap();
    assert!(output.status.success(), "umount {}: {output:?}", at.display());
}

/// A mounted tmpfs.
pub(crate) struct Tmpfs {
    at: PathBuf,
}

impl Tmpfs {
    /// Mounted on this directory, which is made; 64 KiB.
    pub(crate) fn mount(at: &Path) -> Self {
        fs::create_dir_all(at).unwrap();
        mount(&["-t", "tmpfs", "-o", "size=64k,mode=755", "test", at.to_str().unwrap()]);
        Self { at: at.to_owned() }
    }

    /// Makes it read-only, as soon as no process has a file open for writing.
    #[track_caller]
    pub(crate) fn turn_read_only(&self) {
        let remount = || Command::new("mount").args(["-o", "remount,ro"]).arg(&self.at).output().unwrap();
        wait_until(SOON, "it turns read-only", || remount().status.success());
    }

    /// Makes it writable again.
    pub(crate) fn turn_writable(&self) {
        mount(&["-o", "remount,rw", self.at.to_str().unwrap()]);
    }

    /// Leaves no room for a single byte.
    pub(crate) fn fill(&self) {
        let mut file = OpenOptions::new().create(true).append(true).open(self.at.join("ballast")).unwrap();
        while file.write_all(&[0; 512]).is_ok() {}
    }

    /// Makes room again.
    pub(crate) fn make_room(&self) {
        fs::remove_file(self.at.join("ballast")).unwrap();
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        Command::new("umount").arg("-l").arg(&self.at).status().ok();
    }
}
