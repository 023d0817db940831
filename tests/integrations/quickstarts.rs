//! `deploy/quickstart`: each script to its end, with the Squire of the tests. That it builds one is not done again here.

use std::process::Command;

use crate::setup::{Ended, deployed, ended, path};
use crate::support::{daemon::bound_to_this_process, scratch};

fn run(script: &str) -> Ended {
    let home = scratch::on_disk("quickstart");
    let mut command = Command::new(deployed(&format!("quickstart/{script}")));
    command.env("SQUIRE_BINARY", env!("CARGO_BIN_EXE_squire")).env("TMPDIR", home.path());
    command.env("HOME", home.path()).env("PATH", path());
    let ended = ended(&bound_to_this_process(&command).output().unwrap());
    assert_eq!(ended.code, 0, "{}{}", ended.stdout, ended.stderr);
    ended
}

/// The answers of the web server, which have its process and what it knows.
fn answers(ended: &Ended) -> Vec<&str> {
    ended.stdout.lines().map(str::trim).filter(|line| line.starts_with("process ")).collect()
}

fn says(ended: &Ended, texts: &[&str]) {
    for text in texts {
        assert!(ended.stdout.contains(text), "{text} is not in {}", ended.stdout);
    }
}

#[test]
fn the_one_with_a_store_shows_a_change_and_a_rotation() {
    let ended = run("run");
    let [first, second, third] = answers(&ended)[..] else { panic!("{}", ended.stdout) };
    assert!(first.contains("password fi…"), "{first}");
    assert!(second.contains("password se…"), "{second}");
    assert!(third.ends_with("(24 characters)"), "{third}");
    let process = |answer: &str| answer.split(':').next().unwrap().to_owned();
    assert_ne!(process(first), process(second));
    assert_ne!(process(second), process(third));
    says(&ended, &["squire ended with 143", "left in the output directory: 0 files"]);
}

#[test]
fn the_one_with_servers_replaces_a_user_without_a_lost_request() {
    let ended = run("openbao");
    let [first, second] = answers(&ended)[..] else { panic!("{}", ended.stdout) };
    let user = |answer: &str| answer.split_once("says that I am ").unwrap().1.to_owned();
    assert_ne!(user(first), user(second));
    says(&ended, &["times meanwhile, 0 failed", "squire ended with 143"]);
}
