//! The commands that reactions run: each once, each with its time.
//!
//! *Invariant:* pure. A command that was started is reported as ended exactly once.

use std::collections::BTreeMap;
use std::time::Instant;

use super::Effect;
use crate::config::RunCommand;
use crate::fact::ProcessFact;
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
    /// `None` once it was killed for taking too long.
    kill_at: Option<Instant>,
}

impl Commands {
    pub(super) fn start(&mut self, ticket: Ticket, command: RunCommand, now: Instant) -> [Effect; 2] {
        let RunCommand { command, timeout } = command;
        let program = command.first().cloned().unwrap_or_default();
        self.running.insert(ticket, Running { program: program.clone(), kill_at: now.checked_add(timeout) });
        let launch = Launch::new(command, BTreeMap::new());
        [
            Effect::Report(ProcessFact::CommandStarted { program }.into()),
            Effect::Order(Order::Spawn { ticket, launch, streams: Streams::Aside }),
        ]
    }

    /// It ended, or could not be started. Nothing if the ticket is no command's.
    pub(super) fn ended(&mut self, ticket: Ticket, result: Result<(), String>) -> Option<ProcessFact> {
        let Running { program, kill_at } = self.running.remove(&ticket)?;
        Some(match result {
            Ok(()) => ProcessFact::CommandDone { program },
            Err(_) if kill_at.is_none() => {
                ProcessFact::CommandFailed { program, error: "took too long and was killed".to_owned() }
            }
            Err(error) => ProcessFact::CommandFailed { program, error },
        })
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

    /// Squire ends: so do they.
    pub(super) fn kill(&mut self) -> Vec<Effect> {
        let tickets = std::mem::take(&mut self.running).into_keys();
        tickets.map(|ticket| Effect::Order(Order::Kill { ticket })).collect()
    }
}
