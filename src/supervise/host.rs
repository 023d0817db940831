//! The main thread: it forks, signals and reaps for as long as Squire lives, and handles the signals that Squire gets.
//!
//! The agent, on its own thread, sends [`Order`]s and gets [`Report`]s. Only this thread waits for processes, so that no exit status is
//! lost: no other part of Squire may use `std::process` or wait by itself.
//!
//! In `host/`: `orders` has the messages, `start` starts processes, `job` stops and continues together with the child, `left` ends the
//! processes that a child leaves behind.
//!
//! *Invariant:* every process that was reported as started is reported as exited, once. A signal goes only to a group whose leader has not
//! been reaped, so never to another process that got its number.

mod job;
mod left;
mod orders;
mod start;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::ops::ControlFlow;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::LONGEST_STOP;
use super::cgroup::{Cgroup, Cgroups};
use super::child::{self, Change, Surroundings};
use super::listen::Listeners;
use super::ready::ReadySocket;
use super::signals::Signals;
use super::strays::{self, Strays};
use super::tail::Tail;
use super::terminal;
use super::watchdog::Watchdog;
use crate::config::Limit;
use left::Left;

pub use super::child::Streams;
pub use orders::{HostError, Order, Orders, Report, Ticket};

/// What Squire passes on to the processes that it starts.
#[derive(Debug, Default)]
pub struct Endowment {
    /// Squire's own environment.
    pub environment: Vec<(OsString, OsString)>,
    /// The sockets of a child.
    pub listeners: Listeners,
    /// Limits that Squire lowered for itself, with their first values.
    pub limits: Vec<Limit>,
    /// The time from stop signal to SIGKILL when the main thread itself stops a process.
    pub stop_timeout: Duration,
}

/// The state of the main thread. There may be only one in a process: two would take each other's exit statuses.
pub struct Host {
    surroundings: Surroundings,
    signals: Signals,
    orders: Receiver<Order>,
    wake: UnixStream,
    report: Box<dyn Fn(Report) + Send>,
    /// The processes that were started and are not yet reaped.
    running: BTreeMap<Pid, Running>,
    /// Leaders that are reaped while others of their group are still there. As long as they are, no other process gets the group's number.
    left: BTreeMap<Pid, Left>,
    /// Children that were stopped with Squire, or instead of it, and continue with the next SIGCONT.
    suspended: BTreeSet<Pid>,
    strays: Strays,
    cgroups: Cgroups,
    watchdog: Watchdog,
}

/// A process that was started.
struct Running {
    ticket: Ticket,
    streams: Streams,
    stop_signal: Signal,
    is_killed: bool,
    /// The pipe with its output, if that is wanted.
    tail: Option<Tail>,
    /// The socket on which it says that it is ready, if that is wanted.
    ready: Option<ReadySocket>,
    cgroup: Option<Cgroup>,
}

impl Host {
    /// Takes over the signals of the process. Call it on the main thread before any other thread is started.
    ///
    /// `report` is called on the main thread and must not block.
    pub fn new(
        endowment: Endowment,
        report: Box<dyn Fn(Report) + Send>,
    ) -> Result<(Self, Orders), HostError> {
        let prepare = |doing| move |cause| HostError::Prepare { doing, cause };
        let null = File::open("/dev/null").map_err(prepare("open /dev/null"))?;
        let (way, orders, wake) = orders::way().map_err(prepare("make a pair of sockets"))?;
        let (signals, inheritance) = Signals::take().map_err(prepare("take over the signals"))?;
        let strays = Strays::adopt().map_err(|errno| prepare("adopt orphans")(errno.into()))?;
        let watchdog = Watchdog::new(endowment.stop_timeout);
        let surroundings =
            Surroundings { endowment, signals: inheritance, null, hands_over_terminal: terminal::is_ours() };
        let host = Self {
            surroundings,
            signals,
            orders,
            wake,
            report,
            running: BTreeMap::new(),
            left: BTreeMap::new(),
            suspended: BTreeSet::new(),
            strays,
            cgroups: Cgroups::find(),
            watchdog,
        };
        Ok((host, way))
    }

    /// Works until [`Order::End`].
    pub fn run(mut self) -> Result<(), HostError> {
        let ended = self.work();
        match ended {
            Err(HostError::Unanswered { .. }) => self.kill_all(),
            Ok(()) | Err(_) => self.stop_all()?,
        }
        ended
    }

    /// Stops the processes as the agent would have done, if the agent's thread is gone. A signal that asks for the end does not wait for
    /// that.
    fn stop_all(&mut self) -> Result<(), HostError> {
        let stop_timeout = self.surroundings.endowment.stop_timeout;
        let kill_at = Instant::now() + stop_timeout.min(LONGEST_STOP);
        for (leader, running) in &self.running {
            let signal =
                if running.streams == Streams::Inherited { running.stop_signal } else { Signal::SIGKILL };
            send(*leader, signal);
            send(*leader, Signal::SIGCONT);
        }
        let mut killed_at = None;
        while !self.running.is_empty() || !self.left.is_empty() {
            let now = Instant::now();
            let is_hurried = self.signals.pending().into_iter().any(super::ends);
            if killed_at.is_none() && (is_hurried || kill_at <= now) {
                self.kill_all();
                killed_at = Some(now);
            }
            if killed_at.is_some_and(|at| at + KILLED_WITHIN <= now) {
                return Ok(());
            }
            self.wait(Some(killed_at.map_or(kill_at, |at| at + KILLED_WITHIN)))?;
            self.reap();
        }
        Ok(())
    }

    fn kill_all(&mut self) {
        for (leader, running) in &mut self.running {
            running.cgroup.iter().for_each(Cgroup::kill);
            send(*leader, Signal::SIGKILL);
            running.is_killed = true;
        }
        strays::kill_everybody_else();
        let now = Instant::now();
        for (leader, left) in &mut self.left {
            left.kill(*leader, now);
            left.hurry_strays(now);
        }
    }

    fn work(&mut self) -> Result<(), HostError> {
        loop {
            self.wait(self.watchdog.deadline())?;
            let came = self.signals.pending();
            for signal in &came {
                self.watchdog.signalled(*signal, Instant::now());
            }
            self.heard(&came);
            self.reap();
            if self.obey()?.is_break() {
                return Ok(());
            }
            if let Some(signal) = self.watchdog.verdict(Instant::now()) {
                return Err(HostError::Unanswered { signal });
            }
        }
    }

    /// Sleeps until there is a signal or an order, or until this time. Both pipes are emptied before signals and orders are read, so none
    /// is missed.
    fn wait(&mut self, until: Option<Instant>) -> Result<(), HostError> {
        let timeout = if self.left.is_empty() {
            until.map_or(PollTimeout::NONE, timeout)
        } else {
            LOOK_EVERY_MS.into()
        };
        let tails = self.running.values().filter_map(|running| running.tail.as_ref()?.pipe());
        let ready = self.running.values().filter_map(|running| Some(running.ready.as_ref()?.fd()));
        let heard = [self.signals.as_fd(), self.wake.as_fd()].into_iter().chain(tails).chain(ready);
        let mut heard: Vec<_> = heard.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        match poll(&mut heard, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(cause) => return Err(HostError::Wait { cause }),
        }
        self.running.values_mut().filter_map(|running| running.tail.as_mut()).for_each(Tail::drain);
        for (process, Running { ticket, ready, .. }) in &self.running {
            if ready.as_ref().is_some_and(|ready| ready.hear(*process)) {
                (self.report)(Report::Ready { ticket: *ticket });
            }
        }
        while matches!(self.wake.read(&mut [0; 64]), Ok(1..)) {}
        Ok(())
    }

    /// Reaps every process that has ended. Processes that are not known here are orphans, or were refused.
    fn reap(&mut self) {
        while let Some((pid, change)) = child::reap() {
            match change {
                Change::Ended(ending) => self.ended(pid, ending),
                Change::Stopped => self.stopped(pid),
            }
        }
        self.look_after_the_left(Instant::now());
    }

    /// Carries out all orders; breaks at the order to end.
    fn obey(&mut self) -> Result<ControlFlow<()>, HostError> {
        loop {
            let order = self.orders.try_recv();
            if order.is_ok() {
                self.watchdog.answered();
            }
            match order {
                Ok(Order::Spawn { ticket, launch, streams }) => self.spawn(ticket, &launch, streams),
                Ok(Order::Rehearse { ticket, launch }) => {
                    let result = child::rehearse(&launch, &self.surroundings);
                    (self.report)(Report::Rehearsed { ticket, result });
                }
                Ok(Order::Signal { ticket, signal }) => self.signal(ticket, signal),
                Ok(Order::Disband { ticket, grace }) => self.disband(ticket, grace),
                Ok(Order::Kill { ticket }) => self.signal(ticket, Signal::SIGKILL),
                Ok(Order::End) => return Ok(ControlFlow::Break(())),
                Err(TryRecvError::Empty) => return Ok(ControlFlow::Continue(())),
                Err(TryRecvError::Disconnected) => return Err(HostError::Abandoned),
            }
        }
    }

    fn signal(&mut self, ticket: Ticket, signal: Signal) {
        let kills = signal == Signal::SIGKILL;
        let children = self.running.values().filter(|running| running.streams == Streams::Inherited).count();
        if let Some((leader, running)) = self.running.iter_mut().find(|(_, running)| running.ticket == ticket)
        {
            running.is_killed |= kills;
            if kills {
                running.cgroup.iter().for_each(Cgroup::kill);
            }
            if kills && running.streams == Streams::Inherited && children == 1 {
                strays::kill_everybody_else();
            }
            return send(*leader, signal);
        }
        if let Some((leader, left)) = self.left.iter_mut().find(|(_, left)| left.ticket == ticket) {
            if kills {
                left.kill(*leader, Instant::now());
            } else {
                send(*leader, signal);
            }
        }
    }
}

/// No event tells when the last process of a group without a leader is gone: so the group is checked this often, in milliseconds.
const LOOK_EVERY_MS: u8 = 20;

/// How long to wait for killed processes.
const KILLED_WITHIN: Duration = Duration::from_secs(5);

/// The time from now on, rounded up, so that it has passed when the wait is over.
pub(super) fn timeout(until: Instant) -> PollTimeout {
    let left = until.saturating_duration_since(Instant::now()).as_millis().saturating_add(1);
    PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
}

fn send(leader: Pid, signal: Signal) {
    if let Err(error) = killpg(leader, signal) {
        tracing::warn!(%leader, %signal, %error, "cannot signal a process group");
    }
}
