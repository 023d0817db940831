//! Blocks of a shell that are run, one after the other, with a real `squire` in a private directory in memory.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};

use super::page::{Block, pages};

/// Longer than the slowest session takes on a busy machine.
const SECONDS: &str = "120";

/// A script that does what the blocks say; it tells which of them failed.
fn script(blocks: &[Block]) -> String {
    let mut script = "set -euo pipefail\ntrap 'echo \"this block failed: $block\" >&2' ERR\n".to_owned();
    for Block { text, comment, place, .. } in blocks {
        let comment = comment.as_deref().unwrap_or_default();
        let preparation = comment.split_once('\n').map_or("", |(_, lines)| lines);
        writeln!(script, "block={place}\n{preparation}\n{text}").unwrap();
    }
    script
}

/// Every block that is to be run, by page and name.
fn sessions() -> BTreeMap<(String, String), Vec<Block>> {
    let mut sessions: BTreeMap<_, Vec<Block>> = BTreeMap::new();
    for page in pages() {
        for block in &page.blocks {
            let comment = block.comment.as_deref().unwrap_or_default();
            let Some(name) = comment.lines().next().and_then(|line| line.strip_prefix("run:")) else {
                continue;
            };
            let key = (page.path.display().to_string(), name.trim().to_owned());
            sessions.entry(key).or_default().push(block.clone());
        }
    }
    sessions
}

fn run(name: &str, blocks: &[Block]) {
    let directory = tempfile::tempdir_in("/dev/shm").unwrap();
    let programs = directory.path().join("programs");
    let work = directory.path().join("work");
    fs::create_dir(&programs).unwrap();
    fs::create_dir(&work).unwrap();
    symlink(env!("CARGO_BIN_EXE_squire"), programs.join("squire")).unwrap();
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
    let mut shell = Command::new("timeout");
    shell.args([SECONDS, "bash", "-c", &script(blocks)]).current_dir(&work).stdin(Stdio::null());
    let output =
        shell.env_clear().env("PATH", path).env("HOME", &work).env("LANG", "C.UTF-8").output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{name}: {}\n{}{text}",
        output.status,
        String::from_utf8_lossy(&output.stdout)
    );
}

#[test]
fn what_the_documents_run_runs() {
    let sessions = sessions();
    assert!(sessions.len() >= 4, "only {:?}", sessions.keys());
    std::thread::scope(|scope| {
        for ((page, name), blocks) in &sessions {
            scope.spawn(move || run(&format!("{page}: {name}"), blocks));
        }
    });
}

#[test]
fn a_block_that_fails_is_named() {
    let block = |text: &str, place: &str| Block {
        language: "sh".to_owned(),
        text: text.to_owned(),
        comment: Some("run: x\nwith=1".to_owned()),
        place: place.to_owned(),
    };
    let failed =
        std::panic::catch_unwind(|| run("x", &[block("[ $with = 1 ]", "a:1"), block("false", "a:2")]));
    let said = *failed.unwrap_err().downcast::<String>().unwrap();
    assert!(said.contains("this block failed: a:2"), "{said}");
}
