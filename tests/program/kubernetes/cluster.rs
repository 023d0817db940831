//! What a cluster is for a secret server: it signs the tokens of its pods, and says of a token whose it is (`TokenReview`).
//!
//! *Invariant:* only a token that it signed itself, for the audience that is asked about, is anybody's.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use serde_json::{Value, json};

/// The namespace of the pods.
pub(super) const NAMESPACE: &str = "shop";

/// A cluster.
pub(super) struct Cluster {
    key: KeyPair,
    address: String,
    issued: Arc<Mutex<Vec<Issued>>>,
}

struct Issued {
    token: String,
    audience: String,
    account: String,
}

impl Cluster {
    /// Its API server answers from now on, to the end of the tests.
    pub(super) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let issued = Arc::<Mutex<Vec<Issued>>>::default();
        let known = Arc::clone(&issued);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // Who breaks off is not the cluster's problem.
                drop(answer(stream, &known));
            }
        });
        Self { key: KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap(), address, issued }
    }

    /// The address of its API server.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// The key by which anybody can check its tokens.
    pub(super) fn public_key(&self) -> String {
        self.key.public_key_pem()
    }

    /// A token of ten minutes for a service account and one audience, as the kubelet gets it for a projected volume.
    pub(super) fn token(&self, account: &str, audience: &str) -> String {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        let subject = format!("system:serviceaccount:{NAMESPACE}:{account}");
        let bound = json!({ "namespace": NAMESPACE, "serviceaccount": { "name": account, "uid": "1" }, "pod": { "name": "shop", "uid": "2" } });
        let claims = json!({ "iss": "https://kubernetes.default.svc", "aud": [audience], "sub": subject, "kubernetes.io": bound,
            "iat": now, "nbf": now, "exp": now + 600 });
        let encoded = |part: &Value| BASE64_URL_SAFE_NO_PAD.encode(part.to_string());
        let body = format!("{}.{}", encoded(&json!({ "alg": "ES256", "typ": "JWT" })), encoded(&claims));
        let random = SystemRandom::new();
        let key =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &self.key.serialize_der(), &random)
                .unwrap();
        let signature = key.sign(&random, body.as_bytes()).unwrap();
        let token = format!("{body}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature));
        let issued =
            Issued { token: token.clone(), audience: audience.to_owned(), account: account.to_owned() };
        self.issued.lock().unwrap().push(issued);
        token
    }
}

fn answer(stream: TcpStream, issued: &Mutex<Vec<Issued>>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut request = String::new();
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        if let Some(number) = line.to_lowercase().strip_prefix("content-length:") {
            length = number.trim().parse().unwrap_or(0);
        }
        if line.trim().is_empty() {
            break;
        }
        request += &line;
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let status = review(&serde_json::from_slice(&body).unwrap_or_default(), &issued.lock().unwrap());
    let known = request.starts_with("POST /apis/authentication.k8s.io/v1/tokenreviews ");
    let review = json!({ "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "status": status })
        .to_string();
    let line = if known { "201 Created" } else { "404 Not Found" };
    let head = format!(
        "HTTP/1.1 {line}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        review.len()
    );
    reader.get_mut().write_all((head + &review).as_bytes())
}

/// The status of a review.
fn review(asked: &Value, issued: &[Issued]) -> Value {
    let audiences: Vec<_> = asked["spec"]["audiences"].as_array().into_iter().flatten().collect();
    let found = issued.iter().find(|issued| {
        asked["spec"]["token"] == issued.token && audiences.iter().any(|asked| **asked == issued.audience)
    });
    found.map_or_else(
        || json!({ "authenticated": false, "error": "the token is nobody's" }),
        |issued| {
            let name = format!("system:serviceaccount:{NAMESPACE}:{}", issued.account);
            json!({ "authenticated": true, "audiences": [issued.audience], "user": { "username": name, "uid": "1", "groups": ["system:serviceaccounts"] } })
        },
    )
}
