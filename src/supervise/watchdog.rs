//! Watches whether the agent still answers: if it does not, the main thread ends Squire without it.
//!
//! The agent decides what a signal means. If its thread hangs, only SIGKILL could end Squire, and that would leave its processes behind. So
//! a signal that asks for the end has to be answered within a time, and a second one shortens that time.
//!
//! *Invariant:* pure.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::ONE_SIGNAL;

/// The agent may read a file that hangs for two seconds, and give its leases back for five: so it may be late by both.
const SHORTEST: Duration = Duration::from_secs(8);

/// How long after the stop timeout an answered end is over, including kills and revocations.
const OVER_WITHIN: Duration = Duration::from_secs(30);

/// How long after the first signal a live agent may take if a second signal came: it may be reading a file that hangs.
const HURRIED: Duration = Duration::from_secs(3);

/// The request, and its answer.
#[derive(Debug)]
pub(super) struct Watchdog {
    stop_timeout: Duration,
    first: Option<Instant>,
    unanswered: Option<(Signal, Instant)>,
    /// A second signal came before an answer to the first: which one, and the time until which Squire waits.
    hurried: Option<(Signal, Instant)>,
}

impl Watchdog {
    pub(super) fn new(stop_timeout: Duration) -> Self {
        Self { stop_timeout, first: None, unanswered: None, hurried: None }
    }

    /// Notes a signal.
    pub(super) fn signalled(&mut self, signal: Signal, now: Instant) {
        if !super::ends(signal) {
            return;
        }
        self.first.get_or_insert(now);
        match self.unanswered {
            None => self.unanswered = Some((signal, now)),
            Some((_, at)) if now.saturating_duration_since(at) >= ONE_SIGNAL => {
                self.hurried = Some((signal, at + HURRIED));
            }
            Some(_) => {}
        }
    }

    /// The agent sent an order, so it is alive.
    pub(super) fn answered(&mut self) {
        (self.unanswered, self.hurried) = (None, None);
    }

    /// The signal by which Squire ends without its agent, if it has to.
    pub(super) fn verdict(&self, now: Instant) -> Option<Signal> {
        let is_late = self.deadline().is_some_and(|deadline| deadline <= now);
        let late = is_late.then(|| self.unanswered.map_or(Signal::SIGTERM, |(signal, _)| signal));
        self.hurried.filter(|(_, at)| *at <= now).map(|(signal, _)| signal).or(late)
    }

    /// When there is a verdict if nothing happens.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let stop = self.stop_timeout.max(SHORTEST);
        let answered_by = self.unanswered.and_then(|(_, at)| at.checked_add(stop));
        let over_by = self.first.and_then(|at| at.checked_add(stop.saturating_add(OVER_WITHIN)));
        let hurried = self.hurried.map(|(_, at)| at);
        answered_by.into_iter().chain(over_by).chain(hurried).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::signal::Signal::{SIGHUP, SIGINT, SIGTERM};

    const STOP: Duration = Duration::from_secs(20);

    #[test]
    fn an_agent_that_answers_is_trusted_and_one_that_does_not_is_not() {
        let now = Instant::now();
        let mut dog = Watchdog::new(STOP);
        dog.signalled(SIGHUP, now);
        assert_eq!((dog.verdict(now + STOP), dog.deadline()), (None, None), "that asks for nothing");
        dog.signalled(SIGTERM, now);
        dog.signalled(SIGTERM, now + ONE_SIGNAL / 2);
        assert_eq!(dog.verdict(now + ONE_SIGNAL), None, "that was one signal");
        assert_eq!(dog.deadline(), Some(now + STOP));
        assert_eq!(dog.verdict(now + STOP), Some(SIGTERM));

        dog.answered();
        assert_eq!(dog.verdict(now + STOP), None);
        assert_eq!(dog.verdict(now + STOP + OVER_WITHIN), Some(SIGTERM), "an end has an end");
        dog.signalled(SIGINT, now + STOP);
        dog.answered();
        dog.signalled(SIGINT, now + STOP);
        assert_eq!(dog.verdict(now + STOP), None, "each was answered");
    }

    #[test]
    fn a_second_signal_is_waited_for_only_as_long_as_a_file() {
        let now = Instant::now();
        let mut dog = Watchdog::new(Duration::from_secs(1));
        dog.signalled(SIGTERM, now);
        assert_eq!(dog.deadline(), Some(now + SHORTEST), "however short the stop, an agent may be late");
        dog.signalled(SIGINT, now + ONE_SIGNAL);
        assert_eq!(dog.verdict(now + ONE_SIGNAL), None);
        assert_eq!(dog.deadline(), Some(now + HURRIED));
        assert_eq!(dog.verdict(now + HURRIED), Some(SIGINT));
    }
}
