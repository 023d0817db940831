//! Credentials that come late, are wrong, change, or run out.

use std::fs::File;
use std::time::{Duration, SystemTime};

use serde_json::json;

use crate::support::{Bao, Rig, SOON, Tenant, fresh, holds_within, stays_true};

fn rig(tenant: &Tenant<'_>) -> Rig {
    tenant.write("db", &json!({"password": fresh("password")}));
    let rig = Rig::new(tenant);
    rig.config(
        r#"
        [secret.db]
        path = "secret/@tenant@/db"
        [[file]]
        path   = "password"
        inline = "{{db.password}}"
        [process]
        command = ["sh", "-c", "echo start >> seen/starts; exec sleep 1000"]
        "#,
    );
    rig
}

#[test]
fn a_credential_file_that_is_missing_or_empty_is_waited_for_and_said_once() {
    let tenant = Bao::shared().tenant();
    for (missing, contents) in
        [("secret-id", None), ("role-id", None), ("secret-id", Some("")), ("secret-id", Some(" \n"))]
    {
        let rig = rig(&tenant);
        let credential = rig.read(missing);
        std::fs::remove_file(rig.path(missing)).unwrap();
        if let Some(contents) = contents {
            rig.write(missing, contents);
        }
        let mut squire = rig.run();
        squire.wait_until("it says that it waits", || {
            rig.read("stderr.1").contains("waiting for a credential file")
        });
        stays_true(Duration::from_millis(500), "it waits", || squire.is_running());
        // With the newline that editors and `echo` leave at the end.
        rig.write(missing, &format!("{credential}\n"));
        assert!(
            holds_within(Duration::from_secs(3), || !rig.read("seen/starts").is_empty()),
            "{missing} appeared ({contents:?} before) but no child started"
        );
        assert_eq!(squire.events("waiting for a credential file").len(), 1, "{missing} {contents:?}");
    }
}

#[test]
fn a_credential_file_may_appear_with_its_directory_and_by_a_rename() {
    let tenant = Bao::shared().tenant();
    let rig = rig(&tenant);
    let secret_id = rig.read("secret-id");
    std::fs::remove_file(rig.path("secret-id")).unwrap();
    std::os::unix::fs::symlink(rig.path("later/secret-id"), rig.path("secret-id")).unwrap();
    rig.allow_secrets_in("later");
    let mut squire = rig.run();
    squire.wait_until("it says that it waits", || {
        rig.read("stderr.1").contains("waiting for a credential file")
    });
    rig.write("seen/secret-id", &secret_id);
    std::fs::create_dir(rig.path("later")).unwrap();
    std::fs::rename(rig.path("seen/secret-id"), rig.path("later/secret-id")).unwrap();
    squire.wait_until("the child starts", || !rig.read("seen/starts").is_empty());
}

#[test]
fn a_refused_secret_id_is_sent_once_and_again_only_when_its_file_changes() {
    let bao = Bao::start();
    let tenant = bao.tenant();
    let rig = rig(&tenant);
    let right = rig.read("secret-id");
    rig.write("secret-id", "00000000-0000-0000-0000-000000000000");
    // A file as young as ours may be half written, and is sent a second time; this one is not.
    let file = File::options().write(true).open(rig.path("secret-id")).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_mins(1)).unwrap();
    let logins = || bao.count("update auth/approle/login");
    let mut squire = rig.run();
    squire.wait_until("it has tried to log in", || {
        logins() == 1 && rig.read("stderr.1").contains("login failed")
    });
    stays_true(Duration::from_secs(5), "one login, and squire waits", || {
        logins() == 1 && squire.is_running()
    });
    assert!(rig.read("stderr.1").contains("secret-id") || rig.read("stderr.1").contains("secret ID"));
    rig.write("secret-id", &right);
    assert!(
        holds_within(Duration::from_secs(3), || !rig.read("seen/starts").is_empty()),
        "the right secret-id is there but no child started; is the role locked? {:?}",
        bao.requests()
    );
    assert_eq!(logins(), 2);
}

#[test]
fn a_young_refused_secret_id_never_locks_the_role() {
    let bao = Bao::start();
    let tenant = bao.tenant();
    let rig = rig(&tenant);
    rig.write("secret-id", "00000000-0000-0000-0000-000000000000");
    let logins = || bao.count("update auth/approle/login");
    let mut squire = rig.run();
    squire.wait_until("it has tried to log in", || logins() >= 1);
    // The fifth refusal would lock the role for everyone.
    stays_true(Duration::from_secs(8), "at most two logins", || logins() <= 2 && squire.is_running());
}

#[test]
fn a_token_that_can_live_no_longer_is_replaced_without_touching_the_child() {
    let bao = Bao::start();
    let tenant = bao.tenant_with(&json!({"token_ttl": "3s", "token_max_ttl": "6s"}));
    let rig = rig(&tenant);
    let mut squire = rig.run();
    squire.wait_until("the child starts", || !rig.read("seen/starts").is_empty());
    squire.wait_until("it has logged in three times", || bao.count("update auth/approle/login") >= 3);
    assert!(
        bao.count("update auth/token/renew-self") >= 2,
        "the token was never renewed: {:?}",
        bao.requests()
    );
    let second = fresh("second");

    assert_eq!(rig.read("seen/starts"), "start\n");
    tenant.write("db", &json!({"password": second}));
    squire.wait_until("secrets are still followed", || rig.read("out/password") == second);
}

#[test]
fn a_revoked_token_leads_to_a_new_login() {
    let bao = Bao::start();
    // At the latest the next renewal shows that the token is dead.
    let tenant = bao.tenant_with(&json!({"token_ttl": "6s"}));
    let rig = rig(&tenant);
    let mut squire = rig.run();
    squire.wait_until("the child starts", || !rig.read("seen/starts").is_empty());
    let accessors = bao.api().get("auth/token/accessors?list=true");
    for accessor in accessors["data"]["keys"].as_array().unwrap() {
        let accessor = json!({"accessor": accessor});
        let token = bao.api().post("auth/token/lookup-accessor", &accessor);
        if token["data"]["meta"]["role_name"] == tenant.name() {
            bao.api().post("auth/token/revoke-accessor", &accessor);
        }
    }
    let second = fresh("second");
    tenant.write("db", &json!({"password": second}));
    squire.wait_until("secrets are still followed", || rig.read("out/password") == second);
    assert!(bao.count("update auth/approle/login") >= 2);
}

#[test]
fn a_role_without_secret_id_and_an_inline_role_id_log_in() {
    let tenant = Bao::shared().tenant_with(
        &json!({"bind_secret_id": false, "secret_id_bound_cidrs": [], "token_bound_cidrs": ["127.0.0.0/8"]}),
    );
    tenant.write("db", &json!({"password": fresh("password")}));
    let rig = Rig::at(Bao::shared().address());
    rig.canaries().add(&fresh("nothing"));
    rig.whole_config(&format!(
        r#"
        [source.vault]
        address = "@address@"
        [source.vault.auth.approle]
        role_id = "{}"
        [secret.db]
        path = "secret/{}/db"
        [output]
        dir = "@dir@/out"
        [[file]]
        path   = "password"
        inline = "{{{{db.password}}}}"
        "#,
        tenant.role_id(),
        tenant.name()
    ));
    let outcome = rig.start(&["render"]).outcome(SOON);
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    assert!(!rig.read("out/password").is_empty());
}

#[test]
fn a_token_from_a_file_is_enough() {
    let tenant = Bao::shared().tenant();
    tenant.write("db", &json!({"password": fresh("password")}));
    let rig = Rig::new(&tenant);
    rig.write("token", &format!("{}\n", tenant.token()));
    rig.whole_config(
        r#"
        [source.main]
        type    = "vault"
        address = "@address@"
        [source.main.auth.token]
        file = "@dir@/token"
        [secret.db]
        path = "secret/@tenant@/db"
        [output]
        dir = "@dir@/out"
        [[file]]
        path   = "password"
        inline = "{{db.password}}"
        "#,
    );
    let outcome = rig.render();
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    assert!(!rig.read("out/password").is_empty());
}
