//! How a session stands, in the words of [`crate::status`].
//!
//! *Invariant:* pure; reading it changes nothing.

use std::collections::BTreeMap;

use super::agenda::Planned as _;
use super::grant::{GrantNext, HeldGrant, Login};
use super::held::{HeldLease, LeaseNext, Next as Planned, Tracked};
use super::{BREAKER_OPENS_AT, Phase, Session};
use crate::names::Revision;
use crate::source::Fault;
use crate::status::{
    Clock, CredentialStatus, FormerEnds, KeptBy, Next, NextAction, SecretState, SecretStatus, SessionStatus,
    SourceState, SourceStatus, TokenStatus,
};

impl Session {
    /// How source and secrets stand. `kind` is the type of the source, `credential` what is known of its credential.
    pub fn status(&self, kind: &str, credential: Option<CredentialStatus>, clock: &Clock) -> SessionStatus {
        let source = SourceStatus {
            name: self.source.clone(),
            kind: kind.to_owned(),
            state: self.state(),
            token: self.grant.as_ref().map(|held| token(held, clock)),
            credential,
            trouble: self.login_trouble.as_ref().map(ToString::to_string),
            login_failures: self.login_failures,
            not_before: self.not_before.filter(|gate| *gate > clock.now).map(|gate| clock.at(gate)),
            leases: self.leases.len(),
            client_leases: None,
            in_flight: self.in_flight,
            rotations: None,
        };
        let secrets = self.secrets.values().map(|tracked| {
            let ids = self.leases.of(&tracked.want.name);
            let leases: BTreeMap<_, _> = ids
                .iter()
                .filter_map(|id| self.leases.get(id))
                .map(|lease| (lease.revision, lease))
                .collect();
            secret(tracked, &leases, clock)
        });
        SessionStatus { source, secrets: secrets.collect() }
    }

    fn state(&self) -> SourceState {
        let is_failing = self.login != Login::Done && self.login_trouble.is_some();
        match self.phase {
            Phase::Stopping | Phase::Ended => SourceState::Stopping,
            Phase::Keeping if self.unreachable_in_a_row >= BREAKER_OPENS_AT => SourceState::Unreachable,
            Phase::Keeping if is_failing => SourceState::LoginFailing,
            Phase::Keeping if self.grant.is_none() => SourceState::LoggingIn,
            Phase::Keeping => SourceState::LoggedIn,
        }
    }
}

fn secret(tracked: &Tracked, leases: &BTreeMap<Revision, &HeldLease>, clock: &Clock) -> SecretStatus {
    let want = &tracked.want;
    let lease = leases.get(&tracked.relied_on).copied();
    let former = FormerEnds {
        leased: leases.iter().map(|(revision, lease)| (*revision, clock.at(lease.ends))).collect(),
        other: tracked.former_ends.map(|at| clock.at(at)),
    };
    SecretStatus {
        name: want.name.clone(),
        source: want.source.clone(),
        path: want.path.clone(),
        state: state(tracked, lease, clock),
        revision: tracked.revision,
        live: None,
        is_held: false,
        changed: tracked.changed_at.map(|at| clock.at(at)),
        ends: tracked.ends.filter(|_| tracked.has_value()).map(|at| clock.at(at)),
        kept_by: kept_by(tracked, lease),
        next: next(tracked, lease, clock),
        is_asked_for: matches!(tracked.next, Planned::Fetching { .. }),
        answers: tracked.answers,
        trouble: tracked.trouble.as_ref().map(ToString::to_string),
        former,
    }
}

fn state(tracked: &Tracked, lease: Option<&HeldLease>, clock: &Clock) -> SecretState {
    let is_out =
        matches!(tracked.next, Planned::Fetching { .. }) || lease.is_some_and(|lease| lease.asking.is_some());
    let has_ended = tracked.ends.is_some_and(|ends| ends <= clock.now);
    let trouble = tracked.trouble.as_ref();
    match trouble {
        _ if tracked.has_value() && has_ended => SecretState::Expired,
        Some(Fault::Denied { .. }) => SecretState::Denied,
        Some(Fault::Gone { .. }) => SecretState::Gone,
        _ if !tracked.has_value() => SecretState::Awaited,
        Some(
            Fault::Unreachable { .. }
            | Fault::Failing { .. }
            | Fault::Awaiting { .. }
            | Fault::Refused { .. }
            | Fault::Dead
            | Fault::Malformed { .. },
        ) => SecretState::Stale,
        None if lease.is_some_and(|lease| lease.failures > 0) => SecretState::Stale,
        None if is_out => SecretState::Renewing,
        None => SecretState::Fresh,
    }
}

fn kept_by(tracked: &Tracked, lease: Option<&HeldLease>) -> KeptBy {
    match (lease.map(|lease| lease.next), tracked.ends) {
        (Some(LeaseNext::Renew(_) | LeaseNext::LookUp(_)), _) => KeptBy::Lease,
        (Some(LeaseNext::Rest | LeaseNext::Revoke(_)), _) | (None, Some(_)) => KeptBy::Replacement,
        (None, None) => KeptBy::Reading,
    }
}

fn next(tracked: &Tracked, lease: Option<&HeldLease>, clock: &Clock) -> Option<Next> {
    let fetch = tracked.due().map(|at| (at, NextAction::Fetch));
    let keep = lease.and_then(|lease| match lease.next {
        LeaseNext::Renew(at) => Some((at, NextAction::Renew)),
        LeaseNext::LookUp(at) => Some((at, NextAction::LookUp)),
        LeaseNext::Rest | LeaseNext::Revoke(_) => None,
    });
    let (at, action) = fetch.into_iter().chain(keep).min_by_key(|(at, _)| *at)?;
    Some(Next { action, at: clock.at(at) })
}

fn token(held: &HeldGrant, clock: &Clock) -> TokenStatus {
    let next = match held.next {
        GrantNext::Renew(at) => Some((at, NextAction::Renew)),
        GrantNext::LogIn(at) => Some((at, NextAction::LogIn)),
        GrantNext::Rest | GrantNext::Renewing => None,
    };
    TokenStatus {
        ends: held.ends.map(|at| clock.at(at)),
        next: next.map(|(at, action)| Next { action, at: clock.at(at) }),
        uses_left: held.uses_left,
    }
}
