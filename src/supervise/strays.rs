//! Strays: processes that left the child's group and are still there, such as daemons that forked twice, and orphans.
//!
//! Squire is their reaper, as process 1 or as child subreaper, so every orphan of the child's tree becomes Squire's own child. Killing
//! those, and the processes that they leave in turn, ends the whole tree. The number of an unreaped process cannot be reused, so no other
//! process is hit.
//!
//! *Invariant:* a process that was there before Squire, or that Squire started and knows, is no stray.

use crate::ordered::Order as _;
use std::collections::BTreeSet;
use std::fs;

use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getpid};

/// Children of Squire that it did not start.
#[derive(Debug)]
pub(super) struct Strays {
    /// Children that were there before: the program that became Squire by `exec` had started them.
    others: BTreeSet<Pid>,
}

impl Strays {
    /// From now on orphans become children of Squire. Call it before any process is started.
    pub(super) fn adopt() -> nix::Result<Self> {
        if getpid() != Pid::from_raw(1) {
            prctl::set_child_subreaper(true)?;
        }
        Ok(Self { others: children() })
    }

    /// The present strays, without the processes that are known.
    pub(super) fn look(&self, is_known: impl Fn(Pid) -> bool) -> Vec<Pid> {
        children().into_iter().filter(|pid| !self.others.contains(pid) && !is_known(*pid)).collect()
    }
}

/// As process 1, kills all by one call that no fork can escape: SIGKILL to every process in the PID namespace. Otherwise it does nothing.
pub(super) fn kill_everybody_else() {
    if getpid() == Pid::from_raw(1)
        && let Err(error) = kill(Pid::from_raw(-1), Signal::SIGKILL)
        && error != Errno::ESRCH
    {
        tracing::warn!(%error, "cannot kill every process of the namespace");
    }
}

/// Sends a signal to each of them. A stopped process handles it only when it is continued.
pub(super) fn send(strays: &[Pid], signal: Signal) {
    for stray in strays {
        for signal in [signal, Signal::SIGCONT] {
            match kill(*stray, signal) {
                Ok(()) | Err(Errno::ESRCH) => {}
                Err(error) => {
                    tracing::warn!(%stray, %signal, %error, "cannot signal what the process left behind");
                }
            }
        }
    }
}

/// Squire's own children: the kernel lists them for each thread.
fn children() -> BTreeSet<Pid> {
    let threads = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let lists = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    let pids =
        |list: String| list.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<i32>>();
    lists.flat_map(pids).map(Pid::from_raw).ordered()
}
