//! A panic anywhere in the agent is an orderly stop: the process is told, Squire ends with a code of its own, and one line says so.
//!
//! No input makes Squire panic, as far as anybody knows. So this program is Squire with a log that panics where a certain line is written:
//! on the agent's thread, in a keeper, in the publisher. It runs itself, once for each, with the process as a witness.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test")]

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, ExitCode, Output, Stdio};
use std::time::{Duration, Instant};

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

/// The line whose writing panics.
const PANICS_AT: &str = "PANICS_AT";

fn main() -> ExitCode {
    if let Ok(line) = std::env::var(PANICS_AT) {
        let log = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(std::io::stderr);
        tracing_subscriber::registry().with(Panics { line }).with(log).init();
        return squire::cli::perform(std::env::args_os());
    }
    let places = [
        ("in a keeper", "secret fetched"),
        ("on the agent's thread", "process is restarted for a new generation"),
        ("on the publisher's thread", "published files removed"),
    ];
    for (name, line) in places {
        println!("test a_panic::{name} ...");
        is_an_orderly_stop(line);
    }
    println!("\ntest result: ok. {} passed", places.len());
    ExitCode::SUCCESS
}

struct Panics {
    line: String,
}

impl<S: Subscriber> Layer<S> for Panics {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut message = Message(String::new());
        event.record(&mut message);
        // The first value of the secret is the one that the process starts with.
        let is_first = message.0 == "secret fetched" && !Path::new("started").exists();
        assert!(message.0 != self.line || is_first, "as it was asked to");
    }
}

struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}

const CONFIGURATION: &str = r#"
    [source.store]
    file = "app.store"
    key_file = "app.store.key"
    [secret.db]
    path = "dev/db"
    [output]
    dir = "@dir@/out"
    [[file]]
    path = "password"
    inline = "{{db.value}}"
    [process]
    command = ["sh", "-c", "trap 'echo told > told; exit 9' TERM; echo > started; while :; do sleep 0.02; done"]
"#;

fn is_an_orderly_stop(line: &str) {
    let directory = tempfile::tempdir_in("/dev/shm").unwrap();
    let at = directory.path();
    store(at, &["init"], "");
    store(at, &["put", "dev/db"], "one");
    let text = CONFIGURATION.replace("@dir@", at.to_str().unwrap());
    fs::write(at.join("squire.toml"), text).unwrap();
    let mut squire = Command::new(std::env::current_exe().unwrap());
    squire.args(["run", "-c", "squire.toml"]).current_dir(at).env(PANICS_AT, line);
    let squire = squire.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    wait_until("the process runs", || at.join("started").exists());
    if line == "published files removed" {
        let id = i32::try_from(squire.id()).unwrap();
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(id), nix::sys::signal::Signal::SIGTERM).unwrap();
    } else {
        store(at, &["put", "dev/db"], "two");
    }
    let Output { status, stderr, .. } = squire.wait_with_output().unwrap();
    let log = String::from_utf8(stderr).unwrap();
    assert!(at.join("told").exists(), "the process was not told: {log}");
    assert_eq!(log.matches("this is a bug in squire").count(), 1, "{log}");
    assert!(matches!(status.code(), Some(9 | 125)), "{status}: {log}");
}

fn store(at: &Path, words: &[&str], stdin: &str) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_squire"));
    command.args(["store", "--store", "app.store"]).args(words).current_dir(at);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let by = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < by, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
