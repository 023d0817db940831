//! The trial of a release: tries to find out whether the process is well, until there is one verdict.
//!
//! *Invariant:* pure. The verdict comes at `timeout` at the latest; no try begins sooner than `period` after the one before.

use std::time::Instant;

use crate::config::{ProbeConfig, ProbeKind};

/// The tries of one release.
#[derive(Clone, Debug)]
pub(super) struct Trial {
    config: ProbeConfig,
    ends: Instant,
    next: Next,
    /// The number of the latest try.
    attempt: u64,
    began: Instant,
    successes: u32,
    failures: u32,
    trouble: String,
}

#[derive(Clone, Debug, PartialEq)]
enum Next {
    Try(Instant),
    /// An answer, or the end of the trial.
    Wait,
}

/// The next step.
#[derive(Debug, PartialEq)]
pub(super) enum Step {
    /// Make a try with this number.
    Try(u64),
    Healthy,
    /// The reason.
    Unhealthy(String),
}

impl Trial {
    /// `last` is the number of the latest try of all trials.
    pub(super) fn begin(config: &ProbeConfig, last: u64, now: Instant) -> Self {
        let (lasts, next) = match &config.kind {
            ProbeKind::Alive(time) => (*time, Next::Wait),
            ProbeKind::Notify => (config.timeout, Next::Wait),
            ProbeKind::Http(_) | ProbeKind::Tcp(_) | ProbeKind::Command(_) => {
                (config.timeout, Next::Try(now))
            }
        };
        Self {
            config: config.clone(),
            ends: now + lasts,
            next,
            attempt: last,
            began: now,
            successes: 0,
            failures: 0,
            trouble: match config.kind {
                ProbeKind::Notify => "it did not say READY=1 in time".to_owned(),
                ProbeKind::Http(_) | ProbeKind::Tcp(_) | ProbeKind::Command(_) | ProbeKind::Alive(_) => {
                    "no answer in time".to_owned()
                }
            },
        }
    }

    /// The number of the latest try.
    pub(super) fn attempt(&self) -> u64 {
        self.attempt
    }

    /// The next step at this time, if any.
    pub(super) fn step(&mut self, now: Instant) -> Option<Step> {
        if self.successes >= self.config.successes {
            return Some(Step::Healthy);
        }
        if self.config.failures.is_some_and(|limit| self.failures >= limit) {
            return Some(Step::Unhealthy(self.trouble.clone()));
        }
        if self.ends <= now {
            return Some(match self.config.kind {
                ProbeKind::Alive(_) => Step::Healthy,
                ProbeKind::Http(_) | ProbeKind::Tcp(_) | ProbeKind::Command(_) | ProbeKind::Notify => {
                    Step::Unhealthy(self.trouble.clone())
                }
            });
        }
        match self.next {
            Next::Try(at) if at <= now => {
                self.next = Next::Wait;
                self.began = now;
                self.attempt += 1;
                Some(Step::Try(self.attempt))
            }
            Next::Try(_) | Next::Wait => None,
        }
    }

    /// The process says that it is ready, which counts only if the probe is `notify`.
    pub(super) fn told_ready(&mut self) {
        if self.config.kind == ProbeKind::Notify {
            self.successes = self.config.successes;
        }
    }

    /// The answer to a try. The answer to an earlier try is ignored.
    pub(super) fn answered(&mut self, attempt: u64, result: Result<(), String>) {
        if attempt != self.attempt || self.next != Next::Wait {
            return;
        }
        self.next = Next::Try(self.began + self.config.period);
        match result {
            Ok(()) => (self.successes, self.failures) = (self.successes + 1, 0),
            Err(trouble) => {
                (self.successes, self.failures) = (0, self.failures + 1);
                self.trouble = trouble;
            }
        }
    }

    pub(super) fn deadline(&self) -> Instant {
        match self.next {
            Next::Try(at) => at.min(self.ends),
            Next::Wait => self.ends,
        }
    }
}
