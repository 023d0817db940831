//! The socket on which a process says that it is ready, as programs do for systemd: `READY=1` to `NOTIFY_SOCKET`.
//!
//! Each process has one of its own, whose name nobody can guess, so what is said there was said by it or by what it started.
//!
//! *Invariant:* what is said and is not `READY=1` changes nothing, however long it is.

use std::fmt::Write;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// systemd's own limit for a message, in bytes.
const LONGEST_MESSAGE: usize = 4096;

/// Where one process says it.
#[derive(Debug)]
pub(super) struct ReadySocket {
    socket: UnixDatagram,
    name: String,
}

impl ReadySocket {
    /// In the abstract name space: no file is left behind, and a process of another user reaches it too.
    pub(super) fn new() -> io::Result<Self> {
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(|error| io::Error::other(error.to_string()))?;
        let mut name = "squire/".to_owned();
        for byte in random {
            // Writing to a text cannot fail.
            write!(name, "{byte:02x}").ok();
        }
        let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name)?)?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket, name })
    }

    /// As programs expect it in `NOTIFY_SOCKET`.
    pub(super) fn address(&self) -> String {
        format!("@{}", self.name)
    }

    /// Readable when something was said.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Whether it was said since the last call.
    pub(super) fn hear(&self) -> bool {
        let mut message = [0; LONGEST_MESSAGE];
        let mut is_ready = false;
        while let Ok(length) = self.socket.recv(&mut message) {
            is_ready |= message[..length].split(|byte| *byte == b'\n').any(|line| line == b"READY=1");
        }
        is_ready
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            assert_eq!(ready.hear(), expected, "{messages:?}");
            assert!(!ready.hear(), "it is heard once");
        }
    }
}
