//! What the agent and the main thread say to each other.
//!
//! *Invariant:* whoever orders never waits.

use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::unistd::Pid;

use crate::supervise::child::Streams;
use crate::supervise::{Ending, Launch, Refusal};

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
    /// It ended, and others of its group did not: they are sent SIGTERM, and killed when this time is over.
    Disband {
        /// Whose group.
        ticket: Ticket,
        /// From SIGTERM to SIGKILL; a year at most.
        grace: Duration,
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

/// A way for orders: the agent's end, and the main thread's, with what is readable when there is news.
pub(super) fn way() -> io::Result<(Orders, Receiver<Order>, UnixStream)> {
    let (wake, caller) = UnixStream::pair()?;
    wake.set_nonblocking(true)?;
    caller.set_nonblocking(true)?;
    let (sender, orders) = mpsc::channel();
    Ok((Orders { sender, wake: Arc::new(caller) }, orders, wake))
}
