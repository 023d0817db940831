//! The sockets that Squire holds for its process: connections wait in their backlog while the process is restarted.
//!
//! Each new process gets them as the descriptors 3 and up, announced as by systemd: `LISTEN_FDS`, and `LISTEN_PID` with its own number.
//!
//! *Invariant:* a socket file of Squire's is removed when the sockets are closed; a socket on which a process listens is never replaced.

use std::fs;
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use nix::sys::socket::{Backlog, listen};

use crate::config::Listen;

/// The sockets, in the order of the configuration.
#[derive(Debug, Default)]
pub struct Listeners {
    sockets: Vec<OwnedFd>,
    files: Vec<PathBuf>,
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
}

impl Listeners {
    /// Binds every socket, with the largest backlog that the system allows.
    pub fn bind(wanted: &[Listen]) -> Result<Self, ListenError> {
        let mut listeners = Self::default();
        for socket in wanted {
            match socket {
                Listen::Tcp(address) => listeners.bind_tcp(address)?,
                Listen::Unix(path) => listeners.bind_unix(path)?,
            }
        }
        Ok(listeners)
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
        Listeners::bind(&[Listen::Unix(path.to_owned())])
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
        let error = Listeners::bind(&[Listen::Tcp(address.clone())]).unwrap_err();
        assert_eq!(error.to_string(), format!("cannot listen on {address}"));
    }
}
