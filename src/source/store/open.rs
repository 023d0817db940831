//! An open store, and whether its file is still the one at its path.
//!
//! *Invariant:* nothing but `SQLite` opens the file or its `-shm`, because closing a descriptor of them releases every lock that it has
//! there. The `-wal` has no locks.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::Fault;
use super::faults::{fault, fault_of_log_in};
use super::folder::KnownFolder;
use super::watch::{beside, log_of};
use crate::names::SecretName;
use crate::secret::Packed;
use crate::secret::meta::{self, Meta};
use crate::store::{Credential, Moment, Past, SecretPath, Store, StoreError, Witness};

/// A store that is open.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) store: Store,
    /// The path by which it was opened.
    path: PathBuf,
    file: Inode,
    /// The path beside which `SQLite` writes, with all links resolved.
    real: PathBuf,
    log: Option<Inode>,
    /// The last read, and of what it was: after a reload a name may stand for another path.
    known: BTreeMap<SecretName, (SecretPath, u64, (Packed, Moment))>,
    /// The same of folders.
    pub(super) folders: BTreeMap<SecretName, KnownFolder>,
}

/// The number of the file, whatever its name. While it is open the system gives this number to no other file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Inode {
    device: u64,
    number: u64,
}

impl Open {
    /// Opens the store at this path, which has to continue from the witness.
    pub(super) fn at(path: &Path, credential: &Credential, seen: Option<&Witness>) -> Result<Self, Fault> {
        let before = there(path)?;
        let store = Store::open_after(path, credential, Past::Seen(seen));
        let store = store.map_err(|error| fault_of_log_in(&error))?;
        if there(path)? != before {
            let why = format!("{} was replaced while it was opened", path.display());
            return Err(Fault::Unreachable { why, retry_after: None });
        }
        let real = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let log = inode(&log_of(&real)).ok();
        Ok(Self {
            store,
            path: path.to_owned(),
            file: before,
            real,
            log,
            known: BTreeMap::new(),
            folders: BTreeMap::new(),
        })
    }

    /// Checks that its file is the one at its path. If it is not, there is another store, of which this one knows nothing, or none.
    pub(super) fn is_there(&self) -> Result<(), Fault> {
        if there(&self.path)? == self.file { Ok(()) } else { Err(Fault::Dead) }
    }

    /// Whether another file is at its path.
    pub(super) fn is_replaced(&self) -> bool {
        self.is_there() == Err(Fault::Dead)
    }

    /// Renames the `-wal` of a replaced file. It is still beside the path, where `SQLite` would take it for the `-wal` of the new file and
    /// mix the two. It is kept, because the last `put` into the replaced file may be only in it.
    pub(super) fn set_log_aside(&self) -> Result<(), Fault> {
        let log = log_of(&self.real);
        let aside = beside(&log, ".replaced");
        let failed = |source| fault(&StoreError::Io { doing: "set aside", file: log.clone(), source });
        let Some(held) = File::open(&log).map(Some).or_else(absent).map_err(failed)? else { return Ok(()) };
        // Other agents see the replacement at the same time; if one of them has already done this, the `-wal` there belongs to the new
        // file.
        flock(&held, FlockOperation::LockExclusive).map_err(|errno| failed(errno.into()))?;
        if self.log.is_none() || inode(&log).ok() != self.log {
            return Ok(());
        }
        fs::rename(&log, &aside).map_err(failed)?;
        // Whoever opens the file first makes it anew from the `-wal`.
        fs::remove_file(beside(&self.real, "-shm")).map(Some).or_else(absent).map_err(failed)?;
        tracing::warn!(store = %self.path.display(), log = %aside.display(), "log of the store before is kept");
        Ok(())
    }

    /// Reads a secret, its version and when that was written, unless its version is already known: reading unchanged secrets again would fill the audit.
    pub(super) fn read(
        &mut self,
        name: SecretName,
        path: &SecretPath,
        (pinned, max_size): (Option<u64>, usize),
    ) -> Result<(Packed, u64, Moment), StoreError> {
        if let Some((of, number, known)) = self.known.get(&name)
            && of == path
            && self.store.peek(path, pinned)? == Some(*number)
        {
            return Ok((known.0.clone(), *number, known.1));
        }
        let (number, written, fields) = self.store.get_packed(path, pinned, max_size)?;
        self.known.insert(name, (path.clone(), number, (fields.clone(), written)));
        Ok((fields, number, written))
    }
}

/// What is known of a version.
pub(super) fn meta(version: u64, written: Moment) -> Meta {
    Meta::of([(meta::VERSION, version.into()), (meta::CREATED_TIME, meta::written(written.time()))])
}

fn absent<T>(error: io::Error) -> io::Result<Option<T>> {
    if error.kind() == io::ErrorKind::NotFound { Ok(None) } else { Err(error) }
}

fn there(path: &Path) -> Result<Inode, Fault> {
    inode(path).map_err(|source| {
        let file = path.to_owned();
        fault(&if source.kind() == io::ErrorKind::NotFound {
            StoreError::NotThere { file }
        } else {
            StoreError::Io { doing: "look at", file, source }
        })
    })
}

fn inode(path: &Path) -> io::Result<Inode> {
    let found = fs::metadata(path)?;
    Ok(Inode { device: found.dev(), number: found.ino() })
}
