//! A start that waits logs what it waits for, and a start that cannot succeed ends.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Bao, Rig, SOON, Tenant, fresh};

/// Well below the minute that `render` would wait, and above the time of the tries that allow for a standby.
const EARLY: Duration = Duration::from_secs(20);

fn rig(tenant: &Tenant<'_>, path: &str, template: &str) -> Rig {
    // No re-read is planned within a start of a minute.
    rig_that_looks_every("5m", tenant, path, template)
}

fn rig_that_looks_every(refresh: &str, tenant: &Tenant<'_>, path: &str, template: &str) -> Rig {
    let rig = Rig::new(tenant);
    rig.config_of_source(
        &format!("address = \"@address@\"\nrefresh = \"{refresh}\""),
        &format!(
            "[secret.db]\npath = \"secret/{path}\"\n[[file]]\npath = \"x\"\ninline = \"{{{{{template}}}}}\"\n"
        ),
    );
    rig
}

/// The last line for a user: an error.
fn last_error(log: &str) -> Value {
    let mut lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let line = lines.rfind(|line| line["level"] != "TRACE" && line["level"] != "DEBUG").unwrap();
    assert_eq!(line["level"], "ERROR", "{line}");
    line
}

#[test]
fn render_ends_as_soon_as_waiting_is_of_no_use_and_says_why() {
    let bao = Bao::shared();
    let (tenant, other) = (bao.tenant(), bao.tenant());
    tenant.write("db", &json!({"password": fresh("first")}));
    other.write("db", &json!({"password": fresh("other")}));
    let (mine, theirs) = (tenant.name(), other.name());
    for (path, template, why) in [
        (format!("{mine}/db"), "db.pasword", "pasword"),
        (format!("{mine}/nothing"), "db.password", "nothing"),
        (format!("{theirs}/db"), "db.password", "permission denied on secret/data/"),
    ] {
        let rig = rig(&tenant, &path, template);
        let mut squire = rig.start(&["render", "-c", rig.path("squire.toml").to_str().unwrap()]);
        assert_eq!(squire.wait_for_end(EARLY), 1, "{path}");
        let line = last_error(&squire.log());
        assert!(line["errors"].as_str().unwrap().contains(why), "{line}");
        assert!(
            line["message"].as_str().unwrap().contains("correct the configuration or the source"),
            "{line}"
        );
        assert!(!rig.path("out/x").exists());
    }
}

#[test]
fn render_waits_out_what_a_standby_may_say_wrongly() {
    let tenant = Bao::shared().tenant();
    let rig = rig(&tenant, &format!("{}/late", tenant.name()), "db.password");
    let mut squire = rig.start(&["render", "-c", rig.path("squire.toml").to_str().unwrap()]);
    squire.wait_until("it was told that there is nothing", || squire_says(&rig, "secret not fetched"));
    let late = fresh("late");
    tenant.write("late", &json!({"password": late}));
    assert_eq!(squire.wait_for_end(SOON), 0);
    assert_eq!(rig.read("out/x"), late);
}

fn squire_says(rig: &Rig, words: &str) -> bool {
    rig.read("stderr.1").contains(words)
}

#[test]
fn a_refused_login_ends_a_render() {
    let tenant = Bao::shared().tenant();
    let rig = rig(&tenant, &format!("{}/db", tenant.name()), "db.password");
    rig.write("secret-id", "00000000-0000-0000-0000-000000000000");
    let mut squire = rig.start(&["render", "-c", rig.path("squire.toml").to_str().unwrap()]);
    assert_eq!(squire.wait_for_end(EARLY), 1);
    assert!(last_error(&squire.log())["errors"].as_str().unwrap().contains("login refused"));
}

#[test]
fn references_that_cannot_be_resolved_end_a_run() {
    let tenant = Bao::shared().tenant();
    tenant.write("db", &json!({"password": fresh("first")}));
    for reference in ["nothing#password", "db#pasword"] {
        let rig = Rig::new(&tenant);
        rig.set("VAULT_ADDR", tenant.bao().address());
        rig.set("VAULT_ROLE_ID", tenant.role_id());
        rig.set("VAULT_SECRET_ID_FILE", rig.path("secret-id").to_str().unwrap());
        rig.set("DB_PASSWORD", &format!("vault:secret/{}/{reference}", tenant.name()));
        let mut squire = rig.start(&["run", "--", "touch", "seen/started"]);
        assert_eq!(squire.wait_for_end(EARLY), 125, "{reference}");
        let word = reference.split('#').find(|word| !matches!(*word, "db" | "password")).unwrap();
        assert!(last_error(&squire.log())["errors"].as_str().unwrap().contains(word), "{reference}");
        assert!(!rig.path("seen/started").exists());
    }
}

#[test]
fn a_run_that_waits_says_once_for_what_and_goes_on_when_it_comes() {
    let tenant = Bao::shared().tenant();
    let rig = rig_that_looks_every("1s", &tenant, &format!("{}/late", tenant.name()), "db.password");
    let mut squire = rig.run_command(&["sh", "-c", "echo > seen/started; sleep 1000"]);
    let waiting = "still waiting for the first complete release";
    squire.wait_until("it says for what", || !rig.read("stderr.1").is_empty() && squire_says(&rig, waiting));
    let told = squire.events(waiting);
    let why = told[0]["errors"].as_str().unwrap();
    assert!(why.starts_with("db: ") && why.contains("/late"), "{why}");
    let late = fresh("late");
    tenant.write("late", &json!({"password": late}));
    squire.wait_until("it comes", || rig.path("seen/started").exists());
    assert_eq!(squire.events(waiting).len(), 1);
    assert_eq!(squire.stop(), 143);
}
