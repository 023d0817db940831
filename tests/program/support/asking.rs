//! Asking the Squire of a rig that runs, by its commands.

use std::process::{Command, Output};

use serde_json::Value;

use super::Rig;

/// Runs `squire` with these words and the rig's configuration, beside the one that runs.
pub(crate) fn ask(rig: &Rig, words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_squire"));
    let (verb, rest) = words.split_first().unwrap();
    command.arg(verb).arg("-c").arg(rig.path("squire.toml")).args(rest).output().unwrap()
}

/// Its output, where it succeeds.
#[track_caller]
pub(crate) fn says(rig: &Rig, words: &[&str]) -> String {
    let output = ask(rig, words);
    assert!(output.status.success(), "{words:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// How everything stands.
#[track_caller]
pub(crate) fn status(rig: &Rig) -> Value {
    serde_json::from_str(&says(rig, &["status", "--json"])).unwrap()
}
