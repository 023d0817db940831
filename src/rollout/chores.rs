//! Clean-up work for things that nobody can be using any more.
//!
//! *Invariant:* pure. Nothing is freed before its time, except what would be a third set of one secret.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::{Effect, READERS_HAVE};
use crate::names::{Generation, Revision, SecretName};
use crate::render::Release;

/// The work that is left, with its times.
#[derive(Clone, Debug, Default)]
pub(super) struct Chores {
    left: Vec<(Instant, Chore)>,
}

#[derive(Clone, Debug)]
enum Chore {
    Retire(Generation),
    Free(BTreeMap<SecretName, Revision>),
}

impl Chores {
    /// These generations are superseded.
    pub(super) fn retire(&mut self, generations: impl IntoIterator<Item = Generation>, now: Instant) {
        let chores =
            generations.into_iter().map(|generation| (now + READERS_HAVE, Chore::Retire(generation)));
        self.left.extend(chores);
    }

    /// This release is live: leases that only earlier releases used end after `grace`.
    pub(super) fn free_before(&mut self, release: &Release, grace: Duration, now: Instant) {
        self.left.push((now + grace, Chore::Free(release.revisions.clone())));
    }

    /// A rollout of these secrets begins. A set of them that still waits to be freed would be a third one beside the live and the new one,
    /// so it ends now.
    pub(super) fn make_room(&mut self, secrets: &BTreeSet<SecretName>, effects: &mut Vec<Effect>) {
        for (_, chore) in &mut self.left {
            if let Chore::Free(revisions) = chore {
                let now = revisions.extract_if(.., |secret, _| secrets.contains(secret));
                effects.extend(now.map(|(secret, below)| Effect::Free(secret, below)));
            }
        }
    }

    /// What these secrets had before is wanted again, so it is not freed.
    pub(super) fn keep(&mut self, secrets: &BTreeSet<SecretName>) {
        for (_, chore) in &mut self.left {
            if let Chore::Free(revisions) = chore {
                revisions.retain(|secret, _| !secrets.contains(secret));
            }
        }
    }

    /// Whether what this secret had before still waits to be freed.
    pub(super) fn is_waiting(&self, secret: &SecretName) -> bool {
        let waits = |(_, chore): &(Instant, Chore)| match chore {
            Chore::Free(revisions) => revisions.contains_key(secret),
            Chore::Retire(_) => false,
        };
        self.left.iter().any(waits)
    }

    /// Does the work that is due.
    pub(super) fn perform(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let (due, later) = self.left.drain(..).partition(|(at, _)| *at <= now);
        self.left = later;
        for (_, chore) in due {
            match chore {
                Chore::Retire(generation) => effects.push(Effect::Retire(generation)),
                Chore::Free(revisions) => {
                    effects.extend(revisions.into_iter().map(|(secret, below)| Effect::Free(secret, below)));
                }
            }
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.left.iter().map(|(at, _)| *at).min()
    }
}
