//! What happens to the process and to commands.

use std::time::Duration;

use nix::sys::signal::Signal;
use tracing::{debug, error, info, warn};

use super::seconds;

/// Something that happened to the process, or to a command that a reaction runs.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the variants and their fields are the words of the log lines below")]
pub enum ProcessFact {
    Started { pid: i32 },
    Ready,
    NotStarted { error: String },
    Restarting,
    Signalled { signal: Signal },
    Killed,
    Left { ending: String },
    Exited { ending: String },
    CommandStarted { program: String },
    CommandDone { program: String },
    CommandFailed { program: String, error: String },
    ActionDone { what: String },
    ActionFailed { what: String, error: String },
    Resting { again_in: Duration },
    GaveUp { restarts: u32, period: Duration },
    Stopping { cause: String },
}

impl ProcessFact {
    /// Its name, for machines.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::Started { .. } => "process_started",
            Self::Ready => "process_ready",
            Self::NotStarted { .. } => "process_not_started",
            Self::Restarting => "process_restarting",
            Self::Signalled { .. } => "process_signalled",
            Self::Killed => "process_killed",
            Self::Left { .. } => "process_left",
            Self::Exited { .. } => "process_exited",
            Self::CommandStarted { .. } => "command_started",
            Self::CommandDone { .. } => "command_done",
            Self::CommandFailed { .. } => "command_failed",
            Self::ActionDone { .. } => "action_done",
            Self::ActionFailed { .. } => "action_failed",
            Self::Resting { .. } => "process_resting",
            Self::GaveUp { .. } => "process_gave_up",
            Self::Stopping { .. } => "process_stopping",
        }
    }

    pub(super) fn log(&self) {
        match self {
            Self::Started { pid } => info!(pid, "process started"),
            Self::Ready => info!("process says that it is ready"),
            Self::NotStarted { error } => error!(error, "process not started"),
            Self::Restarting => info!("process is restarted for a new generation"),
            Self::Signalled { signal } => info!(signal = signal.as_str(), "process signalled"),
            Self::Killed => warn!("process is killed: it did not stop in time, or was to stop at once"),
            Self::Left { ending } => info!(ending, "process exited, others of its group still run"),
            Self::Exited { ending } => info!(ending, "process exited"),
            Self::CommandStarted { program } => debug!(program, "command started"),
            Self::CommandDone { program } => info!(program, "command done"),
            Self::CommandFailed { program, error } => error!(program, error, "command failed"),
            Self::ActionDone { what } => info!(what, "reaction done"),
            Self::ActionFailed { what, error } => error!(what, error, "reaction failed"),
            Self::Resting { again_in } => {
                warn!(
                    again_in_s = seconds(*again_in),
                    "no process runs: it ended by itself or could not be started, and it will be started again"
                );
            }
            Self::GaveUp { restarts, period } => {
                error!(
                    restarts,
                    within_s = seconds(*period),
                    "process ended by itself or could not be started too often, it is not started again"
                );
            }
            Self::Stopping { cause } => info!(cause, "stopping"),
        }
    }
}
