//! What is sealed for the owner and for each role: the keys, and who they are for.
//!
//! *Invariant:* pure. These are written sealed and in no other way.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::role::Role;
use super::seal::{Key, NONCE, Place, as_bytes};

/// The length of an id.
pub(super) const ID: usize = 16;

/// An id: random, and no secret.
pub(super) type Id = [u8; ID];

/// An environment and its keys.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Environment {
    pub(super) id: Id,
    pub(super) name: String,
    /// Replaced when a role is revoked.
    #[serde(with = "as_bytes")]
    pub(super) data: Key,
    /// What the audit's subjects are sealed under; stays, so that the owner can read what was.
    #[serde(with = "as_bytes")]
    pub(super) journal: Key,
}

impl Environment {
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

/// What a role's own key opens.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RoleKeys {
    pub(super) role: Role,
    pub(super) environments: Vec<Environment>,
    #[serde(with = "as_bytes")]
    pub(super) audit: Key,
}

/// What the owner keeps of a role, to give it new keys when another one is revoked.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RoleRecord {
    pub(super) role: Role,
    #[serde(with = "as_bytes")]
    pub(super) key: Key,
}

/// Where the audit's chain ends.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tip {
    /// The number of the last entry.
    pub(super) number: u64,
    pub(super) link: [u8; 32],
    /// The state of the ratchet for the next one.
    #[serde(with = "as_bytes")]
    pub(super) state: Key,
}

/// Where an era of the audit began.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Era {
    /// The number of its first entry.
    pub(super) first: u64,
    /// The link before that.
    pub(super) before: [u8; 32],
    #[serde(with = "as_bytes")]
    pub(super) state: Key,
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
