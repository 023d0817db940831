//! No configuration file: variables of the environment refer to secrets, and the login comes from the variables of the server's own tools.

use std::fs;

use serde_json::json;

use crate::support::{Bao, Postgres, Rig, SOON, Tenant, fresh, log_in, wait_until};

/// Records its environment at each start.
const CHILD: [&str; 3] = ["sh", "-c", "env > seen/env.new; mv seen/env.new seen/env; exec sleep 1000"];

/// A rig with address and login in its environment, and no configuration.
fn rig(tenant: &Tenant<'_>) -> Rig {
    let rig = Rig::new(tenant);
    rig.set("VAULT_ADDR", tenant.bao().address());
    rig.set("VAULT_ROLE_ID", tenant.role_id());
    rig.set("VAULT_SECRET_ID_FILE", rig.path("secret-id").to_str().unwrap());
    rig.set("SQUIRE_REFRESH", "300ms");
    rig
}

fn variable(rig: &Rig, name: &str) -> Option<String> {
    let env = rig.read("seen/env");
    env.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('=').map(str::to_owned))
}

#[test]
fn what_the_environment_refers_to_is_resolved_and_a_new_value_restarts_the_process() {
    let tenant = Bao::shared().tenant();
    let first = fresh("first");
    tenant.write("app", &json!({"password": first, "user": "alice"}));
    tenant.write("token", &json!({"value": first}));
    let rig = rig(&tenant);
    let name = tenant.name();
    rig.set("PASSWORD", &format!("vault:secret/data/{name}/app#password"));
    rig.set(
        "URL",
        &format!("db://${{vault:secret/{name}/app#user}}:${{vault:secret/{name}/app#password}}@h/{{{{x}}}}"),
    );
    rig.set("TOKEN", &format!("vault:secret/{name}/token"));
    rig.set("VAULT_HOST", "kept back as VAULT_ is");
    rig.set("OTHER", "vault:8200");
    let mut squire = rig.start(&[&["run", "--"], &CHILD[..]].concat());
    squire.wait_until("the process has its secrets", || variable(&rig, "PASSWORD") == Some(first.clone()));
    assert_eq!(variable(&rig, "URL").unwrap(), format!("db://alice:{first}@h/{{{{x}}}}"));
    assert_eq!(variable(&rig, "TOKEN").unwrap(), first);
    assert_eq!(variable(&rig, "OTHER").unwrap(), "vault:8200");
    for kept_back in ["VAULT_ADDR", "VAULT_ROLE_ID", "VAULT_SECRET_ID_FILE", "VAULT_HOST", "SQUIRE_REFRESH"] {
        assert_eq!(variable(&rig, kept_back), None, "{kept_back}");
    }
    let second = fresh("second");
    tenant.write("app", &json!({"password": second, "user": "alice"}));
    squire.wait_until("and the next", || variable(&rig, "PASSWORD") == Some(second.clone()));
    assert_eq!(variable(&rig, "TOKEN").unwrap(), first);
    assert_eq!(squire.stop(), 143);
}

#[test]
fn two_fields_of_one_path_share_one_lease() {
    let (bao, postgres) = (Bao::start(), Postgres::shared());
    bao.connect_database(postgres, "refs", 60, 120);
    let tenant = bao.tenant();
    let rig = rig(&tenant);
    let url =
        postgres.url_for("${vault:database/creds/refs#username}", "${vault:database/creds/refs#password}");
    rig.set("DATABASE_URL", &url);
    let mut squire = rig.start(&[&["run", "--"], &CHILD[..]].concat());
    squire.wait_until("the process has a user that works", || {
        variable(&rig, "DATABASE_URL").is_some_and(|url| log_in(&url).is_ok())
    });
    assert_eq!(bao.count("read database/creds/refs"), 1);
    assert_eq!(squire.stop(), 143);
    wait_until(SOON, "the user is gone", || postgres.roles("-refs-").is_empty());
}

#[test]
fn a_secret_id_in_the_environment_is_not_to_be_seen_there_later() {
    let tenant = Bao::shared().tenant();
    tenant.write("app", &json!({"password": fresh("password")}));
    let rig = Rig::new(&tenant);
    // The canaries do not search for this one: at first it is in the environment, where the user put it.
    let secret_id = fs::read_to_string(rig.path("secret-id")).unwrap();
    fs::remove_file(rig.path("secret-id")).unwrap();
    rig.start_with_secrets_in_environment();
    rig.set("BAO_ADDR", tenant.bao().address());
    rig.set("BAO_ROLE_ID", tenant.role_id());
    rig.set("BAO_SECRET_ID", secret_id.trim());
    rig.set("PASSWORD", &format!("vault:secret/{}/app#password", tenant.name()));
    let mut squire = rig.start(&[&["run", "--"], &CHILD[..]].concat());
    squire.wait_until("the process runs", || variable(&rig, "PASSWORD").is_some());
    let shown = fs::read(format!("/proc/{}/environ", squire.id())).unwrap();
    let shown = String::from_utf8_lossy(&shown);
    assert!(shown.contains("BAO_SECRET_ID=") && !shown.contains(secret_id.trim()), "it is still shown");
    assert_eq!(variable(&rig, "BAO_SECRET_ID"), None);
    assert_eq!(squire.stop(), 143);
}

#[test]
fn a_file_of_variables_is_for_the_process() {
    let tenant = Bao::shared().tenant();
    let password = fresh("password");
    tenant.write("app", &json!({"password": password}));
    let rig = rig(&tenant);
    rig.write(
        "app.env",
        "# for the app\nexport MODE='over # there'\nPASSWORD=vault:secret/@tenant@/app#password\nBRACES={{x}}\\\n",
    );
    rig.set("MODE", "here");
    let file = rig.path("app.env").to_str().unwrap().to_owned();
    let mut squire = rig.start(&[&["run", "--env-file", &file, "--"], &CHILD[..]].concat());
    squire.wait_until("the process has its secret", || variable(&rig, "PASSWORD") == Some(password.clone()));
    assert_eq!(variable(&rig, "MODE").unwrap(), "over # there");
    assert_eq!(variable(&rig, "BRACES").unwrap(), "{{x}}\\");
    assert_eq!(squire.stop(), 143);
}

#[test]
fn a_template_is_rendered_to_stdout_with_and_without_a_configuration() {
    let tenant = Bao::shared().tenant();
    let password = fresh("password");
    tenant.write("app", &json!({"password": password}));
    let rig = rig(&tenant);
    rig.write("with-references", "{{#if true}}password=${vault:secret/@tenant@/app#password}{{/if}}\n");
    rig.write("with-names", "{{json app.password}}\n");
    rig.config(
        "[secret.app]\npath = \"secret/@tenant@/app\"\n[[file]]\npath = \"x\"\ninline = \"{{app.password}}\"",
    );
    rig.allow_secrets_in("stdout.1");
    rig.allow_secrets_in("stdout.2");
    let path = |name: &str| rig.path(name).to_str().unwrap().to_owned();
    fs::rename(rig.path("squire.toml"), rig.path("other.toml")).unwrap();
    let outcome = rig.start(&["render", "--template", &path("with-references")]).outcome(SOON);
    assert_eq!(
        (outcome.code, rig.read("stdout.1")),
        (0, format!("password={password}\n")),
        "{}",
        outcome.stderr
    );
    let outcome =
        rig.start(&["render", "-c", &path("other.toml"), "--template", &path("with-names")]).outcome(SOON);
    assert_eq!((outcome.code, rig.read("stdout.2")), (0, format!("\"{password}\"\n")), "{}", outcome.stderr);
    assert!(!rig.path("out").exists(), "nothing is published");
}

#[test]
fn what_is_wrong_is_said_before_anything_starts() {
    let tenant = Bao::shared().tenant();
    let rig = rig(&tenant);
    let outcome = rig.start(&["run", "--", "true"]).outcome(SOON);
    assert!(outcome.code == 2 && outcome.stderr.contains("no squire.toml here"), "{}", outcome.stderr);
    rig.set("DB_PASSWORD", "vault:secret/app?version=hunter2#password");
    let outcome = rig.start(&["run", "--", "true"]).outcome(SOON);
    assert_eq!(outcome.code, 2);
    assert!(
        outcome.stderr.contains("the environment variable DB_PASSWORD has a malformed reference"),
        "{}",
        outcome.stderr
    );
    assert!(!outcome.stderr.contains("hunter2"));
    rig.set("DB_PASSWORD", "x");
    rig.set("KEY", "aws:prod/db?version=3#password");
    let outcome = rig.start(&["run", "--", "true"]).outcome(SOON);
    assert!(outcome.code == 2 && outcome.stderr.contains("AWS does not number"), "{}", outcome.stderr);
    rig.set("KEY", "store:prod/db#password");
    let outcome = rig.start(&["run", "--", "true"]).outcome(SOON);
    assert!(outcome.code == 2 && outcome.stderr.contains("source.store: no store"), "{}", outcome.stderr);
}

#[test]
fn a_secret_with_several_fields_asks_which_one_is_meant() {
    let tenant = Bao::shared().tenant();
    tenant.write("app", &json!({"password": fresh("password"), "user": "alice"}));
    let rig = rig(&tenant);
    rig.set("PASSWORD", &format!("vault:secret/{}/app", tenant.name()));
    let mut squire = rig.start(&[&["run", "--"], &CHILD[..]].concat());
    squire.wait_until("it is said", || {
        let log = rig.read("stderr.1");
        log.contains("more than one field") && log.contains("password") && log.contains("user")
    });
    squire.stop();
}
