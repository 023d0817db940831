//! The transaction that takes the process from one release to the next: publish, react, commit.
//!
//! One at a time; a newer release replaces the one that waits. What the former generation alone used is freed `grace` after the
//! commit, and superseded generations are removed once slow readers had their time.
//!
//! *Invariants:* pure. A release is committed only after it was published and every reaction to it is done. Nothing of a
//! generation is freed before a later one is committed.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::config::{Reaction, RunCommand};
use crate::fact::{Fact, RolloutFact};
use crate::names::{Generation, Revision, SecretName};
use crate::render::Release;

/// How long a superseded generation stays for readers that are slow.
pub const READERS_HAVE: Duration = Duration::from_secs(10);

/// The pause after a publication that failed doubles between these.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What reacts on what.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Of each file.
    pub files: BTreeMap<PathBuf, Reaction>,
    /// Of the environment.
    pub env: Reaction,
    /// Whether there is a process to start.
    pub has_process: bool,
    /// How long what only the former generation used lives after a commit.
    pub grace: Duration,
}

/// The rollouts of one agent.
#[derive(Debug)]
pub struct Rollout {
    rules: Rules,
    phase: Phase,
    waiting: Option<Arc<Release>>,
    live: Option<Arc<Release>>,
    failures: u32,
    chores: Vec<(Instant, Chore)>,
}

#[derive(Debug)]
enum Phase {
    /// Nothing is going on.
    Idle,
    /// The last publication failed; the next is not tried before this.
    Pausing(Instant),
    Publishing(Arc<Release>),
    /// The process reacts; these commands come after it.
    Moving(Arc<Release>, Vec<RunCommand>),
    /// So many commands are still running.
    Running(Arc<Release>, usize),
}

#[derive(Clone, Debug)]
enum Chore {
    Retire(Generation),
    Free(BTreeMap<SecretName, Revision>),
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// A release is whole.
    Rendered(Release),
    /// The release is on disk: these files differ from before, and this generation is superseded for good.
    #[expect(missing_docs, reason = "said above")]
    Published { changed: BTreeSet<PathBuf>, superseded: Option<Generation> },
    /// The release could not be published; the live one is untouched.
    NotPublished(String),
    /// The process did what it was asked.
    ProcessSettled,
    /// A command ended, well or not.
    CommandEnded,
    /// The deadline came.
    Due,
}

/// What to do.
#[derive(Clone, Debug)]
#[must_use = "an effect that is dropped leaves the rollout waiting"]
pub enum Effect {
    /// Put this release where its readers find it.
    Publish(Arc<Release>),
    /// Start the process with this release.
    Start(Arc<Release>),
    /// Restart the process with this release.
    Restart(Arc<Release>),
    /// Send the process these signals.
    Signal(BTreeSet<Signal>),
    /// Run this command.
    Run(RunCommand),
    /// This generation is the good one now.
    Committed(Generation),
    /// A newer one took this generation's place before it was tried.
    Dropped(Generation),
    /// Remove this generation's files.
    Retire(Generation),
    /// Nothing uses the revisions of this secret below this one any more.
    Free(SecretName, Revision),
    /// Say what happened.
    Report(Fact),
}

impl Rollout {
    /// Nothing is live yet. `superseded` are generations that an earlier run left for its slow readers.
    pub fn new(rules: Rules, superseded: &BTreeSet<Generation>, now: Instant) -> Self {
        let chores =
            superseded.iter().map(|generation| (now + READERS_HAVE, Chore::Retire(*generation))).collect();
        Self { rules, phase: Phase::Idle, waiting: None, live: None, failures: 0, chores }
    }

    /// Takes what happened at `now`, answers with what to do.
    pub fn step(&mut self, event: Event, now: Instant) -> Vec<Effect> {
        let mut effects = Vec::new();
        match event {
            Event::Rendered(release) => {
                let overtaken = self.waiting.replace(Arc::new(release));
                effects.extend(overtaken.map(|release| Effect::Dropped(release.generation)));
            }
            Event::Published { changed, superseded } => {
                self.published(&changed, superseded, now, &mut effects);
            }
            Event::NotPublished(error) => self.not_published(error, now, &mut effects),
            Event::ProcessSettled => self.process_settled(now, &mut effects),
            Event::CommandEnded => self.command_ended(now, &mut effects),
            Event::Due => {}
        }
        self.begin(now, &mut effects);
        self.do_chores(now, &mut effects);
        effects
    }

    /// When to be called again.
    pub fn deadline(&self) -> Option<Instant> {
        let pause = match self.phase {
            Phase::Pausing(until) => self.waiting.as_ref().map(|_| until),
            Phase::Idle | Phase::Publishing(_) | Phase::Moving(..) | Phase::Running(..) => None,
        };
        self.chores.iter().map(|(at, _)| *at).chain(pause).min()
    }

    /// The release that was committed last.
    pub fn live(&self) -> Option<&Release> {
        self.live.as_deref()
    }

    fn begin(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let ready = match self.phase {
            Phase::Idle => true,
            Phase::Pausing(until) => until <= now,
            Phase::Publishing(_) | Phase::Moving(..) | Phase::Running(..) => false,
        };
        if !ready {
            return;
        }
        if let Some(release) = self.waiting.take() {
            self.phase = Phase::Publishing(Arc::clone(&release));
            effects.push(Effect::Publish(release));
        }
    }

    fn published(
        &mut self,
        changed: &BTreeSet<PathBuf>,
        superseded: Option<Generation>,
        now: Instant,
        effects: &mut Vec<Effect>,
    ) {
        let Some(release) = self.publishing() else { return };
        self.failures = 0;
        if let Some(generation) = superseded {
            self.chores.push((now + READERS_HAVE, Chore::Retire(generation)));
        }
        let env_changed = self.live.as_ref().is_some_and(|live| live.env_digest != release.env_digest);
        let fact =
            RolloutFact::Published { generation: release.generation, changed: changed.clone(), env_changed };
        effects.push(Effect::Report(fact.into()));
        let mut asked = Asked::gather(&self.rules, changed, env_changed);
        let process = self.process_reaction(&asked, &release);
        if matches!(process, Some(Effect::Start(_))) {
            // It starts with all that is new: there is nobody yet to be told of it.
            asked.run.clear();
        }
        self.phase = Phase::Moving(release, asked.run);
        match process {
            Some(effect) => effects.push(effect),
            None => self.process_settled(now, effects),
        }
    }

    fn publishing(&mut self) -> Option<Arc<Release>> {
        match &self.phase {
            Phase::Publishing(release) => Some(Arc::clone(release)),
            Phase::Idle | Phase::Pausing(_) | Phase::Moving(..) | Phase::Running(..) => None,
        }
    }

    /// The start is the reaction to the first release; then a restart beats a signal.
    fn process_reaction(&self, asked: &Asked, release: &Arc<Release>) -> Option<Effect> {
        if !self.rules.has_process {
            return None;
        }
        if self.live.is_none() {
            Some(Effect::Start(Arc::clone(release)))
        } else if asked.restart {
            Some(Effect::Restart(Arc::clone(release)))
        } else if asked.signals.is_empty() {
            None
        } else {
            Some(Effect::Signal(asked.signals.clone()))
        }
    }

    /// The same release is tried again after a pause, unless a newer one takes its place.
    fn not_published(&mut self, error: String, now: Instant, effects: &mut Vec<Effect>) {
        let Some(release) = self.publishing() else { return };
        let pause = FIRST_PAUSE.saturating_mul(1 << self.failures.min(10)).min(LONGEST_PAUSE);
        self.failures += 1;
        self.phase = Phase::Pausing(now + pause);
        let generation = release.generation;
        self.waiting.get_or_insert(release);
        effects.push(Effect::Report(RolloutFact::NotPublished { generation, error, again_in: pause }.into()));
    }

    fn process_settled(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        match std::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::Moving(release, commands) if commands.is_empty() => self.commit(release, now, effects),
            Phase::Moving(release, commands) => {
                self.phase = Phase::Running(release, commands.len());
                effects.extend(commands.into_iter().map(Effect::Run));
            }
            // A process that settles by itself, restarted after a crash, is no part of a rollout.
            other @ (Phase::Idle | Phase::Pausing(_) | Phase::Publishing(_) | Phase::Running(..)) => {
                self.phase = other;
            }
        }
    }

    fn command_ended(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        match std::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::Running(release, 1) => self.commit(release, now, effects),
            Phase::Running(release, left) => self.phase = Phase::Running(release, left.saturating_sub(1)),
            other @ (Phase::Idle | Phase::Pausing(_) | Phase::Publishing(_) | Phase::Moving(..)) => {
                self.phase = other;
            }
        }
    }

    fn commit(&mut self, release: Arc<Release>, now: Instant, effects: &mut Vec<Effect>) {
        let generation = release.generation;
        self.chores.push((now + self.rules.grace, Chore::Free(release.revisions.clone())));
        self.live = Some(release);
        effects.push(Effect::Report(RolloutFact::Committed { generation }.into()));
        effects.push(Effect::Committed(generation));
    }

    fn do_chores(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let (due, later) = self.chores.drain(..).partition(|(at, _)| *at <= now);
        self.chores = later;
        for (_, chore) in due {
            match chore {
                Chore::Retire(generation) => effects.push(Effect::Retire(generation)),
                Chore::Free(revisions) => {
                    effects.extend(revisions.into_iter().map(|(secret, below)| Effect::Free(secret, below)));
                }
            }
        }
    }
}

/// What the changes of one rollout ask for, together.
struct Asked {
    restart: bool,
    signals: BTreeSet<Signal>,
    /// Each command once, in the order of their files.
    run: Vec<RunCommand>,
}

impl Asked {
    fn gather(rules: &Rules, changed: &BTreeSet<PathBuf>, env_changed: bool) -> Self {
        let mut asked = Self { restart: false, signals: BTreeSet::new(), run: Vec::new() };
        let of_files = changed.iter().filter_map(|path| rules.files.get(path));
        let of_env = env_changed.then_some(&rules.env);
        for reaction in of_files.chain(of_env) {
            match reaction {
                Reaction::Restart => asked.restart = true,
                Reaction::Signal(signal) => _ = asked.signals.insert(*signal),
                Reaction::Run(command) if !asked.run.contains(command) => asked.run.push(command.clone()),
                Reaction::Run(_) | Reaction::SignalTo(_) | Reaction::Call(_) | Reaction::Nothing => {}
            }
        }
        asked
    }
}
