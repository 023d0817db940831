//! The child: when it starts, what it gets, how it is stopped, and how its exit code becomes Squire's.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::json;

use crate::support::{Bao, Rig, SOON, Tenant, fresh, wait_until};

/// A rig with one secret in one file and in one variable.
fn rig(tenant: &Tenant<'_>, process: &str) -> Rig {
    tenant.write("db", &json!({"user": "ann", "password": fresh("password")}));
    let rig = Rig::new(tenant);
    rig.config(&format!(
        r#"
        [secret.db]
        path = "secret/@tenant@/db"
        [[file]]
        path   = "password"
        inline = "{{{{db.password}}}}"
        [process]
        env = {{ DB_URL = "postgres://{{{{db.user}}}}:{{{{url db.password}}}}@db/app" }}
        {process}
        "#
    ));
    rig
}

#[test]
fn the_exit_code_is_the_childs_own() {
    let tenant = Bao::shared().tenant();
    for (script, code) in [
        ("exit 0", 0),
        ("exit 7", 7),
        ("kill -TERM $$", 128 + 15),
        ("kill -KILL $$", 128 + 9),
        ("exec /nonexistent/program", 127),
    ] {
        let rig = rig(&tenant, "");
        let outcome = rig.run_command(&["sh", "-c", script]).outcome(SOON);
        assert_eq!(outcome.code, code, "{script}: {}", outcome.stderr);
    }
}

#[test]
fn a_command_that_does_not_exist_is_127_and_one_that_cannot_be_executed_126() {
    let tenant = Bao::shared().tenant();
    let rig = rig(&tenant, "");
    rig.write("not-executable", "#!/bin/sh\n");
    std::fs::set_permissions(rig.path("not-executable"), std::fs::Permissions::from_mode(0o644)).unwrap();
    let not_executable = rig.path("not-executable");
    for (command, code) in [
        ("/nonexistent/program", 127),
        ("no-such-program-in-path", 127),
        (not_executable.to_str().unwrap(), 126),
        ("/", 126),
    ] {
        let outcome = rig.run_command(&[command]).outcome(SOON);
        assert_eq!(outcome.code, code, "{command}: {}", outcome.stderr);
        assert!(outcome.stderr.contains(command), "the message does not name {command}");
    }
}

#[test]
fn the_child_starts_with_its_files_and_its_environment_and_without_squires() {
    let tenant = Bao::shared().tenant();
    let rig = rig(&tenant, "");
    for (name, value) in
        [("VAULT_TOKEN", "not-a-token"), ("BAO_TOKEN", "not-a-token"), ("OTHERS", "untouched")]
    {
        rig.set(name, value);
    }
    let outcome =
        rig.run_command(&["sh", "-c", "env > seen/env; cat out/password > seen/password"]).outcome(SOON);
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    let environment = rig.read("seen/env");
    let variable = |name: &str| {
        environment.lines().find_map(|line| line.strip_prefix(&format!("{name}="))).map(str::to_owned)
    };
    let url = variable("DB_URL").unwrap();
    let password =
        percent_encoding::percent_decode_str(&url["postgres://ann:".len()..url.len() - "@db/app".len()]);
    assert_eq!(password.decode_utf8().unwrap(), rig.read("seen/password"));
    assert_eq!(variable("OTHERS").as_deref(), Some("untouched"));
    for own in ["VAULT_TOKEN", "BAO_TOKEN", "SQUIRE_LOG", "SQUIRE_LOG_FORMAT"] {
        assert_eq!(variable(own), None, "{own} is passed on");
    }
}

#[test]
fn a_command_after_the_dashes_wins_over_the_configuration() {
    let tenant = Bao::shared().tenant();
    let rig = rig(&tenant, r#"command = ["sh", "-c", "exit 3"]"#);
    assert_eq!(rig.run().outcome(SOON).code, 3);
    assert_eq!(rig.run_command(&["sh", "-c", "exit 4"]).outcome(SOON).code, 4);
}

#[test]
fn the_childs_output_is_its_own() {
    let tenant = Bao::shared().tenant();
    let rig = rig(&tenant, "");
    let outcome = rig.run_command(&["echo", "from the child"]).outcome(SOON);
    assert_eq!((outcome.code, outcome.stdout.as_str()), (0, "from the child\n"));
}

#[test]
fn a_stop_reaches_the_child_first_and_waits_for_it() {
    let tenant = Bao::shared().tenant();
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let rig = rig(&tenant, "");
        // The file must still exist while the child ends.
        let script = "trap 'sleep 0.3; cat out/password > seen/bye; exit 5' TERM INT
            touch seen/ready; while :; do sleep 0.05; done";
        let mut squire = rig.run_command(&["sh", "-c", script]);
        squire.wait_until("the child is ready", || rig.path("seen/ready").exists());
        let password = rig.read("out/password");
        squire.signal(signal);
        assert_eq!(squire.wait_for_end(SOON), 5, "{signal}");
        assert_eq!(rig.read("seen/bye"), password, "{signal}");
        assert!(!rig.path("out/password").exists(), "{signal}: the file is still there");
    }
}

#[test]
fn a_child_that_dies_of_the_stop_signal_gives_128_and_the_signal() {
    let tenant = Bao::shared().tenant();
    let rig = rig(&tenant, "");
    let mut squire = rig.run_command(&["sh", "-c", "touch seen/ready; exec sleep 1000"]);
    squire.wait_until("the child is ready", || rig.path("seen/ready").exists());
    assert_eq!(squire.stop(), 128 + 15);
}

#[test]
fn a_group_that_ignores_the_stop_signal_is_killed_whole() {
    let tenant = Bao::shared().tenant();
    let rig = rig(&tenant, r#"stop_timeout = "300ms""#);
    let script = "trap '' TERM; sh -c 'touch seen/grandchild; while :; do sleep 0.05; done' & 
        touch seen/child; while :; do sleep 0.05; done";
    let mut squire = rig.run_command(&["sh", "-c", script]);
    squire.wait_until("both are ready", || {
        rig.path("seen/child").exists() && rig.path("seen/grandchild").exists()
    });
    squire.signal(Signal::SIGTERM);
    assert_eq!(squire.wait_for_end(Duration::from_secs(5)), 128 + 9);
    wait_until(SOON, "no process of the group is left", || rig.processes().is_empty());
}

#[test]
fn a_second_stop_kills_at_once() {
    let tenant = Bao::shared().tenant();
    let rig = rig(&tenant, r#"stop_timeout = "10m""#);
    let script = "trap 'touch seen/first' TERM; touch seen/ready; while :; do sleep 0.05; done";
    let mut squire = rig.run_command(&["sh", "-c", script]);
    squire.wait_until("the child is ready", || rig.path("seen/ready").exists());
    squire.signal(Signal::SIGTERM);
    squire.wait_until("the child ignored the first", || rig.path("seen/first").exists());
    // Two signals that come at once are one, so a poll sends several.
    let deadline = std::time::Instant::now() + SOON;
    while squire.is_running() && std::time::Instant::now() < deadline {
        squire.signal(Signal::SIGTERM);
        std::thread::sleep(Duration::from_millis(70)); // the poll
    }
    assert_eq!(squire.wait_for_end(SOON), 128 + 9);
}

#[test]
fn a_stop_before_the_first_release_ends_squire_without_a_child() {
    let rig = Rig::at("http://127.0.0.1:1");
    rig.config(
        "\n[secret.db]\npath = \"secret/db\"\n[[file]]\npath = \"db\"\ninline = \"{{db.password}}\"\n",
    );
    let mut squire = rig.run_command(&["touch", "seen/started"]);
    squire
        .wait_until("it says that it waits for the server", || rig.read("stderr.1").contains("login failed"));
    let code = squire.stop();
    assert!(!rig.path("seen/started").exists());
    assert!([0, 125, 128 + 15].contains(&code), "unexpected exit code {code}");
}

/// A shell that dies at once when it is asked to stop, with a worker in its group that drains first.
const DRAINS: &str = r#"
    sh -c 'trap "sleep 0.5; echo drained >> seen/worker; exit 0" TERM; echo works >> seen/worker; while :; do sleep 0.05; done' &
    wait
"#;

#[test]
fn a_restart_waits_for_the_whole_group() {
    let tenant = Bao::shared().tenant();
    let rig = rig(&tenant, "");
    let mut squire = rig.run_command(&["sh", "-c", DRAINS]);
    squire.wait_until("the worker is there", || rig.read("seen/worker") == "works\n");
    tenant.write("db", &json!({"user": "ann", "password": fresh("another")}));
    squire.wait_until("the next worker is there", || rig.read("seen/worker").matches("works").count() == 2);
    assert_eq!(rig.read("seen/worker"), "works\ndrained\nworks\n", "never two at once");
    assert_eq!(squire.stop(), 128 + 15);
    assert_eq!(rig.read("seen/worker"), "works\ndrained\nworks\ndrained\n");
}

#[test]
fn a_child_that_exits_by_itself_takes_its_group_along() {
    let tenant = Bao::shared().tenant();
    let rig = rig(&tenant, "");
    let script = "sleep 1000 & echo $! > seen/left; exit 3";
    let outcome = rig.run_command(&["sh", "-c", script]).outcome(SOON);
    assert_eq!(outcome.code, 3, "{}", outcome.stderr);
    let left = std::path::PathBuf::from(format!("/proc/{}", rig.read("seen/left").trim()));
    wait_until(SOON, "nobody is left", || !left.join("exe").exists());
}

#[test]
fn one_stop_that_is_signalled_twice_at_once_is_one_stop() {
    let tenant = Bao::shared().tenant();
    let rig = rig(&tenant, "");
    let script = "trap 'sleep 0.3; echo graceful > seen/end; exit 0' TERM; echo > seen/ready; while :; do sleep 0.05; done";
    let mut squire = rig.run_command(&["sh", "-c", script]);
    squire.wait_until("the child is ready", || rig.path("seen/ready").exists());
    // Like `timeout`: it signals its child first, then its own group.
    squire.signal(Signal::SIGTERM);
    squire.signal(Signal::SIGTERM);
    assert_eq!(squire.wait_for_end(SOON), 0);
    assert_eq!(rig.read("seen/end"), "graceful\n");
}
