//! What was done with the store, as a chain.
//!
//! Each entry is sealed under a key of whoever wrote it, in a place that names its number, its writer and the link before it; the next link
//! is a digest of all of them. So an entry that was edited, moved, swapped or left out breaks the chain where it was.
//!
//! Besides the owner only its writer has the key of an entry. A role can therefore neither read what others wrote, nor write in another's
//! name, nor seal another's entry again behind a gap: an entry that stays fixes everything before it. What a role can do is to cut the
//! end of the chain and to write on from there. That shows as soon as anybody saw the entries that are gone: the owner, who
//! keeps the last link beside the key, or any agent, which keeps the last one that it saw (`witness.rs`).
//!
//! *Invariant:* pure; keys, nonces and time are arguments. No entry has a value.

use serde::{Deserialize, Serialize};

use super::hex::as_hex;
use super::keys::Id;
use super::moment::Moment;
use super::role::{Right, Role};
use super::seal::{Digest, Key, NONCE, Place};

/// What was asked for.
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
    /// Its word, as JSON has it.
    pub fn word(self) -> String {
        serde_json::to_value(self).ok().and_then(|word| Some(word.as_str()?.to_owned())).unwrap_or_default()
    }

    /// The rights of which a role needs one to change a secret so; empty for what changes none.
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

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It was done.
    Done,
    /// Whoever asked may not.
    Refused,
    /// There is no such thing, or it is deleted.
    Missing,
    /// It could not be done.
    Failed,
}

impl Outcome {
    /// Its word, as JSON has it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Refused => "refused",
            Self::Missing => "missing",
            Self::Failed => "failed",
        }
    }
}

/// One entry, as it is sealed. Who wrote it is not in it: that is whose key opens it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    pub(super) at: Moment,
    pub(super) action: Action,
    pub(super) outcome: Outcome,
    pub(super) about: About,
}

/// What an entry is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum About {
    /// What needs no more than a word: the store itself, a prefix that was listed.
    Named(String),
    /// A secret.
    Secret {
        path: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        version: Option<u64>,
        /// How it was afterwards, where this changed it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        change: Option<Change>,
    },
    /// The owner's key: what the root key is sealed as, and as whom the owner writes from the next entry on.
    Owner {
        #[serde(with = "as_hex")]
        root: Digest,
        #[serde(with = "as_hex")]
        writer: Id,
        /// What the environments have now, and as whom the roles write; none where the root key stayed.
        environments: Vec<Epoch>,
        writers: Vec<Renamed>,
    },
    /// An environment that was made.
    Environment(Epoch),
    /// A role that was made.
    Role {
        #[serde(with = "as_hex")]
        id: Id,
        /// As whom it writes.
        #[serde(with = "as_hex")]
        writer: Id,
        role: Role,
    },
    /// A role that was revoked, and what its environments have now.
    Revoked {
        #[serde(with = "as_hex")]
        id: Id,
        name: String,
        environments: Vec<Epoch>,
    },
    /// An older store that the owner says is the right one: the era that begins with it.
    Era(u64),
}

/// What a secret was changed into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Change {
    /// The serial of its head.
    pub(super) serial: u64,
    /// The digest of its head, which holds one of each of its values.
    #[serde(with = "as_hex")]
    pub(super) head: Digest,
    /// The digest of its policy.
    #[serde(with = "as_hex")]
    pub(super) policy: Digest,
}

/// As whom a role writes from this entry on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Renamed {
    #[serde(with = "as_hex")]
    pub(super) role: Id,
    #[serde(with = "as_hex")]
    pub(super) writer: Id,
}

/// The keys that an environment has from this entry on, and what was in it then.
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

/// The digest that the next entry is bound to.
pub(super) type Link = Digest;

/// The link before the first entry.
pub(super) const BEFORE_ALL: Link = [0; 32];

/// Where an entry is: its number, the link before it, and who wrote it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spot<'a> {
    pub(super) store: &'a Id,
    pub(super) number: u64,
    pub(super) before: &'a Link,
    pub(super) writer: &'a Id,
}

impl Spot<'_> {
    /// Seals the entry of this spot: the sealed bytes and the link after it.
    pub(super) fn seal(&self, key: &Key, nonce: [u8; NONCE], entry: &Entry) -> Option<(Vec<u8>, Link)> {
        let text = serde_json::to_vec(entry).ok()?;
        let sealed = self.in_place(|place| key.seal(nonce, place, &text))?;
        let link = self.link(&sealed);
        Some((sealed, link))
    }

    /// Opens the entry of this spot.
    pub(super) fn open(&self, key: &Key, sealed: &[u8]) -> Option<Entry> {
        let text = self.in_place(|place| key.open(place, sealed))?;
        serde_json::from_slice(text.expose()).ok()
    }

    /// The link after an entry. It takes no key, so that everybody can follow the chain.
    pub(super) fn link(&self, sealed: &[u8]) -> Link {
        let mut hasher = blake3::Hasher::new();
        hasher.update(self.before).update(&self.number.to_be_bytes()).update(self.writer).update(sealed);
        *hasher.finalize().as_bytes()
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
