//! Tokens with fewer rights than usual: the agent works with them, and never sends many logins.

use std::time::Duration;

use serde_json::json;

use crate::support::{
    Bao, CHILD, LogIns, Postgres, Rig, SOON, database_file, fresh, kv_file, stays_true, wait_until, works,
};

/// A server with a database role, and the configuration of a secret of each kind.
fn start(role: &str, ttl: u32, max_ttl: u32) -> (Bao, String) {
    let bao = Bao::start();
    bao.connect_database(Postgres::shared(), role, ttl, max_ttl);
    let config = format!("{}{}{CHILD}", kv_file("app"), database_file(Postgres::shared(), role));
    (bao, config)
}

#[test]
fn a_token_that_may_not_look_itself_up_works_without_new_logins() {
    let (bao, config) = start("nodef", 6, 12);
    let tenant = bao.tenant_with(&json!({"token_ttl": "1h", "token_no_default_policy": true}));
    tenant.write("app", &json!({"password": fresh("first")}));
    tenant.write("denied", &json!({"password": fresh("denied")}));
    let rig = Rig::new(&tenant);
    rig.config_of_source("address = \"@address@\"\nrefresh = \"1s\"\nlook_up_every = \"1s\"", &config);
    let mut squire = rig.run();
    squire.wait_until("everything is there", || {
        rig.read("seen/starts") == "start\n" && works(&rig, "out/nodef")
    });
    // It may not renew leases either, so each lease is replaced before its end.
    let mut log_ins = LogIns::start(&rig, &["out/nodef"]);
    stays_true(Duration::from_secs(25), "squire goes on", || squire.is_running());
    log_ins.stop();
    let failed = log_ins.failed_outside(&[]);
    assert!(failed.is_empty(), "{failed:#?}");
    assert!(log_ins.users() >= 3, "only {} users", log_ins.users());
    let sent = bao.count("update auth/approle/login");
    assert_eq!(sent, 1, "{:#?}", bao.requests());
    let second = fresh("second");
    tenant.write("app", &json!({"password": second}));
    squire.wait_until("secrets are followed", || rig.read("out/app") == second);
}

#[test]
fn a_token_bound_to_another_address_leads_to_no_storm_of_logins() {
    let (bao, config) = start("bound", 60, 60);
    let tenant = bao.tenant_with(&json!({"token_ttl": "1h", "token_bound_cidrs": ["192.0.2.0/24"]}));
    tenant.write("app", &json!({"password": fresh("first")}));
    let rig = Rig::new(&tenant);
    rig.config_of_source("address = \"@address@\"\nrefresh = \"1s\"\nlook_up_every = \"1s\"", &config);
    let mut squire = rig.run();
    stays_true(Duration::from_secs(20), "squire waits, nothing is published", || {
        squire.is_running() && !rig.path("out/app").exists()
    });
    let sent = bao.count("update auth/approle/login");
    assert!(sent <= 2, "{sent} logins in 20 s; one a minute is the limit");
    let requests = bao.requests().len();
    assert!(requests < 120, "{requests} requests in 20 s: {:#?}", bao.requests());
    let log = rig.read("stderr.1");
    let said = log.lines().any(|line| line.contains("\"WARN\"") && line.contains("denied"));
    assert!(said, "nothing was said of it");
}

#[test]
fn a_batch_token_has_successors_and_its_leases_are_given_back() {
    let (bao, config) = start("batch", 60, 3600);
    let tenant = bao.tenant_with(&json!({"token_type": "batch", "token_ttl": "8s", "token_max_ttl": "8s"}));
    tenant.write("app", &json!({"password": fresh("first")}));
    let rig = Rig::new(&tenant);
    rig.config(&format!("{config}\n[rollout]\ngrace = \"1s\"\n"));
    let mut squire = rig.run();
    squire.wait_until("everything is there", || {
        rig.read("seen/starts") == "start\n" && works(&rig, "out/batch")
    });
    let mut log_ins = LogIns::start(&rig, &["out/batch"]);
    stays_true(Duration::from_secs(25), "squire goes on", || squire.is_running());
    log_ins.stop();
    let failed = log_ins.failed_outside(&[]);
    assert!(failed.is_empty(), "{failed:#?}");
    let sent = bao.count("update auth/approle/login");
    assert!((4..=8).contains(&sent), "{sent} logins in 25 s with tokens of 8 s");
    assert_eq!(rig.read("seen/starts"), "start\n", "the child was touched");
    assert_eq!(squire.stop(), 128 + 15);
    // Sooner than the end of the tokens.
    wait_until(Duration::from_secs(2), "the leases are given back at the stop", || {
        Postgres::shared().roles("-batch-").is_empty()
    });
    wait_until(SOON, "no lease is left", || bao.leases("database/creds/batch").is_empty());
}
