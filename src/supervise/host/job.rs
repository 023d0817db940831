//! Squire and the child as one job: they are stopped together, and go on together.
//!
//! *Invariant:* who was stopped with Squire is continued once.

use nix::sys::signal::Signal;
use nix::unistd::Pid;

use super::{Host, Report, Streams, send};
use crate::supervise::{signals, terminal};

impl Host {
    /// Signals came that are about jobs, or not.
    pub(super) fn heard(&mut self, came: &[Signal]) {
        for signal in came.iter().copied() {
            if signals::stops(signal) {
                self.stop_as_asked(signal, came.contains(&Signal::SIGCONT));
            } else if signal == Signal::SIGCONT && !self.suspended.is_empty() {
                self.resume();
            } else {
                (self.report)(Report::Signalled(signal));
            }
        }
    }

    /// The child of a terminal was stopped by its user: Squire is stopped with it, as one job, and both go on together.
    pub(super) fn stopped(&mut self, pid: Pid) {
        let is_child = self.running.get(&pid).is_some_and(|running| running.streams == Streams::Inherited);
        if !is_child || !terminal::is_of(pid) {
            return;
        }
        terminal::take_back(pid);
        self.suspended.insert(pid);
        if terminal::is_orphaned() {
            self.resume();
        } else {
            self.stop();
        }
    }

    /// Somebody stops Squire as a job: the child is stopped so too, and both go on together. Process 1 cannot be stopped, so it only waits
    /// for SIGCONT.
    fn stop_as_asked(&mut self, signal: Signal, is_undone: bool) {
        let children = self.running.iter().filter(|(_, running)| running.streams == Streams::Inherited);
        let children: Vec<Pid> = children.map(|(pid, _)| *pid).collect();
        for child in children {
            send(child, signal);
            terminal::take_back(child);
            self.suspended.insert(child);
        }
        if !is_undone {
            self.stop();
        }
    }

    /// SIGCONT, which ends it, is heard afterwards like every signal; where it is not, to go on is to have heard it.
    fn stop(&mut self) {
        terminal::stop();
        if !self.signals.hears_of_continuing() {
            self.resume();
        }
    }

    /// Squire goes on, and so does who was stopped with it.
    fn resume(&mut self) {
        for child in std::mem::take(&mut self.suspended) {
            if terminal::is_ours()
                && let Err(error) = terminal::hand_to(child)
            {
                tracing::debug!(%error, "the process goes on in the background");
            }
            send(child, Signal::SIGCONT);
        }
    }
}
