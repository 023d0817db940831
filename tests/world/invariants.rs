//! What always has to hold.

use std::time::Duration;

use squire::names::{LeaseId, SourceName};
use squire::session::Ask;

use crate::fate::MENDED_WITHIN;
use crate::process::Process;
use crate::variant::Weather;
use crate::world::World;

/// An errand takes three minutes at most, and a source asks for one a minute.
const LONGEST_AT_ONCE: usize = 4;

impl World {
    /// After each step.
    pub(crate) fn check(&mut self) {
        let most = if self.variant.overlaps { 2 } else { 1 };
        let running = self.processes.len();
        assert!(running <= most, "{}: {running} processes at once", self.name());
        self.tally.overlaps += u64::from(running > 1);
        // The store keeps others away from what an errand is at, but not for ever.
        let most = if self.weather == Weather::Calm && self.slept.is_zero() { 1 } else { LONGEST_AT_ONCE };
        assert!(self.errands.len() <= most, "{}: {} errands at once", self.name(), self.errands.len());
    }

    /// A credential that is used is not revoked, and nothing dead is renewed.
    pub(crate) fn check_question(&self, ask: &Ask) {
        match ask {
            Ask::Renew(_, lease, _) => {
                let ends = self.server.ends(lease);
                let is_late = ends.is_some_and(|ends| ends < self.server_now());
                assert!(!is_late, "{}: {lease} is renewed after its end", self.name());
            }
            Ask::Revoke(_, lease) => self.check_unused(lease.as_str()),
            Ask::RevokeGrant(grant) => {
                self.server.of_token(grant.token.expose()).for_each(|lease| self.check_unused(lease));
            }
            Ask::LogIn | Ask::RenewGrant(..) | Ask::LookUpGrant(..) | Ask::Fetch(..) | Ask::LookUp(..) => {}
        }
    }

    fn check_unused(&self, lease: &str) {
        let is_used = self.processes.iter().flat_map(Process::credentials).any(|used| used == lease);
        assert!(!is_used, "{}: {lease} is revoked while a process uses it", self.name());
    }

    /// A user name never stands beside the password of another lease.
    pub(crate) fn check_consistency(&self) {
        let leased = self.disk.files.iter().filter(|(path, _)| path.to_str() != Some("stored"));
        for (_, text) in leased {
            let pair = text.split(' ').next().and_then(|pair| pair.split_once(':'));
            assert!(pair.is_some_and(|(user, password)| user == password), "{}: torn: {text}", self.name());
        }
    }

    /// What Squire was told of and may use is written down, so that the next one knows it.
    pub(crate) fn check_ledger(&mut self) {
        if self.weather == Weather::Storm {
            // An answer that is none makes it forget what lives.
            return;
        }
        let (token, leases) = self.written();
        let server_now = self.server_now();
        let unwritten = self.server.forsaken(token.as_deref(), &leases, server_now);
        assert!(unwritten.is_empty(), "{}: {unwritten:?} live and are not written down", self.name());
    }

    /// The token and the leases that are in the ledger.
    pub(crate) fn written(&self) -> (Option<String>, Vec<LeaseId>) {
        let page = self.ledger.get(&SourceName::new("vault"));
        let token = page.map(|page| page.grant.token.expose().to_owned());
        let leases = page.iter().flat_map(|page| &page.leases).map(|held| held.entry.lease.clone());
        (token, leases.collect())
    }

    /// Whether every process that runs works with what it has.
    pub(crate) fn is_well(&self) -> bool {
        let now = self.server_now();
        self.processes.iter().flat_map(Process::credentials).all(|used| self.server.accepts(used, now))
    }

    pub(crate) fn is_serving(&self) -> bool {
        self.processes.iter().any(|process| process.started) && self.is_well()
    }

    /// How many leases live of each secret, and how many tokens, of those that somebody could give back.
    pub(crate) fn assert_at_most(&self, most: usize, when: &str) {
        let living = self.server.living(self.server_now());
        let too_many: Vec<_> = living.iter().filter(|(_, count)| **count > most).collect();
        assert!(too_many.is_empty(), "{}: {when} there are {too_many:?}", self.name());
    }

    pub(crate) fn count_dead(&mut self, time: Duration) {
        if time.is_zero() || self.is_well() {
            return;
        }
        let since_waking = self.woken_at.map(|at| self.now.saturating_duration_since(at) + time);
        match since_waking {
            Some(since) if since <= MENDED_WITHIN => self.tally.mended_in = self.tally.mended_in.max(since),
            Some(_) | None => {
                self.tell(&"a process holds a dead credential");
                self.tally.dead_for += time;
            }
        }
    }
}
