//! The audit: a chain of all actions on the store.
//!
//! Each entry is sealed under a key of its writer, in a place that contains its number, its writer and the link before it. The next link is
//! a digest of all of these (`crate::chain`). So an entry that was edited, moved, swapped or left out breaks the chain at its place.
//!
//! Only the writer of an entry and the owner have its key. A role can therefore neither read entries of others, nor write in another's
//! name, nor seal another's entry again after a gap: each entry that stays fixes everything before it. A role can cut the end of the chain
//! and write on from there. That is found as soon as anybody saw the entries that are gone: the owner, who keeps the last link beside the
//! key, or any agent, which keeps the last one that it saw (`witness.rs`).
//!
//! *Invariant:* pure; keys, nonces and time are arguments. No entry contains a value.

use serde::{Deserialize, Serialize};

use super::keys::Id;
use super::moment::Moment;
use super::role::{Right, Role};
use super::seal::{Digest, Key, NONCE, Place};
use crate::chain::{self, Link};
use crate::hex::as_hex;

/// The action that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "they are the commands")]
pub enum Action {
    Init,
    LogIn,
    Read,
    List,
    History,
    Put,
    Delete,
    Undelete,
    Destroy,
    Verify,
    EnvironmentAdd,
    RoleAdd,
    RoleRevoke,
    RoleList,
    Rekey,
    Policy,
    Approve,
    Audit,
    AuditExport,
    AuditPrune,
    Stats,
    RotateBegin,
    RotatePending,
    Rotate,
    AcceptRestore,
}

impl Action {
    /// Its word in JSON.
    pub fn word(self) -> String {
        serde_json::to_value(self).ok().and_then(|word| Some(word.as_str()?.to_owned())).unwrap_or_default()
    }

    /// The rights for this kind of change of a secret, of which a role needs one; empty if it changes no secret.
    pub(super) fn changes_with(self) -> &'static [Right] {
        match self {
            Self::Put | Self::Delete | Self::Undelete => &[Right::Write],
            Self::Destroy | Self::Policy | Self::Approve => &[Right::Admin],
            Self::RotateBegin | Self::RotatePending | Self::Rotate => &[Right::Rotate, Right::Admin],
            Self::Init
            | Self::LogIn
            | Self::Read
            | Self::List
            | Self::History
            | Self::Verify
            | Self::EnvironmentAdd
            | Self::RoleAdd
            | Self::RoleRevoke
            | Self::RoleList
            | Self::Rekey
            | Self::Audit
            | Self::AuditExport
            | Self::AuditPrune
            | Self::Stats
            | Self::AcceptRestore => &[],
        }
    }
}

/// The result of the action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It was done.
    Done,
    /// The caller has no right to do it.
    Refused,
    /// The object does not exist, or is deleted.
    Missing,
    /// It failed.
    Failed,
}

impl Outcome {
    /// Its word in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Refused => "refused",
            Self::Missing => "missing",
            Self::Failed => "failed",
        }
    }
}

/// One entry, as it is sealed. Its writer is not in it: the key that opens it tells the writer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    pub(super) at: Moment,
    pub(super) action: Action,
    pub(super) outcome: Outcome,
    pub(super) about: About,
}

/// The object of an entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum About {
    /// An object that needs only a name: the store itself, a prefix that was listed.
    Named(String),
    /// A secret.
    Secret {
        path: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        version: Option<u64>,
        /// Its state afterwards, if the action changed it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        change: Option<Change>,
    },
    /// The owner's key: the digest of the row in which the root key is sealed, and the owner's writer id from the next entry on.
    Owner {
        #[serde(with = "as_hex")]
        root: Digest,
        #[serde(with = "as_hex")]
        writer: Id,
        /// The new keys of the environments, and the new writer ids of the roles; none if the root key stayed.
        environments: Vec<Epoch>,
        writers: Vec<Renamed>,
    },
    /// An environment that was made.
    Environment(Epoch),
    /// A role that was made.
    Role {
        #[serde(with = "as_hex")]
        id: Id,
        /// Its writer id.
        #[serde(with = "as_hex")]
        writer: Id,
        role: Role,
    },
    /// A role that was revoked, and the new keys of its environments.
    Revoked {
        #[serde(with = "as_hex")]
        id: Id,
        name: String,
        environments: Vec<Epoch>,
    },
    /// An older store that the owner declares to be the right one, with the era that begins.
    Era(u64),
}

/// The state of a secret after a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Change {
    /// The serial of its head.
    pub(super) serial: u64,
    /// The digest of its head, which contains a digest of each of its values.
    #[serde(with = "as_hex")]
    pub(super) head: Digest,
    /// The digest of its policy.
    #[serde(with = "as_hex")]
    pub(super) policy: Digest,
}

/// The writer id of a role from this entry on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Renamed {
    #[serde(with = "as_hex")]
    pub(super) role: Id,
    #[serde(with = "as_hex")]
    pub(super) writer: Id,
}

/// The keys of an environment from this entry on, and its contents at that time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Epoch {
    #[serde(with = "as_hex")]
    pub(super) environment: Id,
    pub(super) name: String,
    #[serde(with = "as_hex")]
    pub(super) keys: Digest,
    /// A digest over all its heads: [`root`].
    #[serde(with = "as_hex")]
    pub(super) heads: Digest,
}

/// A digest over heads, each with its path and serial, in the order of their paths.
pub(super) fn root<'a>(heads: impl Iterator<Item = (&'a str, u64, &'a Digest)>) -> Digest {
    let mut hasher = blake3::Hasher::new();
    for (path, serial, head) in heads {
        hasher.update(&(path.len() as u64).to_be_bytes()).update(path.as_bytes());
        hasher.update(&serial.to_be_bytes()).update(head);
    }
    *hasher.finalize().as_bytes()
}

/// The place of an entry: its number, the link before it, and its writer; and the store, which its seal is bound to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spot<'a> {
    pub(super) store: &'a Id,
    pub(super) number: u64,
    pub(super) before: &'a Link,
    pub(super) writer: &'a Id,
}

impl Spot<'_> {
    /// Seals the entry at this spot: returns the sealed bytes and the link after it.
    pub(super) fn seal(&self, key: &Key, nonce: [u8; NONCE], entry: &Entry) -> Option<(Vec<u8>, Link)> {
        let text = serde_json::to_vec(entry).ok()?;
        let sealed = self.in_place(|place| key.seal(nonce, place, &text))?;
        let link = self.link(&sealed);
        Some((sealed, link))
    }

    /// Opens the entry at this spot.
    pub(super) fn open(&self, key: &Key, sealed: &[u8]) -> Option<Entry> {
        let text = self.in_place(|place| key.open(place, sealed))?;
        serde_json::from_slice(text.expose()).ok()
    }

    /// The link after an entry. It needs no key, so that everybody can follow the chain.
    pub(super) fn link(&self, sealed: &[u8]) -> Link {
        let Self { store: _, number, before, writer } = *self;
        chain::Spot { number, before, writer }.link(sealed)
    }

    fn in_place<T>(&self, act: impl FnOnce(Place<'_>) -> T) -> T {
        let number = self.number.to_be_bytes();
        act(Place { kind: "audit", parts: &[self.store, &number, self.writer, self.before] })
    }
}

#[cfg(test)]
mod tests {
    use super::super::seal::KEY;
    use super::*;
    use crate::chain::BEFORE_ALL;

    const STORE: &Id = &[7; 16];

    fn entry(action: Action) -> Entry {
        Entry {
            at: Moment::from_millis(5),
            action,
            outcome: Outcome::Done,
            about: About::Secret { path: "dev/x".to_owned(), version: Some(3), change: None },
        }
    }

    fn spot(number: u64, before: &Link) -> Spot<'_> {
        Spot { store: STORE, number, before, writer: &[9; 16] }
    }

    #[test]
    fn an_entry_opens_with_its_writers_key_at_its_spot_and_nowhere_else() {
        let (key, other) = (Key::new([1; KEY]), Key::new([2; KEY]));
        let first = spot(1, &BEFORE_ALL);
        let (sealed, after) = first.seal(&key, [0; NONCE], &entry(Action::Read)).unwrap();
        assert_eq!(first.open(&key, &sealed), Some(entry(Action::Read)));
        assert_eq!(after, first.link(&sealed));
        assert!(first.open(&other, &sealed).is_none());
        for elsewhere in [
            spot(2, &BEFORE_ALL),
            spot(1, &after),
            Spot { store: &[8; 16], ..first },
            Spot { writer: &[8; 16], ..first },
        ] {
            assert!(elsewhere.open(&key, &sealed).is_none(), "{elsewhere:?}");
        }
    }

    #[test]
    fn a_root_depends_on_every_head() {
        let (one, two) = ([1; 32], [2; 32]);
        let all = [root([("a", 1, &one), ("b", 1, &two)].into_iter()), root([("a", 1, &one)].into_iter())];
        let others = [root([("a", 2, &one), ("b", 1, &two)].into_iter()), root([("a", 1, &two)].into_iter())];
        assert!(all[0] != all[1] && !others.iter().any(|other| all.contains(other)));
    }

    #[test]
    fn actions_have_words() {
        assert_eq!(Action::LogIn.word(), "log-in");
        assert_eq!(Action::RoleRevoke.word(), "role-revoke");
    }
}
