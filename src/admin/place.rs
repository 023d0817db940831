//! The socket: where it is, who may use it.
//!
//! Who attacks: another user of the machine, who puts something at its place before Squire comes, or connects to it; a neighbour container
//! that shares the directory or the network. So a file is made with mode 0600, what stands at its place is replaced only if it is a socket
//! of our own that nobody listens to, and both sides ask the kernel for the user of the other.

use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use nix::unistd::geteuid;

use crate::config::{Config, MountKind, SocketConfig};

/// The longest path of a socket, in bytes: what fits into `sun_path` with its end (unix(7)).
const LONGEST_PATH: usize = 107;

/// The name of the socket in a directory that Squire writes anyway. The output directory's own names begin with two dots as well.
const FILE: &str = "..admin";

/// Where the socket is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A file.
    File(PathBuf),
    /// A name that is in no file system: of this network namespace.
    Name(String),
}

/// Why there is no socket, or no way to it.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum PlaceError {
    #[error("{} is longer than the {LONGEST_PATH} bytes that a socket may have: set agent.socket to a shorter path", path.display())]
    TooLong { path: PathBuf },
    #[error("{} is there already, and is no socket that squire left: remove it, or set agent.socket to another path", path.display())]
    Taken { path: PathBuf },
    #[error("another squire listens at {}: each needs its own agent.socket", path.display())]
    InUse { path: PathBuf },
    #[error("{place}: the other side is user {uid}, who is neither this user nor root")]
    Stranger { place: Place, uid: u32 },
    #[error("{place}: {source}")]
    System { place: Place, source: io::Error },
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Name(name) => write!(f, "@{name}"),
        }
    }
}

impl Place {
    /// The place that a configuration means. Without a setting that is beside the ledger, or in the output directory, since Squire writes
    /// there anyway; else, and where the output is mounted for Squire alone, it is a name made of the configuration's own path.
    /// `None` if there is to be no socket.
    pub fn of(config: &Config, file: Option<&Path>, variable: Option<String>) -> Option<Self> {
        match &config.agent.socket {
            SocketConfig::Nowhere => return None,
            SocketConfig::At(path) => return Some(Self::File(path.clone())),
            SocketConfig::Usual => {}
        }
        if let Some(text) = variable.filter(|text| !text.is_empty()) {
            return Some(Self::parse(&text));
        }
        let is_private = config.mount.as_ref().is_some_and(|mount| mount.kind == MountKind::Private);
        let output = config.output.dir.as_ref().filter(|_| !is_private);
        let ledger = config.agent.ledger.as_ref().map(|ledger| &ledger.directory);
        match (ledger.or(output), file) {
            (Some(directory), _) => Some(Self::File(directory.join(FILE))),
            (None, Some(file)) => {
                let file = fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
                let digest = blake3::hash(file.as_os_str().as_encoded_bytes()).to_hex();
                Some(Self::Name(format!("squire-{}-{}", geteuid(), &digest[..16])))
            }
            (None, None) => None,
        }
    }

    /// Removes what a Squire that was killed left where the socket would be with other settings.
    pub fn sweep(&self, config: &Config) {
        let ledger = config.agent.ledger.as_ref().map(|ledger| &ledger.directory);
        let others = ledger.into_iter().chain(&config.output.dir).map(|directory| directory.join(FILE));
        for path in others.filter(|path| *self != Self::File(path.clone()) && path.exists()) {
            let other = Self::File(path.clone());
            // What is not ours, or listened to, stays.
            drop(other.address().and_then(|address| other.clear(&path, &address)));
        }
    }

    /// As `SQUIRE_SOCKET` and `--socket` have it: a path, or `@NAME`.
    pub fn parse(text: &str) -> Self {
        text.strip_prefix('@').map_or_else(|| Self::File(text.into()), |name| Self::Name(name.to_owned()))
    }

    /// The directory that has to be written to.
    pub fn directory(&self) -> Option<&Path> {
        match self {
            Self::File(path) => path.parent(),
            Self::Name(_) => None,
        }
    }

    fn address(&self) -> Result<SocketAddr, PlaceError> {
        match self {
            Self::File(path) if path.as_os_str().len() > LONGEST_PATH => {
                Err(PlaceError::TooLong { path: path.clone() })
            }
            Self::File(path) => SocketAddr::from_pathname(path).map_err(|source| self.failed(source)),
            Self::Name(name) => SocketAddr::from_abstract_name(name).map_err(|source| self.failed(source)),
        }
    }

    fn failed(&self, source: io::Error) -> PlaceError {
        PlaceError::System { place: self.clone(), source }
    }

    /// Listens here.
    ///
    /// # Errors
    /// [`PlaceError`]: what stands in the way, and the way out.
    pub fn bind(&self) -> Result<Bound, PlaceError> {
        let address = self.address()?;
        let listener = match (UnixListener::bind_addr(&address), self) {
            (Err(error), Self::File(path)) if error.kind() == ErrorKind::AddrInUse => {
                self.clear(path, &address)?;
                UnixListener::bind_addr(&address)
            }
            (result, _) => result,
        };
        let listener = listener.map_err(|source| self.failed(source))?;
        if let Self::File(path) = self {
            // Nobody else is let in before this: whoever connects is asked for its user.
            fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(|source| self.failed(source))?;
        }
        listener.set_nonblocking(true).map_err(|source| self.failed(source))?;
        Ok(Bound { listener, place: self.clone() })
    }

    /// Removes the socket of a Squire that was killed.
    fn clear(&self, path: &Path, address: &SocketAddr) -> Result<(), PlaceError> {
        let what = fs::symlink_metadata(path).map_err(|source| self.failed(source))?;
        if !what.file_type().is_socket() || what.uid() != geteuid().as_raw() {
            return Err(PlaceError::Taken { path: path.to_owned() });
        }
        match UnixStream::connect_addr(address) {
            Ok(_) => Err(PlaceError::InUse { path: path.to_owned() }),
            Err(_) => fs::remove_file(path).map_err(|source| self.failed(source)),
        }
    }

    /// Connects to whoever listens here.
    ///
    /// # Errors
    /// [`PlaceError`]: nobody listens, or somebody who is not this user.
    pub fn connect(&self) -> Result<UnixStream, PlaceError> {
        let stream = UnixStream::connect_addr(&self.address()?).map_err(|source| self.failed(source))?;
        self.know(&stream)?;
        Ok(stream)
    }

    /// The other side has to be this user, or root.
    ///
    /// # Errors
    /// [`PlaceError::Stranger`]
    pub fn know(&self, stream: &impl std::os::fd::AsFd) -> Result<(), PlaceError> {
        let peer = getsockopt(stream, PeerCredentials).map_err(|errno| self.failed(errno.into()))?;
        if peer.uid() == 0 || peer.uid() == geteuid().as_raw() {
            Ok(())
        } else {
            Err(PlaceError::Stranger { place: self.clone(), uid: peer.uid() })
        }
    }
}

/// A socket that is listened to. Its file goes with it.
#[derive(Debug)]
pub struct Bound {
    /// The socket; it never waits.
    pub listener: UnixListener,
    /// Where it is.
    pub place: Place,
}

impl Drop for Bound {
    fn drop(&mut self) {
        if let Place::File(path) = &self.place {
            // A successor of ours may have put its own there; then ours is no longer the one that is asked.
            drop(fs::remove_file(path));
        }
    }
}
