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
fn a_credential_is_noticed_when_a_directory_above_it_is_exchanged() {
    let tenant = Bao::shared().tenant();
    let rig = rig(&tenant);
    let secret_id = rig.read("secret-id");
    std::fs::remove_file(rig.path("secret-id")).unwrap();
    rig.whole_config(&rig.read("squire.toml").replace("/secret-id", "/now/secret-id"));
    for directory in ["one", "two", "three"] {
        rig.allow_secrets_in(directory);
    }
    rig.write("one/secret-id", "");
    rig.write("two/secret-id", "00000000-0000-0000-0000-000000000000");
    rig.write("three/secret-id", &secret_id);
    let point = |to: &str| {
        std::os::unix::fs::symlink(rig.path(to), rig.path("next")).unwrap();
        std::fs::rename(rig.path("next"), rig.path("now")).unwrap();
    };
    point("one");
    let mut squire = rig.run();
    squire.wait_until("it says that it waits", || {
        rig.read("stderr.1").contains("waiting for a credential file")
    });
    // Twice, since the second directory was not watched from the beginning.
    point("two");
    squire.wait_until("it is refused", || rig.read("stderr.1").contains("login failed"));
    point("three");
    squire.wait_until("the child starts", || !rig.read("seen/starts").is_empty());
}

#[test]
fn a_refused_secret_id_is_sent_once_and_again_only_when_its_file_changes() {
    let bao = Bao::start();
    let tenant = bao.tenant();
    let rig = rig(&tenant);
    let right = rig.read("secret-id");
    rig.write("secret-id", "00000000-0000-0000-0000-000000000000");
    // A file as young as ours may be only half written, so its content is sent a second time; this one is not.
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
    // The next renewal, at the latest, shows that the token is dead.
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

/// A rig whose secret-id file will hold a wrapping token, and does not exist yet.
fn wrapping_rig(tenant: &Tenant<'_>) -> Rig {
    let rig = rig(tenant);
    let configuration = rig.read("squire.toml");
    let unwrapping = "[source.vault.auth.approle]\nunwrap = true";
    rig.whole_config(&configuration.replace("[source.vault.auth.approle]", unwrapping));
    std::fs::remove_file(rig.path("secret-id")).unwrap();
    rig
}

#[test]
fn a_wrapped_secret_id_that_comes_late_is_used_deleted_and_remembered() {
    let bao = Bao::start();
    let tenant = bao.tenant_with(&json!({"token_ttl": "3s", "token_max_ttl": "6s"}));
    let rig = wrapping_rig(&tenant);
    let mut squire = rig.run();
    squire.wait_until("it says that it waits", || {
        rig.read("stderr.1").contains("waiting for a credential file")
    });
    rig.write("secret-id", &tenant.wrapped_secret_id());
    assert!(
        holds_within(Duration::from_secs(3), || !rig.read("seen/starts").is_empty()),
        "the wrapped secret-id is there but no child started: {:?}",
        bao.requests()
    );
    assert!(!rig.path("secret-id").exists());
    // Without the file, since the tokens cannot live longer.
    squire.wait_until("it has logged in three times", || bao.count("update auth/approle/login") >= 3);
    assert_eq!(bao.count("update sys/wrapping/unwrap"), 1);
    assert_eq!((rig.read("seen/starts").as_str(), squire.is_running()), ("start\n", true));
}

#[test]
fn a_wrapping_token_from_another_path_is_refused_and_said_loudly() {
    let bao = Bao::start();
    let tenant = bao.tenant();
    let rig = wrapping_rig(&tenant);
    let forged = bao.api().wrap("sys/wrapping/wrap", &json!({"secret_id": tenant.secret_id()}));
    rig.canaries().add(&forged);
    rig.write("secret-id", &forged);
    let mut squire = rig.run();
    squire.wait_until("it has refused the token", || !squire_said(&rig, "SECURITY: ").is_empty());
    let said = squire_said(&rig, "SECURITY: ");
    assert!(said.contains("\"ERROR\"") && said.contains("sys/wrapping/wrap"), "{said}");
    assert!(said.contains(&format!("{}", rig.path("secret-id").display())), "{said}");
    squire.wait_until("it says what it does", || !squire_said(&rig, "login failed").is_empty());
    assert_eq!((bao.count("update sys/wrapping/unwrap"), bao.count("update auth/approle/login")), (0, 0));
    rig.write("secret-id", &tenant.wrapped_secret_id());
    squire.wait_until("the child starts with the right one", || !rig.read("seen/starts").is_empty());
}

/// The first line of the first run's log that contains this text; empty if there is none.
fn squire_said(rig: &Rig, part: &str) -> String {
    rig.read("stderr.1").lines().find(|line| line.contains(part)).unwrap_or_default().to_owned()
}

#[test]
fn a_token_file_that_is_replaced_is_used_within_a_second_and_touches_no_process() {
    let bao = Bao::start();
    let tenant = bao.tenant();
    let rig = rig(&tenant);
    let configuration = rig.read("squire.toml");
    let (before, after) = configuration.split_once("[source.vault.auth.approle]").unwrap();
    let (_, after) = after.split_once("[output]").unwrap();
    let token = "[source.vault.auth.token]\nfile = \"@dir@/token\"\n[output]";
    rig.whole_config(&format!("{before}{token}{after}"));
    let old = tenant.token();
    rig.write("token", &old);
    let mut squire = rig.run();
    squire.wait_until("the child starts", || !rig.read("seen/starts").is_empty());
    // Only the file shows that there is another token: the old one stays valid.
    rig.write("token", &format!("{}\n", tenant.token()));
    assert!(
        holds_within(Duration::from_secs(1), || squire.events("logged in").len() == 2),
        "the new token was not taken"
    );
    assert_eq!(rig.read("seen/starts"), "start\n", "the process is not touched by a new token");
    bao.api().post("auth/token/revoke", &json!({"token": old}));
    let second = fresh("second");
    tenant.write("db", &json!({"password": second}));
    squire.wait_until("secrets are followed with the new token", || rig.read("out/password") == second);
    assert!(squire.events("token is dead, logging in anew").is_empty());
}

#[test]
fn a_refused_secret_id_that_is_rewritten_with_the_same_contents_is_not_sent_again() {
    // A server of its own, since its logins are counted.
    let bao = Bao::start();
    let tenant = bao.tenant();
    tenant.write("db", &json!({"password": fresh("password")}));
    let rig = Rig::new(&tenant);
    rig.config(
        "\n[secret.db]\npath = \"secret/@tenant@/db\"\n[[file]]\npath = \"db\"\ninline = \"{{db.password}}\"\n",
    );
    let right = rig.read("secret-id");
    rig.write("secret-id", "00000000-0000-0000-0000-000000000000");
    let mut squire = rig.run();
    squire.wait_until("it is refused", || squire_log(&rig).contains("login failed"));
    let before = bao.count("update auth/approle/login");
    for _ in 0..6 {
        // Like a tool that truncates the file before it writes.
        std::fs::write(rig.path("secret-id"), "").unwrap();
        std::thread::sleep(Duration::from_millis(60));
        std::fs::write(rig.path("secret-id"), "00000000-0000-0000-0000-000000000000\n").unwrap();
        std::thread::sleep(Duration::from_millis(60));
    }
    assert_eq!(bao.count("update auth/approle/login"), before);
    rig.write("secret-id", &right);
    squire.wait_until("the right one is used", || !rig.read("out/db").is_empty());
}

fn squire_log(rig: &Rig) -> String {
    rig.read("stderr.1")
}
