//! Rollouts as transactions: checked, published, proven, committed or taken back.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;

use crate::support::{
    Bao, NOTING, Postgres, Rig, SOON, Squire, Tenant, Tmpfs, fresh, log_in, notes, stays_true, wait_until,
};

/// A check that refuses passwords which begin with `bad`, and prints them.
const CHECK: &str = r#"
    read -r password < "$1/password" || [ -n "$password" ]
    case $password in bad*) echo "will not do: $password" >&2; exit 3;; esac
"#;

fn rig(tenant: &Tenant<'_>, rest: &str) -> (Rig, String) {
    let first = fresh("first");
    tenant.write("db", &json!({"password": first}));
    let rig = Rig::new(tenant);
    rig.write("child", NOTING);
    rig.write("check", CHECK);
    rig.config(&format!(
        r#"
        [secret.db]
        path = "secret/@tenant@/db"
        [[file]]
        path   = "password"
        inline = "{{{{db.password}}}}"
        {rest}
        "#
    ));
    (rig, first)
}

fn write(tenant: &Tenant<'_>, word: &str) -> String {
    let password = fresh(word);
    tenant.write("db", &json!({"password": password}));
    password
}

fn started(rig: &Rig) -> Squire<'_> {
    let mut squire = rig.run();
    squire.wait_until("the child has started", || notes(rig).len() == 1);
    squire
}

#[test]
fn what_fails_its_check_is_never_seen_and_what_comes_after_it_is() {
    let tenant = Bao::shared().tenant();
    let rest = r#"
        on_change = "SIGHUP"
        [process]
        command = ["sh", "child"]
        [rollout]
        check = [["sh", "check", "{dir}"]]
    "#;
    let (rig, first) = rig(&tenant, rest);
    let mut squire = started(&rig);
    let bad = write(&tenant, "bad");
    squire.wait_until("it is refused", || !said(&rig, "generation failed its check").is_empty());
    squire.wait_until("and held", || !said(&rig, "held at the last good value").is_empty());
    let refused = said(&rig, "generation failed its check")[0].clone();
    let why = refused["why"].as_str().unwrap();
    assert!(why.contains("exit code 3") && why.contains("will not do: ***"), "{why}");
    assert!(!squire.log().contains(&bad), "the log has the value");
    stays_true(Duration::from_secs(3), "the first value stays, untouched and tried once", || {
        rig.read("out/password") == first
            && notes(&rig).len() == 1
            && said(&rig, "generation failed its check").len() == 1
    });
    let good = write(&tenant, "good");
    squire.wait_until("the next value is live", || rig.read("out/password") == good);
    squire.wait_until("and the child told", || notes(&rig).len() == 2);
    assert_eq!(squire.stop(), 0);
}

/// The log lines whose message begins with this.
fn said(rig: &Rig, beginning: &str) -> Vec<serde_json::Value> {
    let log = rig.read("stderr.1");
    let lines = log.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    lines
        .filter(|line| line["message"].as_str().is_some_and(|message| message.starts_with(beginning)))
        .collect()
}

#[test]
fn a_check_that_hangs_or_cannot_be_executed_fails() {
    let tenant = Bao::shared().tenant();
    for (check, word) in [
        (
            r#"{ run = ["sh", "-c", "sleep 600 & sleep 600"], timeout = "300ms" }"#,
            "took too long and was killed",
        ),
        (r#"["/does/not/exist"]"#, "cannot find"),
        (r#"["/etc/passwd"]"#, "cannot execute"),
    ] {
        let rest = format!("[process]\ncommand = [\"sh\", \"child\"]\n[rollout]\ncheck = [{check}]");
        let (rig, _) = rig(&tenant, &rest);
        let mut squire = rig.run();
        squire.wait_until("the first release is refused", || {
            let refused = said(&rig, "generation failed its check");
            refused.first().is_some_and(|line| line["why"].as_str().unwrap().contains(word))
        });
        squire.wait_until("and tried again", || said(&rig, "generation failed its check").len() > 1);
        assert!(!rig.path("out/password").exists() && notes(&rig).is_empty());
        squire.stop();
    }
}

/// A server whose health the test sets.
struct Health {
    address: String,
    is_well: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
}

impl Health {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (is_well, asked) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicUsize::new(0)));
        let health = Self { address, is_well: Arc::clone(&is_well), asked: Arc::clone(&asked) };
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                let mut line = String::new();
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                while reader.read_line(&mut line).is_ok_and(|read| read > 2) {}
                let status = if is_well.load(Ordering::SeqCst) { "200 OK" } else { "503 Unwell" };
                asked.fetch_add(1, Ordering::SeqCst);
                let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
                drop(stream.write_all(answer.as_bytes()));
            }
        });
        health
    }

    fn probe(&self) -> String {
        format!(
            "probe = {{ http = \"http://{}/healthz\", body = \"ok\", period = \"100ms\", timeout = \"1s\" }}",
            self.address
        )
    }
}

#[test]
fn what_the_process_is_not_well_with_is_taken_back_and_not_tried_in_a_loop() {
    let tenant = Bao::shared().tenant();
    let health = Health::start();
    let rest = format!(
        "on_change = \"SIGHUP\"\n[process]\ncommand = [\"sh\", \"child\"]\n[rollout]\n{}",
        health.probe()
    );
    let (rig, first) = rig(&tenant, &rest);
    let mut squire = started(&rig);
    squire.wait_until("it proved itself", || !said(&rig, "generation committed").is_empty());
    health.is_well.store(false, Ordering::SeqCst);
    let second = write(&tenant, "second");
    squire.wait_until("told of the new one and of the way back", || notes(&rig).len() == 3);
    assert_eq!(notes(&rig)[1..], [format!("HUP {second} "), format!("HUP {first} ")]);
    squire.wait_until("said", || !said(&rig, "generation taken back").is_empty());
    let asked = health.asked.load(Ordering::SeqCst);
    stays_true(Duration::from_secs(3), "the same value is not tried again", || {
        rig.read("out/password") == first && health.asked.load(Ordering::SeqCst) == asked
    });
    health.is_well.store(true, Ordering::SeqCst);
    let third = write(&tenant, "third");
    squire.wait_until("what is newer is tried", || notes(&rig).last() == Some(&format!("HUP {third} ")));
    assert_eq!(squire.stop(), 0);
}

#[test]
fn a_way_back_that_cannot_be_published_is_tried_until_it_can() {
    let tenant = Bao::shared().tenant();
    let health = Health::start();
    let rest = format!(
        "on_change = \"SIGHUP\"\n[process]\ncommand = [\"sh\", \"child\"]\n[rollout]\n{}",
        health.probe()
    );
    let (rig, first) = rig(&tenant, &rest);
    let output = Tmpfs::mount(&rig.path("out"));
    let mut squire = started(&rig);
    squire.wait_until("it proved itself", || !said(&rig, "generation committed").is_empty());
    health.is_well.store(false, Ordering::SeqCst);
    let second = write(&tenant, "second");
    squire.wait_until("told of the new one", || notes(&rig).len() == 2);
    output.turn_read_only();
    squire.wait_until("it cannot go back", || rig.read("stderr.1").contains("Read-only file system"));
    assert_eq!(rig.read("out/password"), second, "whole, if not well");
    output.turn_writable();
    squire.wait_until("it is back", || notes(&rig).last() == Some(&format!("HUP {first} ")));
    assert_eq!((rig.read("out/password"), notes(&rig).len()), (first, 3));
    squire.wait_until("said", || !said(&rig, "generation taken back").is_empty());
    assert_eq!(squire.stop(), 0);
}

#[test]
fn a_process_that_dies_of_its_new_environment_is_started_again_with_the_old_one() {
    let tenant = Bao::shared().tenant();
    let rest = r#"
        on_change = "none"
        [process]
        command = ["sh", "-c", "case $DB_PASSWORD in bad*) exit 9;; esac; exec sh child"]
        env = { DB_PASSWORD = "{{db.password}}" }
        [rollout]
        probe = { alive = "500ms" }
    "#;
    let (rig, first) = rig(&tenant, rest);
    let mut squire = started(&rig);
    squire.wait_until("it proved itself", || !said(&rig, "generation committed").is_empty());
    write(&tenant, "bad");
    squire.wait_until("started again", || notes(&rig).len() == 2);
    assert_eq!(notes(&rig)[1], format!("start {first} {first}"));
    assert!(squire.is_running());
    let good = write(&tenant, "good");
    squire.wait_until("what is newer is tried", || notes(&rig).len() == 3);
    assert_eq!(notes(&rig)[2], format!("start {good} {good}"));
    assert_eq!(squire.stop(), 0);
}

/// The database denies queries to new users; the process goes on with the old credentials, and a bad value of another secret does not block
/// the next credentials.
#[test]
fn credentials_that_cannot_be_used_are_taken_back_and_no_other_secret_blocks_the_next() {
    let (bao, postgres) = (Bao::start(), Postgres::shared());
    bao.connect_database(postgres, "rollout", 6, 18);
    let tenant = bao.tenant();
    write(&tenant, "first");
    let rig = Rig::new(&tenant);
    rig.write("check", CHECK);
    let url = postgres.url_template("pg");
    rig.config(&format!(
        r#"
        [secret.db]
        path = "secret/@tenant@/db"
        [secret.pg]
        path = "database/creds/rollout"
        [[file]]
        path   = "password"
        inline = "{{{{db.password}}}}"
        [[file]]
        path   = "url"
        inline = "{url}"
        [process]
        command = ["sleep", "1000"]
        on_change = "none"
        [rollout]
        grace = "1s"
        check = [["sh", "check", "{{dir}}"]]
        "#
    ));
    let mut squire = rig.run();
    squire.wait_until("the first release is live", || log_in(&rig.read("out/url")).is_ok());
    let user = log_in(&rig.read("out/url")).unwrap();
    let bad = write(&tenant, "bad");
    squire.wait_until("it is refused", || !said(&rig, "generation failed its check").is_empty());
    // The credentials are replaced all the same, with the good value beside them, and no published credential has ever ended.
    squire.wait_at_most(SOON * 3, "the credentials are replaced", || {
        let url = rig.read("out/url");
        log_in(&url).unwrap_or_else(|error| panic!("a dead credential: {error}")) != user
    });
    assert_ne!(rig.read("out/password"), bad);
    let users = postgres.roles("rollout");
    assert!(users.len() <= 2, "more than two sets: {users:?}");
    assert_eq!(squire.stop(), 143);
    wait_until(SOON, "no user is left", || postgres.roles("rollout").is_empty());
}

#[test]
fn a_process_that_fails_is_started_again_as_often_as_it_may() {
    let tenant = Bao::shared().tenant();
    let rest = r#"
        [process]
        command = ["sh", "-c", "echo start >> seen/notes; exit 7"]
        restart = "on-failure"
        restart_limit = 2
    "#;
    let (rig, _) = rig(&tenant, rest);
    let outcome = rig.run().outcome(SOON);
    assert_eq!(outcome.code, 7);
    assert_eq!(notes(&rig).len(), 3);
    assert!(
        outcome.stderr.contains("process ended by itself or could not be started too often"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn secrets_that_change_all_the_time_are_rolled_out_and_bounded() {
    let tenant = Bao::shared().tenant();
    let rest = r#"
        on_change = "SIGHUP"
        [process]
        command = ["sh", "child"]
        [rollout]
        settle = "1s"
        probe = { alive = "200ms" }
    "#;
    let (rig, _) = rig(&tenant, rest);
    rig.write(
        "squire.toml",
        &rig.read("squire.toml").replace("[secret.db]\n", "[secret.db]\nrefresh = \"200ms\"\n"),
    );
    let mut squire = started(&rig);
    let mut last = String::new();
    for _ in 0..28 {
        last = write(&tenant, "next");
        // This test is about how fast changes follow.
        std::thread::sleep(Duration::from_millis(700));
    }
    squire.wait_until("the last one arrives", || rig.read("out/password") == last);
    let told = notes(&rig).len();
    assert!((10..=22).contains(&told), "{told} rollouts in 20 s");
    assert_eq!(squire.stop(), 0);
}

#[test]
fn outside_its_window_a_change_waits_and_the_first_release_does_not() {
    let tenant = Bao::shared().tenant();
    // A day that is neither today nor tomorrow, in UTC.
    let days = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() / 86_400;
    let day = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"][usize::try_from((days + 3) % 7).unwrap()];
    let rest = format!(
        "on_change = \"SIGHUP\"\n[process]\ncommand = [\"sh\", \"child\"]\n[rollout]\nwindow = \"{day} 02:00-04:00 UTC\""
    );
    let (rig, first) = rig(&tenant, &rest);
    let mut squire = started(&rig);
    write(&tenant, "second");
    squire.wait_until("it waits", || !said(&rig, "generation waits for rollout.window").is_empty());
    stays_true(Duration::from_secs(2), "nothing changes", || rig.read("out/password") == first);
    assert_eq!((notes(&rig).len(), squire.stop()), (1, 0));
}
