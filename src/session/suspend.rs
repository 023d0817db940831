//! The machine was suspended: the server's clock went on, ours did not.
//!
//! [`Instant`] does not count the time that a machine sleeps, but leases end by the server's clock. So everything that was planned
//! comes as much sooner as the machine slept, and what was due meanwhile is due at once. A question that was out meanwhile was sent as
//! much earlier, since the life that its answer tells began before the sleep.

use std::time::{Duration, Instant};

use super::Session;
use super::grant::{GrantNext, HeldGrant, Login};
use super::held::{HeldLease, LeaseNext, Next, Tracked};

impl Session {
    /// Everything that was planned or known to end comes this much sooner.
    pub(super) fn slept(&mut self, time: Duration, now: Instant) {
        let sooner = |at: &mut Instant| *at = at.checked_sub(time).unwrap_or(*at);
        if let Login::At(at) = &mut self.login {
            sooner(at);
        }
        self.not_before.iter_mut().for_each(sooner);
        self.grant.iter_mut().flat_map(grant_times).for_each(sooner);
        self.secrets.values_mut().flat_map(secret_times).for_each(sooner);
        self.leases.values_mut().flat_map(lease_times).for_each(sooner);
        self.deaths.times().for_each(sooner);
        self.secrets.values_mut().flat_map(|tracked| tracked.mints.times()).for_each(sooner);
        if self.in_flight > 0 {
            self.sleeps.push((now, time));
        }
    }

    /// When a question was sent, on a clock that counts the sleeps since then.
    pub(super) fn before_sleeps(&mut self, sent: Instant) -> Instant {
        let slept = self.sleeps.iter().filter(|(at, _)| sent <= *at).map(|(_, time)| *time).sum();
        if self.in_flight <= 1 {
            self.sleeps.clear();
        }
        sent.checked_sub(slept).unwrap_or(sent)
    }
}

fn grant_times(held: &mut HeldGrant) -> impl Iterator<Item = &mut Instant> {
    let next = match &mut held.next {
        GrantNext::Renew(at) | GrantNext::LogIn(at) => Some(at),
        GrantNext::Rest | GrantNext::Renewing => None,
    };
    held.ends.iter_mut().chain(held.look_up_at.iter_mut()).chain(next)
}

fn secret_times(tracked: &mut Tracked) -> impl Iterator<Item = &mut Instant> {
    let next = match &mut tracked.next {
        Next::Fetch(at) => Some(at),
        Next::Fetching { .. } | Next::Leased => None,
    };
    tracked.ends.iter_mut().chain(next)
}

fn lease_times(lease: &mut HeldLease) -> impl Iterator<Item = &mut Instant> {
    let next = match &mut lease.next {
        LeaseNext::Renew(at) | LeaseNext::LookUp(at) | LeaseNext::Revoke(at) => Some(at),
        LeaseNext::Rest => None,
    };
    std::iter::once(&mut lease.ends).chain(lease.check_at.iter_mut()).chain(next)
}
