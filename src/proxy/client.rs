//! Who is at the other end of a connection: the kernel says it.
//!
//! Who attacks: another user of the machine, who reaches the socket. The kernel knows whose process connected, and no client can say
//! otherwise. Over TCP it does not say, so whoever reaches the loopback address may ask.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::PeerCredentials;
use nix::unistd::geteuid;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::UnixStream;

use super::pace::Client;

/// Whose processes may connect, beside root's and Squire's own.
pub(crate) type Users = BTreeSet<u32>;

/// One client, for as long as it is connected.
#[derive(Clone, Debug)]
pub(super) struct Visitor {
    /// Whose rate counts.
    pub(super) client: Client,
    /// Its process, if the kernel says it.
    pub(super) process: Option<Process>,
}

/// Who may do something with a lease: whoever got it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Owner {
    /// One process, by a number that no other gets.
    Process(u64),
    /// All those whom nobody can tell apart.
    Some(Client),
}

impl Visitor {
    /// Whose its leases are.
    pub(super) fn owner(&self) -> Owner {
        self.process.as_ref().map_or(Owner::Some(self.client), |process| Owner::Process(process.0.number))
    }
}

/// A process that has not been waited for.
#[derive(Clone, Debug)]
pub(super) struct Process(Arc<Watched>);

#[derive(Debug)]
struct Watched {
    number: u64,
    end: AsyncFd<OwnedFd>,
}

/// The processes that are known, so that each takes one descriptor, however many connections and leases it has.
#[derive(Debug, Default)]
pub(super) struct Processes {
    known: Mutex<BTreeMap<i32, Weak<Watched>>>,
    next: AtomicU64,
}

/// So many entries may be of processes that are gone.
const FORGOTTEN_AT: usize = 256;

impl Processes {
    /// The process of this number; `None` if it is gone, or is one of another container.
    fn find(&self, pid: i32) -> Option<Process> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let before = known.get(&pid).and_then(Weak::upgrade).map(Process);
        // Its number may be another process's by now.
        if let Some(process) = before.filter(|process| !process.has_ended()) {
            return Some(process);
        }
        if known.len() >= FORGOTTEN_AT {
            known.retain(|_, process| process.strong_count() > 0);
        }
        let process = Process::open(pid, self.next.fetch_add(1, Ordering::Relaxed))?;
        known.insert(pid, Arc::downgrade(&process.0));
        Some(process)
    }
}

impl Process {
    fn open(pid: i32, number: u64) -> Option<Self> {
        let process = pidfd_open(Pid::from_raw(pid)?, PidfdFlags::NONBLOCK).ok()?;
        #[expect(unsafe_code, reason = "the runtime cannot know that a descriptor stays the same")]
        // SAFETY: the descriptor is owned, so it is open, and the same, until the end of what owns it.
        let watched = unsafe { AsyncFd::register_with_interest(process, Interest::READABLE) };
        Some(Self(Arc::new(Watched { number, end: watched.ok()? })))
    }

    fn has_ended(&self) -> bool {
        let mut end = [PollFd::new(self.0.end.get_ref().as_fd(), PollFlags::POLLIN)];
        // What cannot be asked is not trusted.
        poll(&mut end, PollTimeout::ZERO).map_or(true, |ready| ready > 0)
    }

    /// Returns when it has ended.
    pub(super) async fn ended(&self) {
        // An error there says that nobody can tell any more.
        drop(self.0.end.readable().await);
    }
}

/// Who connected by the socket.
///
/// # Errors
/// The user, if that one may not.
pub(super) fn by_socket(
    stream: &UnixStream,
    users: &Users,
    processes: &Processes,
) -> Result<Visitor, Stranger> {
    let peer = getsockopt(stream, PeerCredentials).map_err(|errno| Stranger::Unknown(errno.into()))?;
    let uid = peer.uid();
    if uid != 0 && uid != geteuid().as_raw() && !users.contains(&uid) {
        return Err(Stranger::User(uid));
    }
    // The kernel has no number here for a process of another container.
    let client = if peer.pid() > 0 { Client::Process(peer.pid()) } else { Client::User(uid) };
    Ok(Visitor { client, process: processes.find(peer.pid()) })
}

/// Who connected by TCP.
pub(super) fn by_address() -> Visitor {
    Visitor { client: Client::Loopback, process: None }
}

/// Who may not connect.
#[derive(Debug, thiserror::Error)]
pub(super) enum Stranger {
    #[error("user {0} is neither root, nor squire's own user, nor one of proxy.users")]
    User(u32),
    #[error("the kernel does not say who it is: {0}")]
    Unknown(io::Error),
}
