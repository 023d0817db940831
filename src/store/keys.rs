//! What is sealed for the owner and for each role: the keys, and who they are for.
//!
//! *Invariant:* pure. These are written sealed and in no other way.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::audit::{BEFORE_ALL, Link};
use super::envelope::Address;
use super::hex::as_hex;
use super::role::{Right, Role};
use super::seal::{Digest, Key, NONCE, Place, as_bytes};
use super::sign::{Public, public};
use super::witness::Point;

/// The length of an id.
pub(super) const ID: usize = 16;

/// An id: random, and no secret.
pub(super) type Id = [u8; ID];

/// An environment and as many of its keys as somebody needs.
///
/// Who may read has `data`. Who may change secrets also has `write`, and who may say how they are rotated also has `admin`: the others
/// check with `writers` and `admins` that it was so.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Environment {
    #[serde(with = "as_hex")]
    pub(super) id: Id,
    pub(super) name: String,
    /// Grows whenever the keys are replaced: when a role is revoked, and when the store is rekeyed.
    pub(super) epoch: u64,
    /// What everything in it is sealed and found with.
    #[serde(with = "as_bytes")]
    pub(super) data: Key,
    /// What checks that a secret was written by who may.
    pub(super) writers: Public,
    /// What checks that a policy or an approval was given by who may.
    pub(super) admins: Public,
    pub(super) write: Option<Seed>,
    pub(super) admin: Option<Seed>,
}

/// A key to sign with.
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
    /// A new one, with these keys.
    pub(super) fn new(id: Id, name: &str, fresh: Fresh) -> Self {
        let Fresh { data, write, admin } = fresh;
        let (writers, admins) = (public(&write), public(&admin));
        let (write, admin) = (Some(Seed(write)), Some(Seed(admin)));
        Self { id, name: name.to_owned(), epoch: 1, data, writers, admins, write, admin }
    }

    /// The same with other keys.
    pub(super) fn renewed(&self, fresh: Fresh) -> Self {
        Self { epoch: self.epoch.saturating_add(1), ..Self::new(self.id, &self.name, fresh) }
    }

    /// As much of it as this role needs.
    pub(super) fn for_role(&self, role: &Role) -> Self {
        let has = |right: Right| role.has_in(right, &self.name);
        let admin = has(Right::Admin);
        let write = admin || has(Right::Write) || has(Right::Rotate);
        let part = self.clone();
        Self { write: part.write.filter(|_| write), admin: part.admin.filter(|_| admin), ..part }
    }

    /// What the audit says of its keys: which they are, and nothing about them.
    pub(super) fn fingerprint(&self) -> Digest {
        let own = [self.name.as_bytes(), self.writers.as_bytes(), self.admins.as_bytes()].concat();
        self.data.derive("epoch").digest(&[&self.epoch.to_be_bytes(), own.as_slice()].concat())
    }

    /// The row that a path has.
    pub(super) fn row(&self, path: &str) -> [u8; 32] {
        self.data.derive("names").digest(path.as_bytes())
    }

    /// What a folder is found by.
    pub(super) fn folder(&self, path: &str) -> [u8; 32] {
        self.data.derive("folders").digest(path.as_bytes())
    }

    /// What heads are sealed under.
    pub(super) fn heads(&self) -> Key {
        self.data.derive("heads")
    }

    /// What the keys of values are sealed under.
    pub(super) fn values(&self) -> Key {
        self.data.derive("values")
    }
}

/// What the owner's root key opens, besides the environments and the records of roles.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OwnerKeys {
    /// As whom the owner writes into the audit.
    #[serde(with = "as_hex")]
    pub(super) writer: Id,
    #[serde(with = "as_bytes")]
    pub(super) writer_key: Key,
    /// What the owner signs eras and archives with.
    #[serde(with = "as_bytes")]
    pub(super) signing: Key,
    /// What the end of the audit is sealed under: everybody who writes entries has it.
    #[serde(with = "as_bytes")]
    pub(super) tip: Key,
}

/// What a role's own key opens.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RoleKeys {
    pub(super) role: Role,
    pub(super) environments: Vec<Environment>,
    /// As whom it writes into the audit, and what its entries are sealed under: only it and the owner have that.
    #[serde(with = "as_hex")]
    pub(super) writer: Id,
    #[serde(with = "as_bytes")]
    pub(super) writer_key: Key,
    #[serde(with = "as_bytes")]
    pub(super) tip: Key,
    /// What checks the eras that the owner began.
    pub(super) owner: Public,
}

/// What the owner keeps of a role, to give it new keys when another one is revoked. It does not open what the role has.
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

/// What the owner keeps of everybody who ever wrote into the audit, to read it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Writer {
    pub(super) name: String,
    #[serde(with = "as_bytes")]
    pub(super) key: Key,
}

/// Where the audit's chain ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tip {
    /// How often the owner said that an older store is the right one.
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
    /// Before the first entry.
    pub(super) const NONE: Self = Self { era: 0, number: 0, link: BEFORE_ALL, keys: [0; 32] };
}

/// An era, as the owner signs it: from this entry on the store is the right one, whatever others saw of later ones before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Era {
    pub(super) era: u64,
    /// The last entry before it.
    pub(super) after: Point,
}

/// Seals one of them. `None` as [`Key::seal`].
pub(super) fn seal<T: Serialize>(
    key: &Key,
    nonce: [u8; NONCE],
    place: Place<'_>,
    what: &T,
) -> Option<Vec<u8>> {
    key.seal(nonce, place, &serde_json::to_vec(what).ok()?)
}

/// Opens one of them.
pub(super) fn open<T: DeserializeOwned>(key: &Key, place: Place<'_>, sealed: &[u8]) -> Option<T> {
    serde_json::from_slice(key.open(place, sealed)?.expose()).ok()
}
