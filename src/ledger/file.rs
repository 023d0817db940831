//! The ledger as a directory: a sealed page for each source, and the key beside them unless it is elsewhere.
//!
//! ```text
//! vault.sealed              0600, replaced by one rename
//! vault.sealed.new          the next one while it is written; one that was left half-written is never read
//! vault.credential.sealed   the same for a credential that its login used up
//! units.holders.sealed      which unit holds which credential
//! key                       0400, 32 random bytes, made on first use
//! ```
//!
//! The directory is locked for as long as the [`Ledger`] lives. The kernel takes the lock off with the last descriptor of the one
//! open directory, and no child keeps that over its `exec`, so the lock does not outlive a killed agent.
//!
//! *Invariant:* the directory is in memory unless disk is allowed, and nobody else may enter it. A page is replaced whole or not at
//! all. All of it blocks, for as long as a small file in memory takes.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;
use rustix::fs::{AtFlags, CWD, FileType, Mode as Bits, OFlags, fstat, fsync, openat, renameat, unlinkat};
use rustix::io::Errno;

use super::{Credential, Identity, Key, LARGEST, LedgerError, NONCE, Page, key_file};
use crate::config::LedgerConfig;
use crate::fact::{Fact, SourceFact, chain};
use crate::locked;
use crate::memory;
use crate::names::SourceName;
use crate::secret::Secret;

/// No source has a dot in its name.
const HOLDERS: &str = "units.holders.sealed";

/// The ledger of this agent, and of no other while it lives.
#[derive(Debug)]
pub struct Ledger {
    path: PathBuf,
    directory: OwnedFd,
    in_memory: bool,
    key: Key,
}

impl Ledger {
    /// Opens the ledger, and makes what is not there yet: the directory, and the key.
    ///
    /// # Errors
    /// [`LedgerError::InUse`] while another agent has it; [`LedgerError::Memory`], [`LedgerError::Exposed`] and
    /// [`LedgerError::NotAKey`] where it is not as it has to be. Whoever gets one goes on without a ledger, and says so.
    pub fn open(config: &LedgerConfig, allow_disk: bool) -> Result<Self, LedgerError> {
        let path = config.directory.clone();
        memory::require(&path, allow_disk)?;
        make(&path).map_err(|source| LedgerError::System { doing: "make", path: path.clone(), source })?;
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory =
            openat(CWD, &path, flags, Bits::empty()).map_err(|errno| failed("open", path.clone(), errno))?;
        let in_memory = memory::require_of(&directory, &path, allow_disk)?;
        require_private(&directory, &path)?;
        lock(&directory, &path)?;
        let key = match &config.key_file {
            Some(elsewhere) => key_file::read_or_make(CWD, elsewhere, elsewhere)?,
            None => key_file::read_or_make(directory.as_fd(), Path::new("key"), &path.join("key"))?,
        };
        Ok(Self { path, directory, in_memory, key })
    }

    /// What the page of this source says. One that does not open is ignored, with one warning.
    pub fn read(&self, source: &SourceName, identity: &Identity) -> Option<Page> {
        self.page(source, identity).unwrap_or_else(|error| {
            Fact::Source(source.clone(), SourceFact::LedgerIgnored { error: chain(&error) }).tell();
            None
        })
    }

    /// Replaces the page of this source. On failure the one before stays.
    pub fn write(&self, source: &SourceName, page: &Page, identity: &Identity) -> Result<(), LedgerError> {
        self.put(&name(source), |nonce| page.seal(&self.key, nonce, identity))
    }

    /// Forgets this source: after its token was given back, there is nothing to adopt.
    pub fn remove(&self, source: &SourceName) -> Result<(), LedgerError> {
        self.forget(&name(source))
    }

    /// The credential of this source that outlived its file. One that does not open is ignored, with one warning.
    pub fn credential(&self, source: &SourceName, identity: &Identity) -> Option<Credential> {
        let open = |bytes: &[u8]| Credential::open(bytes, &self.key, identity);
        self.get(&name_of_credential(source), open).unwrap_or_else(|error| {
            Fact::Source(source.clone(), SourceFact::LedgerIgnored { error: chain(&error) }).tell();
            None
        })
    }

    /// Replaces the credential of this source. On failure the one before stays.
    pub fn keep(
        &self,
        source: &SourceName,
        credential: &Credential,
        identity: &Identity,
    ) -> Result<(), LedgerError> {
        self.put(&name_of_credential(source), |nonce| credential.seal(&self.key, nonce, identity))
    }

    /// Forgets the credential of this source; its page stays.
    pub fn discard(&self, source: &SourceName) -> Result<(), LedgerError> {
        self.forget(&name_of_credential(source))
    }

    /// Who holds which credential, as an earlier run kept it with [`Self::keep_holders`].
    ///
    /// # Errors
    /// What is there does not open, or cannot be read.
    pub fn holders(&self) -> Result<Option<Secret<[u8]>>, LedgerError> {
        self.get(HOLDERS, |bytes| super::open_holders(bytes, &self.key))
    }

    /// Replaces it. On failure what was there stays.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn keep_holders(&self, holders: &[u8]) -> Result<(), LedgerError> {
        self.put(HOLDERS, |nonce| super::seal_holders(holders, &self.key, nonce))
    }

    fn page(&self, source: &SourceName, identity: &Identity) -> Result<Option<Page>, LedgerError> {
        self.get(&name(source), |bytes| Page::open(bytes, &self.key, identity))
    }

    fn get<T>(
        &self,
        name: &str,
        open: impl FnOnce(&[u8]) -> Result<T, LedgerError>,
    ) -> Result<Option<T>, LedgerError> {
        let path = self.path.join(name);
        let Some(bytes) = self.bytes(name, &path)? else { return Ok(None) };
        open(&bytes).map(Some).map_err(|source| of_page(path, source))
    }

    fn put(
        &self,
        name: &str,
        seal: impl FnOnce([u8; NONCE]) -> Result<Vec<u8>, LedgerError>,
    ) -> Result<(), LedgerError> {
        let path = self.path.join(name);
        let nonce = random::<NONCE>(&path)?;
        let sealed = seal(nonce).map_err(|source| of_page(path, source))?;
        let next = format!("{name}.new");
        self.forget(&next)?;
        self.replace(name, &next, &sealed).inspect_err(|_| {
            // What is left is sealed, and the next attempt removes it.
            drop(self.forget(&next));
        })
    }

    /// What the file of this name holds, as far as a page can go. `None` if it is not there.
    fn bytes(&self, name: &str, path: &Path) -> Result<Option<Vec<u8>>, LedgerError> {
        // NONBLOCK, since opening a pipe would wait for its other end.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let fd = match openat(&self.directory, name, flags, Bits::empty()) {
            Ok(fd) => fd,
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(failed("open", path.to_path_buf(), errno)),
        };
        let found = fstat(&fd).map_err(|errno| failed("look at", path.to_path_buf(), errno))?;
        let size = usize::try_from(found.st_size).unwrap_or(usize::MAX);
        if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile || size > LARGEST {
            return Err(of_page(path.to_path_buf(), LedgerError::NotAPage));
        }
        let mut bytes = Vec::with_capacity(size);
        let read = File::from(fd).take(LARGEST as u64).read_to_end(&mut bytes);
        read.map_err(|source| LedgerError::System { doing: "read", path: path.to_path_buf(), source })?;
        Ok(Some(bytes))
    }

    fn replace(&self, name: &str, next: &str, bytes: &[u8]) -> Result<(), LedgerError> {
        let path = self.path.join(next);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = openat(&self.directory, next, flags, Bits::RUSR | Bits::WUSR)
            .map_err(|errno| failed("make", path.clone(), errno))?;
        let mut file = File::from(fd);
        let cannot = |doing| {
            let path = path.clone();
            move |source| LedgerError::System { doing, path, source }
        };
        file.write_all(bytes).map_err(cannot("write"))?;
        if !self.in_memory {
            file.sync_all().map_err(cannot("write to disk"))?;
        }
        renameat(&self.directory, next, &self.directory, name)
            .map_err(|errno| failed("rename to", self.path.join(name), errno))?;
        self.settle()
    }

    /// Where the file system is on disk, waits until it has the names that are here.
    fn settle(&self) -> Result<(), LedgerError> {
        if self.in_memory {
            return Ok(());
        }
        fsync(&self.directory).map_err(|errno| failed("write to disk", self.path.clone(), errno))
    }

    /// Unlinks a name. One that is gone already counts as unlinked.
    fn forget(&self, name: &str) -> Result<(), LedgerError> {
        match unlinkat(&self.directory, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(failed("remove", self.path.join(name), errno)),
        }
    }
}

/// Only the ledger itself is closed to others: directories above it may be above the output too.
fn make(path: &Path) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

/// Whoever can write here could give us a key and a page of their own, and so any value for a secret.
fn require_private(directory: &OwnedFd, path: &Path) -> Result<(), LedgerError> {
    let found = fstat(directory).map_err(|errno| failed("look at", path.to_path_buf(), errno))?;
    let way_out = "name a directory below it, which squire makes for itself, or give it to squire's user with mode 0700";
    let exposed = |what| Err(LedgerError::Exposed { path: path.to_path_buf(), what, way_out });
    if found.st_uid != geteuid().as_raw() {
        return exposed("belongs to another user");
    }
    if found.st_mode & 0o077 != 0 {
        return exposed("can be entered or listed by others");
    }
    Ok(())
}

fn lock(directory: &OwnedFd, path: &Path) -> Result<(), LedgerError> {
    match locked::lock(directory) {
        Ok(true) => Ok(()),
        Ok(false) => Err(LedgerError::InUse { path: path.to_path_buf() }),
        Err(errno) => Err(failed("lock", path.to_path_buf(), errno)),
    }
}

fn name(source: &SourceName) -> String {
    format!("{source}.sealed")
}

/// No source has a dot in its name, so it is no other source's page.
fn name_of_credential(source: &SourceName) -> String {
    format!("{source}.credential.sealed")
}

fn of_page(path: PathBuf, source: LedgerError) -> LedgerError {
    LedgerError::Page { path, source: Box::new(source) }
}

/// Random bytes, for what stands at this path.
pub(super) fn random<const N: usize>(path: &Path) -> Result<[u8; N], LedgerError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| LedgerError::System {
        doing: "find random bytes for",
        path: path.to_path_buf(),
        source: io::Error::other(error.to_string()),
    })?;
    Ok(bytes)
}

/// An error with its place.
pub(super) fn failed(doing: &'static str, path: PathBuf, errno: Errno) -> LedgerError {
    LedgerError::System { doing, path, source: io::Error::from(errno) }
}

#[cfg(test)]
mod tests;
