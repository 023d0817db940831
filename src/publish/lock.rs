//! One Squire publishes in an output directory, and no other.

use std::os::fd::OwnedFd;

use rustix::fs::{CWD, FlockOperation, Mode as Bits, OFlags, flock, openat};
use rustix::io::Errno;

use super::PublishError;
use crate::config::OutputConfig;

/// The lock of an output directory: on the directory itself, so that there is nothing to leave behind, and gone with its holder.
#[derive(Debug)]
pub struct OutputLock {
    _directory: OwnedFd,
}

impl OutputLock {
    /// Takes the lock; `None` where there is no output directory.
    ///
    /// # Errors
    /// [`PublishError::Shared`] while another Squire has it.
    pub fn take(output: &OutputConfig) -> Result<Option<Self>, PublishError> {
        let Some(path) = &output.dir else { return Ok(None) };
        let failed = |doing: &'static str| {
            move |errno: Errno| PublishError::System { doing, path: path.clone(), source: errno.into() }
        };
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = openat(CWD, path, flags, Bits::empty()).map_err(failed("open"))?;
        match flock(&directory, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Self { _directory: directory })),
            Err(Errno::WOULDBLOCK) => Err(PublishError::Shared { path: path.clone() }),
            Err(errno) => Err(failed("lock")(errno)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Mode;

    #[test]
    fn a_directory_has_one_publisher_at_a_time() {
        let directory = tempfile::tempdir().unwrap();
        let dir = Some(directory.path().to_owned());
        let output = OutputConfig { dir, dir_mode: Mode::new(0o755), allow_disk: true };
        let first = OutputLock::take(&output).unwrap();
        assert!(matches!(OutputLock::take(&output), Err(PublishError::Shared { .. })));
        drop(first);
        assert!(OutputLock::take(&output).unwrap().is_some());
    }
}
