//! What must outlive us: the token and the leases of one source, and a credential that its login used up, sealed.
//!
//! An agent that was killed, or the sidecar after its own init container, adopts what the [`Page`] of a source says instead of
//! making new ones. Whoever adopts asks the server first, since a page tells only what was true when it was written. The values
//! of leased secrets are in it, because no server hands them out twice; static ones are not, because every server does.
//!
//! A [`Credential`] is a page of its own: it is there before the first token is, and forgotten while the token lives.
//!
//! A sealed page is:
//!
//! ```text
//! "squire" 0x00 | version, 1 byte | nonce, 12 bytes | AES-256-GCM of the page as JSON, with a tag of 16 bytes
//! ```
//!
//! The associated data are the bytes before the nonce, the [`Identity`] as JSON, and for a credential what it is: a page that was written
//! under another login, or as the other kind, opens no more than one that was edited.
//!
//! *Invariant:* pure: bytes, key and nonce are arguments; [`mod@file`] acts. Nothing of a page is in an error or in a `Debug`, and
//! bytes that do not open whole open not at all.

mod error;
pub mod file;
mod key_file;
mod layout;

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use serde::Serialize;

use crate::names::{LeaseId, SecretName};
use crate::plan::Want;
use crate::secret::{Meta, Packed, Secret};

pub use error::LedgerError;

const MAGIC: &[u8] = b"squire\0";
const VERSION: u8 = 1;
/// Magic and version.
const HEAD: usize = MAGIC.len() + 1;
const NONCE: usize = 12;
const TAG: usize = 16;

/// A larger page is not written, nor read: far above what a source's secrets need, far below what a file system in memory has.
const LARGEST: usize = 16 * 1024 * 1024;

/// What must outlive us of one source.
#[derive(Clone, Debug)]
pub struct Page {
    /// The bearer token.
    pub token: Secret<str>,
    /// How long the token lived at first: what renewals ask for. `None` lives for ever.
    pub token_ttl: Option<Duration>,
    /// Whether asking for a longer life of the token can help.
    pub renewable: bool,
    /// Whether the token is ours to end.
    pub revocable: bool,
    /// How many requests the token was good for at first; `None` is not limited.
    pub uses: Option<u64>,
    /// Every lease that the token made and that is still ours.
    pub leases: Vec<Entry>,
}

/// One leased secret.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its name in templates.
    pub secret: SecretName,
    /// What renews and ends it.
    pub lease: LeaseId,
    /// The value that it keeps alive.
    pub fields: Packed,
    /// What is known of it beside its fields; nothing in a page of a Squire that did not keep it.
    pub meta: Meta,
    /// How long it lived at first: what renewals ask for.
    pub first_ttl: Duration,
    /// Whether it may be renewed.
    pub renewable: bool,
    /// What it answered. Where the want of this name has another fingerprint now, the entry is not for adoption.
    pub want: Fingerprint,
    /// It was to be revoked: whoever adopts the page does that.
    pub given_up: bool,
}

impl Entry {
    /// What is known of the value beside its fields: at least what the lease itself tells.
    pub fn known(&self) -> Meta {
        Meta::of_lease(Some(&self.lease), self.first_ttl, self.renewable).and(&self.meta)
    }
}

/// Tells whether two wants ask a source for the same thing, in this run or another. How often it is re-read does not matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// The fingerprint of this want.
    pub fn of(want: &Want) -> Self {
        // Maps of JSON values are ordered and can always be written.
        let asked = (&want.path, &want.params, &want.version);
        // Only where there is one, so that pages of before `list` are still good.
        let canonical = match &want.list {
            None => serde_json::to_vec(&asked),
            Some(list) if want.tags.is_empty() => serde_json::to_vec(&(asked, list)),
            Some(list) => serde_json::to_vec(&(asked, list, &want.tags)),
        };
        let canonical = canonical.unwrap_or_default();
        Self(*blake3::hash(&canonical).as_bytes())
    }
}

/// What the next login needs and no file has any more: its wrapping token was good for one use, or its file was deleted.
#[derive(Clone, Debug)]
pub struct Credential {
    /// What logs in.
    pub secret: Secret<str>,
    /// What the file held. One that still holds it has nothing new.
    pub held: Secret<str>,
    /// When the file was written.
    pub written: SystemTime,
    /// How many logins it is still good for; `None` for any number, or where the server did not tell.
    pub uses_left: Option<u64>,
    /// When it ends, by our clock; `None` for never, or where the server did not tell.
    pub ends: Option<SystemTime>,
}

/// Which login a page is of: one that is opened under another is foreign.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Identity {
    /// The servers, in any order.
    pub addresses: BTreeSet<String>,
    /// The namespace.
    pub namespace: Option<String>,
    /// How we log in: `approle`, `token`, …
    pub method: String,
    /// Where that is mounted; `None` for a method without a mount.
    pub mount: Option<String>,
    /// As whom: what the method calls its role.
    pub role: Option<String>,
}

impl Identity {
    /// Of what is no source's.
    fn of_nobody() -> Self {
        Self { addresses: BTreeSet::new(), namespace: None, method: String::new(), mount: None, role: None }
    }

    /// As whom we log in, in words: the method, and its role. What the method `token` calls its role is a digest of the token.
    pub fn words(&self) -> String {
        let role = self.role.as_deref().filter(|_| self.method != "token");
        role.map_or_else(|| self.method.clone(), |role| format!("{} {role}", self.method))
    }
}

/// The key of a ledger.
#[derive(Clone, Debug)]
pub struct Key(Secret<[u8; KEY]>);

/// Its length.
const KEY: usize = 32;

impl Key {
    /// A key from 32 random bytes.
    pub fn new(random: [u8; KEY]) -> Self {
        Self(Secret::new(random))
    }

    fn cipher(&self) -> Aes256Gcm {
        Aes256Gcm::new(self.0.expose().into())
    }
}

impl Page {
    /// Makes the bytes that only [`Page::open`] with this key and identity can read. The nonce has to be random: no two pages
    /// may have one nonce under one key.
    ///
    /// # Errors
    /// [`LedgerError::TooLarge`].
    pub fn seal(&self, key: &Key, nonce: [u8; NONCE], identity: &Identity) -> Result<Vec<u8>, LedgerError> {
        seal(Kind::Page, &layout::write(self), key, nonce, identity)
    }

    /// Opens what [`Page::seal`] made.
    ///
    /// # Errors
    /// [`LedgerError::NotAPage`], [`LedgerError::Version`], [`LedgerError::Sealed`], [`LedgerError::Layout`]: why these bytes are
    /// of no use. What they hold is in none of them.
    pub fn open(bytes: &[u8], key: &Key, identity: &Identity) -> Result<Self, LedgerError> {
        layout::read(&open(Kind::Page, bytes, key, identity)?)
    }
}

impl Credential {
    /// The same as [`Page::seal`].
    ///
    /// # Errors
    /// [`LedgerError::TooLarge`].
    pub fn seal(&self, key: &Key, nonce: [u8; NONCE], identity: &Identity) -> Result<Vec<u8>, LedgerError> {
        seal(Kind::Credential, &layout::write_credential(self), key, nonce, identity)
    }

    /// The same as [`Page::open`].
    ///
    /// # Errors
    /// Those of [`Page::open`].
    pub fn open(bytes: &[u8], key: &Key, identity: &Identity) -> Result<Self, LedgerError> {
        layout::read_credential(&open(Kind::Credential, bytes, key, identity)?)
    }
}

/// Seals who holds which credential of a unit, as [`Page::seal`]. It is of no source.
fn seal_holders(holders: &[u8], key: &Key, nonce: [u8; NONCE]) -> Result<Vec<u8>, LedgerError> {
    seal(Kind::Holders, &Secret::new(holders), key, nonce, &Identity::of_nobody())
}

/// Opens what [`seal_holders`] made.
fn open_holders(bytes: &[u8], key: &Key) -> Result<Secret<[u8]>, LedgerError> {
    open(Kind::Holders, bytes, key, &Identity::of_nobody())
}

/// What is sealed, so that one is never taken for the other.
#[derive(Clone, Copy)]
enum Kind {
    Page,
    Credential,
    Holders,
}

impl Kind {
    fn mark(self) -> &'static [u8] {
        match self {
            Self::Page => b"",
            Self::Credential => b"credential",
            Self::Holders => b"holders",
        }
    }
}

fn seal(
    kind: Kind,
    plaintext: &Secret<[u8]>,
    key: &Key,
    nonce: [u8; NONCE],
    identity: &Identity,
) -> Result<Vec<u8>, LedgerError> {
    if plaintext.expose().len() > LARGEST - HEAD - NONCE - TAG {
        return Err(LedgerError::TooLarge);
    }
    let head = [MAGIC, &[VERSION]].concat();
    let aad = associated(kind, &head, identity);
    let payload = Payload { msg: plaintext.expose(), aad: &aad };
    // The cipher has a limit too, far above ours, and nothing else to object to.
    let sealed = key.cipher().encrypt(&Nonce::from(nonce), payload).map_err(|_| LedgerError::TooLarge)?;
    Ok([&head, nonce.as_slice(), &sealed].concat())
}

fn open(kind: Kind, bytes: &[u8], key: &Key, identity: &Identity) -> Result<Secret<[u8]>, LedgerError> {
    let Some((head, sealed)) = bytes.split_at_checked(HEAD) else { return Err(LedgerError::NotAPage) };
    match head.strip_prefix(MAGIC) {
        Some([VERSION]) => {}
        Some([found]) => return Err(LedgerError::Version { found: *found, known: VERSION }),
        Some(_) | None => return Err(LedgerError::NotAPage),
    }
    let (nonce, sealed) = sealed.split_first_chunk::<NONCE>().ok_or(LedgerError::Sealed)?;
    let aad = associated(kind, head, identity);
    let payload = Payload { msg: sealed, aad: &aad };
    key.cipher().decrypt(&Nonce::from(*nonce), payload).map(Secret::new).map_err(|_| LedgerError::Sealed)
}

/// What is not in the page but has to be the same when it is opened.
fn associated(kind: Kind, head: &[u8], identity: &Identity) -> Vec<u8> {
    // JSON keeps where each part begins and ends; text and lists of it can always be written.
    let identity = serde_json::to_vec(identity).unwrap_or_default();
    [head, &identity, kind.mark()].concat()
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;
