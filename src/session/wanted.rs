//! A reload: other secrets are wanted from a source that stays.
//!
//! What stays is not touched. What is no longer wanted is not fetched any more; its leases are kept until nobody uses them, and the agent
//! says when that is. A question about it may be out: its answer is waited for, since it may bring a lease, and that is given back at once.
//!
//! *Invariant:* pure. Nothing of such an answer is delivered. How often a credential is made stays bounded, however often it comes and goes.

use super::Session;
use super::answers::Turn;
use super::held::{LeaseNext, Next, Tracked};
use super::{Fetched, Holding};
use crate::ledger::{Entry, Fingerprint};
use crate::names::{Edition, Revision, SecretName};
use crate::plan::Want;
use crate::secret::Digest;
use crate::source::Life;

use std::collections::BTreeSet;
use std::time::Instant;

impl Session {
    /// The same session, whose values have the numbers of this edition.
    #[must_use]
    pub fn of_edition(mut self, edition: Edition) -> Self {
        self.secrets.values_mut().for_each(|tracked| tracked.begin(edition));
        self
    }

    /// From now on these are wanted, and no others.
    pub(super) fn want(&mut self, wants: Vec<Want>, edition: Edition, now: Instant) {
        let wanted: BTreeSet<SecretName> = wants.iter().map(|want| want.name.clone()).collect();
        for tracked in self.secrets.values_mut() {
            tracked.leaves |= !wanted.contains(&tracked.want.name);
        }
        let gone = self.secrets.take_if(|tracked| tracked.leaves && !tracked.is_asked_for());
        self.former_mints.extend(gone.into_iter().map(|(name, tracked)| (name, tracked.mints)));
        for want in wants {
            match self.secrets.get_mut(&want.name) {
                Some(tracked) if tracked.want.asks_the_same(&want) && !tracked.leaves => {
                    tracked.adjust(want, now);
                }
                Some(tracked) => *tracked = tracked.succeeded_by(want, edition, now),
                None => {
                    let mut tracked = Tracked::new(want, now);
                    tracked.begin(edition);
                    tracked.mints = self.former_mints.remove(&tracked.want.name).unwrap_or_default();
                    self.secrets.insert(tracked.want.name.clone(), tracked);
                }
            }
        }
    }

    /// Whether the answer about this secret is to a question that nobody asks any more.
    pub(super) fn is_unwanted(&self, name: &SecretName) -> bool {
        self.secrets.get(name).is_some_and(|tracked| tracked.leaves || tracked.asks_otherwise)
    }

    /// An answer that nobody waits for: a lease in it is ours all the same, until it is revoked.
    pub(super) fn fetched_in_vain(
        &mut self,
        name: &SecretName,
        fetched: Fetched,
        digest: Digest,
        turn: &Turn<'_>,
    ) {
        let Some(tracked) = self.secrets.get_mut(name) else { return };
        let (lease, ttl, renewable) = match fetched.life {
            Life::Renewable { lease, ttl } => (Some(lease), Some(ttl), true),
            Life::Expiring { lease, ttl } => (lease, Some(ttl), false),
            Life::Rotating { .. } | Life::Versioned { .. } => (None, None, false),
        };
        if let Some(ttl) = ttl {
            tracked.mints.made(turn.sent, ttl);
        }
        if let (Some(lease), Some(first_ttl)) = (lease, ttl) {
            let (want, fields, meta) = (Fingerprint::of(&tracked.want), fetched.fields, fetched.meta);
            let secret = name.clone();
            let entry = Entry { secret, lease, fields, meta, first_ttl, renewable, want, given_up: true };
            self.hold_lease(Holding { entry, digest }, LeaseNext::Revoke(turn.now), turn);
        }
        self.answered_in_vain(name, turn.now);
    }

    /// The question is no longer out.
    pub(super) fn answered_in_vain(&mut self, name: &SecretName, now: Instant) {
        if let Some(gone) = self.secrets.get(name).filter(|tracked| tracked.leaves) {
            self.former_mints.insert(name.clone(), gone.mints);
            self.secrets.remove(name);
        } else if let Some(tracked) = self.secrets.get_mut(name) {
            tracked.asks_otherwise = false;
            tracked.next = Next::Fetch(now);
        }
    }
}

impl Tracked {
    /// Its values have the numbers of this edition.
    fn begin(&mut self, edition: Edition) {
        let before = Revision::before(edition).max(self.revision);
        (self.revision, self.relied_on) = (before, before);
    }

    fn is_asked_for(&self) -> bool {
        matches!(self.next, Next::Fetching { .. })
    }

    /// The same is asked for, and may be asked for more often.
    fn adjust(&mut self, want: Want, now: Instant) {
        if let (Next::Fetch(at), None) = (self.next, self.ends) {
            self.next = Next::Fetch(at.min(now + want.refresh));
        }
        self.want = want;
    }

    /// What takes its place. One question at a time is out: that of another want is waited for.
    fn succeeded_by(&self, want: Want, edition: Edition, now: Instant) -> Self {
        let is_same = self.want.asks_the_same(&want);
        let mut next = Self::new(want, now);
        next.begin(edition);
        next.mints = self.mints;
        if self.is_asked_for() {
            next.next = self.next;
            next.asked_with.clone_from(&self.asked_with);
            next.asks_otherwise = self.asks_otherwise || !is_same;
        }
        next
    }
}
