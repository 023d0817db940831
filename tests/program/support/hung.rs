//! A file system that never answers, as a network file system does whose server is gone: one of FUSE whose server reads no question.
//!
//! *Invariant:* whoever waits for it goes on, with an error, when it is dropped.

use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};

/// A directory in which everything hangs.
pub(crate) struct Hung {
    at: PathBuf,
    server: Option<File>,
}

impl Hung {
    /// Over this directory.
    #[track_caller]
    pub(crate) fn mount(at: &Path) -> Self {
        let server = OpenOptions::new().read(true).write(true).open("/dev/fuse").unwrap();
        let options = format!("fd={},rootmode=40000,user_id=0,group_id=0", server.as_raw_fd());
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        mount(Some("hung"), at, Some("fuse"), flags, Some(options.as_str())).unwrap();
        Self { at: at.to_owned(), server: Some(server) }
    }
}

impl Drop for Hung {
    fn drop(&mut self) {
        drop(self.server.take());
        umount2(&self.at, MntFlags::MNT_DETACH).ok();
    }
}
