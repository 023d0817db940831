//! What is due → questions to the source; and when something will be due next.
//!
//! Level-triggered: it never asks what changed, only what is due now and allowed to go out.

use std::time::{Duration, Instant};

use super::agenda::Planned as _;
use super::answers::current;
use super::grant::{Again, Doubt, GrantNext, HeldGrant, Login};
use super::held::{Next, Question};
use super::{Ask, BREAKER_OPENS_AT, Effect, IN_FLIGHT, Phase, Session};
use crate::fact::{Fact, SecretFact, SourceFact};
use crate::names::{LeaseId, SecretName};

/// Something that may be due: a secret to fetch, or a lease to renew, look up or revoke.
enum Job {
    Secret(SecretName),
    Lease(LeaseId),
}

impl Session {
    /// Sends what is due, what the process needs most first.
    pub(super) fn dispatch(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        self.expire(now, effects);
        if self.not_before.is_some_and(|gate| gate > now) {
            return;
        }
        self.dispatch_login(now, effects);
        self.dispatch_grant(now, effects);
        if self.free() == 0 {
            return;
        }
        for job in self.due_jobs(now) {
            match job {
                Job::Secret(name) => self.ask_secret(&name, effects),
                Job::Lease(id) => self.ask_lease(&id, now, effects),
            }
        }
    }

    /// When [`Session::step`] wants to be called again by itself. Always later than the last step, unless that is owed already.
    pub fn deadline(&self) -> Option<Instant> {
        if self.phase != Phase::Keeping {
            return None;
        }
        let grant_end = self.grant.as_ref().and_then(|held| held.ends);
        let times = [self.secrets.next_end(), self.leases.next_end(), grant_end, self.next_question()];
        times.into_iter().flatten().min()
    }

    /// When the next question may go out.
    fn next_question(&self) -> Option<Instant> {
        if self.free() == 0 {
            return None;
        }
        let login = match self.login {
            Login::At(at) => Some(at),
            Login::Done | Login::Asking { .. } => None,
        };
        let work = self.grant.as_ref().and_then(|held| {
            if held.is_used_up() {
                return None;
            }
            let secrets = self.secrets.next_due().filter(|_| !self.token_comes_first());
            [held.due(), secrets, self.leases.next_due()].into_iter().flatten().min()
        });
        let next = [login, work].into_iter().flatten().min()?;
        Some(self.not_before.map_or(next, |gate| next.max(gate)))
    }

    /// Whether no secret is fetched with the token that there is, since its successor is asked for.
    fn token_comes_first(&self) -> bool {
        let is_asked_for = matches!(self.login, Login::Asking { .. }) && self.login_failures == 0;
        is_asked_for && self.grant.as_ref().is_some_and(|held| held.awaits_successor)
    }

    fn free(&self) -> usize {
        let limit = if self.unreachable_in_a_row >= BREAKER_OPENS_AT { 1 } else { self.allowed_in_flight };
        limit.saturating_sub(self.in_flight)
    }

    fn ask(&mut self, ask: Ask, effects: &mut Vec<Effect>) {
        self.in_flight += 1;
        effects.push(Effect::Ask(ask));
    }

    /// What is past its end is said, once, and no longer kept.
    fn expire(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        if self.grant.as_ref().is_some_and(|held| held.ends.is_some_and(|ends| ends <= now)) {
            self.lose_grant(now, effects);
            if self.login == Login::Done {
                self.login = Login::At(self.deaths.another(now));
            }
        }
        for name in self.secrets.ended(now) {
            let Some(tracked) = self.secrets.get_mut(&name) else { continue };
            tracked.expired = true;
            tracked.fetch_by(now);
            let next_in = tracked.due().map_or(Duration::ZERO, |at| at.saturating_duration_since(now));
            effects.push(Effect::Report(Fact::Secret(name, SecretFact::Expired { next_in })));
        }
        for id in self.leases.ended(now) {
            let Some(lease) = self.leases.remove(&id) else { continue };
            if let Some(tracked) = current(&mut self.secrets, &lease) {
                tracked.fetch_by(now);
            }
            self.unrecorded = true;
        }
    }

    /// The token is dead, and all that was leased with it.
    pub(super) fn lose_grant(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let Some(held) = self.grant.take() else { return };
        for lease in self.leases.values_mut().filter(|lease| lease.serial == held.serial) {
            lease.ends = now;
            if let Some(tracked) = current(&mut self.secrets, lease) {
                tracked.died(now);
            }
        }
        effects.push(self.report(SourceFact::TokenDead));
    }

    fn dispatch_login(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        if matches!(self.login, Login::At(at) if at <= now) && self.free() > 0 {
            self.login = Login::Asking { again: Again::No };
            let ask = self.ask_adopted_grant().unwrap_or(Ask::LogIn);
            self.ask(ask, effects);
        }
    }

    fn dispatch_grant(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        if self.free() == 0 {
            return;
        }
        let Some(held) = &mut self.grant else { return };
        let (serial, grant) = (held.serial, held.grant.clone());
        if held.is_used_up() {
            if self.login == Login::Done {
                self.login = Login::At(now);
                self.dispatch_login(now, effects);
            }
            return;
        }
        if held.wants_look_up(now) {
            held.doubt = Doubt::Asking;
            return self.ask(Ask::LookUpGrant(serial, grant), effects);
        }
        match held.next {
            GrantNext::Renew(at) if at <= now => {
                held.next = GrantNext::Renewing;
                held.spend();
                self.ask(Ask::RenewGrant(serial, grant), effects);
            }
            GrantNext::LogIn(at) if at <= now => {
                held.next = GrantNext::Rest;
                if self.login == Login::Done {
                    self.login = Login::At(now);
                    self.dispatch_login(now, effects);
                }
            }
            GrantNext::Renew(_) | GrantNext::LogIn(_) | GrantNext::Rest | GrantNext::Renewing => {}
        }
    }

    /// What is due and can be asked now, the earliest end first; what has no value yet comes before all, since the start waits for it.
    fn due_jobs(&mut self, now: Instant) -> Vec<Job> {
        if self.grant.as_ref().is_none_or(HeldGrant::is_used_up) {
            return Vec::new();
        }
        let free = self.free();
        let secrets = if self.token_comes_first() { 0 } else { free };
        let secrets =
            self.secrets.due(now, secrets).into_iter().map(|(urgency, name)| (urgency, Job::Secret(name)));
        let leases = self.leases.due(now, free).into_iter().map(|(urgency, id)| (urgency, Job::Lease(id)));
        let mut jobs: Vec<_> = secrets.chain(leases).collect();
        jobs.sort_by_key(|(urgency, _)| *urgency);
        jobs.into_iter().take(free).map(|(_, job)| job).collect()
    }

    fn ask_secret(&mut self, name: &SecretName, effects: &mut Vec<Effect>) {
        let (Some(held), Some(tracked)) = (&mut self.grant, self.secrets.get_mut(name)) else { return };
        held.spend();
        tracked.next = Next::Fetching { hurry: false };
        tracked.asked_with = Some((held.serial, held.grant.clone()));
        let ask = Ask::Fetch(held.grant.clone(), tracked.want.clone());
        self.ask(ask, effects);
    }

    fn ask_lease(&mut self, id: &LeaseId, now: Instant, effects: &mut Vec<Effect>) {
        let Some(lease) = self.leases.get_mut(id) else { return };
        let grant = lease.grant.clone();
        let question = lease.question(now);
        lease.asking = Some(question);
        let ask = match question {
            Question::Renew => Ask::Renew(grant, id.clone(), lease.holding.entry.first_ttl),
            Question::LookUp | Question::Check => Ask::LookUp(grant, id.clone()),
            Question::Revoke => Ask::Revoke(grant, id.clone()),
        };
        self.ask(ask, effects);
    }

    /// The end: everything that is ours is given back, as soon as it is known. Leases of a grant that is itself given back end
    /// with it.
    pub(super) fn give_back(&mut self, effects: &mut Vec<Effect>) {
        if let Some(held) = self.grant.take()
            && held.grant.revocable
        {
            drop(self.leases.take_if(|lease| lease.serial == held.serial));
            self.ask(Ask::RevokeGrant(held.grant), effects);
        }
        let waiting: Vec<_> = self
            .leases
            .iter()
            .filter(|(_, lease)| lease.asking.is_none())
            .map(|(id, _)| id.clone())
            .collect();
        for id in waiting.into_iter().take(IN_FLIGHT.saturating_sub(self.in_flight)) {
            if let Some(lease) = self.leases.get_mut(&id) {
                lease.asking = Some(Question::Revoke);
                let ask = Ask::Revoke(lease.grant.clone(), id);
                self.ask(ask, effects);
            }
        }
        if self.in_flight == 0 {
            self.phase = Phase::Ended;
            effects.push(Effect::Ended);
        }
    }

    pub(super) fn report(&self, fact: SourceFact) -> Effect {
        Effect::Report(Fact::Source(self.source.clone(), fact))
    }
}
