//! Absolute destinations: one file each, replaced by one rename.
//!
//! *Invariant:* never follows a symlink at the destination, and never replaces one, nor a mount point (where the rename
//! would fail), nor anything else that is not a regular file.

use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, StatxAttributes, StatxFlags, statx};

use super::PublishError;
use super::directory::{Directory, Symlink};
use super::layout;
use super::manifest::Entry;
use crate::render::RenderedFile;
use crate::secret::DigestKey;

/// An absolute path that a file may be published at, with its directory open.
pub(super) struct Destination {
    parent: Directory,
    name: PathBuf,
    path: PathBuf,
}

impl Destination {
    /// Opens the directory, and refuses what cannot be replaced.
    pub(super) fn open(path: &Path, allow_disk: bool) -> Result<Self, PublishError> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(unfit(path, "not the path of a file", "give the file a name"));
        };
        let open = Directory::open(parent, Symlink::Followed, allow_disk)?;
        let parent = open.ok_or_else(|| PublishError::NoParent {
            parent: parent.to_path_buf(),
            path: path.to_path_buf(),
        })?;
        let destination = Self { parent, name: PathBuf::from(name), path: path.to_path_buf() };
        destination.check()?;
        Ok(destination)
    }

    fn check(&self) -> Result<(), PublishError> {
        let (kind, way_out) = match self.parent.kind(&self.name)? {
            Some(FileType::RegularFile) if self.is_mount_point() => {
                ("a mount point", "mount its directory instead, or give the file another path")
            }
            None | Some(FileType::RegularFile) => return Ok(()),
            Some(FileType::Symlink) => ("a symlink", "give the path that it points to"),
            Some(FileType::Directory) => ("a directory", "give the path of a file"),
            Some(
                FileType::Fifo
                | FileType::Socket
                | FileType::CharacterDevice
                | FileType::BlockDevice
                | FileType::Unknown,
            ) => ("not a regular file", "remove it, or give the file another path"),
        };
        Err(unfit(&self.path, kind, way_out))
    }

    /// Kernels before 5.8 do not tell; there the rename fails in its time.
    fn is_mount_point(&self) -> bool {
        let found = statx(&self.parent, &self.name, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::TYPE);
        found.is_ok_and(|found| found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
    }

    /// What stands here.
    pub(super) fn read(&self, key: &DigestKey) -> Option<Entry> {
        self.parent.read(&self.name, key)
    }

    /// The files beside it that were not renamed over it.
    pub(super) fn leftovers(&self) -> Result<Vec<PathBuf>, PublishError> {
        let names = self.parent.names()?;
        let left = names
            .into_iter()
            .filter(|name| layout::is_temporary(&self.path, name) && self.parent.is_own_file(name));
        Ok(left.map(|name| self.parent.path(name)).collect())
    }

    /// Writes what is to replace it.
    pub(super) fn prepare(&self, temporary: &Path, file: &RenderedFile) -> Result<(), PublishError> {
        self.parent.write(base(temporary), file)
    }

    /// Renames over it.
    pub(super) fn replace(&self, temporary: &Path) -> Result<(), PublishError> {
        self.parent.rename(base(temporary), &self.name)?;
        self.parent.settle()
    }

    /// Unlinks it if it is this.
    pub(super) fn delete(&self, entry: &Entry, key: &DigestKey) -> Result<(), PublishError> {
        if self.read(key).as_ref() == Some(entry) {
            self.parent.remove(&self.name)?;
        }
        Ok(())
    }
}

/// Unlinks a temporary file, where its directory still is there.
pub(super) fn clear(temporary: &Path, allow_disk: bool) -> Result<(), PublishError> {
    let Some(parent) = temporary.parent() else { return Ok(()) };
    match Directory::open(parent, Symlink::Followed, allow_disk)? {
        Some(parent) => parent.remove(base(temporary)),
        None => Ok(()),
    }
}

fn base(path: &Path) -> &Path {
    path.file_name().map_or(Path::new(""), Path::new)
}

fn unfit(path: &Path, kind: &'static str, way_out: &'static str) -> PublishError {
    PublishError::Unfit { path: path.to_path_buf(), kind, way_out }
}
