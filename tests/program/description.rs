//! `docs/openapi.json` against a Squire that runs: schemathesis makes requests from the description, good ones and bad ones, and compares
//! every answer with it.

use std::io;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use serde_json::json;

use crate::support::{Bao, Rig, SOON, free_port, fresh, holds_within};

/// A Squire with much to tell: a token, a value that is there and one that is gone, a rollout, a process.
const REST: &str = r#"
    [secret.db]
    path = "secret/@tenant@/app"
    [secret.old]
    path = "secret/@tenant@/old"
    [[file]]
    path   = "password"
    inline = "{{db.password}}{{old.password}}"
    [process]
    command = ["sleep", "1000"]
    [agent]
    listen = "127.0.0.1:@port@"
"#;

/// Events have no end, and an order to quit would end it.
#[test]
fn every_answer_is_as_the_description_says() {
    let tenant = Bao::shared().tenant();
    for name in ["app", "old"] {
        tenant.write(name, &json!({ "password": fresh(name) }));
    }
    let (rig, port) = (Rig::new(&tenant), free_port());
    rig.config(&REST.replace("@port@", &port.to_string()));
    let mut squire = rig.run();
    let status = || ureq::get(format!("http://127.0.0.1:{port}/v1/status")).call();
    let says = |word: &str| {
        let body = status().ok().and_then(|mut answer| answer.body_mut().read_to_string().ok());
        body.is_some_and(|body| body.contains(word))
    };
    squire.wait_until("it is ready", || says("\"is_ready\":true"));
    tenant.delete("old");
    squire.wait_until("one is gone", || says("\"state\":\"gone\""));
    compare(&rig, &format!("http://127.0.0.1:{port}"), &["/v1/events"]);
    compare(&rig, &relay_to(rig.path("out/..admin")), &["/v1/events", "/v1/quit"]);
    assert!(squire.is_running() && holds_within(SOON, || says("\"is_ready\":true")));
    squire.stop();
}

/// Runs schemathesis on the description, without these paths.
fn compare(rig: &Rig, address: &str, without: &[&str]) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new(root.join("target/test-venv/bin/schemathesis"));
    // It leaves a cache behind where it is started.
    command.current_dir(rig.directory());
    command.args(["run", "--no-color", "--phases", "coverage,fuzzing", "--max-examples", "15"]);
    command.args(["--request-timeout", "10", "--continue-on-failure", "--warnings", "off"]);
    command.args(["--generation-database", "none", "--url", address]).arg(root.join("docs/openapi.json"));
    for path in without {
        command.args(["--exclude-path", path]);
    }
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("No issues found"), "{said}\n{output:?}");
}

/// The address of a listener that passes everything on to a socket of the machine, which schemathesis does not know.
fn relay_to(socket: PathBuf) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            // Squire may have ended.
            let Ok(socket) = UnixStream::connect(&socket) else { return };
            let (from, to) = (stream.try_clone().unwrap(), socket.try_clone().unwrap());
            thread::spawn(move || pass_on(from, to));
            thread::spawn(move || pass_back(socket, stream));
        }
    });
    address
}

fn pass_on(mut from: TcpStream, mut to: UnixStream) {
    drop(io::copy(&mut from, &mut to));
    drop(to.shutdown(Shutdown::Write));
}

fn pass_back(mut from: UnixStream, mut to: TcpStream) {
    drop(io::copy(&mut from, &mut to));
    drop(to.shutdown(Shutdown::Both));
}
