//! The transaction that takes the process from one release to the next: stage, check, publish, react, try, then commit or go back.
//!
//! ```text
//! Rendered ─▶ stage ─▶ rehearse ─▶ check ─▶ publish ─▶ react ─▶ try ─▶ commit; after `grace`, leases of only the former are freed
//!               │         │          │                   │       │
//!               └─────────┴──────────┴─ never visible    └───────┴─▶ back: publish the live one, react; new values are rejected
//! ```
//!
//! There is one rollout at a time; a newer release replaces the one that waits. If no process could be started with a release, or if it
//! fails its checks, it was never visible. If its process is not well with it, it is taken back, unless a replaced value has ended: then
//! Squire cannot go back, and says so.
//!
//! *Invariants:* pure. A release is committed only after it was published, every reaction to it is done, and the process proved to be well
//! with it. No lease of a generation is freed before a later one is committed.

mod chores;
mod course;
#[cfg(test)]
mod explored;
pub mod probe;
mod reactions;
pub mod stranger;
#[cfg(test)]
mod tests;
mod trial;
mod vocabulary;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::config::{Action, RunCommand};
use crate::credential;
use crate::fact::RolloutFact;
use crate::names::{Generation, Revision, SecretName};
use crate::render::Release;
use crate::snapshot::Former;
use crate::status::Step;

use chores::Chores;
use trial::Trial;
pub use vocabulary::{Effect, Event, Rules, Ruling};

/// How long a superseded generation stays for readers that are slow.
pub const READERS_HAVE: Duration = Duration::from_secs(10);

/// The pause after a failed rollout doubles between these bounds.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// A rollout whose present values end before its pause is over begins this long before that end, or a fifth of the time that there was.
const IN_TIME: Duration = Duration::from_mins(2);

/// Without a probe, a process that was restarted because of a release has to run this long with it. A program that cannot log in with its
/// new credential ends within that time; a program that takes longer to find out needs a probe.
const SHORT_LIFE: Duration = Duration::from_secs(3);

/// The rollouts of one agent.
#[derive(Clone, Debug)]
pub struct Rollout {
    rules: Rules,
    relaunch: Relaunch,
    phase: Phase,
    waiting: Option<Waiting>,
    /// The release that was committed last.
    live: Option<Arc<Release>>,
    /// The release that readers see: the live one, or one that is on trial.
    shown: Option<Arc<Release>>,
    process: Seen,
    failures: u32,
    /// When the last rollout failed.
    failed_at: Option<Instant>,
    /// Whether rollouts are allowed now.
    is_open: bool,
    /// Whether an operator holds rollouts.
    on_hold: bool,
    /// The next rollout is an operator's wish: it waits neither for the window nor for the end of a hold.
    is_wished: bool,
    /// The last generation that was logged as waiting for the window, or for the end of a hold.
    held_up: Option<Generation>,
    /// The number of the latest try.
    attempt: u64,
    /// The number of the latest action.
    action: u64,
    chores: Chores,
}

/// Whether the process is started anew with the next release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Relaunch {
    /// If the rules say so.
    AsRuled,
    /// Whatever they say: the release is of another process.
    InAnyCase,
}

/// What a rollout knows of the process.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    /// It ended while a release was on trial.
    is_down: bool,
    /// It said that it is ready, or nothing was asked of it since it last did.
    is_ready: bool,
    /// Its supervisor was told that a release is on trial.
    on_trial: bool,
}

/// A release that waits for its turn.
#[derive(Clone, Debug)]
struct Waiting {
    release: Arc<Release>,
    since: Instant,
}

#[derive(Clone, Debug)]
enum Phase {
    /// Nothing is going on.
    Idle,
    /// The last rollout failed; the next one does not begin before this time.
    Pausing(Instant),
    Staging(Arc<Release>),
    Rehearsing(Arc<Release>, Option<PathBuf>),
    /// One command runs; these are still to run.
    Checking(Arc<Release>, Option<PathBuf>, VecDeque<RunCommand>),
    Publishing(Course),
    /// The return could not be published, and is tried again at this time.
    Stuck(Course, Instant),
    /// The process reacts; these actions follow.
    Moving(Course, Vec<Action>),
    /// These actions are still going on.
    Acting(Course, BTreeMap<u64, Action>),
    Trying(Course, Box<Trial>),
    /// The process is well, and the former one is being stopped.
    HandingOver(Course),
}

/// A release on its way to the process.
#[derive(Clone, Debug)]
struct Course {
    release: Arc<Release>,
    way: Way,
    /// The process was restarted because of it.
    restarts: bool,
}

#[derive(Clone, Debug)]
enum Way {
    Forward,
    /// Back from this release, because the process was not well with it.
    Back(Arc<Release>),
    /// Back from this release, because only a part of it could be published; it is tried again.
    Undo(Arc<Release>),
}

impl Phase {
    /// The release that is being published, and the one that it replaces on the way back.
    fn releases(&self) -> [Option<&Arc<Release>>; 2] {
        match self {
            Self::Idle | Self::Pausing(_) => [None, None],
            Self::Staging(release) | Self::Rehearsing(release, _) | Self::Checking(release, ..) => {
                [Some(release), None]
            }
            Self::Publishing(course)
            | Self::Stuck(course, _)
            | Self::Moving(course, _)
            | Self::Acting(course, _)
            | Self::Trying(course, _)
            | Self::HandingOver(course) => match &course.way {
                Way::Forward => [Some(&course.release), None],
                Way::Back(from) | Way::Undo(from) => [Some(&course.release), Some(from)],
            },
        }
    }
}

impl Rollout {
    /// Every release whose values a command may have seen: the live one, and those of this rollout.
    pub fn releases(&self) -> impl Iterator<Item = &Release> {
        let held = [self.live.as_ref(), self.shown.as_ref()].into_iter().chain(self.phase.releases());
        held.flatten().map(Arc::as_ref)
    }

    /// No release is live yet. `superseded` are generations that an earlier run left for its slow readers.
    pub fn new(rules: Rules, superseded: &BTreeSet<Generation>, now: Instant) -> Self {
        let mut chores = Chores::default();
        chores.retire(superseded.iter().copied(), now);
        Self {
            rules,
            relaunch: Relaunch::AsRuled,
            phase: Phase::Idle,
            waiting: None,
            live: None,
            shown: None,
            process: Seen::default(),
            failures: 0,
            failed_at: None,
            is_open: true,
            on_hold: false,
            is_wished: false,
            held_up: None,
            attempt: 0,
            action: 0,
            chores,
        }
    }

    /// Handles an event that happened at `now`; answers with the effects to perform.
    pub fn step(&mut self, event: Event, now: Instant) -> Vec<Effect> {
        let mut effects = Vec::new();
        let turn = &mut Turn { now, effects: &mut effects };
        match event {
            Event::Rendered(release) => self.rendered(release, turn),
            Event::Staged { directory, changes } => self.staged(directory, changes, turn),
            Event::NotStaged(error) => self.not_staged(error, turn),
            Event::Rehearsed(result) => self.rehearsed(result, turn),
            Event::Checked(result) => self.checked(result, turn),
            Event::Published { changed, superseded } => self.published(&changed, superseded, turn),
            Event::NotPublished(error) => self.not_published(error, turn),
            Event::ProcessSettled => self.process_settled(turn),
            Event::ProcessDown { why, is_clean } => self.process_down(why, is_clean, turn),
            Event::ProcessReady => self.process_ready(turn),
            Event::Acted(action, result) => self.acted(action, result, turn),
            Event::NotRendered => self.is_wished = false,
            Event::Window(is_open) => self.is_open = is_open,
            Event::HoldAsked(on_hold) => self.hold(on_hold, turn),
            Event::RollbackAsked(secrets) => {
                self.drop_waiting(turn);
                self.is_wished = true;
                self.failures = 0;
                if let Phase::Pausing(_) = self.phase {
                    self.phase = Phase::Idle;
                }
                self.chores.keep(&secrets);
            }
            Event::Ruled { rules, because, relaunches } => self.ruled(*rules, because, relaunches, turn),
            Event::Tried(attempt, result) => self.tried(attempt, result, turn),
            Event::Due => self.due(turn),
        }
        self.begin(turn);
        self.chores.perform(now, &mut effects);
        effects
    }

    /// When to call [`Self::step`] with [`Event::Due`].
    pub fn deadline(&self) -> Option<Instant> {
        let must =
            self.waiting.as_ref().filter(|_| !self.is_held()).and_then(|waiting| self.must_begin(waiting));
        let phase = match &self.phase {
            Phase::Idle => must,
            Phase::Pausing(until) => {
                let may = self.waiting.is_some() && !self.is_held() && (self.is_open || self.live.is_none());
                may.then_some(*until).into_iter().chain(must).min()
            }
            Phase::Stuck(_, until) => Some(*until),
            Phase::Trying(_, trial) => Some(trial.deadline()),
            Phase::Staging(_)
            | Phase::Rehearsing(..)
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

    /// The release that readers see: a process that is started now has to get this one.
    pub fn shown(&self) -> Option<&Release> {
        self.shown.as_deref()
    }

    /// Whether a report of readiness is expected: once after each start, and after each signal.
    pub fn awaits_ready(&self) -> bool {
        !self.process.is_ready
    }

    /// The release that is on its way, and how far it is; the one that failed, on the way back.
    pub fn course(&self) -> Option<(&Release, Step)> {
        let step = match &self.phase {
            Phase::Idle | Phase::Pausing(_) => return None,
            Phase::Staging(_) => Step::Stage,
            Phase::Rehearsing(..) => Step::Rehearse,
            Phase::Checking(..) => Step::Check,
            Phase::Publishing(_) => Step::Publish,
            Phase::Stuck(..) => Step::GoBack,
            Phase::Moving(..) | Phase::Acting(..) => Step::React,
            Phase::Trying(..) => Step::Try,
            Phase::HandingOver(_) => Step::HandOver,
        };
        match self.phase.releases() {
            [_, Some(failed)] => Some((failed, Step::GoBack)),
            [release, None] => release.map(|release| (release.as_ref(), step)),
        }
    }

    /// The first of these values that nobody can go back to: it has ended, or its lease is given back, unless that still waits.
    pub fn dead<'a>(&self, former: &'a BTreeMap<SecretName, Former>, now: Instant) -> Option<&'a SecretName> {
        let is_dead = |(secret, former): &(&SecretName, &Former)| {
            let has_ended = former.ends.is_some_and(|ends| ends <= now);
            has_ended || (former.is_leased && !self.chores.is_waiting(secret))
        };
        former.iter().find(is_dead).map(|(secret, _)| secret)
    }

    /// Whether a rollout goes on.
    pub fn is_under_way(&self) -> bool {
        self.course().is_some()
    }

    /// Whether what waits may not begin, by order. The first release begins all the same: without it there is nothing to hold on to.
    fn is_held(&self) -> bool {
        self.on_hold && !self.is_wished && self.live.is_some()
    }

    fn hold(&mut self, on_hold: bool, turn: &mut Turn<'_>) {
        if self.on_hold != on_hold {
            self.on_hold = on_hold;
            self.held_up = None;
            turn.report(if on_hold { RolloutFact::OnHold } else { RolloutFact::HoldEnded });
        }
    }

    /// Whether other rules may be tried now: nothing is going on, and rollouts are allowed. An operator who goes back during a hold wishes for
    /// that alone.
    pub fn takes_rules(&self) -> bool {
        let may = self.is_open && !self.on_hold;
        self.is_at_rest() && (may || self.live.is_none())
    }

    /// Whether the last rollout failed.
    pub fn has_failed(&self) -> bool {
        matches!(self.phase, Phase::Pausing(_))
    }

    fn is_at_rest(&self) -> bool {
        matches!(self.phase, Phase::Idle | Phase::Pausing(_))
    }

    /// What failed, or waits, was made by the rules before.
    fn ruled(&mut self, rules: Rules, because: Ruling, relaunches: bool, turn: &mut Turn<'_>) {
        self.rules = rules;
        self.relaunch = if relaunches { Relaunch::InAnyCase } else { Relaunch::AsRuled };
        match because {
            Ruling::Kept => {}
            Ruling::TakenBack => self.drop_waiting(turn),
            Ruling::Tried => {
                self.drop_waiting(turn);
                (self.failures, self.failed_at) = (0, None);
                if self.has_failed() {
                    self.phase = Phase::Idle;
                }
            }
        }
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
            | Phase::Rehearsing(..)
            | Phase::Checking(..)
            | Phase::Publishing(_)
            | Phase::Stuck(..)
            | Phase::Moving(..)
            | Phase::Acting(..)
            | Phase::Trying(..)
            | Phase::HandingOver(_) => return,
        };
        if self.is_held() {
            return self.say_held(waiting.release.generation, turn);
        }
        let must = self.must_begin(&waiting);
        let (generation, is_first) = (waiting.release.generation, self.live.is_none());
        let is_pressed = must.is_some_and(|at| at <= turn.now);
        let may = self.is_open || is_first || self.is_wished;
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
        (self.waiting, self.is_wished) = (None, false);
        self.chores.make_room(&self.renewed(&release), turn.effects);
        self.phase = Phase::Staging(Arc::clone(&release));
        turn.effects.push(Effect::Stage(release));
    }

    fn say_held(&mut self, generation: Generation, turn: &mut Turn<'_>) {
        if self.held_up != Some(generation) {
            self.held_up = Some(generation);
            turn.report(RolloutFact::AwaitsRelease { generation });
        }
    }

    /// The secrets that have another value in this release than in the live one.
    pub fn renewed(&self, release: &Release) -> BTreeSet<SecretName> {
        let live = self.live.as_deref().map(|live| &live.revisions);
        let is_new = |(secret, revision): &(&SecretName, &Revision)| {
            live.is_none_or(|live| live.get(*secret) != Some(*revision))
        };
        release.revisions.iter().filter(is_new).map(|(secret, _)| secret.clone()).collect()
    }

    /// When the rollout has to begin before its pause is over, because a present value ends soon.
    fn must_begin(&self, waiting: &Waiting) -> Option<Instant> {
        let renewed = self.renewed(&waiting.release);
        let ends = renewed.iter().filter_map(|secret| waiting.release.former_ends.get(secret)).min()?;
        let margin = (ends.saturating_duration_since(waiting.since) / 5).min(IN_TIME);
        // A rollout that has just failed still waits for the shortest pause.
        let rested = self.failed_at.map_or(waiting.since, |at| at + FIRST_PAUSE);
        ends.checked_sub(margin).map(|at| at.max(waiting.since).max(rested))
    }

    fn staged(&mut self, directory: Option<PathBuf>, changes: bool, turn: &mut Turn<'_>) {
        let Phase::Staging(release) = &self.phase else { return };
        let release = Arc::clone(release);
        let is_other = changes
            || self.relaunch == Relaunch::InAnyCase
            || self.live.as_ref().is_none_or(|live| {
                live.env_digest != release.env_digest
                    || credential::differ(&live.credentials, &release.credentials)
            });
        if !is_other {
            self.phase = Phase::Checking(release, directory, VecDeque::new());
            self.check(turn);
        } else if self.rules.has_process && self.live.is_some() {
            self.phase = Phase::Rehearsing(Arc::clone(&release), directory);
            turn.effects.push(Effect::Rehearse(release));
        } else {
            // Without a running process there is nothing to lose: the start itself reports any problem.
            self.begin_checks(release, directory, turn);
        }
    }

    fn rehearsed(&mut self, result: Result<(), String>, turn: &mut Turn<'_>) {
        let Phase::Rehearsing(release, directory) = &self.phase else { return };
        let (release, directory) = (Arc::clone(release), directory.clone());
        match result {
            Ok(()) => self.begin_checks(release, directory, turn),
            Err(why) => self.not_passed(release, why, turn),
        }
    }

    fn begin_checks(&mut self, release: Arc<Release>, directory: Option<PathBuf>, turn: &mut Turn<'_>) {
        self.phase = Phase::Checking(release, directory, self.rules.checks.iter().cloned().collect());
        self.check(turn);
    }

    /// Runs the next check, or publishes.
    fn check(&mut self, turn: &mut Turn<'_>) {
        let Phase::Checking(release, directory, left) = &mut self.phase else { return };
        if let Some(command) = left.pop_front() {
            let (directory, release) = (directory.clone(), Arc::clone(release));
            return turn.effects.push(Effect::Check { command, directory, release });
        }
        let release = Arc::clone(release);
        self.phase = Phase::Publishing(Course { release, way: Way::Forward, restarts: false });
        turn.effects.push(Effect::Publish);
    }

    fn checked(&mut self, result: Result<(), String>, turn: &mut Turn<'_>) {
        let Phase::Checking(release, ..) = &self.phase else { return };
        let release = Arc::clone(release);
        match result {
            Ok(()) => self.check(turn),
            Err(why) => self.not_passed(release, why, turn),
        }
    }

    /// The release was never visible: the live one stays.
    fn not_passed(&mut self, release: Arc<Release>, why: String, turn: &mut Turn<'_>) {
        turn.effects.push(Effect::Discard);
        let again_in = self.pause(turn.now);
        let generation = release.generation;
        turn.report(RolloutFact::NotPassed { generation, why, again_in });
        if self.live.is_some() {
            self.take_back(generation, turn);
        } else {
            // There is no earlier release to keep, and the check may pass later without a new value.
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

    /// Tries the same release again, unless there is a newer one.
    fn wait_again(&mut self, release: Arc<Release>, now: Instant) {
        self.waiting.get_or_insert(Waiting { release, since: now });
    }

    fn take_back(&mut self, generation: Generation, turn: &mut Turn<'_>) {
        self.drop_waiting(turn);
        turn.effects.push(Effect::TakenBack(generation));
    }

    /// The waiting release was made with the value that is suspect now; a new one will follow.
    fn drop_waiting(&mut self, turn: &mut Turn<'_>) {
        let waiting = self.waiting.take();
        turn.effects.extend(waiting.map(|waiting| Effect::Dropped(waiting.release.generation)));
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
            | Phase::Rehearsing(..)
            | Phase::Checking(..)
            | Phase::Publishing(_)
            | Phase::Stuck(..)
            | Phase::Moving(..)
            | Phase::Acting(..)
            | Phase::HandingOver(_) => {}
        }
    }
}

/// One event: its time, and the effects that follow from it.
struct Turn<'a> {
    now: Instant,
    effects: &'a mut Vec<Effect>,
}

impl Turn<'_> {
    fn report(&mut self, fact: RolloutFact) {
        self.effects.push(Effect::Report(fact.into()));
    }
}
