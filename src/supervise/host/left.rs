//! What a child leaves behind when it ends: first the others of its group, then what had left that.
//!
//! *Invariant:* a child is reported as exited once, when nobody of it lives, or when those who live cannot be killed.

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
    /// Its group was asked to end, and is killed at this time.
    kill_at: Option<Instant>,
    /// It was killed, and is not waited for after this: what nobody reaps would be waited for for ever.
    give_up_at: Option<Instant>,
    /// When the strays were asked to end.
    strays_asked_at: Option<Instant>,
}

impl Host {
    pub(super) fn ended(&mut self, pid: Pid, ending: Ending) {
        let Some(running) = self.running.remove(&pid) else { return };
        self.suspended.remove(&pid);
        let Running { ticket, streams, is_killed, tail, cgroup, stop_signal: _, ready: _ } = running;
        if let Some(tail) = tail {
            (self.report)(Report::Said { ticket, tail: tail.last_lines() });
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
        // Whoever is killed was asked before, and so is all that it leaves.
        let strays_asked_at = if is_killed { Instant::now().checked_sub(STRAYS_HAVE) } else { None };
        self.left
            .insert(pid, Left { ticket, ending, cgroup, kill_at: None, give_up_at: None, strays_asked_at });
    }

    /// Asks those whom a child left in its group to end, and gives them this long. A stopped one acts on it only when it is continued.
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

    /// A child is gone when its group is, and everybody else of its tree.
    pub(super) fn look_after_the_left(&mut self, now: Instant) {
        if self.left.is_empty() {
            return;
        }
        let (running, left) = (&self.running, &mut self.left);
        let groups: Vec<Pid> = left.keys().chain(running.keys()).copied().collect();
        let is_known =
            |pid| running.contains_key(&pid) || getpgid(Some(pid)).is_ok_and(|group| groups.contains(&group));
        // Whose orphans they are cannot be told while another child runs beside this one.
        let is_alone = !running.values().any(|running| running.streams == Streams::Inherited);
        let strays = if is_alone { self.strays.look(is_known) } else { Vec::new() };
        let gone = |leader: &Pid, left: &mut Left| left.is_gone(*leader, &strays, now);
        for (_, Left { ticket, ending, .. }) in left.extract_if(.., gone) {
            (self.report)(Report::Exited { ticket, ending });
        }
    }
}

impl Left {
    /// All that is left is killed, and not waited for for long.
    pub(super) fn kill(&mut self, leader: Pid, now: Instant) {
        self.cgroup.iter().for_each(Cgroup::kill);
        if group_lives(leader) {
            send(leader, Signal::SIGKILL);
        }
        self.kill_at = None;
        self.give_up_at = Some(now + KILLED_WITHIN);
    }

    /// The strays have had their time, too.
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

    /// Asks the strays to end, then kills them. Whether to wait no longer.
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

/// How long what left the child's group has from SIGTERM to SIGKILL, once the child is gone.
const STRAYS_HAVE: Duration = Duration::from_secs(1);

fn group_lives(leader: Pid) -> bool {
    killpg(leader, None) != Err(Errno::ESRCH)
}
