//! The commands that run: reactions, checks and probes of rollouts, and errands of sources, each with its timeout.
//!
//! *Invariant:* pure. A command that was started is reported as ended exactly once.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::Effect;
use crate::fact::ProcessFact;
use crate::source::OWN_PROGRAM;
use crate::supervise::Launch;
use crate::supervise::host::{Order, Streams, Ticket};

/// The commands that are running.
#[derive(Debug, Default)]
pub(super) struct Commands {
    running: BTreeMap<Ticket, Running>,
}

#[derive(Debug)]
struct Running {
    program: String,
    purpose: Purpose,
    /// `None` once it was killed because it took too long.
    kill_at: Option<Instant>,
    /// Its last output, if that is wanted.
    tail: Vec<u8>,
}

/// The purpose of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The action of this number.
    Reaction(u64),
    Check,
    /// The try of this number.
    Try(u64),
    /// An errand of a source.
    Errand,
}

/// An errand may do many rotations with many hooks.
pub(super) const LONGEST_ERRAND: Duration = Duration::from_hours(1);

/// A command that ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) program: String,
    pub(super) purpose: Purpose,
    pub(super) result: Result<(), Trouble>,
}

/// Why a command failed.
#[derive(Debug)]
pub(super) struct Trouble {
    pub(super) error: String,
    /// Its last output. It may contain secrets.
    pub(super) tail: Vec<u8>,
}

impl Commands {
    pub(super) fn start(
        &mut self,
        ticket: Ticket,
        purpose: Purpose,
        launch: Launch,
        timeout: Duration,
        now: Instant,
    ) -> [Effect; 2] {
        let program = title(&launch.command);
        let kill_at = now.checked_add(timeout);
        self.running.insert(ticket, Running { program: program.clone(), purpose, kill_at, tail: Vec::new() });
        let streams = match purpose {
            Purpose::Reaction(_) | Purpose::Errand => Streams::Aside,
            Purpose::Check | Purpose::Try(_) => Streams::Captured,
        };
        [
            Effect::Report(ProcessFact::CommandStarted { program }.into()),
            Effect::Order(Order::Spawn { ticket, launch, streams }),
        ]
    }

    /// Adds to its last output.
    pub(super) fn said(&mut self, ticket: Ticket, tail: Vec<u8>) {
        if let Some(running) = self.running.get_mut(&ticket) {
            running.tail = tail;
        }
    }

    /// A command ended, or could not be started. `None` if the ticket is no command's.
    pub(super) fn ended(&mut self, ticket: Ticket, result: Result<(), String>) -> Option<Ended> {
        let Running { program, purpose, kill_at, tail } = self.running.remove(&ticket)?;
        let result = result.map_err(|error| {
            let error = if kill_at.is_some() { error } else { "took too long and was killed".to_owned() };
            Trouble { error, tail }
        });
        Some(Ended { program, purpose, result })
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.running.values().filter_map(|running| running.kill_at).min()
    }

    pub(super) fn overdue(&mut self, now: Instant) -> Vec<Effect> {
        let overdue =
            self.running.iter_mut().filter(|(_, running)| running.kill_at.is_some_and(|at| at <= now));
        overdue
            .map(|(ticket, running)| {
                running.kill_at = None;
                Effect::Order(Order::Kill { ticket: *ticket })
            })
            .collect()
    }

    /// Squire ends, so all commands are killed.
    pub(super) fn kill(&mut self) -> Vec<Effect> {
        let tickets = std::mem::take(&mut self.running).into_keys();
        tickets.map(|ticket| Effect::Order(Order::Kill { ticket })).collect()
    }
}

/// Its name in the log. Squire starts itself by a name that stays the same when its file is replaced.
fn title(command: &[String]) -> String {
    match command {
        [own, topic, verb, ..] if own == OWN_PROGRAM => format!("squire {topic} {verb}"),
        command => command.first().cloned().unwrap_or_default(),
    }
}
