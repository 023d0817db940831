//! A canary token must not be in any log of any crate, at trace level, over HTTP/1 or HTTP/2.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

use serde_json::json;
use squire::config::{AppRoleConfig, AuthConfig, CredentialFrom, RoleId, SecretIdConfig, VaultConfig};
use squire::source::vault::Vault;
use squire::source::{Grant, Source as _};

use crate::bao::Bao;
use crate::tls::{Authority, client};
use crate::{config, want};

/// The logged lines, of `tracing` and of `log`.
#[derive(Clone, Default)]
struct Capture(Arc<Mutex<Vec<u8>>>);

impl io::Write for Capture {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl log::Log for Capture {
    fn enabled(&self, _metadata: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let line = format!("log {} {}\n", record.target(), record.args());
        self.0.lock().unwrap().extend_from_slice(line.as_bytes());
    }

    fn flush(&self) {}
}

/// Every operation of a source, with a credential that would be recognized.
async fn talk(bao: &Bao, config: VaultConfig) -> Vec<String> {
    bao.post("sys/auth/approle", json!({ "type": "approle" })).await;
    bao.post("auth/approle/role/app", json!({ "token_policies": "reader" })).await;
    bao.post("auth/approle/role/app/role-id", json!({ "role_id": "app" })).await;
    bao.post("auth/approle/role/app/custom-secret-id", json!({ "secret_id": "canary-secret-id" })).await;
    let reader = "path \"secret/data/ready\" { capabilities = [\"read\"] }";
    bao.post("sys/policies/acl/reader", json!({ "policy": reader })).await;
    bao.post("secret/data/ready", json!({ "data": { "password": "canary-password" } })).await;
    let file = bao.file("secret-id", "canary-secret-id");
    let secret_id =
        Some(SecretIdConfig { from: CredentialFrom::File(file), unwrap: false, delete: false, keep: false });
    let role_id = RoleId::Inline("app".into());
    let auth = AuthConfig::AppRole(AppRoleConfig { mount: "approle".into(), role_id, secret_id });
    let vault = Vault::new(&VaultConfig { auth, ..config }).unwrap();

    let grant = vault.log_in().await.unwrap();
    let fetched = vault.fetch(&grant, &want("secret/ready")).await.unwrap();
    assert_eq!(fetched.fields.expose()["password"], "canary-password");
    let denied = vault.fetch(&grant, &want("secret/other")).await.unwrap_err();
    vault.revoke_grant(&grant).await.unwrap();
    let dead = vault.fetch(&grant, &want("secret/ready")).await.unwrap_err();
    bao.file("secret-id", "canary-wrong-id");
    let refused = vault.log_in().await.unwrap_err();
    let shown = format!("{vault:?} {grant:?} {fetched:?} {denied:?} {denied} {dead:?} {refused:?} {refused}");
    let Grant { token, .. } = grant;
    assert!(!shown.contains(token.expose()) && !shown.contains("canary"), "{shown}");
    vec![token.expose().to_owned(), "canary".into()]
}

#[tokio::test]
async fn no_log_of_any_crate_holds_a_credential_or_a_value() {
    let capture = Capture::default();
    let writer = capture.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    log::set_logger(Box::leak(Box::new(capture.clone()))).unwrap();
    log::set_max_level(log::LevelFilter::Trace);

    let plain = Bao::dev().await;
    let home = tempfile::tempdir().unwrap();
    let authority = Authority::new(home.path(), "ours");
    let server = authority.sign(home.path(), "localhost");
    let settings = [("tls_cert_file", server.cert_file.as_path()), ("tls_key_file", &server.key_file)];
    let secure = client(&authority);
    let mut encrypted = Bao::with_tls(home, &settings, secure.clone()).await;
    encrypted.open().await;

    // With only one subscriber, a call site that another test's thread reaches first is switched off for all threads.
    let other = tracing::Dispatch::new(tracing::subscriber::NoSubscriber::new());
    let listening = tracing::subscriber::set_default(subscriber);
    let mut secrets = talk(&plain, config(&[&plain.address], Path::new(""))).await;
    secrets.extend(talk(&encrypted, secure).await);
    drop((listening, other));

    let logged = String::from_utf8_lossy(&capture.0.lock().unwrap()).into_owned();
    assert!(logged.contains("h2::"), "HTTP/2 was not negotiated, or nothing was captured");
    for secret in secrets {
        let found = logged.lines().find(|line| line.contains(&secret));
        assert_eq!(found, None, "{secret} was logged");
    }
}
