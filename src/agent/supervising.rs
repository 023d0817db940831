//! Passes requests to the supervisor of the process, and handles its effects.
//!
//! *Invariant:* pure.

use std::collections::BTreeSet;
use std::time::Instant;

use nix::sys::signal::Signal;

use super::{Agent, Effect, Setup};
use crate::config::RestartConfig;
use crate::fact::ProcessFact;
use crate::render::Release;
use crate::rollout;
use crate::supervise::host::{Order, Streams, Ticket};
use crate::supervise::{self, Launch, Life};

impl Agent {
    pub(super) fn launch(&mut self, release: &Release, now: Instant, effects: &mut Vec<Effect>) {
        let Some(launch) = self.launch_of(release) else { return };
        self.give_token();
        self.supervise(supervise::Event::LaunchAsked(launch), now, effects);
    }

    /// The launch of the process with this release.
    pub(super) fn launch_of(&self, release: &Release) -> Option<Launch> {
        let process = self.setup_of(release).plan.process.as_ref()?;
        Some(Launch::new(process.command.clone(), self.env_of(release)).on(&process.setting))
    }

    /// The configuration that a release was made from: on the way back, the one before.
    pub(super) fn setup_of(&self, release: &Release) -> &Setup {
        self.reloading.former_of(release.generation).unwrap_or(&self.setup)
    }

    pub(super) fn signal(&mut self, signals: &BTreeSet<Signal>, now: Instant, effects: &mut Vec<Effect>) {
        for signal in signals {
            effects.push(Effect::Report(ProcessFact::Signalled { signal: *signal }.into()));
            self.supervise(supervise::Event::SignalAsked(*signal), now, effects);
        }
    }

    pub(super) fn supervise(&mut self, event: supervise::Event, now: Instant, effects: &mut Vec<Effect>) {
        let Some(relay) = &mut self.relay else { return };
        let asked = relay.step(event, now);
        self.obey(asked, now, effects);
    }

    /// Passes an event of the process with this ticket on, if it is one of ours.
    pub(super) fn told(
        &mut self,
        ticket: Ticket,
        event: supervise::Event,
        now: Instant,
        effects: &mut Vec<Effect>,
    ) {
        let (Some(relay), Some(life)) = (&mut self.relay, self.children.get(&ticket)) else { return };
        let asked = relay.told(*life, event, now);
        self.obey(asked, now, effects);
    }

    pub(super) fn obey(
        &mut self,
        asked: Vec<(Life, supervise::Effect)>,
        now: Instant,
        effects: &mut Vec<Effect>,
    ) {
        for (life, effect) in asked {
            let ticket = self.children.iter().find(|(_, of)| **of == life).map(|(ticket, _)| *ticket);
            match (effect, ticket) {
                (supervise::Effect::Spawn(launch), _) => {
                    let ticket = self.ticket();
                    self.children.insert(ticket, life);
                    self.newest = Some(ticket);
                    effects.push(Effect::Order(Order::Spawn { ticket, launch, streams: Streams::Inherited }));
                }
                (supervise::Effect::Signal(signal), Some(ticket)) => {
                    effects.push(Effect::Order(Order::Signal { ticket, signal }));
                }
                (supervise::Effect::Kill, Some(ticket)) => {
                    effects.push(Effect::Report(ProcessFact::Killed.into()));
                    effects.push(Effect::Order(Order::Kill { ticket }));
                }
                (supervise::Effect::Signal(_) | supervise::Effect::Kill, None) => {}
                (supervise::Effect::Settled, _) => self.roll(rollout::Event::ProcessSettled, now, effects),
                (supervise::Effect::Down { why, is_clean }, _) => {
                    self.roll(rollout::Event::ProcessDown { why, is_clean }, now, effects);
                }
                (supervise::Effect::Rest(again_in), _) => {
                    self.runs.rests(now + again_in);
                    effects.push(Effect::Report(ProcessFact::Resting { again_in }.into()));
                }
                (supervise::Effect::GiveUp, _) => {
                    let Some(process) = &self.setup.plan.process else { continue };
                    let RestartConfig { limit: restarts, period, .. } = process.restart;
                    effects.push(Effect::Report(ProcessFact::GaveUp { restarts, period }.into()));
                }
                (supervise::Effect::Respawn, _) => {
                    if let Some(release) = self.rollout.shown().cloned() {
                        self.launch(&release, now, effects);
                    }
                }
                (supervise::Effect::Finish(code), _) => return self.close(code, effects),
            }
        }
    }
}
