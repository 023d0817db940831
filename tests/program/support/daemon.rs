//! Server processes that end when their value is dropped, and at the latest with the test process.
//!
//! Statics are never dropped, so a shared server has a parent-death signal. The kernel sends it when the *thread* that forked ends, not the
//! process. So a thread that never ends starts them all.
//!
//! *Invariant:* no process outlives the test process, even if that is killed.

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{OnceLock, mpsc};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::holds_within;

/// A running server.
pub(crate) struct Daemon {
    child: Child,
    command: Command,
    log: PathBuf,
    stop_signal: Signal,
}

impl Daemon {
    /// Starts it with its output in a file. `stop_signal` is the signal to end it.
    pub(crate) fn start(command: &Command, log: &Path, stop_signal: Signal) -> Self {
        let command = copy(command);
        Self { child: spawn_logged(&command, log), command, log: log.to_owned(), stop_signal }
    }

    /// Starts the same program once more, after it has ended.
    pub(crate) fn start_again(&mut self) {
        assert!(self.ended().is_some(), "the server still runs");
        self.child = spawn_logged(&self.command, &self.log);
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        send(self.child.id(), signal);
    }

    /// Ends it as a crash does.
    pub(crate) fn kill(&mut self) {
        self.signal(Signal::SIGKILL);
        drop(self.child.wait());
    }

    /// Its exit status, if it has ended.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Ends it and waits for its end.
    pub(crate) fn stop(&mut self) {
        if self.ended().is_some() {
            return;
        }
        // A process that is halted handles no other signal.
        self.signal(Signal::SIGCONT);
        self.signal(self.stop_signal);
        if !holds_within(Duration::from_secs(5), || {
            self.child.try_wait().is_ok_and(|status| status.is_some())
        }) {
            send(self.child.id(), Signal::SIGKILL);
            drop(self.child.wait());
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Starts a server; its output is added to the file.
fn spawn_logged(command: &Command, log: &Path) -> Child {
    let output = File::options().append(true).create(true).open(log).unwrap();
    let mut command = bound_to_this_process(command);
    command.stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(output);
    spawn(command)
}

/// Starts a process from the one thread that never ends.
pub(crate) fn spawn(command: Command) -> Child {
    type Order = (Command, mpsc::Sender<std::io::Result<Child>>);
    static STARTER: OnceLock<mpsc::Sender<Order>> = OnceLock::new();
    let starter = STARTER.get_or_init(|| {
        let (sender, orders) = mpsc::channel::<Order>();
        std::thread::spawn(move || {
            for (mut command, answer) in orders {
                answer.send(command.spawn()).unwrap();
            }
        });
        sender
    });
    let program = format!("{command:?}");
    let (answer, child) = mpsc::channel();
    starter.send((command, answer)).unwrap();
    child.recv().unwrap().unwrap_or_else(|error| panic!("cannot start {program}: {error}"))
}

/// The same command, killed by the kernel when the test process ends: `setpriv` of util-linux asks for that and then executes the program.
/// From the environment only `PATH` and the variables of the command are passed on.
pub(crate) fn bound_to_this_process(command: &Command) -> Command {
    let mut bound = Command::new("setpriv");
    bound.args(["--pdeathsig", "KILL", "--"]).arg(command.get_program());
    with_the_rest(bound, command)
}

/// The same as another user, with this group and these supplementary groups.
pub(crate) fn bound_as(command: &Command, [user, group, groups]: [&str; 3]) -> Command {
    let mut bound = Command::new("setpriv");
    bound.args(["--reuid", user, "--regid", group, "--groups", groups, "--pdeathsig", "KILL", "--"]);
    bound.arg(command.get_program());
    with_the_rest(bound, command)
}

fn copy(command: &Command) -> Command {
    with_the_rest(Command::new(command.get_program()), command)
}

/// Gives a command the arguments, the directory and the named variables of another.
fn with_the_rest(mut command: Command, other: &Command) -> Command {
    command.args(other.get_args());
    if let Some(directory) = other.get_current_dir() {
        command.current_dir(directory);
    }
    command.env_clear();
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.envs(other.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command
}

/// Sends a signal to a process; it is no error if that has already ended.
pub(crate) fn send(process: u32, signal: Signal) {
    match kill(Pid::from_raw(process.cast_signed()), signal) {
        Ok(()) | Err(Errno::ESRCH) => {}
        Err(error) => eprintln!("cannot send {signal} to {process}: {error}"),
    }
}

/// A port that was free a moment ago. Another process may take it before it is bound: then the caller tries another one.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}
