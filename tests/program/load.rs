//! Rotations under load: which errors the clients of a process see.
//!
//! The load comes from `wrk`, which makes a new connection for each request; the process is `web.py`.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::support::{Bao, Postgres, Rig, SOON, Squire, Tenant, free_port, fresh, wait_until};

const ROTATIONS: usize = 20;
const REQUESTS: u64 = 20_000;

/// What `wrk` counted.
#[derive(Debug, Default)]
struct Load {
    requests: u64,
    /// Errors by kind: connect, read, write, timeout, status.
    errors: BTreeMap<String, u64>,
}

impl Load {
    fn failed(&self) -> u64 {
        self.errors.values().sum()
    }

    /// Two seconds of requests, four at a time.
    fn run(&mut self, port: u16) {
        let url = format!("http://127.0.0.1:{port}/");
        let output = Command::new("wrk")
            .args(["-t1", "-c4", "-d2s", "--timeout", "10s", "-H", "Connection: close", &url])
            .output()
            .expect("there is no wrk: start the tests with tests/run");
        let text = String::from_utf8(output.stdout).unwrap();
        for line in text.lines().map(str::trim) {
            if let Some((requests, _)) = line.split_once(" requests in ") {
                self.requests += requests.parse::<u64>().unwrap();
            } else if let Some(errors) = line.strip_prefix("Socket errors: ") {
                for error in errors.split(", ") {
                    let (kind, count) = error.split_once(' ').unwrap();
                    *self.errors.entry(kind.to_owned()).or_default() += count.parse::<u64>().unwrap();
                }
            } else if let Some(count) = line.strip_prefix("Non-2xx or 3xx responses: ") {
                *self.errors.entry("status".to_owned()).or_default() += count.parse::<u64>().unwrap();
            }
        }
    }
}

/// A web server whose password is rotated while clients send requests; at least this many rotations and requests.
fn rotate_under_load(process: &str, rotations: usize, requests: u64) -> Load {
    let tenant = Bao::shared().tenant();
    let port = free_port();
    let rig = rig(&tenant, &process.replace("PORT", &port.to_string()), port);
    write(&tenant);
    let mut squire = rig.run();
    squire.wait_until("the server answers", || get(port).is_ok());
    let is_rotated = AtomicBool::new(false);
    let mut load = Load::default();
    thread::scope(|scope| {
        let asking = scope.spawn(|| {
            while !is_rotated.load(Ordering::SeqCst) || load.requests < requests {
                load.run(port);
            }
        });
        for _ in 0..rotations {
            let password = write(&tenant);
            squire.wait_until("the new password answers", || {
                get(port).is_ok_and(|text| text.contains(&password))
            });
        }
        is_rotated.store(true, Ordering::SeqCst);
        asking.join().unwrap();
    });
    let starts = rig.read("seen/starts").lines().count();
    assert!(starts > rotations, "only {starts} starts");
    assert_eq!(squire.stop(), 0);
    eprintln!("{process}: {starts} processes, {load:?}");
    load
}

fn rig(tenant: &Tenant<'_>, process: &str, port: u16) -> Rig {
    let rig = Rig::new(tenant);
    rig.write("web.py", include_str!("web.py"));
    rig.config_of_source(
        "address = \"@address@\"\nrefresh = \"300ms\"",
        &format!(
            r#"
            [secret.db]
            path = "secret/@tenant@/db"
            [process]
            command = ["python3", "-S", "web.py", "{port}"]
            env = {{ PASSWORD = "{{{{db.password}}}}" }}
            {process}
            "#
        ),
    );
    rig
}

fn write(tenant: &Tenant<'_>) -> String {
    let password = fresh("password");
    tenant.write("db", &json!({"password": password}));
    password
}

fn get(port: u16) -> Result<String, ureq::Error> {
    ureq::get(&format!("http://127.0.0.1:{port}/")).call()?.body_mut().read_to_string()
}

#[test]
fn with_sockets_that_outlive_the_process_no_request_fails() {
    let load = rotate_under_load("listen = [\"tcp://127.0.0.1:PORT\"]", ROTATIONS, REQUESTS);
    assert_eq!(load.failed(), 0, "{load:?}");
}

#[test]
fn with_overlap_no_request_fails_either() {
    let process = r#"
        listen = ["tcp://127.0.0.1:PORT"]
        restart_mode = "overlap"
        [rollout]
        probe = { notify = true }
    "#;
    let load = rotate_under_load(process, ROTATIONS, REQUESTS);
    assert_eq!(load.failed(), 0, "{load:?}");
}

/// A comparison, which shows that the two tests above can fail.
#[test]
fn without_them_requests_fail() {
    let load = rotate_under_load("", 5, 1000);
    assert!(load.failed() > 0, "{load:?}");
}

#[test]
fn a_successor_that_does_not_prove_itself_goes_and_the_process_never_hears_of_it() {
    let tenant = Bao::shared().tenant();
    let port = free_port();
    let process = format!(
        r#"
        listen = ["tcp://127.0.0.1:{port}"]
        restart_mode = "overlap"
        [rollout]
        probe = {{ notify = true, timeout = "2s" }}
        "#
    );
    let rig = rig(&tenant, &process, port);
    let first = write(&tenant);
    let mut squire = rig.run();
    squire.wait_until("the server answers", || get(port).is_ok_and(|text| text.contains(&first)));
    squire.wait_until("and has proved itself", || rig.read("stderr.1").contains("generation committed"));
    let servers = || rig.processes().len();
    let before = servers();
    let broken = format!("{}-BROKEN", fresh("password"));
    tenant.write("db", &json!({"password": broken}));
    squire.wait_until("the successor runs beside it", || rig.read("seen/starts").lines().count() == 2);
    squire.wait_until("it is taken back", || rig.read("stderr.1").contains("generation taken back"));
    wait_until(SOON, "and gone", || servers() == before);
    assert_eq!(get(port).unwrap(), first);
    assert_eq!(rig.read("seen/starts").lines().count(), 2, "the first one was not started again");
    let good = write(&tenant);
    squire.wait_until("what is newer is tried", || get(port).is_ok_and(|text| text.contains(&good)));
    wait_until(SOON, "and the first one gone", || servers() == before);
    assert_eq!(squire.stop(), 0);
}

/// The database gives new users no rights any more: with new credentials a log-in works, but no query.
fn serve_without_grants(rollout: &str, refusal: &str) {
    let (bao, postgres) = (Bao::start(), Postgres::start());
    // Long enough for a second try before the first credentials end.
    bao.connect_database(&postgres, "grants", 40, 60);
    postgres.execute("CREATE TABLE accounts AS SELECT 'alice' AS owner; CREATE ROLE readers; GRANT SELECT ON accounts TO readers");
    let create = "CREATE ROLE \"{{name}}\" WITH LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'";
    let grant = "GRANT readers TO \"{{name}}\"";
    let role = |statements: &[&str]| {
        let role = json!({
            "db_name": "postgres", "creation_statements": statements, "default_ttl": "40s", "max_ttl": "60s",
        });
        bao.api().post("database/roles/grants", &role);
    };
    role(&[create, grant]);
    let (tenant, port) = (bao.tenant(), free_port());
    let rig = Rig::new(&tenant);
    rig.write("web.py", include_str!("web.py"));
    rig.config(&format!(
        r#"
        [secret.db]
        path = "database/creds/grants"
        [process]
        command = ["python3", "-S", "web.py", "{port}"]
        env = {{ DATABASE_URL = "{}" }}
        listen = ["tcp://127.0.0.1:{port}"]
        {rollout}
        "#,
        postgres.url_template("db")
    ));
    let mut squire = rig.run();
    squire.wait_until("the server answers", || get(port).is_ok());
    let first = get(port).unwrap();
    role(&[create]);
    let mut served = 0;
    let mut ask = |squire: &mut Squire<'_>, what: &str, done: &dyn Fn(&str) -> bool| {
        squire.wait_at_most(SOON * 6, what, || {
            let text = get(port).unwrap_or_else(|error| {
                panic!("after {served} requests: {error}; the servers say: {}", rig.read("seen/errors"))
            });
            served += 1;
            // A steady load, and not so much that other tests starve.
            thread::sleep(Duration::from_millis(50));
            done(&text)
        });
    };
    ask(&mut squire, "useless credentials are refused", &|_| rig.read("stderr.1").contains(refusal));
    assert_eq!(get(port).unwrap(), first, "it goes on with what it had");
    role(&[create, grant]);
    ask(&mut squire, "good ones are taken", &|text| text != first);
    assert!(served > 20, "{served}");
    assert_eq!(squire.stop(), 0);
    wait_until(SOON, "no user is left", || postgres.roles("-grants-").is_empty());
}

#[test]
fn credentials_without_grants_fail_their_check_and_every_request_is_served() {
    let check = r#"
        [rollout]
        grace = "1s"
        check = [["sh", "-c", "psql \"$DATABASE_URL\" -qtAc 'SELECT owner FROM accounts'"]]
    "#;
    serve_without_grants(check, "generation failed its check");
}

#[test]
fn credentials_without_grants_fail_their_probe_and_every_request_is_served() {
    let probe = r#"
        restart_mode = "overlap"
        [rollout]
        grace = "1s"
        probe = { notify = true }
    "#;
    serve_without_grants(probe, "generation taken back");
}
