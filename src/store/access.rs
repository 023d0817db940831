//! Who opened the store, and what they do with it.
//!
//! Each operation is one transaction: it takes the keys as they are now, does its work, and records it. A refusal is recorded too.
//!
//! *Invariant:* nothing is answered that was not recorded, and nothing is recorded that was not done.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::SystemTime;

use rusqlite::params;

use super::LARGEST_VALUE;
use super::audit::{About, Action, BEFORE_ALL, Outcome, Subject};
use super::chance::{hex, key, nonce, random, unhex};
use super::cost::{Cost, SALT};
use super::error::StoreError;
use super::file::{File, Writing};
use super::head::{Head, Version};
use super::journal::{begin_era, record};
use super::keys::{self, Environment, ID, Id, RoleKeys};
use super::moment::Moment;
use super::path::SecretPath;
use super::role::{Allowance, Ended, Right};
use super::rows::{all_heads, forget, head, read_value, write_head, write_value};
use super::seal::{Key, Place};
use crate::secret::{Fields, Secret};

/// With what a store is opened.
#[derive(Clone, Debug)]
pub enum Credential {
    /// The owner's key: 64 hexadecimal digits.
    Owner(Secret<str>),
    /// A role, as `role add` printed it.
    Role {
        /// Its role id: 32 hexadecimal digits.
        id: String,
        /// Its secret-id.
        secret_id: Secret<str>,
    },
}

/// What a new role is to be.
#[derive(Clone, Debug)]
pub struct NewRole {
    /// What people call it.
    pub name: String,
    /// The globs of each right.
    pub grants: BTreeMap<Right, Vec<String>>,
    /// From then on it may do nothing.
    pub expires: Option<Moment>,
    /// How many log-ins it is good for.
    pub uses: Option<u64>,
}

/// What a role logs in with.
#[derive(Clone, Debug)]
pub struct RoleKeyPair {
    /// No secret.
    pub id: String,
    /// Shown once.
    pub secret_id: Secret<str>,
}

/// A value that was read.
#[derive(Clone, Debug)]
pub struct Value {
    /// Its fields.
    pub fields: Secret<Fields>,
    /// Which version it is.
    pub version: Version,
}

/// An open store.
#[derive(Debug)]
pub struct Store {
    file: File,
    pub(super) id: Id,
    identity: Identity,
}

#[derive(Clone, Debug)]
enum Identity {
    Owner { root: Key },
    Role { id: Id, key: Key },
}

/// The keys of one transaction, as they are now.
pub(super) struct Keys {
    pub(super) who: String,
    pub(super) environments: Vec<Environment>,
    pub(super) audit: Key,
    power: Power,
}

/// What the keys are good for.
enum Power {
    /// Everything.
    Root(Key),
    Allowed(Allowance),
}

/// The parts of the store's own row names.
const STORE_ID: &str = "id";
const ROOT: &str = "root";
pub(super) const AUDIT_KEY: &str = "audit key";

impl Store {
    /// A key for an owner. To be kept before a store depends on it.
    pub fn new_key() -> Result<Secret<str>, StoreError> {
        Ok(Secret::new(hex(key()?.expose())))
    }

    /// Makes a store at this path, which nothing but this key opens.
    pub fn init(path: &Path, owner: &Secret<str>) -> Result<(), StoreError> {
        let owner = owner_key(owner)?;
        let (id, root, audit): (Id, Key, Key) = (random()?, key()?, key()?);
        File::make(path, |writing| {
            let meta = |name: &str, value: Vec<u8>| {
                writing.execute("INSERT INTO meta VALUES (?1, ?2)", params![name, value]).map(drop)
            };
            meta(STORE_ID, id.to_vec())?;
            meta(ROOT, sealed(owner.seal(nonce()?, place(ROOT, &[&id]), root.expose()))?)?;
            meta(AUDIT_KEY, sealed(root.seal(nonce()?, place(AUDIT_KEY, &[&id]), audit.expose()))?)?;
            begin_era(writing, &id, &root, &audit, (1, BEFORE_ALL))?;
            let keys = Keys {
                who: OWNER.to_owned(),
                environments: Vec::new(),
                audit,
                power: Power::Root(root.clone()),
            };
            record(writing, &id, &keys, Action::Init, Outcome::Done, About::Named("the store".to_owned()))
        })
        .map(drop)
    }

    /// Opens a store. A role's log-in counts, and is recorded.
    pub fn open(path: &Path, credential: &Credential) -> Result<Self, StoreError> {
        let mut file = File::open(path)?;
        let writing = file.write()?;
        let id: Id =
            meta(&writing, STORE_ID)?.try_into().map_err(|_| damaged("its id", "it has another length"))?;
        let identity = match credential {
            Credential::Owner(text) => owner(&writing, &id, text)?,
            Credential::Role { id: role, secret_id } => role_of(&writing, role, secret_id)?,
        };
        let mut store_keys = keys_of(&writing, &id, &identity, true)?;
        let outcome = match &mut store_keys {
            Ok(keys) => {
                let about = About::Named(keys.who.clone());
                record(&writing, &id, keys, Action::LogIn, Outcome::Done, about)
            }
            Err((keys, _)) => {
                let about = About::Named(keys.who.clone());
                record(&writing, &id, keys, Action::LogIn, Outcome::Refused, about)
            }
        };
        outcome?;
        writing.commit()?;
        match store_keys {
            Ok(_) => Ok(Self { file, id, identity }),
            Err((_, error)) => Err(error),
        }
    }

    /// Another number whenever any process has changed a secret; reading one changes nothing.
    pub fn changes(&self) -> Result<u64, StoreError> {
        self.file.changes()
    }

    /// Stores a new version of a secret: its number. What it reports is on disk.
    pub fn put(
        &mut self,
        path: &SecretPath,
        fields: &Secret<Fields>,
        note: Option<&str>,
    ) -> Result<u64, StoreError> {
        let text = serde_json::to_vec(fields.expose()).map(Secret::<Vec<u8>>::new);
        let text = text.map_err(|_| damaged("the value", "it is no JSON"))?;
        let size = text.expose().len();
        if size > LARGEST_VALUE {
            return Err(StoreError::TooLarge { path: path.to_string(), size, limit: LARGEST_VALUE });
        }
        self.act(Action::Put, Right::Write, path, |writing, id, keys, now| {
            let environment = match keys.environment(path) {
                Some(environment) => environment.clone(),
                None => add_environment(writing, id, keys, path.environment())?,
            };
            let (row, head) = head(writing, id, &environment, path)?;
            let mut head = head.unwrap_or_else(|| Head::new(path.as_str(), &keys.who, now));
            let (number, forgotten) = head.add(&keys.who, now);
            if let Some(note) = note {
                head.note = Some(note.to_owned());
            }
            write_value(writing, id, &environment, (&row, path, number), text.expose())?;
            forget(writing, &environment, &row, &forgotten)?;
            write_head(writing, id, &environment, &row, &mut head)?;
            Ok((number, Some(number), Some(head.serial)))
        })
    }

    /// Reads a version of a secret, or the current one.
    pub fn get(&mut self, path: &SecretPath, version: Option<u64>) -> Result<Value, StoreError> {
        self.act(Action::Read, Right::Read, path, |writing, id, keys, _| {
            let (environment, row, head) = keys.find(writing, id, path)?;
            let version = head
                .readable(version)
                .map_err(|why| StoreError::Unreadable { path: path.to_string(), why })?;
            let fields = read_value(writing, id, environment, (&row, path, version.number))?;
            Ok((Value { fields, version: version.clone() }, Some(version.number), None))
        })
    }

    /// All about a secret but its values.
    pub fn history(&mut self, path: &SecretPath) -> Result<Head, StoreError> {
        self.act(Action::History, Right::Read, path, |writing, id, keys, _| {
            let (_, _, head) = keys.find(writing, id, path)?;
            Ok((head, None, None))
        })
    }

    /// Deletes versions, or all, so that they can be undeleted: how many it were.
    pub fn delete(&mut self, path: &SecretPath, versions: &[u64]) -> Result<usize, StoreError> {
        self.change(Action::Delete, Right::Write, path, |head, now| (head.delete(versions, now), Vec::new()))
    }

    /// Brings versions back, or all: how many it were.
    pub fn undelete(&mut self, path: &SecretPath, versions: &[u64]) -> Result<usize, StoreError> {
        self.change(Action::Undelete, Right::Write, path, |head, _| (head.undelete(versions), Vec::new()))
    }

    /// Destroys versions, or all, for ever: how many it were.
    pub fn destroy(&mut self, path: &SecretPath, versions: &[u64]) -> Result<usize, StoreError> {
        self.change(Action::Destroy, Right::Admin, path, |head, now| {
            let gone = head.destroy(versions, now);
            (gone.len(), gone)
        })
    }

    /// Every secret whose path begins so and that may be read.
    pub fn list(&mut self, prefix: &str) -> Result<Vec<Head>, StoreError> {
        let id = self.id;
        self.transact(|writing, keys, _| {
            let mut heads = Vec::new();
            for environment in &keys.environments {
                let name = format!("{}/", environment.name);
                if !(name.starts_with(prefix) || prefix.starts_with(&name)) {
                    continue;
                }
                for (_, head) in all_heads(writing, &id, environment)? {
                    if head.path.starts_with(prefix) && keys.allows(Right::Read, &parsed(&head.path)?) {
                        heads.push(head);
                    }
                }
            }
            record(writing, &id, keys, Action::List, Outcome::Done, About::Named(prefix.to_owned()))?;
            heads.sort_by(|one, other| one.path.cmp(&other.path));
            Ok(Ok(heads))
        })
    }

    /// Gives the store another owner's key; the one before opens it no more.
    pub fn rekey(&mut self, new: &Secret<str>) -> Result<(), StoreError> {
        let (root, id, new) = (self.root("change the owner's key")?, self.id, owner_key(new)?);
        self.transact(|writing, keys, _| {
            let sealed_root = sealed(new.seal(nonce()?, place(ROOT, &[&id]), root.expose()))?;
            writing.execute("UPDATE meta SET value = ?2 WHERE name = ?1", params![ROOT, sealed_root])?;
            record(
                writing,
                &id,
                keys,
                Action::Rekey,
                Outcome::Done,
                About::Named("the owner's key".to_owned()),
            )?;
            Ok(Ok(()))
        })
    }

    /// For [`super::verify`].
    pub(super) fn as_owner<T>(
        &mut self,
        what: &'static str,
        act: impl FnOnce(&Writing<'_>, &Id, &Key, &Keys) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let (root, id) = (self.root(what)?, self.id);
        self.transact(|writing, keys, _| act(writing, &id, &root, keys).map(Ok))
    }

    pub(super) fn integrity(&self) -> Result<Vec<String>, StoreError> {
        self.file.integrity()
    }

    pub(super) fn root(&self, what: &'static str) -> Result<Key, StoreError> {
        match &self.identity {
            Identity::Owner { root } => Ok(root.clone()),
            Identity::Role { .. } => Err(StoreError::OwnerOnly { what }),
        }
    }

    fn change(
        &mut self,
        action: Action,
        right: Right,
        path: &SecretPath,
        change: impl FnOnce(&mut Head, Moment) -> (usize, Vec<u64>),
    ) -> Result<usize, StoreError> {
        self.act(action, right, path, |writing, id, keys, now| {
            let (environment, row, mut head) = keys.find(writing, id, path)?;
            let (count, forgotten) = change(&mut head, now);
            forget(writing, environment, &row, &forgotten)?;
            write_head(writing, id, environment, &row, &mut head)?;
            Ok((count, None, Some(head.serial)))
        })
    }

    /// One operation on one secret, recorded with what came of it.
    fn act<T>(
        &mut self,
        action: Action,
        right: Right,
        path: &SecretPath,
        act: impl FnOnce(
            &Writing<'_>,
            &Id,
            &mut Keys,
            Moment,
        ) -> Result<(T, Option<u64>, Option<u64>), StoreError>,
    ) -> Result<T, StoreError> {
        let id = self.id;
        self.transact(|writing, keys, now| {
            let about = |keys: &Keys, version, serial| keys.about(&id, path, version, serial);
            if !keys.allows(right, path) {
                record(writing, &id, keys, action, Outcome::Refused, about(keys, None, None)?)?;
                return Ok(Err(StoreError::Denied { right, path: path.to_string() }));
            }
            match act(writing, &id, keys, now) {
                Ok((result, version, serial)) => {
                    record(writing, &id, keys, action, Outcome::Done, about(keys, version, serial)?)?;
                    Ok(Ok(result))
                }
                Err(error @ (StoreError::Missing { .. } | StoreError::Unreadable { .. })) => {
                    record(writing, &id, keys, action, Outcome::Missing, about(keys, None, None)?)?;
                    Ok(Err(error))
                }
                Err(error) => Err(error),
            }
        })
    }

    /// What the closure answers as an error is rolled back; what it answers as a result is written, a refusal too.
    pub(super) fn transact<T>(
        &mut self,
        act: impl FnOnce(&Writing<'_>, &mut Keys, Moment) -> Result<Result<T, StoreError>, StoreError>,
    ) -> Result<T, StoreError> {
        let writing = self.file.write()?;
        let mut keys = keys_of(&writing, &self.id, &self.identity, false)?.map_err(|(_, error)| error)?;
        let answer = act(&writing, &mut keys, SystemTime::now().into())?;
        writing.commit()?;
        answer
    }
}

impl Keys {
    pub(super) fn environment(&self, path: &SecretPath) -> Option<&Environment> {
        self.environments.iter().find(|environment| environment.name == path.environment())
    }

    fn allows(&self, right: Right, path: &SecretPath) -> bool {
        match &self.power {
            Power::Root(_) => true,
            Power::Allowed(allowance) => allowance.allows(right, path),
        }
    }

    /// A secret that is there.
    fn find(
        &self,
        writing: &Writing<'_>,
        id: &Id,
        path: &SecretPath,
    ) -> Result<(&Environment, [u8; 32], Head), StoreError> {
        let missing = || StoreError::Missing { path: path.to_string() };
        let environment = self.environment(path).ok_or_else(missing)?;
        let (row, head) = head(writing, id, environment, path)?;
        Ok((environment, row, head.ok_or_else(missing)?))
    }

    /// What the record of an access says it was about. Who has no key for an environment names it openly.
    fn about(
        &self,
        id: &Id,
        path: &SecretPath,
        version: Option<u64>,
        serial: Option<u64>,
    ) -> Result<About, StoreError> {
        let Some(environment) = self.environment(path) else { return Ok(About::Named(path.to_string())) };
        let subject = Subject { path: path.to_string(), version, serial };
        let parts: [&[u8]; 2] = [id, &environment.id];
        let subject = sealed(keys::seal(&environment.journal, nonce()?, place("subject", &parts), &subject))?;
        Ok(About::Secret { environment: environment.id, sealed: subject })
    }
}

/// What the audit calls whoever has the owner's key.
const OWNER: &str = "owner";

fn owner_key(text: &Secret<str>) -> Result<Key, StoreError> {
    unhex(text.expose()).map(Key::new).ok_or(StoreError::Refused)
}

fn owner(writing: &Writing<'_>, id: &Id, text: &Secret<str>) -> Result<Identity, StoreError> {
    let key = owner_key(text)?;
    let root = key.open(place(ROOT, &[id]), &meta(writing, ROOT)?).ok_or(StoreError::Refused)?;
    let root = Key::from_opened(&root).ok_or_else(|| damaged("the root key", "it has another length"))?;
    Ok(Identity::Owner { root })
}

/// Whoever does not know the role id pays as much as who does not know the secret-id, and hears the same.
fn role_of(writing: &Writing<'_>, role: &str, secret_id: &Secret<str>) -> Result<Identity, StoreError> {
    let id: Id = unhex(role).unwrap_or_default();
    let found = writing.one("SELECT salt, cost FROM roles WHERE id = ?1", [id], |row| {
        Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, String>(1)?))
    })?;
    let is_known = found.is_some();
    let (salt, cost) = match found {
        Some((salt, cost)) => (salt, cost.parse().map_err(|why: String| damaged("a role", &why))?),
        None => (vec![0; SALT], Cost::SECRET_ID),
    };
    let key = sealed(cost.key(secret_id.expose().trim(), &salt))?;
    if is_known { Ok(Identity::Role { id, key }) } else { Err(StoreError::Refused) }
}

/// The keys as they are now. Inside: those of a role that may do nothing any more, to record its refusal with.
fn keys_of(
    writing: &Writing<'_>,
    id: &Id,
    identity: &Identity,
    logs_in: bool,
) -> Result<Result<Keys, (Keys, StoreError)>, StoreError> {
    match identity {
        Identity::Owner { root } => {
            let audit = root.open(place(AUDIT_KEY, &[id]), &meta(writing, AUDIT_KEY)?);
            let audit = audit.as_ref().and_then(Key::from_opened);
            let audit = audit.ok_or_else(|| damaged("the audit's key", "it does not open"))?;
            let environments = environments(writing, id, root)?;
            Ok(Ok(Keys { who: OWNER.to_owned(), environments, audit, power: Power::Root(root.clone()) }))
        }
        Identity::Role { id: role_id, key } => {
            let found = writing.one("SELECT sealed, uses FROM roles WHERE id = ?1", [role_id], |row| {
                Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, u64>(1)?))
            })?;
            let (own, log_ins) = found.ok_or(StoreError::Refused)?;
            let own: RoleKeys =
                keys::open(key, place("role", &[id, role_id]), &own).ok_or(StoreError::Refused)?;
            let RoleKeys { role, environments, audit } = own;
            let allowance = Allowance::compile(&role.grants)
                .map_err(|_| damaged("a role", "its patterns cannot be read"))?;
            let standing = role.standing(if logs_in { log_ins } else { 0 }, SystemTime::now().into());
            let keys = Keys { who: role.name, environments, audit, power: Power::Allowed(allowance) };
            if let Err(ended) = standing {
                let why = match ended {
                    Ended::Expired(at) => format!("expired at {at}"),
                    Ended::UsedUp(uses) => format!("has logged in {uses} times, which is all it may"),
                };
                return Ok(Err((keys, StoreError::Ended { why })));
            }
            if logs_in {
                writing.execute("UPDATE roles SET uses = uses + 1 WHERE id = ?1", [role_id])?;
            }
            Ok(Ok(keys))
        }
    }
}

pub(super) fn environments(
    writing: &Writing<'_>,
    id: &Id,
    root: &Key,
) -> Result<Vec<Environment>, StoreError> {
    let rows = writing.all("SELECT id, sealed FROM environments", [], |row| {
        Ok((row.get::<_, [u8; ID]>(0)?, row.get::<_, Vec<u8>>(1)?))
    })?;
    let open = |(environment, sealed): (Id, Vec<u8>)| {
        let opened = keys::open(root, place("environment", &[id, &environment]), &sealed);
        opened.ok_or_else(|| damaged(&format!("environment {}", hex(&environment)), "its keys do not open"))
    };
    rows.into_iter().map(open).collect()
}

/// Only the owner can: who has not the root key cannot give it to roles.
fn add_environment(
    writing: &Writing<'_>,
    id: &Id,
    keys: &mut Keys,
    name: &str,
) -> Result<Environment, StoreError> {
    let Power::Root(root) = &keys.power else {
        return Err(StoreError::OwnerOnly { what: "make an environment" });
    };
    let made = add_environment_as(writing, id, root, name)?;
    keys.environments.push(made.clone());
    Ok(made)
}

pub(super) fn add_environment_as(
    writing: &Writing<'_>,
    id: &Id,
    root: &Key,
    name: &str,
) -> Result<Environment, StoreError> {
    let made = Environment { id: random()?, name: name.to_owned(), data: key()?, journal: key()? };
    let keys = sealed(keys::seal(root, nonce()?, place("environment", &[id, &made.id]), &made))?;
    writing.execute("INSERT INTO environments VALUES (?1, ?2)", params![made.id, keys])?;
    Ok(made)
}

pub(super) fn meta(writing: &Writing<'_>, name: &str) -> Result<Vec<u8>, StoreError> {
    let found = writing.one("SELECT value FROM meta WHERE name = ?1", [name], |row| row.get(0))?;
    found.ok_or_else(|| damaged(name, "it is not there"))
}

pub(super) fn place<'a>(kind: &'static str, parts: &'a [&'a [u8]]) -> Place<'a> {
    Place { kind, parts }
}

pub(super) fn parsed(path: &str) -> Result<SecretPath, StoreError> {
    SecretPath::parse(path).map_err(|why| damaged(path, &why))
}

/// What seals only fails for more than a cipher takes, far above every limit.
pub(super) fn sealed<T>(sealed: Option<T>) -> Result<T, StoreError> {
    sealed.ok_or_else(|| damaged("a value", "it cannot be sealed"))
}

pub(super) fn damaged(place: &str, why: &str) -> StoreError {
    StoreError::Damaged { place: place.to_owned(), why: why.to_owned() }
}

pub(super) fn unfit(what: String, why: String) -> StoreError {
    StoreError::Unfit { what, why }
}
