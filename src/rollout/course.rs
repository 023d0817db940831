//! The course of a release: published, reacted to, tried, and then committed or taken back.
//!
//! *Invariant:* pure.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use super::reactions::Reactions;
use super::trial::{Step, Trial};
use super::{Course, Effect, Phase, Relaunch, Rollout, SHORT_LIFE, Turn, Way};
use crate::config::{Action, ProbeConfig, Proof};
use crate::credential;
use crate::fact::RolloutFact;
use crate::names::Generation;
use crate::ordered::Order as _;
use crate::render::Release;

impl Rollout {
    pub(super) fn published(
        &mut self,
        changed: &BTreeSet<PathBuf>,
        superseded: Option<Generation>,
        turn: &mut Turn<'_>,
    ) {
        let Phase::Publishing(course) = &self.phase else { return };
        let mut course = course.clone();
        let release = Arc::clone(&course.release);
        self.chores.retire(superseded, turn.now);
        let before = self.shown.replace(Arc::clone(&release));
        // Units may hold what an earlier run gave them, so the first release may be another one for them.
        let units_may_differ = before.as_ref().map_or(!release.credentials.is_empty(), |before| {
            credential::differ(&before.credentials, &release.credentials)
        });
        let env_changed = before.is_some_and(|before| before.env_digest != release.env_digest);
        let generation = release.generation;
        turn.report(RolloutFact::Published { generation, changed: changed.clone(), env_changed });
        let env = env_changed.then_some(&self.rules.env);
        let mut asked = Reactions::gather(&self.rules.files, changed, env);
        if units_may_differ {
            asked.units(&self.rules.units);
        }
        // A release that was never shown started nothing.
        asked.restart |= self.relaunch == Relaunch::InAnyCase && !matches!(course.way, Way::Undo(_));
        let process = self.process_reaction(&asked, &course);
        if matches!(process, Some(Effect::Start(_))) {
            // The process starts with the new values, so no signal has to tell it about them.
            asked.actions.clear();
        }
        course.restarts = matches!(process, Some(Effect::Restart(_)));
        let goes_back = !matches!(course.way, Way::Forward);
        // A refused start, with or without a probe, does not end Squire as long as it can go back.
        let is_tried = self.rules.proof.probe().is_some() || course.restarts;
        if is_tried && self.rules.has_process && !goes_back {
            self.put_on_trial(turn);
        }
        let is_same = changed.is_empty() && !env_changed && !units_may_differ && process.is_none();
        self.phase = Phase::Moving(course, asked.actions);
        let reacts = process.is_some();
        self.process.is_ready = !reacts;
        turn.effects.extend(process);
        if goes_back && self.process.on_trial {
            self.process.is_down = false;
            self.end_trial(turn);
        }
        if is_same && self.live.is_some() {
            self.arrive(turn);
        } else if !reacts {
            self.process_settled(turn);
        }
    }

    fn put_on_trial(&mut self, turn: &mut Turn<'_>) {
        self.process.on_trial = true;
        turn.effects.push(Effect::OnTrial(true));
    }

    fn end_trial(&mut self, turn: &mut Turn<'_>) {
        if std::mem::take(&mut self.process.on_trial) {
            turn.effects.push(Effect::OnTrial(false));
        }
    }

    /// The start is the reaction to the first release, and to a release that Squire goes back to when the process is down. Otherwise a
    /// restart wins over a signal.
    fn process_reaction(&self, asked: &Reactions, course: &Course) -> Option<Effect> {
        let release = Arc::clone(&course.release);
        if !self.rules.has_process {
            None
        } else if self.live.is_none() {
            Some(Effect::Start(release))
        } else if asked.restart || self.process.is_down {
            Some(Effect::Restart(release))
        } else if asked.signals.is_empty() {
            None
        } else {
            Some(Effect::Signal(asked.signals.clone()))
        }
    }

    /// Some files may have been replaced all the same: they are put back, so that they count as changed at the next try.
    pub(super) fn not_published(&mut self, error: String, turn: &mut Turn<'_>) {
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

    /// Goes back to the live release.
    fn go(&mut self, live: Arc<Release>, way: Way, turn: &mut Turn<'_>) {
        let release = Arc::clone(&live);
        self.phase = Phase::Publishing(Course { release, way, restarts: false });
        turn.effects.push(Effect::Restore(live));
    }

    pub(super) fn process_settled(&mut self, turn: &mut Turn<'_>) {
        match std::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::Moving(course, actions) if actions.is_empty() => self.reacted(course, turn),
            Phase::Moving(course, actions) => {
                let first = self.action + 1;
                let actions: BTreeMap<u64, Action> = (first..).zip(actions).ordered();
                self.action = actions.keys().next_back().copied().unwrap_or(self.action);
                turn.effects
                    .extend(actions.iter().map(|(number, action)| Effect::Act(*number, action.clone())));
                self.phase = Phase::Acting(course, actions);
            }
            Phase::HandingOver(course) => {
                self.phase = Phase::Moving(course, Vec::new());
                self.arrive(turn);
            }
            // A process that settles by itself, restarted after a crash, does not belong to a rollout.
            other @ (Phase::Idle
            | Phase::Pausing(_)
            | Phase::Staging(_)
            | Phase::Rehearsing(..)
            | Phase::Checking(..)
            | Phase::Publishing(_)
            | Phase::Stuck(..)
            | Phase::Acting(..)
            | Phase::Trying(..)) => self.phase = other,
        }
    }

    /// If a required action fails, the release is taken back.
    pub(super) fn acted(&mut self, number: u64, result: Result<(), String>, turn: &mut Turn<'_>) {
        let Phase::Acting(course, left) = &mut self.phase else { return };
        let Some(action) = left.remove(&number) else { return };
        let course = course.clone();
        match result {
            Err(why) if action.is_required && matches!(course.way, Way::Forward) => {
                self.fail(course.release, why, turn);
            }
            Ok(()) | Err(_) if left.is_empty() => self.reacted(course, turn),
            Ok(()) | Err(_) => {}
        }
    }

    /// All reactions are done: is the process well?
    fn reacted(&mut self, course: Course, turn: &mut Turn<'_>) {
        let Some(probe) = self.probe(&course, turn.now) else {
            self.phase = Phase::Moving(course, Vec::new());
            return self.arrive(turn);
        };
        let mut trial = Trial::begin(&probe, self.attempt, turn.now);
        if self.process.is_ready {
            trial.told_ready();
        }
        self.phase = Phase::Trying(course, Box::new(trial));
        self.try_on(turn);
    }

    /// The proof that the process has to give. Squire cannot go back to a value that has ended, so a trial ends before half of the time
    /// that is left to the replaced values.
    fn probe(&self, course: &Course, now: Instant) -> Option<ProbeConfig> {
        match (&course.way, &self.rules.proof) {
            (Way::Forward, Proof::Probe(probe)) => Some(probe.clone()),
            (Way::Forward, Proof::ShortLife) if course.restarts => {
                let renewed = self.renewed(&course.release);
                let ends = renewed.iter().filter_map(|secret| course.release.former_ends.get(secret)).min();
                let half = ends.map(|ends| ends.saturating_duration_since(now) / 2);
                Some(ProbeConfig::alive(half.map_or(SHORT_LIFE, |half| half.min(SHORT_LIFE))))
            }
            (Way::Forward, Proof::ShortLife | Proof::Nothing) | (Way::Back(_) | Way::Undo(_), _) => None,
        }
    }

    pub(super) fn tried(&mut self, attempt: u64, result: Result<(), String>, turn: &mut Turn<'_>) {
        if let Phase::Trying(_, trial) = &mut self.phase {
            trial.answered(attempt, result);
            self.try_on(turn);
        }
    }

    pub(super) fn process_ready(&mut self, turn: &mut Turn<'_>) {
        self.process.is_ready = true;
        if let Phase::Trying(_, trial) = &mut self.phase {
            trial.told_ready();
            self.try_on(turn);
        }
    }

    pub(super) fn try_on(&mut self, turn: &mut Turn<'_>) {
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

    /// The rollout is done: the release that was on its way is now visible, and the process runs with it.
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

    pub(super) fn process_down(&mut self, why: String, is_clean: bool, turn: &mut Turn<'_>) {
        self.process.is_down = true;
        match &self.phase {
            Phase::Moving(course, _)
            | Phase::Acting(course, _)
            | Phase::Trying(course, _)
            | Phase::HandingOver(course) => {
                let course = course.clone();
                match course.way {
                    Way::Forward if is_clean && self.rules.proof == Proof::ShortLife => {
                        self.did_its_work(turn);
                    }
                    Way::Forward => self.fail(course.release, why, turn),
                    Way::Back(_) | Way::Undo(_) => {}
                }
            }
            Phase::Idle
            | Phase::Pausing(_)
            | Phase::Staging(_)
            | Phase::Rehearsing(..)
            | Phase::Checking(..)
            | Phase::Publishing(_)
            | Phase::Stuck(..) => {}
        }
    }

    /// The process ended with exit code 0: the release is good, and no further proof is needed. The reactions of others are still
    /// performed.
    fn did_its_work(&mut self, turn: &mut Turn<'_>) {
        match std::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::Moving(course, actions) => {
                self.phase = Phase::Moving(Course { restarts: false, ..course }, actions);
                self.process_settled(turn);
            }
            Phase::Acting(course, left) => {
                self.phase = Phase::Acting(Course { restarts: false, ..course }, left);
            }
            Phase::Trying(course, _) | Phase::HandingOver(course) => {
                self.phase = Phase::Moving(course, Vec::new());
                self.arrive(turn);
            }
            other @ (Phase::Idle
            | Phase::Pausing(_)
            | Phase::Staging(_)
            | Phase::Rehearsing(..)
            | Phase::Checking(..)
            | Phase::Publishing(_)
            | Phase::Stuck(..)) => self.phase = other,
        }
    }

    /// The process is not well with the release: go back, if its previous values are still valid.
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
                self.process.is_down = false;
                self.live = Some(release);
                turn.report(RolloutFact::NoWayBack { generation, dead });
                self.drop_waiting(turn);
                turn.effects.push(Effect::Forced(generation));
                self.end_trial(turn);
                if self.rules.overlaps {
                    turn.effects.push(Effect::HandOver);
                }
            }
        }
    }

    fn commit(&mut self, release: Arc<Release>, turn: &mut Turn<'_>) {
        let generation = release.generation;
        self.failures = 0;
        self.process.is_down = false;
        self.chores.free_before(&release, self.rules.grace, turn.now);
        self.live = Some(release);
        turn.report(RolloutFact::Committed { generation });
        self.end_trial(turn);
        turn.effects.push(Effect::Committed(generation));
    }
}
