//! The socket on which a process says that it is ready, as for systemd: `READY=1` to `NOTIFY_SOCKET`.
//!
//! Each process has a socket of its own. `/proc/net/unix` shows its name to every user of the network namespace, also to all containers of
//! a pod. So Squire asks the kernel for the sender: the process itself, one of its group, and its descendants count. A short-lived one, such
//! as `systemd-notify`, may be gone before Squire looks: then its user decides. Who has the user of the process and sees it could as well
//! end it. A container beside Squire's has no number here. What is left is a container of the same user below Squire's own PID namespace
//! and in its network namespace, as one with the host's network is to a Squire on the host: it can say READY=1, and nothing else.
//!
//! *Invariant:* a message other than `READY=1`, or from another sender, changes nothing, however long and however often it comes.

use std::fmt::Write;
use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::{fs, iter};

use nix::errno::Errno;
use nix::sys::socket::sockopt::PassCred;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, UnixCredentials, recvmsg, setsockopt};
use nix::unistd::{Pid, getpgid};

/// systemd's own limit for a message, in bytes.
const LONGEST_MESSAGE: usize = 4096;

const MESSAGES_A_TURN: usize = 64;

/// The largest number of ancestors of a sender that are looked at.
const DEEPEST_TREE: usize = 64;

/// The socket of one process.
#[derive(Debug)]
pub(super) struct ReadySocket {
    socket: UnixDatagram,
    name: String,
}

impl ReadySocket {
    /// In the abstract name space: no file is left behind, and a process of another user can reach it too.
    pub(super) fn new() -> io::Result<Self> {
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(|error| io::Error::other(error.to_string()))?;
        let mut name = "squire/".to_owned();
        for byte in random {
            // Writing to a `String` cannot fail.
            write!(name, "{byte:02x}").ok();
        }
        let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name)?)?;
        socket.set_nonblocking(true)?;
        setsockopt(&socket, PassCred, &true)?;
        Ok(Self { socket, name })
    }

    /// The name for `NOTIFY_SOCKET`.
    pub(super) fn address(&self) -> String {
        format!("@{}", self.name)
    }

    /// Readable when there is a message.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Whether this process sent it since the last call. Each call reads a limited number of messages: a flood must not block the main
    /// thread.
    pub(super) fn hear(&self, process: Pid) -> bool {
        let mut is_ready = false;
        for _ in 0..MESSAGES_A_TURN {
            let Some((message, sender)) = self.next() else { break };
            let is_said = message.split(|byte| *byte == b'\n').any(|line| line == b"READY=1");
            is_ready |= is_said && sender.is_some_and(|sender| sender.belongs_to(process));
        }
        is_ready
    }

    /// The next message, and its sender.
    fn next(&self) -> Option<(Vec<u8>, Option<Sender>)> {
        let mut message = vec![0; LONGEST_MESSAGE];
        let mut parts = [IoSliceMut::new(&mut message)];
        let mut space = nix::cmsg_space!(UnixCredentials);
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
        let heard = recvmsg::<()>(self.socket.as_raw_fd(), &mut parts, Some(&mut space), flags).ok()?;
        let sender = heard.cmsgs().ok()?.find_map(|message| {
            let ControlMessageOwned::ScmCredentials(credentials) = message else { return None };
            Some(Sender { pid: Pid::from_raw(credentials.pid()), user: credentials.uid() })
        });
        let length = heard.bytes;
        message.truncate(length);
        Some((message, sender))
    }
}

/// Who sent a message, as the kernel says it.
#[derive(Clone, Copy, Debug)]
struct Sender {
    /// 0 if it is in a PID namespace that is not seen from here.
    pid: Pid,
    user: u32,
}

impl Sender {
    /// Whether it is the process, of its group, or one of its descendants; if it is gone, whether it had the same user.
    fn belongs_to(self, process: Pid) -> bool {
        let mut ancestors = iter::successors(Some(self.pid), |pid| parent(*pid)).take(DEEPEST_TREE);
        if getpgid(Some(self.pid)) == Ok(process) || ancestors.any(|ancestor| ancestor == process) {
            return true;
        }
        // Asked last: it may end while it is looked at.
        let is_gone = self.pid.as_raw() > 0 && getpgid(Some(self.pid)) == Err(Errno::ESRCH);
        is_gone && user(process) == Some(self.user)
    }
}

/// The effective user of a process.
fn user(process: Pid) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let users = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    users.split_ascii_whitespace().nth(1)?.parse().ok()
}

fn parent(pid: Pid) -> Option<Pid> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    let parent: i32 = rest.split_ascii_whitespace().nth(1)?.parse().ok()?;
    (parent > 1).then(|| Pid::from_raw(parent))
}

#[cfg(test)]
mod tests {
    use nix::unistd::{getpgrp, getpid, getppid};

    use super::*;

    #[test]
    fn only_the_process_its_group_and_what_it_started_are_heard() {
        let mut stranger = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        let other = Pid::from_raw(i32::try_from(stranger.id()).unwrap());
        let ready = ReadySocket::new().unwrap();
        let address = SocketAddr::from_abstract_name(&ready.address()[1..]).unwrap();
        let said_to = |process| {
            UnixDatagram::unbound().unwrap().send_to_addr(b"READY=1", &address).unwrap();
            ready.hear(process)
        };
        for process in [getpid(), getpgrp(), getppid()] {
            assert!(said_to(process), "{process} is the sender, or its ancestor");
        }
        assert!(!said_to(other), "the sender is no process of this one");
        stranger.kill().unwrap();
        stranger.wait().unwrap();
    }

    #[test]
    fn a_sender_that_is_gone_is_heard_if_it_had_the_same_user() {
        let ready = ReadySocket::new().unwrap();
        let mut process = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        let pid = Pid::from_raw(i32::try_from(process.id()).unwrap());
        let say = format!(
            "import socket;s=socket.socket(socket.AF_UNIX,socket.SOCK_DGRAM);s.sendto(b'READY=1', '\\0{}')",
            &ready.address()[1..]
        );
        let mut users = vec![(None, true)];
        if nix::unistd::geteuid().is_root() {
            users.push((Some(65_534), false));
        }
        for (user, expected) in users {
            let mut sender = std::process::Command::new("python3");
            user.map(|user| std::os::unix::process::CommandExt::uid(&mut sender, user));
            assert!(sender.args(["-c", &say]).status().unwrap().success());
            assert_eq!(ready.hear(pid), expected, "{user:?}");
        }
        process.kill().unwrap();
        process.wait().unwrap();
    }

    #[test]
    fn a_flood_is_heard_in_turns() {
        let ready = ReadySocket::new().unwrap();
        let address = SocketAddr::from_abstract_name(&ready.address()[1..]).unwrap();
        let sender = UnixDatagram::unbound().unwrap();
        sender.set_nonblocking(true).unwrap();
        let mut sent = 0;
        while sent < 3 * MESSAGES_A_TURN && sender.send_to_addr(b"STATUS=noise", &address).is_ok() {
            sent += 1;
        }
        let left = |ready: &ReadySocket| iter::from_fn(|| ready.next()).count();
        assert!(!ready.hear(getpid()));
        assert_eq!(left(&ready), sent.saturating_sub(MESSAGES_A_TURN));
    }

    #[test]
    fn ready_is_heard_among_other_words_and_nothing_else_is_taken_for_it() {
        let ready = ReadySocket::new().unwrap();
        let process = UnixDatagram::unbound().unwrap();
        let address = SocketAddr::from_abstract_name(&ready.address()[1..]).unwrap();
        let table: [(&[&[u8]], bool); 5] = [
            (&[], false),
            (&[b"STATUS=READY=1 soon", b"READY=10"], false),
            (&[b"READY=1"], true),
            (&[b"STATUS=up\nREADY=1\n"], true),
            (&[b"READY=1", b"STOPPING=1"], true),
        ];
        for (messages, expected) in table {
            for message in messages {
                process.send_to_addr(message, &address).unwrap();
            }
            assert_eq!(ready.hear(getpid()), expected, "{messages:?}");
            assert!(!ready.hear(getpid()), "it is heard once");
        }
    }
}
