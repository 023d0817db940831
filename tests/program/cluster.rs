//! A cluster of three servers: standbys that answer late, and a leader that dies.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{
    CHILD, Cluster, LogIns, Postgres, Rig, database_file, fresh, kv_file, record, recovered, stays_true,
    works,
};

#[test]
fn a_standby_that_knows_of_nothing_yet_neither_fails_a_start_nor_locks_the_role() {
    let cluster = Cluster::start();
    let tenant = cluster.leader().tenant();
    for round in 0..10 {
        let password = fresh("password");
        let rig = Rig::new(&tenant).through(cluster.standbys()[round % 2].address());
        rig.config(&kv_file("app"));
        // The leader has had both only for a moment: the secret-id and the value.
        rig.write("secret-id", &tenant.secret_id());
        tenant.write("app", &json!({"password": password}));
        let mut squire = rig.run();
        let bound = Duration::from_secs(5);
        recovered(&mut squire, Instant::now(), bound, "the newest value is there", || {
            rig.read("out/app") == password
        });
        squire.stop();
    }
    assert_eq!(tenant.log_in(&tenant.secret_id()), 200, "the role is locked");
}

#[test]
fn a_leader_that_dies_costs_no_credential() {
    let (cluster, postgres) = (Cluster::start(), Postgres::shared());
    cluster.leader().connect_database(postgres, "elected", 45, 3600);
    let tenant = cluster.leader().tenant();
    let first = fresh("first");
    tenant.write("app", &json!({"password": first}));
    let rig = Rig::new(&tenant);
    let standbys = cluster.standbys();
    rig.config_of_source(
        &format!(
            "addresses = [\"{}\", \"{}\", \"{}\"]\nrefresh = \"1s\"\nlook_up_every = \"2s\"",
            standbys[0].address(),
            cluster.leader().address(),
            standbys[1].address(),
        ),
        &format!("{}{}{CHILD}", kv_file("app"), database_file(postgres, "elected")),
    );
    let mut squire = rig.run();
    squire.wait_until("everything is there", || {
        rig.read("seen/starts") == "start\n" && works(&rig, "out/elected")
    });
    let mut log_ins = LogIns::start(&rig, &["out/elected"]);
    // The renewal becomes due 27 to 30 s after the start, while the leader is dead. An election took 13 s on a busy machine, which the lease
    // has to outlive.
    stays_true(Duration::from_secs(24), "squire goes on", || squire.is_running());
    let successor = cluster.crash_leader(|| assert_eq!(rig.read("out/app"), first));
    let elected = Instant::now();
    let second = fresh("second");
    let path = format!("secret/data/{}/app", tenant.name());
    successor.api().post(&path, &json!({"data": {"password": second}}));
    rig.canaries().add(&second);
    let bound = Duration::from_secs(2);
    let took =
        recovered(&mut squire, elected, bound, "values are followed", || rig.read("out/app") == second);
    // It was renewed, or replaced in time because no renewal succeeded; after its first end we can see which.
    stays_true(Duration::from_secs(25), "squire goes on", || squire.is_running());
    assert!(works(&rig, "out/elected"));
    log_ins.stop();
    let failed = log_ins.failed_outside(&[]);
    assert!(failed.is_empty(), "{failed:#?}");
    assert!(log_ins.users() <= 2, "{} users for one election", log_ins.users());
    assert_eq!(rig.read("seen/starts"), "start\n");
    record(
        "leader of three killed: redirects to the dead one until there is another",
        Some(took),
        "files and process untouched, every log-in to the database succeeds",
        "values are followed; the lease that was due meanwhile is renewed, or replaced once",
    );
}
