//! Answers about the grant: logins, renewals, look-ups.

use std::time::Duration;

use super::super::grant::{Doubt, GrantNext, HeldGrant};
use super::super::{Serial, Session};
use super::{Turn, current, one_more};
use crate::fact::SourceFact;
use crate::lease;
use crate::source::{Fault, Grant, GrantLife};

/// The first look-up of a token comes soon after its login: only a token that once could look itself up can be told from one
/// that never could.
const FIRST_LOOK_UP: Duration = Duration::from_secs(5);

impl Session {
    pub(super) fn logged_in(&mut self, grant: Grant, turn: &mut Turn<'_>) {
        if self.is_the_same(&grant) {
            return self.same_grant_again(&grant, turn);
        }
        self.serial = self.serial.next();
        self.login.succeeded(turn.now);
        self.login_failures = 0;
        self.login_trouble = None;
        self.unrecorded = true;
        let ttl = grant.life.ttl;
        let chance = self.draw();
        let mut held = HeldGrant::new(self.serial, grant, turn.sent, chance);
        held.look_up_at = held.uses_left.is_none().then(|| turn.now + FIRST_LOOK_UP.min(self.look_up_every));
        let before = self.grant.replace(held);
        // Leases die with the token that made them: each is replaced, one by one, while the old token still lives. Static
        // secrets stay as they are, unless they wait for a better token.
        for tracked in self.secrets.values_mut().filter(|tracked| tracked.failures > 0) {
            tracked.fetch_by(turn.now);
        }
        let ends_with_it = before.and_then(|held| held.ends);
        for lease in self.leases.values_mut() {
            lease.ends = ends_with_it.map_or(lease.ends, |ends| lease.ends.min(ends));
            if let Some(tracked) = current(&mut self.secrets, lease) {
                tracked.ends = Some(lease.ends);
                tracked.fetch_by(turn.now);
            }
        }
        turn.effects.push(self.report(SourceFact::LoggedIn { ttl }));
    }

    fn is_the_same(&self, grant: &Grant) -> bool {
        self.grant.as_ref().is_some_and(|held| held.grant.token.expose() == grant.token.expose())
    }

    /// The file still holds the token that we have. It is no successor: wait for another one in the file, or for the end.
    fn same_grant_again(&mut self, grant: &Grant, turn: &mut Turn<'_>) {
        self.login_failures = 0;
        self.login_trouble = None;
        self.login.succeeded(turn.now);
        if let Some(held) = &mut self.grant {
            held.ends =
                grant.life.ttl.and_then(|ttl| turn.sent.checked_add(ttl)).map(|ends| ends.max(turn.now));
            held.next = GrantNext::Rest;
        }
    }

    pub(super) fn not_logged_in(&mut self, fault: Fault, turn: &mut Turn<'_>) {
        self.login_failures = one_more(self.login_failures, self.login_trouble.as_ref(), &fault);
        let pause = self.login_pause(&fault, turn);
        self.login.failed(pause, turn.now);
        turn.effects.extend(self.lacks_login(&fault, turn.now + pause));
        if self.login_trouble.as_ref() != Some(&fault) {
            let fact = match &fault {
                Fault::Awaiting { file, why } => {
                    SourceFact::CredentialAwaited { file: file.clone(), why: why.clone() }
                }
                Fault::Unreachable { .. }
                | Fault::Failing { .. }
                | Fault::Refused { .. }
                | Fault::Denied { .. }
                | Fault::Dead
                | Fault::Gone { .. }
                | Fault::Malformed { .. } => {
                    SourceFact::LoginFailed { error: fault.to_string(), again_in: pause }
                }
            };
            turn.effects.push(self.report(fact));
            self.login_trouble = Some(fault);
        }
    }

    fn login_pause(&mut self, fault: &Fault, turn: &Turn<'_>) -> Duration {
        let chance = self.draw();
        match fault {
            Fault::Awaiting { .. } => lease::AWAITED_PAUSE,
            Fault::Refused { again_in, .. } => again_in.unwrap_or(lease::REFUSED_PAUSE).max(lease::SOONEST),
            Fault::Unreachable { retry_after, .. } => {
                lease::unreachable(self.login_failures, *retry_after, chance)
            }
            Fault::Failing { .. }
            | Fault::Denied { .. }
            | Fault::Dead
            | Fault::Gone { .. }
            | Fault::Malformed { .. } => {
                let left = self.grant.as_ref().and_then(|held| held.left(turn.now));
                lease::failing(self.login_failures, left, chance)
            }
        }
    }

    pub(super) fn grant_renewed(&mut self, serial: Serial, life: GrantLife, turn: &mut Turn<'_>) {
        let chance = self.draw();
        let Some(held) = self.grant.as_mut().filter(|held| held.serial == serial) else { return };
        held.proven = true;
        held.lives(life, turn.sent, chance);
        turn.effects.push(self.report(SourceFact::TokenRenewed { ttl: life.ttl }));
    }

    pub(super) fn grant_not_renewed(&mut self, serial: Serial, fault: &Fault, turn: &mut Turn<'_>) {
        let chance = self.draw();
        let Some(held) = self.grant.as_mut().filter(|held| held.serial == serial) else { return };
        held.failures = held.failures.saturating_add(1);
        let pause = match fault {
            Fault::Dead if held.proven => return self.grant_died(turn),
            Fault::Unreachable { retry_after, .. } => {
                let pause = lease::unreachable(held.failures, *retry_after, chance);
                held.next = GrantNext::Renew(turn.now + pause);
                pause
            }
            // It may not renew itself: its successor comes while it still lives.
            Fault::Dead | Fault::Denied { .. } | Fault::Refused { .. } => {
                let pause = held.left(turn.now).map_or(lease::SOONEST, lease::last_chance);
                held.next = GrantNext::LogIn(turn.now + pause);
                pause
            }
            Fault::Failing { .. } | Fault::Awaiting { .. } | Fault::Gone { .. } | Fault::Malformed { .. } => {
                held.next = GrantNext::LogIn(turn.now);
                Duration::ZERO
            }
        };
        let fact = SourceFact::TokenNotRenewed { error: fault.to_string(), again_in: pause };
        turn.effects.push(self.report(fact));
    }

    /// A token that once could look itself up and now cannot is dead; one that never could only lacks the right to. Whatever was
    /// denied will be tried again, and raise the doubt again.
    pub(super) fn grant_looked_up(
        &mut self,
        serial: Serial,
        result: &Result<GrantLife, Fault>,
        turn: &mut Turn<'_>,
    ) {
        if self.adopt.is_some() {
            return self.grant_adopted(result, turn);
        }
        let Some(held) = self.grant.as_mut().filter(|held| held.serial == serial) else { return };
        held.doubt = Doubt::None;
        held.look_up_at = held.look_up_at.map(|_| turn.now + self.look_up_every);
        match result {
            Ok(_) => held.proven = true,
            Err(Fault::Dead) if held.proven => self.grant_died(turn),
            Err(_) => {}
        }
    }

    pub(super) fn grant_revoked(&mut self, result: Result<(), Fault>, turn: &mut Turn<'_>) {
        let fact = match result {
            Ok(()) => SourceFact::TokenRevoked,
            Err(fault) => SourceFact::TokenNotRevoked { error: fault.to_string() },
        };
        turn.effects.push(self.report(fact));
    }

    pub(super) fn grant_died(&mut self, turn: &mut Turn<'_>) {
        self.lose_grant(turn.now, turn.effects);
        self.login.needed(self.deaths.another(turn.now));
    }
}
