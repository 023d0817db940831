//! Logins of machines in a cloud. OpenBao has none of these methods, so a server here checks every field of their requests; for AWS it
//! computes the signature anew, as AWS does, without the library that made it.

use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ring::{digest, hmac};
use serde_json::{Value, json};
use squire::config::{
    AuthConfig, Authorities, AwsConfig, AwsKeys, AwsLoginConfig, AzureLoginConfig, GcpLoginConfig, Proxy,
    VaultConfig,
};
use squire::secret::Secret;
use squire::source::Fault;

use crate::config;
use crate::fake::{Fake, Reply, json as reply};
use crate::login::{log_in, refused};
use crate::passwords::{parts, token};

const KEY: &str = "wJalrXUtnFEMI/canary/bPxRfiCYEXAMPLEKEY";

/// A server that lets in whoever sends this to this path.
async fn server(path: &'static str, is_right: impl Fn(&Value) -> bool + Send + Sync + 'static) -> Fake {
    Fake::new(move |request| {
        let (line, body) = parts(request);
        if line != format!("POST /v1/auth/{path}/login HTTP/1.1") {
            return reply("403 Forbidden", &[], &json!({ "errors": ["permission denied"] }).to_string());
        }
        if is_right(&body) {
            return reply("200 OK", &[], &token("s.machine"));
        }
        reply("400 Bad Request", &[], &json!({ "errors": ["no such role"] }).to_string())
    })
    .await
}

fn with(server: &Fake, auth: AuthConfig) -> VaultConfig {
    VaultConfig { auth, ..config(&[&server.address], Path::new("")) }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn decoded(body: &Value, field: &str) -> Vec<u8> {
    BASE64_STANDARD.decode(body[field].as_str().unwrap()).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

fn sha256(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec()
}

/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>: the `Authorization` that these headers,
/// all of them signed, should have beside them.
fn authorization(region: &str, headers: &[(String, String)], body: &[u8]) -> String {
    let value = |name: &str| headers.iter().find(|(known, _)| known == name).unwrap().1.clone();
    let names: Vec<&str> = headers.iter().map(|(name, _)| name.as_str()).collect();
    let names = names.join(";");
    let line = |text: String, (name, value): &(String, String)| text + &format!("{name}:{}\n", value.trim());
    let lines = headers.iter().fold(String::new(), line);
    let canonical = format!("POST\n/\n\n{lines}\n{names}\n{}", sha256(body));
    let date = value("x-amz-date");
    let day = &date[..8];
    let scope = format!("{day}/{region}/sts/aws4_request");
    let to_sign = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{}", sha256(canonical.as_bytes()));
    let key = [day, region, "sts", "aws4_request"]
        .iter()
        .fold(format!("AWS4{KEY}").into_bytes(), |key, part| mac(&key, part));
    let signature = hex(&mac(&key, &to_sign));
    format!("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/{scope}, SignedHeaders={names}, Signature={signature}")
}

/// Checks each field as the server does, and then as AWS does.
fn is_signed(body: &Value, region: &str, host: &str, server_id: Option<&str>) -> bool {
    assert_eq!(body["role"], "app");
    assert_eq!(body["iam_http_request_method"], "POST");
    assert_eq!(text(&decoded(body, "iam_request_url")), format!("https://{host}/"));
    let form = decoded(body, "iam_request_body");
    assert_eq!(text(&form), "Action=GetCallerIdentity&Version=2011-06-15");
    let headers: Value = serde_json::from_slice(&decoded(body, "iam_request_headers")).unwrap();
    let headers = headers.as_object().unwrap().iter().map(|(name, values)| {
        let [value] = values.as_array().unwrap().as_slice() else { panic!("{name}: {values}") };
        (name.to_ascii_lowercase(), value.as_str().unwrap().to_owned())
    });
    let (signature, mut headers): (Vec<_>, Vec<_>) = headers.partition(|(name, _)| name == "authorization");
    headers.sort();
    let value = |name: &str| headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    assert_eq!(value("host"), Some(host));
    assert_eq!(value("content-type"), Some("application/x-www-form-urlencoded; charset=utf-8"));
    assert_eq!(value("x-vault-aws-iam-server-id"), server_id);
    assert_eq!(value("x-amz-security-token"), Some("token of the session"));
    assert_eq!(headers.len(), if server_id.is_some() { 5 } else { 4 }, "{headers:?}");
    assert_eq!(signature, [("authorization".to_owned(), authorization(region, &headers, &form))]);
    assert!(!body.to_string().contains("canary"));
    true
}

fn of_aws(region: &str, server_id: Option<&str>) -> AuthConfig {
    AuthConfig::Aws(Box::new(AwsLoginConfig {
        mount: "cloud/aws".into(),
        role: "app".into(),
        region: region.into(),
        server_id: server_id.map(str::to_owned),
        account: AwsConfig {
            region: Some("eu-west-1".into()),
            endpoint: None,
            profile: None,
            authorities: Authorities::System,
            proxy: Proxy::None,
            refresh: Duration::from_mins(5),
            assume_role: None,
            keys: Some(AwsKeys {
                id: "AKIDEXAMPLE".into(),
                key: Secret::new(KEY),
                session_token: Some(Secret::new("token of the session")),
            }),
            cautions: Vec::new(),
        },
    }))
}

#[tokio::test]
async fn an_identity_of_aws_signs_a_request_that_aws_would_answer() {
    for (region, host, server_id) in [
        ("us-east-1", "sts.amazonaws.com", None),
        ("eu-central-1", "sts.eu-central-1.amazonaws.com", Some("vault.internal")),
    ] {
        let server = server("cloud/aws", move |body| is_signed(body, region, host, server_id)).await;
        let grant = log_in(&with(&server, of_aws(region, server_id))).await.unwrap();
        assert!(grant.token.expose() == "s.machine" && grant.revocable, "{grant:?}");
        assert_eq!(server.asked("POST /v1/auth/cloud/aws/login"), 1);
    }
    let strict = server("cloud/aws", |_| false).await;
    let outcome = log_in(&with(&strict, of_aws("us-east-1", None))).await;
    refused(&outcome, "no such role (check `role`, that it takes this identity");
    assert!(matches!(outcome, Err(Fault::Refused { again_in: Some(_), .. })), "{outcome:?}");
}

/// The metadata service of Google's cloud.
fn google(request: &str) -> Reply {
    let (line, _) = parts(request);
    let is_flavoured = request.to_ascii_lowercase().contains("\r\nmetadata-flavor: google\r\n");
    let path = "/computeMetadata/v1/instance/service-accounts/default/identity";
    let right = format!("GET {path}?audience=http%3A%2F%2Fvault%2Fapp&format=full HTTP/1.1");
    if line == right && is_flavoured {
        return reply("200 OK", &[], "eyJhbGciOiJSUzI1NiJ9.eyJhdWQiOiJhIn0.c2ln\n");
    }
    reply("404 Not Found", &[], "canary")
}

#[tokio::test]
async fn a_machine_of_google_shows_a_jwt_for_this_role() {
    let metadata = Fake::new(google).await;
    let right = json!({ "role": "app", "jwt": "eyJhbGciOiJSUzI1NiJ9.eyJhdWQiOiJhIn0.c2ln" });
    let server = server("gcp", move |body| *body == right).await;
    let with = |role: &str, metadata: &str| {
        let gcp = GcpLoginConfig { mount: "gcp".into(), role: role.into(), metadata: metadata.into() };
        with(&server, AuthConfig::Gcp(gcp))
    };
    assert_eq!(log_in(&with("app", &metadata.address)).await.unwrap().token.expose(), "s.machine");
    let outcome = log_in(&with("other", &metadata.address)).await;
    refused(&outcome, "404 Not Found (check that the machine has a service account)");
    assert!(!format!("{outcome:?}").contains("canary"), "{outcome:?}");
    assert_eq!(server.asked("/login"), 1);

    let page = Fake::new(|_| reply("200 OK", &[], "<h1>Wel come</h1>")).await;
    let outcome = log_in(&with("app", &page.address)).await;
    assert!(matches!(outcome, Err(Fault::Malformed { .. })), "{outcome:?}");
    let endless = Fake::new(|_| reply("200 OK", &[], &"x".repeat(70_000))).await;
    let outcome = log_in(&with("app", &endless.address)).await;
    assert!(matches!(&outcome, Err(Fault::Malformed { why }) if why.contains("longer than")), "{outcome:?}");
    drop(metadata);
}

/// The metadata service of Azure, on a machine of a set.
fn azure(request: &str) -> Reply {
    let (line, _) = parts(request);
    if !request.to_ascii_lowercase().contains("\r\nmetadata: true\r\n") {
        return reply("400 Bad Request", &[], "{}");
    }
    let right = "GET /metadata/identity/oauth2/token?api-version=2018-02-01\
                 &resource=https%3A%2F%2Fmanagement.azure.com%2F&client_id=an-id HTTP/1.1";
    match line.as_str() {
        line if line == right => {
            reply("200 OK", &[], &json!({ "access_token": "a.b.c", "expires_in": "3599" }).to_string())
        }
        "GET /metadata/instance?api-version=2018-02-01 HTTP/1.1" => {
            let compute = json!({ "name": "vm-1", "resourceGroupName": "shop", "subscriptionId": "s-1",
                                  "vmScaleSetName": "set", "location": "westeurope" });
            reply("200 OK", &[], &json!({ "compute": compute, "network": {} }).to_string())
        }
        line => panic!("{line}"),
    }
}

#[tokio::test]
async fn a_machine_of_azure_shows_a_token_and_where_it_is() {
    let metadata = Fake::new(azure).await;
    let right = json!({
        "role": "app", "jwt": "a.b.c", "subscription_id": "s-1", "resource_group_name": "shop",
        "vm_name": "vm-1", "vmss_name": "set",
    });
    let server = server("azure", move |body| *body == right).await;
    let with = |role: &str, metadata: &str| {
        let azure = AzureLoginConfig {
            mount: "azure".into(),
            role: role.into(),
            resource: "https://management.azure.com/".into(),
            client_id: Some("an-id".into()),
            metadata: metadata.into(),
        };
        with(&server, AuthConfig::Azure(azure))
    };
    assert_eq!(log_in(&with("app", &metadata.address)).await.unwrap().token.expose(), "s.machine");
    refused(&log_in(&with("another", &metadata.address)).await, "no such role (check `role`");
    let none = Fake::new(|_| reply("400 Bad Request", &[], r#"{"error": "invalid_request"}"#)).await;
    refused(&log_in(&with("app", &none.address)).await, "check that the machine has a managed identity");
    let nobody = Fake::new(|_| reply("200 OK", &[], "{}")).await;
    let outcome = log_in(&with("app", &nobody.address)).await;
    assert!(matches!(outcome, Err(Fault::Malformed { .. })), "{outcome:?}");
}

#[tokio::test]
async fn a_metadata_service_leads_to_nobody_else() {
    let thief = Fake::new(|_| reply("200 OK", &[], "eyJhbGciOiJSUzI1NiJ9.canary.c2ln")).await;
    let server = server("gcp", |_| true).await;
    for status in ["301 Moved Permanently", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"] {
        let location = format!("location: {}/computeMetadata/v1/", thief.address);
        let metadata = Fake::new(move |_| reply(status, &[&location], "")).await;
        let gcp =
            GcpLoginConfig { mount: "gcp".into(), role: "app".into(), metadata: metadata.address.clone() };
        let outcome = log_in(&with(&server, AuthConfig::Gcp(gcp))).await;
        assert!(matches!(outcome, Err(Fault::Malformed { .. })), "{status}: {outcome:?}");
    }
    for body in [&b"\xff\xfe"[..], b"", b"  \n", b"a\0b", b"a\nb"] {
        let head = format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
        let whole = [head.as_bytes(), body].concat();
        let metadata = Fake::new(move |_| Reply::Bytes(whole.clone())).await;
        let gcp =
            GcpLoginConfig { mount: "gcp".into(), role: "app".into(), metadata: metadata.address.clone() };
        let outcome = log_in(&with(&server, AuthConfig::Gcp(gcp))).await;
        assert!(matches!(outcome, Err(Fault::Malformed { .. })), "{body:?}: {outcome:?}");
    }
    assert_eq!((thief.asked(""), server.asked("")), (0, 0));
}
