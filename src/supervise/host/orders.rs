//! The messages between the agent and the main thread.
//!
//! *Invariant:* sending an order never blocks.

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

/// The name of one process, from the order to spawn it on. The agent chooses it, a new one each time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// An order of the agent.
#[derive(Debug)]
pub enum Order {
    /// Start a process in its own group; answered by `Started` or `Refused`.
    Spawn {
        /// Its ticket from now on.
        ticket: Ticket,
        /// What to run.
        launch: Launch,
        /// Its standard streams.
        streams: Streams,
    },
    /// Test whether a child could be started; answered by `Rehearsed`.
    Rehearse {
        /// The ticket of the test.
        ticket: Ticket,
        /// What would be run.
        launch: Launch,
    },
    /// Send a signal to its group. Nothing happens if it has exited.
    Signal {
        /// Whose group.
        ticket: Ticket,
        /// Which one.
        signal: Signal,
    },
    /// It ended, but others of its group did not: send them SIGTERM, and SIGKILL after this time.
    Disband {
        /// Whose group.
        ticket: Ticket,
        /// The time from SIGTERM to SIGKILL; a year at most.
        grace: Duration,
    },
    /// Send SIGKILL to its group. Nothing happens if it has exited.
    Kill {
        /// Whose group.
        ticket: Ticket,
    },
    /// End the loop. Processes that still run are stopped first: by their own stop signal, within their timeout.
    End,
}

/// A report to the agent.
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
    /// A process that has a socket for it says that it is ready.
    Ready {
        /// Which process.
        ticket: Ticket,
    },
    /// The process ended, but others of its group did not; `Exited` comes when they are gone. Only for a child.
    Left {
        /// Which process.
        ticket: Ticket,
        /// How it ended.
        ending: Ending,
    },
    /// The process ended; for a child, its whole group.
    Exited {
        /// Which process.
        ticket: Ticket,
        /// How.
        ending: Ending,
    },
    /// The last output of a captured process; comes before its `Exited`. It may contain secrets.
    Said {
        /// Which process.
        ticket: Ticket,
        /// The last lines, as they were written.
        tail: Vec<u8>,
    },
    /// The user ended the child from the terminal: the `Exited` that follows was asked for.
    Interrupted {
        /// Which process.
        ticket: Ticket,
    },
    /// Whether a child could be started.
    Rehearsed {
        /// The ticket of the test.
        ticket: Ticket,
        /// The reason if not.
        result: Result<(), Refusal>,
    },
    /// Squire got a signal.
    Signalled(Signal),
}

/// Why the main thread cannot work.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// At the start.
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
    /// Every [`Orders`] was dropped, and none has sent [`Order::End`]: the agent's thread panicked.
    #[error("the agent's thread ended without an order to stop")]
    Abandoned,
    /// The agent did not answer a signal that asked for the end: its thread hangs. Every process that was started was killed.
    #[error("the agent did not answer to {signal}, and all processes that it had started were killed")]
    Unanswered {
        /// The signal.
        signal: Signal,
    },
}

/// The agent's end of the channel for orders.
#[derive(Clone, Debug)]
pub struct Orders {
    // Dropped before `wake`: the loop is woken when `wake` is closed, and then finds this channel closed too.
    sender: Sender<Order>,
    wake: Arc<UnixStream>,
}

impl Orders {
    /// Sends an order; never blocks. An order after [`Order::End`] is dropped.
    pub fn send(&self, order: Order) {
        if self.sender.send(order).is_ok() {
            // This fails if the buffer is full of wake-ups that are still unread, or if the main thread has ended.
            (&*self.wake).write_all(&[0]).ok();
        }
    }
}

/// Makes the channel for orders: the agent's end, the main thread's end, and a descriptor that is readable when there are orders.
pub(super) fn way() -> io::Result<(Orders, Receiver<Order>, UnixStream)> {
    let (wake, caller) = UnixStream::pair()?;
    wake.set_nonblocking(true)?;
    caller.set_nonblocking(true)?;
    let (sender, orders) = mpsc::channel();
    Ok((Orders { sender, wake: Arc::new(caller) }, orders, wake))
}
