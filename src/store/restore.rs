//! Makes an older state the store from now on.
//!
//! Whoever saw a later state refuses an older one, and has to: a thief would put back an older state too. So the owner declares that it is
//! intended, by a new era that is signed and recorded.
//!
//! *Invariant:* the store is either the former one or the restored one, whole, even while other processes have it open.

use crate::ordered::Order as _;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::access::{Credential, Past, Store};
use super::audit::{About, Action, Outcome};
use super::error::StoreError;
use super::file::{File, beside, make_private};
use super::head::{Head, State};
use super::journal::{begin_era, record};
use super::owner::owner_keys;
use super::report::Report;
use super::witness::Witness;

/// The differences between a restored store and the one that it replaced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Returned {
    /// Whether the replaced store could be read.
    pub compared: bool,
    /// Roles that were revoked or replaced, and can log in again.
    pub roles: Vec<String>,
    /// Versions that were destroyed, deleted or pruned, and can be read again.
    pub versions: Vec<(String, u64)>,
    /// Secrets whose current version is an older one again: from, to.
    pub older: Vec<(String, u64, u64)>,
    /// Secrets that are no longer there.
    pub lost: Vec<String>,
}

/// The result of a restore.
#[derive(Debug)]
pub struct Restored {
    /// The report of `verify`.
    pub report: Report,
    /// The differences; `None` if the backup does not match its own audit: then nothing was changed.
    pub returned: Option<Returned>,
    /// The witness to keep from now on.
    pub witness: Option<Witness>,
}

impl Store {
    /// Declares that this state of the store is the right one, even for those who saw later ones. Only for the owner.
    pub fn accept_restore(&mut self, seen: Option<&Witness>) -> Result<u64, StoreError> {
        let (root, id) = (self.root("accept a restored store")?, self.id);
        let seen = seen.filter(|seen| seen.store == id).map_or(0, |seen| seen.tip.era);
        self.transact(|writing, keys, _| {
            let era = keys.tip.get().era.max(seen).saturating_add(1);
            begin_era(writing, &id, keys, era, &owner_keys(writing, &id, &root)?.signing)?;
            record(writing, &id, keys, Action::AcceptRestore, Outcome::Done, About::Era(era))?;
            Ok(Ok(era))
        })
    }

    /// Copies a store, whole and as of one moment, even while other processes have it open. It needs no key: every user who may read the
    /// file can do that.
    pub fn back_up(path: &Path, to: &Path) -> Result<(), StoreError> {
        let store = File::open(path)?;
        drop(make_private(to)?);
        File::blank(to).and_then(|mut copy| copy.replace_by(&store)).inspect_err(|_| {
            // A copy that is only half made is removed.
            fs::remove_file(to).ok();
        })
    }

    /// Makes a backup the store, after it was verified. If the same credential does not open both, they are not compared.
    pub fn restore(
        path: &Path,
        backup: &Path,
        credential: &Credential,
        seen: Option<&Witness>,
    ) -> Result<Restored, StoreError> {
        let copy = Copy::of(backup, path)?;
        let mut restored = Self::open_after(&copy.0, credential, Past::Whatever)?;
        let report = restored.verify(None)?;
        if !report.findings.is_empty() {
            return Ok(Restored { report, returned: None, witness: None });
        }
        let mut replaced = match Self::open_after(path, credential, Past::Whatever) {
            Ok(replaced) => Some(replaced),
            Err(StoreError::NotThere { .. } | StoreError::Refused | StoreError::Damaged { .. }) => None,
            Err(error) => return Err(error),
        };
        let returned = match &mut replaced {
            Some(replaced) => returned(replaced, &mut restored)?,
            None => Returned::default(),
        };
        let last = replaced.as_ref().and_then(Self::witness);
        let eras = [seen.copied(), last].into_iter().flatten().filter(|witness| witness.store == restored.id);
        let highest = eras.max_by_key(|witness| witness.tip.era);
        restored.accept_restore(highest.as_ref())?;
        let witness = restored.witness();
        match replaced {
            Some(mut replaced) => replaced.file.replace_by(&restored.file)?,
            None if path.exists() => File::open(path)?.replace_by(&restored.file)?,
            None => {
                restored.empty_log()?;
                drop(restored);
                copy.become_store(path)?;
            }
        }
        Ok(Restored { report, returned: Some(returned), witness })
    }
}

/// A copy of a backup beside the store, which is removed at the end.
struct Copy(PathBuf);

impl Copy {
    fn of(backup: &Path, path: &Path) -> Result<Self, StoreError> {
        let failed = |source| StoreError::Io { doing: "copy the backup", file: backup.to_owned(), source };
        if !backup.exists() {
            return Err(StoreError::NotThere { file: backup.to_owned() });
        }
        let copy = Self(beside(path, ".restoring"));
        copy.remove();
        let copied = |from: &Path, to: &Path| {
            // Private from the beginning, and never through a link that another user put there.
            let mut to = make_private(to)?;
            let mut from = fs::File::open(from).map_err(failed)?;
            io::copy(&mut from, &mut to).map(drop).map_err(failed)
        };
        copied(backup, &copy.0)?;
        let log = beside(backup, "-wal");
        if log.exists() {
            copied(&log, &beside(&copy.0, "-wal"))?;
        }
        Ok(copy)
    }

    fn become_store(&self, path: &Path) -> Result<(), StoreError> {
        let failed = |source| StoreError::Io { doing: "put the backup at", file: path.to_owned(), source };
        fs::rename(&self.0, path).map_err(failed)
    }

    fn remove(&self) {
        for suffix in ["", "-wal", "-shm"] {
            // A file that is not there needs no removal.
            fs::remove_file(beside(&self.0, suffix)).ok();
        }
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        self.remove();
    }
}

fn returned(replaced: &mut Store, restored: &mut Store) -> Result<Returned, StoreError> {
    let ids = |store: &mut Store| {
        Ok::<_, StoreError>(store.roles()?.into_iter().map(|(id, role, _)| (id, role.name)))
    };
    let now: BTreeMap<String, String> = ids(replaced)?.ordered();
    let roles = ids(restored)?.filter(|(id, _)| !now.contains_key(id)).map(|(_, name)| name).collect();
    let now: BTreeMap<String, Head> = by_path(replaced)?;
    let then = by_path(restored)?;
    let mut returned = Returned { compared: true, roles, ..Returned::default() };
    for (path, head) in &then {
        let other = now.get(path);
        let is_readable = |head: &Head, number: u64| {
            head.version(number)
                .is_some_and(|version| matches!(version.state, State::Live | State::Unused { .. }))
        };
        let numbers = head.versions.iter().map(|version| version.number);
        let back = numbers
            .filter(|number| is_readable(head, *number))
            .filter(|number| !other.is_some_and(|other| is_readable(other, *number)));
        returned.versions.extend(back.map(|number| (path.clone(), number)));
        let newer = other.filter(|other| other.current > head.current);
        returned.older.extend(newer.map(|other| (path.clone(), other.current, head.current)));
    }
    returned.lost.extend(now.into_keys().filter(|path| !then.contains_key(path)));
    Ok(returned)
}

fn by_path(store: &mut Store) -> Result<BTreeMap<String, Head>, StoreError> {
    Ok(store.list("")?.into_iter().map(|head| (head.path.clone(), head)).ordered())
}
