//! What the sessions ask for, and what their sources answer and say by themselves.

use std::time::{Duration, Instant};

use squire::agent;
use squire::names::SourceName;
use squire::session::{self, Answer, Ask};

use crate::variant::Weather;
use crate::world::{Happening, Stir, World};

/// How long giving back may take.
const GIVE_BACK_WITHIN: Duration = Duration::from_secs(5);
const STORE_LOOKED_AT_EVERY: Duration = Duration::from_secs(1);

impl World {
    /// As the keeper does it: that the machine slept is told before anything else.
    pub(crate) fn step_session(&mut self, source: &SourceName, event: session::Event) {
        let Some(line) = self.squire.as_mut().and_then(|squire| squire.lines.get_mut(source)) else { return };
        let slept = std::mem::take(&mut line.slept);
        let slept = (!slept.is_zero()).then_some(session::Event::Slept(slept));
        for event in slept.into_iter().chain([event]) {
            self.tell_session(source, event);
        }
    }

    fn tell_session(&mut self, source: &SourceName, event: session::Event) {
        let now = self.now;
        self.tell(&event);
        let Some(line) = self.squire.as_mut().and_then(|squire| squire.lines.get_mut(source)) else { return };
        let had_ended = line.has_ended;
        for effect in line.session.step(event, now) {
            assert!(!had_ended, "{}: an effect after the end", self.name());
            self.tell(&effect);
            match effect {
                session::Effect::Ask(ask) => self.ask(source, &ask),
                session::Effect::Deliver(update) => {
                    let after = self.delay(0..3);
                    self.enqueue(after, Happening::Agent(agent::Event::Updated(update)));
                }
                session::Effect::Lack(lack) => {
                    let after = self.delay(0..5);
                    self.enqueue(after, Happening::Agent(agent::Event::Lacking(lack)));
                }
                session::Effect::Record(holdings) => self.record(source, Some(holdings)),
                session::Effect::Report(_) => {}
                session::Effect::Ended => {
                    self.record(source, None);
                    let line = self.squire.as_mut().and_then(|squire| squire.lines.get_mut(source));
                    if let Some(line) = line {
                        line.has_ended = true;
                    }
                }
            }
        }
    }

    /// Only what a server of Vault's kind gives out cannot be had again.
    fn record(&mut self, source: &SourceName, holdings: Option<session::Holdings>) {
        match holdings {
            Some(holdings) if source.as_str() == "vault" => {
                drop(self.ledger.insert(source.clone(), holdings));
            }
            Some(_) => {}
            None => drop(self.ledger.remove(source)),
        }
    }

    fn ask(&mut self, source: &SourceName, ask: &Ask) {
        let line = self.squire.as_mut().and_then(|squire| squire.lines.get_mut(source));
        let in_flight = line.map_or(0, |line| {
            line.in_flight += 1;
            line.in_flight
        });
        assert!(in_flight <= session::IN_FLIGHT, "{}: too many questions at once", self.name());
        self.check_question(ask);
        let (sent, server_now) = (self.now, self.server_now());
        let answer = match source.as_str() {
            "vault" => self.server.answer(ask, server_now),
            _ => self.store.answer(ask, self.weather),
        };
        let after = self.delay(1..if self.weather == Weather::Storm { 3000 } else { 80 });
        self.enqueue(after, Happening::Answered { source: source.clone(), sent, answer });
    }

    pub(crate) fn answered(&mut self, source: &SourceName, sent: Instant, answer: Answer) {
        let Some(line) = self.squire.as_mut().and_then(|squire| squire.lines.get_mut(source)) else { return };
        line.in_flight -= 1;
        if source.as_str() == "vault" {
            self.server.told(&answer);
        }
        self.step_session(source, session::Event::Answered { sent, answer });
    }

    pub(crate) fn store_changed(&mut self) {
        if self.squire.as_ref().is_some_and(|squire| !squire.is_closed) {
            self.step_session(&SourceName::new("store"), session::Event::RefreshAsked(Vec::new()));
        }
    }

    pub(crate) fn tell_of_change(&mut self) {
        let after = self.delay(1..500);
        self.enqueue(after, Happening::StoreChanged);
    }

    pub(crate) fn stir_store(&mut self, stir: Stir) {
        match stir {
            Stir::Written => {
                self.store.write();
                self.tell_of_change();
                let after = self.delay(100..60_000);
                self.enqueue(after, Happening::Store(Stir::Written));
            }
            Stir::Looked => {
                let server_now = self.server_now();
                let is_there = self.squire.as_ref().is_some_and(|squire| !squire.is_closed);
                let errand = if is_there { self.store.errand(server_now) } else { None };
                if let Some(errand) = errand {
                    self.enqueue(Duration::ZERO, Happening::Errand(errand));
                }
                self.enqueue(STORE_LOOKED_AT_EVERY, Happening::Store(Stir::Looked));
            }
        }
    }

    /// The agent has ended: so do the keepers, after giving back where that is to be.
    pub(crate) fn close_sessions(&mut self, give_back: bool) {
        let by = self.now + if give_back { GIVE_BACK_WITHIN } else { Duration::ZERO };
        self.squire.iter_mut().for_each(|squire| squire.ends_by = Some(by));
        if give_back {
            for source in self.sources() {
                self.step_session(&source, session::Event::StopAsked);
            }
        }
    }

    /// Whether all is over; then the next run begins after a while.
    pub(crate) fn end_run(&mut self) {
        let Some(squire) = &self.squire else { return };
        let is_late = squire.ends_by.is_some_and(|by| by <= self.now);
        let all_ended = squire.lines.values().all(|line| line.has_ended);
        if squire.is_closed && (is_late || all_ended) {
            if is_late || self.weather.is_rough() {
                // What could not be given back.
                self.forsake();
            }
            self.leave();
        }
    }
}
