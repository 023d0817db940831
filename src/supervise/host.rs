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
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::child::{self, Surroundings};
use super::signals::Signals;
use super::tail::Tail;
use super::{Ending, Launch, Refusal};

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
    /// Leave the loop. What still runs is asked to end by SIGTERM and not waited for.
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
}

/// A process that was started.
struct Running {
    ticket: Ticket,
    streams: Streams,
    /// What it writes, where that is wanted.
    tail: Option<Tail>,
}

/// What is left of a child.
struct Left {
    ticket: Ticket,
    ending: Ending,
    /// It was killed, and is not waited for after this: what nobody reaps would be waited for for ever.
    give_up_at: Option<Instant>,
}

impl Host {
    /// Takes over the signals of the process. To be called on the main thread before any other is started.
    ///
    /// `environment` is Squire's own; `report` is called on the main thread and must not block.
    pub fn new(
        environment: impl IntoIterator<Item = (OsString, OsString)>,
        report: Box<dyn Fn(Report) + Send>,
    ) -> Result<(Self, Orders), HostError> {
        let prepare = |doing| move |cause| HostError::Prepare { doing, cause };
        let null = File::open("/dev/null").map_err(prepare("open /dev/null"))?;
        let (wake, caller) = wake_up().map_err(prepare("make a pair of sockets"))?;
        let (signals, inheritance) = Signals::take().map_err(prepare("take over the signals"))?;
        let (sender, orders) = mpsc::channel();
        let environment = environment.into_iter().collect();
        let surroundings = Surroundings { environment, signals: inheritance, null };
        let host = Self {
            surroundings,
            signals,
            orders,
            wake,
            report,
            running: BTreeMap::new(),
            left: BTreeMap::new(),
        };
        Ok((host, Orders { sender, wake: Arc::new(caller) }))
    }

    /// Works until [`Order::End`].
    pub fn run(mut self) -> Result<(), HostError> {
        let ended = self.work();
        for leader in self.running.keys().chain(self.left.keys()) {
            send(*leader, Signal::SIGTERM);
            send(*leader, Signal::SIGCONT);
        }
        ended
    }

    fn work(&mut self) -> Result<(), HostError> {
        loop {
            self.wait()?;
            for signal in self.signals.pending() {
                (self.report)(Report::Signalled(signal));
            }
            self.reap();
            if self.obey()?.is_break() {
                return Ok(());
            }
        }
    }

    /// Sleeps until a signal or an order has come. Both pipes are emptied before their news is looked at, so none is missed.
    fn wait(&mut self) -> Result<(), HostError> {
        let timeout = if self.left.is_empty() { PollTimeout::NONE } else { LOOK_EVERY_MS.into() };
        let tails = self.running.values().filter_map(|running| running.tail.as_ref()?.pipe());
        let heard = [self.signals.as_fd(), self.wake.as_fd()].into_iter().chain(tails);
        let mut heard: Vec<_> = heard.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        match poll(&mut heard, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(cause) => return Err(HostError::Wait { cause }),
        }
        self.running.values_mut().filter_map(|running| running.tail.as_mut()).for_each(Tail::drain);
        while matches!(self.wake.read(&mut [0; 64]), Ok(1..)) {}
        Ok(())
    }

    /// Collects everyone who has ended. Strangers are orphans that came to Squire as process 1, and refused processes.
    fn reap(&mut self) {
        while let Some((pid, ending)) = child::reap() {
            let Some(Running { ticket, streams, tail }) = self.running.remove(&pid) else { continue };
            if let Some(tail) = tail {
                (self.report)(Report::Said { ticket, tail: tail.last_lines() });
            }
            if streams == Streams::Inherited && group_lives(pid) {
                self.left.insert(pid, Left { ticket, ending, give_up_at: None });
                (self.report)(Report::Left { ticket, ending });
            } else {
                (self.report)(Report::Exited { ticket, ending });
            }
        }
        let now = Instant::now();
        let gone = |leader: &Pid, left: &mut Left| {
            !group_lives(*leader) || left.give_up_at.is_some_and(|at| at <= now)
        };
        for (_, Left { ticket, ending, .. }) in self.left.extract_if(.., gone) {
            (self.report)(Report::Exited { ticket, ending });
        }
    }

    /// Does all that was ordered by now; breaks at the order to end.
    fn obey(&mut self) -> Result<ControlFlow<()>, HostError> {
        loop {
            match self.orders.try_recv() {
                Ok(Order::Spawn { ticket, launch, streams }) => self.spawn(ticket, &launch, streams),
                Ok(Order::Signal { ticket, signal }) => self.signal(ticket, signal),
                Ok(Order::Kill { ticket }) => self.signal(ticket, Signal::SIGKILL),
                Ok(Order::End) => return Ok(ControlFlow::Break(())),
                Err(TryRecvError::Empty) => return Ok(ControlFlow::Continue(())),
                Err(TryRecvError::Disconnected) => return Err(HostError::Abandoned),
            }
        }
    }

    fn spawn(&mut self, ticket: Ticket, launch: &Launch, streams: Streams) {
        let started = match streams {
            Streams::Inherited | Streams::Aside => {
                child::spawn(launch, streams, None, &self.surroundings).map(|pid| (pid, None))
            }
            Streams::Captured => self.spawn_captured(launch),
        };
        (self.report)(match started {
            Ok((pid, tail)) => {
                self.running.insert(pid, Running { ticket, streams, tail });
                Report::Started { ticket, pid }
            }
            Err(refusal) => Report::Refused { ticket, refusal },
        });
    }

    fn spawn_captured(&self, launch: &Launch) -> Result<(Pid, Option<Tail>), Refusal> {
        let (tail, output) = Tail::new().map_err(|cause| Refusal::System {
            program: launch.command.first().cloned().unwrap_or_default(),
            doing: "making a pipe",
            cause,
        })?;
        let pid = child::spawn(launch, Streams::Captured, Some(&output), &self.surroundings)?;
        Ok((pid, Some(tail)))
    }

    fn signal(&mut self, ticket: Ticket, signal: Signal) {
        let leader =
            self.running.iter().find(|(_, running)| running.ticket == ticket).map(|(leader, _)| *leader);
        if let Some(leader) = leader {
            return send(leader, signal);
        }
        if let Some((leader, left)) = self.left.iter_mut().find(|(_, left)| left.ticket == ticket) {
            send(*leader, signal);
            if signal == Signal::SIGKILL {
                left.give_up_at = Some(Instant::now() + KILLED_WITHIN);
            }
        }
    }
}

/// Nobody tells when the last of a group is gone that has lost its leader: it is looked at, this often, in milliseconds.
const LOOK_EVERY_MS: u8 = 20;

/// How long a group that was killed is waited for.
const KILLED_WITHIN: Duration = Duration::from_secs(1);

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
