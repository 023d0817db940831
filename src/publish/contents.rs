//! The contents of files: writes, links and reads them.
//!
//! *Invariant:* no file is ever overwritten. A file is made new, whole and with its final attributes, and is removed by unlinking. (A hard
//! link would carry an overwrite into the live file.)

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use rustix::fs::{
    AtFlags, FileType, Gid, Mode as Bits, OFlags, Stat, Uid, fchmod, fchown, fstat, linkat, openat,
};
use rustix::io::Errno;

use super::PublishError;
use super::directory::{Directory, bits, failed};
use super::manifest::Entry;
use crate::config::Mode;
use crate::plan::{Attributes, FileGroup};
use crate::render::RenderedFile;
use crate::secret::DigestKey;

/// A larger file is not Squire's, and is not read.
const LARGEST: u64 = 64 * 1024 * 1024;

impl Directory {
    /// Writes a new file with its final group, mode and owner. After a failure no part of it is left.
    pub(super) fn write(&self, name: impl AsRef<Path>, file: &RenderedFile) -> Result<(), PublishError> {
        let name = name.as_ref();
        self.write_new(name, file.contents.expose(), |open| self.hand_over(open, name, file.attributes))
    }

    /// Writes a new file that only Squire may read, and renames it over the file of that name. After a failure the old file stays.
    pub(super) fn replace_private(&self, name: &Path, next: &Path, bytes: &[u8]) -> Result<(), PublishError> {
        self.write_new(next, bytes, |_| Ok(()))?;
        self.rename(next, name).inspect_err(|_| self.forget(next))
    }

    fn write_new(
        &self,
        name: &Path,
        bytes: &[u8],
        finish: impl FnOnce(&File) -> Result<(), PublishError>,
    ) -> Result<(), PublishError> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = openat(&self.fd, name, flags, Bits::RUSR | Bits::WUSR)
            .map_err(|errno| failed("make", self.path(name), errno))?;
        let cannot = |doing| move |source| PublishError::System { doing, path: self.path(name), source };
        let mut open = File::from(fd);
        let written = open.write_all(bytes).map_err(cannot("write")).and_then(|()| finish(&open));
        let kept = written.and_then(|()| {
            if self.in_memory { Ok(()) } else { open.sync_all().map_err(cannot("write to disk")) }
        });
        kept.inspect_err(|_| self.forget(name))
    }

    /// Makes a directory here with this user, group and mode, whatever the umask.
    pub(super) fn make_for(&self, name: &Path, wanted: Attributes) -> Result<(), PublishError> {
        let failing = |doing| move |errno| failed(doing, self.path(name), errno);
        let made = self.make(name)?;
        if let Some(group) = self.group_to_set(wanted.group).map_err(failing("look at the directory of"))? {
            fchown(&made, None, Some(Gid::from_raw(group))).map_err(failing("set the group of"))?;
        }
        made.seal(wanted.mode)?;
        if made.found()?.owner != wanted.owner {
            let owner = Some(Uid::from_raw(wanted.owner));
            fchown(&made, owner, None).map_err(failing("set the owner of"))?;
        }
        Ok(())
    }

    /// Sets group, mode, owner, in this order. So the group that the file was born with never gets the bits of the final group, and the
    /// mode is set while the file is ours, which needs no capability.
    fn hand_over(&self, file: &File, name: &Path, wanted: Attributes) -> Result<(), PublishError> {
        let failing = |doing| move |errno| failed(doing, self.path(name), errno);
        let born = fstat(file).map_err(failing("look at"))?;
        if let Some(group) = self.group_to_set(wanted.group).map_err(failing("look at the directory of"))?
            && born.st_gid != group
        {
            fchown(file, None, Some(Gid::from_raw(group))).map_err(failing("set the group of"))?;
        }
        fchmod(file, bits(wanted.mode)).map_err(failing("set the mode of"))?;
        if born.st_uid != wanted.owner {
            let owner = Some(Uid::from_raw(wanted.owner));
            fchown(file, owner, None).map_err(failing("set the owner of"))?;
        }
        // A change of owner clears the set-id bits.
        if fstat(file).map_err(failing("look at"))?.st_mode & 0o7777 != wanted.mode.bits() {
            fchmod(file, bits(wanted.mode)).map_err(failing("set the mode of"))?;
        }
        Ok(())
    }

    /// The wanted group, if a new file here does not get it by itself.
    fn group_to_set(&self, wanted: FileGroup) -> Result<Option<u32>, Errno> {
        Ok(match wanted {
            FileGroup::Of(group) => Some(group),
            FileGroup::InheritedOr(group) if !self.is_setgid()? => Some(group),
            FileGroup::Inherited | FileGroup::InheritedOr(_) => None,
        })
    }

    /// Makes a hard link here. `false` if that is not possible, or if the file of that name is not what it should be.
    pub(super) fn link(&self, from: &Self, name: &Path, file: &RenderedFile, key: &DigestKey) -> bool {
        if linkat(&from.fd, name, &self.fd, name, AtFlags::empty()).is_err() {
            return false;
        }
        // Somebody may have edited the live file since we wrote it.
        let is_whole = self.read(name, key).is_some_and(|found| found.agrees(&Entry::of(file)));
        if !is_whole {
            self.forget(name);
        }
        is_whole
    }

    /// The file of this name here, if it is a regular file that we can read.
    pub(super) fn read(&self, name: impl AsRef<Path>, key: &DigestKey) -> Option<Entry> {
        let (contents, found) = self.bytes(name, LARGEST)?;
        Some(Entry {
            digest: key.digest(&contents),
            attributes: Attributes {
                mode: Mode::new(found.st_mode & 0o7777),
                owner: found.st_uid,
                group: FileGroup::Of(found.st_gid),
            },
        })
    }

    /// The contents of a regular file here, of at most this many bytes, and its metadata.
    pub(super) fn bytes(&self, name: impl AsRef<Path>, limit: u64) -> Option<(Vec<u8>, Stat)> {
        // NONBLOCK, since opening a pipe would wait for its other end.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let fd = openat(&self.fd, name.as_ref(), flags, Bits::empty()).ok()?;
        let found = fstat(&fd).ok()?;
        let size = u64::try_from(found.st_size).ok().filter(|size| *size <= limit)?;
        if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile {
            return None;
        }
        let mut contents = Vec::with_capacity(usize::try_from(size).ok()?);
        File::from(fd).take(limit).read_to_end(&mut contents).ok()?;
        Some((contents, found))
    }
}
