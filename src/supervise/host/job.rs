//! Squire and the child as one job: they stop together, and continue together.
//!
//! *Invariant:* a process that was stopped with Squire is continued once.

use nix::sys::signal::Signal;
use nix::unistd::Pid;

use super::{Host, Report, Streams, send};
use crate::supervise::{signals, terminal};

impl Host {
    /// Handles the signals of job control among these.
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

    /// The user stopped the child from the terminal: Squire stops with it, as one job, and both continue together.
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

    /// Somebody stops Squire as a job: the child is stopped too, and both continue together. Process 1 cannot be stopped, so it only waits
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

    /// The SIGCONT that ends the stop is reported afterwards like every signal. If it is not reported, the fact that Squire runs again
    /// counts as SIGCONT.
    fn stop(&mut self) {
        terminal::stop();
        if !self.signals.hears_of_continuing() {
            self.resume();
        }
    }

    /// Squire continues, and so do the processes that were stopped with it.
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
