//! What each answer of the source means for what is next.

mod grant;
mod lease;
mod secret;

use std::time::Instant;

use super::agenda::Agenda;
use super::held::{HeldLease, Tracked};
use super::{Answer, BREAKER_OPENS_AT, Effect, IN_FLIGHT, Session};
use crate::fact::{Fact, SecretFact, SourceFact};
use crate::lease::unreachable;
use crate::names::SecretName;
use crate::source::Fault;

/// One answer: when its question was sent, when it came, and what follows from it.
pub(super) struct Turn<'a> {
    pub(super) sent: Instant,
    pub(super) now: Instant,
    pub(super) effects: &'a mut Vec<Effect>,
}

impl Turn<'_> {
    pub(super) fn say(&mut self, secret: &SecretName, fact: SecretFact) {
        self.effects.push(Effect::Report(Fact::Secret(secret.clone(), fact)));
    }
}

impl Session {
    pub(super) fn answered(&mut self, answer: Answer, turn: &mut Turn<'_>) {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.note_reachability(answer.fault(), turn);
        match answer {
            Answer::LogIn(Ok(grant)) => self.logged_in(grant, turn),
            Answer::LogIn(Err(fault)) => self.not_logged_in(fault, turn),
            Answer::RenewGrant(serial, Ok(life)) => self.grant_renewed(serial, life, turn),
            Answer::RenewGrant(serial, Err(fault)) => self.grant_not_renewed(serial, &fault, turn),
            Answer::LookUpGrant(serial, result) => self.grant_looked_up(serial, &result, turn),
            Answer::RevokeGrant(result) => self.grant_revoked(result, turn),
            Answer::Fetch(name, Ok((fetched, digest))) if self.is_unwanted(&name) => {
                self.fetched_in_vain(&name, fetched, digest, turn);
            }
            Answer::Fetch(name, Err(_)) if self.is_unwanted(&name) => self.answered_in_vain(&name, turn.now),
            Answer::Fetch(name, Ok((fetched, digest))) => self.fetched(&name, fetched, digest, turn),
            Answer::Fetch(name, Err(fault)) => self.not_fetched(&name, &fault, turn),
            Answer::Renew(id, Ok(renewal)) => self.renewed(&id, renewal, turn),
            Answer::Renew(id, Err(fault)) => self.not_renewed(&id, &fault, turn),
            Answer::LookUp(id, result) => self.looked_up(&id, &result, turn),
            Answer::Revoke(id, result) => self.revoked(&id, result, turn),
        }
    }

    /// Counts the unreachable answers in a row; any other answer shows that the source is there.
    fn note_reachability(&mut self, fault: Option<&Fault>, turn: &mut Turn<'_>) {
        match fault {
            Some(fault @ Fault::Unreachable { retry_after, .. }) => {
                self.unreachable_in_a_row = self.unreachable_in_a_row.saturating_add(1);
                if self.unreachable_in_a_row == BREAKER_OPENS_AT {
                    turn.effects.push(self.report(SourceFact::Unreachable { error: fault.to_string() }));
                }
                if self.unreachable_in_a_row >= BREAKER_OPENS_AT {
                    let pause = unreachable(self.unreachable_in_a_row, *retry_after, self.draw());
                    self.not_before = Some(turn.now + pause);
                }
            }
            Some(Fault::Awaiting { .. }) => {}
            None | Some(_) => {
                if self.unreachable_in_a_row >= BREAKER_OPENS_AT {
                    turn.effects.push(self.report(SourceFact::Reachable));
                    self.allowed_in_flight = 1;
                }
                // Each answer allows for two more questions: after an outage work resumes as fast as the source takes it, not all
                // at once.
                self.allowed_in_flight = (self.allowed_in_flight * 2).min(IN_FLIGHT);
                self.unreachable_in_a_row = 0;
                self.not_before = None;
            }
        }
    }

    /// Something was denied: find out whether it is the grant's fault.
    fn doubt_grant(&mut self, fault: &Fault) {
        if let (Fault::Denied { .. } | Fault::Dead, Some(held)) = (fault, &mut self.grant) {
            held.doubted();
        }
    }
}

/// One more failure in a row. An outage says nothing about what the server would have answered: so what it refuses afterwards is its first
/// failure, and is asked for again as soon as that is, however long the outage was.
pub(super) fn one_more(failures: u32, before: Option<&Fault>, fault: &Fault) -> u32 {
    let is_outage = |fault: &Fault| matches!(fault, Fault::Unreachable { .. });
    let is_after_outage = before.is_some_and(is_outage) && !is_outage(fault);
    if is_after_outage { 1 } else { failures.saturating_add(1) }
}

/// The secret whose present value this lease keeps alive, if it does.
pub(super) fn current<'a>(
    secrets: &'a mut Agenda<SecretName, Tracked>,
    lease: &HeldLease,
) -> Option<&'a mut Tracked> {
    secrets.get_mut(lease.secret()).filter(|tracked| tracked.relied_on == lease.revision)
}

impl Answer {
    fn fault(&self) -> Option<&Fault> {
        match self {
            Self::LogIn(result) => result.as_ref().err(),
            Self::RenewGrant(_, result) | Self::LookUpGrant(_, result) => result.as_ref().err(),
            Self::RevokeGrant(result) | Self::Revoke(_, result) => result.as_ref().err(),
            Self::Fetch(_, result) => result.as_ref().err(),
            Self::Renew(_, result) => result.as_ref().err(),
            Self::LookUp(_, result) => result.as_ref().err(),
        }
    }
}
