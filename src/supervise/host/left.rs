//! Ends the processes that a child leaves behind: first the others of its group, then those that left the group.
//!
//! *Invariant:* a child is reported as exited once: when no process of its tree is left, or when those that are left cannot be killed.

use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Pid, getpgid};

use super::{Host, KILLED_WITHIN, Report, Running, Streams, Ticket, send};
use crate::supervise::cgroup::Cgroup;
use crate::supervise::{Ending, LONGEST_STOP, strays, terminal};

/// What is left of a child.
pub(super) struct Left {
    pub(super) ticket: Ticket,
    ending: Ending,
    pub(super) cgroup: Option<Cgroup>,
    /// Its group got SIGTERM, and gets SIGKILL at this time.
    kill_at: Option<Instant>,
    /// It got SIGKILL. After this time Squire no longer waits: a process that nobody reaps would never be gone.
    give_up_at: Option<Instant>,
    /// The time when the strays got SIGTERM.
    strays_asked_at: Option<Instant>,
}

impl Host {
    pub(super) fn ended(&mut self, pid: Pid, ending: Ending) {
        let Some(running) = self.running.remove(&pid) else { return };
        self.suspended.remove(&pid);
        let Running { ticket, streams, is_killed, tail, cgroup, stop_signal: _, ready: _ } = running;
        if let Some(tail) = tail {
            // The code says so too where a shell waited for who was killed.
            let was_killed = (129..=192).contains(&ending.code());
            (self.report)(Report::Said { ticket, tail: tail.last_lines(was_killed) });
        }
        if streams != Streams::Inherited {
            return (self.report)(Report::Exited { ticket, ending });
        }
        if matches!(ending, Ending::Signal(libc::SIGINT | libc::SIGQUIT)) && terminal::is_of(pid) {
            (self.report)(Report::Interrupted { ticket });
        }
        terminal::take_back(pid);
        if group_lives(pid) {
            (self.report)(Report::Left { ticket, ending });
        }
        // A child that was killed had been asked to end before, and so had its tree: the strays are not asked again.
        let strays_asked_at = if is_killed { Instant::now().checked_sub(STRAYS_HAVE) } else { None };
        self.left
            .insert(pid, Left { ticket, ending, cgroup, kill_at: None, give_up_at: None, strays_asked_at });
    }

    /// Sends SIGTERM to the processes that a child left in its group, and gives them this long. A stopped process handles it only when it
    /// is continued.
    pub(super) fn disband(&mut self, ticket: Ticket, grace: Duration) {
        let Some((leader, left)) = self.left.iter_mut().find(|(_, left)| left.ticket == ticket) else {
            return;
        };
        if group_lives(*leader) {
            send(*leader, Signal::SIGTERM);
            send(*leader, Signal::SIGCONT);
        }
        left.kill_at = Some(Instant::now() + grace.min(LONGEST_STOP));
    }

    /// A child is gone when its group is gone, and so is every other process of its tree.
    pub(super) fn look_after_the_left(&mut self, now: Instant) {
        if self.left.is_empty() {
            return;
        }
        let (running, left) = (&self.running, &mut self.left);
        let groups: Vec<Pid> = left.keys().chain(running.keys()).copied().collect();
        let is_known =
            |pid| running.contains_key(&pid) || getpgid(Some(pid)).is_ok_and(|group| groups.contains(&group));
        // While another child runs beside this one, Squire cannot tell whose an orphan is.
        let is_alone = !running.values().any(|running| running.streams == Streams::Inherited);
        let strays = if is_alone { self.strays.look(is_known) } else { Vec::new() };
        let gone = |leader: &Pid, left: &mut Left| left.is_gone(*leader, &strays, now);
        for (_, Left { ticket, ending, .. }) in left.extract_if(.., gone) {
            (self.report)(Report::Exited { ticket, ending });
        }
    }
}

impl Left {
    /// Kills everything that is left, and waits only a short time for it.
    pub(super) fn kill(&mut self, leader: Pid, now: Instant) {
        self.cgroup.iter().for_each(Cgroup::kill);
        if group_lives(leader) {
            send(leader, Signal::SIGKILL);
        }
        self.kill_at = None;
        self.give_up_at = Some(now + KILLED_WITHIN);
    }

    /// The time of the strays is over, too.
    pub(super) fn hurry_strays(&mut self, now: Instant) {
        self.strays_asked_at = now.checked_sub(STRAYS_HAVE);
    }

    fn is_gone(&mut self, leader: Pid, strays: &[Pid], now: Instant) -> bool {
        if group_lives(leader) {
            if self.kill_at.is_some_and(|at| at <= now) {
                tracing::warn!(group = %leader, "what the process left in its group did not end when it was asked to");
                self.kill(leader, now);
            }
            if self.give_up_at.is_none_or(|at| now < at) {
                return false;
            }
        }
        strays.is_empty() || self.hurry(strays, now)
    }

    /// Sends SIGTERM to the strays, and later SIGKILL. Returns whether to stop waiting.
    fn hurry(&mut self, strays: &[Pid], now: Instant) -> bool {
        let asked_at = *self.strays_asked_at.get_or_insert_with(|| {
            strays::send(strays, Signal::SIGTERM);
            now
        });
        if now < asked_at + STRAYS_HAVE {
            return false;
        }
        strays::send(strays, Signal::SIGKILL);
        self.cgroup.iter().for_each(Cgroup::kill);
        let gives_up = asked_at + STRAYS_HAVE + KILLED_WITHIN <= now;
        if gives_up {
            let strays = strays.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
            tracing::error!(strays, "cannot end what the process left behind");
        }
        gives_up
    }
}

/// The time of the strays from SIGTERM to SIGKILL, once the child and its group are gone.
const STRAYS_HAVE: Duration = Duration::from_secs(1);

fn group_lives(leader: Pid) -> bool {
    killpg(leader, None) != Err(Errno::ESRCH)
}
