//! Makes and opens a store, and runs every operation on it.
//!
//! Each operation is one transaction. It takes the present keys, checks that the store continues from the entry that was seen last, does
//! its work, and records it. A refusal is recorded too.
//!
//! *Invariant:* no answer is given that was not recorded, and nothing is recorded that was not done. No process waits for the Argon2 of
//! another.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::SystemTime;

use super::audit::{About, Action, Change, Outcome};
use super::chance::{key, random};
use super::cost::{Cost, SALT};
use super::error::{StoreError, damaged, sealed};
use super::file::{File, Reading, Writing};
use super::journal::{bind_keys, check_keys, follow, record};
use super::keys::{Id, Tip};
use super::moment::Moment;
use super::owner::{NewOwner, OwnerSecret, new_owner_keys, owner_key, passphrase, root, write_owner_keys};
use super::path::SecretPath;
use super::power::{Identity, Keys, OWNER, STORE_ID, about, count_log_in, keys_of, standing};
use super::refusals;
use super::role::Right;
use super::roles::write_writer;
use super::seal::Key;
use super::witness::Witness;
use crate::hex::{hex, unhex};
use crate::secret::Secret;

/// The credential that opens a store.
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

/// The settings of a new role.
#[derive(Clone, Debug)]
pub struct NewRole {
    /// Its name for people.
    pub name: String,
    /// The globs of each right.
    pub grants: BTreeMap<Right, Vec<String>>,
    /// The time after which the role may do nothing.
    pub expires: Option<Moment>,
    /// The number of log-ins that the role may make.
    pub uses: Option<u64>,
}

/// The credential of a role.
#[derive(Clone, Debug)]
pub struct RoleKeyPair {
    /// The role id. It is not secret.
    pub id: String,
    /// The secret-id. It is shown once.
    pub secret_id: Secret<str>,
}

/// What the caller saw of the store before.
#[derive(Clone, Copy, Debug)]
pub enum Past<'a> {
    /// The store has to continue from this witness, if there is one.
    Seen(Option<&'a Witness>),
    /// No check: for a look at any store, and to declare that a store is the right one.
    Whatever,
}

/// An open store.
#[derive(Debug)]
pub struct Store {
    pub(super) file: File,
    pub(super) id: Id,
    identity: Identity,
    /// The end of its audit at the last look.
    seen: Option<Tip>,
}

impl Store {
    /// Makes a key for an owner. Keep it before a store depends on it.
    pub fn new_key() -> Result<Secret<str>, StoreError> {
        Ok(Secret::new(hex(key()?.expose())))
    }

    /// Makes a store at this path, which only this credential opens.
    pub fn init(path: &Path, owner: &OwnerSecret) -> Result<(), StoreError> {
        let owner = NewOwner::new(owner)?;
        let (id, root, own): (Id, Key, _) = (random()?, key()?, new_owner_keys()?);
        File::make(path, |writing| {
            writing.set_meta(STORE_ID, &id)?;
            let digest = owner.write(writing, &id, &root)?;
            write_owner_keys(writing, &id, &root, &own)?;
            write_writer(writing, &id, &root, OWNER, (&own.writer, &own.writer_key))?;
            let keys = Keys::of_owner(Vec::new(), &own, &root, Tip::NONE);
            let about = About::Owner {
                root: digest,
                writer: own.writer,
                environments: Vec::new(),
                writers: Vec::new(),
            };
            record(writing, &id, &keys, Action::Init, Outcome::Done, about)?;
            bind_keys(writing, &id, &keys)
        })
        .map(drop)
    }

    /// Opens a store of which nothing was seen before. The log-in of a role is counted and recorded.
    pub fn open(path: &Path, credential: &Credential) -> Result<Self, StoreError> {
        Self::open_after(path, credential, Past::Seen(None))
    }

    /// Opens a store. The log-in of a role is counted and recorded.
    ///
    /// # Errors
    /// [`StoreError::RolledBack`] if the store does not continue from the witness.
    pub fn open_after(path: &Path, credential: &Credential, past: Past<'_>) -> Result<Self, StoreError> {
        let mut file = File::open(path)?;
        let reading = file.read()?;
        let id: Id =
            reading.meta(STORE_ID)?.try_into().map_err(|_| damaged("its id", "its length is wrong"))?;
        let asked = Asked::of(&reading, credential)?;
        drop(reading);
        let opened = asked.key(credential).and_then(|key| Self::log_in(file, id, &asked, key, past));
        if matches!(opened, Err(StoreError::Refused)) {
            // A refused caller has no key to write into the audit. The log-in is refused even if it cannot be counted.
            refusals::note(path, &asked.named()).ok();
        }
        opened
    }

    fn log_in(mut file: File, id: Id, asked: &Asked, key: Key, past: Past<'_>) -> Result<Self, StoreError> {
        let writing = file.write()?;
        let mut identity = match asked {
            Asked::Owner { .. } => Identity::Owner { root: root(&writing, &id, &key)? },
            Asked::Role { known: None } => return Err(StoreError::Refused),
            Asked::Role { known: Some((role, ..)) } => Identity::Role { id: *role, key, opened: None },
        };
        let keys = keys_of(&writing, &id, &mut identity)?;
        if let Past::Seen(witness) = past {
            follow(&writing, &id, &keys, seen_of(&id, witness)?)?;
            check_keys(&writing, &keys)?;
        }
        let standing = standing(&writing, &keys, true);
        let outcome = if standing.is_ok() { Outcome::Done } else { Outcome::Refused };
        if standing.is_ok() {
            count_log_in(&writing, &keys)?;
        }
        record(&writing, &id, &keys, Action::LogIn, outcome, About::Named(keys.who.clone()))?;
        let seen = Some(keys.tip.get());
        writing.commit()?;
        standing.map(|()| Self { file, id, identity, seen })
    }

    /// The latest entry of its audit that this one has seen: keep it, and pass it in when the store is opened next.
    pub fn witness(&self) -> Option<Witness> {
        self.seen.map(|tip| Witness { store: self.id, tip })
    }

    /// A number that changes whenever any process changes a secret; a read does not change it.
    pub fn changes(&self) -> Result<u64, StoreError> {
        self.file.changes()
    }

    /// [`Self::changes`], after a look at the entries that were written since. So one more witness has seen the entries of the others.
    ///
    /// # Errors
    /// [`StoreError::RolledBack`] if the store does not continue from the last witness.
    pub fn witness_changes(&mut self) -> Result<u64, StoreError> {
        self.look(|_, _, _| Ok(()))?;
        self.changes()
    }

    /// Empties the `-wal` beside the file, so that no destroyed value and no old key is left there.
    ///
    /// # Errors
    /// If another process reads for too long; then try again.
    pub fn empty_log(&self) -> Result<(), StoreError> {
        self.file.empty_log()
    }

    /// Whether the store is opened with a passphrase instead of an owner's key.
    pub fn takes_passphrase(path: &Path) -> Result<bool, StoreError> {
        let mut file = File::open(path)?;
        Ok(passphrase(&file.read()?)?.is_some())
    }

    /// Looks at the whole store as its owner, on a snapshot, so that no other process waits. The look is recorded before it begins.
    pub(super) fn look_as_owner<T>(
        &mut self,
        what: &'static str,
        (action, about): (Action, &str),
        look: impl FnOnce(&Reading<'_>, &Id, &Key, &Keys) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let (root, id) = (self.root(what)?, self.id);
        self.transact(|writing, keys, _| {
            record(writing, &id, keys, action, Outcome::Done, About::Named(about.to_owned())).map(Ok)
        })?;
        let reading = self.file.read()?;
        let keys = keys_of(&reading, &id, &mut self.identity)?;
        look(&reading, &id, &root, &keys)
    }

    pub(super) fn root(&self, what: &'static str) -> Result<Key, StoreError> {
        match &self.identity {
            Identity::Owner { root } => Ok(root.clone()),
            Identity::Role { .. } => Err(StoreError::OwnerOnly { what }),
        }
    }

    /// Uses this root key from now on.
    pub(super) fn take_root(&mut self, root: Key) {
        self.identity = Identity::Owner { root };
    }

    /// One operation on one secret, recorded with its result.
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
        ) -> Result<(T, Option<u64>, Option<Change>), StoreError>,
    ) -> Result<T, StoreError> {
        let id = self.id;
        self.transact(|writing, keys, now| {
            let note = |keys: &Keys, outcome, version, change| {
                record(writing, &id, keys, action, outcome, about(path, version, change))
            };
            if !keys.allows(right, path) {
                note(keys, Outcome::Refused, None, None)?;
                return Ok(Err(StoreError::Denied { right, path: path.to_string() }));
            }
            match act(writing, &id, keys, now) {
                Ok((result, version, change)) => {
                    note(keys, Outcome::Done, version, change)?;
                    Ok(Ok(result))
                }
                Err(error @ (StoreError::Missing { .. } | StoreError::Unreadable { .. })) => {
                    note(keys, Outcome::Missing, None, None)?;
                    Ok(Err(error))
                }
                Err(error) => Err(error),
            }
        })
    }

    /// If the closure returns an error, the transaction is rolled back. If it returns a result, the transaction is written, even if the
    /// result is a refusal.
    pub(super) fn transact<T>(
        &mut self,
        act: impl FnOnce(&Writing<'_>, &mut Keys, Moment) -> Result<Result<T, StoreError>, StoreError>,
    ) -> Result<T, StoreError> {
        let writing = self.file.write()?;
        let mut keys = keys_of(&writing, &self.id, &mut self.identity)?;
        follow(&writing, &self.id, &keys, self.seen)?;
        standing(&writing, &keys, false)?;
        let answer = act(&writing, &mut keys, SystemTime::now().into())?;
        let seen = keys.tip.get();
        writing.commit()?;
        self.seen = Some(seen);
        answer
    }

    /// Looks without writing and without a record, and blocks no writer: for queries that reveal no value.
    pub(super) fn look<T>(
        &mut self,
        look: impl FnOnce(&Reading<'_>, &Keys, Moment) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let reading = self.file.read()?;
        let keys = keys_of(&reading, &self.id, &mut self.identity)?;
        follow(&reading, &self.id, &keys, self.seen)?;
        self.seen = Some(keys.tip.get());
        standing(&reading, &keys, false)?;
        look(&reading, &keys, SystemTime::now().into())
    }
}

fn seen_of(id: &Id, witness: Option<&Witness>) -> Result<Option<Tip>, StoreError> {
    match witness {
        Some(witness) if witness.store != *id => Err(StoreError::RolledBack {
            why: "its id differs from that of the store that was seen here".to_owned(),
        }),
        witness => Ok(witness.map(|witness| witness.tip)),
    }
}

/// Who asks to open the store, with the parameters that make a key of the credential.
enum Asked {
    Owner { made_with: Option<([u8; SALT], Cost)> },
    Role { known: Option<(Id, Vec<u8>, Cost)> },
}

impl Asked {
    fn of(reading: &Reading<'_>, credential: &Credential) -> Result<Self, StoreError> {
        let role = match credential {
            Credential::Owner(_) => return Ok(Self::Owner { made_with: passphrase(reading)? }),
            Credential::Role { id, .. } => id,
        };
        let Some(role): Option<Id> = unhex(role) else { return Ok(Self::Role { known: None }) };
        let found = reading.one("SELECT salt, cost FROM roles WHERE id = ?1", [role], |row| {
            Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, String>(1)?))
        })?;
        let known = found.map(|(salt, cost)| {
            cost.parse().map(|cost| (role, salt, cost)).map_err(|why: String| damaged("a role", &why))
        });
        Ok(Self::Role { known: known.transpose()? })
    }

    /// An unknown role id costs the same time as a wrong secret-id, and gets the same answer.
    fn key(&self, credential: &Credential) -> Result<Key, StoreError> {
        match (self, credential) {
            (Self::Owner { made_with }, Credential::Owner(secret)) => owner_key(secret, *made_with),
            (Self::Role { known }, Credential::Role { secret_id, .. }) => {
                let (salt, cost) = match known {
                    Some((_, salt, cost)) => (salt.as_slice(), *cost),
                    None => ([0; SALT].as_slice(), Cost::SECRET_ID),
                };
                sealed(cost.key(secret_id.expose().trim(), salt))
            }
            (Self::Owner { .. } | Self::Role { .. }, _) => Err(StoreError::Refused),
        }
    }

    /// The name under which a refusal is counted: the refused caller cannot choose any part of it.
    fn named(&self) -> Vec<u8> {
        match self {
            Self::Owner { .. } => OWNER.into(),
            Self::Role { known } => known.as_ref().map(|(role, ..)| role.to_vec()).unwrap_or_default(),
        }
    }
}
