//! The embedded store as a source: the same templates, processes and rollouts, without a server.

use std::time::{Duration, Instant};

use crate::support::{Rig, STORE_SOURCE, fresh, make_role, make_store, store};

/// A rig with a store of two environments, and a role for one of them.
fn rig() -> (Rig, String) {
    let rig = Rig::at("http://127.0.0.1:1");
    make_store(&rig);
    let first = fresh("first");
    store(&rig, &["put", "prod/app/db"], &format!(r#"{{"username": "alice", "password": "{first}"}}"#));
    store(&rig, &["put", "dev/app/db"], "x");
    make_role(&rig, &["--read", "prod/app/*"]);
    (rig, first)
}

fn put(rig: &Rig) -> String {
    let password = fresh("next");
    store(rig, &["put", "prod/app/db"], &format!(r#"{{"username": "alice", "password": "{password}"}}"#));
    password
}

#[test]
fn a_put_by_any_process_is_seen_at_once_and_rolled_out() {
    let (rig, first) = rig();
    rig.whole_config(&format!(
        r#"
        {STORE_SOURCE}
        [secret.db]
        path = "prod/app/db"
        [output]
        dir = "@dir@/out"
        [[file]]
        path   = "password"
        inline = "{{{{db.password}}}}"
        on_change = "SIGHUP"
        [process]
        command = ["sh", "-c", "trap 'cat out/password >> seen/told; echo >> seen/told' HUP; echo $USER_NAME > seen/started; while :; do sleep 0.05; done"]
        env = {{ USER_NAME = "{{{{db.username}}}}" }}
        "#
    ));
    let mut squire = rig.run();
    squire.wait_until("it is published", || rig.read("out/password") == first);
    squire.wait_until("the process runs", || rig.read("seen/started") == "alice\n");
    for _ in 0..3 {
        let password = put(&rig);
        let since = Instant::now();
        squire.wait_until("the new value is published", || rig.read("out/password") == password);
        squire.wait_until("and the process told", || rig.read("seen/told").contains(&password));
        assert!(since.elapsed() < Duration::from_secs(10), "that was the re-read after 5 minutes, or luck");
    }
    assert_eq!(rig.read("seen/told").lines().count(), 3, "{}", rig.read("seen/told"));
    // An unchanged secret is not read again when another one changes.
    for number in 0..3 {
        store(&rig, &["put", "prod/app/other"], &number.to_string());
    }
    let last = put(&rig);
    squire.wait_until("the last value is published", || rig.read("out/password") == last);
    let reads = store(&rig, &["audit", "prod/app/db", "--who", "web", "--action", "read", "--json"], "");
    assert_eq!(reads.lines().count(), 5, "{reads}");
    assert_eq!(squire.stop(), 143);
    assert!(store(&rig, &["verify"], "").contains("all is as it should be"));
}

#[test]
fn what_the_role_may_not_read_is_said_with_its_path() {
    let (rig, _) = rig();
    rig.whole_config(&format!(
        "{STORE_SOURCE}\n[secret.db]\npath = \"dev/app/db\"\n[output]\ndir = \"@dir@/out\"\n[[file]]\npath = \
         \"x\"\ninline = \"{{{{db.value}}}}\"\n"
    ));
    rig.render_says("permission denied on dev/app/db: needs read");
    assert!(!rig.path("out/x").exists());
}

#[test]
fn a_wrong_secret_id_is_not_tried_in_a_loop_and_a_right_one_is_taken_at_once() {
    let (rig, first) = rig();
    let right = rig.read("web.secret-id");
    rig.write("web.secret-id", &"0".repeat(64));
    rig.whole_config(&format!(
        "{STORE_SOURCE}\n[secret.db]\npath = \"prod/app/db\"\n[output]\ndir = \"@dir@/out\"\n[[file]]\npath = \"x\"\ninline = \
         \"{{{{db.password}}}}\"\n"
    ));
    let mut squire = rig.run();
    squire.wait_until("it is refused", || rig.read("stderr.1").contains("does not open with this"));
    rig.write("web.secret-id", &right);
    squire.wait_until("it is published", || rig.read("out/x") == first);
    assert_eq!(squire.stop(), 0);
}

#[test]
fn the_environment_refers_to_it_too() {
    let (rig, first) = rig();
    let path = |name: &str| rig.path(name).to_str().unwrap().to_owned();
    rig.set("SQUIRE_STORE", &path("app.store"));
    rig.set("SQUIRE_STORE_ROLE_ID", &rig.read("role-id"));
    rig.set("SQUIRE_STORE_SECRET_ID_FILE", &path("web.secret-id"));
    rig.set("DB_PASSWORD", "store:prod/app/db#password");
    let mut squire =
        rig.start(&["run", "--", "sh", "-c", "env > seen/new; mv seen/new seen/env; exec sleep 1000"]);
    squire.wait_until("the process has it", || {
        rig.read("seen/env").contains(&format!("DB_PASSWORD={first}\n"))
    });
    let second = put(&rig);
    squire.wait_until("and the next", || rig.read("seen/env").contains(&format!("DB_PASSWORD={second}\n")));
    assert!(!rig.read("seen/env").contains("SQUIRE_STORE"));
    assert_eq!(squire.stop(), 143);
}
