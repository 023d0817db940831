//! The main thread: it forks, signals and reaps for as long as Squire lives, and takes the signals that Squire gets.
//!
//! The agent, on its own thread, sends [`Order`]s and hears [`Report`]s. One thread waits for every process, so that nobody
//! steals a status: no other part of Squire may use `std::process` or wait by itself.
//!
//! *Invariant:* every process that was reported as started is reported as exited, once; a signal goes only to a group whose
//! leader has not been reaped, so never to a stranger who got its number.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::ops::ControlFlow;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender, TryRecvError};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Pid, getpgid};

use super::cgroup::{Cgroup, Cgroups};
use super::child::{self, Change, Ends, Surroundings};
use super::listen::Listeners;
use super::ready::ReadySocket;
use super::signals::Signals;
use super::strays::{self, Strays};
use super::tail::Tail;
use super::terminal;
use super::watchdog::Watchdog;
use super::{Ending, LONGEST_STOP, Launch, Refusal};
use crate::config::Limit;

pub use super::child::Streams;

/// Names one process from the order to spawn it on. Whoever orders chooses it, a new one each time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// What the agent asks for.
#[derive(Debug)]
pub enum Order {
    /// Start a process in its own group; answered by `Started` or `Refused`.
    Spawn {
        /// Its name from now on.
        ticket: Ticket,
        /// What to run.
        launch: Launch,
        /// What it is connected to.
        streams: Streams,
    },
    /// Find out whether a child could be started; answered by `Rehearsed`.
    Rehearse {
        /// The name of the question.
        ticket: Ticket,
        /// What would be run.
        launch: Launch,
    },
    /// Send a signal to its group. Nothing happens when it has exited.
    Signal {
        /// Whose group.
        ticket: Ticket,
        /// Which one.
        signal: Signal,
    },
    /// Send SIGKILL to its group. Nothing happens when it has exited.
    Kill {
        /// Whose group.
        ticket: Ticket,
    },
    /// Leave the loop. What still runs is stopped first: by its own stop signal, in its time.
    End,
}

/// What the agent is told.
#[derive(Clone, Debug)]
pub enum Report {
    /// The program runs.
    Started {
        /// Which process.
        ticket: Ticket,
        /// Its number, which is also its group's.
        pid: Pid,
    },
    /// The program does not run.
    Refused {
        /// Which process.
        ticket: Ticket,
        /// Why.
        refusal: Refusal,
    },
    /// A process that was given a socket for it says that it is ready.
    Ready {
        /// Which process.
        ticket: Ticket,
    },
    /// The process ended, but others of its group live on; `Exited` comes when they are gone. Only for a child.
    Left {
        /// Which process.
        ticket: Ticket,
        /// How it ended.
        ending: Ending,
    },
    /// The process ended; of a child, its whole group.
    Exited {
        /// Which process.
        ticket: Ticket,
        /// How.
        ending: Ending,
    },
    /// What a captured process wrote at last; comes before its `Exited`. May hold secrets.
    Said {
        /// Which process.
        ticket: Ticket,
        /// The last lines, as they were written.
        tail: Vec<u8>,
    },
    /// The user ended the child from the terminal: its `Exited`, which follows, was asked for.
    Interrupted {
        /// Which process.
        ticket: Ticket,
    },
    /// Whether a child could be started.
    Rehearsed {
        /// Of which question.
        ticket: Ticket,
        /// Why not.
        result: Result<(), Refusal>,
    },
    /// Squire got a signal.
    Signalled(Signal),
}

/// Why the main thread cannot do its work.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// At start.
    #[error("cannot {doing}")]
    Prepare {
        /// What was being done.
        doing: &'static str,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// Later.
    #[error("cannot wait for signals and orders")]
    Wait {
        /// What the system said.
        #[source]
        cause: Errno,
    },
    /// Every [`Orders`] is gone, and none has ordered the end: the agent's thread panicked.
    #[error("the agent ended without a word")]
    Abandoned,
    /// The agent did not answer to a signal that asked for the end: its thread hangs. Everything that was started was killed.
    #[error("the agent did not answer to {signal}, and all that it had started was killed")]
    Unanswered {
        /// The signal.
        signal: Signal,
    },
}

/// The agent's end: how orders reach the main thread.
#[derive(Clone, Debug)]
pub struct Orders {
    // Dropped before `wake`, so that the loop, woken by the end of one, sees the end of the other.
    sender: Sender<Order>,
    wake: Arc<UnixStream>,
}

impl Orders {
    /// Hands over an order; never blocks. One that comes after [`Order::End`] is for nobody and is dropped.
    pub fn send(&self, order: Order) {
        if self.sender.send(order).is_ok() {
            // It fails when the buffer is full of calls that are still to be heard, or when nobody is left to hear.
            (&*self.wake).write_all(&[0]).ok();
        }
    }
}

/// What Squire was given itself, or made, for whatever it starts.
#[derive(Debug, Default)]
pub struct Endowment {
    /// Squire's own environment.
    pub environment: Vec<(OsString, OsString)>,
    /// The sockets of a child.
    pub listeners: Listeners,
    /// Limits that Squire lowered for itself, as they were.
    pub limits: Vec<Limit>,
    /// How long a process has from its stop signal to SIGKILL where the main thread stops it by itself.
    pub stop_timeout: Duration,
}

/// The main thread's work. One a process: two would steal each other's statuses.
pub struct Host {
    surroundings: Surroundings,
    signals: Signals,
    orders: Receiver<Order>,
    wake: UnixStream,
    report: Box<dyn Fn(Report) + Send>,
    /// Those that were started and are not yet reaped.
    running: BTreeMap<Pid, Running>,
    /// Leaders that are reaped while others of their group live on. Its number stays theirs for as long as they do.
    left: BTreeMap<Pid, Left>,
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
    /// What it writes, where that is wanted.
    tail: Option<Tail>,
    /// Where it says that it is ready, where that is wanted.
    ready: Option<ReadySocket>,
    cgroup: Option<Cgroup>,
}

/// What is left of a child: first of its group, then what had left that.
struct Left {
    ticket: Ticket,
    ending: Ending,
    /// It was killed, and is not waited for after this: what nobody reaps would be waited for for ever.
    give_up_at: Option<Instant>,
    /// When the strays were asked to end.
    strays_asked_at: Option<Instant>,
    cgroup: Option<Cgroup>,
}

impl Host {
    /// Takes over the signals of the process. To be called on the main thread before any other is started.
    ///
    /// `report` is called on the main thread and must not block.
    pub fn new(
        endowment: Endowment,
        report: Box<dyn Fn(Report) + Send>,
    ) -> Result<(Self, Orders), HostError> {
        let prepare = |doing| move |cause| HostError::Prepare { doing, cause };
        let null = File::open("/dev/null").map_err(prepare("open /dev/null"))?;
        let (wake, caller) = wake_up().map_err(prepare("make a pair of sockets"))?;
        let (signals, inheritance) = Signals::take().map_err(prepare("take over the signals"))?;
        let (sender, orders) = mpsc::channel();
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
            strays,
            cgroups: Cgroups::find(),
            watchdog,
        };
        Ok((host, Orders { sender, wake: Arc::new(caller) }))
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

    /// What the agent would have stopped, had it not gone first: as it would have done. A signal that asks for the end is not waited for.
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
        let running = self.running.iter().map(|(leader, running)| (leader, &running.cgroup));
        let left = self.left.iter().map(|(leader, left)| (leader, &left.cgroup));
        for (leader, cgroup) in running.chain(left) {
            cgroup.iter().for_each(Cgroup::kill);
            send(*leader, Signal::SIGKILL);
        }
        strays::kill_everybody_else();
        let now = Instant::now();
        for left in self.left.values_mut() {
            left.give_up_at = Some(now + KILLED_WITHIN);
            left.strays_asked_at = now.checked_sub(STRAYS_HAVE);
        }
        self.running.values_mut().for_each(|running| running.is_killed = true);
    }

    fn work(&mut self) -> Result<(), HostError> {
        loop {
            self.wait(self.watchdog.deadline())?;
            for signal in self.signals.pending() {
                self.watchdog.signalled(signal, Instant::now());
                if matches!(signal, Signal::SIGTSTP | Signal::SIGTTIN | Signal::SIGTTOU) {
                    self.stop_as_asked(signal);
                } else {
                    (self.report)(Report::Signalled(signal));
                }
            }
            self.reap();
            if self.obey()?.is_break() {
                return Ok(());
            }
            if let Some(signal) = self.watchdog.verdict(Instant::now()) {
                return Err(HostError::Unanswered { signal });
            }
        }
    }

    /// Sleeps until a signal or an order has come, or this time. Both pipes are emptied before their news is looked at, so none is missed.
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

    /// Collects everyone who has ended. Strangers are orphans, and refused processes.
    fn reap(&mut self) {
        while let Some((pid, change)) = child::reap() {
            match change {
                Change::Ended(ending) => self.ended(pid, ending),
                Change::Stopped => self.stopped(pid),
            }
        }
        self.look_after_the_left(Instant::now());
    }

    fn ended(&mut self, pid: Pid, ending: Ending) {
        let Some(running) = self.running.remove(&pid) else { return };
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
        self.left.insert(pid, Left { ticket, ending, give_up_at: None, strays_asked_at, cgroup });
    }

    /// The child of a terminal was stopped by its user: Squire is stopped with it, as one job, and both go on together.
    fn stopped(&mut self, pid: Pid) {
        let is_child = self.running.get(&pid).is_some_and(|running| running.streams == Streams::Inherited);
        if !is_child || !terminal::is_of(pid) {
            return;
        }
        terminal::take_back(pid);
        terminal::stop_with_child();
        if let Err(error) = terminal::hand_to(pid) {
            tracing::debug!(%error, "the process goes on in the background");
        }
        send(pid, Signal::SIGCONT);
    }

    /// Somebody stops Squire as a job: the child is stopped so too, and both go on together.
    fn stop_as_asked(&self, signal: Signal) {
        let children = self.running.iter().filter(|(_, running)| running.streams == Streams::Inherited);
        let children: Vec<Pid> = children.map(|(pid, _)| *pid).collect();
        for child in &children {
            send(*child, signal);
            terminal::take_back(*child);
        }
        terminal::stop();
        for child in &children {
            if terminal::is_ours()
                && let Err(error) = terminal::hand_to(*child)
            {
                tracing::debug!(%error, "the process goes on in the background");
            }
            send(*child, Signal::SIGCONT);
        }
    }

    /// A child is gone when its group is, and everybody else of its tree.
    fn look_after_the_left(&mut self, now: Instant) {
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
        let gone = |leader: &Pid, left: &mut Left| {
            let gave_up = left.give_up_at.is_some_and(|at| at <= now);
            if group_lives(*leader) && !gave_up {
                return false;
            }
            strays.is_empty() || left.hurry(&strays, now)
        };
        for (_, Left { ticket, ending, .. }) in left.extract_if(.., gone) {
            (self.report)(Report::Exited { ticket, ending });
        }
    }

    /// Does all that was ordered by now; breaks at the order to end.
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
                Ok(Order::Kill { ticket }) => self.signal(ticket, Signal::SIGKILL),
                Ok(Order::End) => return Ok(ControlFlow::Break(())),
                Err(TryRecvError::Empty) => return Ok(ControlFlow::Continue(())),
                Err(TryRecvError::Disconnected) => return Err(HostError::Abandoned),
            }
        }
    }

    fn spawn(&mut self, ticket: Ticket, launch: &Launch, streams: Streams) {
        (self.report)(match self.started(ticket, launch, streams) {
            Ok((pid, running)) => {
                self.running.insert(pid, running);
                Report::Started { ticket, pid }
            }
            Err(refusal) => Report::Refused { ticket, refusal },
        });
    }

    fn started(&self, ticket: Ticket, launch: &Launch, streams: Streams) -> Result<(Pid, Running), Refusal> {
        let system = |doing| {
            move |cause| Refusal::System {
                program: launch.command.first().cloned().unwrap_or_default(),
                doing,
                cause,
            }
        };
        let (tail, output) = match streams {
            Streams::Captured => {
                let (tail, output) = Tail::new().map_err(system("making a pipe"))?;
                (Some(tail), Some(output))
            }
            Streams::Inherited | Streams::Aside => (None, None),
        };
        let ready = match streams {
            Streams::Inherited if launch.setting.says_ready => {
                let errno = |error: io::Error| Errno::from_raw(error.raw_os_error().unwrap_or_default());
                Some(ReadySocket::new().map_err(|error| system("making its NOTIFY_SOCKET")(errno(error)))?)
            }
            Streams::Inherited | Streams::Aside | Streams::Captured => None,
        };
        let cgroup = match streams {
            Streams::Inherited => self.cgroups.make(ticket.0),
            Streams::Aside | Streams::Captured => None,
        };
        let notify_socket = ready.as_ref().map(ReadySocket::address);
        let ends = Ends {
            streams,
            output: output.as_ref(),
            notify_socket: notify_socket.as_deref(),
            cgroup: cgroup.as_ref().map(Cgroup::procs),
        };
        let pid = child::spawn(launch, &ends, &self.surroundings)?;
        let stop_signal = launch.setting.last_signal.unwrap_or(Signal::SIGTERM);
        Ok((pid, Running { ticket, streams, stop_signal, is_killed: false, tail, ready, cgroup }))
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
            send(*leader, signal);
            if kills {
                left.cgroup.iter().for_each(Cgroup::kill);
                left.give_up_at = Some(Instant::now() + KILLED_WITHIN);
            }
        }
    }
}

impl Left {
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

/// Nobody tells when the last of a group is gone that has lost its leader: it is looked at, this often, in milliseconds.
const LOOK_EVERY_MS: u8 = 20;

/// How long who was killed is waited for.
const KILLED_WITHIN: Duration = Duration::from_secs(5);

/// From now on, rounded up, so that the time has come when it is over.
pub(super) fn timeout(until: Instant) -> PollTimeout {
    let left = until.saturating_duration_since(Instant::now()).as_millis().saturating_add(1);
    PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
}

fn group_lives(leader: Pid) -> bool {
    killpg(leader, None) != Err(Errno::ESRCH)
}

fn wake_up() -> io::Result<(UnixStream, UnixStream)> {
    let (wake, caller) = UnixStream::pair()?;
    wake.set_nonblocking(true)?;
    caller.set_nonblocking(true)?;
    Ok((wake, caller))
}

fn send(leader: Pid, signal: Signal) {
    if let Err(error) = killpg(leader, signal) {
        tracing::warn!(%leader, %signal, %error, "cannot signal a process group");
    }
}
