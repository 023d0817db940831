//! A secret server or a database that is away for a while: nothing that is valid is lost, and everything due is done right afterwards.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{
    Bao, CHILD, Gate, LogIns, Postgres, Raft, Rig, SOON, database_file, fresh, kv_file, log_in, long, record,
    recovered, stays_true, wait_until, works,
};

const SHORT: Duration = Duration::from_secs(2);
const LONGER: Duration = Duration::from_secs(5);

/// How long the outage lasts, and how soon afterwards everything has to be well again.
fn down_at_start(outage: Duration, bound: Duration) {
    let raft = Raft::start(false);
    let tenant = raft.bao().tenant();
    let password = fresh("password");
    tenant.write("db", &json!({"password": password}));
    let rig = Rig::new(&tenant);
    rig.config(&format!("{}{CHILD}", kv_file("db")));
    raft.bao().crash();
    let mut squire = rig.run();
    stays_true(outage, "squire waits, nothing is published, no child runs", || {
        squire.is_running() && !rig.path("out/db").exists() && rig.read("seen/starts").is_empty()
    });
    raft.come_back();
    let took =
        recovered(&mut squire, Instant::now(), bound, "the child starts after the server's return", || {
            !rig.read("seen/starts").is_empty()
        });
    assert_eq!(rig.read("out/db"), password);
    record(
        &format!("server down at start for {} s", outage.as_secs()),
        Some(took),
        "nothing published, no process",
        "the process runs with its files",
    );
}

#[test]
fn a_server_that_comes_ten_seconds_late_is_used_at_once() {
    down_at_start(Duration::from_secs(10), SHORT);
}

#[test]
fn a_server_that_comes_a_minute_late_is_used_soon() {
    if long() {
        down_at_start(Duration::from_mins(1), LONGER);
    }
}

fn down_mid_run(role: &str, outage: Duration, bound: Duration) {
    let (raft, postgres) = (Raft::start(false), Postgres::shared());
    raft.bao().connect_database(postgres, role, 8, 3600);
    let tenant = raft.bao().tenant();
    let (first, second) = (fresh("first"), fresh("second"));
    tenant.write("app", &json!({"password": first}));
    let gate = Gate::before(raft.bao().address());
    let rig = Rig::new(&tenant).through(&gate.address());
    rig.config(&format!("{}{}{CHILD}", kv_file("app"), database_file(postgres, role)));
    let mut squire = rig.run();
    let file = format!("out/{role}");
    squire.wait_until("everything is there", || {
        rig.read("seen/starts") == "start\n" && rig.read("out/app") == first && works(&rig, &file)
    });
    let ended = rig.read(&file);

    gate.shut();
    raft.bao().crash();
    stays_true(outage, "the files and the child stay as they are", || {
        squire.is_running() && rig.read("out/app") == first && rig.read(&file) == ended
    });
    assert!(log_in(&ended).is_err(), "the credentials outlived their lease of 8 s");
    raft.come_back();
    tenant.write("app", &json!({"password": second}));
    gate.open();
    let back = Instant::now();
    let took = recovered(&mut squire, back, bound, "the new value and living credentials are there", || {
        rig.read("out/app") == second && works(&rig, &file)
    });
    assert_eq!(rig.read("seen/starts"), "start\n", "the outage cost the child its life");
    assert_eq!(squire.stop(), 128 + 15);
    wait_until(SOON, "no user is left behind", || postgres.roles(&format!("-{role}-")).is_empty());
    record(
        &format!("server down {} s mid-run", outage.as_secs()),
        Some(took),
        "files and process untouched; database credentials of 8 s ended meanwhile",
        "KV value that changed meanwhile and new database credentials; no lease left after the stop",
    );
}

#[test]
fn what_changed_or_ended_in_thirty_seconds_without_a_server_is_made_good_at_once() {
    down_mid_run("down30", Duration::from_secs(30), SHORT);
}

#[test]
fn what_changed_or_ended_in_two_minutes_without_a_server_is_made_good_soon() {
    if long() {
        down_mid_run("down120", Duration::from_mins(2), LONGER);
    }
}

#[test]
fn a_lease_that_falls_due_while_the_server_is_sealed_is_kept() {
    let (raft, postgres) = (Raft::start(false), Postgres::shared());
    raft.bao().connect_database(postgres, "sealed", 30, 3600);
    let tenant = raft.bao().tenant();
    tenant.write("app", &json!({"password": fresh("first")}));
    let rig = Rig::new(&tenant);
    rig.config(&format!("{}{}{CHILD}", kv_file("app"), database_file(postgres, "sealed")));
    let mut squire = rig.run();
    squire.wait_until("everything is there", || {
        rig.read("seen/starts") == "start\n" && works(&rig, "out/sealed")
    });
    let url = rig.read("out/sealed");
    let mut log_ins = LogIns::start(&rig, &["out/sealed"]);
    let renewals = raft.bao().count("update sys/leases/renew");

    raft.seal();
    stays_true(Duration::from_secs(20), "squire goes on", || squire.is_running());
    raft.unseal();
    let back = Instant::now();
    let second = fresh("second");
    tenant.write("app", &json!({"password": second}));
    let took =
        recovered(&mut squire, back, SHORT, "the new value is there", || rig.read("out/app") == second);
    squire.wait_until("the lease was renewed", || raft.bao().count("update sys/leases/renew") > renewals);
    // After the end that the lease had before the server was sealed.
    stays_true(Duration::from_secs(12), "the credentials stay", || rig.read("out/sealed") == url);
    log_ins.stop();
    let failed = log_ins.failed_outside(&[]);
    assert!(failed.is_empty(), "{failed:#?}");
    assert_eq!(rig.read("seen/starts"), "start\n");
    record(
        "sealed 20 s and unsealed",
        Some(took),
        "files and process untouched, every log-in to the database succeeds",
        "the lease that was due meanwhile is renewed: same user",
    );
}

/// The credentials of one role end while the database is down; those of the other become due then, but end after it is back.
#[test]
fn credentials_are_served_to_their_true_end_while_the_database_is_down() {
    const DOWN: Duration = Duration::from_secs(20);
    let (bao, postgres) = (Bao::start(), Postgres::start());
    bao.connect_database(&postgres, "brief", 9, 9);
    bao.connect_database(&postgres, "lasting", 34, 34);
    let tenant = bao.tenant();
    tenant.write("app", &json!({"password": fresh("first")}));
    let rig = Rig::new(&tenant);
    let files = [kv_file("app"), database_file(&postgres, "brief"), database_file(&postgres, "lasting")];
    rig.config(&format!("{}{CHILD}", files.concat()));
    let mut squire = rig.run();
    squire.wait_until("everything is there", || {
        rig.read("seen/starts") == "start\n" && works(&rig, "out/brief") && works(&rig, "out/lasting")
    });
    let started = Instant::now();
    let (brief, lasting) = (rig.read("out/brief"), rig.read("out/lasting"));
    let minted = |role: &str| bao.count(&format!("read database/creds/{role}"));

    postgres.go_down();
    stays_true(DOWN, "the old credentials stay in the files", || {
        squire.is_running() && rig.read("out/brief") == brief && rig.read("out/lasting") == lasting
    });
    // A failed try makes no user. Its pause is two seconds at most once the old credential has ended, so that the return of the database is
    // noticed. The mint budget counts only credentials that were made.
    let tries = minted("brief");
    assert!(tries <= 1 + 20, "{tries} tries to make a user: {:#?}", bao.requests());
    let second = fresh("second");
    tenant.write("app", &json!({"password": second}));
    postgres.come_back();
    let back = Instant::now();
    let took = recovered(&mut squire, back, SHORT, "new credentials are there", || {
        rig.read("out/brief") != brief && works(&rig, "out/brief")
    });
    squire.wait_until("the other secrets were never held up", || rig.read("out/app") == second);
    // The server drops the users that ended meanwhile when it can, so the test counts how many were made.
    wait_until(
        Duration::from_secs(12),
        "a living credential is not given up before its successor works",
        || {
            let url = rig.read("out/lasting");
            assert!(log_in(&url).is_ok(), "dead {:?} after the start", started.elapsed());
            url != lasting
        },
    );
    works(&rig, "out/lasting");
    let users = minted("brief") - tries;
    assert!(users <= 4, "{users} tries within {:?} of the return", back.elapsed());
    assert_eq!(rig.read("seen/starts"), "start\n");
    assert_eq!(squire.stop(), 128 + 15);
    wait_until(SOON * 2, "no user is left behind", || postgres.roles("v-approle").is_empty());
    record(
        "PostgreSQL down 20 s while a role is due",
        Some(took),
        &format!(
            "old credentials stay, {} tries to replace those that ended; other secrets followed",
            tries - 1
        ),
        "new credentials; those that lived on were replaced before their end; no user left after the stop",
    );
}

fn first_of_two_is_gone(name: &str, role: &str, bound: Duration, fail: impl Fn(&Gate)) {
    let (bao, postgres) = (Bao::start(), Postgres::shared());
    bao.connect_database(postgres, role, 60, 3600);
    let tenant = bao.tenant();
    tenant.write("app", &json!({"password": fresh("first")}));
    let gate = Gate::before(bao.address());
    let rig = Rig::new(&tenant);
    rig.config_of_source(
        &format!("addresses = [\"{}\", \"{}\"]\nrefresh = \"1s\"", gate.address(), bao.address()),
        &format!("{}{}{CHILD}", kv_file("app"), database_file(postgres, role)),
    );
    let mut squire = rig.run();
    let file = format!("out/{role}");
    squire.wait_until("everything is there", || rig.read("seen/starts") == "start\n" && works(&rig, &file));
    let url = rig.read(&file);
    fail(&gate);
    let gone = Instant::now();
    let second = fresh("second");
    tenant.write("app", &json!({"password": second}));
    let took = recovered(&mut squire, gone, bound, "the value comes from the second address", || {
        rig.read("out/app") == second
    });
    let third = fresh("third");
    tenant.write("app", &json!({"password": third}));
    let again = Instant::now();
    recovered(&mut squire, again, SHORT, "the second address is remembered", || rig.read("out/app") == third);
    assert_eq!(rig.read(&file), url);
    assert_eq!(bao.count("update auth/approle/login"), 1);
    record(
        name,
        Some(took),
        "files and process untouched",
        "the second address is used from then on; same token, same database user",
    );
}

#[test]
fn the_second_address_is_used_when_the_first_refuses() {
    first_of_two_is_gone("first node of two gone: refuses", "refuses", SHORT, Gate::shut);
}

#[test]
fn the_second_address_is_used_when_the_first_hangs() {
    // One request time-out of 30 s, and the time of the next read.
    let bound = Duration::from_secs(32);
    first_of_two_is_gone("first node of two gone: hangs", "hangs", bound, Gate::jam);
}
