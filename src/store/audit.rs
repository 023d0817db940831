//! What was done with the store, as a chain.
//!
//! Each entry is sealed under a key of its own, in a place that names its number and the link before it; the next link is a digest of
//! all three. So an entry that was edited, moved, swapped or left out breaks the chain where it was.
//!
//! The keys are a [`Ratchet`]: the key of an entry comes from a state, and the next state from a one-way function of it. The store keeps
//! only the latest state, sealed, with the number and the link of the last entry: an end that was cut off does not fit it.
//! Whoever may write the next entry can therefore neither read nor replace those before it, a role with its secret-id included. The
//! owner's key opens the state that each era began with, and from that every entry. A new era begins when a role is revoked,
//! because that role knew the state.
//!
//! *Invariant:* pure; keys, nonces and time are arguments. No entry has a value.

use serde::{Deserialize, Serialize};

use super::moment::Moment;
use super::seal::{KEY, Key, NONCE, Place};

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
    RoleAdd,
    RoleRevoke,
    RoleList,
    Rekey,
    Policy,
    Approve,
    Audit,
    Stats,
    RotateBegin,
    RotatePending,
    Rotate,
}

impl Action {
    /// Its word, as JSON has it.
    pub fn word(self) -> String {
        serde_json::to_value(self).ok().and_then(|word| Some(word.as_str()?.to_owned())).unwrap_or_default()
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

/// One entry, as it is sealed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    pub(super) at: Moment,
    /// The name of the role, or `owner`.
    pub(super) who: String,
    pub(super) action: Action,
    pub(super) outcome: Outcome,
    pub(super) about: About,
}

/// What an entry is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum About {
    /// The store itself, a role, or a path in an environment whose key the asking role does not have, as it was asked for.
    Named(String),
    /// A secret. What it is called is sealed once more, under the key of its environment: a role that keeps the state of the ratchet
    /// learns no names of other environments.
    Secret {
        /// Which environment.
        environment: [u8; 16],
        /// A sealed [`Subject`].
        sealed: Vec<u8>,
    },
}

/// Which secret, and how it was afterwards.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Subject {
    pub(super) path: String,
    pub(super) version: Option<u64>,
    /// The serial of its head, where this changed it.
    pub(super) serial: Option<u64>,
}

/// The digest that the next entry is bound to.
pub(super) type Link = [u8; 32];

/// The link before the first entry.
pub(super) const BEFORE_ALL: Link = [0; 32];

/// The state that the keys of entries come from.
#[derive(Clone, Debug)]
pub(super) struct Ratchet(Key);

impl Ratchet {
    /// A state of these bytes.
    pub(super) fn new(state: Key) -> Self {
        Self(state)
    }

    /// The state itself, to be sealed.
    pub(super) fn state(&self) -> &[u8; KEY] {
        self.0.expose()
    }

    /// The state after the next entry. There is no way back.
    pub(super) fn next(&self) -> Self {
        Self(self.0.derive("audit ratchet"))
    }

    /// Seals the entry of this number: the sealed bytes and the link after it.
    pub(super) fn seal(
        &self,
        store: &[u8],
        (number, before): (u64, &Link),
        nonce: [u8; NONCE],
        entry: &Entry,
    ) -> Option<(Vec<u8>, Link)> {
        let text = serde_json::to_vec(entry).ok()?;
        let number_bytes = number.to_be_bytes();
        let place = Place { kind: "audit", parts: &[store, &number_bytes, before] };
        let sealed = self.key().seal(nonce, place, &text)?;
        let link = link(number, before, &sealed);
        Some((sealed, link))
    }

    /// Opens the entry of this number.
    pub(super) fn open(&self, store: &[u8], (number, before): (u64, &Link), sealed: &[u8]) -> Option<Entry> {
        let number = number.to_be_bytes();
        let text = self.key().open(Place { kind: "audit", parts: &[store, &number, before] }, sealed)?;
        serde_json::from_slice(text.expose()).ok()
    }

    fn key(&self) -> Key {
        self.0.derive("audit entry")
    }
}

/// The link after an entry.
pub(super) fn link(number: u64, before: &Link, sealed: &[u8]) -> Link {
    let mut hasher = blake3::Hasher::new();
    hasher.update(before).update(&number.to_be_bytes()).update(sealed);
    *hasher.finalize().as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STORE: &[u8] = &[7; 16];

    fn entry(action: Action) -> Entry {
        Entry {
            at: Moment::from_millis(5),
            who: "web".to_owned(),
            action,
            outcome: Outcome::Done,
            about: About::Named("x".to_owned()),
        }
    }

    #[test]
    fn an_entry_opens_with_its_number_after_its_link_and_nowhere_else() {
        let ratchet = Ratchet::new(Key::new([1; KEY]));
        let (sealed, after) =
            ratchet.seal(STORE, (1, &BEFORE_ALL), [0; NONCE], &entry(Action::Read)).unwrap();
        assert_eq!(ratchet.open(STORE, (1, &BEFORE_ALL), &sealed), Some(entry(Action::Read)));
        assert_eq!(after, link(1, &BEFORE_ALL, &sealed));
        assert!(ratchet.open(STORE, (2, &BEFORE_ALL), &sealed).is_none());
        assert!(ratchet.open(STORE, (1, &after), &sealed).is_none());
        assert!(ratchet.open(&[8; 16], (1, &BEFORE_ALL), &sealed).is_none());
        assert!(ratchet.next().open(STORE, (1, &BEFORE_ALL), &sealed).is_none());
    }

    #[test]
    fn a_link_depends_on_all_before_it() {
        let one = link(1, &BEFORE_ALL, b"a");
        assert_ne!(one, link(1, &BEFORE_ALL, b"b"));
        assert_ne!(one, link(2, &BEFORE_ALL, b"a"));
        assert_ne!(link(2, &one, b"a"), link(2, &BEFORE_ALL, b"a"));
    }

    #[test]
    fn actions_have_words() {
        assert_eq!(Action::LogIn.word(), "log-in");
        assert_eq!(Action::RoleRevoke.word(), "role-revoke");
    }
}
