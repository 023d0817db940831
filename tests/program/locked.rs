//! Credentials that are wrong or late: the role is never locked, and the right credential is used at once.

use std::fs::remove_file;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{Bao, CHILD, Rig, fresh, kv_file, record, recovered, stays_true};

#[test]
fn forty_seconds_of_a_wrong_secret_id_do_not_lock_the_role() {
    let bao = Bao::start();
    let tenant = bao.tenant();
    tenant.write("app", &json!({"password": fresh("password")}));
    let rig = Rig::new(&tenant);
    rig.config(&format!("{}{CHILD}", kv_file("app")));
    let right = rig.read("secret-id");
    rig.write("secret-id", "00000000-0000-0000-0000-000000000000");
    let mut squire = rig.run();
    stays_true(Duration::from_secs(40), "squire waits", || squire.is_running());
    let refused = bao.count("update auth/approle/login");
    // The fifth refusal would lock the role. A good login resets the count, so this comes last.
    assert!((1..=2).contains(&refused), "{refused} logins with the wrong secret-id");
    assert_eq!(tenant.log_in(&tenant.secret_id()), 200, "the role is locked for others");
    rig.write("secret-id", &right);
    let corrected = Instant::now();
    let bound = Duration::from_secs(2);
    let took =
        recovered(&mut squire, corrected, bound, "the child starts", || rig.read("seen/starts") == "start\n");
    record(
        "wrong secret-id for 40 s, then corrected",
        Some(took),
        &format!("{refused} logins sent in 40 s; others log in with the role"),
        "logged in, the process runs",
    );
}

#[test]
fn a_credential_file_that_comes_late_is_used_at_once() {
    let tenant = Bao::shared().tenant();
    tenant.write("app", &json!({"password": fresh("password")}));
    for late in ["secret-id", "role-id"] {
        let rig = Rig::new(&tenant);
        rig.config(&format!("{}{CHILD}", kv_file("app")));
        let credential = rig.read(late);
        remove_file(rig.path(late)).unwrap();
        let mut squire = rig.run();
        stays_true(Duration::from_secs(10), "squire waits", || squire.is_running());
        rig.write(late, &credential);
        let written = Instant::now();
        let bound = Duration::from_secs(1);
        let took = recovered(&mut squire, written, bound, "the child starts", || {
            rig.read("seen/starts") == "start\n"
        });
        record(
            &format!("{late} file 10 s late"),
            Some(took),
            "no login sent, nothing published",
            "logged in, the process runs",
        );
    }
}
