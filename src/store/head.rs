//! The head of a secret: everything that the store knows about it except its values, above all its versions and their states.
//!
//! Version numbers only grow, even after deletion and destruction, so that no two values ever have the same path and number.
//!
//! *Invariant:* pure; the time is an argument. A head contains no value.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::moment::Moment;
use super::policy::{Policy, Rotation};
use super::proof::Proofs;
use super::seal::Digest;
use crate::hex::as_hex;

/// How many versions of a secret are kept by default.
pub const KEPT: u32 = 10;

/// All about a secret except its values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// Its whole path: the key of the row is only a digest of it.
    pub path: String,
    /// A number that grows with every change, so that an earlier state that was put back does not match the audit.
    pub serial: u64,
    /// When it was first written.
    pub created: Moment,
    /// By whom.
    pub by: String,
    /// A note about it.
    pub note: Option<String>,
    /// How many versions are kept.
    pub keep: u32,
    /// The version that is read by default; 0 before the first one.
    pub current: u64,
    /// The highest version number so far.
    pub last: u64,
    /// Every version that is still known, the oldest first.
    pub versions: Vec<Version>,
    /// Its policy of rotation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<Policy>,
    /// The state of its rotation.
    #[serde(default, skip_serializing_if = "Rotation::is_idle")]
    pub rotation: Rotation,
    /// The signatures of its parts: beside it in the file, and not in it.
    #[serde(skip)]
    pub(super) proofs: Proofs,
}

/// One version, without its value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Version {
    /// Counted from 1.
    pub number: u64,
    /// When it was written.
    pub created: Moment,
    /// By whom.
    pub by: String,
    /// Its state.
    pub state: State,
    /// It can be read until then, after another version became current.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Moment>,
    /// A digest of its sealed value, made with the value's own key: neither another value nor another key gives the same digest.
    #[serde(with = "as_hex")]
    pub digest: Digest,
}

/// The state of a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "is")]
pub enum State {
    /// It can be read.
    Live,
    /// A rotation made it, and another version became current. It can be read, because a database may already have it.
    Unused {
        /// When it was set aside.
        at: Moment,
    },
    /// It can be undeleted.
    Deleted {
        /// When it was deleted.
        at: Moment,
    },
    /// It is destroyed; nothing of it is left.
    Destroyed {
        /// When it was destroyed.
        at: Moment,
    },
}

/// Why a version cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// It never existed, or was pruned.
    #[error("there is no version {number}; `squire store history` lists those there are")]
    Unknown {
        /// Which.
        number: u64,
    },
    /// Somebody deleted it.
    #[error(
        "version {number} was deleted at {at}: bring it back with `squire store undelete`, or put a new one"
    )]
    Deleted {
        /// Which.
        number: u64,
        /// When.
        at: Moment,
    },
    /// Its grace has ended.
    #[error("version {number} was replaced, and could be read until {at}: use the current one")]
    Replaced {
        /// Which.
        number: u64,
        /// The end of the grace.
        at: Moment,
    },
    /// Somebody destroyed it.
    #[error("version {number} was destroyed at {at}: put a new one")]
    Destroyed {
        /// Which.
        number: u64,
        /// When.
        at: Moment,
    },
}

impl Head {
    /// A secret that has no version yet.
    pub fn new(path: &str, by: &str, now: Moment) -> Self {
        Self {
            path: path.to_owned(),
            serial: 0,
            created: now,
            by: by.to_owned(),
            note: None,
            keep: KEPT,
            current: 0,
            last: 0,
            versions: Vec::new(),
            policy: None,
            rotation: Rotation::default(),
            proofs: Proofs::default(),
        }
    }

    /// The version of this number, or the current one, if it can be read.
    pub fn readable(&self, number: Option<u64>, now: Moment) -> Result<&Version, Unreadable> {
        let number = number.unwrap_or(self.current);
        let version = self.version(number).ok_or(Unreadable::Unknown { number })?;
        match version.state {
            State::Deleted { at } => Err(Unreadable::Deleted { number, at }),
            State::Destroyed { at } => Err(Unreadable::Destroyed { number, at }),
            State::Live | State::Unused { .. } => match version.until.filter(|until| *until <= now) {
                Some(at) => Err(Unreadable::Replaced { number, at }),
                None => Ok(version),
            },
        }
    }

    /// Whether its current version can be read.
    pub fn is_live(&self) -> bool {
        self.version(self.current).is_some_and(|version| version.state == State::Live)
    }

    /// Whether the version that the next rotation makes, or continues with, is approved.
    pub fn is_approved(&self) -> bool {
        self.rotation.approval.as_ref().is_some_and(|approval| approval.version == self.next())
    }

    /// The version that the next rotation makes, or continues with.
    pub(super) fn next(&self) -> u64 {
        self.rotation.pending.unwrap_or_else(|| self.last.saturating_add(1))
    }

    /// The version of this number.
    pub fn version(&self, number: u64) -> Option<&Version> {
        self.versions.iter().find(|version| version.number == number)
    }

    /// Adds a new version, which is current at once. Returns its number, and the versions whose values are to be removed. If another
    /// version was to become current, it no longer is. It is kept, because another system may already have it. A rotation that was claimed
    /// stays claimed until its time is over.
    pub fn add(&mut self, by: &str, now: Moment) -> (u64, Vec<u64>) {
        let Rotation { pending, claimed_until, .. } = std::mem::take(&mut self.rotation);
        self.rotation.claimed_until = claimed_until;
        if let Some(version) = self.versions.iter_mut().find(|version| Some(version.number) == pending) {
            version.state = State::Unused { at: now };
        }
        self.current = self.push(by, now);
        (self.last, self.prune())
    }

    /// Adds a version that is to become current; returns its number.
    pub fn pend(&mut self, by: &str, now: Moment) -> u64 {
        let number = self.push(by, now);
        self.rotation.pending = Some(number);
        number
    }

    /// Makes the pending version current; returns the versions whose values are to be removed. Its age counts from now.
    pub fn promote(&mut self, grace: Option<Duration>, now: Moment) -> Vec<u64> {
        let Rotation { pending: Some(number), .. } = std::mem::take(&mut self.rotation) else {
            return Vec::new();
        };
        self.current = number;
        for version in &mut self.versions {
            if version.number == number {
                version.created = now;
            } else if let Some(grace) = grace {
                version.until = version.until.or(Some(now.plus(grace)));
            }
        }
        self.prune()
    }

    fn push(&mut self, by: &str, now: Moment) -> u64 {
        self.last = self.last.saturating_add(1);
        self.versions.push(Version {
            number: self.last,
            created: now,
            by: by.to_owned(),
            state: State::Live,
            until: None,
            digest: Digest::default(),
        });
        self.last
    }

    /// Stores the digest of a version's value.
    pub(super) fn note_digest(&mut self, number: u64, digest: Digest) {
        if let Some(version) = self.versions.iter_mut().find(|version| version.number == number) {
            version.digest = digest;
        }
    }

    /// Deletes these versions, or all, so that they can be undeleted; returns how many.
    pub fn delete(&mut self, numbers: &[u64], at: Moment) -> usize {
        let may_go = |state| matches!(state, State::Live | State::Unused { .. });
        self.turn(numbers, |state| may_go(state).then_some(State::Deleted { at })).len()
    }

    /// Undeletes these versions, or all; returns how many.
    pub fn undelete(&mut self, numbers: &[u64]) -> usize {
        self.turn(numbers, |state| matches!(state, State::Deleted { .. }).then_some(State::Live)).len()
    }

    /// Destroys these versions, or all; returns those whose values are to be removed.
    pub fn destroy(&mut self, numbers: &[u64], at: Moment) -> Vec<u64> {
        let gone = self.turn(numbers, |state| match state {
            State::Live | State::Unused { .. } | State::Deleted { .. } => Some(State::Destroyed { at }),
            State::Destroyed { .. } => None,
        });
        self.rotation.pending = self.rotation.pending.filter(|pending| !gone.contains(pending));
        gone
    }

    fn turn(&mut self, numbers: &[u64], into: impl Fn(State) -> Option<State>) -> Vec<u64> {
        let mut turned = Vec::new();
        for version in &mut self.versions {
            if (numbers.is_empty() || numbers.contains(&version.number))
                && let Some(state) = into(version.state)
            {
                version.state = state;
                turned.push(version.number);
            }
        }
        turned
    }

    /// Prunes the oldest versions over the number that is kept. It never prunes the current one, nor one that was set aside, since another
    /// system may have that.
    fn prune(&mut self) -> Vec<u64> {
        let excess = self.versions.len().saturating_sub(self.keep.max(1) as usize);
        let current = self.current;
        let is_old =
            |version: &&Version| version.number < current && !matches!(version.state, State::Unused { .. });
        let old = self.versions.iter().filter(is_old);
        let old: Vec<u64> = old.take(excess).map(|version| version.number).collect();
        self.versions.retain(|version| !old.contains(&version.number));
        old
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Moment = Moment::from_millis(1000);

    fn head(versions: u64) -> Head {
        let mut head = Head::new("dev/app", "owner", NOW);
        for _ in 0..versions {
            head.add("owner", NOW);
        }
        head
    }

    #[test]
    fn what_cannot_be_read_says_why() {
        let mut head = head(4);
        assert_eq!(head.delete(&[2], NOW), 1);
        assert_eq!(head.destroy(&[3], NOW), [3]);
        for (number, expected) in [
            (None, Ok(4)),
            (Some(1), Ok(1)),
            (Some(2), Err(Unreadable::Deleted { number: 2, at: NOW })),
            (Some(3), Err(Unreadable::Destroyed { number: 3, at: NOW })),
            (Some(7), Err(Unreadable::Unknown { number: 7 })),
        ] {
            assert_eq!(head.readable(number, NOW).map(|version| version.number), expected, "{number:?}");
        }
    }

    #[test]
    fn deleted_comes_back_and_destroyed_does_not() {
        let mut head = head(3);
        assert_eq!(head.delete(&[], NOW), 3);
        assert!(!head.is_live());
        assert_eq!(head.destroy(&[3], NOW), [3]);
        assert_eq!(head.undelete(&[]), 2);
        assert!(head.readable(Some(1), NOW).is_ok());
        assert!(matches!(head.readable(None, NOW), Err(Unreadable::Destroyed { .. })));
        assert_eq!(head.destroy(&[3], NOW), Vec::<u64>::new());
    }

    #[test]
    fn what_is_pending_becomes_current_and_the_one_before_has_its_grace() {
        let later = NOW.plus(Duration::from_secs(10));
        let mut head = head(1);
        assert_eq!(head.pend("web", NOW), 2);
        assert_eq!((head.current, head.rotation.pending), (1, Some(2)));
        assert_eq!(head.promote(Some(Duration::from_secs(10)), NOW), Vec::<u64>::new());
        assert_eq!((head.current, head.rotation.pending), (2, None));
        assert!(head.readable(Some(1), NOW).is_ok() && head.readable(None, later).is_ok());
        assert_eq!(head.readable(Some(1), later), Err(Unreadable::Replaced { number: 1, at: later }));
        assert_eq!(head.pend("web", NOW), 3);
        head.rotation.claimed_until = Some(later);
        assert_eq!(head.add("owner", NOW), (4, Vec::new()));
        assert_eq!((head.current, head.rotation.pending), (4, None));
        assert_eq!(head.rotation.claimed_until, Some(later), "whoever is at it stays so");
        assert_eq!(head.version(3).unwrap().state, State::Unused { at: NOW });
        assert!(head.readable(Some(3), later).is_ok());
        head.keep = 1;
        head.add("owner", NOW);
        assert_eq!(head.versions.iter().map(|version| version.number).collect::<Vec<_>>(), [3, 5]);
    }

    proptest! {
        #[test]
        fn numbers_only_grow_and_the_current_one_is_kept(keep in 0_u32..5, steps in prop::collection::vec(any::<bool>(), 0..60)) {
            let mut head = Head { keep, ..head(0) };
            for (step, adds) in (1..).zip(steps) {
                let before = head.last;
                if adds {
                    prop_assert_eq!(head.add("owner", NOW).0, before + 1);
                } else {
                    drop(head.destroy(&[step], NOW));
                }
                prop_assert!(head.current == head.last);
                prop_assert!(head.current == 0 || head.version(head.current).is_some());
                prop_assert!(head.versions.len() <= head.keep.max(1) as usize);
            }
        }
    }
}
