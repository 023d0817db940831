//! Mounts the file system for secrets: a tmpfs that everybody sees, or one in a mount namespace of Squire's own.
//!
//! *Invariant:* called before any thread is started, since only a single thread can enter another mount namespace. A tmpfs that is already
//! there is used and not covered; one with files on it is not unmounted.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags, statx};

use crate::config::{MountConfig, MountKind};
use crate::memory;

/// Why the file system is missing.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    /// The directory to mount on.
    #[error("cannot make the directory {}", dir.display())]
    Directory {
        /// Which one.
        dir: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// Mounting needs `CAP_SYS_ADMIN`.
    #[error(
        "may not mount a tmpfs on {}: that needs CAP_SYS_ADMIN; give Squire that, or let the platform mount one (an emptyDir with \
         medium: Memory, --tmpfs, RuntimeDirectory= below /run) and leave `mount` out", dir.display()
    )]
    Forbidden {
        /// Where.
        dir: PathBuf,
    },
    /// The system refuses.
    #[error("cannot mount a tmpfs on {}: {doing} failed", dir.display())]
    System {
        /// Where.
        dir: PathBuf,
        /// The operation.
        doing: &'static str,
        /// The system's error.
        source: Errno,
    },
}

/// A file system that Squire mounted. It is unmounted when this is dropped, unless there are files on it.
#[derive(Debug)]
pub struct Mounted {
    dir: PathBuf,
}

/// Mounts the wanted file system; `None` if it is already there.
pub fn mount_output(config: &MountConfig) -> Result<Option<Mounted>, MountError> {
    let MountConfig { kind, dir, size } = config;
    fs::create_dir_all(dir).map_err(|source| MountError::Directory { dir: dir.clone(), source })?;
    match kind {
        MountKind::Tmpfs if is_mounted(dir) => return Ok(None),
        MountKind::Tmpfs => {}
        MountKind::Private => leave(dir)?,
    }
    let flags = MsFlags::MS_NODEV | MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
    let with = |more: &str| {
        let options = format!("mode=0755,size={size}{more}");
        mount(Some("squire"), dir, Some("tmpfs"), flags, Some(options.as_str()))
    };
    let mut mounted = with(",noswap");
    if mounted == Err(Errno::EINVAL) {
        // This option fails before Linux 6.4, and in user namespaces.
        tracing::warn!(dir = %dir.display(), "the kernel may swap this tmpfs out: it does not know noswap here");
        mounted = with("");
    }
    mounted.map_err(refused(dir, "mounting"))?;
    tracing::info!(dir = %dir.display(), size, private = *kind == MountKind::Private, "tmpfs mounted");
    Ok(Some(Mounted { dir: dir.clone() }))
}

/// Enters a mount namespace of Squire's own. It still gets later mounts of the host, but nobody else sees Squire's mounts.
fn leave(dir: &Path) -> Result<(), MountError> {
    unshare(CloneFlags::CLONE_NEWNS).map_err(refused(dir, "leaving the mount namespace"))?;
    let flags = MsFlags::MS_REC | MsFlags::MS_SLAVE;
    mount(None::<&str>, "/", None::<&str>, flags, None::<&str>)
        .map_err(refused(dir, "keeping its mounts apart"))
}

fn refused(dir: &Path, doing: &'static str) -> impl Fn(Errno) -> MountError {
    move |source| {
        let dir = dir.to_owned();
        if matches!(source, Errno::EPERM | Errno::EACCES) {
            MountError::Forbidden { dir }
        } else {
            MountError::System { dir, doing, source }
        }
    }
}

/// Whether a file system in memory is mounted exactly here.
fn is_mounted(dir: &Path) -> bool {
    let found = statx(CWD, dir, AtFlags::empty(), StatxFlags::TYPE);
    let is_root = found.is_ok_and(|found| found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT));
    is_root && memory::require(dir, false).is_ok()
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let dir = &self.dir;
        if fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some()) {
            return;
        }
        if let Err(error) = umount2(dir, MntFlags::MNT_DETACH) {
            tracing::warn!(dir = %dir.display(), %error, "tmpfs not unmounted");
        }
    }
}
