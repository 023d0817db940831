//! The owner's credential: a key, or a passphrase.
//!
//! *Invariant:* a store has only one of the two at a time. A refusal does not say which one it wants.

use rusqlite::params;

use super::chance::{key, nonce, random};
use super::cost::{Cost, SALT};
use super::error::{StoreError, damaged, sealed};
use super::file::{Reading, Writing};
use super::keys::{self, Id, OwnerKeys};
use super::seal::{Digest, Key, place};
use crate::hex::unhex;
use crate::secret::Secret;

/// The rows: the sealed root key, the parameters of a passphrase, and the keys that the root key opens.
const ROOT: &str = "root";
const PASSPHRASE: &str = "passphrase";
const OWNER: &str = "owner";

/// The owner's secret.
#[derive(Clone, Debug)]
pub enum OwnerSecret {
    /// A key: 64 hexadecimal digits.
    Key(Secret<str>),
    /// A passphrase: Argon2id makes the key.
    Passphrase(Secret<str>),
}

/// The credential that will open a store from now on.
pub(super) struct NewOwner {
    key: Key,
    /// Salt and cost, for a passphrase.
    made_with: Option<[u8; SALT]>,
}

impl NewOwner {
    pub(super) fn new(secret: &OwnerSecret) -> Result<Self, StoreError> {
        match secret {
            OwnerSecret::Key(text) => {
                let key = unhex(text.expose()).map(Key::new).ok_or(StoreError::Refused)?;
                Ok(Self { key, made_with: None })
            }
            OwnerSecret::Passphrase(text) => {
                let salt = random()?;
                let key = sealed(Cost::PASSPHRASE.key(text.expose(), &salt))?;
                Ok(Self { key, made_with: Some(salt) })
            }
        }
    }

    /// Seals the root key under it; returns the digest of the row, for the audit.
    pub(super) fn write(&self, writing: &Writing<'_>, id: &Id, root: &Key) -> Result<Digest, StoreError> {
        let sealed = sealed(self.key.seal(nonce()?, place(ROOT, &[id]), root.expose()))?;
        writing.set_meta(ROOT, &sealed)?;
        match &self.made_with {
            Some(salt) => {
                let made_with = [salt, Cost::PASSPHRASE.to_string().as_bytes()].concat();
                writing.set_meta(PASSPHRASE, &made_with)?;
            }
            None => drop(writing.execute("DELETE FROM meta WHERE name = ?1", params![PASSPHRASE])?),
        }
        root_digest(writing)
    }
}

/// The digest of the row with the sealed root key.
pub(super) fn root_digest(reading: &Reading<'_>) -> Result<Digest, StoreError> {
    Ok(*blake3::hash(&reading.meta(ROOT)?).as_bytes())
}

/// The key of an owner's secret; for a passphrase it needs salt and cost. It is slow, so compute it while no other process waits.
pub(super) fn owner_key(
    secret: &OwnerSecret,
    made_with: Option<([u8; SALT], Cost)>,
) -> Result<Key, StoreError> {
    match secret {
        OwnerSecret::Key(text) => unhex(text.expose()).map(Key::new).ok_or(StoreError::Refused),
        OwnerSecret::Passphrase(text) => {
            let (salt, cost) = made_with.unwrap_or(([0; SALT], Cost::PASSPHRASE));
            sealed(cost.key(text.expose(), &salt))
        }
    }
}

/// Opens the root key.
pub(super) fn root(reading: &Reading<'_>, id: &Id, key: &Key) -> Result<Key, StoreError> {
    let root = key.open(place(ROOT, &[id]), &reading.meta(ROOT)?).ok_or(StoreError::Refused)?;
    Key::from_opened(&root).ok_or_else(|| damaged("the root key", "its length is wrong"))
}

/// Salt and cost of the passphrase, if the store has one.
pub(super) fn passphrase(reading: &Reading<'_>) -> Result<Option<([u8; SALT], Cost)>, StoreError> {
    let found = reading
        .one("SELECT value FROM meta WHERE name = ?1", [PASSPHRASE], |row| row.get::<_, Vec<u8>>(0))?;
    let Some(found) = found else { return Ok(None) };
    let read = found.split_first_chunk::<SALT>().and_then(|(salt, cost)| {
        let cost = std::str::from_utf8(cost).ok()?.parse().ok()?;
        Some((*salt, cost))
    });
    read.map(Some).ok_or_else(|| damaged("what the passphrase is made a key with", "it cannot be read"))
}

/// New keys for an owner.
pub(super) fn new_owner_keys() -> Result<OwnerKeys, StoreError> {
    Ok(OwnerKeys { writer: random()?, writer_key: key()?, signing: key()?, tip: key()? })
}

pub(super) fn write_owner_keys(
    writing: &Writing<'_>,
    id: &Id,
    root: &Key,
    own: &OwnerKeys,
) -> Result<(), StoreError> {
    writing.set_meta(OWNER, &sealed(keys::seal(root, nonce()?, place(OWNER, &[id]), own))?)
}

pub(super) fn owner_keys(reading: &Reading<'_>, id: &Id, root: &Key) -> Result<OwnerKeys, StoreError> {
    let own: Option<OwnerKeys> = keys::open(root, place(OWNER, &[id]), &reading.meta(OWNER)?);
    own.ok_or_else(|| damaged("the owner's keys", "they do not open"))
}
