//! Who is at the other end of a connection: the kernel says it.
//!
//! Who attacks: another user of the machine, who reaches the socket. The kernel knows whose process connected, and no client can say
//! otherwise. Over TCP it does not say, so whoever reaches the loopback address may ask.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

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

/// A process that has not been waited for.
#[derive(Clone, Debug)]
pub(super) struct Process(Arc<AsyncFd<OwnedFd>>);

impl Process {
    fn open(pid: i32) -> Option<Self> {
        let process = pidfd_open(Pid::from_raw(pid)?, PidfdFlags::NONBLOCK).ok()?;
        #[expect(unsafe_code, reason = "the runtime cannot know that a descriptor stays the same")]
        // SAFETY: the descriptor is owned, so it is open, and the same, until the end of what owns it.
        let watched = unsafe { AsyncFd::register_with_interest(process, Interest::READABLE) };
        Some(Self(Arc::new(watched.ok()?)))
    }

    /// Returns when it has ended.
    pub(super) async fn ended(&self) {
        // An error there says that nobody can tell any more.
        drop(self.0.readable().await);
    }
}

/// Who connected by the socket.
///
/// # Errors
/// The user, if that one may not.
pub(super) fn by_socket(stream: &UnixStream, users: &Users) -> Result<Visitor, Stranger> {
    let peer = getsockopt(stream, PeerCredentials).map_err(|errno| Stranger::Unknown(errno.into()))?;
    let uid = peer.uid();
    if uid != 0 && uid != geteuid().as_raw() && !users.contains(&uid) {
        return Err(Stranger::User(uid));
    }
    Ok(Visitor { client: Client::Process(peer.pid()), process: Process::open(peer.pid()) })
}

/// Who connected by TCP.
pub(super) fn by_address(address: IpAddr) -> Visitor {
    Visitor { client: Client::Address(crate::webhook::network(address)), process: None }
}

/// Who may not connect.
#[derive(Debug, thiserror::Error)]
pub(super) enum Stranger {
    #[error("user {0} is neither root, nor squire's own user, nor one of proxy.users")]
    User(u32),
    #[error("the kernel does not say who it is: {0}")]
    Unknown(io::Error),
}
