//! What the owner opens the store with: a key, or a passphrase.
//!
//! *Invariant:* a store has one of the two at a time. Whoever is refused is not told which it wants.

use rusqlite::params;

use super::chance::{nonce, random};
use super::cost::{Cost, SALT};
use super::error::{StoreError, damaged, sealed};
use super::file::Writing;
use super::hex::unhex;
use super::keys::Id;
use super::power::{Identity, meta};
use super::seal::{Key, place};
use crate::secret::Secret;

/// The rows: the root key, and what a passphrase is made a key with.
const ROOT: &str = "root";
const PASSPHRASE: &str = "passphrase";

/// What only the owner has.
#[derive(Clone, Debug)]
pub enum OwnerSecret {
    /// A key: 64 hexadecimal digits.
    Key(Secret<str>),
    /// A passphrase: Argon2id makes the key.
    Passphrase(Secret<str>),
}

/// What a store is to be opened with from now on.
pub(super) struct NewOwner {
    key: Key,
    /// For a passphrase.
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

    /// Seals the root key under it.
    pub(super) fn write(&self, writing: &Writing<'_>, id: &Id, root: &Key) -> Result<(), StoreError> {
        let sql = "INSERT OR REPLACE INTO meta VALUES (?1, ?2)";
        let sealed = sealed(self.key.seal(nonce()?, place(ROOT, &[id]), root.expose()))?;
        writing.execute(sql, params![ROOT, sealed])?;
        match &self.made_with {
            Some(salt) => {
                let made_with = [salt, Cost::PASSPHRASE.to_string().as_bytes()].concat();
                writing.execute(sql, params![PASSPHRASE, made_with]).map(drop)
            }
            None => writing.execute("DELETE FROM meta WHERE name = ?1", [PASSPHRASE]).map(drop),
        }
    }
}

/// Opens the root key.
pub(super) fn owner(writing: &Writing<'_>, id: &Id, secret: &OwnerSecret) -> Result<Identity, StoreError> {
    let key = match secret {
        OwnerSecret::Key(text) => unhex(text.expose()).map(Key::new).ok_or(StoreError::Refused)?,
        OwnerSecret::Passphrase(text) => {
            let (salt, cost) = passphrase(writing)?.unwrap_or(([0; SALT], Cost::PASSPHRASE));
            sealed(cost.key(text.expose(), &salt))?
        }
    };
    let root = key.open(place(ROOT, &[id]), &meta(writing, ROOT)?).ok_or(StoreError::Refused)?;
    let root = Key::from_opened(&root).ok_or_else(|| damaged("the root key", "it has another length"))?;
    Ok(Identity::Owner { root })
}

/// What the passphrase is made a key with, if there is one.
pub(super) fn passphrase(writing: &Writing<'_>) -> Result<Option<([u8; SALT], Cost)>, StoreError> {
    let found = writing
        .one("SELECT value FROM meta WHERE name = ?1", [PASSPHRASE], |row| row.get::<_, Vec<u8>>(0))?;
    let Some(found) = found else { return Ok(None) };
    let read = found.split_first_chunk::<SALT>().and_then(|(salt, cost)| {
        let cost = std::str::from_utf8(cost).ok()?.parse().ok()?;
        Some((*salt, cost))
    });
    read.map(Some).ok_or_else(|| damaged("what the passphrase is made a key with", "it cannot be read"))
}
