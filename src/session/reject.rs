//! A value that nobody can use: its release failed a check or a probe, or was overtaken before it was tried.
//!
//! The value before it is the one that is relied on again, for as long as it lives. What is rejected because its process could
//! not work with it is replaced again with backoff, so that a database whose grants are missing never fills with users.

use std::time::Instant;

use super::Session;
use super::held::Next;
use crate::lease;
use crate::names::{Revision, SecretName};

impl Session {
    pub(super) fn reject(&mut self, secret: &SecretName, revision: Revision, now: Instant) {
        let mut was_leased = false;
        let leases = self.leases.of(secret);
        for id in &leases {
            if let Some(lease) = self.leases.get_mut(id).filter(|lease| lease.revision == revision) {
                self.unrecorded |= lease.give_up(now);
                was_leased = true;
            }
        }
        let Some(tracked) = self.secrets.get_mut(secret) else { return };
        if tracked.revision != revision || tracked.relied_on != revision {
            return;
        }
        let before = leases.iter().filter_map(|id| self.leases.get(id)).filter(|lease| !lease.is_given_up());
        let before = before.max_by_key(|lease| lease.revision);
        tracked.rejections = tracked.rejections.saturating_add(1);
        tracked.ends = match before {
            Some(lease) => Some(lease.ends),
            // The lease before it was lost meanwhile.
            None if was_leased => Some(now),
            None => tracked.former_ends,
        };
        tracked.expired = false;
        if let Some(lease) = before {
            tracked.relied_on = lease.revision;
        }
        // What is renewed on and on needs no successor until it can be renewed no further.
        let is_kept = before.is_some_and(|lease| lease.is_renewed_on(self.serial));
        match (tracked.ends, tracked.next) {
            (Some(_), Next::Fetch(_) | Next::Leased) if is_kept => tracked.next = Next::Leased,
            (Some(ends), Next::Fetch(_) | Next::Leased) => {
                let left = ends.saturating_duration_since(now);
                tracked.next = Next::Fetch(now + lease::rejected(tracked.rejections, left));
            }
            // It is read again as ever: a newer value is what it waits for.
            (None, _) | (Some(_), Next::Fetching { .. }) => {}
        }
    }
}
