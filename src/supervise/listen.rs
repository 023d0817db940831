//! The sockets that Squire holds for its process: connections wait in their backlog while the process is restarted.
//!
//! Each new process gets them as the descriptors 3 and up, announced as by systemd: `LISTEN_FDS`, and `LISTEN_PID` with its own number.
//! First come those that Squire itself got so from its service manager (socket activation), with their names in `LISTEN_FDNAMES`.
//!
//! *Invariant:* a socket file of Squire's is removed when the sockets are closed; a socket on which a process listens is never replaced.

use std::fs;
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use nix::sys::socket::{Backlog, listen};

use crate::config::Listen;

/// The name of a socket that has none (`sd_listen_fds(3)`).
const UNNAMED: &str = "unknown";

/// The sockets: those of the service manager in its order, then those of the configuration in its order.
#[derive(Debug, Default)]
pub struct Listeners {
    sockets: Vec<OwnedFd>,
    files: Vec<PathBuf>,
    /// Of those that came from the service manager, which are the first.
    names: Vec<String>,
}

/// Why a socket cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The system refuses it.
    #[error("cannot listen on {socket}")]
    Bind {
        /// As it is written, without its scheme.
        socket: String,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// Another file is there.
    #[error("cannot listen on {}: it is there and no socket; remove it, or choose another path", path.display())]
    Occupied {
        /// The path of the socket.
        path: PathBuf,
    },
    /// A process listens on the socket there.
    #[error("cannot listen on {}: somebody listens there already", path.display())]
    InUse {
        /// The path of the socket.
        path: PathBuf,
    },
    /// `LISTEN_FDS` and what belongs to it are not as the service manager writes them.
    #[error("cannot take over the sockets of the service manager (LISTEN_FDS)")]
    HandedOver(#[source] io::Error),
}

impl Listeners {
    /// Takes over the sockets that the service manager started Squire with; there are none if `LISTEN_PID` names another process, such as
    /// one that Squire's variables came from. Call it once, since these descriptors belong to nobody else.
    #[expect(
        unsafe_code,
        reason = "descriptors that another process put at given numbers have no owner here yet"
    )]
    pub fn handed_over() -> Result<Self, ListenError> {
        let mut listeners = Self::default();
        // Names that are another process's are not compared with the number of our own sockets.
        if sd_notify::listen_fds().map_err(ListenError::HandedOver)?.len() == 0 {
            return Ok(listeners);
        }
        let handed_over = sd_notify::listen_fds_with_names().map_err(ListenError::HandedOver)?;
        for (socket, name) in handed_over {
            // SAFETY: it is open, since its flags could be set, and by the protocol it was put there for this process alone.
            listeners.sockets.push(unsafe { OwnedFd::from_raw_fd(socket) });
            listeners.names.push(name);
        }
        Ok(listeners)
    }

    /// Binds every socket, with the largest backlog that the system allows, after those that are there.
    pub fn bind(mut self, wanted: &[Listen]) -> Result<Self, ListenError> {
        for socket in wanted {
            match socket {
                Listen::Tcp(address) => self.bind_tcp(address)?,
                Listen::Unix(path) => self.bind_unix(path)?,
            }
        }
        Ok(self)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.sockets.is_empty()
    }

    /// The sockets, for Squire itself. Those of the configuration keep their files.
    pub fn into_sockets(mut self) -> Vec<OwnedFd> {
        std::mem::take(&mut self.sockets)
    }

    /// The names of all, where some came from the service manager: `LISTEN_FDNAMES`.
    pub(super) fn names(&self) -> Option<String> {
        let named = self.names.iter().map(String::as_str);
        let all: Vec<_> = named.chain(std::iter::repeat(UNNAMED)).take(self.sockets.len()).collect();
        (!self.names.is_empty()).then(|| all.join(":"))
    }

    /// The descriptors to pass on.
    pub(super) fn sockets(&self) -> impl ExactSizeIterator<Item = BorrowedFd<'_>> {
        self.sockets.iter().map(AsFd::as_fd)
    }

    fn bind_tcp(&mut self, address: &str) -> Result<(), ListenError> {
        let failed = |cause| ListenError::Bind { socket: address.to_owned(), cause };
        let socket = TcpListener::bind(address).map_err(failed)?;
        listen(&socket, Backlog::MAXCONN).map_err(|errno| failed(errno.into()))?;
        self.sockets.push(socket.into());
        Ok(())
    }

    fn bind_unix(&mut self, path: &Path) -> Result<(), ListenError> {
        let failed = |cause| ListenError::Bind { socket: path.display().to_string(), cause };
        clear(path, failed)?;
        let socket = UnixListener::bind(path).map_err(failed)?;
        listen(&socket, Backlog::MAXCONN).map_err(|errno| failed(errno.into()))?;
        self.files.push(path.to_owned());
        self.sockets.push(socket.into());
        Ok(())
    }
}

/// Removes a socket on which no process listens any more.
fn clear(path: &Path, failed: impl Fn(io::Error) -> ListenError) -> Result<(), ListenError> {
    let Ok(found) = fs::symlink_metadata(path) else { return Ok(()) };
    if !found.file_type().is_socket() {
        return Err(ListenError::Occupied { path: path.to_owned() });
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(failed)
        }
        Ok(_) | Err(_) => Err(ListenError::InUse { path: path.to_owned() }),
    }
}

impl Drop for Listeners {
    fn drop(&mut self) {
        for file in &self.files {
            if let Err(error) = fs::remove_file(file) {
                tracing::warn!(file = %file.display(), %error, "socket not removed");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unix(path: &Path) -> Result<Listeners, ListenError> {
        Listeners::default().bind(&[Listen::Unix(path.to_owned())])
    }

    #[test]
    fn a_stale_socket_is_replaced_and_a_living_one_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("app.sock");
        let living = unix(&path).unwrap();
        assert!(matches!(unix(&path), Err(ListenError::InUse { .. })));
        drop(living);
        assert!(!path.exists(), "its file goes with it");
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists() && unix(&path).is_ok());
        fs::write(&path, "not a socket").unwrap();
        assert!(matches!(unix(&path), Err(ListenError::Occupied { .. })));
    }

    #[test]
    fn a_port_that_is_taken_is_an_error_that_names_it() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap().to_string();
        let error = Listeners::default().bind(&[Listen::Tcp(address.clone())]).unwrap_err();
        assert_eq!(error.to_string(), format!("cannot listen on {address}"));
    }
}
