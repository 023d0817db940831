//! An OpenBao development server with all mounts that the tests use, and tenants who share it.
//!
//! *Invariant:* a tenant's role can read only below the tenant's own name, so that tests that share a server do not affect each other.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::api::Api;
use super::daemon::{Daemon, free_port};
use super::postgres::{Postgres, SUPERUSER};
use super::{Canaries, SOON, holds_within, scratch, wait_until};

const ROOT_TOKEN: &str = "root-token-of-the-tests";

/// A running development server with AppRole, KV v2 at `secret/`, KV v1 at `kv1/`, PKI at `pki/` and transit at `transit/`.
pub(crate) struct Bao {
    api: Api,
    // Dropped in this order: the server ends before its directory goes.
    daemon: Mutex<Daemon>,
    directory: TempDir,
}

impl Bao {
    /// The server that is shared by tests that do not count requests, stop it or change its mounts.
    pub(crate) fn shared() -> &'static Self {
        static SHARED: OnceLock<Bao> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// A server of the test's own.
    pub(crate) fn start() -> Self {
        for _ in 0..5 {
            if let Some(bao) = Self::try_start(free_port()) {
                bao.mount_all();
                return bao;
            }
        }
        panic!("bao server did not start in five tries");
    }

    fn try_start(port: u16) -> Option<Self> {
        let directory = scratch::on_disk("bao");
        let arguments = [
            "-dev".to_owned(),
            "-dev-no-store-token".to_owned(),
            format!("-dev-root-token-id={ROOT_TOKEN}"),
            format!("-dev-listen-address=127.0.0.1:{port}"),
        ];
        let bao = Self::launch(directory, &arguments, "", &format!("http://127.0.0.1:{port}"));
        bao.is_ready().then_some(bao)
    }

    /// Starts a server with these arguments and this configuration; requests are written to an audit file.
    pub(super) fn launch(
        directory: TempDir,
        arguments: &[String],
        configuration: &str,
        address: &str,
    ) -> Self {
        let file = directory.path().join("bao.hcl");
        // Below the server's own directory: the nodes of a cluster need the same configuration, but each writes a file of its own.
        let audit = "audit \"file\" \"main\" { options { file_path = \"audit.jsonl\" } }\n";
        std::fs::write(&file, audit.to_owned() + configuration).unwrap();
        let mut command = Command::new(program());
        command.arg("server").args(arguments).arg(format!("-config={}", file.display()));
        command.env("HOME", directory.path()).current_dir(directory.path());
        let daemon = Daemon::start(&command, &directory.path().join("log"), Signal::SIGTERM);
        Self { api: Api::new(address, ROOT_TOKEN), daemon: Mutex::new(daemon), directory }
    }

    /// The same server, asked with this root token from now on.
    pub(super) fn with_token(self, token: &str) -> Self {
        Self { api: self.api.with_token(token), ..self }
    }

    /// Whether it accepts our token: another server on the same port would not.
    fn is_ready(&self) -> bool {
        let mut ready = false;
        holds_within(SOON, || {
            ready = self.api.try_get("auth/token/lookup-self").is_some_and(|(status, _)| status == 200);
            ready || self.has_ended()
        });
        ready
    }

    /// Mounts the engines for tenants.
    pub(super) fn mount_all(&self) {
        self.api.post("sys/auth/approle", &json!({"type": "approle"}));
        self.api.post("sys/mounts/kv1", &json!({"type": "kv", "options": {"version": "1"}}));
        self.api.post("sys/mounts/pki", &json!({"type": "pki", "config": {"max_lease_ttl": "87600h"}}));
        self.api.post("sys/mounts/transit", &json!({"type": "transit"}));
        let root = json!({"common_name": "Squire test root", "key_type": "ec", "ttl": "87600h"});
        self.api.post("pki/root/generate/internal", &root);
        let web = json!({"allow_any_name": true, "key_type": "ec", "key_bits": 256, "max_ttl": "24h"});
        self.api.post("pki/roles/web", &web);
        // The mount of KV v2 upgrades itself in the background and answers 400 until it has.
        wait_until(SOON, "the KV v2 mount takes writes", || {
            self.api
                .try_post("secret/data/ready", &json!({"data": {}}))
                .is_some_and(|(status, _)| status == 200)
        });
    }

    /// Sets the database engine up: the role's credentials live `ttl` seconds and at most `max_ttl`.
    pub(crate) fn connect_database(&self, postgres: &Postgres, role: &str, ttl: u32, max_ttl: u32) {
        if self.api.try_get("sys/mounts/database").is_none_or(|(status, _)| status != 200) {
            self.api.post("sys/mounts/database", &json!({"type": "database"}));
        }
        let connection = json!({
            "plugin_name": "postgresql-database-plugin",
            "allowed_roles": "*",
            "connection_url": postgres.url_for("{{username}}", "{{password}}"),
            "username": SUPERUSER,
            "password": postgres.password(),
        });
        self.api.post("database/config/postgres", &connection);
        let statement =
            "CREATE ROLE \"{{name}}\" WITH LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'";
        let role_definition = json!({
            "db_name": "postgres",
            "creation_statements": [statement],
            "default_ttl": format!("{ttl}s"),
            "max_ttl": format!("{max_ttl}s"),
        });
        self.api.post(&format!("database/roles/{role}"), &role_definition);
    }

    /// A role of its own for one test, with tokens of one hour.
    pub(crate) fn tenant(&self) -> Tenant<'_> {
        self.tenant_with(&json!({"token_ttl": "1h"}))
    }

    /// A role of its own for one test, with these settings of the AppRole.
    pub(crate) fn tenant_with(&self, role: &Value) -> Tenant<'_> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("tenant-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        self.api.post(&format!("sys/policies/acl/{name}"), &json!({"policy": policy(&name)}));
        let mut role = role.clone();
        role["token_policies"] = json!([name]);
        self.api.post(&format!("auth/approle/role/{name}"), &role);
        let role_id = self.api.get(&format!("auth/approle/role/{name}/role-id"));
        let role_id = role_id["data"]["role_id"].as_str().unwrap().to_owned();
        Tenant { bao: self, name, role_id, canaries: Canaries::default() }
    }

    /// The address of the server.
    pub(crate) fn address(&self) -> &str {
        self.api.address()
    }

    /// The token of an operator who may do everything.
    pub(crate) fn root_token() -> &'static str {
        ROOT_TOKEN
    }

    /// The server's API with the root token.
    pub(crate) fn api(&self) -> &Api {
        &self.api
    }

    /// Every request that the server has handled, as `operation path`, in order, without those of the tests themselves.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.audit()
            .iter()
            .map(|entry| {
                let text = |key: &str| entry["request"][key].as_str().unwrap_or_default().to_owned();
                format!("{} {}", text("operation"), text("path"))
            })
            .collect()
    }

    /// The audit records of the requests in [`Self::requests`].
    fn audit(&self) -> Vec<Value> {
        self.entries()
            .into_iter()
            .filter(|entry| entry["type"] == "request" && entry["auth"]["policies"] != json!(["root"]))
            // The server tests its audit device itself.
            .filter(|entry| entry["request"]["path"] != "sys/audit/test")
            .collect()
    }

    /// Every whole line of the audit.
    pub(crate) fn entries(&self) -> Vec<Value> {
        let audit = std::fs::read_to_string(self.directory.path().join("audit.jsonl")).unwrap_or_default();
        audit.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// How many of the requests begin with this.
    pub(crate) fn count(&self, beginning: &str) -> usize {
        self.requests().iter().filter(|request| request.starts_with(beginning)).count()
    }

    /// What the tokens of a tenant's logins asked for, in order, as `operation path`, each with whether it was allowed.
    pub(crate) fn asked_by(&self, tenant: &str) -> Vec<(String, bool)> {
        let entries = self.entries();
        let of_tenant = entries.iter().filter(|entry| {
            entry["type"] == "response"
                && entry["auth"]["metadata"]["role_name"] == tenant
                && entry["request"]["path"] != "auth/approle/login"
        });
        let asked = |entry: &Value| {
            let text = |key: &str| entry["request"][key].as_str().unwrap_or_default().to_owned();
            let is_denied = entry["error"].as_str().is_some_and(|error| error.contains("permission denied"));
            (format!("{} {}", text("operation"), text("path")), !is_denied)
        };
        of_tenant.map(asked).collect()
    }

    /// Ends the server and everything in it.
    pub(crate) fn stop(&mut self) {
        self.daemon.lock().unwrap().stop();
    }

    /// Halts the server: it accepts connections and does not answer, and its clock goes on.
    pub(crate) fn halt(&self) {
        self.daemon.lock().unwrap().signal(Signal::SIGSTOP);
    }

    /// Lets it go on.
    pub(crate) fn go_on(&self) {
        self.daemon.lock().unwrap().signal(Signal::SIGCONT);
    }

    /// Makes it read its certificates again.
    pub(super) fn reload(&self) {
        self.daemon.lock().unwrap().signal(Signal::SIGHUP);
    }

    /// Ends the server as a crash does.
    pub(crate) fn crash(&self) {
        self.daemon.lock().unwrap().kill();
    }

    /// Starts it again after a crash. Only a server with storage on disk still has its data then.
    pub(super) fn start_again(&self) {
        self.daemon.lock().unwrap().start_again();
    }

    /// Whether the process has ended by itself.
    pub(super) fn has_ended(&self) -> bool {
        self.daemon.lock().unwrap().ended().is_some()
    }

    /// The ids of all leases below a path such as `database/creds/app`.
    pub(crate) fn leases(&self, path: &str) -> Vec<String> {
        // 404: there is none.
        let Some((200, answer)) = self.api.try_get(&format!("sys/leases/lookup/{path}?list=true")) else {
            return Vec::new();
        };
        strings(&answer["data"]["keys"]).map(|key| format!("{path}/{key}")).collect()
    }

    /// The number of requests in each tenth of a second, from the first to the last, without those of the tests.
    pub(crate) fn histogram(&self) -> Vec<usize> {
        let times: Vec<u128> = self.audit().iter().map(milliseconds).collect();
        let Some(first) = times.iter().min() else { return Vec::new() };
        let mut buckets = Vec::new();
        for time in &times {
            let bucket = usize::try_from((time - first) / 100).unwrap();
            buckets.resize(buckets.len().max(bucket + 1), 0);
            buckets[bucket] += 1;
        }
        buckets
    }
}

/// One test's own role on a server, and the secrets that the test wrote.
pub(crate) struct Tenant<'a> {
    bao: &'a Bao,
    name: String,
    role_id: String,
    canaries: Canaries,
}

impl Tenant<'_> {
    /// The role's name, below which it may read in every mount.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The server.
    pub(crate) fn bao(&self) -> &Bao {
        self.bao
    }

    /// The role id.
    pub(crate) fn role_id(&self) -> &str {
        &self.role_id
    }

    /// The accessors of all valid tokens that logged in with the role.
    pub(crate) fn tokens(&self) -> Vec<String> {
        let all = self.bao.api.get("auth/token/accessors?list=true");
        strings(&all["data"]["keys"])
            .filter(|accessor| {
                // One may end between the two requests.
                let token =
                    self.bao.api.try_post("auth/token/lookup-accessor", &json!({"accessor": accessor}));
                token.is_some_and(|(_, token)| token["data"]["meta"]["role_name"] == self.name)
            })
            .map(str::to_owned)
            .collect()
    }

    /// Revokes all tokens that logged in with the role, and their leases.
    pub(crate) fn revoke_tokens(&self) {
        for accessor in self.tokens() {
            self.bao.api.try_post("auth/token/revoke-accessor", &json!({"accessor": accessor}));
        }
    }

    /// Replaces the policy of the role. [`Self::policy`] is the first one.
    pub(crate) fn set_policy(&self, policy: &str) {
        self.bao.api.post(&format!("sys/policies/acl/{}", self.name), &json!({"policy": policy}));
    }

    /// The policy that the role was made with.
    pub(crate) fn policy(&self) -> String {
        policy(&self.name)
    }

    /// Logs in as another user of the role's credentials; the status of the answer.
    pub(crate) fn log_in(&self, secret_id: &str) -> u16 {
        let credentials = json!({"role_id": self.role_id, "secret_id": secret_id});
        self.bao.api.try_post("auth/approle/login", &credentials).map_or(0, |(status, _)| status)
    }

    /// The secrets that must not leak.
    pub(crate) fn canaries(&self) -> &Canaries {
        &self.canaries
    }

    /// A new secret-id of the role.
    pub(crate) fn secret_id(&self) -> String {
        let answer = self.bao.api.post(&format!("auth/approle/role/{}/secret-id", self.name), &json!({}));
        let secret_id = answer["data"]["secret_id"].as_str().unwrap().to_owned();
        self.canaries.add(&secret_id);
        secret_id
    }

    /// A new secret-id of the role, wrapped: the wrapping token.
    pub(crate) fn wrapped_secret_id(&self) -> String {
        let path = format!("auth/approle/role/{}/secret-id", self.name);
        let token = self.bao.api.wrap(&path, &json!({}));
        self.canaries.add(&token);
        token
    }

    /// A new token with the role's policy.
    pub(crate) fn token(&self) -> String {
        let answer = self.bao.api.post("auth/token/create", &json!({"policies": [self.name], "ttl": "1h"}));
        let token = answer["auth"]["client_token"].as_str().unwrap().to_owned();
        self.canaries.add(&token);
        token
    }

    /// How many valid tokens the role's logins have.
    pub(crate) fn living_tokens(&self) -> usize {
        let accessors = self.bao.api.get("auth/token/accessors?list=true");
        let accessors = accessors["data"]["keys"].as_array().unwrap().clone();
        accessors
            .iter()
            .filter_map(|accessor| {
                self.bao.api.try_post("auth/token/lookup-accessor", &json!({"accessor": accessor}))
            })
            .filter(|(_, token)| token["data"]["meta"]["role_name"] == self.name.as_str())
            .count()
    }

    /// Writes a new version of the KV v2 secret that configurations call `secret/@tenant@/NAME`.
    pub(crate) fn write(&self, name: &str, fields: &Value) {
        self.canaries.add_all(fields);
        self.bao.api.post(&format!("secret/data/{}/{name}", self.name), &json!({"data": fields}));
    }

    /// Deletes the newest version of a KV v2 secret.
    pub(crate) fn delete(&self, name: &str) {
        self.bao.api.delete(&format!("secret/data/{}/{name}", self.name));
    }

    /// Writes the KV v1 secret that configurations call `kv1/@tenant@/NAME`.
    pub(crate) fn write_kv1(&self, name: &str, fields: &Value) {
        self.canaries.add_all(fields);
        self.bao.api.post(&format!("kv1/{}/{name}", self.name), fields);
    }
}

/// The `bao` program that `tests/run` installed.
pub(crate) fn program() -> PathBuf {
    let installed = std::env::var_os("SQUIRE_TEST_BAO")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target/test-venv/bao"), PathBuf::from);
    assert!(installed.exists(), "there is no {}: start the tests with tests/run", installed.display());
    installed
}

fn strings(list: &Value) -> impl Iterator<Item = &str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str)
}

/// When the server handled a request, since 1970.
fn milliseconds(entry: &Value) -> u128 {
    let time = humantime::parse_rfc3339(entry["time"].as_str().unwrap()).unwrap();
    time.duration_since(std::time::UNIX_EPOCH).unwrap().as_millis()
}

fn policy(name: &str) -> String {
    let rule =
        |path: &str, capabilities: &str| format!("path \"{path}\" {{ capabilities = [{capabilities}] }}\n");
    [
        rule(&format!("secret/data/{name}/*"), "\"read\""),
        rule(&format!("kv1/{name}/*"), "\"read\""),
        rule("pki/issue/*", "\"create\", \"update\""),
        rule("database/creds/*", "\"read\""),
        rule("database/static-creds/*", "\"read\""),
        rule("sys/leases/revoke", "\"update\""),
        rule(&format!("transit/+/{name}"), "\"create\", \"update\""),
    ]
    .concat()
}
