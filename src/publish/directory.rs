//! An open directory, and operations on the names in it.
//!
//! Everything goes through the open descriptor, one component at a time and never through a symlink. So if somebody exchanges the path
//! meanwhile, Squire still works in the same directory.
//!
//! *Invariant:* no symlink in a path below it is followed, and every result is checked.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode as Bits, OFlags, RenameFlags, Stat, fchmod, fstat, fsync, mkdirat,
    openat, readlinkat, renameat, renameat_with, statat, symlinkat, unlinkat,
};
use rustix::io::Errno;

use super::trust::Found;
use super::{PublishError, layout};
use crate::config::Mode;
use crate::memory;

/// A directory belongs to Squire alone until it is sealed.
const UNSEALED: Bits = Bits::RWXU;

/// An open directory.
pub(super) struct Directory {
    pub(super) fd: OwnedFd,
    path: PathBuf,
    pub(super) in_memory: bool,
}

impl Directory {
    /// Opens a directory that is in memory, or anywhere if disk is allowed. `None` if it does not exist.
    pub(super) fn open(
        path: &Path,
        symlink: Symlink,
        allow_disk: bool,
    ) -> Result<Option<Self>, PublishError> {
        let flags = match symlink {
            Symlink::Followed => OFlags::empty(),
            Symlink::Refused => OFlags::NOFOLLOW,
        };
        let fd = match openat(CWD, path, flags | OFlags::DIRECTORY | OFlags::CLOEXEC, Bits::empty()) {
            Ok(fd) => fd,
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::NOTDIR | Errno::LOOP) => {
                return Err(PublishError::Unfit {
                    path: path.to_path_buf(),
                    kind: "a symlink, or not a directory",
                    way_out: "name the directory itself",
                });
            }
            Err(errno) => return Err(failed("open", path.to_path_buf(), errno)),
        };
        let in_memory = memory::require_of(&fd, path, allow_disk)?;
        Ok(Some(Self { fd, path: path.to_path_buf(), in_memory }))
    }

    /// The path of this name in the directory.
    pub(super) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path.join(name)
    }

    /// The directory at this relative path; no component may be a symlink.
    pub(super) fn descend(&self, path: impl AsRef<Path>) -> Result<Self, PublishError> {
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut directory = self.reopen()?;
        for component in path.as_ref().components() {
            let path = directory.path(component);
            let fd = openat(&directory.fd, component.as_os_str(), flags, Bits::empty())
                .map_err(|errno| failed("open", path.clone(), errno))?;
            directory = Self { fd, path, in_memory: self.in_memory };
        }
        Ok(directory)
    }

    /// Its owner, and who may write to it.
    pub(super) fn found(&self) -> Result<Found, PublishError> {
        let found = fstat(&self.fd).map_err(|errno| failed("look at", self.path.clone(), errno))?;
        Ok(Found { owner: found.st_uid, group: found.st_gid, mode: found.st_mode })
    }

    pub(super) fn reopen(&self) -> Result<Self, PublishError> {
        let fd = self.fd.try_clone().map_err(|source| PublishError::System {
            doing: "open",
            path: self.path.clone(),
            source,
        })?;
        Ok(Self { fd, path: self.path.clone(), in_memory: self.in_memory })
    }

    /// The names in it.
    pub(super) fn names(&self) -> Result<Vec<PathBuf>, PublishError> {
        let cannot = |errno| failed("list", self.path.clone(), errno);
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.fd).map_err(cannot)? {
            let entry = entry.map_err(cannot)?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                names.push(PathBuf::from(OsStr::from_bytes(name)));
            }
        }
        Ok(names)
    }

    /// Whether this name is a regular file that Squire may unlink, even in a directory that everybody may write to.
    pub(super) fn is_own_file(&self, name: &Path) -> bool {
        let own = nix::unistd::geteuid();
        self.stat(name).is_ok_and(|found| {
            FileType::from_raw_mode(found.st_mode) == FileType::RegularFile
                && (own.is_root() || own.as_raw() == found.st_uid)
        })
    }

    /// Whether Squire's user or root made the file of this name. In a directory that others may write to, they can make names that look
    /// like Squire's.
    pub(super) fn is_own(&self, name: impl AsRef<Path>) -> bool {
        self.stat(name).is_ok_and(|found| [0, nix::unistd::geteuid().as_raw()].contains(&found.st_uid))
    }

    /// The metadata of this name; a symlink is not followed.
    pub(super) fn stat(&self, name: impl AsRef<Path>) -> Result<Stat, Errno> {
        statat(&self.fd, name.as_ref(), AtFlags::SYMLINK_NOFOLLOW)
    }

    /// The type of this name; a symlink is not followed.
    pub(super) fn kind(&self, name: impl AsRef<Path>) -> Result<Option<FileType>, PublishError> {
        match self.stat(&name) {
            Ok(found) => Ok(Some(FileType::from_raw_mode(found.st_mode))),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(failed("look at", self.path(name), errno)),
        }
    }

    /// Makes a directory that only we can enter, and opens it; [`Directory::seal`] opens it to others.
    ///
    /// # Errors
    /// [`PublishError::Foreign`] where somebody exchanged it in that moment for one that we would change or fill.
    pub(super) fn make(&self, name: impl AsRef<Path>) -> Result<Self, PublishError> {
        mkdirat(&self.fd, name.as_ref(), UNSEALED)
            .map_err(|errno| failed("make the directory", self.path(&name), errno))?;
        let made = self.descend(&name)?;
        let found = made.found()?;
        let is_as_made =
            found.owner == nix::unistd::geteuid().as_raw() && found.mode & 0o777 == UNSEALED.as_raw_mode();
        if is_as_made && made.names()?.is_empty() {
            return Ok(made);
        }
        Err(PublishError::Foreign { path: made.path })
    }

    /// The same, with the name that it was given meanwhile.
    pub(super) fn called(self, path: PathBuf) -> Self {
        Self { path, ..self }
    }

    /// Its number in its file system.
    pub(super) fn inode(&self) -> Result<u64, PublishError> {
        Ok(fstat(&self.fd).map_err(|errno| failed("look at", self.path.clone(), errno))?.st_ino)
    }

    /// Gives this directory its final mode, whatever the umask. An inherited setgid bit stays, so that files that are made in it later
    /// still get the group.
    pub(super) fn seal(&self, mode: Mode) -> Result<(), PublishError> {
        let failing = |errno| failed("set the mode of", self.path.clone(), errno);
        let inherited = if self.is_setgid().map_err(failing)? { Bits::SGID } else { Bits::empty() };
        fchmod(&self.fd, bits(mode) | inherited).map_err(failing)?;
        self.settle()
    }

    /// Whether files that are made here get the directory's group.
    pub(super) fn is_setgid(&self) -> Result<bool, Errno> {
        Ok(Bits::from_raw_mode(fstat(&self.fd)?.st_mode).contains(Bits::SGID))
    }

    /// If the file system is on disk, waits until the names in it are written.
    pub(super) fn settle(&self) -> Result<(), PublishError> {
        if self.in_memory {
            return Ok(());
        }
        fsync(&self.fd).map_err(|errno| failed("write to disk", self.path.clone(), errno))
    }

    /// The target of the symlink with this name. `None` if there is no such name, or it is not a symlink.
    pub(super) fn target(&self, name: impl AsRef<Path>) -> Result<Option<PathBuf>, PublishError> {
        match readlinkat(&self.fd, name.as_ref(), Vec::new()) {
            Ok(target) => Ok(Some(PathBuf::from(OsStr::from_bytes(target.to_bytes())))),
            Err(Errno::NOENT | Errno::INVAL) => Ok(None),
            Err(errno) => Err(failed("read the link", self.path(name), errno)),
        }
    }

    /// Makes a symlink.
    pub(super) fn point(&self, name: impl AsRef<Path>, target: impl AsRef<Path>) -> Result<(), PublishError> {
        symlinkat(target.as_ref(), &self.fd, name.as_ref())
            .map_err(|errno| failed("make the link", self.path(name), errno))
    }

    /// Renames, replacing the file of the new name.
    pub(super) fn rename(&self, from: impl AsRef<Path>, to: impl AsRef<Path>) -> Result<(), PublishError> {
        renameat(&self.fd, from.as_ref(), &self.fd, to.as_ref())
            .map_err(|errno| failed("rename to", self.path(to), errno))
    }

    /// Renames to a name that nothing has.
    pub(super) fn rename_to_new(
        &self,
        from: impl AsRef<Path>,
        to: impl AsRef<Path>,
    ) -> Result<(), PublishError> {
        let (from, to) = (from.as_ref(), to.as_ref());
        match renameat_with(&self.fd, from, &self.fd, to, RenameFlags::NOREPLACE) {
            Ok(()) => Ok(()),
            // For file systems that cannot say so. At worst an empty directory is replaced.
            Err(Errno::INVAL | Errno::NOSYS) => self.rename(from, to),
            Err(errno) => Err(failed("make", self.path(to), errno)),
        }
    }

    /// Exchanges two symlinks.
    pub(super) fn exchange(&self, one: &str, other: &str) -> Result<(), PublishError> {
        match renameat_with(&self.fd, one, &self.fd, other, RenameFlags::EXCHANGE) {
            Ok(()) => Ok(()),
            Err(Errno::INVAL | Errno::NOSYS) => self.exchange_by_renames(one, other),
            Err(errno) => Err(failed("exchange", self.path(other), errno)),
        }
    }

    /// For file systems that cannot exchange: `other` exists at every instant, `one` does not.
    pub(super) fn exchange_by_renames(&self, one: &str, other: &str) -> Result<(), PublishError> {
        let target =
            self.target(other)?.ok_or_else(|| failed("read the link", self.path(other), Errno::NOENT))?;
        self.remove(layout::SPARE)?;
        self.point(layout::SPARE, target)?;
        self.rename(one, other).inspect_err(|_| self.forget(layout::SPARE))?;
        self.rename(layout::SPARE, one)
    }

    /// Unlinks a name that is not a directory. A name that is gone already counts as unlinked.
    pub(super) fn remove(&self, name: impl AsRef<Path>) -> Result<(), PublishError> {
        self.unlink(name.as_ref(), AtFlags::empty())
    }

    /// Unlinks a directory and everything in it.
    pub(super) fn remove_tree(&self, name: impl AsRef<Path>) -> Result<(), PublishError> {
        let name = name.as_ref();
        match self.kind(name)? {
            None => return Ok(()),
            Some(FileType::Directory) => {}
            Some(_) => return self.remove(name),
        }
        self.descend(name)?.empty()?;
        self.unlink(name, AtFlags::REMOVEDIR)
    }

    /// Unlinks everything in it.
    pub(super) fn empty(&self) -> Result<(), PublishError> {
        let names = self.names()?;
        if !names.is_empty() {
            self.unseal()?;
        }
        names.into_iter().try_for_each(|name| self.remove_tree(name))
    }

    /// Unlinks an empty directory.
    pub(super) fn remove_empty(&self, name: impl AsRef<Path>) -> Result<(), PublishError> {
        self.unlink(name.as_ref(), AtFlags::REMOVEDIR)
    }

    /// A directory without write permission could not be emptied.
    fn unseal(&self) -> Result<(), PublishError> {
        let cannot = |errno| failed("set the mode of", self.path.clone(), errno);
        let found = Bits::from_raw_mode(fstat(&self.fd).map_err(cannot)?.st_mode);
        if found.contains(UNSEALED) {
            return Ok(());
        }
        fchmod(&self.fd, found | UNSEALED).map_err(cannot)
    }

    fn unlink(&self, name: &Path, flags: AtFlags) -> Result<(), PublishError> {
        match unlinkat(&self.fd, name, flags) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(failed("remove", self.path(name), errno)),
        }
    }

    /// Removes what a failed operation made; an error here is ignored, because the first failure matters more.
    pub(super) fn forget(&self, name: impl AsRef<Path>) {
        if let Err(error) = self.remove(name) {
            tracing::warn!(error = &error as &dyn std::error::Error, "half-made file stays");
        }
    }
}

impl AsFd for Directory {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// What to do if the last component of a path is a symlink.
#[derive(Clone, Copy, Debug)]
pub(super) enum Symlink {
    Followed,
    Refused,
}

/// Splits a relative path into its directory and its name there.
pub(super) fn split(path: &Path) -> (&Path, &Path) {
    let name = path
        .components()
        .next_back()
        .map_or(Path::new(""), |name: Component<'_>| Path::new(name.as_os_str()));
    (path.parent().unwrap_or(Path::new("")), name)
}

pub(super) fn bits(mode: Mode) -> Bits {
    Bits::from_raw_mode(mode.bits())
}

/// An error with its path.
pub(super) fn failed(doing: &'static str, path: PathBuf, errno: Errno) -> PublishError {
    PublishError::System { doing, path, source: io::Error::from(errno) }
}
