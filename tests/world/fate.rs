//! Beginnings, deaths and sleeps of Squire.

use std::time::Duration;

use squire::agent;
use squire::names::{Generation, SourceName};
use squire::session;

use crate::squire::Squire;
use crate::world::{Fate, Happening, World};

impl World {
    pub(crate) fn schedule_fates(&mut self) {
        if self.fates.crashes {
            let after = self.delay(500..90_000);
            self.enqueue(after, Happening::Fate(Fate::Crash));
        }
        if self.fates.suspensions {
            let after = self.delay(500..90_000);
            self.enqueue(after, Happening::Fate(Fate::Suspension));
        }
        if self.fates.refreshes {
            self.enqueue(Duration::from_secs(20), Happening::Fate(Fate::Refresh));
        }
    }

    pub(crate) fn meet(&mut self, fate: Fate) {
        self.tell(&fate);
        match fate {
            Fate::Begin => self.begin(),
            Fate::Crash if self.fates.crashes => {
                self.crash();
                // Now and then in its very first steps.
                let after =
                    if self.chance.u32(..4) == 0 { self.delay(0..3_000) } else { self.delay(500..120_000) };
                self.enqueue(after, Happening::Fate(Fate::Crash));
            }
            Fate::Suspension if self.fates.suspensions => {
                self.suspend();
                let after = self.delay(500..120_000);
                self.enqueue(after, Happening::Fate(Fate::Suspension));
            }
            Fate::Refresh if self.fates.refreshes => {
                if self.squire.as_ref().is_some_and(|squire| !squire.is_closed) {
                    self.step_session(&SourceName::new("vault"), session::Event::RefreshAsked(Vec::new()));
                }
                let after = self.delay(100..40_000);
                self.enqueue(after, Happening::Fate(Fate::Refresh));
            }
            Fate::Crash | Fate::Suspension | Fate::Refresh => {}
        }
    }

    pub(crate) fn begin(&mut self) {
        if self.squire.is_some() || self.is_over {
            return;
        }
        self.runs += 1;
        let first = self.generation.map_or(Generation::FIRST, Generation::next);
        let seed = self.seed ^ (self.runs << 32);
        self.tally.adoptions += u64::from(!self.ledger.is_empty());
        self.squire = Some(Squire::new(&self.variant, &self.ledger, first, seed, self.now));
        for source in self.sources() {
            self.step_session(&source, session::Event::Due);
        }
        self.step_agent(agent::Event::Due);
    }

    /// Everybody is gone at once, as in a container that is killed.
    fn crash(&mut self) {
        if self.squire.is_none() {
            return;
        }
        self.tally.crashes += 1;
        self.check_ledger();
        self.forsake();
        self.leave();
        self.processes.clear();
        self.commands.clear();
        let server_now = self.server_now();
        for errand in std::mem::take(&mut self.errands) {
            self.store.end(errand, false, true, server_now);
        }
    }

    /// What is not written down is lost with the run.
    pub(crate) fn forsake(&mut self) {
        let server_now = self.server_now();
        let (token, leases) = self.written();
        self.server.forsaken(token.as_deref(), &leases, server_now);
    }

    /// The run is over.
    pub(crate) fn leave(&mut self) {
        self.squire = None;
        self.staged = None;
        self.store.close();
        self.forget_plans();
        if !self.is_over {
            let after = self.delay(10..10_000);
            self.enqueue(after, Happening::Fate(Fate::Begin));
        }
    }

    /// The servers' clock goes on, that of the program does not. The keepers find out within the time after which they look.
    fn suspend(&mut self) {
        self.tally.suspensions += 1;
        let time = match self.chance.u32(..3) {
            0 => self.delay(600..10_000),
            1 => self.delay(5_000..60_000),
            _ => self.delay(60_000..3_600_000),
        };
        self.tell(&time);
        self.slept += time;
        self.woken_at = Some(self.now);
        self.squire
            .iter_mut()
            .flat_map(|squire| squire.lines.values_mut())
            .for_each(|line| line.slept += time);
        for source in self.sources() {
            let look_every = if source.as_str() == "vault" { 1_000 } else { 60_000 };
            let after = self.delay(0..look_every);
            self.enqueue(after, Happening::Woken(source));
        }
    }

    /// From now on everything works.
    pub(crate) fn calm_down(&mut self) {
        self.fates = crate::variant::Fates::default();
        self.weather = crate::variant::Weather::Calm;
        self.server.weather = self.weather;
    }
}

/// What a suspension killed is mended in this time: a keeper looks every second, then come a login, a new lease and a rollout.
pub(crate) const MENDED_WITHIN: Duration = Duration::from_secs(3);
