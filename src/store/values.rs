//! Operations on secrets: put, get, list, delete, undelete, destroy.
//!
//! *Invariant:* each is one transaction, recorded with its result.

use std::collections::BTreeMap;

use super::LARGEST_VALUE;
use super::access::Store;
use super::audit::{About, Action, Outcome};
use super::error::{StoreError, damaged, unfit};
use super::head::{Head, Version};
use super::journal::record;
use super::moment::Moment;
use super::path::SecretPath;
use super::role::Right;
use super::roles::add_environment;
use super::rows::{forget, head, heads_below, parsed, read_packed, read_value, write_head, write_value};
use crate::secret::{Fields, Packed, Secret};

/// No other text than a value is longer, in bytes: as long as a path may be.
const LONGEST_TEXT: usize = 512;

/// A value that was read.
#[derive(Clone, Debug)]
pub struct Value {
    /// Its fields.
    pub fields: Secret<Fields>,
    /// Which version it is.
    pub version: Version,
}

/// Options of a `put`.
#[derive(Clone, Copy, Debug, Default)]
pub struct With<'a> {
    /// A note about the secret.
    pub note: Option<&'a str>,
    /// How many versions are kept from now on.
    pub keep: Option<u32>,
    /// Put it even during a rotation.
    pub force: bool,
}

impl Store {
    /// Stores a new version of a secret; returns its number. When it returns, the data is on disk.
    pub fn put(
        &mut self,
        path: &SecretPath,
        fields: &Secret<Fields>,
        with: With<'_>,
    ) -> Result<u64, StoreError> {
        let text = text(path, fields)?;
        with.note.map_or(Ok(()), |note| short("the note", note))?;
        self.act(Action::Put, Right::Write, path, |writing, id, keys, now| {
            let environment = match keys.environment(path) {
                Some(environment) => environment.clone(),
                None => add_environment(writing, id, keys, path.environment())?,
            };
            let (row, head) = head(writing, id, &environment, path)?;
            let mut head = head.unwrap_or_else(|| Head::new(path.as_str(), &keys.who, now));
            undisturbed(&head, with.force, now)?;
            head.keep = with.keep.unwrap_or(head.keep);
            let (number, forgotten) = head.add(&keys.who, now);
            if let Some(note) = with.note {
                head.note = Some(note.to_owned());
            }
            write_value(writing, id, &environment, (&row, &mut head, number), text.expose())?;
            forget(writing, &environment, &row, &forgotten)?;
            let change = write_head(writing, id, &environment, &row, &mut head)?;
            Ok((number, Some(number), Some(change)))
        })
    }

    /// The same as [`Store::get`] for who holds what is read: its number, when it was written, and its fields if they weigh no more than this.
    pub fn get_packed(
        &mut self,
        path: &SecretPath,
        version: Option<u64>,
        max_size: usize,
    ) -> Result<(u64, Moment, Packed), StoreError> {
        self.act(Action::Read, Right::Read, path, |writing, id, keys, now| {
            let (environment, row, head) = keys.find(writing, id, path)?;
            let version = head
                .readable(version, now)
                .map_err(|why| StoreError::Unreadable { path: path.to_string(), why })?;
            let fields = read_packed(writing, id, environment, (&row, &head, version.number), max_size)?;
            Ok(((version.number, version.created, fields), Some(version.number), None))
        })
    }

    /// Reads a version of a secret, or the current one.
    pub fn get(&mut self, path: &SecretPath, version: Option<u64>) -> Result<Value, StoreError> {
        self.act(Action::Read, Right::Read, path, |writing, id, keys, now| {
            let (environment, row, head) = keys.find(writing, id, path)?;
            let version = head
                .readable(version, now)
                .map_err(|why| StoreError::Unreadable { path: path.to_string(), why })?;
            let fields = read_value(writing, id, environment, (&row, &head, version.number))?;
            Ok((Value { fields, version: version.clone() }, Some(version.number), None))
        })
    }

    /// The version that [`Self::get`] would read; `None` if it would refuse. It reveals no value and is not recorded: an agent asks this
    /// for each of its secrets after every change.
    pub fn peek(&mut self, path: &SecretPath, version: Option<u64>) -> Result<Option<u64>, StoreError> {
        let id = self.id;
        self.look(|reading, keys, now| {
            if !keys.allows(Right::Read, path) {
                return Ok(None);
            }
            match keys.find(reading, &id, path) {
                Ok((_, _, head)) => Ok(head.readable(version, now).ok().map(|version| version.number)),
                Err(StoreError::Missing { .. }) => Ok(None),
                Err(error) => Err(error),
            }
        })
    }

    /// What is below a folder, whose path ends with a slash, and may be read: by its path from there on, the version that [`Self::get`]
    /// would read. With `deep` also what is in folders in it. As [`Self::peek`] it reveals no value, and is not recorded.
    ///
    /// # Errors
    /// [`StoreError::Denied`] if there can be nothing that may be read.
    pub fn peek_below(&mut self, folder: &str, deep: bool) -> Result<BTreeMap<String, u64>, StoreError> {
        let id = self.id;
        self.look(|reading, keys, now| {
            if !keys.allows_below(Right::Read, folder, deep) {
                return Err(StoreError::Denied { right: Right::Read, path: folder.to_owned() });
            }
            let name = folder.split('/').next().unwrap_or_default();
            let mut found = BTreeMap::new();
            for environment in keys.environments.iter().filter(|environment| environment.name == name) {
                for head in heads_below(reading, &id, environment, folder)? {
                    let below = head.path.strip_prefix(folder).filter(|below| deep || !below.contains('/'));
                    if let (Some(below), Ok(version)) = (below, head.readable(None, now))
                        && keys.allows(Right::Read, &parsed(&head.path)?)
                    {
                        found.insert(below.to_owned(), version.number);
                    }
                }
            }
            Ok(found)
        })
    }

    /// Whether whoever opened it may have this right to anything below a folder, as for [`Self::peek_below`]. It is not recorded.
    pub fn allows_below(&mut self, right: Right, folder: &str, deep: bool) -> Result<bool, StoreError> {
        self.look(|_, keys, _| Ok(keys.allows_below(right, folder, deep)))
    }

    /// All about a secret except its values.
    pub fn history(&mut self, path: &SecretPath) -> Result<Head, StoreError> {
        self.act(Action::History, Right::Read, path, |writing, id, keys, _| {
            let (_, _, head) = keys.find(writing, id, path)?;
            Ok((head, None, None))
        })
    }

    /// Deletes versions, or all, so that they can be undeleted; returns how many.
    pub fn delete(&mut self, path: &SecretPath, versions: &[u64], force: bool) -> Result<usize, StoreError> {
        self.change(Action::Delete, Right::Write, path, |head, now| {
            undisturbed(head, force, now)?;
            Ok((head.delete(versions, now), Vec::new()))
        })
    }

    /// Undeletes versions, or all; returns how many.
    pub fn undelete(&mut self, path: &SecretPath, versions: &[u64]) -> Result<usize, StoreError> {
        self.change(Action::Undelete, Right::Write, path, |head, _| Ok((head.undelete(versions), Vec::new())))
    }

    /// Destroys versions, or all, for ever; returns how many. The `-wal` beside the file still has them until [`Store::empty_log`].
    pub fn destroy(&mut self, path: &SecretPath, versions: &[u64], force: bool) -> Result<usize, StoreError> {
        self.change(Action::Destroy, Right::Admin, path, |head, now| {
            undisturbed(head, force, now)?;
            let pending = head.rotation.pending.filter(|pending| versions.is_empty() || versions.contains(pending));
            if let Some(pending) = pending.filter(|_| !force) {
                let why = format!(
                    "has version {pending} of a rotation that did not end, which may be known elsewhere already: \
                     let it end with `squire store rotate`, or use --force"
                );
                return Err(unfit(head.path.clone(), why));
            }
            let gone = head.destroy(versions, now);
            Ok((gone.len(), gone))
        })
    }

    /// Every secret whose path begins with this and that may be read.
    pub fn list(&mut self, prefix: &str) -> Result<Vec<Head>, StoreError> {
        short("the prefix", prefix)?;
        let id = self.id;
        self.transact(|writing, keys, _| {
            let mut heads = Vec::new();
            for environment in &keys.environments {
                let name = format!("{}/", environment.name);
                if !(name.starts_with(prefix) || prefix.starts_with(&name)) {
                    continue;
                }
                for head in heads_below(writing, &id, environment, prefix)? {
                    if keys.allows(Right::Read, &parsed(&head.path)?) {
                        heads.push(head);
                    }
                }
            }
            record(writing, &id, keys, Action::List, Outcome::Done, About::Named(prefix.to_owned()))?;
            heads.sort_by(|one, other| one.path.cmp(&other.path));
            Ok(Ok(heads))
        })
    }

    fn change(
        &mut self,
        action: Action,
        right: Right,
        path: &SecretPath,
        change: impl FnOnce(&mut Head, Moment) -> Result<(usize, Vec<u64>), StoreError>,
    ) -> Result<usize, StoreError> {
        self.act(action, right, path, |writing, id, keys, now| {
            let (environment, row, mut head) = keys.find(writing, id, path)?;
            let (count, forgotten) = change(&mut head, now)?;
            forget(writing, environment, &row, &forgotten)?;
            let change = write_head(writing, id, environment, &row, &mut head)?;
            Ok((count, None, Some(change)))
        })
    }
}

/// Checks that no rotation is under way, unless it may be disturbed.
pub(super) fn undisturbed(head: &Head, force: bool, now: Moment) -> Result<(), StoreError> {
    match head.rotation.claimed(now) {
        Some(until) if !force => {
            let pending = head.rotation.pending.unwrap_or_default();
            Err(StoreError::Rotating { path: head.path.clone(), pending, until })
        }
        Some(_) | None => Ok(()),
    }
}

/// Checks the length of a text: a note in a head, a prefix in the audit.
fn short(what: &str, text: &str) -> Result<(), StoreError> {
    if text.len() <= LONGEST_TEXT {
        return Ok(());
    }
    Err(unfit(what.to_owned(), format!("has {} bytes, and may have {LONGEST_TEXT}", text.len())))
}

/// A value as it is sealed.
pub(super) fn text(path: &SecretPath, fields: &Secret<Fields>) -> Result<Secret<Vec<u8>>, StoreError> {
    let text = serde_json::to_vec(fields.expose()).map(Secret::<Vec<u8>>::new);
    let text = text.map_err(|_| damaged("the value", "it is no JSON"))?;
    let size = text.expose().len();
    if size > LARGEST_VALUE {
        return Err(StoreError::TooLarge { path: path.to_string(), size, limit: LARGEST_VALUE });
    }
    Ok(text)
}
