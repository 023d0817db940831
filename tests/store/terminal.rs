//! Text from outside on the terminal, limits, and memory that nobody may read.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::bench::{Bench, as_role, code, stderr, stdout};

/// Text that moves the cursor, clears the screen, forges a line, turns the direction, hides.
const NASTY: &str =
    "ok\u{1b}[2J\u{9b}31m\r\n     7  2026  owner  verify\u{202e}\u{2066}\u{200b}\u{2028}\u{7}";

fn is_harmless(text: &str) -> bool {
    let acts = |c: char| {
        (c.is_control() && c != '\n')
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
    };
    !text.chars().any(acts)
}

#[test]
fn what_a_role_chose_reaches_no_terminal_raw() {
    let bench = Bench::new();
    bench.put("dev/app/db", "x");
    let role = bench.role("writer", &["--read", "dev/**", "--write", "dev/**", "--admin", "dev/**"]);
    let put = as_role(&role, &["put", "dev/app/db", "--note", NASTY]);
    assert_eq!(code(&bench.store_with(&put, "y")), 0);
    // A prefix is recorded, and the audit shows it.
    bench.store(&as_role(&role, &["list", NASTY]));
    let policy = ["policy", "dev/app/db", "--generate", "uuid", "--hook", "it"];
    assert_eq!(code(&bench.store(&as_role(&role, &policy))), 0);
    fs::write(bench.path("complain"), NASTY).unwrap();
    let hooks = "[hook.it]\npaths = [\"dev/**\"]\nset = [\"sh\", \"-c\", \"cat complain >&2; exit 1\"]\n";
    fs::write(bench.path("hooks.toml"), hooks).unwrap();
    let mut seen = 0;
    for command in [
        &["history", "dev/app/db"][..],
        &["audit"],
        &["policy", "dev/app/db"],
        &["stats"],
        &["list"],
        &["get", NASTY],
        &["rotate", "dev/app/db", "--hooks", "hooks.toml"],
        &["policy", "dev/app/db", "--generate", "uuid", "--hook", NASTY],
        &["stats"],
        &["verify"],
    ] {
        for json in [false, true] {
            let arguments = if json { [command, &["--json"]].concat() } else { command.to_vec() };
            let output = bench.store(&arguments);
            let said = format!("{}{}", stdout(&output), stderr(&output));
            assert!(is_harmless(&said), "{arguments:?}: {said:?}");
            assert!(!said.contains("\n     7  2026  owner"), "{arguments:?}: a forged line");
            seen += usize::from(said.contains("2026  owner  verify"));
        }
    }
    assert!(seen >= 8, "it was seen {seen} times only: the test looks at nothing");
    // A program gets exactly what was written.
    let history: Value =
        serde_json::from_str(&stdout(&bench.store(&["history", "dev/app/db", "--json"]))).unwrap();
    assert_eq!(history["note"], NASTY);
}

#[test]
fn what_is_kept_of_a_text_is_bounded() {
    let bench = Bench::new();
    let long = "x".repeat(513);
    let note = bench.store_with(&["put", "dev/a", "--note", &long], "v");
    assert!(code(&note) == 1 && stderr(&note).contains("may have 512"), "{note:?}");
    let prefix = bench.store(&["list", &long]);
    assert!(code(&prefix) == 1 && stderr(&prefix).contains("may have 512"), "{prefix:?}");
    assert_eq!(code(&bench.store_with(&["put", "dev/a", "--note", &long[1..]], "v")), 0);
    assert_eq!(bench.verified().0, 0);
}

#[test]
fn nobody_looks_into_a_store_command_and_a_hook_is_as_others_are() {
    let bench = Bench::new();
    // As a user who is not root, since root may do everything. The directory and the program have to be usable for that user.
    let program = bench.path("squire");
    fs::copy(env!("CARGO_BIN_EXE_squire"), &program).unwrap();
    let user = 65534;
    for entry in fs::read_dir(bench.directory.path()).unwrap() {
        std::os::unix::fs::chown(entry.unwrap().path(), Some(user), Some(user)).unwrap();
    }
    std::os::unix::fs::chown(bench.directory.path(), Some(user), Some(user)).unwrap();
    let as_user = |script: &str| {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("ulimit -S -c 1; {script}")]).current_dir(bench.directory.path());
        command.env_clear().env("PATH", "/usr/bin:/bin").uid(user).gid(user);
        command
    };
    let mut waiting =
        as_user("exec ./squire store put dev/a").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let of = |name: &str| format!("/proc/{}/{name}", waiting.id());
    let by = Instant::now() + Duration::from_secs(20);
    // The `/proc` files of a process that nobody may look into belong to root.
    let is_sealed = || {
        let limits = fs::read_to_string(of("limits")).unwrap();
        let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
        fs::metadata(of("environ")).unwrap().uid() == 0 && core.split_whitespace().nth(4) == Some("0")
    };
    while !is_sealed() {
        assert!(Instant::now() < by, "its user can look into it, or it may leave a core dump");
        std::thread::sleep(Duration::from_millis(10));
    }
    drop(waiting.stdin.take());
    waiting.wait().unwrap();

    let put = as_user(
        "echo x | ./squire store put dev/a && ./squire store policy dev/a --generate uuid --hook core",
    );
    assert!({ put }.output().unwrap().status.success());
    // The limit was lowered for Squire alone.
    let hooks = "[hook.core]\npaths = [\"dev/*\"]\nset = [\"sh\", \"-c\", \"until [ $(ulimit -S -c) = 1 ]; do sleep 0.01; done\"]\n";
    fs::write(bench.path("hooks.toml"), hooks).unwrap();
    let rotated = as_user("./squire store rotate dev/a --hooks hooks.toml").output().unwrap();
    assert_eq!(code(&rotated), 0, "{rotated:?}");
}

#[test]
fn a_secret_id_that_cannot_be_kept_makes_no_role() {
    let bench = Bench::new();
    bench.put("dev/a", "x");
    fs::write(bench.path("taken"), "x").unwrap();
    for (file, reason) in
        [("taken", "cannot write the secret-id to"), ("no/where", "cannot write the secret-id to")]
    {
        let made = bench.store(&["role", "add", "web", "--read", "dev/*", "--secret-id-to", file]);
        assert!(code(&made) == 1 && stderr(&made).contains(reason), "{made:?}");
        assert_eq!(stdout(&bench.store(&["role", "list"])), "");
    }
    // The secret-id of a role that cannot be made is not kept either.
    bench.role("web", &["--read", "dev/*"]);
    let twice = bench.store(&["role", "add", "web", "--read", "dev/*", "--secret-id-to", "another"]);
    assert_eq!(code(&twice), 1);
    assert!(!bench.path("another").exists());
    assert_eq!(bench.verified().0, 0);
}
