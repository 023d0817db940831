//! Fuzzes the answers of a server.

use std::time::Duration;

use hyper::StatusCode;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::super::api;
use super::*;
use crate::fuzz::{CANARY, Reader};
use crate::source::http::Answer;

const DOCUMENTS: [&str; 12] = [
    r#"{"request_id":"r","lease_id":"","renewable":false,"lease_duration":0,"data":{"data":{"password":"canary-2b7e151628","n":1.10},"metadata":{"created_time":"2024-05-01T12:00:00Z","custom_metadata":null,"deletion_time":"","destroyed":false,"version":3}},"wrap_info":null,"warnings":null,"auth":null}"#,
    r#"{"data":{"data":null,"metadata":{"deletion_time":"2024-05-01T11:00:00.123456789Z","destroyed":false,"version":2}}}"#,
    r#"{"lease_id":"database/creds/app/x","renewable":true,"lease_duration":3600,"data":{"username":"v-app-canary-2b7e151628","password":"canary-2b7e151628"},"warnings":["TTL exceeded"]}"#,
    r#"{"lease_duration":2764800,"data":{"password":"canary-2b7e151628"}}"#,
    r#"{"data":{"username":"app","password":"canary-2b7e151628","ttl":25,"rotation_period":60,"last_vault_rotation":"2024-05-01T12:00:00Z"}}"#,
    r#"{"data":{"certificate":"-----BEGIN CERTIFICATE-----","private_key":"canary-2b7e151628","expiration":1893456000,"serial_number":"1"}}"#,
    r#"{"auth":{"client_token":"s.canary-2b7e151628","accessor":"a","policies":["default"],"lease_duration":3600,"renewable":true,"token_type":"service","num_uses":0}}"#,
    r#"{"data":{"id":"s.canary-2b7e151628","ttl":3600,"expire_time":"2030-01-01T00:00:00Z","renewable":true,"num_uses":5,"creation_path":"auth/approle/login"}}"#,
    r#"{"data":{"id":"database/creds/app/x","ttl":1800,"expire_time":"2030-01-01T00:00:00Z"}}"#,
    r#"{"data":{"secret_id":"canary-2b7e151628","secret_id_accessor":"a","secret_id_ttl":0}}"#,
    r#"{"data":{"path":"secret/","type":"kv","options":{"version":"2"},"creation_path":"sys/wrapping/wrap"}}"#,
    r#"{"errors":["permission denied"],"data":{"password":"canary-2b7e151628"}}"#,
];

const WORDS: [&str; 21] = [
    "\"lease_id\":\"x\"",
    "\"lease_duration\":",
    "\"renewable\":true",
    "\"auth\":{",
    "\"data\":{",
    "\"data\":null",
    "\"metadata\":{",
    "\"deletion_time\":\"9999-12-31T23:59:59Z\"",
    "\"deletion_time\":\"1970-01-01T00:00:00Z\"",
    "\"expiration\":",
    "\"ttl\":",
    "\"rotation_period\":1",
    "\"num_uses\":-1",
    "\"num_uses\":1",
    "\"expire_time\":\"x\"",
    "\"version\":3",
    "\"destroyed\":true",
    "\"ttl\":-5",
    "\"errors\":[]",
    "\"client_token\":\"\"",
    "\"warnings\":[1]",
];

fn answer(body: &[u8]) -> Answer {
    let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
    Answer { status: StatusCode::OK, headers, body: Secret::new(body.to_vec()) }
}

/// No time to live is longer than the longest, and no error contains anything of the answer.
fn read(input: &[u8]) {
    let now = humantime::parse_rfc3339("2024-10-01T00:00:00Z").unwrap();
    let answer = answer(input);
    let bounded = |life: Option<Duration>| assert!(life.is_none_or(|life| life <= LONGEST_LIFE), "{life:?}");
    let fetched = [
        parsed::<Envelope<Versioned>>(&answer).and_then(|answer| versioned(answer, "p", now)),
        parsed::<Envelope<Packed>>(&answer).and_then(|answer| unversioned(answer, "p")),
        parsed::<Envelope<Packed, Packed>>(&answer).and_then(|answer| made(answer, "p", now)),
    ];
    for fetched in fetched {
        match fetched.map(|fetched| fetched.life) {
            Ok(Life::Renewable { ttl, .. } | Life::Expiring { ttl, .. } | Life::Rotating { ttl }) => {
                bounded(Some(ttl));
            }
            Ok(Life::Versioned { within }) => bounded(within.map(|within| within.saturating_sub(A_SECOND))),
            Err(fault) => quiet(&fault),
        }
    }
    if let Ok(envelope) = parsed::<Envelope<Packed, Packed>>(&answer) {
        assert!(!is_versioned(&envelope) || envelope.data.is_some());
        bounded(Some(envelope.renewal(u64::MAX).ttl));
        bounded(Some(envelope.renewal(0).ttl));
    }
    match parsed::<Envelope<Value, AuthAnswer>>(&answer) {
        Ok(envelope) => {
            bounded(envelope.grant_life("p").ok().and_then(|life| life.ttl));
            match envelope.grant("p") {
                Ok(grant) => bounded(grant.life.ttl),
                Err(fault) => quiet(&fault),
            }
        }
        Err(fault) => quiet(&fault),
    }
    if let Ok(state) = data_of::<TokenState>(&answer) {
        bounded(state.life().ttl);
        assert_ne!(state.uses(), Some(0));
    }
    if let Ok(state) = data_of::<LeaseState>(&answer) {
        bounded(state.left());
    }
    if let Ok(state) = data_of::<MountState>(&answer) {
        assert!(state.engine() != Engine::AsWritten, "{}", state.path);
    }
    drop(data_of::<WrappingState>(&answer).map(|state| state.creation_path));
    drop(data_of::<MadeSecretId>(&answer).map(|made| made.secret_id));
    if let Some(fault) = api::tombstone(&answer, "p") {
        quiet(&fault);
    }
    refused(input, &answer);
}

/// Of a refusal only the server's own message is shown, and it is plain.
fn refused(input: &[u8], answer: &Answer) {
    for status in [StatusCode::NOT_FOUND, StatusCode::BAD_REQUEST, StatusCode::INTERNAL_SERVER_ERROR] {
        let answer = Answer { status, headers: answer.headers.clone(), body: answer.body.clone() };
        let said = api::refusal(&answer, "p", "read").to_string();
        assert_eq!(crate::plain::plain(&said), said);
        assert!(said.chars().count() < 500, "{said}");
        let in_words = serde_json::from_slice::<Value>(input)
            .is_ok_and(|body| body["errors"].to_string().contains(CANARY));
        assert!(in_words || !said.contains(CANARY), "tells a value: {said}");
    }
}

fn parsed<T: DeserializeOwned>(answer: &Answer) -> Result<T, Fault> {
    api::parsed(answer, "p", "read").inspect_err(quiet)
}

fn data_of<T: DeserializeOwned>(answer: &Answer) -> Result<T, Fault> {
    parsed::<Envelope<T>>(answer)?.into_data("p").inspect_err(quiet)
}

fn quiet(fault: &Fault) {
    let said = fault.to_string();
    assert!(!said.contains(CANARY) && said.contains('p'), "tells a value, or no place: {said}");
}

#[test]
fn fuzz() {
    Reader::of_texts(&DOCUMENTS, &WORDS, read).fuzz("an answer of a server of Vault's kind");
}
