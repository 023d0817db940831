//! Dynamic PostgreSQL credentials: renewed, replaced before they end, and never a failed log-in.
//!
//! The child that logs in is this test binary, started once more: see [`login_child`].

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{Bao, Postgres, Rig, SOON, log_in, wait_until};

/// How long the child logs in.
const SPAN: Duration = Duration::from_mins(1);

/// A credential's time to live, and the longest one, in seconds.
const TTL: (u32, u32) = (4, 12);

/// The variables that turn [`login_child`] from an empty test into the child: where its URL is (`file PATH` or `env NAME`).
const URL_FROM: &str = "LOGIN_CHILD_URL_FROM";
const NOTES: &str = "LOGIN_CHILD_NOTES";

#[test]
fn no_log_in_fails_for_a_minute_when_the_child_is_restarted() {
    let process = format!(
        "on_change = \"restart\"\nenv = {{ DATABASE_URL = \"{}\", {URL_FROM} = \"env DATABASE_URL\" }}",
        Postgres::shared().url_template("db")
    );
    let log_ins =
        log_in_for_a_minute("restart", &json!({"token_ttl": "1h"}), "on_change = \"none\"", &process);
    assert!(distinct(&log_ins, |log_in| &log_in.process) >= 4, "the child was hardly ever restarted");
}

#[test]
fn no_log_in_fails_for_a_minute_when_the_child_is_signalled() {
    let process = format!("env = {{ {URL_FROM} = \"file out/url\" }}");
    let log_ins =
        log_in_for_a_minute("signal", &json!({"token_ttl": "1h"}), "on_change = \"SIGHUP\"", &process);
    assert_eq!(distinct(&log_ins, |log_in| &log_in.process), 1, "the child was restarted");
}

#[test]
fn no_log_in_fails_for_a_minute_when_tokens_end_sooner_than_the_leases() {
    let process = format!("env = {{ {URL_FROM} = \"file out/url\" }}");
    let role = json!({"token_ttl": "5s", "token_max_ttl": "10s"});
    let log_ins = log_in_for_a_minute("shortly", &role, "on_change = \"SIGHUP\"", &process);
    assert_eq!(distinct(&log_ins, |log_in| &log_in.process), 1, "the child was restarted");
}

/// One line that the child wrote.
struct LogIn {
    process: String,
    user: String,
}

/// Runs the child under Squire and returns every log-in; none may have failed. The server shortens the role's name to eight letters in the
/// names of the users that it makes, so the name is no longer than that.
fn log_in_for_a_minute(role: &str, approle: &serde_json::Value, file: &str, process: &str) -> Vec<LogIn> {
    let (bao, postgres) = (Bao::start(), Postgres::shared());
    bao.connect_database(postgres, role, TTL.0, TTL.1);
    let tenant = bao.tenant_with(approle);
    let rig = Rig::new(&tenant);
    let program = std::env::current_exe().unwrap();
    rig.config(&format!(
        r#"
        [secret.db]
        path = "database/creds/{role}"
        [[file]]
        path   = "url"
        inline = "{}"
        {file}
        [rollout]
        grace = "2s"
        [process]
        command = ["{}", "--exact", "database::login_child", "--nocapture"]
        {process}
        "#,
        postgres.url_template("db"),
        program.display()
    ));
    rig.set(NOTES, rig.path("seen/log-ins").to_str().unwrap());
    let mut squire = rig.run();
    squire.wait_until("the child logs in", || rig.read("seen/log-ins").contains('\n'));
    let end = Instant::now() + SPAN;
    while Instant::now() < end {
        add_password(&rig);
        assert!(squire.is_running(), "squire ended");
        let notes = rig.read("seen/log-ins");
        let failed: Vec<_> = notes.lines().filter(|line| line.contains(" failed ")).collect();
        assert!(
            failed.is_empty(),
            "{failed:#?}\nof {} log-ins; {:#?}",
            notes.lines().count(),
            bao.requests()
        );
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(squire.stop(), 128 + 15);
    wait_until(SOON, "the database's roles are gone", || postgres.roles(&format!("-{role}-")).is_empty());

    let log_ins: Vec<_> = rig.read("seen/log-ins").lines().filter_map(parse).collect();
    assert!(log_ins.len() > 300, "only {} log-ins", log_ins.len());
    let users = distinct(&log_ins, |log_in| &log_in.user);
    assert!(users >= 4, "only {users} users in a minute");
    assert!(bao.count("update sys/leases/renew") >= 4, "hardly any renewal: {:#?}", bao.requests());
    let minted = bao.count(&format!("read database/creds/{role}"));
    assert!(minted <= 13, "{minted} users were made; one in 5 s is the limit");
    log_ins
}

fn parse(line: &str) -> Option<LogIn> {
    let (process, rest) = line.split_once(' ')?;
    let user = rest.strip_prefix("logged in as ")?;
    Some(LogIn { process: process.to_owned(), user: user.to_owned() })
}

fn distinct<'a>(log_ins: &'a [LogIn], key: impl Fn(&'a LogIn) -> &'a String) -> usize {
    log_ins.iter().map(key).collect::<std::collections::BTreeSet<_>>().len()
}

/// The server chose the password, so the canaries take it from the output.
fn add_password(rig: &Rig) {
    let url = rig.read("out/url");
    if let Some((_, password)) = url.split_once('@').and_then(|(before, _)| before.rsplit_once(':')) {
        rig.canaries().add(&percent_encoding::percent_decode_str(password).decode_utf8().unwrap());
    }
}

/// The child: logs in every 100 ms with the URL in its environment, or in a file that it reads again on SIGHUP.
///
/// It is a test only so that the test binary can be the child as well; without its variables it does nothing.
#[test]
fn login_child() {
    let (Ok(from), Ok(notes)) = (std::env::var(URL_FROM), std::env::var(NOTES)) else { return };
    let reload = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(signal_hook::consts::SIGHUP, Arc::clone(&reload)).unwrap();
    let read = || match from.split_once(' ') {
        Some(("file", path)) => std::fs::read_to_string(path).unwrap(),
        Some((_, name)) => std::env::var(name).unwrap(),
        None => panic!("{URL_FROM} is not `file PATH` or `env NAME`"),
    };
    let mut url = read();
    let mut notes = std::fs::File::options().append(true).create(true).open(notes).unwrap();
    loop {
        if reload.swap(false, Ordering::Relaxed) {
            url = read();
        }
        let note = match log_in(&url) {
            Ok(user) => format!("{} logged in as {user}\n", std::process::id()),
            Err(error) => format!("{} failed {error:?}\n", std::process::id()),
        };
        notes.write_all(note.as_bytes()).unwrap();
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_lease_that_the_server_lost_is_replaced() {
    let (bao, postgres) = (Bao::start(), Postgres::shared());
    bao.connect_database(postgres, "lost", TTL.0, 3600);
    let tenant = bao.tenant();
    let rig = Rig::new(&tenant);
    rig.config(&format!(
        "\n[secret.db]\npath = \"database/creds/lost\"\n[[file]]\npath = \"url\"\ninline = \"{}\"\non_change = \"none\"\n",
        postgres.url_template("db")
    ));
    let mut squire = rig.run_command(&["sleep", "1000"]);
    squire.wait_until("the first credentials work", || log_in(&rig.read("out/url")).is_ok());
    add_password(&rig);
    let first = rig.read("out/url");
    bao.api().post("sys/leases/revoke-prefix/database/creds/lost", &json!({}));
    squire.wait_until("new credentials are there and work", || {
        let url = rig.read("out/url");
        url != first && log_in(&url).is_ok()
    });
    add_password(&rig);
    squire.stop();
    wait_until(SOON, "no credentials are left behind", || postgres.roles("-lost-").is_empty());
}

#[test]
fn a_database_that_is_down_costs_other_secrets_nothing() {
    let (bao, postgres) = (Bao::start(), Postgres::shared());
    bao.connect_database(postgres, "absent", TTL.0, TTL.1);
    let tenant = bao.tenant();
    tenant.write("db", &json!({"password": crate::support::fresh("first")}));
    let rig = Rig::new(&tenant);
    rig.config(&format!(
        r#"
        [secret.dynamic]
        path = "database/creds/absent"
        [secret.static]
        path = "secret/@tenant@/db"
        [[file]]
        path   = "url"
        inline = "{}"
        [[file]]
        path   = "password"
        inline = "{{{{static.password}}}}"
        "#,
        postgres.url_template("dynamic")
    ));
    let mut squire = rig.run();
    squire.wait_until("both are there", || !rig.read("out/password").is_empty());
    add_password(&rig);
    // The engine makes no new credentials: every mint is an error for that path.
    bao.api().delete("database/roles/absent");
    let minted = bao.count("read database/creds/");
    squire.wait_until("a mint has failed", || bao.count("read database/creds/") > minted);
    let second = crate::support::fresh("second");
    tenant.write("db", &json!({"password": second}));
    squire.wait_until("the static secret is still followed", || rig.read("out/password") == second);
    assert!(!rig.read("out/url").is_empty(), "the file was emptied");
}
