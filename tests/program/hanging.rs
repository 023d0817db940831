//! Files that never answer: they must not keep Squire from handling signals and renewals.

use std::fs;
use std::time::Duration;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use crate::support::certificates::signed;
use crate::support::{Aws, Hung, Raft, Rig, Squire, fresh, make_role, make_store, store};

/// Longer than Squire waits for a file, and shorter than the time in which a process has to stop.
const HEARD_WITHIN: Duration = Duration::from_secs(10);

/// A rig with a store whose template includes a file, and a process; with these lines for the login.
fn rig(login: &str) -> Rig {
    let rig = Rig::at("http://127.0.0.1:1");
    make_store(&rig);
    put(&rig);
    make_role(&rig, &["--read", "prod/app/*"]);
    rig.write("shared/motto", "a motto");
    rig.whole_config(&format!(
        r#"
        [source.store]
        file = "@dir@/app.store"
        {login}
        [secret.db]
        path = "prod/app/db"
        [output]
        dir = "@dir@/out"
        [[file]]
        path = "password"
        inline = "{{{{db.value}}}} {{{{file \"@dir@/shared/motto\"}}}}"
        on_change = "none"
        [process]
        command = ["sh", "-c", "trap 'exit 9' TERM; echo > seen/started; while :; do sleep 0.05; done"]
        "#
    ));
    rig
}

const AS_ROLE: &str = "role_id_file = \"@dir@/role-id\"\nsecret_id_file = \"@dir@/shared/secret-id\"";

fn put(rig: &Rig) -> String {
    let password = fresh("next");
    store(rig, &["put", "prod/app/db"], &password);
    password
}

fn started(rig: &Rig) -> Squire<'_> {
    let mut squire = rig.run();
    squire.wait_until("the process runs", || rig.path("seen/started").exists());
    squire
}

fn says(rig: &Rig, words: &str) -> bool {
    rig.read("stderr.1").contains(words)
}

#[test]
fn a_pipe_in_place_of_a_file_of_a_template_is_refused_and_the_next_file_taken() {
    let rig = rig(&AS_ROLE.replace("shared/secret-id", "web.secret-id"));
    let mut squire = started(&rig);
    fs::remove_file(rig.path("shared/motto")).unwrap();
    mkfifo(&rig.path("shared/motto"), Mode::S_IRWXU).unwrap();
    put(&rig);
    squire.wait_until("it is refused", || says(&rig, "not a regular file"));
    rig.write("shared/motto", "another motto");
    let last = put(&rig);
    squire.wait_until("the next is live", || rig.read("out/password") == format!("{last} another motto"));
    assert_eq!(squire.stop(), 9);
}

#[test]
fn a_pipe_in_place_of_a_credential_is_refused_and_squire_hears() {
    let rig = rig("key_file = \"@dir@/shared/key\"");
    let key = fs::read(rig.path("app.store.key")).unwrap();
    rig.allow_secrets_in("shared");
    mkfifo(&rig.path("shared/key"), Mode::S_IRWXU).unwrap();
    let mut squire = rig.run();
    squire.wait_until("it is refused", || says(&rig, "not a regular file"));
    fs::remove_file(rig.path("shared/key")).unwrap();
    fs::write(rig.path("shared/key"), key).unwrap();
    squire.wait_until("the key is taken", || rig.path("seen/started").exists());
    assert_eq!(squire.stop(), 9);
}

#[test]
fn a_pipe_in_place_of_a_pid_file_is_refused_and_squire_hears() {
    let rig = rig(&AS_ROLE.replace("shared/secret-id", "web.secret-id"));
    let reaction = "on_change = { signal = \"HUP\", pid_file = \"@dir@/shared/app.pid\" }";
    rig.whole_config(&rig.read("squire.toml").replace("on_change = \"none\"", reaction));
    mkfifo(&rig.path("shared/app.pid"), Mode::S_IRWXU).unwrap();
    let mut squire = started(&rig);
    put(&rig);
    squire.wait_until("it is refused", || says(&rig, "reaction failed") && says(&rig, "not a regular file"));
    assert_eq!(squire.stop(), 9);
}

#[test]
fn a_file_system_that_hangs_makes_nobody_deaf() {
    let rig = rig(AS_ROLE);
    rig.allow_secrets_in("shared");
    fs::rename(rig.path("web.secret-id"), rig.path("shared/secret-id")).unwrap();
    let mut squire = started(&rig);
    let hung = Hung::mount(&rig.path("shared"));
    put(&rig);
    squire.wait_until("the file is given up", || says(&rig, "did not answer within 2 seconds"));
    squire.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(squire.wait_for_end(HEARD_WITHIN), 9);
    drop(hung);
}

#[test]
fn a_working_directory_that_hangs_refuses_the_release_and_the_process_runs_on() {
    let rig = rig(&AS_ROLE.replace("shared/secret-id", "web.secret-id"));
    rig.write("place/x", "");
    let config = rig.read("squire.toml").replace("on_change = \"none\"", "on_change = \"restart\"");
    rig.whole_config(&config.replace("[process]", "[process]\n working_dir = \"@dir@/place\""));
    rig.whole_config(&rig.read("squire.toml").replace("echo > seen/started", "echo > ../seen/started"));
    let mut squire = started(&rig);
    let hung = Hung::mount(&rig.path("place"));
    put(&rig);
    squire.wait_until("the release is refused", || {
        says(&rig, "generation failed its check") && says(&rig, "becoming its program in time")
    });
    squire.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(squire.wait_for_end(HEARD_WITHIN), 9);
    drop(hung);
}

#[test]
fn a_pipe_in_place_of_the_authorities_is_refused_at_once() {
    let aws = Aws::shared();
    for (rig, source) in [
        (
            Rig::at("https://127.0.0.1:1"),
            "[source.vault]\naddress = \"@address@\"\n[source.vault.auth.token]\nfile = \"@dir@/token\"",
        ),
        (aws.rig(), "[source.aws]\nca_file = \"@dir@/ca.pem\""),
    ] {
        let source =
            source.replace("\n[source.vault.auth", "\nca_file = \"@dir@/ca.pem\"\n[source.vault.auth");
        mkfifo(&rig.path("ca.pem"), Mode::S_IRWXU).unwrap();
        rig.whole_config(&format!(
            "{source}\n[secret.x]\npath = \"secret/x\"\n[output]\ndir = \"@dir@/out\"\n[[file]]\npath = \"x\"\ninline = \"{{{{x.value}}}}\""
        ));
        let outcome = rig.render();
        assert_eq!(outcome.code, 1, "{source}: {}", outcome.stderr);
        assert!(outcome.stderr.contains("cannot read ca_file"), "{source}: {}", outcome.stderr);
        assert!(outcome.stderr.contains("not a regular file"), "{source}: {}", outcome.stderr);
    }
}

#[test]
fn files_of_tls_that_hang_make_nobody_deaf() {
    let raft = Raft::start(true);
    let tenant = raft.bao().tenant();
    tenant.write("db", &serde_json::json!({"password": fresh("password")}));
    let rig = Rig::new(&tenant);
    for (here, there) in [("ca", "ca"), ("client", "client"), ("client-key", "client-key")] {
        let text = fs::read_to_string(raft.certificate(&format!("{there}.pem"))).unwrap();
        rig.write(&format!("shared/{here}.pem"), &text);
    }
    rig.config_of_source(
        &format!(
            "address = \"{}\"\nrefresh = \"1s\"\nca_file = \"@dir@/shared/ca.pem\"\nclient_cert_file = \"@dir@/shared/client.pem\"\n\
             client_key_file = \"@dir@/shared/client-key.pem\"",
            raft.tls_address()
        ),
        r#"
        [secret.db]
        path = "secret/@tenant@/db"
        [[file]]
        path = "password"
        inline = "{{db.password}}"
        on_change = "none"
        [process]
        command = ["sh", "-c", "trap 'exit 9' TERM; echo > seen/started; while :; do sleep 0.05; done"]
        "#,
    );
    let mut squire = started(&rig);
    let hung = Hung::mount(&rig.path("shared"));
    raft.show(&signed("127.0.0.1").1);
    raft.bao().crash();
    raft.come_back();
    squire.wait_until("the files are given up", || says(&rig, "did not answer within 2 seconds"));
    squire.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(squire.wait_for_end(HEARD_WITHIN), 9);
    drop(hung);
}
