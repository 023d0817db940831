//! A store that a running agent watches: at rest the agent asks nothing, and it notices changes of the file.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{
    Clock, Rig, SOON, Squire, fresh, make_role, make_store, stays_true, store_at, wait_until,
};

/// At rest the agent only compares its clocks once a minute. Asking the store five times a second took 900.
const WAKE_UPS_A_MINUTE: u64 = 60;

/// Nothing is re-read by schedule during a test.
const CONFIG: &str = r#"
    [source.store]
    file = "@dir@/app.store"
    role_id_file = "@dir@/role-id"
    secret_id_file = "@dir@/web.secret-id"
    refresh = "1h"
    [secret.db]
    path = "prod/app/db"
    [output]
    dir = "@dir@/out"
    [[file]]
    path = "password"
    inline = "{{db.password}}"
    on_change = "none"
"#;

fn rig(rights: &[&str]) -> (Rig, String) {
    let rig = Rig::at("http://127.0.0.1:1");
    make_store(&rig);
    let first = put(&rig, "app.store");
    make_role(&rig, &[&["--read", "prod/app/*"], rights].concat());
    rig.whole_config(&format!("{CONFIG}[process]\ncommand = [\"sleep\", \"1000\"]\n"));
    (rig, first)
}

/// Puts a new password into a store.
fn put(rig: &Rig, file: &str) -> String {
    let password = fresh("password");
    let fields = json!({"password": password}).to_string();
    as_owner(rig, file, &["put", "prod/app/db"], &fields);
    password
}

/// Each store has an anchor of its own, since a copy and its original change separately.
fn as_owner(rig: &Rig, file: &str, arguments: &[&str], stdin: &str) -> String {
    let anchor = format!("{file}.anchor");
    store_at(rig, file, &[arguments, &["--key-file", "app.store.key", "--anchor", &anchor]].concat(), stdin)
}

fn publishes(squire: &mut Squire<'_>, rig: &Rig, password: &str) {
    squire.wait_until("it is published", || rig.read("out/password") == password);
}

fn rename(rig: &Rig, from: &str, to: &str) {
    fs::rename(rig.path(from), rig.path(to)).unwrap();
}

/// A copy of the store with another password in it, ready to replace it: its name and the password.
fn copy(rig: &Rig, number: usize) -> (String, String) {
    let name = format!("copy{number}.store");
    for file in [name.clone(), format!("{name}-wal")] {
        rig.allow_secrets_in(&file);
    }
    fs::copy(rig.path("app.store"), rig.path(&name)).unwrap();
    let password = put(rig, &name);
    (name, password)
}

/// How often each thread of the process went to sleep.
fn waits(process: u32) -> BTreeMap<OsString, u64> {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let of_task = |task: fs::DirEntry| {
        let status = fs::read_to_string(task.path().join("status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
        Some((task.file_name(), line.trim().parse::<u64>().ok()?))
    };
    tasks.filter_map(|task| of_task(task.ok()?)).collect()
}

#[test]
fn a_store_that_another_is_put_in_the_place_of_is_read_anew_at_once() {
    let (rig, first) = rig(&[]);
    let copies: Vec<_> = (0..3).map(|number| copy(&rig, number)).collect();
    rig.allow_secrets_in("other");
    rig.write("other.toml", &rig.read("squire.toml").replace("/out\"", "/other\""));
    let mut squires = [rig.run(), rig.start(&["run", "-c", "other.toml"])];
    let mut both_publish = |password: &str| {
        for (squire, output) in squires.iter_mut().zip(["out/password", "other/password"]) {
            squire.wait_until("it is published", || rig.read(output) == password);
        }
    };
    both_publish(&first);
    // The `-wal` beside the file belongs to the replaced file, and must not be taken for the new one's.
    both_publish(&put(&rig, "app.store"));
    let refusals =
        || ["stderr.1", "stderr.2"].map(|log| rig.read(log).matches("an earlier state of the store").count());
    for (copy, password) in copies {
        let before = refusals();
        rename(&rig, &copy, "app.store");
        // It does not continue from what the agents saw. Until both have noticed, the `-wal` of the replaced file is beside it.
        wait_until(SOON, "both refuse it", || {
            refusals().iter().zip(before).all(|(now, before)| *now > before)
        });
        as_owner(&rig, "app.store", &["accept-restore"], "");
        both_publish(&password);
        both_publish(&put(&rig, "app.store"));
    }
    for squire in &mut squires {
        assert_eq!(squire.stop(), 143);
    }
    assert!(as_owner(&rig, "app.store", &["verify"], "").contains("all is as it should be"));
}

#[test]
fn an_earlier_state_is_refused_and_what_the_owner_accepts_is_served() {
    let (rig, first) = rig(&[]);
    rig.whole_config(&format!(
        "{CONFIG}[process]\ncommand = [\"sleep\", \"1000\"]\n[agent]\nledger = \"@dir@/ledger\"\n"
    ));
    let (earlier, _) = copy(&rig, 0);
    let mut squire = rig.run();
    publishes(&mut squire, &rig, &first);
    let second = put(&rig, "app.store");
    publishes(&mut squire, &rig, &second);
    rename(&rig, &earlier, "app.store");
    squire.wait_until("it is refused", || rig.read("stderr.1").contains("an earlier state of the store"));
    assert_eq!(rig.read("out/password"), second, "what was good stays");
    // An agent that was killed does not accept it at its start either: what it saw is in its ledger.
    squire.kill();
    drop(squire);
    let mut squire = rig.run();
    squire
        .wait_until("it is refused again", || rig.read("stderr.2").contains("an earlier state of the store"));
    as_owner(&rig, "app.store", &["accept-restore"], "");
    let third = put(&rig, "app.store");
    publishes(&mut squire, &rig, &third);
    assert_eq!(squire.stop(), 143);
}

#[test]
fn a_store_that_is_away_for_a_moment_is_waited_for() {
    let (rig, first) = rig(&[]);
    let mut squire = rig.run();
    publishes(&mut squire, &rig, &first);
    rename(&rig, "app.store", "away.store");
    squire.wait_until("it is missed", || rig.read("stderr.1").contains("there is no store at"));
    assert_eq!(rig.read("out/password"), first);
    rename(&rig, "away.store", "app.store");
    squire.wait_until("it is back", || rig.read("stderr.1").contains("secret can be fetched again"));
    let second = put(&rig, "app.store");
    publishes(&mut squire, &rig, &second);
    assert!(!rig.read("stderr.1").contains("token is dead"), "it was the same file");
    assert_eq!(squire.stop(), 143);
    assert!(as_owner(&rig, "app.store", &["verify"], "").contains("all is as it should be"));
}

#[test]
fn a_change_by_another_process_is_published_within_a_second() {
    let (rig, first) = rig(&[]);
    let mut squire = rig.run();
    publishes(&mut squire, &rig, &first);
    // The machine may be busy once, but not each time.
    let fastest = (0..5).map(|_| {
        let password = put(&rig, "app.store");
        let since = Instant::now();
        publishes(&mut squire, &rig, &password);
        since.elapsed()
    });
    assert!(fastest.min() < Some(Duration::from_secs(1)));
    assert_eq!(squire.stop(), 143);
}

#[test]
fn a_clock_that_is_set_makes_a_rotation_due() {
    let (rig, first) = rig(&["--rotate", "prod/app/*"]);
    as_owner(
        &rig,
        "app.store",
        &["policy", "prod/app/db", "--generate", "uuid", "--field", "password", "--every", "30d"],
        "",
    );
    let clock = Clock::new();
    clock.give_to(&rig);
    let mut squire = rig.run();
    publishes(&mut squire, &rig, &first);
    stays_true(Duration::from_secs(2), "it is not due yet", || rig.read("out/password") == first);
    clock.sleep_for(31 * 24 * 3600);
    let rotated = || rig.read("out/password").len() == 36;
    squire.wait_at_most(
        Duration::from_mins(2),
        "it is rotated, since clocks are compared each minute",
        rotated,
    );
    assert_eq!(squire.stop(), 143);
}

#[test]
fn at_rest_nothing_is_asked() {
    let (rig, first) = rig(&["--rotate", "prod/app/*"]);
    let mut squire = rig.run();
    publishes(&mut squire, &rig, &first);
    let mut best = u64::MAX;
    // The start may still be going on in the first of them.
    for _ in 0..3 {
        let before = waits(squire.id());
        stays_true(Duration::from_secs(4), "it runs", || squire.is_running());
        let more = waits(squire.id())
            .into_iter()
            .map(|(task, waits)| waits - before.get(&task).copied().unwrap_or_default());
        best = best.min(more.sum::<u64>() * 15);
    }
    assert!(best < WAKE_UPS_A_MINUTE, "{best} wake-ups a minute");
    assert_eq!(squire.stop(), 143);
}
