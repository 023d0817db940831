//! A store is made, opened and worked with.
//!
//! Each operation is one transaction: it takes the keys as they are now, does its work, and records it. A refusal is recorded too.
//!
//! *Invariant:* nothing is answered that was not recorded, and nothing is recorded that was not done.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::SystemTime;

use rusqlite::params;

use super::audit::{About, Action, BEFORE_ALL, Outcome};
use super::chance::{key, nonce, random};
use super::error::{StoreError, damaged, sealed};
use super::file::{File, Writing};
use super::hex::hex;
use super::journal::{begin_era, record};
use super::keys::Id;
use super::moment::Moment;
use super::owner::{NewOwner, OwnerSecret, owner, passphrase};
use super::path::SecretPath;
use super::power::{AUDIT_KEY, Identity, Keys, STORE_ID, keys_of, meta, role_of};
use super::role::Right;
use super::seal::{Key, place};
use crate::secret::Secret;

/// With what a store is opened.
#[derive(Clone, Debug)]
pub enum Credential {
    /// The owner.
    Owner(OwnerSecret),
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

/// An open store.
#[derive(Debug)]
pub struct Store {
    file: File,
    pub(super) id: Id,
    identity: Identity,
}

impl Store {
    /// A key for an owner. To be kept before a store depends on it.
    pub fn new_key() -> Result<Secret<str>, StoreError> {
        Ok(Secret::new(hex(key()?.expose())))
    }

    /// Makes a store at this path, which nothing but this opens.
    pub fn init(path: &Path, owner: &OwnerSecret) -> Result<(), StoreError> {
        let owner = NewOwner::new(owner)?;
        let (id, root, audit): (Id, Key, Key) = (random()?, key()?, key()?);
        File::make(path, |writing| {
            let meta = |name: &str, value: Vec<u8>| {
                writing.execute("INSERT INTO meta VALUES (?1, ?2)", params![name, value]).map(drop)
            };
            meta(STORE_ID, id.to_vec())?;
            owner.write(writing, &id, &root)?;
            meta(AUDIT_KEY, sealed(root.seal(nonce()?, place(AUDIT_KEY, &[&id]), audit.expose()))?)?;
            begin_era(writing, &id, &root, &audit, (1, BEFORE_ALL))?;
            let keys = Keys::of_owner(Vec::new(), audit, &root);
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

    /// Whether the owner of this store has a passphrase and no key.
    pub fn takes_passphrase(path: &Path) -> Result<bool, StoreError> {
        let mut file = File::open(path)?;
        Ok(passphrase(&file.write()?)?.is_some())
    }

    /// Gives the store another owner's key or passphrase; what opened it before does so no more.
    pub fn rekey(&mut self, new: &OwnerSecret) -> Result<(), StoreError> {
        let (root, id, new) = (self.root("change the owner's key")?, self.id, NewOwner::new(new)?);
        self.transact(|writing, keys, _| {
            new.write(writing, &id, &root)?;
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

    /// One operation on one secret, recorded with what came of it.
    pub(super) fn act<T>(
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
