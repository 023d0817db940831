//! The key of a ledger: a file of random bytes.
//!
//! Login credentials cannot make the key, because they rotate or are used up: whoever comes after us would not have them.
//!
//! *Invariant:* a key is made whole or not at all, and never replaced.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;
use rustix::fs::{AtFlags, FileType, Mode as Bits, OFlags, fstat, linkat, openat, unlinkat};
use rustix::io::Errno;

use super::file::{failed, random};
use super::{KEY, Key, LedgerError};

/// The key in the file of this name in an open directory; made if it is not there. `path` is for the words.
pub(super) fn read_or_make(at: BorrowedFd<'_>, name: &Path, path: &Path) -> Result<Key, LedgerError> {
    if let Some(key) = read(at, name, path)? {
        return Ok(key);
    }
    make(at, name, path)?;
    read(at, name, path)?.ok_or_else(|| failed("open", path.to_path_buf(), Errno::NOENT))
}

/// A symlink is followed: where a key is mounted into a container it may be one.
fn read(at: BorrowedFd<'_>, name: &Path, path: &Path) -> Result<Option<Key>, LedgerError> {
    // NONBLOCK, since opening a pipe would wait for its other end.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let fd = match openat(at, name, flags, Bits::empty()) {
        Ok(fd) => fd,
        Err(Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(failed("open", path.to_path_buf(), errno)),
    };
    let file = File::from(fd);
    require_private(&file, path)?;
    let mut bytes = Vec::with_capacity(KEY + 1);
    file.take(KEY as u64 + 1).read_to_end(&mut bytes).map_err(|source| LedgerError::System {
        doing: "read",
        path: path.to_path_buf(),
        source,
    })?;
    let key = <[u8; KEY]>::try_from(bytes).map_err(|_| LedgerError::NotAKey { path: path.to_path_buf() })?;
    Ok(Some(Key::new(key)))
}

/// The group may read it, since that is how Kubernetes gives a file of root to another user.
fn require_private(file: &File, path: &Path) -> Result<(), LedgerError> {
    let found = fstat(file).map_err(|errno| failed("look at", path.to_path_buf(), errno))?;
    if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile {
        return Err(LedgerError::NotAKey { path: path.to_path_buf() });
    }
    let exposed = |what| {
        let way_out = "give it to squire's user with mode 0400, or remove it and squire makes one";
        Err(LedgerError::Exposed { path: path.to_path_buf(), what, way_out })
    };
    if found.st_uid != geteuid().as_raw() && found.st_uid != 0 {
        return exposed("belongs to another user");
    }
    if found.st_mode & 0o027 != 0 {
        return exposed("can be read or changed by others");
    }
    Ok(())
}

/// Written under a name of its own and then linked, so that a crash leaves no half of a key, and of two who make one at the same
/// time both get the first.
fn make(at: BorrowedFd<'_>, name: &Path, path: &Path) -> Result<(), LedgerError> {
    let unique = u64::from_le_bytes(random(path)?);
    let mut next = name.as_os_str().to_owned();
    next.push(format!(".new-{unique:016x}"));
    let next = PathBuf::from(next);
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd =
        openat(at, &next, flags, Bits::RUSR).map_err(|errno| failed("make", path.to_path_buf(), errno))?;
    let written =
        fill(File::from(fd), path).and_then(|()| match linkat(at, &next, at, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::EXIST) => Ok(()),
            Err(errno) => Err(failed("make", path.to_path_buf(), errno)),
        });
    // Where it stays, it is a key that nothing was sealed with, or a second name of the one that was made.
    match unlinkat(at, &next, AtFlags::empty()) {
        Ok(()) | Err(_) => written,
    }
}

fn fill(mut file: File, path: &Path) -> Result<(), LedgerError> {
    let key = random::<KEY>(path)?;
    let written = file.write_all(&key).and_then(|()| file.sync_all());
    written.map_err(|source| LedgerError::System { doing: "write", path: path.to_path_buf(), source })
}
