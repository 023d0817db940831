//! `deploy/compose`: the script of processes to its end, and the compose file against its specification. No container is started: there is
//! no Docker where these tests run.

use std::process::Command;

use crate::setup::{deployed, ended, path, tests_venv};
use crate::support::{daemon::bound_to_this_process, scratch};

#[test]
fn the_script_shows_a_rotation_without_a_lost_request_and_leaves_nothing() {
    let directory = scratch::on_disk("compose");
    let mut command = Command::new(deployed("compose/run-without-docker"));
    command.env("SQUIRE_BINARY", env!("CARGO_BIN_EXE_squire")).env("TMPDIR", directory.path());
    command.env("HOME", directory.path()).env("PATH", path());
    let ended = ended(&bound_to_this_process(&command).output().unwrap());
    assert_eq!(ended.code, 0, "{}{}", ended.stdout, ended.stderr);
    for said in [
        "changed       database/roles/demo-readwrite: made",
        "tried         database/creds/demo-readwrite: logged in",
        "\"database_user\": \"v-approle-demo-rea",
        "and each time there was an answer",
        "squire ended with 0, as the application did; no user and no file is left",
    ] {
        assert!(ended.stdout.contains(said), "{said} is not in {}", ended.stdout);
    }
    let became = ended.stdout.lines().find(|line| line.contains(" became ")).unwrap();
    let (first, second) = became.trim().split_once(" became ").unwrap();
    assert!(!second.starts_with(first), "{became}");
}

/// The problems of a compose file.
fn problems(text: &str) -> String {
    let directory = scratch::on_disk("compose");
    let file = directory.path().join("compose.yaml");
    std::fs::write(&file, text).unwrap();
    let mut command = Command::new(tests_venv("bin/python"));
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/integrations/compose_check.py"));
    command.arg(tests_venv("../test-node/node_modules/dclint/schemas/compose.schema.json")).arg(&file);
    let ended = ended(&command.output().unwrap());
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    ended.stdout
}

#[test]
fn the_compose_file_is_as_the_specification_has_it() {
    let text = std::fs::read_to_string(deployed("compose/compose.yaml")).unwrap();
    assert_eq!(problems(&text), "");
    // And the check finds what is wrong.
    for (from, to, found) in [
        ("read_only: true", "read_olny: true", "read_olny"),
        ("retries: 60", "retries: [60]", "postgres.healthcheck.retries"),
        ("condition: service_healthy", "condition: service_fine", "service_fine"),
        ("      APP_LEDGER: /run/squire/ledger\n", "", "APP_LEDGER is missing"),
        ("127.0.0.1:9790:9790", "9790:9790", "9790:9790 is open to others"),
        ("target: setup", "target: set-up", "there is no set-up"),
    ] {
        assert!(text.contains(from), "{from}");
        assert!(problems(&text.replacen(from, to, 1)).contains(found), "{from} -> {to}");
    }
}

#[test]
fn the_policy_of_the_demonstration_is_what_squire_prints_for_it() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_squire"));
    command.args(["policy", "-c", "squire.toml"]).current_dir(deployed("compose"));
    command.env("VAULT_ADDR", "http://127.0.0.1:1").env("APP_SECRETS", "/dev/shm/app");
    for name in ["APP_ID", "APP_CODE", "APP_LEDGER"] {
        command.env(name, "/dev/shm/other");
    }
    command.env("APP_URL", "http://127.0.0.1:8080/").env("SQUIRE_PAGE", "127.0.0.1:9790");
    let printed = ended(&command.output().unwrap());
    assert_eq!(printed.stdout, std::fs::read_to_string(deployed("compose/app.hcl")).unwrap(), "{printed:?}");
}
