//! The hunt through everything that Squire tells: log at trace level, status, readiness, events, metrics, page, audit, what its commands
//! print, and what a collector of OpenTelemetry gets.
//!
//! All of it is written into files of the rig. When a run of Squire ends, its rig searches every file that is not an output for every
//! secret of the test, as it is and as others write it (see `support/canary.rs`).

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::json;

use crate::support::{Bao, Rig, SOON, Squire, Tenant, ask, free_port, fresh, wait_until};

fn configuration(port: u16, template: &str) -> String {
    format!(
        r#"
        [secret.db]
        path = "secret/@tenant@/db"
        [[file]]
        path = "password"
        inline = "{template}"
        on_change = "none"
        [process]
        command = ["sleep", "1000"]
        env = {{ PASSWORD = "{{{{db.password}}}}" }}
        [rollout]
        grace = "1h"
        [agent]
        listen = "127.0.0.1:{port}"
        [audit]
        file = "@dir@/audit/audit.jsonl"
        anchor = "@dir@/anchor/audit"
        "#
    )
}

/// Asks for everything that can be asked for, and keeps what comes.
fn look_everywhere(rig: &Rig, port: u16, when: &str) {
    for path in ["livez", "readyz", "v1/status", "v1/openapi.json", "v1/events", "metrics", ""] {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
        let request = format!("GET /{path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let (mut answer, mut piece) = (Vec::new(), [0; 4096]);
        // Events have no end.
        let by = Instant::now() + Duration::from_secs(1);
        while Instant::now() < by
            && let Ok(count @ 1..) = stream.read(&mut piece)
        {
            answer.extend_from_slice(&piece[..count]);
        }
        assert!(answer.starts_with(b"HTTP/1.1 "), "{path}");
        std::fs::write(rig.path(&format!("heard.{when}.{}", path.replace('/', "-"))), answer).unwrap();
    }
    for words in [
        &["status"][..],
        &["status", "--json"],
        &["status", "--ready"],
        &["check"],
        &["policy"],
        &["audit", "report"],
    ] {
        let output = ask(rig, words);
        let all = [output.stdout, output.stderr].concat();
        std::fs::write(rig.path(&format!("heard.{when}.{}", words.join(""))), all).unwrap();
    }
}

/// A collector that gets every trace, and the metrics ten times a second.
#[cfg(feature = "otlp")]
fn collect(rig: &Rig) -> crate::support::Rotel {
    let port = free_port();
    rig.set("OTEL_EXPORTER_OTLP_ENDPOINT", &format!("http://127.0.0.1:{port}"));
    rig.set("OTEL_METRIC_EXPORT_INTERVAL", "100");
    crate::support::Rotel::start(port)
}

/// What it got is searched with the rest.
#[cfg(feature = "otlp")]
fn keep(rig: &Rig, collector: &crate::support::Rotel) {
    let said = collector.said();
    assert!(said.contains("rollout.publish") && said.contains("squire_secret_state"), "{said}");
    std::fs::write(rig.path("collected"), said).unwrap();
}

fn write(tenant: &Tenant<'_>, rig: &Rig, word: &str) -> String {
    let password = fresh(word);
    rig.canaries().add(&password);
    tenant.write("db", &json!({ "password": password }));
    password
}

fn has(squire: &mut Squire<'_>, rig: &Rig, password: &str) {
    squire.wait_until("it is published", || rig.read("out/password") == password);
}

#[test]
fn nothing_that_squire_tells_holds_a_secret() {
    let tenant = Bao::shared().tenant();
    let (rig, port) = (Rig::new(&tenant), free_port());
    for directory in ["audit", "anchor"] {
        std::fs::create_dir(rig.path(directory)).unwrap();
    }
    rig.config(&configuration(port, "{{db.password}}"));
    #[cfg(feature = "otlp")]
    let collector = collect(&rig);
    let first = write(&tenant, &rig, "first");
    let mut squire = rig.run();
    has(&mut squire, &rig, &first);
    squire.wait_until("it is committed", || ask(&rig, &["status", "--ready"]).status.success());
    look_everywhere(&rig, port, "live");

    let second = write(&tenant, &rig, "second");
    has(&mut squire, &rig, &second);
    wait_until(SOON, "it goes back", || ask(&rig, &["rollback"]).status.success());
    has(&mut squire, &rig, &first);
    look_everywhere(&rig, port, "back");

    // A template that cannot be rendered, and a configuration that is not one.
    rig.config(&configuration(port, "{{db.password}}{{db.nothing}}"));
    assert!(!ask(&rig, &["reload", "--timeout", "100ms"]).status.success());
    look_everywhere(&rig, port, "unrendered");
    rig.config(&configuration(port, "{{db.password"));
    assert!(!ask(&rig, &["reload"]).status.success());
    rig.config(&configuration(port, "{{db.password}}"));
    assert!(ask(&rig, &["reload"]).status.success());

    let policy = tenant.policy();
    tenant.set_policy("path \"secret/other\" { capabilities = [\"read\"] }");
    wait_until(SOON, "it is denied", || {
        drop(ask(&rig, &["refresh", "--wait"]));
        String::from_utf8_lossy(&ask(&rig, &["status"]).stdout).contains("denied")
    });
    look_everywhere(&rig, port, "denied");
    tenant.set_policy(&policy);

    squire.kill();
    let mut squire = rig.run();
    let third = write(&tenant, &rig, "third");
    has(&mut squire, &rig, &third);
    look_everywhere(&rig, port, "again");
    // It would leave a core dump, if it could.
    // The first such signal that nothing caused is swallowed by the handler of Rust's runtime, which then goes.
    wait_until(SOON, "it ends", || {
        squire.signal(Signal::SIGSEGV);
        !squire.is_running()
    });
    assert_eq!(squire.wait_for_end(SOON), 128 + 11);
    let cores = std::fs::read_dir(rig.directory()).unwrap();
    let cores =
        cores.filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with("core"));
    assert_eq!(cores.count(), 0);
    let heard = std::fs::read_dir(rig.directory()).unwrap();
    let heard =
        heard.filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with("heard."));
    assert_eq!(heard.count(), 5 * 13, "all of it was kept, and is searched");
    #[cfg(feature = "otlp")]
    keep(&rig, &collector);
    drop(squire);
}
