//! The real program, with its output kept, and searched for canaries when it ends.
//!
//! *Invariant:* in every run canaries are searched for: in its log at trace level, arguments, environment and files.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::signal::Signal;
use serde_json::Value;

use super::daemon::{bound_as, bound_to_this_process, send, spawn};
use super::{Rig, SOON, holds_within};

/// A run of Squire.
pub(crate) struct Squire<'a> {
    rig: &'a Rig,
    run: usize,
    child: Child,
    /// The first leak into the arguments or the environment, which can be read only while it runs.
    leak: Option<String>,
}

/// The program, by a descriptor that children inherit: another user may not be able to reach the directory of the binary.
fn by_descriptor() -> String {
    static PROGRAM: OnceLock<File> = OnceLock::new();
    let program = PROGRAM.get_or_init(|| {
        let program = File::open(env!("CARGO_BIN_EXE_squire")).unwrap();
        fcntl(&program, FcntlArg::F_SETFD(FdFlag::empty())).unwrap();
        program
    });
    format!("/proc/self/fd/{}", program.as_raw_fd())
}

/// How a run ended, and its output.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// The exit code; 128 + n if a signal ended it.
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl<'a> Squire<'a> {
    /// Starts the program with an environment of its own.
    pub(crate) fn start(rig: &'a Rig, run: usize, arguments: &[&str]) -> Self {
        let mut command = match rig.person() {
            None => Command::new(env!("CARGO_BIN_EXE_squire")),
            Some(_) => Command::new(by_descriptor()),
        };
        command.args(arguments).envs(rig.environment()).current_dir(rig.directory());
        let mut command = match rig.person() {
            None => bound_to_this_process(&command),
            Some(person) => bound_as(&command, person),
        };
        command
            .stdin(Stdio::null())
            .stdout(File::create(rig.path(&format!("stdout.{run}"))).unwrap())
            .stderr(File::create(rig.path(&format!("stderr.{run}"))).unwrap());
        Self { rig, run, child: spawn(command), leak: None }
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    pub(crate) fn signal(&mut self, signal: Signal) {
        self.inspect();
        send(self.child.id(), signal);
    }

    /// Whether it still runs.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits for a condition while it runs; panics after the limit, or as soon as it ends without the condition.
    #[track_caller]
    pub(crate) fn wait_until(&mut self, what: &str, condition: impl FnMut() -> bool) {
        self.wait_at_most(SOON, what, condition);
    }

    /// The same with another limit.
    #[track_caller]
    pub(crate) fn wait_at_most(&mut self, limit: Duration, what: &str, mut condition: impl FnMut() -> bool) {
        let started = Instant::now();
        let mut ended = None;
        let held = holds_within(limit, || {
            // In this order: a condition that became true just before the end counts.
            let status = self.child.try_wait().unwrap();
            let holds = condition();
            ended = status.filter(|_| !holds);
            holds || ended.is_some()
        });
        if let Some(status) = ended {
            panic!("squire ended ({status}) before: {what}");
        }
        assert!(held, "waited {:?} in vain for: {what}", started.elapsed());
    }

    /// Ends it as a crash does.
    pub(crate) fn kill(&mut self) {
        self.signal(Signal::SIGKILL);
        drop(self.child.wait());
    }

    /// Waits for its end; the exit code, 128 + n if a signal ended it.
    #[track_caller]
    pub(crate) fn wait_for_end(&mut self, limit: Duration) -> i32 {
        self.inspect();
        let mut status = None;
        let ended = holds_within(limit, || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        assert!(ended, "squire did not end within {limit:?}");
        code(status.unwrap())
    }

    /// Asks it to stop and waits for its end.
    #[track_caller]
    pub(crate) fn stop(&mut self) -> i32 {
        self.signal(Signal::SIGTERM);
        self.wait_for_end(SOON)
    }

    /// Waits for its end; how it ended, and its output.
    #[track_caller]
    pub(crate) fn outcome(mut self, limit: Duration) -> Outcome {
        let code = self.wait_for_end(limit);
        Outcome { code, stdout: self.rig.read(&format!("stdout.{}", self.run)), stderr: self.log() }
    }

    /// Its stderr so far.
    pub(crate) fn log(&self) -> String {
        self.rig.read(&format!("stderr.{}", self.run))
    }

    /// Its log lines with this message.
    pub(crate) fn events(&self, message: &str) -> Vec<Value> {
        let log = self.log();
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.filter(|line| line["message"] == message).collect()
    }

    /// Searches for canaries in its arguments and its environment, as every user of the machine or `root` can read them.
    fn inspect(&mut self) {
        if self.leak.is_some() {
            return;
        }
        let hunt = self.rig.canaries().hunt();
        let hunted =
            if self.rig.has_secrets_in_environment() { &["cmdline"][..] } else { &["cmdline", "environ"] };
        self.leak = hunted.iter().find_map(|what| {
            let text = std::fs::read(format!("/proc/{}/{what}", self.child.id())).ok()?;
            Some(format!("{}, in its {what}", hunt.find(&text)?))
        });
    }

    /// The end of its log, without trace and debug.
    fn tail(&self) -> String {
        let log = self.log();
        let loud = |line: &&str| {
            let level = serde_json::from_str::<Value>(line).ok().map(|line| line["level"].clone());
            !level.is_some_and(|level| level == "TRACE" || level == "DEBUG")
        };
        let lines: Vec<_> = log.lines().filter(loud).collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }
}

impl Drop for Squire<'_> {
    fn drop(&mut self) {
        self.inspect();
        send(self.child.id(), Signal::SIGTERM);
        if !holds_within(Duration::from_secs(5), || !self.is_running()) {
            send(self.child.id(), Signal::SIGKILL);
        }
        drop(self.child.wait());
        if std::thread::panicking() {
            eprintln!("--- the end of squire's log ---\n{}\n---", self.tail());
            return;
        }
        let leak = self.leak.take().or_else(|| self.rig.leak(&self.rig.canaries().hunt()));
        assert!(leak.is_none(), "a secret leaked: {}", leak.unwrap_or_default());
    }
}

fn code(status: ExitStatus) -> i32 {
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap()
}
