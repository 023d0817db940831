//! Servers that refuse, lack something, or are no secret servers: a clear error, no child, nothing published.

use serde_json::json;

use crate::support::{Bao, Impostor, Manners, Outcome, Rig, SOON, Tenant, fresh};

/// Runs Squire against a server that gives it no secret, with a child that must not start.
fn ends_with_125(rig: &Rig, secret: &str) -> Outcome {
    rig.whole_config(&format!(
        r#"
        startup_timeout = "2s"
        [source.vault]
        address = "@address@"
        [source.vault.auth.approle]
        role_id_file   = "@dir@/role-id"
        secret_id_file = "@dir@/secret-id"
        [secret.good]
        path = "secret/@tenant@/good"
        [secret.bad]
        path = "{secret}"
        [output]
        dir = "@dir@/out"
        [[file]]
        path   = "good"
        inline = "{{{{good.password}}}}"
        [[file]]
        path   = "bad"
        inline = "{{{{bad.password}}}}"
        "#
    ));
    let outcome = rig.run_command(&["touch", "seen/started"]).outcome(SOON);
    assert_eq!(outcome.code, 125, "{}", outcome.stderr);
    assert!(!rig.path("seen/started").exists(), "the child was started");
    assert!(!rig.path("out/good").exists(), "a part of a release was published");
    outcome
}

fn tenant() -> Tenant<'static> {
    let tenant = Bao::shared().tenant();
    tenant.write("good", &json!({"password": fresh("password")}));
    tenant
}

/// The log without trace and debug, as an operator sees it.
fn visible(outcome: &Outcome) -> String {
    let hidden = ["\"TRACE\"", "\"DEBUG\""];
    outcome
        .stderr
        .lines()
        .filter(|line| !hidden.iter().any(|level| line.contains(level)))
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn a_path_that_the_policy_denies_is_named_with_the_capability() {
    let tenant = tenant();
    let log = visible(&ends_with_125(&Rig::new(&tenant), "secret/of-others/db"));
    assert!(
        log.contains("secret/data/of-others/db") || log.contains("secret/of-others/db"),
        "the path: {log}"
    );
    assert!(log.contains("denied") && log.contains("read"), "the reason: {log}");
}

#[test]
fn a_path_that_does_not_exist_is_named() {
    let tenant = tenant();
    let path = format!("{}/never-written", tenant.name());
    let log = visible(&ends_with_125(&Rig::new(&tenant), &format!("secret/{path}")));
    assert!(log.contains("never-written"), "{log}");
    let log = visible(&ends_with_125(&Rig::new(&tenant), &format!("kv1/{path}")));
    assert!(log.contains("never-written"), "{log}");
}

#[test]
fn a_mount_that_does_not_exist_is_named() {
    let tenant = tenant();
    let log = visible(&ends_with_125(&Rig::new(&tenant), "no-such-mount/db"));
    assert!(log.contains("no-such-mount"), "{log}");
}

#[test]
fn a_deleted_secret_is_named() {
    let tenant = tenant();
    tenant.write("deleted", &json!({"password": fresh("password")}));
    tenant.delete("deleted");
    let log = visible(&ends_with_125(&Rig::new(&tenant), &format!("secret/{}/deleted", tenant.name())));
    assert!(log.contains("/deleted"), "{log}");
}

#[test]
fn a_missing_field_is_named_with_the_fields_there_are_and_no_value() {
    let tenant = Bao::shared().tenant();
    tenant.write("db", &json!({"user": "value-of-user-field", "pass": fresh("password")}));
    let rig = Rig::new(&tenant);
    rig.write("app.hbs", "first\n{{db.password}}\n");
    rig.whole_config(
        r#"
        startup_timeout = "2s"
        [source.vault]
        address = "@address@"
        [source.vault.auth.approle]
        role_id_file   = "@dir@/role-id"
        secret_id_file = "@dir@/secret-id"
        [secret.db]
        path = "secret/@tenant@/db"
        [output]
        dir = "@dir@/out"
        [[file]]
        path     = "app"
        template = "app.hbs"
        "#,
    );
    let outcome = rig.render();
    assert_eq!(outcome.code, 1, "{}", outcome.stderr);
    let log = visible(&outcome);
    for word in ["app.hbs", "db", "password", "user", "pass"] {
        assert!(log.contains(word), "{word} is not named: {log}");
    }
    assert!(!outcome.stderr.contains("value-of-user-field"), "a value was logged");
    assert!(!rig.path("out/app").exists());
}

#[test]
fn a_server_that_is_something_else_never_starts_the_child() {
    for manners in [Manners::Html, Manners::OtherJson, Manners::Silent, Manners::HangsUp] {
        let impostor = Impostor::start(manners);
        let log = visible(&ends_with_125(&Rig::at(&impostor.address()), "secret/bad"));
        assert!(impostor.visitors() > 0);
        // A server that does not answer is still being waited for: then the missing secrets are named.
        let named = [impostor.address().as_str(), "vault", "bad"].iter().any(|name| log.contains(name));
        assert!(named, "neither the source nor what is missing is named: {log}");
    }
}

#[test]
fn nobody_at_the_address_never_starts_the_child() {
    let address = Impostor::start(Manners::HangsUp).address();
    let log = visible(&ends_with_125(&Rig::at(&address), "secret/bad"));
    assert!(log.contains("refused"), "{log}");
}

#[test]
fn an_endless_answer_is_cut_off() {
    let impostor = Impostor::start(Manners::Endless);
    let rig = Rig::at(&impostor.address());
    rig.config(
        "\n[secret.db]\npath = \"secret/db\"\n[[file]]\npath = \"db\"\ninline = \"{{db.password}}\"\n",
    );
    let mut squire = rig.run();
    let log = || rig.read("stderr.1");
    squire.wait_until("the answer is given up", || log().contains("login failed"));
    let status = std::fs::read_to_string(format!("/proc/{}/status", squire.id())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let kilobytes: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(kilobytes < 200_000, "squire held {kilobytes} kB of it");
}

#[test]
fn an_outage_keeps_the_files_and_the_child() {
    let mut bao = Bao::start();
    let password = fresh("password");
    let address = bao.address().to_owned();
    let rig = {
        let tenant = bao.tenant();
        tenant.write("db", &json!({"password": password}));
        Rig::new(&tenant)
    };
    rig.config(
        r#"
        [secret.db]
        path = "secret/@tenant@/db"
        [[file]]
        path   = "password"
        inline = "{{db.password}}"
        "#,
    );
    let mut squire = rig.run_command(&["sh", "-c", "echo start >> seen/starts; exec sleep 1000"]);
    squire.wait_until("the child runs", || rig.read("seen/starts") == "start\n");
    bao.stop();
    let impostor = Impostor::in_place_of(&address, Manners::HangsUp);
    squire.wait_until("it was tried three times", || impostor.visitors() >= 3);
    assert_eq!(rig.read("out/password"), password);
    assert_eq!(rig.read("seen/starts"), "start\n");
    assert_eq!(squire.stop(), 128 + 15, "a server that is gone must not keep squire from ending");
}

#[test]
fn a_secret_that_is_deleted_later_keeps_its_last_value() {
    let bao = Bao::start();
    let tenant = bao.tenant();
    let password = fresh("password");
    tenant.write("db", &json!({"password": password}));
    let rig = Rig::new(&tenant);
    rig.config(
        r#"
        [secret.db]
        path = "secret/@tenant@/db"
        [[file]]
        path   = "password"
        inline = "{{db.password}}"
        "#,
    );
    let mut squire = rig.run();
    squire.wait_until("the file is there", || rig.read("out/password") == password);
    tenant.delete("db");
    let reads = bao.count("read secret/data/");
    squire.wait_until("it was read again", || bao.count("read secret/data/") >= reads + 2);
    assert_eq!(rig.read("out/password"), password);
    let second = fresh("second");
    tenant.write("db", &json!({"password": second}));
    squire.wait_until("its next value is taken", || rig.read("out/password") == second);
}
