//! From a fault to the answer: while a fault lasts, `squire status` says what `docs/faults.md` says that it does.
//!
//! Each test causes a fault on real servers. Whatever its row in the page has as `code` in the second column has to be in the real output.

use std::process::Command;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::support::{
    Bao, CHILD, Gate, Postgres, Raft, Rig, SOON, Squire, Tenant, database_file, fresh, holds_within, kv_file,
};

const PAGE: &str = include_str!("../../docs/faults.md");

/// The words that the row of this fault promises.
fn promised(fault: &str) -> Vec<&'static str> {
    let row = PAGE.lines().find(|line| line.starts_with(&format!("| {fault} |")));
    let row = row.unwrap_or_else(|| panic!("docs/faults.md has no row for {fault}"));
    let shown = row.split('|').nth(2).unwrap();
    let words: Vec<_> = shown.split('`').skip(1).step_by(2).collect();
    assert!(!words.is_empty(), "{fault}: nothing is promised");
    words
}

/// What the command says, on either stream; wide enough that no message is cut.
fn status(rig: &Rig, words: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_squire"));
    let output =
        command.args(["status", "-c"]).arg(rig.path("squire.toml")).args(words).env("COLUMNS", "1000");
    let output = output.output().unwrap();
    String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap()
}

/// Waits until the status is like that and shows every word of the row.
#[track_caller]
fn answers(rig: &Rig, fault: &str, is_so: impl Fn(&Status) -> bool) {
    let promised = promised(fault);
    let mut shown = String::new();
    let holds = holds_within(SOON * 2, || {
        let Ok(json) = serde_json::from_str(&status(rig, &["--json"])) else { return false };
        let so = is_so(&Status(json));
        shown = status(rig, &[]);
        so && promised.iter().all(|word| shown.contains(word))
    });
    assert!(holds, "{fault}: {promised:#?} is not what is shown:\n{shown}\n{}", status(rig, &["--json"]));
}

/// The answer of `squire status --json`.
struct Status(Value);

impl Status {
    fn is_ready(&self) -> bool {
        self.0["ready"]["is_ready"] == true
    }

    fn reasons(&self) -> Vec<&str> {
        let reasons = self.0["ready"]["reasons"].as_array().unwrap().iter();
        reasons.map(|reason| reason["reason"].as_str().unwrap()).collect()
    }

    fn source(&self) -> &str {
        self.0["sources"][0]["state"].as_str().unwrap()
    }

    fn secret(&self, name: &str) -> &Value {
        let secrets = self.0["secrets"].as_array().unwrap();
        secrets.iter().find(|secret| secret["name"] == name).unwrap()
    }

    fn is(&self, name: &str, state: &str) -> bool {
        self.secret(name)["state"] == state
    }

    fn never_ends(&self, name: &str) -> bool {
        self.secret(name)["ends"].is_null() && !self.secret(name)["changed"].is_null()
    }

    /// Times are of one form, so that their order is that of their texts.
    fn ends_later(&self, name: &str) -> bool {
        self.secret(name)["ends"].as_str() > self.0["at"].as_str()
    }

    fn has_ended(&self, name: &str) -> bool {
        self.secret(name)["ends"].as_str().is_some_and(|ends| ends <= self.0["at"].as_str().unwrap())
    }

    fn has_no_value(&self, name: &str) -> bool {
        self.secret(name)["ends"].is_null() && self.secret(name)["revision"] == 0
    }
}

fn tenant_with_app(bao: &Bao) -> Tenant<'_> {
    let tenant = bao.tenant();
    tenant.write("app", &json!({ "password": fresh("app") }));
    tenant
}

fn running(rig: &Rig) -> Squire<'_> {
    let mut squire = rig.run();
    squire.wait_until("it is ready", || {
        serde_json::from_str(&status(rig, &["--json"])).is_ok_and(|json| Status(json).is_ready())
    });
    squire
}

/// A lease that is longer than the outage, and one that is shorter.
#[test]
fn a_server_that_is_down_while_values_are_valid_and_past_their_end() {
    let (bao, postgres) = (Bao::start(), Postgres::shared());
    bao.connect_database(postgres, "lease", 30, 3600);
    let tenant = tenant_with_app(&bao);
    let gate = Gate::before(bao.address());
    let rig = Rig::new(&tenant).through(&gate.address());
    rig.config(&format!("{}{}{CHILD}", kv_file("app"), database_file(postgres, "lease")));
    let mut squire = running(&rig);
    gate.shut();
    answers(&rig, "server down", |status| {
        let is_stale = status.is("app", "stale") && status.is("lease", "stale");
        is_stale && status.is_ready() && status.source() == "unreachable" && status.ends_later("lease")
    });
    answers(&rig, "server down, and a lease ended", |status| {
        let is_over = status.is("lease", "expired") && status.has_ended("lease");
        let goes_on = status.is("app", "stale") && status.never_ends("app");
        is_over && goes_on && status.reasons() == ["expired"]
    });
    gate.open();
    squire.stop();
}

#[test]
fn a_server_that_is_down_at_the_start() {
    let bao = Bao::shared();
    let tenant = tenant_with_app(bao);
    let gate = Gate::before(bao.address());
    let rig = Rig::new(&tenant).through(&gate.address());
    rig.config(&format!("{}{CHILD}", kv_file("app")));
    gate.shut();
    let mut squire = rig.run();
    answers(&rig, "server down at start", |status| {
        let is_awaited = status.is("app", "awaited") && status.has_no_value("app");
        is_awaited && status.reasons() == ["no_release", "no_process"]
    });
    gate.open();
    squire.stop();
}

#[test]
fn a_server_that_is_sealed() {
    let raft = Raft::start(false);
    let tenant = tenant_with_app(raft.bao());
    let rig = Rig::new(&tenant);
    rig.config(&format!("{}{CHILD}", kv_file("app")));
    let mut squire = running(&rig);
    raft.seal();
    answers(&rig, "server sealed", |status| {
        status.is("app", "stale")
            && status.is_ready()
            && status.source() == "unreachable"
            && status.never_ends("app")
    });
    raft.unseal();
    squire.stop();
}

#[test]
fn a_path_that_is_denied_and_one_that_is_gone() {
    let bao = Bao::shared();
    let tenant = tenant_with_app(bao);
    tenant.write("other", &json!({ "password": fresh("other") }));
    let rig = Rig::new(&tenant);
    rig.config(&format!("{}{}{CHILD}", kv_file("app"), kv_file("other")));
    let mut squire = running(&rig);
    let deny = format!("path \"secret/data/{}/app\" {{ capabilities = [\"deny\"] }}", tenant.name());
    tenant.set_policy(&format!("{}\n{deny}", tenant.policy()));
    answers(&rig, "policy takes one path away", |status| {
        let is_alone =
            status.is("app", "denied") && status.never_ends("app") && !status.is("other", "denied");
        is_alone && status.is_ready() && status.source() == "logged_in"
    });
    tenant.set_policy(&tenant.policy());
    tenant.delete("other");
    answers(&rig, "KV value deleted", |status| {
        let is_alone = status.is("other", "gone") && status.never_ends("other") && !status.is("app", "gone");
        is_alone && status.is_ready() && status.source() == "logged_in" && status.secret("other")["live"] == 1
    });
    squire.stop();
}

#[test]
fn a_secret_id_that_is_wrong_and_one_that_is_late() {
    let tenant = tenant_with_app(Bao::shared());
    for (fault, is_there) in [("wrong secret-id", true), ("secret-id file late", false)] {
        let rig = Rig::new(&tenant);
        rig.config(&format!("{}{CHILD}", kv_file("app")));
        if is_there {
            rig.write("secret-id", "00000000-0000-0000-0000-000000000000");
        } else {
            std::fs::remove_file(rig.path("secret-id")).unwrap();
        }
        let mut squire = rig.run();
        answers(&rig, fault, |status| {
            let is_awaited = status.is("app", "awaited") && status.has_no_value("app");
            is_awaited
                && status.source() == "login_failing"
                && status.reasons() == ["no_release", "no_process"]
        });
        squire.stop();
    }
}

#[test]
fn a_database_that_is_down_while_a_role_is_due() {
    let (bao, postgres) = (Bao::start(), Postgres::start());
    bao.connect_database(&postgres, "brief", 9, 9);
    let tenant = tenant_with_app(&bao);
    let rig = Rig::new(&tenant);
    rig.config(&format!("{}{}{CHILD}", kv_file("app"), database_file(&postgres, "brief")));
    let mut squire = running(&rig);
    postgres.go_down();
    answers(&rig, "database down while a role is due", |status| {
        let is_over = status.is("brief", "expired") && status.has_ended("brief");
        is_over
            && status.is("app", "fresh")
            && status.source() == "logged_in"
            && status.reasons() == ["expired"]
    });
    postgres.come_back();
    squire.stop();
}

#[test]
fn a_template_that_cannot_be_rendered() {
    let (bao, postgres) = (Bao::start(), Postgres::shared());
    bao.connect_database(postgres, "unused", 60, 3600);
    let tenant = tenant_with_app(&bao);
    let rig = Rig::new(&tenant);
    let missing = kv_file("app").replace("app.password", "app.missing");
    rig.config(&format!("{missing}{}{CHILD}", database_file(postgres, "unused")));
    let mut squire = rig.run();
    answers(&rig, "template cannot be rendered", |status| {
        let is_well =
            status.is("app", "fresh") && status.is("unused", "fresh") && status.ends_later("unused");
        is_well && status.source() == "logged_in" && status.reasons() == ["no_release", "no_process"]
    });
    squire.stop();
}

#[test]
fn a_squire_that_is_halted() {
    let tenant = tenant_with_app(Bao::shared());
    let rig = Rig::new(&tenant);
    rig.config(&format!("{}{CHILD}", kv_file("app")));
    let mut squire = running(&rig);
    squire.signal(Signal::SIGSTOP);
    let said = status(&rig, &[]);
    squire.signal(Signal::SIGCONT);
    let promised = promised("squire halted");
    assert!(promised.iter().all(|word| said.contains(word)), "{promised:?}: {said}");
    squire.stop();
}

/// No row without a test.
#[test]
fn every_fault_of_the_page_is_caused() {
    let rows = PAGE.lines().filter(|line| line.starts_with("| ")).skip(1);
    let faults = rows.map(|row| row.split('|').nth(1).unwrap().trim());
    let tests = include_str!("answers.rs");
    let missing: Vec<_> = faults.filter(|fault| !tests.contains(&format!("\"{fault}\""))).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
