//! Values that vanish, paths that are denied for a while, and templates that cannot be rendered.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{
    Bao, CHILD, Postgres, Rig, Squire, Tenant, database_file, fresh, kv_file, record, recovered, stays_true,
    works,
};

/// A value is re-read each second, ±10 %. A value that is gone is requested again a little more slowly.
const REREAD: Duration = Duration::from_secs(2);

/// A tenant with two secrets, one of which will have a problem.
fn start<'a>(tenant: &Tenant<'_>, rig: &'a Rig) -> (Squire<'a>, String, String) {
    let (victim, other) = (fresh("victim"), fresh("other"));
    tenant.write("victim", &json!({"password": victim}));
    tenant.write("other", &json!({"password": other}));
    rig.config(&format!("{}{}{CHILD}", kv_file("victim"), kv_file("other")));
    let mut squire = rig.run();
    squire.wait_until("both are there", || rig.read("seen/starts") == "start\n");
    (squire, victim, other)
}

#[test]
fn a_value_that_is_deleted_destroyed_or_forgotten_is_kept_until_there_is_another() {
    type Removal = fn(&Tenant<'_>);
    let removals: [(&str, Removal); 3] = [
        ("deleted", |tenant| tenant.delete("victim")),
        ("destroyed", |tenant| {
            let path = format!("secret/destroy/{}/victim", tenant.name());
            tenant.bao().api().post(&path, &json!({"versions": [1]}));
        }),
        ("deleted with its metadata", |tenant| {
            tenant.bao().api().delete(&format!("secret/metadata/{}/victim", tenant.name()));
        }),
    ];
    for (name, remove) in removals {
        let tenant = Bao::shared().tenant();
        let rig = Rig::new(&tenant);
        let (mut squire, victim, _) = start(&tenant, &rig);
        remove(&tenant);
        squire.wait_until("it is said", || !squire_said(&rig, "victim").is_empty());
        stays_true(Duration::from_secs(5), "the value is kept", || rig.read("out/victim") == victim);
        let said = squire_said(&rig, "victim").len();
        assert_eq!(said, 1, "the same trouble was said {said} times");
        let next = fresh("next");
        tenant.write("other", &json!({"password": next}));
        squire.wait_until("the other secret is followed", || rig.read("out/other") == next);
        let again = fresh("again");
        tenant.write("victim", &json!({"password": again}));
        let took = recovered(&mut squire, Instant::now(), REREAD, "the new value is there", || {
            rig.read("out/victim") == again
        });
        assert_eq!(rig.read("seen/starts"), "start\n");
        record(
            &format!("KV value {name}, then written again"),
            Some(took),
            "the last value is kept, said once; other secrets are followed",
            "the new value, at the next re-read",
        );
    }
}

#[test]
fn a_path_that_the_policy_takes_away_is_denied_alone_and_resumes() {
    let (bao, postgres) = (Bao::start(), Postgres::shared());
    bao.connect_database(postgres, "policed", 5, 3600);
    let tenant = bao.tenant();
    let rig = Rig::new(&tenant);
    let (victim, other) = (fresh("victim"), fresh("other"));
    tenant.write("victim", &json!({"password": victim}));
    tenant.write("other", &json!({"password": other}));
    let files = [kv_file("victim"), kv_file("other"), database_file(postgres, "policed")];
    rig.config(&format!("{}{CHILD}", files.concat()));
    let mut squire = rig.run();
    squire.wait_until("everything is there", || {
        rig.read("seen/starts") == "start\n" && works(&rig, "out/policed")
    });
    let url = rig.read("out/policed");
    let denied = format!(
        "{}\npath \"secret/data/{}/victim\" {{ capabilities = [\"deny\"] }}",
        tenant.policy(),
        tenant.name()
    );
    tenant.set_policy(&denied);
    tenant.write("victim", &json!({"password": fresh("unseen")}));
    squire.wait_until("it is said", || !squire_said(&rig, "victim").is_empty());
    for round in 0..3 {
        let next = fresh("next");
        tenant.write("other", &json!({"password": next}));
        let written = Instant::now();
        recovered(&mut squire, written, REREAD, "the other secret is not disturbed", || {
            rig.read("out/other") == next
        });
        assert_eq!(rig.read("out/victim"), victim, "in round {round}");
    }
    stays_true(Duration::from_secs(8), "the lease is renewed", || {
        rig.read("out/policed") == url && works(&rig, "out/policed")
    });
    let lines = squire_said(&rig, "victim");
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert!(lines[0].contains("denied") && lines[0].contains("read"), "path and capability: {lines:#?}");
    assert_eq!(bao.count("update auth/approle/login"), 1, "a denied path led to a login");

    tenant.set_policy(&tenant.policy());
    let back = fresh("back");
    tenant.write("victim", &json!({"password": back}));
    let took =
        recovered(&mut squire, Instant::now(), REREAD, "the path resumes", || rig.read("out/victim") == back);
    assert_eq!(rig.read("seen/starts"), "start\n");
    record(
        "policy takes one path away, gives it back",
        Some(took),
        "that path alone is denied, said once with path and capability; no login, leases renewed",
        "the path resumes",
    );
}

#[test]
fn a_template_that_cannot_be_rendered_costs_no_new_credential() {
    let (bao, postgres) = (Bao::start(), Postgres::shared());
    bao.connect_database(postgres, "beside", 5, 3600);
    let tenant = bao.tenant();
    tenant.write("app", &json!({"password": fresh("password")}));
    let rig = Rig::new(&tenant);
    let missing = kv_file("app").replace("app.password", "app.missing");
    rig.config(&format!("{missing}{}{CHILD}", database_file(postgres, "beside")));
    let mut squire = rig.run();
    squire.wait_until("the lease was made and the release failed", || {
        bao.leases("database/creds/beside").len() == 1
            && rig.read("stderr.1").contains("\"release not rendered\"")
    });
    let lease = bao.leases("database/creds/beside");
    stays_true(Duration::from_secs(20), "one lease and one user", || {
        std::thread::sleep(Duration::from_millis(200));
        squire.is_running()
            && bao.leases("database/creds/beside") == lease
            && postgres.roles("-beside-").len() == 1
    });
    assert!(!rig.path("out/beside").exists(), "a part of a release was published");
    assert_eq!(bao.count("read database/creds/beside"), 1);
    let password = fresh("missing");
    tenant.write("app", &json!({"password": fresh("other"), "missing": password}));
    let took =
        recovered(&mut squire, Instant::now(), REREAD, "the child starts when the field is there", || {
            rig.read("seen/starts") == "start\n"
        });
    assert!(works(&rig, "out/beside"));
    assert_eq!(bao.leases("database/creds/beside"), lease);
    record(
        "one template cannot be rendered beside a database secret",
        Some(took),
        "one lease and one database user for 20 s, four times its life; nothing published",
        "published with the same lease as soon as the field is there",
    );
}

/// The log lines of an operator about this secret.
fn squire_said(rig: &Rig, secret: &str) -> Vec<String> {
    let log = rig.read("stderr.1");
    let about = |line: &&str| {
        line.contains(&format!("\"secret\":\"{secret}\""))
            && (line.contains("\"WARN\"") || line.contains("\"ERROR\""))
    };
    log.lines().filter(about).map(str::to_owned).collect()
}
