//! Runs the commands of a rotation, with the values on stdin, and never for longer than their timeout.
//!
//! A hook reads one line of JSON: `{"step": …, "path": …, "version": …, "fields": {…}, "current": {…}}`. Its environment has only
//! `SQUIRE_STEP`, `SQUIRE_PATH` and `SQUIRE_VERSION`, the variables that every program needs ([`USUAL`]), and those that the file of hooks
//! names. It has a process group of its own, which is killed when its time is over.
//!
//! *Invariant:* no value is in an argument, in the environment, or in the description of a failure. Use it only in a process that does not
//! reap children for others: Squire's agent runs `squire store rotate`.

use std::io::{Read, Write};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::resource::{RLIM_INFINITY, Resource};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use rustix::process::{Rlimit, prlimit};
use serde_json::{Value, json};

use super::hooks::Hook;
use super::policy::{LONGEST_TIMEOUT, Step};
use crate::config::Limit;
use crate::mask::{finished_lines, masked};
use crate::secret::{Fields, Secret};

/// More than the largest value, as JSON.
const LONGEST_OUTPUT: u64 = 4 << 20;
/// The length of its error output that is kept: the end of it.
const TAIL: usize = 300;
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// How long to wait for the rest of its output when it has ended.
const LEFT_BEHIND: Duration = Duration::from_secs(1);

/// The variables that every hook gets of Squire's environment.
const USUAL: [&str; 6] = ["PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR"];

/// The input of a hook.
pub(super) struct Told<'a> {
    pub(super) step: Step,
    pub(super) path: &'a str,
    pub(super) version: Option<u64>,
    /// The new fields; none before they are made.
    pub(super) fields: &'a Secret<Fields>,
    /// The current fields.
    pub(super) current: &'a Secret<Fields>,
}

/// Runs a command to its end. Returns its stdout, or why it failed, without values.
pub(super) fn run(
    hook: &Hook,
    told: &Told<'_>,
    (timeout, limits): (Duration, &[Limit]),
) -> Result<Secret<Vec<u8>>, String> {
    let Some((program, arguments)) = hook.of(told.step).split_first() else {
        return Ok(Secret::new(Vec::new()));
    };
    let mut command = Command::new(program);
    command.args(arguments).process_group(0).env_clear();
    let given = USUAL.into_iter().chain(hook.env().iter().map(String::as_str));
    command.envs(given.filter_map(|name| Some((name, std::env::var_os(name)?))));
    command.env("SQUIRE_STEP", told.step.word()).env("SQUIRE_PATH", told.path);
    command.env("SQUIRE_VERSION", told.version.map(|version| version.to_string()).unwrap_or_default());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| format!("cannot execute {program:?}: {error}"))?;
    give_back(limits, &child);
    let (told_text, group) = (told.text(), child.id());
    // Each pipe has a thread of its own: a hook may fill its output before it reads its input.
    let stdin = child.stdin.take();
    // A hook that does not read its input closes the pipe.
    thread::spawn(move || drop(stdin.map(|mut stdin| stdin.write_all(told_text.expose()))));
    let (output, complaint) = (Reader::start(child.stdout.take()), Reader::start(child.stderr.take()));
    let ended = end(&mut child, timeout);
    kill_group(group);
    let (output, complaint) = (output.finish(), complaint.finish());
    ended.map(|()| output).map_err(|Failure { why, was_killed }| {
        let complaint = complaint.expose();
        let complaint = if was_killed { finished_lines(complaint) } else { complaint };
        let said = masked(complaint, [told.fields, told.current].map(Secret::expose), []);
        let skipped = said.char_indices().rev().nth(TAIL - 1).map_or(0, |(at, _)| at);
        match said.get(skipped..).unwrap_or_default() {
            "" => why,
            said => format!("{why}: {said}"),
        }
    })
}

/// The output of a pipe, to its end or as far as it came.
struct Reader {
    bytes: Arc<Mutex<Vec<u8>>>,
    done: mpsc::Receiver<()>,
}

impl Reader {
    fn start(from: Option<impl Read + Send + 'static>) -> Self {
        let (bytes, (end, done)) = (Arc::new(Mutex::new(Vec::new())), mpsc::channel());
        let read = Arc::clone(&bytes);
        thread::spawn(move || {
            let mut from = from.map(|from| from.take(LONGEST_OUTPUT));
            let mut chunk = vec![0; 1 << 16];
            // The bytes before an error are the output.
            while let Some(Ok(count @ 1..)) = from.as_mut().map(|from| from.read(&mut chunk)) {
                let chunk = chunk.get(..count).unwrap_or_default();
                read.lock().unwrap_or_else(PoisonError::into_inner).extend(chunk);
            }
            end.send(()).ok();
        });
        Self { bytes, done }
    }

    /// The hook has ended. A daemon that it left in a session of its own may hold the pipe open for ever.
    fn finish(self) -> Secret<Vec<u8>> {
        self.done.recv_timeout(LEFT_BEHIND).ok();
        Secret::new(std::mem::take(&mut *self.bytes.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl Told<'_> {
    fn text(&self) -> Secret<Vec<u8>> {
        let told = json!({
            "step": self.step.word(), "path": self.path, "version": self.version,
            "fields": Value::Object(self.fields.expose().clone()), "current": Value::Object(self.current.expose().clone()),
        });
        Secret::new(format!("{told}\n").into_bytes())
    }
}

/// How a hook failed, and whether it may have been in the middle of a line.
struct Failure {
    why: String,
    was_killed: bool,
}

fn end(child: &mut Child, timeout: Duration) -> Result<(), Failure> {
    // A policy's timeout is whatever its author wrote.
    let timeout = timeout.min(LONGEST_TIMEOUT);
    let by = Instant::now() + timeout;
    loop {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => return Ok(()),
            Ok(Some(status)) => {
                // The code says so too where a shell waited for who was killed.
                let was_killed = status.code().is_none_or(|code| (129..=192).contains(&code));
                return Err(Failure { why: format!("failed with {status}"), was_killed });
            }
            Ok(None) if Instant::now() >= by => {
                kill_group(child.id());
                drop(child.wait());
                let why = format!("took longer than {timeout:?} and was killed");
                return Err(Failure { why, was_killed: true });
            }
            Ok(None) => thread::sleep(LOOK_EVERY),
            Err(error) => {
                return Err(Failure { why: format!("cannot be waited for: {error}"), was_killed: true });
            }
        }
    }
}

/// What it cannot have back it does without: nothing that it does depends on it.
fn give_back(limits: &[Limit], child: &Child) {
    let finite = |limit: u64| (limit != RLIM_INFINITY).then_some(limit);
    for Limit { soft, hard, .. } in limits.iter().filter(|limit| limit.resource == Resource::RLIMIT_CORE) {
        let limit = Rlimit { current: finite(*soft), maximum: finite(*hard) };
        prlimit(Some(rustix::process::Pid::from_child(child)), rustix::process::Resource::Core, limit).ok();
    }
}

/// It is no error if the group has already ended.
fn kill_group(group: u32) {
    if let Ok(group) = i32::try_from(group) {
        killpg(Pid::from_raw(group), Signal::SIGKILL).ok();
    }
}
