//! A credential that its login uses up, and a restart: it is in the ledger, for as long as it is good and nothing newer is there.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Bao, CHILD, Rig, SOON, Squire, Tenant, fresh, kv_file, status, stays_true, wait_until};

const LOGIN: &str = "update auth/approle/login";
const UNWRAP: &str = "update sys/wrapping/unwrap";
/// Where the secret-id is kept.
const KEPT: &str = "ledger/vault.credential.sealed";

/// A rig with a ledger and a process, whose secret-id file is not there yet; with these settings of the login and of `[agent]`.
fn rig(tenant: &Tenant<'_>, login: &str, agent: &str) -> Rig {
    tenant.write("db", &json!({"password": fresh("password")}));
    let rig = Rig::new(tenant);
    std::fs::remove_file(rig.path("secret-id")).unwrap();
    rig.config(&format!("{}{CHILD}\n[agent]\nledger = \"@dir@/ledger\"\n{agent}", kv_file("db")));
    set(&rig, login);
    rig
}

/// Puts these settings in front of those of the login.
fn set(rig: &Rig, login: &str) {
    let table = "[source.vault.auth.approle]";
    rig.whole_config(&rig.read("squire.toml").replace(table, &format!("{table}\n{login}")));
}

/// A secret-id of the role with these settings, and the token that wraps it.
fn wrapped(tenant: &Tenant<'_>, settings: &Value) -> (String, String) {
    let secret_id = fresh("secret-id");
    let mut body = settings.clone();
    body["secret_id"] = json!(secret_id);
    let path = format!("auth/approle/role/{}/custom-secret-id", tenant.name());
    let token = tenant.bao().api().wrap(&path, &body);
    tenant.canaries().add(&secret_id);
    tenant.canaries().add(&token);
    (secret_id, token)
}

/// Makes the server forget a secret-id.
fn destroy(tenant: &Tenant<'_>, secret_id: &str) {
    let path = format!("auth/approle/role/{}/secret-id/destroy", tenant.name());
    tenant.bao().api().post(&path, &json!({"secret_id": secret_id}));
}

fn has_started(squire: &mut Squire<'_>, rig: &Rig, times: usize) {
    squire.wait_until("its process starts", || rig.read("seen/starts").lines().count() == times);
}

/// Kills Squire and ends what it logged in for.
fn kill_and_end_tokens(squire: &mut Squire<'_>, tenant: &Tenant<'_>) {
    squire.kill();
    tenant.revoke_tokens();
    wait_until(SOON, "the token is gone", || tenant.tokens().is_empty());
}

fn waits_for_a_file(squire: &Squire<'_>) {
    wait_until(SOON, "it waits for a file", || !waiting(squire).is_empty());
}

fn waiting(squire: &Squire<'_>) -> Vec<Value> {
    squire.events("waiting for a credential file")
}

/// What the log says of the one login of this run.
fn said(squire: &Squire<'_>) -> Value {
    wait_until(SOON, "the login is told", || !squire.events("secret-id accepted").is_empty());
    squire.events("secret-id accepted").remove(0)
}

#[test]
fn after_a_kill_and_its_tokens_end_squire_logs_in_with_the_secret_id_that_it_kept() {
    let bao = Bao::start();
    let tenant = bao.tenant();
    let rig = rig(&tenant, "unwrap = true", "");
    let (secret_id, token) = wrapped(&tenant, &json!({"num_uses": 4, "ttl": "1h"}));
    rig.write("secret-id", &token);
    let mut squire = rig.run();
    has_started(&mut squire, &rig, 1);
    let line = said(&squire);
    assert_eq!((&line["from"], &line["uses_left"], &line["kept"]), (&json!("file"), &json!(3), &json!(true)));
    assert!(!rig.path("secret-id").exists());
    for start in 2..=3 {
        kill_and_end_tokens(&mut squire, &tenant);
        squire = rig.run();
        has_started(&mut squire, &rig, start);
        let line = said(&squire);
        assert_eq!((&line["from"], &line["uses_left"]), (&json!("ledger"), &json!(4 - start)), "{line}");
        let left = line["ends_in_s"].as_f64().unwrap();
        assert!((3000.0..=3600.0).contains(&left), "{line}");
        // Whoever asks is told the same; by then it is in memory.
        let credential = &status(&rig)["sources"][0]["credential"];
        assert_eq!((&credential["from"], &credential["uses_left"]), (&json!("memory"), &json!(4 - start)));
        assert!(
            credential["ends"].is_string() && !credential.to_string().contains(&secret_id),
            "{credential}"
        );
    }
    assert_eq!((bao.count(UNWRAP), bao.count(LOGIN)), (1, 3));
    // What is on disk is closed to others, and sealed.
    assert_eq!(std::fs::metadata(rig.path(KEPT)).unwrap().permissions().mode() & 0o777, 0o600);
    for name in [KEPT, "ledger/vault.sealed"] {
        let bytes = std::fs::read(rig.path(name)).unwrap();
        for secret in [&secret_id, &token] {
            assert!(!bytes.windows(secret.len()).any(|window| window == secret.as_bytes()), "{name}");
        }
    }
}

#[test]
fn a_restart_before_its_tokens_end_takes_the_token_and_the_next_login_the_kept_secret_id() {
    let bao = Bao::start();
    let tenant = bao.tenant_with(&json!({"token_ttl": "6s", "token_max_ttl": "10s"}));
    let rig = rig(&tenant, "unwrap = true", "");
    rig.write("secret-id", &wrapped(&tenant, &json!({})).1);
    let mut squire = rig.run();
    has_started(&mut squire, &rig, 1);
    squire.kill();
    let mut squire = rig.run();
    has_started(&mut squire, &rig, 2);
    // The token can live no longer than ten seconds.
    squire.wait_until("it has logged in anew", || bao.count(LOGIN) >= 2);
    assert_eq!(said(&squire)["from"], "ledger");
    wait_until(SOON, "and once more, from memory", || squire.events("secret-id accepted").len() >= 2);
    assert_eq!(squire.events("secret-id accepted")[1]["from"], "memory");
    assert_eq!((bao.count(UNWRAP), waiting(&squire).len()), (1, 0));
}

#[test]
fn a_secret_id_that_is_deleted_after_its_login_is_kept_too_and_a_wrapped_one_that_is_not_deleted() {
    for login in ["delete_secret_id = true", "unwrap = true\ndelete_secret_id = false"] {
        let bao = Bao::start();
        let tenant = bao.tenant();
        let rig = rig(&tenant, login, "");
        let unwraps = usize::from(login.contains("unwrap"));
        let credential = if unwraps == 1 { tenant.wrapped_secret_id() } else { tenant.secret_id() };
        rig.write("secret-id", &credential);
        let mut squire = rig.run();
        has_started(&mut squire, &rig, 1);
        squire.wait_until("the file has served", || rig.path("secret-id").exists() == (unwraps == 1));
        kill_and_end_tokens(&mut squire, &tenant);
        let mut squire = rig.run();
        has_started(&mut squire, &rig, 2);
        assert_eq!((bao.count(UNWRAP), bao.count(LOGIN)), (unwraps, 2), "{login}");
        assert_eq!(said(&squire)["from"], "ledger", "{login}");
        assert!(!rig.read("stderr.2").contains("SECURITY"), "{login}");
    }
}

#[test]
fn a_new_file_wins_over_the_kept_secret_id() {
    let bao = Bao::start();
    let tenant = bao.tenant();
    let rig = rig(&tenant, "unwrap = true", "");
    let (old, token) = wrapped(&tenant, &json!({}));
    rig.write("secret-id", &token);
    let mut squire = rig.run();
    has_started(&mut squire, &rig, 1);
    kill_and_end_tokens(&mut squire, &tenant);
    let (_, token) = wrapped(&tenant, &json!({}));
    rig.write("secret-id", &token);
    let mut squire = rig.run();
    has_started(&mut squire, &rig, 2);
    assert_eq!(said(&squire)["from"], "file");
    assert_eq!(bao.count(UNWRAP), 2);
    // It is in the ledger in place of the old one.
    kill_and_end_tokens(&mut squire, &tenant);
    destroy(&tenant, &old);
    let mut squire = rig.run();
    has_started(&mut squire, &rig, 3);
    assert_eq!(said(&squire)["from"], "ledger");
}

#[test]
fn a_kept_secret_id_that_is_refused_is_forgotten() {
    let bao = Bao::start();
    let tenant = bao.tenant();
    let rig = rig(&tenant, "unwrap = true", "");
    let (secret_id, token) = wrapped(&tenant, &json!({}));
    rig.write("secret-id", &token);
    let mut squire = rig.run();
    has_started(&mut squire, &rig, 1);
    kill_and_end_tokens(&mut squire, &tenant);
    destroy(&tenant, &secret_id);
    let mut squire = rig.run();
    squire.wait_until("it is refused and forgotten", || !rig.path(KEPT).exists());
    let logins = bao.count(LOGIN);
    assert_eq!(logins, 2);
    squire.kill();
    let mut squire = rig.run();
    waits_for_a_file(&squire);
    assert_eq!(bao.count(LOGIN), logins);
    rig.write("secret-id", &wrapped(&tenant, &json!({})).1);
    has_started(&mut squire, &rig, 2);
}

#[test]
fn a_stop_that_gives_back_forgets_the_secret_id_and_one_that_leaves_keeps_it() {
    for (on_stop, leaves) in [("", false), ("on_stop = \"leave\"", true)] {
        let bao = Bao::start();
        let tenant = bao.tenant();
        let rig = rig(&tenant, "unwrap = true", on_stop);
        rig.write("secret-id", &wrapped(&tenant, &json!({})).1);
        let mut squire = rig.run();
        has_started(&mut squire, &rig, 1);
        assert!(rig.path(KEPT).exists());
        squire.stop();
        assert_eq!(rig.path(KEPT).exists(), leaves, "{on_stop}");
        tenant.revoke_tokens();
        let mut squire = rig.run();
        if leaves {
            has_started(&mut squire, &rig, 2);
        } else {
            waits_for_a_file(&squire);
        }
    }
}

#[test]
fn a_stop_that_gives_back_forgets_the_secret_id_even_if_the_server_is_gone() {
    let bao = Bao::start();
    let tenant = bao.tenant();
    let rig = rig(&tenant, "unwrap = true", "");
    rig.write("secret-id", &wrapped(&tenant, &json!({})).1);
    let mut squire = rig.run();
    has_started(&mut squire, &rig, 1);
    assert!(rig.path(KEPT).exists());
    bao.halt();
    squire.stop();
    assert!(!rig.path(KEPT).exists());
    bao.go_on();
}

#[test]
fn switched_off_nothing_is_kept_and_what_was_kept_is_forgotten() {
    let bao = Bao::start();
    let tenant = bao.tenant();
    let rig = rig(&tenant, "unwrap = true", "");
    rig.write("secret-id", &wrapped(&tenant, &json!({})).1);
    let mut squire = rig.run();
    has_started(&mut squire, &rig, 1);
    assert!(rig.path(KEPT).exists());
    kill_and_end_tokens(&mut squire, &tenant);
    set(&rig, "keep_secret_id = false");
    let mut squire = rig.run();
    waits_for_a_file(&squire);
    assert!(!rig.path(KEPT).exists());
    rig.write("secret-id", &wrapped(&tenant, &json!({})).1);
    has_started(&mut squire, &rig, 2);
    assert_eq!(said(&squire)["kept"], false);
    assert!(!rig.path(KEPT).exists());
    kill_and_end_tokens(&mut squire, &tenant);
    let squire = rig.run();
    waits_for_a_file(&squire);
    assert_eq!((bao.count(LOGIN), rig.read("seen/starts").lines().count()), (2, 2));
}

#[test]
fn a_secret_id_for_a_single_login_is_not_kept_and_not_sent_a_second_time() {
    let bao = Bao::start();
    let tenant = bao.tenant();
    let rig = rig(&tenant, "unwrap = true", "");
    rig.write("secret-id", &wrapped(&tenant, &json!({"num_uses": 1})).1);
    let mut squire = rig.run();
    has_started(&mut squire, &rig, 1);
    let line = said(&squire);
    assert_eq!((&line["uses_left"], &line["kept"]), (&json!(0), &json!(false)), "{line}");
    assert!(!rig.path(KEPT).exists());
    // The same run, once its token is found to be dead, and the next one.
    tenant.revoke_tokens();
    let password = fresh("password");
    tenant.write("db", &json!({"password": password}));
    waits_for_a_file(&squire);
    assert_eq!(bao.count(LOGIN), 1);
    squire.kill();
    let mut squire = rig.run();
    waits_for_a_file(&squire);
    stays_true(Duration::from_millis(500), "and sends nothing", || bao.count(LOGIN) == 1);
    rig.write("secret-id", &wrapped(&tenant, &json!({})).1);
    has_started(&mut squire, &rig, 2);
    assert_eq!(rig.read("out/db"), password);
}

#[test]
fn killed_between_unwrapping_and_the_login_squire_still_has_the_secret_id() {
    let bao = Bao::start();
    let tenant = bao.tenant();
    let rig = rig(&tenant, "unwrap = true", "");
    // Five wrong logins lock the role, so Squire unwraps and is not let in.
    let locked = || tenant.log_in("00000000-0000-0000-0000-000000000000") == 403;
    wait_until(SOON, "the role is locked", locked);
    rig.write("secret-id", &wrapped(&tenant, &json!({})).1);
    let mut squire = rig.run();
    wait_until(SOON, "it is not let in", || !squire.events("login failed").is_empty());
    squire.kill();
    assert!(rig.path("secret-id").exists());
    let mounts = bao.api().get("sys/auth");
    let accessor = mounts["data"]["approle/"]["accessor"].as_str().unwrap();
    bao.api().post(&format!("sys/locked-users/{accessor}/unlock/{}", tenant.role_id()), &json!({}));
    let mut squire = rig.run();
    has_started(&mut squire, &rig, 1);
    assert_eq!(bao.count(UNWRAP), 1);
    assert!(!rig.path("secret-id").exists());
    assert!(!rig.read("stderr.2").contains("SECURITY"), "it took its own unwrapping for a theft");
}

#[test]
fn what_render_unwrapped_the_sidecar_after_it_logs_in_with() {
    let bao = Bao::start();
    let tenant = bao.tenant();
    let rig = rig(&tenant, "unwrap = true", "");
    rig.write("secret-id", &wrapped(&tenant, &json!({})).1);
    assert_eq!(rig.render().code, 0);
    assert!(!rig.path("secret-id").exists());
    tenant.revoke_tokens();
    let mut squire = rig.run();
    has_started(&mut squire, &rig, 1);
    assert_eq!((bao.count(UNWRAP), bao.count(LOGIN)), (1, 2));
}

#[test]
fn a_render_that_failed_logs_in_with_the_same_secret_id_when_it_is_tried_again() {
    let bao = Bao::start();
    let tenant = bao.tenant();
    let rig = rig(&tenant, "unwrap = true", "");
    tenant.delete("db");
    rig.write("secret-id", &wrapped(&tenant, &json!({})).1);
    let failed = rig.render();
    assert!(failed.code != 0 && !rig.path("secret-id").exists(), "{}", failed.stderr);
    assert_eq!(tenant.tokens(), Vec::<String>::new(), "the token was of no use to anybody");
    tenant.write("db", &json!({"password": fresh("password")}));
    let again = rig.render();
    assert_eq!(again.code, 0, "{}", again.stderr);
    assert_eq!((bao.count(UNWRAP), bao.count(LOGIN)), (1, 2));
}

#[test]
fn a_kept_secret_id_that_was_edited_or_is_of_another_role_is_not_sent() {
    let bao = Bao::start();
    let (tenant, other) = (bao.tenant(), bao.tenant());
    for damage in ["edited", "another role"] {
        let rig = rig(&tenant, "unwrap = true", "");
        rig.write("secret-id", &wrapped(&tenant, &json!({})).1);
        let mut squire = rig.run();
        has_started(&mut squire, &rig, 1);
        kill_and_end_tokens(&mut squire, &tenant);
        let logins = bao.count(LOGIN);
        if damage == "edited" {
            let mut bytes = std::fs::read(rig.path(KEPT)).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            std::fs::write(rig.path(KEPT), bytes).unwrap();
        } else {
            rig.write("role-id", other.role_id());
        }
        let squire = rig.run();
        waits_for_a_file(&squire);
        let said = squire.log();
        assert!(
            said.contains("vault.credential.sealed") && said.contains("does not open"),
            "{damage}: {said}"
        );
        assert_eq!(bao.count(LOGIN), logins, "{damage}");
    }
}

#[test]
fn without_a_ledger_nothing_is_kept() {
    let tenant = Bao::shared().tenant();
    let rig = rig(&tenant, "unwrap = true", "");
    let configuration = rig.read("squire.toml");
    let (before, _) = configuration.split_once("[agent]").unwrap();
    rig.whole_config(before);
    rig.write("secret-id", &wrapped(&tenant, &json!({})).1);
    let mut squire = rig.run();
    has_started(&mut squire, &rig, 1);
    assert_eq!(said(&squire)["kept"], false);
    kill_and_end_tokens(&mut squire, &tenant);
    let squire = rig.run();
    waits_for_a_file(&squire);
}
