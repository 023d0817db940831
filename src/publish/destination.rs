//! Absolute destinations: one file each, replaced by a rename.
//!
//! *Invariant:* never follows a symlink at the destination. Never replaces a symlink, a mount point (where the rename would fail), anything
//! else that is not a regular file, or a file that Squire did not put there.

use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, StatxAttributes, StatxFlags, statx};

use super::PublishError;
use super::directory::{Directory, Symlink, failed};
use super::layout;
use super::manifest::Entry;
use super::record::{Identity, Record};
use crate::render::RenderedFile;
use crate::secret::DigestKey;

/// A larger record is not Squire's.
const LARGEST_RECORD: u64 = 64 * 1024;

/// An absolute path that a file may be published at, with its directory open.
pub(super) struct Destination {
    parent: Directory,
    name: PathBuf,
    path: PathBuf,
}

impl Destination {
    /// Opens the directory, and refuses a destination that cannot be replaced.
    pub(super) fn open(path: &Path, allow_disk: bool) -> Result<Self, PublishError> {
        let destination = Self::at(path, allow_disk)?;
        destination.check()?;
        Ok(destination)
    }

    /// Opens the directory without a look at the destination: to clean up.
    pub(super) fn at(path: &Path, allow_disk: bool) -> Result<Self, PublishError> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(unfit(path, "not the path of a file", "give the file a name"));
        };
        let open = Directory::open(parent, Symlink::Followed, allow_disk)?;
        let parent = open.ok_or_else(|| PublishError::NoParent {
            parent: parent.to_path_buf(),
            path: path.to_path_buf(),
        })?;
        Ok(Self { parent, name: PathBuf::from(name), path: path.to_path_buf() })
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

    /// Kernels before 5.8 do not tell; there the rename fails later.
    fn is_mount_point(&self) -> bool {
        let found = statx(&self.parent, &self.name, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::TYPE);
        found.is_ok_and(|found| found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
    }

    /// The file at the destination.
    pub(super) fn read(&self, key: &DigestKey) -> Option<Entry> {
        self.parent.read(&self.name, key)
    }

    /// Temporary files beside it that were not renamed over it.
    pub(super) fn leftovers(&self) -> Result<Vec<PathBuf>, PublishError> {
        let names = self.parent.names()?;
        let left = names
            .into_iter()
            .filter(|name| layout::is_temporary(&self.path, name) && self.parent.is_own_file(name));
        Ok(left.map(|name| self.parent.path(name)).collect())
    }

    /// Whether what stands here was put here by Squire, by this run or an earlier one. Who writes to the file does not make it theirs, but
    /// who puts another in its place does.
    pub(super) fn is_ours(&self) -> bool {
        let record = self.record().unwrap_or_default();
        self.identity().is_some_and(|standing| record.files.iter().any(|file| file.is_same_file(standing)))
    }

    /// Whether anything has its name.
    pub(super) fn is_there(&self) -> Result<bool, PublishError> {
        Ok(self.parent.kind(&self.name)?.is_some())
    }

    /// Whether Squire has published here.
    fn is_remembered(&self) -> bool {
        self.record().is_some()
    }

    /// Refuses a file that was at the destination before Squire came.
    pub(super) fn claim(&self) -> Result<(), PublishError> {
        let record = layout::record(&self.path);
        if self.parent.kind(&record)?.is_some() && !self.is_remembered() {
            return Err(PublishError::Foreign { path: self.parent.path(record) });
        }
        if self.parent.kind(&self.name)?.is_none() || self.is_remembered() {
            return Ok(());
        }
        Err(PublishError::Foreign { path: self.path.clone() })
    }

    /// Writes the file that will replace it, and a record that it is Squire's.
    pub(super) fn prepare(&self, temporary: &Path, file: &RenderedFile) -> Result<(), PublishError> {
        self.claim()?;
        self.parent.write(base(temporary), file)?;
        self.remember(base(temporary)).inspect_err(|_| self.parent.forget(base(temporary)))
    }

    fn remember(&self, temporary: &Path) -> Result<(), PublishError> {
        let prepared = self.parent.stat(temporary);
        let prepared = prepared.map_err(|errno| failed("look at", self.parent.path(temporary), errno))?;
        let record = self.record().unwrap_or_default().with(self.identity(), Identity::of(&prepared));
        // A list of numbers can always be written.
        let bytes = serde_json::to_vec(&record).unwrap_or_default();
        self.parent.replace_private(&layout::record(&self.path), &layout::next_record(temporary), &bytes)
    }

    fn identity(&self) -> Option<Identity> {
        self.parent.stat(&self.name).ok().map(|found| Identity::of(&found))
    }

    /// The record of this destination. It counts only if Squire's user, root, or the owner of the file itself wrote it.
    fn record(&self) -> Option<Record> {
        let (bytes, found) = self.parent.bytes(layout::record(&self.path), LARGEST_RECORD)?;
        let owner = self.parent.stat(&self.name).ok().map(|found| found.st_uid);
        let trusted = [Some(0), Some(nix::unistd::geteuid().as_raw()), owner];
        trusted.contains(&Some(found.st_uid)).then(|| serde_json::from_slice(&bytes).ok())?
    }

    /// Undoes [`Self::prepare`].
    pub(super) fn retract(&self, temporary: &Path) -> Result<(), PublishError> {
        self.parent.remove(base(temporary))?;
        self.forget_if_gone()
    }

    /// If there is no file, no record is needed.
    fn forget_if_gone(&self) -> Result<(), PublishError> {
        if self.parent.kind(&self.name)?.is_none() && self.is_remembered() {
            return self.parent.remove(layout::record(&self.path));
        }
        Ok(())
    }

    /// Removes everything of Squire's: temporary files, the file itself if it is this entry, and its record.
    ///
    /// # Errors
    /// [`PublishError::Changed`] if somebody wrote to the file. It stays.
    pub(super) fn sweep(&self, entry: Option<&Entry>, key: &DigestKey) -> Result<(), PublishError> {
        if let Some(entry) = entry {
            self.delete(entry, key)?;
        }
        // What was put here in a publication that failed in the middle is in no manifest.
        self.sweep_as_recorded().map(drop)
    }

    /// Removes what was prepared and never shown. `true` if there was anything.
    pub(super) fn clear_leftovers(&self) -> Result<bool, PublishError> {
        let leftovers = self.leftovers()?;
        leftovers.iter().try_for_each(|name| self.parent.remove(base(name)))?;
        Ok(!leftovers.is_empty())
    }

    /// The same for files that a killed run left. `true` if there were any.
    pub(super) fn sweep_as_recorded(&self) -> Result<bool, PublishError> {
        let cleared = self.clear_leftovers()?;
        let Some(record) = self.record() else { return Ok(cleared) };
        if self.identity().is_some_and(|standing| record.files.contains(&standing)) {
            self.parent.remove(&self.name)?;
        }
        self.forget_if_gone()?;
        if self.is_remembered() { Err(PublishError::Changed { path: self.path.clone() }) } else { Ok(true) }
    }

    /// Renames the prepared file over it.
    pub(super) fn replace(&self, temporary: &Path) -> Result<(), PublishError> {
        self.parent.rename(base(temporary), &self.name)?;
        self.parent.settle()
    }

    /// Unlinks it if it is this entry.
    fn delete(&self, entry: &Entry, key: &DigestKey) -> Result<(), PublishError> {
        if self.read(key).is_some_and(|found| found.agrees(entry)) {
            self.parent.remove(&self.name)?;
        }
        Ok(())
    }

    /// The same for a destination that is no longer wanted; its record is removed too.
    pub(super) fn give_up(&self, entry: &Entry, key: &DigestKey) -> Result<(), PublishError> {
        self.delete(entry, key)?;
        if self.is_remembered() { self.parent.remove(layout::record(&self.path)) } else { Ok(()) }
    }
}

/// Unlinks a temporary file, if its directory still exists.
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
