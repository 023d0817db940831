//! Servers that misbehave, several addresses, redirects.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hyper::Method;
use hyper::header::{HeaderMap, HeaderValue};
use squire::source::Fault;
use squire::source::Source as _;
use squire::source::http::{Answer, Http, Limits, Longest, Repeat, Request};
use squire::source::vault::Vault;
use tokio::task::JoinSet;

use crate::bao::free_port;
use crate::fake::{Fake, Reply, json};
use crate::{config, grant, short, want};

async fn send(http: &Http, repeat: Repeat) -> Result<Answer, Fault> {
    let mut token = HeaderValue::from_static("canary-token");
    token.set_sensitive(true);
    let headers = HeaderMap::from_iter([("x-vault-token".parse().unwrap(), token)]);
    http.send(&Request {
        method: Method::GET,
        path: "/v1/a".into(),
        headers,
        body: None,
        repeat,
        longest: Longest::Usual,
        hidden: Vec::new(),
    })
    .await
}

fn http(addresses: &[&str]) -> Http {
    Http::new(&config(addresses, Path::new("")), short()).unwrap()
}

fn dead_address() -> String {
    format!("http://127.0.0.1:{}", free_port())
}

#[track_caller]
fn unreachable_because(outcome: Result<Answer, Fault>, part: &str) -> Option<Duration> {
    match outcome {
        Err(Fault::Unreachable { why, retry_after }) if why.contains(part) => retry_after,
        other => panic!("expected unreachable with {part:?}: {other:?}"),
    }
}

#[track_caller]
fn malformed_because(outcome: &Result<Answer, Fault>, part: &str) {
    assert!(matches!(outcome, Err(Fault::Malformed { why }) if why.contains(part)), "{part}: {outcome:?}");
}

#[tokio::test]
async fn each_status_of_a_server_that_cannot_be_asked_is_unreachable() {
    let statuses = [412, 429, 472, 473, 501, 502, 503, 504];
    for status in statuses {
        let body = r#"{"errors":["Vault is sealed"]}"#;
        let fake = Fake::new(move |_| json(&format!("{status} X"), &["retry-after: 7"], body)).await;
        let outcome = send(&http(&[&fake.address]), Repeat::Always).await;
        let expected = format!("answered {status}");
        assert_eq!(unreachable_because(outcome.clone(), &expected), Some(Duration::from_secs(7)));
        unreachable_because(outcome, "Vault is sealed");
    }
    for status in [200, 204, 400, 403, 404, 405, 500] {
        let fake = Fake::new(move |_| json(&format!("{status} X"), &[], "")).await;
        assert_eq!(send(&http(&[&fake.address]), Repeat::Always).await.unwrap().status, status);
    }
}

#[tokio::test]
async fn no_server_no_answer_and_half_an_answer_are_unreachable() {
    let refused = send(&http(&[&dead_address()]), Repeat::Always).await;
    unreachable_because(refused, "cannot connect: tcp connect error: Connection refused");

    let silent = Fake::new(|_| Reply::Silence).await;
    unreachable_because(send(&http(&[&silent.address]), Repeat::Always).await, "no answer within 300ms");
    let minting = send(&http(&[&silent.address]), Repeat::OnlyIfUnsent).await;
    assert!(matches!(minting, Err(Fault::Failing { .. })), "{minting:?}");

    let cut = "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"canary-body";
    let cutting = Fake::new(|_| Reply::Bytes(cut.into())).await;
    let outcome = send(&http(&[&cutting.address]), Repeat::Always).await;
    assert!(!format!("{outcome:?}").contains("canary"), "{outcome:?}");
    unreachable_because(outcome, "the answer was cut off");

    let closing = Fake::new(|_| Reply::Bytes(Vec::new())).await;
    unreachable_because(send(&http(&[&closing.address]), Repeat::Always).await, &closing.address);

    let nonsense = Fake::new(|_| Reply::Bytes(b"SSH-2.0-OpenSSH_9.2\r\n".to_vec())).await;
    unreachable_because(send(&http(&[&nonsense.address]), Repeat::Always).await, "invalid HTTP");
}

#[tokio::test]
async fn an_answer_is_no_longer_than_it_may_be() {
    let fake = Fake::new(|_| json("200 OK", &[], &"a".repeat(20 << 20))).await;
    let http = Http::new(&config(&[&fake.address], Path::new("")), Limits::default()).unwrap();
    malformed_because(&send(&http, Repeat::Always).await, "longer than 1 MiB");
    // Few bytes and many values are as much when they are read.
    let fake = Fake::new(|_| json("200 OK", &[], &format!("[{}0]", "0,".repeat(40_000)))).await;
    let http = Http::new(&config(&[&fake.address], Path::new("")), Limits::default()).unwrap();
    malformed_because(&send(&http, Repeat::Always).await, "longer than 1 MiB");
}

#[tokio::test]
async fn what_is_no_json_is_malformed_and_says_what_came() {
    let html =
        "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 6\r\nconnection: close\r\n\r\n<html>";
    let cases: [(&'static str, &str); 2] =
        [(html, "6 bytes of text/html"), ("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", "empty body")];
    for (bytes, part) in cases {
        let fake = Fake::new(move |_| Reply::Bytes(bytes.into())).await;
        let vault = Vault::new(&config(&[&fake.address], Path::new(""))).unwrap();
        let outcome = vault.fetch(&grant("canary-token"), &want("secret/a")).await;
        assert!(matches!(&outcome, Err(Fault::Malformed { why }) if why.contains(part)), "{outcome:?}");
    }
}

#[tokio::test]
async fn fetches_that_wait_for_the_same_mount_share_its_failure() {
    let silent = Fake::new(|_| Reply::Silence).await;
    let vault = Arc::new(Vault::with_limits(&config(&[&silent.address], Path::new("")), short()).unwrap());
    let mut fetches = JoinSet::new();
    for number in 0..50 {
        let vault = Arc::clone(&vault);
        fetches.spawn(async move { vault.fetch(&grant("any"), &want(&format!("secret/{number}"))).await });
    }
    for outcome in fetches.join_all().await {
        assert!(matches!(outcome, Err(Fault::Unreachable { .. })), "{outcome:?}");
    }
    assert_eq!(silent.asked("GET"), 1);
    vault.fetch(&grant("any"), &want("secret/again")).await.unwrap_err();
    assert_eq!(silent.asked("GET"), 2);
}

#[tokio::test]
async fn the_newest_index_goes_with_every_later_request() {
    let fake =
        Fake::new(|_| json("403 Forbidden", &["x-vault-index: djE6YTox"], r#"{"errors":["no"]}"#)).await;
    let vault = Vault::new(&config(&[&fake.address], Path::new(""))).unwrap();
    for _ in 0..2 {
        vault.fetch(&grant("any"), &want("secret/a")).await.unwrap_err();
    }
    let sent = "x-vault-index: djE6YTox\r\nx-vault-inconsistent: forward-active-node";
    // The look-up of the mount and the path itself, and then the look-up again.
    assert_eq!((fake.asked("GET"), fake.asked(sent)), (3, 2));
    assert_eq!(fake.asked("x-vault-request: true"), 3);
}

#[tokio::test]
async fn the_next_address_is_asked_and_remembered() {
    let living = Fake::new(|_| json("200 OK", &[], "{}")).await;
    let sealed = Fake::new(|_| json("503 Service Unavailable", &[], "{}")).await;
    let http = http(&[&dead_address(), &sealed.address, &living.address]);
    for _ in 0..3 {
        send(&http, Repeat::Always).await.unwrap();
    }
    assert_eq!((sealed.asked("GET /v1/a"), living.asked("GET /v1/a")), (1, 3));
}

#[tokio::test]
async fn what_makes_something_goes_on_only_where_nothing_was_sent() {
    let living = Fake::new(|_| json("200 OK", &[], "{}")).await;
    let silent = Fake::new(|_| Reply::Silence).await;
    send(&http(&[&dead_address(), &living.address]), Repeat::OnlyIfUnsent).await.unwrap();
    assert_eq!(living.asked("GET"), 1);

    let closing = Fake::new(|_| Reply::Bytes(Vec::new())).await;
    let sealed = Fake::new(|_| json("503 Service Unavailable", &[], "{}")).await;
    for (times, failing) in (2..).zip([&silent, &closing, &sealed]) {
        let http = http(&[&failing.address, &living.address]);
        send(&http, Repeat::OnlyIfUnsent).await.unwrap_err();
        send(&http, Repeat::Always).await.unwrap();
        assert_eq!(living.asked("GET"), times);
    }
}

#[tokio::test]
async fn a_credential_is_never_asked_for_twice_and_a_written_secret_is() {
    for (engine, elsewhere) in [("database", 0), ("kv", 1)] {
        let mount = format!(r#"{{"data":{{"path":"m/","type":"{engine}"}}}}"#);
        let closing = Fake::new(move |head| {
            if head.contains("/ui/mounts/") { json("200 OK", &[], &mount) } else { Reply::Bytes(Vec::new()) }
        })
        .await;
        let living = Fake::new(|_| json("200 OK", &[], r#"{"data":{}}"#)).await;
        let vault = Vault::new(&config(&[&closing.address, &living.address], Path::new(""))).unwrap();
        let outcome = vault.fetch(&grant("any"), &want("m/creds/app")).await;
        assert_eq!(
            (outcome.is_ok(), living.asked("GET /v1/m/creds/app")),
            (elsewhere == 1, elsewhere),
            "{engine}"
        );
    }
}

#[tokio::test]
async fn a_handshake_that_does_not_end_counts_as_not_connected() {
    let silent = Fake::new(|_| Reply::Silence).await;
    let living = Fake::new(|_| json("200 OK", &[], "{}")).await;
    let secure = silent.address.replace("http://", "https://");
    let mut addresses = config(&[&secure, &living.address], Path::new(""));
    addresses.insecure_tls = true;
    let limits = Limits { connect: Duration::from_millis(300), ..Limits::default() };
    let http = Http::new(&addresses, limits).unwrap();
    assert_eq!(send(&http, Repeat::OnlyIfUnsent).await.unwrap().status, 200);
}

#[tokio::test]
async fn when_no_address_answers_the_fault_says_each() {
    let (one, two) = (dead_address(), dead_address());
    let outcome = send(&http(&[&one, &two]), Repeat::Always).await;
    unreachable_because(outcome.clone(), &one);
    unreachable_because(outcome, &two);
}

/// A server that redirects to another one.
async fn redirecting(status: &'static str, location: String) -> Fake {
    Fake::new(move |_| json(status, &[&format!("location: {location}")], "")).await
}

#[tokio::test]
async fn a_redirect_is_followed_once_and_only_to_an_address() {
    let leader = Fake::new(|_| json("200 OK", &[], r#"{"leader":true}"#)).await;
    let standby = redirecting("307 Temporary Redirect", format!("{}/v1/b", leader.address)).await;
    let answer = send(&http(&[&standby.address, &leader.address]), Repeat::OnlyIfUnsent).await.unwrap();
    assert_eq!(answer.body.expose(), br#"{"leader":true}"#);
    assert_eq!(leader.asked("x-vault-token: canary-token"), 1);

    let outcome = send(&http(&[&standby.address]), Repeat::Always).await;
    malformed_because(&outcome, &format!("redirects to {}: add it to `addresses`", leader.address));
    assert_eq!(leader.asked("GET"), 1);

    let moved = redirecting("301 Moved Permanently", format!("{}/v1/b", leader.address)).await;
    malformed_because(&send(&http(&[&moved.address, &leader.address]), Repeat::Always).await, "301");

    let secure = leader.address.replace("http://", "https://");
    let upgrading = redirecting("307 Temporary Redirect", format!("{secure}/v1/b")).await;
    let mut addresses = config(&[&upgrading.address, &secure], Path::new(""));
    addresses.insecure_tls = true;
    let outcome = send(&Http::new(&addresses, short()).unwrap(), Repeat::Always).await;
    malformed_because(&outcome, "changes the scheme");
}

#[tokio::test]
async fn a_redirect_to_a_stranger_is_followed_where_that_is_allowed_once_and_in_the_same_scheme() {
    let allowed = |address: &str| {
        let mut config = config(&[address], Path::new(""));
        config.allow_redirects = true;
        Http::new(&config, short()).unwrap()
    };
    let stranger = Fake::new(|_| json("200 OK", &[], "{}")).await;
    let standby = redirecting("307 Temporary Redirect", format!("{}/v1/b", stranger.address)).await;
    let http = allowed(&standby.address);
    for times in 1..=2 {
        send(&http, Repeat::Always).await.unwrap();
        assert_eq!((standby.asked("GET /v1/a"), stranger.asked("GET /v1/b")), (times, times));
    }

    let twice = redirecting("307 Temporary Redirect", format!("{}/v1/b", standby.address)).await;
    unreachable_because(send(&allowed(&twice.address), Repeat::Always).await, "redirects again");

    let secure = stranger.address.replace("http://", "https://");
    let upgrading = redirecting("307 Temporary Redirect", format!("{secure}/v1/b")).await;
    malformed_because(&send(&allowed(&upgrading.address), Repeat::Always).await, "changes the scheme");
}

#[tokio::test]
async fn a_redirect_within_the_same_server_is_followed() {
    let fake = Fake::new(|head| {
        if head.starts_with("GET /v1/a ") {
            json("307 Temporary Redirect", &["location: /v1/b"], "")
        } else {
            json("200 OK", &[], "{}")
        }
    })
    .await;
    assert_eq!(send(&http(&[&fake.address]), Repeat::Always).await.unwrap().status, 200);
}

#[tokio::test]
async fn a_redirect_to_the_dead_leader_goes_on_to_the_next_address() {
    let dead = dead_address();
    let standby = redirecting("307 Temporary Redirect", format!("{dead}/v1/a")).await;
    let successor = Fake::new(|_| json("200 OK", &[], "{}")).await;
    let http = http(&[&standby.address, &dead, &successor.address]);
    send(&http, Repeat::OnlyIfUnsent).await.unwrap();

    let circle = Fake::new(|_| json("307 Temporary Redirect", &["location: /v1/a"], "")).await;
    unreachable_because(send(&self::http(&[&circle.address]), Repeat::Always).await, "redirects again");
}
