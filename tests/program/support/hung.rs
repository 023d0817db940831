//! A file system that never answers, like a network file system whose server is gone: a FUSE file system whose server reads no request.
//!
//! *Invariant:* when it is dropped, every process that waits for it goes on, with an error.

use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};

/// A directory in which every operation hangs.
pub(crate) struct Hung {
    at: PathBuf,
    server: Option<File>,
}

impl Hung {
    /// Mounted on this directory.
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
