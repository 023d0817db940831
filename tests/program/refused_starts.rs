//! A rotation never ends a service that ran: a process that cannot be started is found out before anything is stopped, and a process that
//! dies of its new values gets the previous ones.

use std::fs::{self, OpenOptions, Permissions};
use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use crate::support::{Rig, SOON, STORE_SOURCE, Squire, fresh, make_role, make_store, store};

/// Records the values of its start, and runs on. It ends with an error if its value begins with `bad`, and with exit code 0 if it begins
/// with `done`.
const APP: &str = r#"#!/bin/sh
    echo "$PASSWORD" >> "$SEEN/started"
    case $PASSWORD in bad*) exit 3;; done*) exit 0;; esac
    trap 'exit 0' TERM
    while :; do sleep 0.05; done
"#;

/// A rig with a store, and the program with these settings and these variables; then the rest of the configuration.
fn rig(process: &str, variables: &str, rest: &str) -> (Rig, String) {
    let rig = Rig::at("http://127.0.0.1:1");
    make_store(&rig);
    let first = put(&rig, "first");
    make_role(&rig, &["--read", "prod/app/*"]);
    rig.write("bin/app", APP);
    rig.write("place/x", "");
    permit(&rig, 0o755);
    rig.whole_config(&format!(
        r#"
        {STORE_SOURCE}
        [secret.db]
        path = "prod/app/db"
        [output]
        dir = "@dir@/out"
        [process]
        command = ["@dir@/bin/app"]
        {process}
        [process.env]
        SEEN = "@dir@/seen"
        {variables}
        {rest}
        "#
    ));
    (rig, first)
}

const PASSWORD: &str = "PASSWORD = \"{{db.password}}\"";

/// Puts a password that begins with this.
fn put(rig: &Rig, word: &str) -> String {
    let password = fresh(word);
    put_exactly(rig, &password);
    password
}

fn put_exactly(rig: &Rig, password: &str) {
    store(rig, &["put", "prod/app/db"], &json!({ "password": password }).to_string());
}

fn permit(rig: &Rig, mode: u32) {
    fs::set_permissions(rig.path("bin/app"), Permissions::from_mode(mode)).unwrap();
}

/// The values of each start of the process.
fn starts(rig: &Rig) -> Vec<String> {
    rig.read("seen/started").lines().map(str::to_owned).collect()
}

fn started(rig: &Rig) -> Squire<'_> {
    let mut squire = rig.run();
    squire.wait_until("the process runs", || starts(rig).len() == 1);
    squire
}

const REFUSED: &str = "generation failed its check, what is published stays";
const TAKEN_BACK: &str = "generation taken back, the one before is live again";

#[test]
fn a_release_with_which_the_process_cannot_be_started_stops_nobody() {
    type Harm = fn(&Rig);
    /// A value, settings of the process, its variables, the fault and its repair, and the message.
    type Case<'a> = (&'a str, &'a str, &'a str, (Harm, Harm), &'a str);
    let no_harm: Harm = |_| {};
    let no_program: (Harm, Harm) = (
        |rig| fs::rename(rig.path("bin/app"), rig.path("bin/away")).unwrap(),
        |rig| fs::rename(rig.path("bin/away"), rig.path("bin/app")).unwrap(),
    );
    let no_right: (Harm, Harm) = (|rig| permit(rig, 0o644), |rig| permit(rig, 0o755));
    let no_place: (Harm, Harm) = (
        |rig| fs::rename(rig.path("place"), rig.path("elsewhere")).unwrap(),
        |rig| fs::rename(rig.path("elsewhere"), rig.path("place")).unwrap(),
    );
    let long = "l".repeat(140_000);
    let half = "h".repeat(100_000);
    let small = "limits = { stack = 524288 }";
    let more = format!("{PASSWORD}\nMORE = \"{{{{db.password}}}}\"");
    let place = "working_dir = \"@dir@/place\"";
    let cases: [Case<'_>; 6] = [
        ("a\0b", "", PASSWORD, (no_harm, no_harm), "the variable PASSWORD: it contains a NUL byte"),
        (
            &long,
            "",
            PASSWORD,
            (no_harm, no_harm),
            "the variable PASSWORD: it has 140010 bytes, and the kernel takes 131072",
        ),
        (&half, small, &more, (no_harm, no_harm), "and the kernel takes 131072 (a quarter of"),
        ("good", "", PASSWORD, no_program, "cannot find"),
        ("good", "", PASSWORD, no_right, "cannot execute"),
        ("good", place, PASSWORD, no_place, "entering process.working_dir failed"),
    ];
    for (value, settings, variables, (harm, mend), why) in cases {
        let (rig, first) = rig(settings, variables, "");
        let mut squire = started(&rig);
        squire.wait_until("its start is in the log", || !squire_events(&rig, "process started").is_empty());
        let process = process(&squire);
        harm(&rig);
        put_exactly(&rig, value);
        squire.wait_until(why, || {
            let refused = squire_events(&rig, REFUSED);
            refused.iter().any(|line| line["why"].as_str().unwrap().contains(why))
        });
        assert_eq!(starts(&rig), [first.as_str()], "{why}");
        assert!(fs::exists(format!("/proc/{process}")).unwrap(), "{why}: the process is gone");
        mend(&rig);
        let good = put(&rig, "good");
        squire.wait_until("the next value reaches the process", || starts(&rig).last() == Some(&good));
        assert_eq!(squire.stop(), 0);
    }
}

/// The number of the process, from the log.
fn process(squire: &Squire<'_>) -> u64 {
    squire.events("process started").last().unwrap()["pid"].as_u64().unwrap()
}

fn squire_events(rig: &Rig, message: &str) -> Vec<serde_json::Value> {
    let log = rig.read("stderr.1");
    let lines = log.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    lines.filter(|line| line["message"] == message).collect()
}

#[test]
fn a_start_that_the_kernel_refuses_is_tried_again_with_what_was_live() {
    for (process, rest) in [("", ""), ("", "[rollout]\nprobe = \"none\""), ("restart = \"always\"", "")] {
        let (rig, first) = rig(process, PASSWORD, rest);
        let mut squire = started(&rig);
        // As long as a program has it open for writing, the kernel does not execute it: only the start itself finds that out.
        let writing = OpenOptions::new().append(true).open(rig.path("bin/app")).unwrap();
        put(&rig, "next");
        squire.wait_until("the start is refused, and the one with what was live too", || {
            squire_events(&rig, "process not started").len() >= 2
        });
        assert!(squire.is_running(), "{process} {rest}");
        drop(writing);
        squire.wait_until("the process runs as before", || starts(&rig) == [first.as_str(), &first]);
        squire.wait_until("which is said", || squire_events(&rig, TAKEN_BACK).len() == 1);
        let good = put(&rig, "good");
        squire.wait_until("the next value reaches it", || starts(&rig).last() == Some(&good));
        assert_eq!(squire.stop(), 0);
    }
}

#[test]
fn a_process_that_dies_of_its_new_values_gets_those_before() {
    let (rig, first) = rig("", PASSWORD, "");
    let mut squire = started(&rig);
    let bad = put(&rig, "bad");
    squire.wait_until("it is back", || squire_events(&rig, TAKEN_BACK).len() == 1);
    assert_eq!(starts(&rig), [first.as_str(), &bad, &first]);
    let good = put(&rig, "good");
    squire.wait_until("the next value reaches it", || starts(&rig).last() == Some(&good));
    // A job may be done within its trial: that is not held against the release.
    let done = put(&rig, "done");
    assert_eq!(squire.wait_for_end(SOON), 0);
    assert_eq!(starts(&rig).last(), Some(&done));
}

#[test]
fn without_a_proof_its_end_is_squires_own() {
    let (rig, first) = rig("", PASSWORD, "[rollout]\nprobe = \"none\"");
    let mut squire = started(&rig);
    let bad = put(&rig, "bad");
    assert_eq!(squire.wait_for_end(SOON), 3);
    assert_eq!(starts(&rig), [first, bad]);
}

#[test]
fn the_first_start_says_itself_what_is_wrong() {
    let (rig, _) = rig("", PASSWORD, "");
    put(&rig, "bad");
    let mut squire = rig.run();
    assert_eq!(squire.wait_for_end(SOON), 3);
    assert!(
        !squire.log().contains("process is not well"),
        "the first start is not on trial: {}",
        squire.log()
    );
    put_exactly(&rig, "a\0b");
    assert_eq!(rig.run().wait_for_end(SOON), 125);
    put_exactly(&rig, "good");
    fs::remove_file(rig.path("bin/app")).unwrap();
    assert_eq!(rig.run().wait_for_end(SOON), 127);
}

#[test]
fn a_reaction_that_is_required_takes_the_release_back_when_it_cannot_be_done() {
    for (required, kept) in [(", required = true", true), ("", false)] {
        let file = format!(
            "[[file]]\npath = \"password\"\ninline = \"{{{{db.password}}}}\"\non_change = {{ run = \
             [\"/no/such/command\"]{required} }}"
        );
        let (rig, first) = rig("", "PASSWORD = \"same\"", &file);
        let mut squire = started(&rig);
        let next = put(&rig, "next");
        squire.wait_until("it is tried", || !squire_events(&rig, "command failed").is_empty());
        let said = if kept { TAKEN_BACK } else { "generation committed" };
        squire.wait_until(said, || !squire_events(&rig, said).is_empty());
        squire.wait_until("the file is as it should be", || {
            rig.read("out/password") == *if kept { &first } else { &next }
        });
        assert_eq!(squire.stop(), 0);
    }
}
