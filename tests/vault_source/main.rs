//! The Vault backend against a real OpenBao server, a real PostgreSQL, and servers that misbehave.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

mod bao;
mod fake;
mod postgres;

mod folders;
mod leaks;
mod leases;
mod login;
mod machines;
mod methods;
mod passwords;
mod reads;
mod tls;
mod transport;
mod wrapping;

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;
use squire::config::{AuthConfig, Authorities, CredentialFrom, Proxy, VaultConfig};
use squire::names::{SecretName, SourceName};
use squire::plan::Want;
use squire::secret::{Fields, Secret};
use squire::source::http::Limits;
use squire::source::{Grant, GrantLife};

/// A source at these addresses that logs in with the token in a file.
fn config(addresses: &[&str], token_file: &Path) -> VaultConfig {
    VaultConfig {
        addresses: addresses.iter().map(ToString::to_string).collect(),
        namespace: None,
        authorities: Authorities::System,
        proxy: Proxy::None,
        client_identity: None,
        tls_server_name: None,
        insecure_tls: false,
        allow_redirects: false,
        refresh: Duration::from_mins(5),
        look_up_every: Duration::from_mins(1),
        auth: AuthConfig::Token { from: CredentialFrom::File(token_file.to_owned()) },
        token_files: Vec::new(),
        cautions: Vec::new(),
    }
}

/// Limits for servers that answer late on purpose.
fn short() -> Limits {
    Limits { connect: Duration::from_millis(300), request: Duration::from_millis(300), ..Limits::default() }
}

fn grant(token: &str) -> Grant {
    let life = GrantLife { ttl: None, renewable: false };
    Grant { token: Secret::new(token), life, revocable: true, uses: None }
}

fn want(path: &str) -> Want {
    Want {
        name: SecretName::new("wanted"),
        source: SourceName::new("vault"),
        path: path.to_owned(),
        params: None,
        version: None,
        kind: None,
        list: None,
        tags: std::collections::BTreeMap::new(),
        refresh: Duration::from_mins(5),
        max_size: squire::size::USUAL,
    }
}

fn fields(value: Value) -> Fields {
    serde_json::from_value(value).unwrap()
}

/// Polls until the condition holds, and fails if it does not within ten seconds.
async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !holds().await {
        assert!(Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
