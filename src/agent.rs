//! The only owner of the state. It passes reports of sessions, disk and process through the stages, and answers with effects to perform.
//!
//! ```text
//! Update ─ gatherer ─▶ Snapshot ─ render ─▶ Release ─ rollout ─▶ publish, start, restart, signal, run, free
//! ```
//!
//! [`Agent::step`] is the whole program except the parts that act, which are in `agent/`: `lifecycle` performs the effects and keeps the
//! time, `inbox` watches credential files, `publisher` writes.
//!
//! *Invariants:* pure. No process is started before the first release is published as a whole. After [`Effect::Close`] the agent returns no
//! further effect.

mod commands;
mod credentials;
mod history;
pub mod inbox;
mod instructions;
pub mod keepers;
pub mod lifecycle;
pub mod publisher;
pub mod reloading;
pub mod reloads;
mod reports;
mod rolling;
mod startup;
mod status;
mod supervising;
mod tokens;
mod webhooks;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::unistd::Pid;

use crate::config::{
    HttpCall, OnStop, ProbeKind, Proof, Reaction, RestartMode, RolloutConfig, SignalTo, UnitReaction, Window,
};
use crate::credential::Scope;
use crate::credential::Shown as ShownCredentials;
use crate::credential::held::{Given, Held};
pub(crate) use crate::fact::chain;
use crate::fact::{Fact, ProcessFact, RolloutFact};
use crate::names::{Generation, Revision, SecretName};
use crate::ordered::Order as _;
use crate::plan::Plan;
use crate::render::{self, Release, RenderedFile};
use crate::rollout::{self, Rollout};
use crate::secret::DigestKey;
use crate::session::keeper::Shown;
use crate::session::{Lack, Update};
use crate::snapshot::{self, Gatherer, Snapshot};
use crate::source::Errand;
use crate::supervise::host::{Order, Report, Ticket};
use crate::supervise::{self, FAILED, Launch, Life, Relay};
use crate::webhook::Guard;

use commands::{Commands, LONGEST_ERRAND, Purpose};
use credentials::Credentials;
use history::{History, Runs};
pub use instructions::{Ask, Instruction, Refused};
use reloading::{Keeping, Reloading};
pub use reloading::{Outcome, Setup, Standing, Summary};
pub use startup::Patience;
use startup::{Call, Startup};
use tokens::Tokens;

/// The settings of one agent.
pub struct Task {
    /// The configuration, with all that it refers to.
    pub setup: Arc<Setup>,
    /// Where the agent can write, if the kernel keeps it from writing elsewhere.
    pub confined: Option<BTreeSet<PathBuf>>,
    /// The key of the digests, by which changes are found.
    pub key: DigestKey,
    /// Keep going, or stop after the first release.
    pub mode: Mode,
    /// How long to wait for the first release.
    pub patience: Patience,
    /// The number of the first generation.
    pub first: Generation,
    /// Generations that an earlier run left on disk for its slow readers.
    pub superseded: BTreeSet<Generation>,
    /// Who serves credentials, if this run does.
    pub counter: Option<Counter>,
}

/// How credentials are served.
#[derive(Debug)]
pub struct Counter {
    /// Whose units they are.
    pub scope: Scope,
    /// Who held what when an earlier run ended.
    pub held: Held,
}

/// How long an agent runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Until it is stopped, or its process ends.
    Run,
    /// Until the first release is published. There are no reactions, and published files and leases stay.
    Once,
}

/// The agent.
pub struct Agent {
    setup: Arc<Setup>,
    reloading: Reloading,
    key: DigestKey,
    mode: Mode,
    gives_back: bool,
    gatherer: Gatherer,
    rollout: Rollout,
    relay: Option<Relay>,
    /// The pending question whether a process could be started.
    rehearsal: Option<Ticket>,
    /// The commands that run, and those that are being started.
    children: BTreeMap<Ticket, Life>,
    /// The latest launch that was asked for: this process has to prove that it is well.
    newest: Option<Ticket>,
    newest_pid: Option<Pid>,
    commands: Commands,
    tickets: u64,
    startup: Startup,
    history: History,
    runs: Runs,
    guard: Guard,
    tokens: Tokens,
    counter: Option<Credentials>,
    on_hold_since: Option<Instant>,
    render_errors: Vec<String>,
    publish_error: Option<String>,
    /// The line to log when all is over.
    last_word: Option<Fact>,
    /// The last signal that asked Squire to end.
    last_end: Option<(Signal, Instant)>,
    closed: bool,
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// A session has a new value.
    Updated(Update),
    /// A session has no value of some secrets yet.
    Lacking(Lack),
    /// A source asks for this command to be run.
    Errand(Errand),
    /// A session shows its token to somebody.
    Shown(Shown),
    /// The token was written to this file, or was not.
    Sunk(PathBuf, Result<(), String>),
    /// A unit got a credential.
    Given(Given),
    /// A release is staged, where no reader looks: its relative files are in this directory.
    #[expect(missing_docs, reason = "said above; whether any file differs from what is published")]
    Staged { directory: Option<PathBuf>, changes: bool },
    /// A release could not be staged; no part of it is left.
    NotStaged(String),
    /// A release is published: these files differ from before, and this generation is superseded.
    #[expect(missing_docs, reason = "said above")]
    Published { changed: BTreeSet<PathBuf>, superseded: Option<Generation> },
    /// A release could not be published, or only a part of it.
    NotPublished(String),
    /// An action was done, or failed.
    #[expect(missing_docs, reason = "said above; `action` is its number")]
    Acted { action: u64, what: String, result: Result<(), String> },
    /// A file that a template includes has another content.
    IncludedChanged,
    /// Whether rollouts are allowed now.
    Window(bool),
    /// The reload of this number read and compiled a configuration.
    Loaded(u64, Arc<Setup>),
    /// It could not, for these reasons.
    NotLoaded(u64, Vec<String>),
    /// Whether the places of its configuration are fit to publish in.
    Examined(u64, Result<(), Vec<String>>),
    /// The try of this number has its answer.
    Tried(u64, Result<(), String>),
    /// A report of the main thread.
    Reported(Report),
    /// A part of Squire failed and will not recover.
    Failed,
    /// The deadline came.
    Due,
}

/// Effects, for others to perform.
#[derive(Debug)]
#[must_use = "an effect that is dropped leaves the agent waiting"]
pub enum Effect {
    /// Stage this release: write it where no reader looks.
    Stage(Arc<Release>),
    /// Write this token, in place of what is there, and answer with [`Event::Sunk`].
    Sink(RenderedFile),
    /// From now on units get these credentials.
    Show(Arc<ShownCredentials>),
    /// Keep for a later run who holds which credential.
    KeepHolders(Vec<u8>),
    /// Remove the staged files.
    Discard,
    /// Publish the staged release.
    Publish,
    /// Publish this release without staging it before.
    Restore(Arc<Release>),
    /// Send this signal, and answer with [`Event::Acted`].
    #[expect(missing_docs, reason = "said above; `action` is its number")]
    SignalTo { action: u64, to: SignalTo },
    /// Send this request, and answer with [`Event::Acted`].
    #[expect(missing_docs, reason = "said above; `action` is its number")]
    Call { action: u64, call: HttpCall },
    /// Probe whether the process is well, and answer with [`Event::Tried`].
    #[expect(missing_docs, reason = "the number of the try, what is asked, and how long that may take")]
    Try { attempt: u64, kind: ProbeKind, timeout: Duration },
    /// Remove this generation's files.
    Retire(Generation),
    /// An order for the main thread.
    Order(Order),
    /// No generation uses the revisions of this secret below this one any more.
    Free(SecretName, Revision),
    /// No generation uses this revision of this secret, and none will.
    Reject(SecretName, Revision),
    /// Fetch these secrets now; all if there are none.
    Refresh(Vec<SecretName>),
    /// Read and compile the configuration anew.
    Reload,
    /// Look whether this configuration can be published, and prepare its places beside the present ones; answer with
    /// [`Event::Examined`].
    #[expect(missing_docs, reason = "said above; the number of the reload")]
    Examine { number: u64, setup: Arc<Setup> },
    /// Only the places of this configuration are used from now on.
    Settle(Arc<Setup>),
    /// An order for the keepers.
    Keeping(Keeping),
    /// Rollouts are allowed within this window from now on.
    Window(Option<Window>),
    /// Tell whoever asked for this reload.
    #[expect(missing_docs, reason = "said above")]
    Decided { number: u64, outcome: Outcome },
    /// Log this fact.
    Report(Fact),
    /// End Squire with this exit code: first revoke token and leases and remove the published files, if they are to go; then log this.
    #[expect(missing_docs, reason = "said above")]
    Close { code: u8, give_back: bool, sweep: bool, last_word: Option<Fact> },
}

/// Whether token, leases and files end with Squire.
pub fn gives_back(on_stop: Option<OnStop>, mode: Mode, plan: &Plan) -> bool {
    mode == Mode::Run && on_stop.map_or(plan.process.is_some(), |on_stop| on_stop == OnStop::GiveBack)
}

impl Agent {
    /// An agent that has no value yet.
    pub fn new(task: Task, now: Instant) -> Self {
        let Task { setup, confined, key, mode, patience, first, superseded, counter } = task;
        let Setup { config, plan, .. } = &*setup;
        let wanted = plan.wants.values().flatten().map(|want| want.name.clone()).ordered();
        let relay = settings(plan, mode).map(|settings| Relay::new(settings, overlaps(plan)));
        Self {
            gives_back: gives_back(config.agent.on_stop, mode, plan),
            gatherer: Gatherer::new(wanted, config.rollout.settle, first, now),
            rollout: Rollout::new(rules(plan, mode, &config.rollout), &superseded, now),
            relay,
            reloading: Reloading::new(plan, confined),
            rehearsal: None,
            children: BTreeMap::new(),
            newest: None,
            newest_pid: None,
            commands: Commands::default(),
            tickets: 0,
            startup: Startup::new(patience, now),
            history: History::default(),
            runs: Runs::default(),
            guard: Guard::new(now),
            tokens: Tokens::new(plan),
            counter: counter.map(Credentials::new),
            on_hold_since: None,
            render_errors: Vec::new(),
            publish_error: None,
            last_word: None,
            last_end: None,
            closed: false,
            setup,
            key,
            mode,
        }
    }

    /// Handles an event that happened at `now`; answers with the effects to perform.
    pub fn step(&mut self, event: Event, now: Instant) -> Vec<Effect> {
        let mut effects = Vec::new();
        if self.closed {
            return effects;
        }
        match event {
            Event::Updated(update) => {
                self.startup.updated(&update);
                self.updated(update, now, &mut effects);
            }
            Event::Lacking(lack) => {
                self.candidate_lacks(&lack, now);
                self.startup.lacking(lack);
                self.give_up_early(now, &mut effects);
            }
            Event::Errand(Errand { command, env }) => {
                let launch = Launch::new(command, env);
                self.run(Purpose::Errand, launch, LONGEST_ERRAND, now, &mut effects);
            }
            Event::Shown(shown) => {
                self.startup.shown(&shown.source);
                self.tokens.learn(shown);
            }
            Event::Given(given) => self.given(given, now, &mut effects),
            Event::Sunk(file, result) => self.sunk(&file, result, now, &mut effects),
            Event::Published { changed, superseded } => {
                self.roll(rollout::Event::Published { changed, superseded }, now, &mut effects);
            }
            Event::Staged { directory, changes } => {
                self.roll(rollout::Event::Staged { directory, changes }, now, &mut effects);
            }
            Event::NotStaged(error) => {
                self.publish_error = Some(error.clone());
                self.roll(rollout::Event::NotStaged(error), now, &mut effects);
            }
            Event::Acted { action, what, result } => {
                let fact = match result.clone() {
                    Ok(()) => ProcessFact::ActionDone { what: what.clone() },
                    Err(error) => ProcessFact::ActionFailed { what: what.clone(), error },
                };
                effects.push(Effect::Report(fact.into()));
                let result = result.map_err(|error| format!("{what}: {error}"));
                self.roll(rollout::Event::Acted(action, result), now, &mut effects);
            }
            Event::IncludedChanged => self.gather(snapshot::Event::RenderAsked, now, &mut effects),
            Event::Window(is_open) => self.roll(rollout::Event::Window(is_open), now, &mut effects),
            Event::Tried(attempt, result) => {
                self.roll(rollout::Event::Tried(attempt, result), now, &mut effects);
            }
            Event::NotPublished(error) => {
                self.publish_error = Some(error.clone());
                self.roll(rollout::Event::NotPublished(error), now, &mut effects);
            }
            Event::Reported(report) => self.reported(report, now, &mut effects),
            Event::Loaded(number, setup) => self.loaded(number, setup, now, &mut effects),
            Event::NotLoaded(number, problems) => self.not_loaded(number, &problems, &mut effects),
            Event::Examined(number, result) => self.examined(number, result, now, &mut effects),
            Event::Failed => self.fail(now, &mut effects),
            Event::Due => self.due(now, &mut effects),
        }
        self.after(effects, now)
    }

    /// Notes what is to be seen of this turn. Nobody performs effects that come after `Close`, so they are dropped.
    fn after(&mut self, mut effects: Vec<Effect>, now: Instant) -> Vec<Effect> {
        if !self.closed {
            self.proceed(now, &mut effects);
            self.sink(now, &mut effects);
            self.show(&mut effects);
        }
        for effect in &mut effects {
            if let Effect::Report(Fact::Rollout(trace, fact)) = effect {
                self.history.heard(fact);
                let generation = fact.generation();
                *trace = generation.and_then(|generation| self.history.trace(generation)).cloned();
            }
        }
        let course = self.rollout.course().map(|(release, step)| (release.generation, step));
        let over = self.history.look(course, now).into_iter().map(Effect::Report);
        let end = effects.iter().position(|effect| matches!(effect, Effect::Close { .. }));
        let close = end.map(|at| effects.drain(at..).next());
        effects.extend(over);
        effects.extend(close.flatten());
        effects
    }

    /// The release that was committed last.
    pub fn live(&self) -> Option<&Release> {
        self.rollout.live()
    }

    /// When to call [`Self::step`] with [`Event::Due`].
    pub fn deadline(&self) -> Option<Instant> {
        if self.closed {
            return None;
        }
        let relay = self.relay.as_ref().and_then(Relay::deadline);
        let machines = [self.gatherer.deadline(), self.rollout.deadline(), relay, self.commands.deadline()];
        let others = [self.startup.deadline(), self.reloading.deadline(), self.tokens.deadline()];
        machines.into_iter().chain(others).flatten().min()
    }

    fn due(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        self.gather(snapshot::Event::Due, now, effects);
        self.roll(rollout::Event::Due, now, effects);
        self.supervise(supervise::Event::Due, now, effects);
        effects.extend(self.commands.overdue(now));
        if let Some(call) = self.startup.due(now) {
            let missing = self.gatherer.missing().iter().cloned().collect();
            let (waited, errors) = (now.saturating_duration_since(self.startup.began), self.trouble());
            let fact = match call {
                Call::Tell => RolloutFact::Waiting { waited, missing, errors },
                Call::TimeOut => RolloutFact::TimedOut { waited, missing, errors },
            };
            match call {
                Call::Tell => effects.push(Effect::Report(fact.into())),
                Call::TimeOut => self.give_up(fact, now, effects),
            }
        }
    }

    /// If no planned step can change the outcome, waiting would only hide the problem.
    fn give_up_early(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let (missing, tokens) = (self.gatherer.missing(), self.tokens.sources_missing());
        if self.startup.is_hopeless(missing, tokens, self.render_errors.is_empty()) {
            self.give_up(RolloutFact::Hopeless { errors: self.trouble() }, now, effects);
        }
    }

    /// The reason is logged last, since readers look at the last line first.
    fn give_up(&mut self, why: RolloutFact, now: Instant, effects: &mut Vec<Effect>) {
        self.last_word = Some(why.into());
        self.fail(now, effects);
    }

    /// The reasons why there is no release yet.
    fn trouble(&self) -> Vec<String> {
        let reasons = self.startup.reasons(self.gatherer.missing());
        let others = self.render_errors.iter().chain(&self.publish_error).cloned();
        let tokens = self.startup.reasons_of_tokens(self.tokens.sources_missing());
        reasons.into_iter().chain(others).chain(tokens).chain(self.tokens.missing()).collect()
    }

    fn gather(&mut self, event: snapshot::Event, now: Instant, effects: &mut Vec<Effect>) {
        for effect in self.gatherer.step(event, now) {
            match effect {
                snapshot::Effect::Render(snapshot) => self.render(&snapshot, now, effects),
                snapshot::Effect::Reject(secret, revision) => effects.push(Effect::Reject(secret, revision)),
                snapshot::Effect::Hold(secrets) => {
                    effects.push(Effect::Report(RolloutFact::Held { secrets }.into()));
                }
            }
        }
    }

    /// If a release does not render, nothing changes: the live one stays. The same errors are logged only once.
    fn render(&mut self, snapshot: &Snapshot, now: Instant, effects: &mut Vec<Effect>) {
        let setup = Arc::clone(&self.setup);
        match render::render(&setup.plan, snapshot, &setup.engine, &self.key) {
            Ok(release) => {
                self.render_errors.clear();
                self.rendered(release, now, effects);
            }
            Err(errors) => {
                let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
                if self.render_errors != errors {
                    self.render_errors.clone_from(&errors);
                    let fact = RolloutFact::NotRendered { generation: snapshot.generation, errors };
                    effects.push(Effect::Report(fact.into()));
                }
                self.roll(rollout::Event::NotRendered, now, effects);
                self.gather(snapshot::Event::Dropped(snapshot.generation), now, effects);
                self.give_up_early(now, effects);
            }
        }
    }

    /// The key of webhooks is good from now on: who signs with it has it from the server, and need not wait for a rollout.
    fn rendered(&mut self, release: Release, now: Instant, effects: &mut Vec<Effect>) {
        self.guard.learn(release.webhook_key.as_ref(), now);
        self.roll(rollout::Event::Rendered(release), now, effects);
    }

    fn fail(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        if self.relay.is_some() {
            self.supervise(supervise::Event::Failed, now, effects);
        } else {
            self.close(if self.mode == Mode::Once { 1 } else { FAILED }, effects);
        }
    }

    /// Without a setting, leases and files are given back if Squire has a process of its own. Without a process, others may still use them.
    fn close(&mut self, code: u8, effects: &mut Vec<Effect>) {
        self.closed = true;
        effects.extend(self.commands.kill());
        // If nothing was ever published, nobody can use the leases.
        let give_back = self.gives_back || self.rollout.live().is_none();
        effects.push(Effect::Close {
            code,
            give_back,
            sweep: self.gives_back,
            last_word: self.last_word.take(),
        });
    }

    fn ticket(&mut self) -> Ticket {
        self.tickets += 1;
        Ticket(self.tickets)
    }
}

/// How its process is stopped and started again, if there is one.
fn settings(plan: &Plan, mode: Mode) -> Option<supervise::Settings> {
    let process = plan.process.as_ref().filter(|_| mode == Mode::Run)?;
    Some(supervise::Settings {
        stop_signal: process.stop_signal,
        stop_timeout: process.stop_timeout,
        restart: process.restart,
    })
}

fn rules(plan: &Plan, mode: Mode, config: &RolloutConfig) -> rollout::Rules {
    let process = plan.process.as_ref().filter(|_| mode == Mode::Run);
    let files = plan.files.iter().filter(|_| mode == Mode::Run);
    rollout::Rules {
        files: files.map(|file| (file.path.clone(), file.on_change.clone())).ordered(),
        units: told_units(plan, mode),
        env: process.map_or(Reaction::Nothing, |process| process.on_change.clone()),
        has_process: process.is_some(),
        grace: config.grace,
        checks: config.checks.clone(),
        proof: if mode == Mode::Run { config.proof.clone() } else { Proof::Nothing },
        overlaps: process.is_some() && overlaps(plan),
    }
}

/// What changes of credentials may ask of units.
fn told_units(plan: &Plan, mode: Mode) -> BTreeSet<UnitReaction> {
    let reactions = plan.credentials.iter().filter(|_| mode == Mode::Run);
    let reactions = reactions.map(|credential| credential.terms.on_change);
    reactions.filter(|reaction| *reaction != UnitReaction::Nothing).ordered()
}

fn overlaps(plan: &Plan) -> bool {
    plan.process.as_ref().is_some_and(|process| process.restart_mode == RestartMode::Overlap)
}
