//! The transaction that takes the process from one release to the next: stage, check, publish, react, try, then commit or go back.
//!
//! ```text
//! Rendered ─▶ stage ─▶ check ─▶ publish ─▶ react ─▶ try ─▶ commit; after `grace`, what only the former one used is freed
//!               │        │                   │       │
//!               └────────┴─ nothing is seen  └───────┴─▶ back: publish the live one, react; what was new is rejected
//! ```
//!
//! One at a time; a newer release replaces the one that waits. A release that fails its checks was never seen. One that its process
//! cannot live with is taken back, unless what it replaced is dead: then there is no way back, which is said.
//!
//! *Invariants:* pure. A release is committed only after it was published, every reaction to it is done, and the process proved to be
//! well with it. Nothing of a generation is freed before a later one is committed.

mod chores;
pub mod probe;
mod reactions;
pub mod stranger;
#[cfg(test)]
mod tests;
mod trial;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::config::{ProbeConfig, Reaction, RunCommand};
use crate::fact::{Fact, RolloutFact};
use crate::names::{Generation, Revision, SecretName};
use crate::render::Release;

use chores::Chores;
pub use reactions::Action;
use reactions::Reactions;
use trial::{Step, Trial};

/// How long a superseded generation stays for readers that are slow.
pub const READERS_HAVE: Duration = Duration::from_secs(10);

/// The pause after a rollout that failed doubles between these.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What may have to go through before its pause is over has this long before what is live ends, or a fifth of the time there was.
const IN_TIME: Duration = Duration::from_mins(2);

/// What reacts on what, and what a release has to prove.
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
    /// What a staged release has to pass.
    pub checks: Vec<RunCommand>,
    /// How the process proves that it is well.
    pub probe: Option<ProbeConfig>,
    /// What is restarted runs on until its successor has proven itself.
    pub overlaps: bool,
}

/// The rollouts of one agent.
#[derive(Debug)]
pub struct Rollout {
    rules: Rules,
    phase: Phase,
    waiting: Option<Waiting>,
    /// The good one.
    live: Option<Arc<Release>>,
    /// What readers see: the live one, or one that is still to prove itself.
    shown: Option<Arc<Release>>,
    /// The process ended while a release was tried.
    is_down: bool,
    /// The process said that it is ready, or nothing was asked of it since.
    is_ready: bool,
    failures: u32,
    /// When the last rollout failed.
    failed_at: Option<Instant>,
    /// It is a time for rollouts.
    is_open: bool,
    /// The last generation that was said to wait for such a time.
    held_up: Option<Generation>,
    /// The number of the last try of all.
    attempt: u64,
    chores: Chores,
}

/// A release that waits for its turn.
#[derive(Clone, Debug)]
struct Waiting {
    release: Arc<Release>,
    since: Instant,
}

#[derive(Debug)]
enum Phase {
    /// Nothing is going on.
    Idle,
    /// The last rollout failed; the next is not begun before this.
    Pausing(Instant),
    Staging(Arc<Release>),
    /// One command runs, these are left.
    Checking(Arc<Release>, Option<PathBuf>, VecDeque<RunCommand>),
    Publishing(Course),
    /// The way back could not be published, and is tried again at this time.
    Stuck(Course, Instant),
    /// The process reacts; these come after it.
    Moving(Course, Vec<Action>),
    /// So many actions are still going on.
    Acting(Course, usize),
    Trying(Course, Box<Trial>),
    /// It is well, and what it takes the place of is being stopped.
    HandingOver(Course),
}

/// A release on its way to the process.
#[derive(Clone, Debug)]
struct Course {
    release: Arc<Release>,
    way: Way,
}

#[derive(Clone, Debug)]
enum Way {
    Forward,
    /// From this one, which the process could not live with.
    Back(Arc<Release>),
    /// From this one, which could only be published in part, and is to be tried again.
    Undo(Arc<Release>),
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// A release is whole.
    Rendered(Release),
    /// The release is on disk, where nobody looks.
    Staged {
        /// Its relative files are here.
        directory: Option<PathBuf>,
        /// Whether any file differs from what is published.
        changes: bool,
    },
    /// The release could not be staged; nothing is left of it.
    NotStaged(String),
    /// A check ended.
    Checked(Result<(), String>),
    /// The release is what readers see: these files differ from before, and this generation is superseded for good.
    #[expect(missing_docs, reason = "said above")]
    Published { changed: BTreeSet<PathBuf>, superseded: Option<Generation> },
    /// The release could not be published, or only in part.
    NotPublished(String),
    /// The process did what it was asked.
    ProcessSettled,
    /// The process, on trial, ended, or could not be started.
    ProcessDown(String),
    /// The process said that it is ready.
    ProcessReady,
    /// An action ended, well or not.
    Acted,
    /// The try of this number was answered.
    Tried(u64, Result<(), String>),
    /// Whether it is a time for rollouts.
    Window(bool),
    /// The deadline came.
    Due,
}

/// What to do.
#[derive(Clone, Debug)]
#[must_use = "an effect that is dropped leaves the rollout waiting"]
pub enum Effect {
    /// Write this release where nobody looks.
    Stage(Arc<Release>),
    /// Run this command on what is staged.
    #[expect(missing_docs, reason = "the parts of what was staged")]
    Check { command: RunCommand, directory: Option<PathBuf>, release: Arc<Release> },
    /// Remove what is staged.
    Discard,
    /// Put what is staged where its readers find it.
    Publish,
    /// Put this release, which was live before, where its readers find it.
    Restore(Arc<Release>),
    /// Start the process with this release.
    Start(Arc<Release>),
    /// Restart the process with this release.
    Restart(Arc<Release>),
    /// Send the process these signals.
    Signal(BTreeSet<Signal>),
    /// Do this; answered by [`Event::Acted`].
    Act(Action),
    /// Ask whether the process is well.
    Try(u64),
    /// Whether the process has yet to prove that it is well: if it ends, that is for [`Event::ProcessDown`].
    OnTrial(bool),
    /// The process is well: what it takes the place of may end; answered by [`Event::ProcessSettled`].
    HandOver,
    /// This generation is the good one now.
    Committed(Generation),
    /// This generation was taken back.
    TakenBack(Generation),
    /// The process has to live with this generation, though it is not well: there is nothing to go back to.
    Forced(Generation),
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
        let mut chores = Chores::default();
        chores.retire(superseded.iter().copied(), now);
        Self {
            rules,
            phase: Phase::Idle,
            waiting: None,
            live: None,
            shown: None,
            is_down: false,
            is_ready: false,
            failures: 0,
            failed_at: None,
            is_open: true,
            held_up: None,
            attempt: 0,
            chores,
        }
    }

    /// Takes what happened at `now`, answers with what to do.
    pub fn step(&mut self, event: Event, now: Instant) -> Vec<Effect> {
        let mut effects = Vec::new();
        let turn = &mut Turn { now, effects: &mut effects };
        match event {
            Event::Rendered(release) => self.rendered(release, turn),
            Event::Staged { directory, changes } => self.staged(directory, changes, turn),
            Event::NotStaged(error) => self.not_staged(error, turn),
            Event::Checked(result) => self.checked(result, turn),
            Event::Published { changed, superseded } => self.published(&changed, superseded, turn),
            Event::NotPublished(error) => self.not_published(error, turn),
            Event::ProcessSettled => self.process_settled(turn),
            Event::ProcessDown(why) => self.process_down(why, turn),
            Event::ProcessReady => self.process_ready(turn),
            Event::Acted => self.acted(turn),
            Event::Window(is_open) => self.is_open = is_open,
            Event::Tried(attempt, result) => self.tried(attempt, result, turn),
            Event::Due => self.due(turn),
        }
        self.begin(turn);
        self.chores.perform(now, &mut effects);
        effects
    }

    /// When to be called again.
    pub fn deadline(&self) -> Option<Instant> {
        let must = self.waiting.as_ref().and_then(|waiting| self.must_begin(waiting));
        let phase = match &self.phase {
            Phase::Idle => must,
            Phase::Pausing(until) => {
                let may = self.waiting.is_some() && (self.is_open || self.live.is_none());
                may.then_some(*until).into_iter().chain(must).min()
            }
            Phase::Stuck(_, until) => Some(*until),
            Phase::Trying(_, trial) => Some(trial.deadline()),
            Phase::Staging(_)
            | Phase::Checking(..)
            | Phase::Publishing(_)
            | Phase::Moving(..)
            | Phase::Acting(..)
            | Phase::HandingOver(_) => None,
        };
        [phase, self.chores.deadline()].into_iter().flatten().min()
    }

    /// The release that was committed last.
    pub fn live(&self) -> Option<&Release> {
        self.live.as_deref()
    }

    /// The release that readers see: what a process that is started now has to be given.
    pub fn shown(&self) -> Option<&Release> {
        self.shown.as_deref()
    }

    fn rendered(&mut self, release: Release, turn: &mut Turn<'_>) {
        let waiting = Waiting { release: Arc::new(release), since: turn.now };
        let overtaken = self.waiting.replace(waiting);
        turn.effects.extend(overtaken.map(|waiting| Effect::Dropped(waiting.release.generation)));
    }

    fn begin(&mut self, turn: &mut Turn<'_>) {
        let Some(waiting) = self.waiting.clone() else { return };
        let is_due = match self.phase {
            Phase::Idle => true,
            Phase::Pausing(until) => until <= turn.now,
            Phase::Staging(_)
            | Phase::Checking(..)
            | Phase::Publishing(_)
            | Phase::Stuck(..)
            | Phase::Moving(..)
            | Phase::Acting(..)
            | Phase::Trying(..)
            | Phase::HandingOver(_) => return,
        };
        let must = self.must_begin(&waiting);
        let (generation, is_first) = (waiting.release.generation, self.live.is_none());
        let is_pressed = must.is_some_and(|at| at <= turn.now);
        let may = self.is_open || is_first;
        if !may && is_due && !is_pressed && self.held_up != Some(generation) {
            self.held_up = Some(generation);
            let latest = must.map(|at| at.saturating_duration_since(turn.now));
            turn.report(RolloutFact::AwaitsWindow { generation, latest });
        }
        if !(is_pressed || (is_due && may)) {
            return;
        }
        if !may {
            turn.report(RolloutFact::BeforeWindow { generation });
        }
        let release = Arc::clone(&waiting.release);
        self.waiting = None;
        self.chores.make_room(&self.renewed(&release), turn.effects);
        self.phase = Phase::Staging(Arc::clone(&release));
        turn.effects.push(Effect::Stage(release));
    }

    /// The secrets that have another value in this release than in the live one.
    fn renewed(&self, release: &Release) -> BTreeSet<SecretName> {
        let live = self.live.as_deref().map(|live| &live.revisions);
        let is_new = |(secret, revision): &(&SecretName, &Revision)| {
            live.is_none_or(|live| live.get(*secret) != Some(*revision))
        };
        release.revisions.iter().filter(is_new).map(|(secret, _)| secret.clone()).collect()
    }

    /// When what the process has ends so soon that a pause cannot be waited for.
    fn must_begin(&self, waiting: &Waiting) -> Option<Instant> {
        let renewed = self.renewed(&waiting.release);
        let ends = renewed.iter().filter_map(|secret| waiting.release.former_ends.get(secret)).min()?;
        let margin = (ends.saturating_duration_since(waiting.since) / 5).min(IN_TIME);
        // However pressing it is, what has just failed is not tried in a loop.
        let rested = self.failed_at.map_or(waiting.since, |at| at + FIRST_PAUSE);
        ends.checked_sub(margin).map(|at| at.max(waiting.since).max(rested))
    }

    fn staged(&mut self, directory: Option<PathBuf>, changes: bool, turn: &mut Turn<'_>) {
        let Phase::Staging(release) = &self.phase else { return };
        let release = Arc::clone(release);
        let is_other = changes || self.live.as_ref().is_none_or(|live| live.env_digest != release.env_digest);
        let checks = if is_other { self.rules.checks.iter().cloned().collect() } else { VecDeque::new() };
        self.phase = Phase::Checking(release, directory, checks);
        self.check(turn);
    }

    /// The next check, or the publication.
    fn check(&mut self, turn: &mut Turn<'_>) {
        let Phase::Checking(release, directory, left) = &mut self.phase else { return };
        if let Some(command) = left.pop_front() {
            let (directory, release) = (directory.clone(), Arc::clone(release));
            return turn.effects.push(Effect::Check { command, directory, release });
        }
        let release = Arc::clone(release);
        self.phase = Phase::Publishing(Course { release, way: Way::Forward });
        turn.effects.push(Effect::Publish);
    }

    fn checked(&mut self, result: Result<(), String>, turn: &mut Turn<'_>) {
        let Phase::Checking(release, ..) = &self.phase else { return };
        let release = Arc::clone(release);
        let Err(why) = result else { return self.check(turn) };
        turn.effects.push(Effect::Discard);
        let again_in = self.pause(turn.now);
        let generation = release.generation;
        turn.report(RolloutFact::NotPassed { generation, why, again_in });
        if self.live.is_some() {
            self.take_back(generation, turn);
        } else {
            // There is nothing to hold to: what it needs may come to be without a new value.
            self.wait_again(release, turn.now);
        }
    }

    fn not_staged(&mut self, error: String, turn: &mut Turn<'_>) {
        let Phase::Staging(release) = &self.phase else { return };
        let release = Arc::clone(release);
        let again_in = self.pause(turn.now);
        turn.report(RolloutFact::NotPublished { generation: release.generation, error, again_in });
        self.wait_again(release, turn.now);
    }

    /// The next rollout is begun after a pause that doubles with each failure in a row.
    fn pause(&mut self, now: Instant) -> Duration {
        let pause = FIRST_PAUSE.saturating_mul(1 << self.failures.min(10)).min(LONGEST_PAUSE);
        self.failures += 1;
        self.failed_at = Some(now);
        self.phase = Phase::Pausing(now + pause);
        pause
    }

    /// The same release again, unless there is a newer one.
    fn wait_again(&mut self, release: Arc<Release>, now: Instant) {
        self.waiting.get_or_insert(Waiting { release, since: now });
    }

    /// What waits was made with the same value that is suspect now; there will be another one.
    fn take_back(&mut self, generation: Generation, turn: &mut Turn<'_>) {
        let waiting = self.waiting.take();
        turn.effects.extend(waiting.map(|waiting| Effect::Dropped(waiting.release.generation)));
        turn.effects.push(Effect::TakenBack(generation));
    }

    fn published(
        &mut self,
        changed: &BTreeSet<PathBuf>,
        superseded: Option<Generation>,
        turn: &mut Turn<'_>,
    ) {
        let Phase::Publishing(course) = &self.phase else { return };
        let course = course.clone();
        let release = Arc::clone(&course.release);
        self.chores.retire(superseded, turn.now);
        let before = self.shown.replace(Arc::clone(&release));
        let env_changed = before.is_some_and(|before| before.env_digest != release.env_digest);
        let generation = release.generation;
        turn.report(RolloutFact::Published { generation, changed: changed.clone(), env_changed });
        let env = env_changed.then_some(&self.rules.env);
        let mut asked = Reactions::gather(&self.rules.files, changed, env);
        let process = self.process_reaction(&asked, &course);
        if matches!(process, Some(Effect::Start(_))) {
            // It starts with all that is new: there is nobody yet to be told of it.
            asked.actions.clear();
        }
        let is_tried = self.rules.probe.is_some() && self.rules.has_process;
        match course.way {
            Way::Forward if is_tried => turn.effects.push(Effect::OnTrial(true)),
            Way::Forward | Way::Back(_) | Way::Undo(_) => {}
        }
        let goes_back = !matches!(course.way, Way::Forward);
        let is_same = changed.is_empty() && !env_changed && process.is_none();
        self.phase = Phase::Moving(course, asked.actions);
        let reacts = process.is_some();
        self.is_ready = !reacts;
        turn.effects.extend(process);
        if goes_back && is_tried {
            self.is_down = false;
            turn.effects.push(Effect::OnTrial(false));
        }
        if is_same && self.live.is_some() {
            self.arrive(turn);
        } else if !reacts {
            self.process_settled(turn);
        }
    }

    /// The start is the reaction to the first release, and to the one that is gone back to when the process is down; then a restart
    /// beats a signal.
    fn process_reaction(&self, asked: &Reactions, course: &Course) -> Option<Effect> {
        let release = Arc::clone(&course.release);
        if !self.rules.has_process {
            None
        } else if self.live.is_none() {
            Some(Effect::Start(release))
        } else if asked.restart || self.is_down {
            Some(Effect::Restart(release))
        } else if asked.signals.is_empty() {
            None
        } else {
            Some(Effect::Signal(asked.signals.clone()))
        }
    }

    /// Some files may have been replaced all the same: they are put back, so that the next try sees them change.
    fn not_published(&mut self, error: String, turn: &mut Turn<'_>) {
        let Phase::Publishing(course) = &self.phase else { return };
        let course = course.clone();
        let again_in = self.pause(turn.now);
        let generation = course.release.generation;
        turn.report(RolloutFact::NotPublished { generation, error, again_in });
        match (course.way, &self.live) {
            (Way::Forward, None) => self.wait_again(course.release, turn.now),
            (Way::Forward, Some(live)) => {
                let live = Arc::clone(live);
                self.go(live, Way::Undo(course.release), turn);
            }
            (way @ (Way::Back(_) | Way::Undo(_)), _) => {
                self.phase = Phase::Stuck(Course { way, ..course }, turn.now + again_in);
            }
        }
    }

    /// Back to what was live.
    fn go(&mut self, live: Arc<Release>, way: Way, turn: &mut Turn<'_>) {
        let release = Arc::clone(&live);
        self.phase = Phase::Publishing(Course { release, way });
        turn.effects.push(Effect::Restore(live));
    }

    fn process_settled(&mut self, turn: &mut Turn<'_>) {
        match std::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::Moving(course, actions) if actions.is_empty() => self.reacted(course, turn),
            Phase::Moving(course, actions) => {
                self.phase = Phase::Acting(course, actions.len());
                turn.effects.extend(actions.into_iter().map(Effect::Act));
            }
            Phase::HandingOver(course) => {
                self.phase = Phase::Moving(course, Vec::new());
                self.arrive(turn);
            }
            // A process that settles by itself, restarted after a crash, is no part of a rollout.
            other @ (Phase::Idle
            | Phase::Pausing(_)
            | Phase::Staging(_)
            | Phase::Checking(..)
            | Phase::Publishing(_)
            | Phase::Stuck(..)
            | Phase::Acting(..)
            | Phase::Trying(..)) => self.phase = other,
        }
    }

    fn acted(&mut self, turn: &mut Turn<'_>) {
        match std::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::Acting(course, 1) => self.reacted(course, turn),
            Phase::Acting(course, left) => self.phase = Phase::Acting(course, left.saturating_sub(1)),
            other @ (Phase::Idle
            | Phase::Pausing(_)
            | Phase::Staging(_)
            | Phase::Checking(..)
            | Phase::Publishing(_)
            | Phase::Stuck(..)
            | Phase::Moving(..)
            | Phase::Trying(..)
            | Phase::HandingOver(_)) => self.phase = other,
        }
    }

    /// All reacted: is the process well?
    fn reacted(&mut self, course: Course, turn: &mut Turn<'_>) {
        match (&course.way, &self.rules.probe) {
            (Way::Forward, Some(probe)) => {
                let mut trial = Trial::begin(probe, self.attempt, turn.now);
                if self.is_ready {
                    trial.told_ready();
                }
                self.phase = Phase::Trying(course, Box::new(trial));
                self.try_on(turn);
            }
            (Way::Forward, None) | (Way::Back(_) | Way::Undo(_), _) => {
                self.phase = Phase::Moving(course, Vec::new());
                self.arrive(turn);
            }
        }
    }

    fn tried(&mut self, attempt: u64, result: Result<(), String>, turn: &mut Turn<'_>) {
        if let Phase::Trying(_, trial) = &mut self.phase {
            trial.answered(attempt, result);
            self.try_on(turn);
        }
    }

    fn process_ready(&mut self, turn: &mut Turn<'_>) {
        self.is_ready = true;
        if let Phase::Trying(_, trial) = &mut self.phase {
            trial.told_ready();
            self.try_on(turn);
        }
    }

    fn try_on(&mut self, turn: &mut Turn<'_>) {
        let Phase::Trying(course, trial) = &mut self.phase else { return };
        let step = trial.step(turn.now);
        self.attempt = trial.attempt();
        match step {
            None => {}
            Some(Step::Try(attempt)) => turn.effects.push(Effect::Try(attempt)),
            Some(Step::Healthy) if self.rules.overlaps => {
                self.phase = Phase::HandingOver(course.clone());
                turn.effects.push(Effect::HandOver);
            }
            Some(Step::Healthy) => {
                self.phase = Phase::Moving(course.clone(), Vec::new());
                self.arrive(turn);
            }
            Some(Step::Unhealthy(why)) => {
                let release = Arc::clone(&course.release);
                self.fail(release, why, turn);
            }
        }
    }

    /// Whoever was on its way is where it was to go.
    fn arrive(&mut self, turn: &mut Turn<'_>) {
        let Phase::Moving(course, _) = std::mem::replace(&mut self.phase, Phase::Idle) else { return };
        match course.way {
            Way::Forward => self.commit(course.release, turn),
            Way::Back(failed) => {
                let again_in = self.pause(turn.now);
                let (from, to) = (failed.generation, course.release.generation);
                turn.report(RolloutFact::TakenBack { from, to, again_in });
                self.take_back(failed.generation, turn);
            }
            Way::Undo(failed) => {
                self.failures = self.failures.saturating_sub(1);
                self.pause(turn.now);
                self.wait_again(failed, turn.now);
            }
        }
    }

    fn process_down(&mut self, why: String, turn: &mut Turn<'_>) {
        self.is_down = true;
        match &self.phase {
            Phase::Moving(course, _)
            | Phase::Acting(course, _)
            | Phase::Trying(course, _)
            | Phase::HandingOver(course) => {
                if let Way::Forward = course.way {
                    let release = Arc::clone(&course.release);
                    self.fail(release, why, turn);
                }
            }
            Phase::Idle
            | Phase::Pausing(_)
            | Phase::Staging(_)
            | Phase::Checking(..)
            | Phase::Publishing(_)
            | Phase::Stuck(..) => {}
        }
    }

    /// The process cannot live with it: back, if what it had before lives.
    fn fail(&mut self, release: Arc<Release>, why: String, turn: &mut Turn<'_>) {
        let generation = release.generation;
        turn.report(RolloutFact::Unhealthy { generation, why });
        let dead = self.renewed(&release).into_iter();
        let dead =
            dead.filter(|secret| release.former_ends.get(secret).is_some_and(|ends| *ends <= turn.now));
        let dead: Vec<_> = dead.collect();
        match &self.live {
            Some(live) if dead.is_empty() => {
                let live = Arc::clone(live);
                self.go(live, Way::Back(release), turn);
            }
            Some(_) | None => {
                self.phase = Phase::Idle;
                self.is_down = false;
                self.live = Some(release);
                turn.report(RolloutFact::NoWayBack { generation, dead });
                turn.effects.push(Effect::Forced(generation));
                turn.effects.push(Effect::OnTrial(false));
                if self.rules.overlaps {
                    turn.effects.push(Effect::HandOver);
                }
            }
        }
    }

    fn commit(&mut self, release: Arc<Release>, turn: &mut Turn<'_>) {
        let generation = release.generation;
        self.failures = 0;
        self.chores.free_before(&release, self.rules.grace, turn.now);
        self.live = Some(release);
        turn.report(RolloutFact::Committed { generation });
        if self.rules.probe.is_some() && self.rules.has_process {
            turn.effects.push(Effect::OnTrial(false));
        }
        turn.effects.push(Effect::Committed(generation));
    }

    fn due(&mut self, turn: &mut Turn<'_>) {
        match &self.phase {
            Phase::Stuck(course, until) if *until <= turn.now => {
                let course = course.clone();
                turn.effects.push(Effect::Restore(Arc::clone(&course.release)));
                self.phase = Phase::Publishing(course);
            }
            Phase::Trying(..) => self.try_on(turn),
            Phase::Idle
            | Phase::Pausing(_)
            | Phase::Staging(_)
            | Phase::Checking(..)
            | Phase::Publishing(_)
            | Phase::Stuck(..)
            | Phase::Moving(..)
            | Phase::Acting(..)
            | Phase::HandingOver(_) => {}
        }
    }
}

/// One event: when it came, and what follows from it.
struct Turn<'a> {
    now: Instant,
    effects: &'a mut Vec<Effect>,
}

impl Turn<'_> {
    fn report(&mut self, fact: RolloutFact) {
        self.effects.push(Effect::Report(fact.into()));
    }
}
