//! The latest rollouts and the process's runs, as they were observed, for the status.
//!
//! *Invariants:* pure; it decides nothing. It holds at most [`KEPT`] rollouts.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use nix::unistd::Pid;

use crate::fact::{Fact, RolloutFact};
use crate::names::{Generation, Revision, SecretName, Trace};
use crate::status::{Clock, Outcome, ProcessStatus, RolloutStatus, Step, StepStatus};
use crate::supervise::host::Ticket;

/// So many rollouts are remembered.
const KEPT: usize = 16;

/// The latest rollouts, the newest last.
#[derive(Debug, Default)]
pub(super) struct History {
    past: VecDeque<Record>,
}

#[derive(Debug)]
struct Record {
    generation: Generation,
    trace: Trace,
    renewed: Vec<(SecretName, Revision)>,
    began: Instant,
    ended: Option<Instant>,
    outcome: Option<Outcome>,
    reason: Option<String>,
    steps: Vec<(Step, Instant)>,
}

impl History {
    /// A rollout begins.
    pub(super) fn begin(
        &mut self,
        generation: Generation,
        trace: Trace,
        renewed: Vec<(SecretName, Revision)>,
        now: Instant,
    ) {
        if self.past.len() == KEPT {
            self.past.pop_front();
        }
        let (ended, outcome, reason) = (None, None, None);
        self.past.push_back(Record {
            generation,
            trace,
            renewed,
            began: now,
            ended,
            outcome,
            reason,
            steps: vec![(Step::Stage, now)],
        });
    }

    /// The id under which this generation's rollout is known.
    pub(super) fn trace(&self, generation: Generation) -> Option<&Trace> {
        let record = self.past.iter().rev().find(|record| record.generation == generation);
        record.map(|record| &record.trace)
    }

    /// Takes what a fact says of its end.
    pub(super) fn heard(&mut self, fact: &RolloutFact) {
        let (generation, outcome, reason) = match fact {
            RolloutFact::Committed { generation } => (generation, Some(Outcome::Committed), None),
            RolloutFact::NotPassed { generation, why, .. } => {
                (generation, Some(Outcome::NotPassed), Some(why))
            }
            RolloutFact::NotPublished { generation, error, .. } => {
                (generation, Some(Outcome::NotPublished), Some(error))
            }
            RolloutFact::Unhealthy { generation, why } => (generation, None, Some(why)),
            RolloutFact::TakenBack { from, .. } => (from, Some(Outcome::TakenBack), None),
            RolloutFact::NoWayBack { generation, .. } => (generation, Some(Outcome::Forced), None),
            RolloutFact::NotRendered { .. }
            | RolloutFact::Published { .. }
            | RolloutFact::Held { .. }
            | RolloutFact::AwaitsWindow { .. }
            | RolloutFact::BeforeWindow { .. }
            | RolloutFact::OnHold
            | RolloutFact::HoldEnded
            | RolloutFact::AwaitsRelease { .. }
            | RolloutFact::RollingBack { .. }
            | RolloutFact::Over { .. }
            | RolloutFact::NotDiscarded { .. }
            | RolloutFact::NotRetired { .. }
            | RolloutFact::TimedOut { .. }
            | RolloutFact::Waiting { .. }
            | RolloutFact::Hopeless { .. }
            | RolloutFact::Exposed(_)
            | RolloutFact::FormerCleared { .. }
            | RolloutFact::NotEnrolled { .. }
            | RolloutFact::Swept
            | RolloutFact::NotSwept { .. } => return,
        };
        let record = self.past.iter_mut().rev().find(|record| record.generation == *generation);
        if let Some(record) = record.filter(|record| record.ended.is_none()) {
            record.outcome = outcome.or(record.outcome);
            record.reason = reason.cloned().or(record.reason.take());
        }
    }

    /// Takes where the rollout stands now; nothing while there is none. What is over by that is a fact, with its trace.
    pub(super) fn look(&mut self, at: Option<(Generation, Step)>, now: Instant) -> Vec<Fact> {
        let mut over = Vec::new();
        for record in self.past.iter_mut().filter(|record| record.ended.is_none()) {
            match at {
                Some((generation, step)) if generation == record.generation => {
                    if record.steps.last().is_none_or(|(last, _)| *last != step) {
                        record.steps.push((step, now));
                    }
                }
                _ => {
                    record.ended = Some(now);
                    over.extend(record.over(now));
                }
            }
        }
        over
    }

    /// The rollouts, newest first.
    pub(super) fn status(&self, clock: &Clock) -> Vec<RolloutStatus> {
        self.past.iter().rev().map(|record| record.status(clock)).collect()
    }
}

impl Record {
    /// Of a rollout that a stop cut off nobody knows how it would have ended.
    fn over(&self, now: Instant) -> Option<Fact> {
        let ends = self.steps.iter().skip(1).map(|(_, at)| *at).chain([now]);
        let steps = self.steps.iter().zip(ends);
        let fact = RolloutFact::Over {
            generation: self.generation,
            outcome: self.outcome?,
            took: now.saturating_duration_since(self.began),
            steps: steps.map(|((step, began), end)| (*step, end.saturating_duration_since(*began))).collect(),
            renewed: self.renewed.clone(),
        };
        Some(Fact::Rollout(Some(self.trace.clone()), fact))
    }

    fn status(&self, clock: &Clock) -> RolloutStatus {
        let ends = self.steps.iter().skip(1).map(|(_, at)| Some(*at)).chain([self.ended]);
        let steps = self.steps.iter().zip(ends).map(|((step, began), ended)| StepStatus {
            step: *step,
            began: clock.at(*began),
            took_s: ended.map(|ended| ended.saturating_duration_since(*began).as_secs_f64()),
        });
        RolloutStatus {
            generation: self.generation,
            trace: self.trace.clone(),
            secrets: self.renewed.iter().map(|(secret, _)| secret.clone()).collect(),
            began: clock.at(self.began),
            ended: self.ended.map(|at| clock.at(at)),
            outcome: self.outcome.filter(|_| self.ended.is_some()),
            reason: self.reason.clone(),
            steps: steps.collect(),
        }
    }
}

/// The processes that run, and how the last one ended.
#[derive(Debug, Default)]
pub(super) struct Runs {
    running: BTreeMap<Ticket, (Pid, Instant)>,
    starts: u64,
    last_ending: Option<String>,
    rests_until: Option<Instant>,
}

impl Runs {
    pub(super) fn started(&mut self, ticket: Ticket, pid: Pid, now: Instant) {
        self.running.insert(ticket, (pid, now));
        self.starts += 1;
        self.rests_until = None;
    }

    /// A process ended, or could not be started.
    pub(super) fn ended(&mut self, ticket: Ticket, how: String) {
        self.running.remove(&ticket);
        self.last_ending = Some(how);
    }

    /// It is started again at this time.
    pub(super) fn rests(&mut self, until: Instant) {
        self.rests_until = Some(until);
    }

    pub(super) fn status(&self, clock: &Clock) -> ProcessStatus {
        ProcessStatus {
            pids: self.running.values().map(|(pid, _)| pid.as_raw()).collect(),
            since: self.running.values().map(|(_, since)| *since).max().map(|since| clock.at(since)),
            starts: self.starts,
            last_ending: self.last_ending.clone(),
            again_at: self.rests_until.filter(|_| self.running.is_empty()).map(|at| clock.at(at)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_is_over_is_told_once_with_each_step_and_what_was_cut_off_is_not_told() {
        let (start, generation) = (Instant::now(), Generation::FIRST);
        let after = |seconds| start + Duration::from_secs(seconds);
        let trace = Trace::new("0123");
        let renewed = vec![(SecretName::new("db"), Revision::default().next())];
        let mut history = History::default();
        history.begin(generation, trace.clone(), renewed.clone(), start);
        assert!(history.look(Some((generation, Step::Stage)), after(1)).is_empty());
        assert!(history.look(Some((generation, Step::Try)), after(2)).is_empty());
        history.heard(&RolloutFact::Committed { generation });
        let over = RolloutFact::Over {
            generation,
            outcome: Outcome::Committed,
            took: Duration::from_secs(5),
            steps: vec![(Step::Stage, Duration::from_secs(2)), (Step::Try, Duration::from_secs(3))],
            renewed,
        };
        assert_eq!(history.look(None, after(5)), [Fact::Rollout(Some(trace.clone()), over)]);
        assert!(history.look(None, after(6)).is_empty());
        history.begin(generation.next(), trace, Vec::new(), after(7));
        assert!(history.look(None, after(8)).is_empty(), "nobody knows how it would have ended");
    }
}
