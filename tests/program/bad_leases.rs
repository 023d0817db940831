//! Leases that are too short, have no end, or cannot be renewed.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{
    Bao, CHILD, Impostor, LogIns, Manners, Postgres, Rig, SOON, database_file, fresh, kv_file, log_in,
    record, recovered, stays_true, wait_until, works,
};

/// Runs with one database role for a while; every log-in is counted. Returns how many users there were.
fn no_log_in_fails(role: &str, ttl: u32, max_ttl: u32, span: Duration) -> (usize, usize) {
    let (bao, postgres) = (Bao::start(), Postgres::shared());
    bao.connect_database(postgres, role, ttl, max_ttl);
    let tenant = bao.tenant();
    let rig = Rig::new(&tenant);
    rig.config(&format!("{}{CHILD}\n[rollout]\ngrace = \"1s\"\n", database_file(postgres, role)));
    let mut squire = rig.run();
    let file = format!("out/{role}");
    squire.wait_until("the credentials are there", || {
        rig.read("seen/starts") == "start\n" && works(&rig, &file)
    });
    let mut log_ins = LogIns::start(&rig, &[&file]);
    stays_true(span, "squire goes on", || squire.is_running());
    log_ins.stop();
    let failed = log_ins.failed_outside(&[]);
    assert!(failed.is_empty(), "{failed:#?}");
    assert_eq!(rig.read("seen/starts"), "start\n");
    let minted = bao.count(&format!("read database/creds/{role}"));
    assert_eq!(squire.stop(), 128 + 15);
    wait_until(SOON, "no user is left behind", || postgres.roles(&format!("-{role}-")).is_empty());
    (log_ins.users(), minted)
}

#[test]
fn a_lease_of_one_second_is_kept_alive_without_a_storm() {
    let (_, minted) = no_log_in_fails("second", 1, 3600, Duration::from_secs(15));
    assert!(minted <= 4, "{minted} users in 15 s although the lease can be renewed for an hour");
}

#[test]
fn a_lease_that_cannot_be_renewed_past_its_first_life_is_replaced_in_time() {
    let (users, minted) = no_log_in_fails("once", 6, 6, Duration::from_secs(30));
    assert!(users >= 4, "{users} users in 30 s with leases of 6 s at most");
    assert!(minted <= 30 / 2, "{minted} users in 30 s with leases of 6 s");
}

#[test]
fn a_static_role_becomes_valid_again_after_each_rotation() {
    let (bao, postgres) = (Bao::start(), Postgres::start());
    bao.connect_database(&postgres, "unused", 60, 60);
    postgres.execute("CREATE ROLE fixed LOGIN PASSWORD 'changes at once'");
    let definition = json!({
        "db_name": "postgres",
        "username": "fixed",
        "rotation_period": "6s",
        "rotation_statements": ["ALTER ROLE \"{{name}}\" WITH PASSWORD '{{password}}'"],
    });
    bao.api().post("database/static-roles/fixed", &definition);
    let tenant = bao.tenant();
    let rig = Rig::new(&tenant);
    let file = database_file(&postgres, "fixed").replace("database/creds/", "database/static-creds/");
    rig.config_of_source("address = \"@address@\"\nrefresh = \"5m\"", &format!("{file}{CHILD}"));
    let mut squire = rig.run();
    squire.wait_until("the credentials are there", || {
        rig.read("seen/starts") == "start\n" && works(&rig, "out/fixed")
    });
    let (mut log_ins, started) = (LogIns::start(&rig, &["out/fixed"]), Instant::now());
    let (mut passwords, mut dead, mut longest) = (Vec::new(), None::<Instant>, Duration::ZERO);
    while started.elapsed() < Duration::from_secs(40) {
        let url = rig.read("out/fixed");
        if passwords.last() != Some(&url) {
            passwords.push(url.clone());
        }
        let valid = log_in(&url).is_ok();
        let since = *dead.get_or_insert_with(Instant::now);
        longest = longest.max(since.elapsed());
        if valid {
            dead = None;
        }
        assert!(since.elapsed() < Duration::from_secs(3), "dead for {:?}", since.elapsed());
        std::thread::sleep(Duration::from_millis(20));
    }
    log_ins.stop();
    assert!(passwords.len() >= 3, "only {} passwords in 40 s with rotations each 6 to 10 s", passwords.len());
    assert_eq!(rig.read("seen/starts"), "start\n");
    // The server reports a lifetime of 0 for up to 4 s: then Squire asks once a second.
    let reads = bao.count("read database/static-creds/fixed");
    assert!(reads <= 42, "{reads} reads in 40 s");
    record(
        "static role rotated by the server, period 6 s",
        Some(longest),
        &format!("{} passwords and {reads} reads in 40 s", passwords.len()),
        "the file is valid again each time",
    );
}

#[test]
fn a_static_role_that_an_operator_rotates_is_found_at_the_next_re_read() {
    let (bao, postgres) = (Bao::start(), Postgres::start());
    bao.connect_database(&postgres, "unused", 60, 60);
    postgres.execute("CREATE ROLE manual LOGIN PASSWORD 'changes at once'");
    bao.api().post(
        "database/static-roles/manual",
        &json!({"db_name": "postgres", "username": "manual", "rotation_period": "24h"}),
    );
    let tenant = bao.tenant();
    let rig = Rig::new(&tenant);
    let file = database_file(&postgres, "manual").replace("database/creds/", "database/static-creds/");
    rig.config(&format!("{file}{CHILD}"));
    let mut squire = rig.run();
    squire.wait_until("the credentials are there", || {
        rig.read("seen/starts") == "start\n" && works(&rig, "out/manual")
    });
    bao.api().post("database/rotate-role/manual", &json!({}));
    let bound = Duration::from_secs(2);
    recovered(&mut squire, Instant::now(), bound, "the file is valid again", || works(&rig, "out/manual"));
}

#[test]
fn a_certificate_with_a_lease_outlives_the_token_that_made_it_by_a_successor() {
    let bao = Bao::start();
    let web = json!({"allow_any_name": true, "key_type": "ec", "key_bits": 256, "max_ttl": "24h", "generate_lease": true});
    bao.api().post("pki/roles/leased", &web);
    let tenant = bao.tenant_with(&json!({"token_ttl": "6s", "token_max_ttl": "6s"}));
    tenant.write("app", &json!({"password": fresh("app")}));
    let rig = Rig::new(&tenant);
    rig.config(&format!(
        "{}{}{CHILD}",
        kv_file("app"),
        r#"
        [secret.web]
        path   = "pki/issue/leased"
        params = { common_name = "web.internal", ttl = "1h" }
        [[file]]
        path   = "serial"
        inline = "{{web.serial_number}}"
        on_change = "none"
        [rollout]
        grace = "500ms"
        "#
    ));
    let mut squire = rig.run();
    squire.wait_until("the certificate is there", || rig.read("seen/starts") == "start\n");
    // Its token ends after 6 s and the certificate with it: a revoked certificate must never be in the file.
    let mut serials = std::collections::BTreeSet::new();
    stays_true(Duration::from_secs(20), "the certificate in the file is not revoked", || {
        std::thread::sleep(Duration::from_millis(100));
        let serial = rig.read("out/serial");
        let certificate = bao.api().get(&format!("pki/cert/{serial}"));
        serials.insert(serial);
        certificate["data"]["revocation_time"] == 0 && squire.is_running()
    });
    assert!((3..=10).contains(&serials.len()), "{} certificates in 20 s", serials.len());
    // A certificate cannot be renewed, and Squire must not try.
    assert_eq!(bao.count("update sys/leases/renew"), 0, "{:#?}", bao.requests());
}

/// No real server sends this; a broken one or a proxy may, and it must not end Squire.
#[test]
fn lives_longer_than_time_itself_end_nobody() {
    // Mints and static roles with such numbers at the first answer, and renewals with them later.
    for seconds in [u64::MAX - 1, u64::MAX, 1 << 63, (1 << 63) - 1] {
        let server = Impostor::start(Manners::Boasts(seconds));
        let rig = Rig::at(&server.address());
        rig.config_of_source(
            "address = \"@address@\"\nlook_up_every = \"1s\"",
            r#"
            [secret.made]
            path = "database/creds/app"
            [secret.fixed]
            path = "database/static-creds/app"
            [[file]]
            path = "users"
            inline = "{{made.username}} {{fixed.username}}"
            [process]
            command = ["sh", "-c", "echo > seen/started; exec sleep 1000"]
            "#,
        );
        let mut squire = rig.run();
        squire.wait_until("the process runs", || rig.path("seen/started").exists());
        squire.wait_until("the lease is renewed, or looked up", || {
            !squire_log(&rig, "lease renewed").is_empty() || server.visitors() > 8
        });
        assert_eq!(squire.stop(), 143, "{seconds}");
        assert!(squire_log(&rig, "panicked").is_empty(), "{seconds}");
    }
}

fn squire_log(rig: &Rig, word: &str) -> Vec<String> {
    rig.read("stderr.1").lines().filter(|line| line.contains(word)).map(str::to_owned).collect()
}
