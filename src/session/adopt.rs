//! What an earlier run held is taken over, as far as it still lives: verified before it is used, always with the token that made
//! it.
//!
//! A lease looks alive to whoever holds its name, and one that ended but is not yet revoked still looks up; so the token is
//! asked first, then each lease, and only what has time enough left is adopted. The rest is fetched as in a first run.

use std::time::Instant;

use super::answers::{Turn, current, one_more};
use super::grant::{GrantNext, HeldGrant, Login};
use super::held::{HeldLease, LeaseNext, Next};
use super::{Ask, Effect, Holding, Holdings, Session, Update};
use crate::fact::{SecretFact, SourceFact};
use crate::lease;
use crate::ledger::{Entry, Fingerprint};
use crate::names::{LeaseId, Revision};
use crate::source::{Fault, GrantLife};

impl Session {
    /// The question that comes before a login: does the token of the earlier run still live?
    pub(super) fn ask_adopted_grant(&self) -> Option<Ask> {
        let holdings = self.adopt.as_ref()?;
        Some(Ask::LookUpGrant(self.serial, holdings.grant.clone()))
    }

    /// Its answer.
    pub(super) fn grant_adopted(&mut self, result: &Result<GrantLife, Fault>, turn: &mut Turn<'_>) {
        let chance = self.draw();
        match (result, self.adopt.take()) {
            (_, None) => {}
            (Ok(life), Some(holdings)) => self.take_over(holdings, *life, turn),
            (Err(fault @ Fault::Unreachable { retry_after, .. }), holdings) => {
                self.adopt = holdings;
                self.login_failures = one_more(self.login_failures, self.login_trouble.as_ref(), fault);
                self.login_trouble = Some(fault.clone());
                let pause = lease::unreachable(self.login_failures, *retry_after, chance);
                self.login.failed(pause, turn.now);
            }
            // It answers, and not for this: what lives would be left behind, so it is asked again before it is given up.
            (Err(fault @ Fault::Failing { .. }), holdings)
                if one_more(self.login_failures, self.login_trouble.as_ref(), fault) < lease::FIRST_TRIES =>
            {
                self.adopt = holdings;
                self.login_failures =
                    one_more(self.login_failures, self.login_trouble.take().as_ref(), fault);
                self.login.failed(lease::failing(self.login_failures, None, chance), turn.now);
            }
            (Err(fault), Some(_)) => {
                (self.login_failures, self.login_trouble) = (0, None);
                self.login = Login::At(turn.now);
                turn.effects.push(self.report(SourceFact::NotAdopted { error: fault.to_string() }));
            }
        }
    }

    fn take_over(&mut self, holdings: Holdings, life: GrantLife, turn: &mut Turn<'_>) {
        self.serial = self.serial.next();
        self.login.succeeded(turn.now);
        (self.login_failures, self.login_trouble) = (0, None);
        let mut held = HeldGrant::new(self.serial, holdings.grant, turn.sent, self.draw());
        held.taken_over(life, turn.sent, self.draw());
        let has_time = |ttl| lease::is_worth_adopting(ttl, held.grant.life.ttl.unwrap_or(ttl));
        if !life.ttl.is_none_or(has_time) {
            // What it leased ends with it, and what it would lease now too: its successor comes first.
            (held.next, held.awaits_successor) = (GrantNext::LogIn(turn.now), true);
        }
        held.look_up_at = Some(turn.now + self.look_up_every);
        held.has_leases = !holdings.leases.is_empty();
        self.grant = Some(held);
        let leases = holdings.leases.len();
        for holding in holdings.leases {
            self.take_over_lease(holding, turn.now);
        }
        self.set_older_leases_aside();
        turn.effects.push(self.report(SourceFact::Adopted { ttl: life.ttl, leases }));
    }

    /// Who was killed in a rollout's `grace` left two leases of one secret, the newer one last. That one is verified and adopted; the older
    /// ones wait for their end as they do in every rollout, since a process may still use them: the next release frees them.
    fn set_older_leases_aside(&mut self) {
        for lease in self.leases.values_mut().filter(|lease| lease.adopting) {
            let newest = self.secrets.get(lease.secret()).map(|tracked| tracked.revision);
            if !lease.is_given_up() && newest != Some(lease.revision) {
                (lease.adopting, lease.next) = (false, LeaseNext::Rest);
            }
        }
    }

    /// A lease of a secret that is wanted as before is looked up; any other, and what was given up, is nobody's, and is revoked.
    fn take_over_lease(&mut self, holding: Holding, now: Instant) {
        let Some(held) = &self.grant else { return };
        let wanted = self.secrets.get_mut(&holding.entry.secret);
        let wanted = wanted.filter(|tracked| Fingerprint::of(&tracked.want) == holding.entry.want);
        let wanted = wanted.filter(|_| !holding.entry.given_up);
        let (revision, next) = match wanted {
            Some(tracked) => {
                tracked.next = Next::Leased;
                tracked.advance(now);
                (tracked.revision, LeaseNext::LookUp(now))
            }
            None => (Revision::default(), LeaseNext::Revoke(now)),
        };
        let lease = HeldLease {
            revision,
            serial: held.serial,
            grant: held.grant.clone(),
            ends: now + holding.entry.first_ttl,
            next,
            check_at: None,
            asking: None,
            adopting: true,
            failures: 0,
            holding,
        };
        self.leases.insert(lease.holding.entry.lease.clone(), lease);
    }

    /// The answer to the look-up of a lease that is to be taken over.
    pub(super) fn lease_adopted(
        &mut self,
        id: &LeaseId,
        result: &Result<std::time::Duration, Fault>,
        turn: &mut Turn<'_>,
    ) {
        let chance = self.draw();
        let look_up_every = self.look_up_every;
        let Some(lease) = self.leases.get_mut(id) else { return };
        let left = match result {
            Ok(left) => *left,
            Err(Fault::Unreachable { .. } | Fault::Failing { .. }) => {
                lease.failures = lease.failures.saturating_add(1);
                let pause = lease::failing(lease.failures, None, chance);
                return lease.then(LeaseNext::LookUp(turn.now + pause));
            }
            Err(_) => return self.lease_lost(id, turn),
        };
        let Some(tracked) = current(&mut self.secrets, lease) else {
            // A newer value came meanwhile: like every older lease it waits for its end.
            (lease.adopting, lease.ends) = (false, turn.sent + left);
            return lease.then(LeaseNext::Rest);
        };
        let ends = turn.sent + left;
        let of_token = self.grant.as_ref().filter(|held| held.serial == lease.serial);
        let token_ends = of_token.map_or(Some(lease.ends), |held| held.ends);
        let left_to_use =
            token_ends.map_or(ends, |token| token.min(ends)).saturating_duration_since(turn.now);
        if !lease::is_worth_adopting(left_to_use, lease.holding.entry.first_ttl) {
            // A process would be started with what is about to die. It stays as it is, and a new one comes.
            tracked.fetch_by(turn.now);
            (lease.adopting, lease.ends) = (false, ends);
            return lease.then(LeaseNext::Rest);
        }
        tracked.digest = Some(lease.holding.digest);
        tracked.ends = Some(ends);
        let at = if lease.holding.entry.renewable && left < lease.holding.entry.first_ttl / 2 {
            // Only a renewal tells whether it can live longer: a successor that has to come is known of in time.
            turn.now + lease::SOONEST
        } else {
            turn.sent + lease::renewal(left, chance)
        };
        if !lease.holding.entry.renewable {
            tracked.fetch_by(at);
        }
        lease.adopting = false;
        lease.ends = ends;
        lease.check_at = Some(turn.now + look_up_every);
        lease.then(if lease.holding.entry.renewable { LeaseNext::Renew(at) } else { LeaseNext::Rest });
        let update = Update {
            secret: lease.holding.entry.secret.clone(),
            revision: lease.revision,
            fields: lease.holding.entry.fields.clone(),
            meta: lease.holding.entry.known(),
            digest: lease.holding.digest,
            former_ends: None,
            is_leased: true,
            again_at: (!lease.holding.entry.renewable).then_some(at),
        };
        let next_in = at.saturating_duration_since(turn.now);
        turn.say(&update.secret, SecretFact::Adopted { next_in });
        turn.effects.push(Effect::Deliver(update));
    }

    /// What has to outlive this run now.
    pub(super) fn holdings(&self) -> Option<Holdings> {
        let held = self.grant.as_ref()?;
        let mut ours: Vec<_> = self.leases.values().filter(|lease| lease.serial == held.serial).collect();
        ours.sort_by_key(|lease| lease.revision);
        let holding = |lease: &HeldLease| {
            let entry = Entry { given_up: lease.is_given_up(), ..lease.holding.entry.clone() };
            Holding { entry, digest: lease.holding.digest }
        };
        let leases = ours.into_iter().map(holding).collect();
        Some(Holdings { grant: held.grant.clone(), leases })
    }
}
