//! The lock by which only one Squire publishes in an output directory.
//!
//! The adversary is another user of the machine, who could lock every file that he can open, and so stop Squire. So the lock is on a file
//! that only Squire's user can open.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Mode as Bits, OFlags, fstat, openat, statat, unlinkat};
use rustix::io::Errno;

use super::directory::{Directory, Symlink, failed};
use super::{PublishError, layout};
use crate::config::OutputConfig;
use crate::locked::lock;

/// The lock of an output directory. If a killed Squire left the file behind, it is not locked.
#[derive(Debug)]
pub struct OutputLock {
    directory: OwnedFd,
    _file: OwnedFd,
}

impl OutputLock {
    /// Takes the lock; `None` if there is no output directory.
    ///
    /// # Errors
    /// [`PublishError::Shared`] while another Squire has it, [`PublishError::Foreign`] if another user made its file.
    pub fn take(output: &OutputConfig) -> Result<Option<Self>, PublishError> {
        let Some(path) = &output.dir else { return Ok(None) };
        let open = Directory::open(path, Symlink::Refused, output.allow_disk)?;
        let directory = open.ok_or_else(|| failed("open", path.clone(), Errno::NOENT))?;
        // Its former holder removes the file, so the locked file may be gone by then.
        loop {
            let file = file(&directory)?;
            let locked = lock(&file).map_err(|errno| failed("lock", directory.path(layout::LOCK), errno))?;
            if !locked {
                return Err(PublishError::Shared { path: path.clone() });
            }
            if is_there(&directory, &file) {
                return Ok(Some(Self { directory: directory.fd, _file: file }));
            }
        }
    }
}

impl OutputLock {
    /// Whether what is locked still is the output directory, and not one that somebody put in its place.
    ///
    /// # Errors
    /// [`PublishError::Exchanged`] where it is not.
    pub fn require_current(&self, output: &OutputConfig) -> Result<(), PublishError> {
        let Some(path) = &output.dir else { return Ok(()) };
        let named = statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW);
        match (named, fstat(&self.directory)) {
            (Ok(named), Ok(locked)) if (named.st_dev, named.st_ino) == (locked.st_dev, locked.st_ino) => {
                Ok(())
            }
            _ => Err(PublishError::Exchanged { path: path.clone() }),
        }
    }
}

impl Drop for OutputLock {
    fn drop(&mut self) {
        // Removed before it is unlocked, so that the file of another Squire is never removed. If it stays, it is not locked.
        unlinkat(&self.directory, layout::LOCK, AtFlags::empty()).unwrap_or_default();
    }
}

fn file(directory: &Directory) -> Result<OwnedFd, PublishError> {
    let foreign = || PublishError::Foreign { path: directory.path(layout::LOCK) };
    // Not opened for writing: a file system with a file that is open for writing cannot be made read-only.
    let flags = OFlags::RDONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file =
        openat(directory, layout::LOCK, flags, Bits::RUSR | Bits::WUSR).map_err(|errno| match errno {
            Errno::ACCESS | Errno::LOOP | Errno::ISDIR | Errno::NXIO => foreign(),
            errno => failed("open", directory.path(layout::LOCK), errno),
        })?;
    let found = fstat(&file).map_err(|errno| failed("look at", directory.path(layout::LOCK), errno))?;
    let is_own = [0, nix::unistd::geteuid().as_raw()].contains(&found.st_uid);
    if is_own { Ok(file) } else { Err(foreign()) }
}

fn is_there(directory: &Directory, file: &OwnedFd) -> bool {
    let named = statat(directory, Path::new(layout::LOCK), AtFlags::SYMLINK_NOFOLLOW);
    let (Ok(named), Ok(locked)) = (named, fstat(file)) else { return false };
    (named.st_dev, named.st_ino) == (locked.st_dev, locked.st_ino)
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::config::Mode;

    fn output(directory: &Path) -> OutputConfig {
        OutputConfig { dir: Some(directory.to_owned()), dir_mode: Mode::new(0o755), allow_disk: true }
    }

    #[test]
    fn a_directory_has_one_publisher_at_a_time() {
        let directory = tempfile::tempdir().unwrap();
        let output = output(directory.path());
        let first = OutputLock::take(&output).unwrap();
        assert!(matches!(OutputLock::take(&output), Err(PublishError::Shared { .. })));
        drop(first);
        assert!(!directory.path().join(layout::LOCK).exists());
        assert!(OutputLock::take(&output).unwrap().is_some());
    }

    #[test]
    fn what_a_killed_one_left_is_taken_over_and_what_somebody_else_made_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let output = output(directory.path());
        std::fs::write(directory.path().join(layout::LOCK), "").unwrap();
        drop(OutputLock::take(&output).unwrap());
        std::os::unix::fs::symlink("/etc/passwd", directory.path().join(layout::LOCK)).unwrap();
        assert!(matches!(OutputLock::take(&output), Err(PublishError::Foreign { .. })));
    }

    /// Each removes the file at its end, while others try to lock it.
    #[test]
    fn many_that_come_and_go_are_never_two_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let output = output(directory.path());
        let (inside, taken, start) = (AtomicUsize::new(0), AtomicUsize::new(0), Barrier::new(8));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    start.wait();
                    for _ in 0..200 {
                        let Ok(lock) = OutputLock::take(&output) else { continue };
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                        taken.fetch_add(1, Ordering::SeqCst);
                        inside.fetch_sub(1, Ordering::SeqCst);
                        drop(lock);
                    }
                });
            }
        });
        assert!(taken.load(Ordering::SeqCst) > 0);
    }
}
