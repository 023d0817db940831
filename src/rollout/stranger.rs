//! Signals processes that Squire did not start: by the number in a file, or by name.
//!
//! A pidfd holds the process before Squire looks at it, so a process that gets the number of a dead one is never signalled. The start time
//! of the process tells whether it already had the number when the file was written: the process that wrote the file had started by then.
//!
//! Whoever can write the file chooses the process that Squire signals, and Squire may be root. So a file that others can write can name
//! only processes of its own user, as in systemd.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::sys::signal::Signal;
use nix::unistd::{SysconfVar, geteuid, sysconf};
use rustix::fd::OwnedFd;
use rustix::process::{Pid, PidfdFlags, pidfd_open, pidfd_send_signal};

use crate::config::{SignalTarget, SignalTo};
use crate::files;
use crate::ordered::Order as _;

/// The kernel gives the time of its own start in whole seconds, and the start of a process in ticks since then.
const TOLERANCE: Duration = Duration::from_secs(2);

/// The largest file with a number, in bytes.
const LONGEST: u64 = 64;

/// Why no process was signalled.
#[derive(Debug, thiserror::Error)]
pub enum StrangerError {
    /// The file with the number cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's error.
        #[source]
        cause: io::Error,
    },
    /// The file contains no number.
    #[error("{} contains no number of a process that may be signalled", path.display())]
    NoNumber {
        /// The file.
        path: PathBuf,
    },
    /// No process has this number.
    #[error("there is no process {pid}, which {} names", path.display())]
    Dead {
        /// The file.
        path: PathBuf,
        /// The number.
        pid: i32,
    },
    /// Another process has this number by now.
    #[error("{} is older than process {pid}, which has that number now: it is another process", path.display())]
    Reused {
        /// The file.
        path: PathBuf,
        /// The number.
        pid: i32,
    },
    /// The number is a process that the file's owner could not signal.
    #[error(
        "{} belongs to user {owner} or can be written by others, and names process {pid} of user {user}: give the file to root with \
         mode 0644, or to the process's user",
        path.display()
    )]
    NotTheirs {
        /// The file.
        path: PathBuf,
        /// The owner of the file.
        owner: u32,
        /// The number.
        pid: i32,
        /// The user of the process.
        user: u32,
    },
    /// No process has this name.
    #[error("there is no process {name:?} that Squire can see; in a pod, share the PID namespace")]
    Nobody {
        /// The name.
        name: String,
    },
    /// The kernel refuses the signal.
    #[error("cannot signal process {pid}")]
    Signal {
        /// The number.
        pid: i32,
        /// The kernel's error.
        #[source]
        cause: rustix::io::Errno,
    },
}

/// Sends the signal; returns how many processes got it.
pub fn signal(to: &SignalTo) -> Result<usize, StrangerError> {
    let targets = match &to.target {
        SignalTarget::PidFile(path) => vec![by_file(path)?],
        SignalTarget::Process(name) => by_name(name)?,
    };
    for (pid, process) in &targets {
        send(process, to.signal).map_err(|cause| StrangerError::Signal { pid: *pid, cause })?;
    }
    Ok(targets.len())
}

fn send(process: &OwnedFd, signal: Signal) -> Result<(), rustix::io::Errno> {
    let named = rustix::process::Signal::from_named_raw(signal as i32).ok_or(rustix::io::Errno::INVAL)?;
    pidfd_send_signal(process, named)
}

fn by_file(path: &Path) -> Result<(i32, OwnedFd), StrangerError> {
    let read = |cause| StrangerError::Read { path: path.to_owned(), cause };
    let contents = files::beginning(path, LONGEST).map_err(read)?;
    let written = contents.metadata.modified().map_err(read)?;
    let text = contents.text().map_err(read)?;
    let number = files::one_value(text).parse().ok().filter(|pid| *pid > 1 && *pid != own());
    let pid: i32 = number.ok_or_else(|| StrangerError::NoNumber { path: path.to_owned() })?;
    let dead = || StrangerError::Dead { path: path.to_owned(), pid };
    let process = open(pid).ok_or_else(dead)?;
    // Read after the pidfd was opened: if another process had the number by now, the signal would reach nobody.
    let started = started(pid).ok_or_else(dead)?;
    if started > written + TOLERANCE {
        return Err(StrangerError::Reused { path: path.to_owned(), pid });
    }
    let (owner, user) = (contents.metadata.uid(), user(pid).ok_or_else(dead)?);
    if !is_trusted(&contents.metadata) && (owner != user || owner == 0) {
        return Err(StrangerError::NotTheirs { path: path.to_owned(), owner, pid, user });
    }
    Ok((pid, process))
}

/// The processes of this name whose parent does not have it too: a master tells its workers.
fn by_name(name: &str) -> Result<Vec<(i32, OwnedFd)>, StrangerError> {
    let numbers = fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = numbers.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let named = numbers.filter(|pid| *pid != own() && is_named(*pid, name));
    let named: BTreeMap<i32, Option<i32>> = named.map(|pid| (pid, parent(pid))).ordered();
    let is_top = |parent: &Option<i32>| parent.is_none_or(|parent| !named.contains_key(&parent));
    let top = named.iter().filter(|(_, parent)| is_top(parent)).map(|(pid, _)| *pid);
    let opened = top.filter_map(|pid| Some((pid, open(pid)?))).filter(|(pid, _)| is_named(*pid, name));
    let opened: Vec<_> = opened.collect();
    if opened.is_empty() { Err(StrangerError::Nobody { name: name.to_owned() }) } else { Ok(opened) }
}

/// Whether only root and Squire's own user can write the file.
fn is_trusted(file: &Metadata) -> bool {
    [0, geteuid().as_raw()].contains(&file.uid()) && file.mode() & 0o022 == 0
}

/// The user of a process: the real user, which it cannot choose.
fn user(pid: i32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("Uid:"))?.split_ascii_whitespace().next()?.parse().ok()
}

fn own() -> i32 {
    i32::try_from(std::process::id()).unwrap_or_default()
}

fn open(pid: i32) -> Option<OwnedFd> {
    pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()
}

/// By its program, or by the name that it gave itself, which the kernel cuts after 15 characters.
fn is_named(pid: i32, name: &str) -> bool {
    let program = fs::read_link(format!("/proc/{pid}/exe")).ok();
    let is_program = program.as_deref().and_then(Path::file_name).is_some_and(|program| program == name);
    let own_name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    let is_own_name = !own_name.is_empty() && own_name.trim_end() == name.get(..15).unwrap_or(name);
    is_program || is_own_name
}

/// The part after the name in `/proc/PID/stat`, beginning with the state.
fn stat(pid: i32) -> Option<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    Some(rest.split_ascii_whitespace().map(str::to_owned).collect())
}

fn parent(pid: i32) -> Option<i32> {
    stat(pid)?.get(1)?.parse().ok()
}

/// Its start, by the wall clock.
fn started(pid: i32) -> Option<SystemTime> {
    let ticks: u64 = stat(pid)?.get(19)?.parse().ok()?;
    let a_second = u64::try_from(sysconf(SysconfVar::CLK_TCK).ok()??).ok().filter(|ticks| *ticks > 0)?;
    let kernel = fs::read_to_string("/proc/stat").ok()?;
    let booted: u64 = kernel.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    Some(UNIX_EPOCH + Duration::from_secs(booted) + Duration::from_millis(ticks * 1000 / a_second))
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};

    use super::*;

    struct Sleeper(Child);

    impl Sleeper {
        fn start() -> Self {
            Self(Command::new("sleep").arg("1000").spawn().unwrap())
        }

        fn signal_of_end(&mut self) -> Option<i32> {
            std::os::unix::process::ExitStatusExt::signal(&self.0.wait().unwrap())
        }
    }

    impl Drop for Sleeper {
        fn drop(&mut self) {
            drop(self.0.kill());
            drop(self.0.wait());
        }
    }

    fn file(text: &str) -> (tempfile::TempDir, SignalTo) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pid");
        fs::write(&path, text).unwrap();
        (directory, SignalTo { signal: Signal::SIGUSR1, target: SignalTarget::PidFile(path) })
    }

    #[test]
    fn whoever_the_file_names_is_signalled() {
        let mut sleeper = Sleeper::start();
        let (_directory, to) = file(&format!(" {}\n", sleeper.0.id()));
        assert_eq!(signal(&to).unwrap(), 1);
        assert_eq!(sleeper.signal_of_end(), Some(Signal::SIGUSR1 as i32));
    }

    #[test]
    fn a_number_that_became_somebody_elses_is_not_signalled() {
        let mut sleeper = Sleeper::start();
        let (_directory, to) = file(&sleeper.0.id().to_string());
        let SignalTarget::PidFile(path) = &to.target else { panic!("it is one") };
        let before = SystemTime::now() - Duration::from_mins(1);
        fs::File::options().write(true).open(path).unwrap().set_modified(before).unwrap();
        assert!(matches!(signal(&to), Err(StrangerError::Reused { .. })));
        assert!(sleeper.0.try_wait().unwrap().is_none());
    }

    /// The adversary is whoever may write the file, the other container of a pod for example.
    #[test]
    fn a_file_of_somebody_else_names_their_own_processes_only() {
        if !geteuid().is_root() {
            return eprintln!("skipped: only root can give files away");
        }
        let nobody = 65_534;
        let mut of_root = Sleeper::start();
        let mut theirs = Command::new("sleep");
        let mut theirs =
            Sleeper(std::os::unix::process::CommandExt::uid(theirs.arg("1000"), nobody).spawn().unwrap());
        let allowed = |pid: u32, owner: u32, mode: u32| {
            let (_directory, to) = file(&pid.to_string());
            let SignalTarget::PidFile(path) = &to.target else { panic!("it is one") };
            std::os::unix::fs::chown(path, Some(owner), None).unwrap();
            fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
            match signal(&SignalTo { signal: Signal::SIGCONT, ..to }) {
                Ok(_) => true,
                Err(StrangerError::NotTheirs { .. }) => false,
                Err(error) => panic!("{error}"),
            }
        };
        let (root, them) = (of_root.0.id(), theirs.0.id());
        assert!(allowed(root, 0, 0o644) && allowed(them, 0, 0o644) && allowed(them, nobody, 0o644));
        assert!(!allowed(root, nobody, 0o644), "nobody chooses whom root signals");
        assert!(!allowed(root, 0, 0o666) && !allowed(root, 0, 0o664), "neither does whoever can write it");
        for sleeper in [&mut of_root, &mut theirs] {
            assert!(sleeper.0.try_wait().unwrap().is_none());
        }
    }

    #[test]
    fn what_names_nobody_is_an_error_in_words() {
        let mut gone = Command::new("true").spawn().unwrap();
        gone.wait().unwrap();
        for text in [
            "",
            "0",
            "1",
            "-1",
            "word",
            "12 13",
            "99999999999999999999",
            &own().to_string(),
            &"9".repeat(100),
        ] {
            let (_directory, to) = file(text);
            assert!(matches!(signal(&to), Err(StrangerError::NoNumber { .. })), "{text}");
        }
        let (_directory, to) = file(&gone.id().to_string());
        assert!(matches!(signal(&to), Err(StrangerError::Dead { .. })));
        let (directory, to) = file("");
        drop(directory);
        assert!(matches!(signal(&to), Err(StrangerError::Read { .. })));
    }

    #[test]
    fn the_topmost_of_a_name_are_signalled() {
        let directory = tempfile::tempdir().unwrap();
        let name = format!("master{}", own());
        let program = directory.path().join(&name);
        // Not a copy: while it is written, a process that another test forks has it open, and then it cannot be executed.
        std::os::unix::fs::symlink("/bin/sh", &program).unwrap();
        let script = format!(
            "trap 'exit 9' USR1; {} -c 'trap \"exit 8\" USR1; while :; do sleep 0.05; done' & while :; do wait; done",
            program.display()
        );
        let mut master = Sleeper(Command::new(&program).args(["-c", &script]).spawn().unwrap());
        let to = SignalTo { signal: Signal::SIGUSR1, target: SignalTarget::Process(name.clone()) };
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        let mut ended = None;
        while ended.is_none() {
            assert!(std::time::Instant::now() < deadline, "never signalled");
            // It may not have its handler yet, and its worker may not have its name.
            drop(signal(&to));
            std::thread::sleep(Duration::from_millis(20));
            ended = master.0.try_wait().unwrap();
        }
        let to = SignalTo { signal: Signal::SIGKILL, target: to.target };
        drop(signal(&to));
        assert!(matches!(
            signal(&SignalTo {
                signal: Signal::SIGUSR1,
                target: SignalTarget::Process("no-such-program".to_owned())
            }),
            Err(StrangerError::Nobody { .. })
        ));
    }
}
