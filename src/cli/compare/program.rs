//! Runs an agent once, in a private directory in memory, with a limit.
//!
//! *Invariant:* the directory is gone when its value is dropped, and nobody but this user could enter it; when [`run`] returns, no process
//! of the agent's group is left.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::{Pid, mkdtemp};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::memory;

/// The file with what the agent prints.
pub(super) const OUTPUT: &str = "output";

/// The largest file that is read, in bytes: 8 MiB, as much as a template of Squire renders to.
const LONGEST: u64 = 8 << 20;

/// How long an agent that is asked to end may take.
const ENDS_WITHIN: Duration = Duration::from_secs(2);

/// A directory in memory that only this user can enter.
pub(super) struct Private {
    path: PathBuf,
    name: String,
}

impl Private {
    /// Makes it at the first place that is in memory.
    pub(super) fn make() -> Result<Self, String> {
        let own = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|place| place.is_absolute());
        let places = own.into_iter().chain(["/dev/shm", "/run"].map(PathBuf::from));
        let in_memory = places.filter(|place| place.is_dir() && memory::require(place, false).is_ok());
        // Made with the mode 0700, and with a name that nobody can foresee.
        let made = in_memory.filter_map(|place| mkdtemp(&place.join("squire-compare-XXXXXX")).ok());
        for path in made {
            if let Some(name) = path.to_str().map(str::to_owned) {
                return Ok(Self { path, name });
            }
        }
        Err("there is no directory in memory to compare in: none of $XDG_RUNTIME_DIR, /dev/shm and /run is a tmpfs where this user may \
             make one"
            .to_owned())
    }

    /// Its path.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Writes a file into it.
    pub(super) fn write(&self, name: &str, text: &str) -> io::Result<PathBuf> {
        self.create(name)?.write_all(text.as_bytes())?;
        Ok(self.path.join(name))
    }

    /// What is in a file of it; nothing if there is none.
    pub(super) fn read(&self, name: &str) -> Option<Vec<u8>> {
        let mut contents = Vec::new();
        File::open(self.path.join(name)).ok()?.take(LONGEST).read_to_end(&mut contents).ok()?;
        Some(contents)
    }

    fn create(&self, name: &str) -> io::Result<File> {
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(self.path.join(name))
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            tracing::warn!(directory = %self.path.display(), %error, "cannot remove what the agent rendered; remove it yourself");
        }
    }
}

/// How an agent ended.
#[derive(Debug)]
pub(super) enum End {
    /// With 0.
    Well,
    /// With another code, or by a signal.
    Badly(ExitStatus),
    /// It was ended.
    TooLate,
    /// It was ended, because this signal asked for our end.
    Interrupted(i32),
}

enum Event {
    Ended,
    Asked(i32),
}

/// Runs the agent with a configuration until it ends, is too late, or somebody asks for our end.
pub(super) fn run(
    words: &[String],
    configuration: &Path,
    directory: &Private,
    timeout: Duration,
) -> io::Result<End> {
    let (program, arguments) = words.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    // Before it runs: from here on a signal does not end us with the directory left.
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP, SIGQUIT])?;
    let handle = signals.handle();
    let (sender, events) = mpsc::channel();
    let asks = sender.clone();
    let watcher = thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for signal in signals.forever() {
            // Nobody listens once the agent has ended.
            asks.send(Event::Asked(signal)).ok();
        }
    })?;
    let output = directory.create(OUTPUT)?;
    let mut command = Command::new(program);
    command.args(arguments).arg("-config").arg(configuration);
    command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output).process_group(0);
    let ended = command.spawn().and_then(|agent| supervise(agent, sender, &events, timeout));
    handle.close();
    // It has nothing left to wait for.
    watcher.join().ok();
    ended
}

fn supervise(
    mut agent: Child,
    sender: mpsc::Sender<Event>,
    events: &mpsc::Receiver<Event>,
    timeout: Duration,
) -> io::Result<End> {
    let id = Pid::from_raw(agent.id().cast_signed());
    let waits = thread::Builder::new().name("agent".to_owned()).spawn(move || {
        // It stays to be waited for, so that its number is nobody else's while its group is ended.
        waitid(Id::Pid(id), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT).ok();
        sender.send(Event::Ended).ok();
    })?;
    let why = match events.recv_timeout(timeout) {
        Ok(Event::Ended) => None,
        Ok(Event::Asked(signal)) => Some(End::Interrupted(signal)),
        Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => Some(End::TooLate),
    };
    if why.is_some() {
        killpg(id, Signal::SIGTERM).ok();
        // A second signal that asks for our end comes sooner than its own.
        events.recv_timeout(ENDS_WITHIN).ok();
    }
    // Whatever is left of it. There is nothing to do about what has ended.
    killpg(id, Signal::SIGKILL).ok();
    waits.join().ok();
    let status = agent.wait()?;
    Ok(why.unwrap_or(if status.success() { End::Well } else { End::Badly(status) }))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::time::Instant;

    use super::*;

    fn shell(script: &str, timeout: Duration) -> (End, String, PathBuf) {
        let directory = Private::make().unwrap();
        let words = ["sh", "-c", script, "sh"].map(str::to_owned);
        let end = run(&words, Path::new("/configuration"), &directory, timeout).unwrap();
        let output = String::from_utf8(directory.read(OUTPUT).unwrap()).unwrap();
        (end, output, directory.path.clone())
    }

    #[test]
    fn the_directory_is_private_and_goes() {
        let directory = Private::make().unwrap();
        let mode = fs::metadata(&directory.path).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o700);
        directory.write("a", "b").unwrap();
        assert_eq!(directory.read("a").unwrap(), b"b");
        assert!(directory.read("c").is_none() && directory.write("a", "again").is_err());
        let path = directory.path.clone();
        drop(directory);
        assert!(!path.exists());
    }

    #[test]
    fn an_agent_ends_well_badly_or_is_ended() {
        let long = Duration::from_mins(1);
        let (end, output, directory) = shell("echo \"$1 $2\"", long);
        assert!(matches!(end, End::Well) && output == "-config /configuration\n" && !directory.exists());
        assert!(matches!(shell("exit 3", long).0, End::Badly(status) if status.code() == Some(3)));
        let started = Instant::now();
        // A part of it that does not listen is ended too.
        let stubborn = "(trap '' TERM; echo $$; sleep 600) & trap '' TERM; while :; do sleep 600; done";
        let (end, ..) = shell(stubborn, Duration::from_millis(200));
        assert!(matches!(end, End::TooLate) && started.elapsed() < Duration::from_secs(20));
        let words = ["/nothing/there".to_owned()];
        assert!(run(&words, Path::new("/x"), &Private::make().unwrap(), long).is_err());
    }
}
