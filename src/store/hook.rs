//! The commands of a rotation: run with the values on stdin, and never longer than they may.
//!
//! A hook reads one line of JSON: `{"step": …, "path": …, "version": …, "fields": {…}, "current": {…}}`. Its environment is Squire's, with
//! `SQUIRE_STEP`, `SQUIRE_PATH` and `SQUIRE_VERSION`. It has a process group of its own, which is killed when its time is over.
//!
//! *Invariant:* no value is in an argument, in the environment, or in what is said of a failure. To be used in a process that reaps nobody
//! else's children: Squire's agent runs `squire store rotate`.

use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde_json::{Value, json};

use super::policy::Step;
use crate::mask::masked;
use crate::secret::{Fields, Secret};

/// More than the largest value, as JSON.
const LONGEST_OUTPUT: u64 = 4 << 20;
/// Of what it complained, the end is kept.
const TAIL: usize = 300;
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// What a hook is told.
pub(super) struct Told<'a> {
    pub(super) step: Step,
    pub(super) path: &'a str,
    pub(super) version: Option<u64>,
    /// The new fields; none while there are none yet.
    pub(super) fields: &'a Secret<Fields>,
    /// The current ones.
    pub(super) current: &'a Secret<Fields>,
}

/// Runs a command to its end: what it wrote to stdout, or why it failed, without values.
pub(super) fn run(words: &[String], told: &Told<'_>, timeout: Duration) -> Result<Secret<Vec<u8>>, String> {
    let Some((program, arguments)) = words.split_first() else { return Ok(Secret::new(Vec::new())) };
    let mut command = Command::new(program);
    command.args(arguments).process_group(0);
    command.env("SQUIRE_STEP", told.step.word()).env("SQUIRE_PATH", told.path);
    command.env("SQUIRE_VERSION", told.version.map(|version| version.to_string()).unwrap_or_default());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| format!("cannot execute {program:?}: {error}"))?;
    let told_text = told.text();
    let group = child.id();
    // Each end in a thread of its own: a hook may fill its output before it reads its input.
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    thread::scope(|scope| {
        // Who does not want to know closes it.
        scope.spawn(move || drop(stdin.map(|mut stdin| stdin.write_all(told_text.expose()))));
        let output = scope.spawn(move || read(stdout));
        let complaint = scope.spawn(move || read(stderr));
        let ended = end(&mut child, timeout);
        // What it left behind would hold the pipes open.
        kill_group(group);
        let output = output.join().unwrap_or_default();
        let complaint = complaint.join().unwrap_or_default();
        match ended {
            Ok(()) => Ok(Secret::new(output)),
            Err(why) => {
                let said = masked(&complaint, [told.fields, told.current]);
                let skipped = said.char_indices().rev().nth(TAIL - 1).map_or(0, |(at, _)| at);
                let said = said.get(skipped..).unwrap_or_default();
                Err(if said.is_empty() { why } else { format!("{why}: {said}") })
            }
        }
    })
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

fn read(from: Option<impl Read>) -> Vec<u8> {
    let mut bytes = Vec::new();
    // What came before an error is what there is.
    from.map(|from| from.take(LONGEST_OUTPUT).read_to_end(&mut bytes).ok());
    bytes
}

fn end(child: &mut Child, timeout: Duration) -> Result<(), String> {
    let by = Instant::now() + timeout;
    loop {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => return Ok(()),
            Ok(Some(status)) => return Err(format!("failed with {status}")),
            Ok(None) if Instant::now() >= by => {
                kill_group(child.id());
                drop(child.wait());
                return Err(format!("took longer than {timeout:?} and was killed"));
            }
            Ok(None) => thread::sleep(LOOK_EVERY),
            Err(error) => return Err(lost(&error)),
        }
    }
}

fn lost(error: &io::Error) -> String {
    format!("cannot be waited for: {error}")
}

/// One that has ended already is no error.
fn kill_group(group: u32) {
    if let Ok(group) = i32::try_from(group) {
        killpg(Pid::from_raw(group), Signal::SIGKILL).ok();
    }
}
