//! Answers about secrets: values that came, and that did not.

use std::time::{Duration, Instant};

use super::super::held::{HeldLease, LeaseNext, Next, Tracked};
use super::super::{Effect, Holding, Lack, Outlook, Session, Update};
use super::{Turn, one_more};
use crate::fact::SecretFact;
use crate::lease::{self, Due};
use crate::ledger::{Entry, Fingerprint};
use crate::names::{LeaseId, SecretName};
use crate::secret::Digest;
use crate::source::{Fault, Fetched, Life};

impl Session {
    pub(super) fn fetched(
        &mut self,
        name: &SecretName,
        fetched: Fetched,
        digest: Digest,
        turn: &mut Turn<'_>,
    ) {
        let chance = self.draw();
        let is_kept = self.is_renewed_on(name);
        let Some(tracked) = self.secrets.get_mut(name) else { return };
        tracked.answers += 1;
        let Fetched { fields, life, written, meta } = fetched;
        let due = lease::fetched(&life, tracked.want.refresh, chance);
        let at = (turn.sent + due.after()).max(turn.now + lease::SOONEST);
        let next_in = at.saturating_duration_since(turn.now);
        if tracked.trouble.take().is_some() {
            turn.say(name, SecretFact::Recovered);
        }
        tracked.read_with = tracked.asked_with.as_ref().map(|(serial, _)| *serial);
        let hurried = tracked.next == (Next::Fetching { hurry: true });
        tracked.failures = 0;
        tracked.expired = false;
        let former_ends = if is_kept { None } else { tracked.value_ends(&life, turn.now) };
        tracked.ends = life.ttl().and_then(|ttl| turn.sent.checked_add(ttl));
        if let Some(ttl) = life.ttl() {
            tracked.mints.made(turn.sent, ttl);
        }
        tracked.next = match due {
            _ if hurried => Next::Fetch(turn.now),
            Due::Renew(_) => Next::Leased,
            Due::Replace(_) | Due::Reread(_) => Next::Fetch(at),
        };
        // A lease is always news: it has to be held, and the one before it let go.
        if life.lease().is_none() && tracked.digest == Some(digest) {
            return turn.say(name, SecretFact::Same { next_in });
        }
        tracked.digest = Some(digest);
        tracked.former_ends = former_ends;
        tracked.advance(turn.now);
        let (secret, revision) = (name.clone(), tracked.revision);
        let again_at = match due {
            Due::Renew(_) => None,
            Due::Replace(_) | Due::Reread(_) => Some(at),
        };
        let is_leased = life.lease().is_some();
        let (fields_here, meta_here) = (fields.clone(), meta.clone());
        let update = Update {
            secret,
            revision,
            fields: fields_here,
            meta: meta_here,
            digest,
            former_ends,
            is_leased,
            again_at,
        };
        let next = if matches!(due, Due::Renew(_)) { LeaseNext::Renew(at) } else { LeaseNext::Rest };
        if let (Some(lease), Some(first_ttl)) = (life.lease().cloned(), life.ttl()) {
            let renewable = matches!(life, Life::Renewable { .. });
            let want = Fingerprint::of(&tracked.want);
            let (secret, given_up) = (name.clone(), false);
            let entry = Entry { secret, lease, fields, meta, first_ttl, renewable, want, given_up };
            self.hold_lease(Holding { entry, digest }, next, turn);
        }
        turn.say(name, SecretFact::Fetched { next_in, revision, written });
        turn.effects.push(Effect::Deliver(update));
    }

    /// Whether the lease of the present value is renewed for as long as anything uses it.
    fn is_renewed_on(&self, name: &SecretName) -> bool {
        let relied_on = self.secrets.get(name).map(|tracked| tracked.relied_on);
        let leases = self.leases.of(name);
        let mut leases = leases.iter().filter_map(|id| self.leases.get(id));
        leases.any(|lease| Some(lease.revision) == relied_on && lease.is_renewed_on(self.serial))
    }

    pub(in crate::session) fn hold_lease(&mut self, holding: Holding, next: LeaseNext, turn: &Turn<'_>) {
        let chance = self.draw();
        let Some(tracked) = self.secrets.get_mut(&holding.entry.secret) else { return };
        let Some((serial, grant)) = tracked.asked_with.take() else { return };
        if let Some(held) = self.grant.as_mut().filter(|held| held.serial == serial) {
            held.has_leases = true;
        }
        if serial != self.serial {
            // It will die with a token that has a successor already.
            tracked.next = Next::Fetch(turn.now);
        }
        let lease = HeldLease {
            revision: tracked.revision,
            serial,
            ends: turn.sent + holding.entry.first_ttl,
            next,
            check_at: grant.uses.is_none().then(|| turn.now + lease::renewal(self.look_up_every, chance)),
            asking: None,
            adopting: false,
            failures: 0,
            grant,
            holding,
        };
        self.leases.insert(lease.holding.entry.lease.clone(), lease);
        self.unrecorded = true;
    }

    pub(super) fn not_fetched(&mut self, name: &SecretName, fault: &Fault, turn: &mut Turn<'_>) {
        let chance = self.draw();
        let Some(tracked) = self.secrets.get_mut(name) else { return };
        tracked.answers += 1;
        tracked.failures = one_more(tracked.failures, tracked.trouble.as_ref(), fault);
        let (failures, left) = (tracked.failures, tracked.left(turn.now));
        let pause = match fault {
            Fault::Unreachable { retry_after, .. } => lease::unreachable(failures, *retry_after, chance),
            Fault::Failing { .. } | Fault::Malformed { .. } | Fault::Awaiting { .. } => {
                lease::failing(failures, left, chance)
            }
            Fault::Denied { .. } | Fault::Dead | Fault::Refused { .. } | Fault::Gone { .. } => {
                lease::denied(failures, tracked.want.refresh, tracked.has_value(), chance)
            }
        };
        tracked.next = Next::Fetch(turn.now + pause);
        if !tracked.has_value() {
            let outlook = Outlook::of_secret(fault, failures);
            turn.effects.push(Effect::Lack(Lack {
                login: None,
                secrets: vec![name.clone()],
                why: fault.to_string(),
                outlook,
            }));
        }
        if tracked.is_news(fault) {
            let error = fault.to_string();
            let (holds_a_value, again_in) = (tracked.has_value(), pause);
            let still_valid = left.filter(|_| holds_a_value);
            turn.say(name, SecretFact::NotFetched { error, again_in, holds_a_value, still_valid });
        }
        let (read_before, asked_with) =
            (tracked.read_with, tracked.asked_with.as_ref().map(|(serial, _)| *serial));
        if let (Fault::Denied { .. }, Some(held)) = (fault, &mut self.grant) {
            // What it could read before and now cannot shows as much as a look-up that once succeeded.
            held.proven |= read_before == Some(held.serial);
        }
        // A source that tells a dead grant from a path that is denied is believed.
        if *fault == Fault::Dead && self.grant.as_ref().map(|held| held.serial) == asked_with {
            return self.grant_died(turn);
        }
        self.doubt_grant(fault);
    }
}

impl Tracked {
    /// When the value that a new one replaces ends, if it does. What the server itself rotates is dead by now.
    fn value_ends(&self, successor: &Life, now: Instant) -> Option<Instant> {
        match successor {
            Life::Rotating { .. } if self.has_value() => Some(now),
            Life::Rotating { .. }
            | Life::Renewable { .. }
            | Life::Expiring { .. }
            | Life::Versioned { .. } => self.ends,
        }
    }
}

impl Life {
    /// Until it ends, if it does.
    fn ttl(&self) -> Option<Duration> {
        match self {
            Self::Renewable { ttl, .. } | Self::Expiring { ttl, .. } => Some(*ttl),
            Self::Rotating { .. } | Self::Versioned { .. } => None,
        }
    }

    /// The lease that keeps it, if there is one.
    fn lease(&self) -> Option<&LeaseId> {
        match self {
            Self::Renewable { lease, .. } => Some(lease),
            Self::Expiring { lease, .. } => lease.as_ref(),
            Self::Rotating { .. } | Self::Versioned { .. } => None,
        }
    }
}
