//! Commands that replace keys, killed at any instant: the store is the old one or the new one, whole.

use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::bench::{Bench, code, stdout};

/// Runs a command and kills it after a part of its usual time.
fn kill(bench: &Bench, arguments: &[&str], after: Duration) {
    let mut child = bench
        .command(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    std::thread::sleep(after);
    child.kill().unwrap();
    child.wait().unwrap();
}

fn took(act: impl FnOnce()) -> Duration {
    let began = Instant::now();
    act();
    began.elapsed()
}

/// The file that a rekey leaves if it was killed before the store took the new key; the next rekey asks to have it removed.
fn clean_up(bench: &Bench) {
    fs::remove_file(bench.path("squire.store.key.new")).ok();
}

#[test]
fn a_rekey_killed_at_any_instant_leaves_a_store_that_its_key_opens() {
    let bench = Bench::new();
    for number in 0..30 {
        bench.put(&format!("dev/app/{number}"), &number.to_string());
    }
    let whole = took(|| assert_eq!(code(&bench.store(&["rekey"])), 0));
    let rounds = 24;
    for round in 0..rounds {
        kill(&bench, &["rekey"], whole * (round + 1) / rounds);
        assert_eq!(bench.get("dev/app/7"), "7", "{round}");
        clean_up(&bench);
        assert_eq!(bench.verified().0, 0, "{round}: {:?}", bench.verified());
    }
    assert_eq!(stdout(&bench.store(&["list"])).lines().count(), 30);
}

#[test]
fn a_revocation_or_a_destruction_killed_at_any_instant_is_whole_or_did_not_happen() {
    let bench = Bench::new();
    for number in 0..30 {
        bench.put(&format!("dev/app/{number}"), &number.to_string());
    }
    bench.role("web", &["--read", "dev/app/*"]);
    let roles = |bench: &Bench| stdout(&bench.store(&["role", "list"])).lines().count();
    let whole = took(|| drop(bench.store(&["stats"]))) * 2;
    let rounds = 12;
    for round in 0..rounds {
        kill(&bench, &["role", "revoke", "web"], whole * (round + 1) / rounds);
        kill(&bench, &["destroy", &format!("dev/app/{round}")], whole * (round + 1) / rounds);
        assert_eq!(bench.get("dev/app/29"), "29");
        assert_eq!(bench.verified().0, 0, "{round}: {:?}", bench.verified());
        if roles(&bench) == 0 {
            fs::remove_file(bench.path("web.secret-id")).unwrap();
            bench.role("web", &["--read", "dev/app/*"]);
        }
    }
}
