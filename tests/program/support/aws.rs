//! AWS Secrets Manager with IAM and STS, served by `ministack`: it verifies signatures and enforces policies.
//!
//! *Invariant:* names are new each time, so that tests that share a server do not affect each other.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::daemon::{Daemon, bound_to_this_process, free_port, spawn};
use super::{Rig, SOON, holds_within, scratch, wait_until};

/// A principal that may do everything.
const ROOT: Keys<'static> = Keys { id: "root-of-the-tests", key: "root-key-of-the-tests" };

/// The region.
pub(crate) const REGION: &str = "eu-central-1";

/// A running server, with a client that asks it as root.
pub(crate) struct Aws {
    endpoint: String,
    asker: Mutex<Asker>,
    // Dropped in this order: the server ends before its directory goes.
    daemon: Mutex<Daemon>,
    _directory: TempDir,
}

/// A long-lived key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Keys<'a> {
    pub(crate) id: &'a str,
    pub(crate) key: &'a str,
}

struct Asker {
    child: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Aws {
    /// The server that is shared by tests that do not stop it.
    pub(crate) fn shared() -> &'static Self {
        static SHARED: OnceLock<Aws> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// A server of the test's own.
    pub(crate) fn start() -> Self {
        Self::with("secretsmanager,sts,iam")
    }

    /// A server of the test's own with these services.
    pub(crate) fn with(services: &str) -> Self {
        let start = |_| Self::try_start(free_port(), services);
        (0..5).find_map(start).expect("ministack did not start in five tries")
    }

    fn try_start(port: u16, services: &str) -> Option<Self> {
        let directory = scratch::on_disk("aws");
        let endpoint = format!("http://127.0.0.1:{port}");
        let mut command = Command::new(program("ministack"));
        command.env("BIND_HOST", "127.0.0.1").env("GATEWAY_PORT", port.to_string()).env("AUTH", "true");
        command.env("SERVICES", services).env("MINISTACK_REGION", REGION);
        command.env("AWS_ACCESS_KEY_ID", ROOT.id).env("AWS_SECRET_ACCESS_KEY", ROOT.key);
        command.env("HOME", directory.path()).env("TMPDIR", directory.path()).current_dir(directory.path());
        let mut daemon = Daemon::start(&command, &directory.path().join("log"), Signal::SIGTERM);
        let asker = Mutex::new(Asker::start(&endpoint));
        let mut ready = false;
        holds_within(SOON, || {
            ready = asker.lock().unwrap().ask("sts", "get_caller_identity", &json!({})).is_ok();
            ready || daemon.ended().is_some()
        });
        ready.then_some(Self { endpoint, asker, daemon: Mutex::new(daemon), _directory: directory })
    }

    /// Its address.
    pub(crate) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Ends it; it keeps no data.
    pub(crate) fn kill(&self) {
        self.daemon.lock().unwrap().kill();
    }

    /// Starts it again, and waits until it answers.
    pub(crate) fn come_back(&self) {
        self.daemon.lock().unwrap().start_again();
        wait_until(SOON, "ministack answers again", || {
            self.asker.lock().unwrap().ask("sts", "get_caller_identity", &json!({})).is_ok()
        });
    }

    /// Makes a secret of this name.
    pub(crate) fn again(&self, name: &str, text: &str) {
        self.ask("secretsmanager", "create_secret", &json!({"Name": name, "SecretString": text}));
    }

    /// Asks as root.
    #[track_caller]
    pub(crate) fn ask(&self, service: &str, operation: &str, arguments: &Value) -> Value {
        match self.asker.lock().unwrap().ask(service, operation, arguments) {
            Ok(answer) => answer,
            Err(error) => panic!("{service} {operation}: {error}"),
        }
    }

    /// Makes a secret with this text, and gives it a fresh name.
    pub(crate) fn secret(&self, text: &str) -> String {
        let name = format!("prod/{:016x}", fastrand::u64(..));
        self.again(&name, text);
        name
    }

    /// A rotation as AWS does it: a version that is pending, and then its stage moves.
    pub(crate) fn rotate(&self, name: &str, text: &str) {
        let manager = |operation: &str, arguments| self.ask("secretsmanager", operation, &arguments);
        let versions = manager("describe_secret", json!({"SecretId": name}))["VersionIdsToStages"].clone();
        let current = versions.as_object().unwrap().iter().find_map(|(id, stages)| {
            stages.as_array().unwrap().contains(&json!("AWSCURRENT")).then(|| id.clone())
        });
        let pending = json!({"SecretId": name, "SecretString": text, "VersionStages": ["AWSPENDING"]});
        let pending = manager("put_secret_value", pending)["VersionId"].clone();
        let moved = json!({
            "SecretId": name, "VersionStage": "AWSCURRENT", "MoveToVersionId": &pending, "RemoveFromVersionId": current.unwrap(),
        });
        manager("update_secret_version_stage", moved);
        let done = json!({"SecretId": name, "VersionStage": "AWSPENDING", "RemoveFromVersionId": pending});
        manager("update_secret_version_stage", done);
    }

    /// A user who may do this, with a key.
    pub(crate) fn user(&self, statements: &Value) -> (String, String) {
        let name = format!("user-{:016x}", fastrand::u64(..));
        let policy = json!({"Version": "2012-10-17", "Statement": statements}).to_string();
        self.ask("iam", "create_user", &json!({"UserName": name}));
        let policy = json!({"UserName": name, "PolicyName": "may", "PolicyDocument": policy});
        self.ask("iam", "put_user_policy", &policy);
        let answer = self.ask("iam", "create_access_key", &json!({"UserName": name}));
        let text = |name: &str| answer["AccessKey"][name].as_str().unwrap().to_owned();
        (text("AccessKeyId"), text("SecretAccessKey"))
    }

    /// Services beside it: the credentials of a container, and a plan for the next rotation of each secret.
    pub(crate) fn beside(&self, credentials: &Path, planned_in: Duration) -> (Daemon, String) {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/program/support/aws_beside.py");
        let log = credentials.with_added_extension("log");
        let start = |port: u16| {
            let mut command = Command::new(program("python"));
            command.arg(script).arg(port.to_string()).arg(&self.endpoint).arg(credentials);
            command.arg(planned_in.as_secs_f64().to_string());
            let mut daemon = Daemon::start(&command, &log, Signal::SIGTERM);
            let mut ready = false;
            holds_within(SOON, || {
                ready = TcpStream::connect(("127.0.0.1", port)).is_ok();
                ready || daemon.ended().is_some()
            });
            ready.then(|| (daemon, format!("http://127.0.0.1:{port}")))
        };
        (0..5).find_map(|_| start(free_port())).expect("what stands beside AWS did not start in five tries")
    }

    /// A rig whose profile has the key of root.
    pub(crate) fn rig(&self) -> Rig {
        let rig = self.rig_of_nobody();
        write_profile(&rig, ROOT);
        rig
    }

    /// A rig with the address of AWS, and no credentials yet.
    pub(crate) fn rig_of_nobody(&self) -> Rig {
        let rig = Rig::at(&self.endpoint);
        rig.set("AWS_ENDPOINT_URL", &self.endpoint);
        rig.set("AWS_REGION", REGION);
        // There is no metadata service of AWS, and looking for it takes time.
        rig.set("AWS_EC2_METADATA_DISABLED", "true");
        rig.set("AWS_SHARED_CREDENTIALS_FILE", rig.path("aws-credentials").to_str().unwrap());
        rig.allow_secrets_in("aws-credentials");
        rig
    }
}

/// Writes the profile of a rig.
pub(crate) fn write_profile(rig: &Rig, keys: Keys<'_>) {
    rig.canaries().add(keys.key);
    let Keys { id, key } = keys;
    rig.write(
        "aws-credentials",
        &format!("[default]\naws_access_key_id = {id}\naws_secret_access_key = {key}\n"),
    );
}

impl Asker {
    fn start(endpoint: &str) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/program/support/aws.py");
        let mut command = Command::new(program("python"));
        command.arg(script).env("ENDPOINT", endpoint).env("AWS_DEFAULT_REGION", REGION);
        command.env("AWS_ACCESS_KEY_ID", ROOT.id).env("AWS_SECRET_ACCESS_KEY", ROOT.key);
        let mut command = bound_to_this_process(&command);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = spawn(command);
        let questions = child.stdin.take().unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap());
        Self { child, questions, answers }
    }

    fn ask(&mut self, service: &str, operation: &str, arguments: &Value) -> Result<Value, String> {
        writeln!(self.questions, "{}", json!([service, operation, arguments])).unwrap();
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        let mut answer: Value = serde_json::from_str(&line).unwrap();
        match answer.get("error").and_then(Value::as_str) {
            Some(error) => Err(error.to_owned()),
            None => Ok(answer["ok"].take()),
        }
    }
}

impl Drop for Asker {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The programs that `tests/run` installed.
fn program(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/test-venv/bin").join(name)
}
