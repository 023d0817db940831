//! Answers about leases: renewals, look-ups, revocations.

use std::time::{Duration, Instant};

use super::super::held::{LeaseNext, Next, Question};
use super::super::{Phase, Session};
use super::{Turn, current};
use crate::fact::SecretFact;
use crate::lease::{self, Due};
use crate::names::LeaseId;
use crate::source::{Fault, Renewal};

impl Session {
    pub(super) fn renewed(&mut self, id: &LeaseId, renewal: Renewal, turn: &mut Turn<'_>) {
        let due = lease::renewed(renewal, self.draw());
        let Some(lease) = self.leases.get_mut(id) else { return };
        let at = (turn.sent + due.after()).max(turn.now + lease::SOONEST);
        let capped = matches!(due, Due::Replace(_));
        lease.failures = 0;
        lease.ends = turn.sent + renewal.ttl;
        lease.then(if capped { LeaseNext::Rest } else { LeaseNext::Renew(at) });
        lease.check_at = next_check(self.look_up_every, lease.check_at, turn.now);
        let of_this_grant = lease.serial == self.serial;
        let (name, ends, left) = (lease.secret().clone(), lease.ends, lease.left(turn.now));
        let Some(tracked) = current(&mut self.secrets, lease) else { return };
        tracked.ends = Some(ends);
        tracked.expired = false;
        if capped {
            tracked.fetch_by(at);
            return turn.say(&name, SecretFact::Ending { left });
        }
        // A replacement that was planned because renewals failed is no longer needed; one that was planned because the token
        // has a successor is.
        if of_this_grant && matches!(tracked.next, Next::Fetch(_)) {
            tracked.next = Next::Leased;
        }
        let next_in = at.saturating_duration_since(turn.now);
        turn.say(&name, SecretFact::Renewed { ttl: renewal.ttl, next_in });
    }

    pub(super) fn not_renewed(&mut self, id: &LeaseId, fault: &Fault, turn: &mut Turn<'_>) {
        let chance = self.draw();
        self.doubt_grant(fault);
        let Some(lease) = self.leases.get_mut(id) else { return };
        lease.failures = lease.failures.saturating_add(1);
        let again_in = match fault {
            Fault::Gone { .. } => return self.lease_lost(id, turn),
            Fault::Unreachable { retry_after, .. } => {
                let pause = lease::unreachable(lease.failures, *retry_after, chance);
                lease.then(LeaseNext::Renew(turn.now + pause));
                pause
            }
            // A refusal does not say that the lease is gone; a look-up does.
            Fault::Failing { .. }
            | Fault::Denied { .. }
            | Fault::Dead
            | Fault::Refused { .. }
            | Fault::Awaiting { .. }
            | Fault::Malformed { .. } => {
                lease.then(LeaseNext::LookUp(turn.now));
                Duration::ZERO
            }
        };
        let (name, by, first) = (lease.secret().clone(), lease.last_chance(turn.now), lease.failures == 1);
        let Some(tracked) = current(&mut self.secrets, lease) else { return };
        tracked.fetch_by(by);
        if first {
            turn.say(&name, SecretFact::NotRenewed { error: fault.to_string(), again_in });
        }
    }

    pub(super) fn looked_up(&mut self, id: &LeaseId, result: &Result<Duration, Fault>, turn: &mut Turn<'_>) {
        if self.leases.get(id).is_some_and(|lease| lease.adopting) {
            return self.lease_adopted(id, result, turn);
        }
        let chance = self.draw();
        if let Err(fault) = result {
            self.doubt_grant(fault);
        }
        let Some(lease) = self.leases.get_mut(id) else { return };
        match result {
            Err(Fault::Gone { .. }) => return self.lease_lost(id, turn),
            Ok(left) => lease.ends = turn.sent + *left,
            // No news of it: what we know of its end stands.
            Err(_) => {}
        }
        lease.check_at = next_check(self.look_up_every, lease.check_at, turn.now);
        if lease.asking == Some(Question::Check) {
            lease.then(lease.next);
            return;
        }
        let pause = lease::failing(lease.failures, Some(lease.left(turn.now)), chance);
        lease.then(LeaseNext::Renew(turn.now + pause));
        let (ends, by) = (lease.ends, lease.last_chance(turn.now));
        if let Some(tracked) = current(&mut self.secrets, lease) {
            tracked.ends = Some(ends);
            tracked.fetch_by(by);
        }
    }

    pub(in crate::session) fn lease_lost(&mut self, id: &LeaseId, turn: &mut Turn<'_>) {
        let Some(lease) = self.leases.remove(id) else { return };
        self.unrecorded = true;
        let Some(tracked) = current(&mut self.secrets, &lease) else { return };
        tracked.ends = Some(turn.now);
        tracked.expired = true;
        tracked.fetch_by(turn.now);
        turn.say(lease.secret(), SecretFact::Lost);
    }

    pub(super) fn revoked(&mut self, id: &LeaseId, result: Result<(), Fault>, turn: &mut Turn<'_>) {
        let chance = self.draw();
        let stopping = self.phase == Phase::Stopping;
        let Some(lease) = self.leases.get_mut(id) else { return };
        let secret = lease.secret().clone();
        match result {
            Ok(()) | Err(Fault::Gone { .. }) => {
                self.leases.remove(id);
                self.unrecorded = true;
                turn.say(&secret, SecretFact::Revoked { lease: id.clone() });
            }
            Err(fault @ (Fault::Unreachable { .. } | Fault::Failing { .. })) if !stopping => {
                // The server does not queue it: ask again until the lease ends by itself.
                lease.failures = lease.failures.saturating_add(1);
                let pause = lease::failing(lease.failures, Some(lease.left(turn.now)), chance);
                lease.asking = None;
                lease.next = LeaseNext::Revoke(turn.now + pause);
                if lease.failures == 1 {
                    turn.say(&secret, SecretFact::NotRevoked { lease: id.clone(), error: fault.to_string() });
                }
            }
            Err(fault) => {
                self.leases.remove(id);
                self.unrecorded = true;
                turn.say(&secret, SecretFact::NotRevoked { lease: id.clone(), error: fault.to_string() });
            }
        }
    }
}

/// When to ask again whether a lease lives that nothing says anything about.
fn next_check(every: Duration, check_at: Option<Instant>, now: Instant) -> Option<Instant> {
    check_at.map(|_| now + every)
}
