//! Handles the effects of a rollout: for files, process and commands.
//!
//! *Invariant:* pure.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use super::{Agent, Effect, Mode, Purpose};
use crate::config::{Act, Action, ProbeConfig, ProbeKind, RunCommand};
use crate::fact::{Fact, ProcessFact, RolloutFact};
use crate::names::SecretName;
use crate::render::Release;
use crate::rollout;
use crate::secret::Secret;
use crate::snapshot;
use crate::supervise::host::Order;
use crate::supervise::{self, Launch};

impl Agent {
    pub(super) fn roll(&mut self, event: rollout::Event, now: Instant, effects: &mut Vec<Effect>) {
        for effect in self.rollout.step(event, now) {
            match effect {
                rollout::Effect::Stage(release) => {
                    self.begun(&release, now);
                    effects.extend(self.tokens.gate(release).map(Effect::Stage));
                }
                rollout::Effect::Rehearse(release) => self.rehearse(&release, effects),
                rollout::Effect::Discard => {
                    self.tokens.drop_waiting();
                    effects.push(Effect::Discard);
                }
                rollout::Effect::Publish => effects.push(Effect::Publish),
                rollout::Effect::Restore(release) => effects.push(Effect::Restore(release)),
                rollout::Effect::Check { command, directory, release } => {
                    self.check(command, directory.as_deref(), &release, now, effects);
                }
                rollout::Effect::Try(attempt) => self.try_process(attempt, now, effects),
                rollout::Effect::OnTrial(on_trial) => {
                    self.supervise(supervise::Event::OnTrial(on_trial), now, effects);
                }
                rollout::Effect::HandOver => self.supervise(supervise::Event::HandOver, now, effects),
                // The whole configuration is taken back, and with it all that was new.
                rollout::Effect::TakenBack(_) if self.reloading.is_trying() => {}
                rollout::Effect::TakenBack(generation) => {
                    self.is_restarted(now, effects);
                    self.gather(snapshot::Event::TakenBack(generation), now, effects);
                }
                rollout::Effect::Forced(generation) => {
                    self.is_restarted(now, effects);
                    self.gather(snapshot::Event::Forced(generation), now, effects);
                    self.configuration_is_good(generation, now, effects);
                    self.committed(effects);
                }
                rollout::Effect::Retire(generation) => effects.push(Effect::Retire(generation)),
                rollout::Effect::Free(secret, below) => effects.push(Effect::Free(secret, below)),
                rollout::Effect::Report(fact) => {
                    if let Some(why) = trouble(&fact) {
                        self.reloading.note(why);
                    }
                    effects.push(Effect::Report(fact));
                }
                rollout::Effect::Start(release) => self.launch(&release, now, effects),
                rollout::Effect::Restart(release) => {
                    effects.push(Effect::Report(ProcessFact::Restarting.into()));
                    self.launch(&release, now, effects);
                }
                rollout::Effect::Signal(signals) => self.signal(&signals, now, effects),
                rollout::Effect::Act(
                    action,
                    Action { act: Act::Run(RunCommand { command, timeout }), .. },
                ) => {
                    let launch = Launch::new(command, BTreeMap::new());
                    self.run(Purpose::Reaction(action), launch, timeout, now, effects);
                }
                rollout::Effect::Act(action, Action { act: Act::SignalTo(to), .. }) => {
                    effects.push(Effect::SignalTo { action, to });
                }
                rollout::Effect::Act(action, Action { act: Act::Units(reaction), .. }) => {
                    self.tell_units(action, reaction, now, effects);
                }
                rollout::Effect::Act(action, Action { act: Act::Call(call), .. }) => {
                    effects.push(Effect::Call { action, call });
                }
                rollout::Effect::Committed(generation) => {
                    self.is_restarted(now, effects);
                    self.gather(snapshot::Event::Accepted(generation), now, effects);
                    self.configuration_is_good(generation, now, effects);
                    self.committed(effects);
                }
                rollout::Effect::Dropped(generation) => {
                    self.gather(snapshot::Event::Dropped(generation), now, effects);
                }
            }
        }
    }

    fn begun(&mut self, release: &Release, now: Instant) {
        let trace = self.key.digest(format!("rollout {}", release.generation).as_bytes()).trace();
        let renewed = self.rollout.renewed(release).into_iter();
        let revision =
            |secret: SecretName| release.revisions.get(&secret).map(|revision| (secret.clone(), *revision));
        self.history.begin(release.generation, trace, renewed.filter_map(revision).collect(), now);
    }

    fn committed(&mut self, effects: &mut Vec<Effect>) {
        self.startup.end();
        if self.mode == Mode::Once {
            self.close(0, effects);
        }
    }

    fn rehearse(&mut self, release: &Release, effects: &mut Vec<Effect>) {
        let Some(launch) = self.launch_of(release) else { return };
        let ticket = self.ticket();
        self.rehearsal = Some(ticket);
        effects.push(Effect::Order(Order::Rehearse { ticket, launch }));
    }

    /// A check gets the environment that the process would get.
    fn check(
        &mut self,
        command: RunCommand,
        directory: Option<&Path>,
        release: &Release,
        now: Instant,
        effects: &mut Vec<Effect>,
    ) {
        let mut env = self.env_of(release);
        let mut words = command.command;
        if let Some(directory) = directory.and_then(Path::to_str) {
            for word in &mut words {
                *word = word.replace("{dir}", directory);
            }
            env.insert("SQUIRE_STAGED_DIR".to_owned(), Secret::new(directory));
        }
        let launch = self.as_process(Launch::new(words, env));
        self.run(Purpose::Check, launch, command.timeout, now, effects);
    }

    fn try_process(&mut self, attempt: u64, now: Instant, effects: &mut Vec<Effect>) {
        let proof = &self.setup.config.rollout.proof;
        let Some(ProbeConfig { kind, attempt_timeout, .. }) = proof.probe().cloned() else { return };
        if let ProbeKind::Command(command) = kind {
            let mut env = self.rollout.shown().map(|release| self.env_of(release)).unwrap_or_default();
            let pid = self.newest_pid.map(|pid| ("SQUIRE_PID".to_owned(), Secret::new(pid.to_string())));
            env.extend(pid);
            let launch = self.as_process(Launch::new(command, env));
            self.run(Purpose::Try(attempt), launch, attempt_timeout, now, effects);
        } else {
            effects.push(Effect::Try { attempt, kind, timeout: attempt_timeout });
        }
    }

    /// Commands that use the process's secrets run like the process: with its user, limits and directory.
    fn as_process(&self, launch: Launch) -> Launch {
        match &self.setup.plan.process {
            Some(process) => launch.on(&process.setting),
            None => launch,
        }
    }

    pub(super) fn run(
        &mut self,
        purpose: Purpose,
        launch: Launch,
        timeout: Duration,
        now: Instant,
        effects: &mut Vec<Effect>,
    ) {
        let ticket = self.ticket();
        effects.extend(self.commands.start(ticket, purpose, launch, timeout, now));
    }
}

/// Why a rollout failed, if this is what a fact says.
#[expect(clippy::wildcard_enum_match_arm, reason = "the others are no failures of a rollout")]
fn trouble(fact: &Fact) -> Option<&str> {
    match fact {
        Fact::Rollout(_, RolloutFact::NotPassed { why, .. } | RolloutFact::Unhealthy { why, .. }) => {
            Some(why)
        }
        Fact::Rollout(_, RolloutFact::NotPublished { error, .. }) => Some(error),
        _ => None,
    }
}
