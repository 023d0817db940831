//! Who connected, as the kernel says it.

use std::fs;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::sockopt::{PeerCredentials, PeerPidfd};
use nix::sys::socket::{UnixAddr, getpeername, getsockopt};

use super::{Refusal, Scope};

/// The process at the other end.
#[derive(Debug)]
pub(super) struct Peer {
    /// In our user namespace; one from outside of it is the overflow user there, and never root.
    pub(super) user: u32,
    /// In our namespace of processes; 0 if it is in none that is ours or below.
    process: i32,
    /// The abstract address that it bound, without the zero at its beginning.
    pub(super) address: Option<Vec<u8>>,
    /// The process itself, whatever has its number by now. `None` where the kernel does not know this (Linux 6.5).
    itself: Result<Option<OwnedFd>, Errno>,
}

impl Peer {
    /// The one that connected. `None` if the kernel does not say it.
    pub(super) fn of(stream: &(impl AsFd + AsRawFd)) -> Option<Self> {
        let peer = getsockopt(stream, PeerCredentials).ok()?;
        let bound: Option<UnixAddr> = getpeername(stream.as_raw_fd()).ok();
        let address = bound.as_ref().and_then(UnixAddr::as_abstract).map(<[u8]>::to_vec);
        let itself = match getsockopt(stream, PeerPidfd) {
            Ok(itself) => Ok(Some(itself)),
            Err(Errno::ENOPROTOOPT) => Ok(None),
            Err(errno) => Err(errno),
        };
        Some(Self { user: peer.uid(), process: peer.pid(), address, itself })
    }

    /// Whether it is a process of this unit.
    pub(super) fn require_unit(&self, scope: Scope, unit: &str) -> Result<(), Refusal> {
        let unknown = |why: &str| Refusal::NoGroup { why: why.to_owned() };
        if self.process <= 0 {
            return Err(unknown("it has a process number of elsewhere"));
        }
        let read = |process: i32| {
            let path = format!("/proc/{process}/cgroup");
            fs::read_to_string(&path).map_err(|error| unknown(&format!("{path}: {error}")))
        };
        let (group, manager) = (read(self.process)?, read(1)?);
        // What was read may be about another process, to which the number went, if this one has ended.
        match &self.itself {
            Ok(itself) if itself.as_ref().is_none_or(is_alive) => scope.is_of(unit, &group, &manager),
            Ok(_) | Err(_) => Err(unknown("it has ended")),
        }
    }
}

/// Its descriptor can be read once it has ended.
fn is_alive(process: &OwnedFd) -> bool {
    let mut asked = [PollFd::new(process.as_fd(), PollFlags::POLLIN)];
    poll(&mut asked, PollTimeout::ZERO) == Ok(0)
}
