//! Sealed keys of the owner and of each role.
//!
//! *Invariant:* pure. These are only written sealed.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::envelope::Address;
use super::role::{Right, Role};
use super::seal::{Digest, Key, NONCE, Place, as_bytes};
use super::sign::{Public, public};
use crate::chain::Point;
use crate::chain::{BEFORE_ALL, Link};
use crate::hex::as_hex;

/// The length of an id.
pub(super) const ID: usize = 16;

/// An id: random, but not secret.
pub(super) type Id = [u8; ID];

/// An environment, with as many of its keys as its holder needs.
///
/// A reader has `data`. A role that may change secrets also has `write`, and a role that may set policies also has `admin`. The others
/// check their signatures with `writers` and `admins`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Environment {
    #[serde(with = "as_hex")]
    pub(super) id: Id,
    pub(super) name: String,
    /// A number that grows whenever the keys are replaced: when a role is revoked, and when the store is rekeyed.
    pub(super) epoch: u64,
    /// The key that seals everything in it, and finds its rows.
    #[serde(with = "as_bytes")]
    pub(super) data: Key,
    /// The public key of those who may write.
    pub(super) writers: Public,
    /// The public key of those who may administer.
    pub(super) admins: Public,
    pub(super) write: Option<Seed>,
    pub(super) admin: Option<Seed>,
}

/// A signing key.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Seed(#[serde(with = "as_bytes")] pub(super) Key);

/// The keys that an environment has in one epoch.
pub(super) struct Fresh {
    pub(super) data: Key,
    pub(super) write: Key,
    pub(super) admin: Key,
}

impl Environment {
    /// A new environment, with these keys.
    pub(super) fn new(id: Id, name: &str, fresh: Fresh) -> Self {
        let Fresh { data, write, admin } = fresh;
        let (writers, admins) = (public(&write), public(&admin));
        let (write, admin) = (Some(Seed(write)), Some(Seed(admin)));
        Self { id, name: name.to_owned(), epoch: 1, data, writers, admins, write, admin }
    }

    /// The same environment with other keys.
    pub(super) fn renewed(&self, fresh: Fresh) -> Self {
        Self { epoch: self.epoch.saturating_add(1), ..Self::new(self.id, &self.name, fresh) }
    }

    /// The environment with only the keys that this role needs.
    pub(super) fn for_role(&self, role: &Role) -> Self {
        let has = |right: Right| role.has_in(right, &self.name);
        let admin = has(Right::Admin);
        let write = admin || has(Right::Write) || has(Right::Rotate);
        let part = self.clone();
        Self { write: part.write.filter(|_| write), admin: part.admin.filter(|_| admin), ..part }
    }

    /// A fingerprint of its keys for the audit, which tells nothing about them.
    pub(super) fn fingerprint(&self) -> Digest {
        let own = [self.name.as_bytes(), self.writers.as_bytes(), self.admins.as_bytes()].concat();
        self.data.derive("epoch").digest(&[&self.epoch.to_be_bytes(), own.as_slice()].concat())
    }

    /// The key of the row for a path.
    pub(super) fn row(&self, path: &str) -> [u8; 32] {
        self.data.derive("names").digest(path.as_bytes())
    }

    /// The key of a folder.
    pub(super) fn folder(&self, path: &str) -> [u8; 32] {
        self.data.derive("folders").digest(path.as_bytes())
    }

    /// The key that seals heads.
    pub(super) fn heads(&self) -> Key {
        self.data.derive("heads")
    }

    /// The key that seals the keys of values.
    pub(super) fn values(&self) -> Key {
        self.data.derive("values")
    }
}

/// What the owner's root key opens, besides the environments and the records of roles.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OwnerKeys {
    /// The owner's writer id in the audit.
    #[serde(with = "as_hex")]
    pub(super) writer: Id,
    #[serde(with = "as_bytes")]
    pub(super) writer_key: Key,
    /// The key with which the owner signs eras and archives.
    #[serde(with = "as_bytes")]
    pub(super) signing: Key,
    /// The key that seals the end of the audit: everybody who writes entries has it.
    #[serde(with = "as_bytes")]
    pub(super) tip: Key,
}

/// What a role's own key opens.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RoleKeys {
    pub(super) role: Role,
    pub(super) environments: Vec<Environment>,
    /// Its writer id in the audit, and the key of its entries: only the role and the owner have that.
    #[serde(with = "as_hex")]
    pub(super) writer: Id,
    #[serde(with = "as_bytes")]
    pub(super) writer_key: Key,
    #[serde(with = "as_bytes")]
    pub(super) tip: Key,
    /// The public key for the owner's eras.
    pub(super) owner: Public,
}

/// The owner's record of a role, to give it new keys when another one is revoked. It does not open the role's own row.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RoleRecord {
    pub(super) role: Role,
    pub(super) address: Address,
    #[serde(with = "as_hex")]
    pub(super) writer: Id,
    #[serde(with = "as_bytes")]
    pub(super) writer_key: Key,
}

/// The owner's record of everybody who ever wrote into the audit, to read their entries.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Writer {
    pub(super) name: String,
    #[serde(with = "as_bytes")]
    pub(super) key: Key,
}

/// The end of the audit's chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tip {
    /// How often the owner declared an older store to be the right one.
    pub(super) era: u64,
    /// The number of the last entry.
    pub(super) number: u64,
    #[serde(with = "as_hex")]
    pub(super) link: Link,
    /// A digest of every row that holds keys: `charter.rs`.
    #[serde(with = "as_hex")]
    pub(super) keys: Digest,
}

impl Tip {
    /// The end before the first entry.
    pub(super) const NONE: Self = Self { era: 0, number: 0, link: BEFORE_ALL, keys: [0; 32] };
}

/// An era, as the owner signs it: from this entry on the store is the right one, even for those who saw later entries before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Era {
    pub(super) era: u64,
    /// The last entry before the era.
    pub(super) after: Point,
}

/// Seals one of these. `None` as for [`Key::seal`].
pub(super) fn seal<T: Serialize>(
    key: &Key,
    nonce: [u8; NONCE],
    place: Place<'_>,
    what: &T,
) -> Option<Vec<u8>> {
    key.seal(nonce, place, &serde_json::to_vec(what).ok()?)
}

/// Opens one of these.
pub(super) fn open<T: DeserializeOwned>(key: &Key, place: Place<'_>, sealed: &[u8]) -> Option<T> {
    serde_json::from_slice(key.open(place, sealed)?.expose()).ok()
}
