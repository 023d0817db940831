//! The login methods that need no secret of their own: JWT, Kubernetes and client certificates.

use std::path::Path;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use rcgen::{KeyPair, PKCS_ED25519, SigningKey as _};
use serde_json::{Value, json};
use squire::config::{AuthConfig, CertConfig, ClientIdentity, JwtConfig, VaultConfig};
use squire::source::vault::Vault;
use squire::source::{Fault, GrantLife, Source as _};

use crate::bao::Bao;
use crate::config;
use crate::fake::{Fake, json as reply};
use crate::login::{log_in, refused};
use crate::tls::{Authority, client};

/// Signs JWTs.
struct Signer(KeyPair);

impl Signer {
    fn new() -> Self {
        Self(KeyPair::generate_for(&PKCS_ED25519).unwrap())
    }

    fn public_key(&self) -> String {
        self.0.public_key_pem()
    }

    /// A JWT with these claims, which ends in an hour.
    fn sign(&self, claims: Value) -> String {
        self.sign_as("EdDSA", claims)
    }

    /// The same under the name of another algorithm.
    fn sign_as(&self, algorithm: &str, mut claims: Value) -> String {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        (claims["iat"], claims["nbf"], claims["exp"]) = (json!(now), json!(now), json!(now + 3600));
        let encoded = |part: &Value| BASE64_URL_SAFE_NO_PAD.encode(part.to_string());
        let body = format!("{}.{}", encoded(&json!({ "alg": algorithm, "typ": "JWT" })), encoded(&claims));
        let signature = self.0.sign(body.as_bytes()).unwrap();
        format!("{body}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
    }
}

fn life(seconds: u64) -> GrantLife {
    GrantLife { ttl: Some(Duration::from_secs(seconds)), renewable: true }
}

#[tokio::test]
async fn a_jwt_from_a_file_logs_in_and_is_read_again_each_time() {
    let bao = Bao::dev().await;
    let (ours, foreign) = (Signer::new(), Signer::new());
    bao.post("sys/auth/ci", json!({ "type": "jwt" })).await;
    let keys = json!({ "jwt_validation_pubkeys": [ours.public_key()], "jwt_supported_algs": ["EdDSA"] });
    bao.post("auth/ci/config", keys).await;
    let role =
        json!({ "role_type": "jwt", "bound_audiences": ["squire"], "user_claim": "sub", "token_ttl": "20s" });
    bao.post("auth/ci/role/app", role).await;

    let claims = |audience: &str| json!({ "sub": "app", "aud": audience });
    let file = bao.file("jwt", &format!("{}\n", ours.sign(claims("squire"))));
    let with = |mount: &str, role: &str| {
        let jwt = JwtConfig { mount: mount.into(), role: role.into(), file: file.clone() };
        VaultConfig { auth: AuthConfig::Jwt(jwt), ..config(&[&bao.address], Path::new("")) }
    };
    let vault = Vault::new(&with("ci", "app")).unwrap();
    assert_eq!(vault.credential_files(), std::slice::from_ref(&file));
    let grant = vault.log_in().await.unwrap();
    assert!(grant.life == life(20) && grant.revocable, "{grant:?}");

    for wrong in [ours.sign(claims("another")), foreign.sign(claims("squire")), "canary".into()] {
        bao.file("jwt", &wrong);
        let outcome = vault.log_in().await;
        refused(&outcome, "auth/ci/login: 400");
        assert!(!format!("{outcome:?}").contains(&wrong), "{outcome:?}");
    }
    bao.file("jwt", &ours.sign(claims("squire")));
    vault.log_in().await.unwrap();

    refused(&log_in(&with("ci", "another")).await, "check `role`");
    refused(&log_in(&with("nowhere", "app")).await, "nothing is mounted there");
    std::fs::remove_file(&file).unwrap();
    assert!(matches!(vault.log_in().await, Err(Fault::Awaiting { file: awaited, .. }) if awaited == file));
}

/// A cluster that accepts every token.
async fn cluster() -> Fake {
    Fake::new(|_| {
        let user = json!({ "username": "system:serviceaccount:shop:app", "uid": "1", "groups": ["system:serviceaccounts"] });
        let review = json!({
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "status": { "authenticated": true, "user": user },
        });
        reply("201 Created", &[], &review.to_string())
    })
    .await
}

#[tokio::test]
async fn the_token_of_a_service_account_logs_in() {
    let bao = Bao::dev().await;
    let cluster = cluster().await;
    bao.post("sys/auth/kubernetes", json!({ "type": "kubernetes" })).await;
    let reviewer = json!({
        "kubernetes_host": cluster.address,
        "kubernetes_ca_cert": std::fs::read_to_string(&Authority::new(bao.home.path(), "cluster").file).unwrap(),
        "token_reviewer_jwt": Signer::new().sign(json!({})),
        "disable_local_ca_jwt": true,
    });
    bao.post("auth/kubernetes/config", reviewer).await;
    for (role, account) in [("app", "app"), ("other", "other")] {
        let bound = json!({
            "bound_service_account_names": [account],
            "bound_service_account_namespaces": ["shop"],
            "token_ttl": "20s",
        });
        bao.post(&format!("auth/kubernetes/role/{role}"), bound).await;
    }
    let account = json!({ "namespace": "shop", "serviceaccount": { "name": "app", "uid": "1" } });
    let claims = json!({ "sub": "system:serviceaccount:shop:app", "kubernetes.io": account });
    // Only the cluster checks the signature, but the server knows which algorithms clusters use.
    let file = bao.file("token", &Signer::new().sign_as("ES256", claims));
    let with = |role: &str| {
        let jwt = JwtConfig { mount: "kubernetes".into(), role: role.into(), file: file.clone() };
        VaultConfig { auth: AuthConfig::Kubernetes(jwt), ..config(&[&bao.address], Path::new("")) }
    };
    assert_eq!(log_in(&with("app")).await.unwrap().life, life(20));
    assert_eq!(cluster.asked("/apis/authentication.k8s.io/v1/tokenreviews"), 1);
    refused(&log_in(&with("other")).await, "the role does not take this pod's service account");
    refused(&log_in(&with("missing")).await, "check `role`");

    drop(cluster);
    let down = log_in(&with("app")).await;
    refused(&down, "or cannot be asked");
    let soon = Some(Duration::from_mins(1));
    assert!(matches!(down, Err(Fault::Refused { again_in, .. }) if again_in == soon), "{down:?}");
}

/// Copies a certificate and its key to the files that a source reads.
fn put(from: &ClientIdentity, to: &ClientIdentity) {
    std::fs::copy(&from.cert_file, &to.cert_file).unwrap();
    std::fs::copy(&from.key_file, &to.key_file).unwrap();
}

#[tokio::test]
async fn a_client_certificate_logs_in_and_a_new_one_is_shown_at_the_next_login() {
    let home = tempfile::tempdir().unwrap();
    let authority = Authority::new(home.path(), "ours");
    let server = authority.sign(home.path(), "localhost");
    let (known, unknown) = (authority.sign(home.path(), "known"), authority.sign(home.path(), "unknown"));
    let own =
        ClientIdentity { cert_file: home.path().join("own.crt"), key_file: home.path().join("own.key") };
    put(&unknown, &own);
    let settings = [("tls_cert_file", server.cert_file.as_path()), ("tls_key_file", &server.key_file)];
    let anonymous = client(&authority);
    let mut bao = Bao::with_tls(home, &settings, anonymous.clone()).await;
    bao.open().await;
    bao.post("sys/auth/cert", json!({ "type": "cert" })).await;
    let ca = std::fs::read_to_string(&authority.file).unwrap();
    let role = json!({ "certificate": ca, "allowed_dns_sans": ["known"], "token_ttl": "20s" });
    bao.post("auth/cert/certs/app", role).await;

    let with = |name: Option<&str>, identity: Option<&ClientIdentity>| VaultConfig {
        auth: AuthConfig::Cert(CertConfig { mount: "cert".into(), name: name.map(str::to_owned) }),
        client_identity: identity.cloned(),
        ..anonymous.clone()
    };
    let vault = Vault::new(&with(Some("app"), Some(&own))).unwrap();
    assert_eq!(vault.credential_files(), [own.cert_file.clone(), own.key_file.clone()]);
    refused(&vault.log_in().await, "no certificate role takes the client certificate");
    // Only half of the new one: its key is not there yet.
    std::fs::copy(&known.cert_file, &own.cert_file).unwrap();
    let half = vault.log_in().await;
    assert!(matches!(&half, Err(Fault::Awaiting { file, .. }) if *file == own.cert_file), "{half:?}");
    put(&known, &own);
    assert_eq!(vault.log_in().await.unwrap().life, life(20));

    log_in(&with(None, Some(&known))).await.unwrap();
    refused(&log_in(&with(Some("another"), Some(&known))).await, "check `name`");
    refused(&log_in(&with(None, None)).await, "auth/cert/login: 400");
}

#[tokio::test]
async fn a_server_that_wants_a_certificate_gets_the_new_one_after_it_refused_the_old() {
    let home = tempfile::tempdir().unwrap();
    let (ours, other) = (Authority::new(home.path(), "ours"), Authority::new(home.path(), "other"));
    let server = ours.sign(home.path(), "localhost");
    let admin = ours.sign(home.path(), "admin");
    let (good, bad) = (ours.sign(home.path(), "good"), other.sign(home.path(), "bad"));
    let own =
        ClientIdentity { cert_file: home.path().join("own.crt"), key_file: home.path().join("own.key") };
    put(&bad, &own);
    let mut config = client(&ours);
    config.client_identity = Some(admin);
    let settings = [
        ("tls_cert_file", server.cert_file.as_path()),
        ("tls_key_file", &server.key_file),
        ("tls_client_ca_file", &ours.file),
    ];
    let mut bao = Bao::with_tls(home, &settings, config.clone()).await;
    bao.open().await;
    config.client_identity = Some(own.clone());
    let vault = Vault::new(&config).unwrap();
    let read = async || vault.fetch(&crate::grant(&bao.token), &crate::want("secret/ready")).await;
    assert!(matches!(read().await, Err(Fault::Unreachable { .. })));
    put(&good, &own);
    // This source still has the old certificate, and finds the new one.
    assert!(matches!(read().await, Err(Fault::Unreachable { .. })));
    read().await.unwrap();
}
