//! TLS with a real server: authorities, client certificates, and a sealed server.

use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::json;
use squire::config::{Authorities, ClientIdentity, VaultConfig};
use squire::source::http::HttpError;
use squire::source::vault::Vault;
use squire::source::{Fault, Source as _};

use crate::bao::{Bao, free_port};
use crate::{config, grant, want};

/// Certificates of one test.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) file: PathBuf,
}

impl Authority {
    pub(crate) fn new(directory: &Path, name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let file = directory.join(format!("{name}.pem"));
        std::fs::write(&file, params.self_signed(&key).unwrap().pem()).unwrap();
        Self { issuer: Issuer::new(params, key), file }
    }

    /// A certificate and its key for a name.
    pub(crate) fn sign(&self, directory: &Path, name: &str) -> ClientIdentity {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let (cert_file, key_file) =
            (directory.join(format!("{name}.crt")), directory.join(format!("{name}.key")));
        std::fs::write(&cert_file, params.signed_by(&key, &self.issuer).unwrap().pem()).unwrap();
        std::fs::write(&key_file, key.serialize_pem()).unwrap();
        ClientIdentity { cert_file, key_file }
    }
}

/// A client of a server on a free port.
pub(crate) fn client(authority: &Authority) -> VaultConfig {
    let mut client = config(&[&format!("https://localhost:{}", free_port())], Path::new(""));
    client.authorities = Authorities::File(authority.file.clone());
    client
}

async fn fetch(config: &VaultConfig, token: &str) -> Result<(), Fault> {
    Vault::new(config).unwrap().fetch(&grant(token), &want("secret/ready")).await.map(|_| ())
}

#[track_caller]
fn unreachable_because(outcome: &Result<(), Fault>, part: &str) {
    assert!(
        matches!(outcome, Err(Fault::Unreachable { why, .. }) if why.contains(part)),
        "{part}: {outcome:?}"
    );
}

#[tokio::test]
async fn only_a_server_that_the_authority_signed_is_trusted() {
    let home = tempfile::tempdir().unwrap();
    let (ours, other) = (Authority::new(home.path(), "ours"), Authority::new(home.path(), "other"));
    let server = ours.sign(home.path(), "localhost");
    let good = client(&ours);
    let settings = [("tls_cert_file", server.cert_file.as_path()), ("tls_key_file", &server.key_file)];
    let mut bao = Bao::with_tls(home, &settings, good.clone()).await;
    unreachable_because(&fetch(&good, "any").await, "answered 503 Service Unavailable: Vault is sealed");
    bao.open().await;
    fetch(&good, &bao.token).await.unwrap();

    let with = |change: &dyn Fn(&mut VaultConfig)| {
        let mut config = good.clone();
        change(&mut config);
        config
    };
    let wrong_authority = with(&|config| config.authorities = Authorities::File(other.file.clone()));
    unreachable_because(&fetch(&wrong_authority, &bao.token).await, "set `ca_file`");
    let insecure = with(&|config| {
        config.authorities = Authorities::File(other.file.clone());
        config.insecure_tls = true;
    });
    fetch(&insecure, &bao.token).await.unwrap();

    let by_address = |config: &mut VaultConfig| {
        config.addresses = vec![config.addresses[0].replace("localhost", "127.0.0.1")];
    };
    unreachable_because(
        &fetch(&with(&by_address), &bao.token).await,
        "is not for 127.0.0.1 but for localhost",
    );
    let named = with(&|config| {
        by_address(config);
        config.tls_server_name = Some("localhost".into());
    });
    fetch(&named, &bao.token).await.unwrap();

    let plain = with(&|config| config.addresses = vec![config.addresses[0].replace("https", "http")]);
    let outcome = fetch(&plain, &bao.token).await;
    assert!(matches!(&outcome, Err(Fault::Failing { why }) if why.contains("400")), "{outcome:?}");
}

#[tokio::test]
async fn a_server_that_asks_for_it_gets_the_client_certificate() {
    let home = tempfile::tempdir().unwrap();
    let authority = Authority::new(home.path(), "ours");
    let server = authority.sign(home.path(), "localhost");
    let mut known = client(&authority);
    known.client_identity = Some(authority.sign(home.path(), "squire"));
    let settings = [
        ("tls_cert_file", server.cert_file.as_path()),
        ("tls_key_file", &server.key_file),
        ("tls_client_ca_file", &authority.file),
    ];
    let mut bao = Bao::with_tls(home, &settings, known.clone()).await;
    bao.open().await;
    bao.post("secret/data/ready", json!({ "data": { "a": 1 } })).await;
    fetch(&known, &bao.token).await.unwrap();
    let mut unknown = known.clone();
    unknown.client_identity = None;
    // Whether the client first sees the server's reason or the end of the connection is random.
    let outcome = fetch(&unknown, &bao.token).await;
    assert!(matches!(outcome, Err(Fault::Unreachable { .. })), "{outcome:?}");
}

#[test]
fn files_that_cannot_be_used_are_named() {
    let home = tempfile::tempdir().unwrap();
    let authority = Authority::new(home.path(), "ours");
    let (one, two) = (authority.sign(home.path(), "one"), authority.sign(home.path(), "two"));
    let missing = home.path().join("missing.pem");
    let empty = home.path().join("empty.pem");
    std::fs::write(&empty, "nothing").unwrap();
    let good = client(&authority);
    let error = |change: &dyn Fn(&mut VaultConfig)| {
        let mut config = good.clone();
        change(&mut config);
        Vault::new(&config).unwrap_err().to_string()
    };
    let identity = |cert: &Path, key: &Path| {
        Some(ClientIdentity { cert_file: cert.to_owned(), key_file: key.to_owned() })
    };
    let cases = [
        (
            error(&|c| c.authorities = Authorities::File(missing.clone())),
            format!("cannot read ca_file {}", missing.display()),
        ),
        (
            error(&|c| c.authorities = Authorities::File(empty.clone())),
            format!("ca_file {} holds no certificate", empty.display()),
        ),
        (
            error(&|c| c.client_identity = identity(&one.cert_file, &missing)),
            format!("cannot read client_key_file {}", missing.display()),
        ),
        (
            error(&|c| c.client_identity = identity(&one.cert_file, &two.key_file)),
            format!("client_key_file {} cannot be used together", two.key_file.display()),
        ),
        (error(&|c| c.tls_server_name = Some("a b".into())), "tls_server_name `a b`".into()),
        (error(&|c| c.namespace = Some("a\nb".into())), "namespace".into()),
        (error(&|c| c.addresses = vec!["vault:8200".into()]), "`vault:8200` is not an address".into()),
    ];
    for (error, part) in cases {
        assert!(error.contains(&part), "{part}: {error}");
    }
    assert!(matches!(Vault::new(&VaultConfig { addresses: Vec::new(), ..good }), Err(HttpError::NoAddress)));
}
