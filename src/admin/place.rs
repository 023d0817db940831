//! The socket: where it is, who may use it.
//!
//! Who attacks: another user of the machine, who puts something at its place before Squire comes, or connects to it; a neighbour container
//! that shares the directory or the network. So a file is made with mode 0600, what stands at its place is replaced only if it is a socket
//! of our own that nobody listens to, and both sides ask the kernel for the user of the other.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread;

use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::sys::socket::sockopt::{PeerCredentials, SendTimeout};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, connect, getsockopt, listen, setsockopt,
    socket,
};
use nix::sys::stat::{Mode, fchmod, umask};
use nix::sys::time::{TimeVal, TimeValLike};
use nix::unistd::geteuid;

use crate::config::{Config, MountKind, SocketConfig};

/// The longest path of a socket, in bytes: what fits into `sun_path` with its end (unix(7)).
const LONGEST_PATH: usize = 107;

/// So many connections may wait until they are taken.
const BACKLOG: i32 = 128;

/// How many seconds a client waits until its connection is taken.
const TAKEN_WITHIN: i64 = 10;

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
    #[error("{place}: whoever listens there takes no connection: it hangs")]
    Hangs { place: Place },
    #[error("{place}: the other side is user {uid}, who is neither this user nor root")]
    Stranger { place: Place, uid: u32 },
    #[error(
        "{place}: the other side looks like user {uid}, as everybody from outside of this user namespace does: set agent.socket to a path"
    )]
    Anybody { place: Place, uid: u32 },
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

    fn address(&self) -> Result<UnixAddr, PlaceError> {
        let address = match self {
            Self::File(path) if path.as_os_str().len() > LONGEST_PATH => {
                return Err(PlaceError::TooLong { path: path.clone() });
            }
            Self::File(path) => UnixAddr::new(path),
            Self::Name(name) => UnixAddr::new_abstract(name.as_bytes()),
        };
        address.map_err(|errno| self.failed(errno))
    }

    fn failed(&self, source: impl Into<io::Error>) -> PlaceError {
        PlaceError::System { place: self.clone(), source: source.into() }
    }

    /// Listens here.
    ///
    /// # Errors
    /// [`PlaceError`]: what stands in the way, and the way out.
    pub fn bind(&self) -> Result<Bound, PlaceError> {
        self.bind_for(Mode::S_IRUSR | Mode::S_IWUSR)
    }

    /// Listens here, for those whom this mode lets in.
    ///
    /// # Errors
    /// As [`Self::bind`].
    pub fn bind_for(&self, mode: Mode) -> Result<Bound, PlaceError> {
        let address = self.address()?;
        let listener = match (listener(&address, mode), self) {
            (Err(Errno::EADDRINUSE), Self::File(path)) => {
                self.clear(path, &address)?;
                listener(&address, mode)
            }
            (result, _) => result,
        };
        let listener = UnixListener::from(listener.map_err(|errno| self.failed(errno))?);
        listener.set_nonblocking(true).map_err(|source| self.failed(source))?;
        let file = match self {
            Self::File(path) => Some(identity(path).map_err(|source| self.failed(source))?),
            Self::Name(_) => None,
        };
        Ok(Bound { listener, place: self.clone(), file })
    }

    /// Removes the socket of a Squire that was killed: one to which the kernel says that nobody has it. Never waits, since whoever listens
    /// there may hang.
    fn clear(&self, path: &Path, address: &UnixAddr) -> Result<(), PlaceError> {
        let what = fs::symlink_metadata(path).map_err(|source| self.failed(source))?;
        let taken = || PlaceError::Taken { path: path.to_owned() };
        if !what.file_type().is_socket() || what.uid() != geteuid().as_raw() {
            return Err(taken());
        }
        let asking = open(SockFlag::SOCK_NONBLOCK).map_err(|errno| self.failed(errno))?;
        match connect(asking.as_raw_fd(), address) {
            Err(Errno::ECONNREFUSED) => fs::remove_file(path).map_err(|source| self.failed(source)),
            Ok(()) | Err(Errno::EAGAIN) => Err(PlaceError::InUse { path: path.to_owned() }),
            // A socket for datagrams, such as that of a system log.
            Err(Errno::EPROTOTYPE) => Err(taken()),
            Err(errno) => Err(self.failed(errno)),
        }
    }

    /// Connects to whoever listens here.
    ///
    /// # Errors
    /// [`PlaceError`]: nobody listens, or somebody who is not this user, or who hangs.
    pub fn connect(&self) -> Result<UnixStream, PlaceError> {
        let (address, failed) = (self.address()?, |errno: Errno| self.failed(errno));
        let stream = open(SockFlag::empty()).map_err(failed)?;
        setsockopt(&stream, SendTimeout, &TimeVal::seconds(TAKEN_WITHIN)).map_err(failed)?;
        match connect(stream.as_raw_fd(), &address) {
            Ok(()) => {}
            Err(Errno::EAGAIN) => return Err(PlaceError::Hangs { place: self.clone() }),
            Err(errno) => return Err(failed(errno)),
        }
        let stream = UnixStream::from(stream);
        self.know(&stream)?;
        Ok(stream)
    }

    /// The other side has to be this user, or root.
    ///
    /// # Errors
    /// [`PlaceError::Stranger`], and [`PlaceError::Anybody`] where nobody can tell.
    pub fn know(&self, stream: &impl std::os::fd::AsFd) -> Result<(), PlaceError> {
        let peer = getsockopt(stream, PeerCredentials).map_err(|errno| self.failed(errno))?;
        let (place, uid) = (self.clone(), peer.uid());
        if uid != 0 && uid != geteuid().as_raw() {
            return Err(PlaceError::Stranger { place, uid });
        }
        if self.may_be_anybody(uid) {
            return Err(PlaceError::Anybody { place, uid });
        }
        Ok(())
    }

    /// Whether all users from outside of this user namespace look like this one. A file lets them in no more than other users; a name does.
    fn may_be_anybody(&self, uid: u32) -> bool {
        let read = |file| fs::read_to_string(file).unwrap_or_default();
        let all_users = ["0", "0", "4294967295"];
        matches!(self, Self::Name(_))
            && read("/proc/sys/kernel/overflowuid").trim().parse() == Ok(uid)
            && read("/proc/self/uid_map").split_whitespace().ne(all_users)
    }
}

fn open(flags: SockFlag) -> nix::Result<OwnedFd> {
    socket(AddressFamily::Unix, SockType::Stream, flags | SockFlag::SOCK_CLOEXEC, None)
}

/// The kernel makes the file with the mode of the socket. A mode that were set by its path might go to another file, to which a neighbour has
/// put a link there. Where this has no effect, whoever connects is asked for its user all the same.
fn listener(address: &UnixAddr, mode: Mode) -> nix::Result<OwnedFd> {
    let socket = open(SockFlag::empty())?;
    fchmod(&socket, mode).ok();
    with_umask(!mode, || bind(socket.as_raw_fd(), address))?;
    listen(&socket, Backlog::new(BACKLOG)?)?;
    Ok(socket)
}

/// Does something with this umask, in a thread that has its own: the program's is for all its threads, and another of them may make a file at
/// that moment. Where the kernel or a container's filter refuses that, the program's is changed for that moment.
fn with_umask<Done: Send>(mask: Mode, act: impl FnOnce() -> nix::Result<Done> + Send) -> nix::Result<Done> {
    let masked = || {
        unshare(CloneFlags::CLONE_FS).ok();
        let before = umask(mask);
        let done = act();
        umask(before);
        done
    };
    thread::scope(|scope| match thread::Builder::new().spawn_scoped(scope, masked) {
        Ok(thread) => thread.join().unwrap_or(Err(Errno::ECANCELED)),
        Err(error) => Err(Errno::try_from(error).unwrap_or(Errno::EAGAIN)),
    })
}

/// Device and inode of what stands here.
fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|found| (found.dev(), found.ino()))
}

/// A socket that is listened to. Its file goes with it.
#[derive(Debug)]
pub struct Bound {
    /// The socket; it never waits.
    pub listener: UnixListener,
    /// Where it is.
    pub place: Place,
    /// Its file.
    file: Option<(u64, u64)>,
}

impl Drop for Bound {
    fn drop(&mut self) {
        // What somebody else has put there meanwhile stays.
        if let Place::File(path) = &self.place
            && identity(path).ok() == self.file
        {
            drop(fs::remove_file(path));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::os::unix::net::UnixDatagram;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    /// A neighbour that shares the directory puts a link in the place of the socket, at any moment: nothing happens to what it leads to.
    #[test]
    fn a_link_in_its_place_changes_no_other_file() {
        let directory = tempfile::tempdir().unwrap();
        let [victim, path] = ["victim", "..admin"].map(|name| directory.path().join(name));
        fs::write(&victim, "").unwrap();
        fs::set_permissions(&victim, fs::Permissions::from_mode(0o755)).unwrap();
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    let link = directory.path().join("link");
                    if path.exists() && symlink(&victim, &link).is_ok() {
                        fs::rename(&link, &path).unwrap();
                    }
                }
            });
            for _ in 0..2000 {
                drop(Place::File(path.clone()).bind());
                fs::remove_file(&path).ok();
            }
            is_over.store(true, Ordering::Relaxed);
        });
        assert_eq!(fs::metadata(&victim).unwrap().permissions().mode() & 0o777, 0o755);
    }

    /// Other threads make files meanwhile, with the program's umask.
    #[test]
    fn the_umask_of_the_program_stays_as_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let is_over = AtomicBool::new(false);
        let mode_of = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
        let before = directory.path().join("before");
        fs::create_dir(&before).unwrap();
        thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    drop(Place::File(directory.path().join("socket")).bind().unwrap());
                }
            });
            for number in 0..2000 {
                fs::create_dir(directory.path().join(number.to_string())).unwrap();
            }
            is_over.store(true, Ordering::Relaxed);
        });
        for number in 0..2000 {
            assert_eq!(mode_of(&directory.path().join(number.to_string())), mode_of(&before), "{number}");
        }
    }

    #[test]
    fn its_file_is_for_us_alone_and_goes_with_it_unless_it_is_another() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("..admin");
        let bound = Place::File(path.clone()).bind().unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        drop(bound);
        assert!(!path.exists());
        let bound = Place::File(path.clone()).bind().unwrap();
        fs::remove_file(&path).unwrap();
        fs::write(&path, "another").unwrap();
        drop(bound);
        assert_eq!(fs::read_to_string(&path).unwrap(), "another");
    }

    /// A socket of this user need not be a Squire's, and whoever listens may hang.
    #[test]
    fn what_is_in_use_in_another_way_is_not_removed_and_holds_up_nobody() {
        let directory = tempfile::tempdir().unwrap();
        let log = Place::File(directory.path().join("log"));
        let _datagrams = UnixDatagram::bind(directory.path().join("log")).unwrap();
        assert!(matches!(log.bind(), Err(PlaceError::Taken { .. })));
        let busy = Place::File(directory.path().join("busy"));
        let address = busy.address().unwrap();
        let hangs = open(SockFlag::empty()).unwrap();
        bind(hangs.as_raw_fd(), &address).unwrap();
        listen(&hangs, Backlog::new(0).unwrap()).unwrap();
        let waiting: Vec<_> = (0..9)
            .map(|_| open(SockFlag::SOCK_NONBLOCK).unwrap())
            .take_while(|stream| connect(stream.as_raw_fd(), &address).is_ok())
            .collect();
        assert!(waiting.len() < 9, "no more are let in");
        assert!(matches!(busy.bind(), Err(PlaceError::InUse { .. })));
        assert!(directory.path().join("log").exists() && directory.path().join("busy").exists());
    }
}
