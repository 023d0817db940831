//! What AWS answers: values, and why there is none.
//!
//! *Invariant:* pure, and no word of a fault is a value's.

use std::time::SystemTime;

use aws_sdk_secretsmanager::error::ProvideErrorMetadata;
use aws_sdk_secretsmanager::operation::RequestId as Named;
use aws_sdk_secretsmanager::operation::get_secret_value::GetSecretValueOutput;
use aws_sdk_secretsmanager::primitives::{Blob, DateTime};
use aws_sdk_secretsmanager::types::SecretValueEntry;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::Fault;
use crate::fact::chain;
use crate::names::RequestId;
use crate::secret::meta::{self, Meta};
use crate::secret::{Fields, Packed, Secret};
use crate::size::{too_large, weight};
use crate::source::heard;

/// A value that came, not yet read.
#[derive(Clone, Debug)]
pub(super) struct Value {
    text: Secret<str>,
    /// It is base64 of bytes, and nothing to read.
    is_binary: bool,
    /// Which version it is.
    pub(super) version: String,
    /// Its labels.
    stages: Vec<String>,
    /// What AWS calls the request that it came with.
    pub(super) request: Option<RequestId>,
    /// When it was written.
    pub(super) written: Option<SystemTime>,
}

/// Why none came, and the server's own words for it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Failure {
    pub(super) fault: Fault,
    pub(super) words: String,
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Self { words: fault.to_string(), fault }
    }
}

impl Value {
    /// The answer to a question for one secret.
    pub(super) fn single<E: ProvideErrorMetadata + std::error::Error + 'static>(
        answer: Result<GetSecretValueOutput, SdkError<E, HttpResponse>>,
        id: &str,
    ) -> Result<Self, Failure> {
        let request = heard_in(&answer);
        heard::request(request.clone());
        let answer = answer.map_err(|error| failure(&error, id, "secretsmanager:GetSecretValue"))?;
        let written = answer.created_date().and_then(time);
        let value = Self::new(answer.secret_string(), answer.secret_binary(), answer.version_id());
        Ok(Self { request, written, stages: answer.version_stages().to_vec(), ..value })
    }

    /// One of many answers to a question for many.
    pub(super) fn of_entry(entry: &SecretValueEntry, request: Option<RequestId>) -> Self {
        let written = entry.created_date().and_then(time);
        let value = Self::new(entry.secret_string(), entry.secret_binary(), entry.version_id());
        Self { request, written, stages: entry.version_stages().to_vec(), ..value }
    }

    fn new(text: Option<&str>, binary: Option<&Blob>, version: Option<&str>) -> Self {
        let (text, is_binary) = match (text, binary) {
            (Some(text), _) => (Secret::new(text), false),
            (None, Some(bytes)) => (Secret::new(BASE64.encode(bytes)), true),
            (None, None) => (Secret::new(""), true),
        };
        Self {
            text,
            is_binary,
            version: version.unwrap_or_default().to_owned(),
            stages: Vec::new(),
            request: None,
            written: None,
        }
    }

    /// What is known of it beside them.
    pub(super) fn meta(&self) -> Meta {
        let created = self.written.map_or(serde_json::Value::Null, meta::written);
        Meta::of([
            (meta::VERSION_ID, self.version.as_str().into()),
            (meta::VERSION_STAGES, self.stages.clone().into()),
            (meta::CREATED_TIME, created),
        ])
    }

    /// Its fields, if it has no more than it may.
    pub(super) fn fields(&self, id: &str, limit: usize) -> Result<Packed, Fault> {
        let text = self.text.expose();
        if self.is_binary && text.len() <= limit {
            return Ok(single_field(text));
        }
        // The weight of what is no JSON is a number of commas and colons: only its bytes count.
        if text.len() > limit || (is_object(text) && weight(text.as_bytes()) > limit) {
            return Err(Fault::Malformed { why: format!("{id} {}", too_large(limit)) });
        }
        Ok(of_text(text))
    }
}

fn time(date: &DateTime) -> Option<SystemTime> {
    SystemTime::try_from(*date).ok()
}

/// An object's fields are the secret's; anything else is its `value`, to the letter.
fn of_text(text: &str) -> Packed {
    serde_json::from_str(text).unwrap_or_else(|_| single_field(text))
}

fn single_field(value: &str) -> Packed {
    Packed::of(&Fields::from_iter([("value".to_owned(), value.into())]))
}

/// Whether it begins as an object does. The rest is not read for it.
fn is_object(text: &str) -> bool {
    text.trim_start().starts_with('{')
}

/// What AWS calls the request of this answer, or of this refusal.
pub(super) fn heard_in(answer: &impl Named) -> Option<RequestId> {
    answer.request_id().and_then(RequestId::heard)
}

/// What it means that a question failed.
pub(super) fn failure<E: ProvideErrorMetadata + std::error::Error + 'static>(
    error: &SdkError<E, HttpResponse>,
    id: &str,
    needs: &'static str,
) -> Failure {
    let unreachable = |why| Failure::from(Fault::Unreachable { why, retry_after: None });
    match error {
        SdkError::ServiceError(answered) => {
            let refusal = answered.err();
            let (code, words) =
                (refusal.code().unwrap_or("no code"), refusal.message().unwrap_or("no words"));
            refused(code, words, Some(answered.raw().status().as_u16()), id, needs)
        }
        SdkError::ResponseError(_) | SdkError::ConstructionFailure(_) => {
            Failure::from(Fault::Malformed { why: format!("{id}: {}", chain(error)) })
        }
        // Not for want of an answer.
        SdkError::DispatchFailure(refused) if refused.is_user() => {
            Failure::from(Fault::Malformed { why: format!("{id}: {}", chain(error)) })
        }
        SdkError::TimeoutError(_) => unreachable("no answer in time".to_owned()),
        // Whatever else there will be is no answer either.
        SdkError::DispatchFailure(_) | _ => unreachable(chain(error)),
    }
}

/// What a refusal means: <https://docs.aws.amazon.com/secretsmanager/latest/apireference/CommonErrors.html>
pub(super) fn refused(
    code: &str,
    words: &str,
    status: Option<u16>,
    id: &str,
    needs: &'static str,
) -> Failure {
    let said = format!("{code}: {words}");
    let fault = match code {
        "ResourceNotFoundException" => Fault::Gone { why: format!("{id} is not there: {words}") },
        // Of what is read: deleted, or to be deleted.
        "InvalidRequestException" => Fault::Gone { why: format!("{id} cannot be read: {words}") },
        "AccessDeniedException" | "AccessDenied" | "NotAuthorized" => {
            Fault::Denied { path: id.to_owned(), capability: needs }
        }
        "UnrecognizedClientException"
        | "InvalidClientTokenId"
        | "InvalidAccessKeyId"
        | "InvalidToken"
        | "ExpiredToken"
        | "ExpiredTokenException"
        | "RequestExpired"
        | "InvalidSignatureException"
        | "SignatureDoesNotMatch"
        | "IncompleteSignature"
        | "MissingAuthenticationToken"
        | "MissingAuthenticationTokenException" => Fault::Dead,
        "ThrottlingException"
        | "Throttling"
        | "TooManyRequestsException"
        | "RequestLimitExceeded"
        | "InternalServiceError"
        | "InternalFailure"
        | "ServiceUnavailable"
        | "ServiceUnavailableException" => Fault::Unreachable { why: said.clone(), retry_after: None },
        "InvalidParameterException" | "ValidationException" | "ValidationError" => {
            Fault::Malformed { why: format!("{id}: {said}") }
        }
        _ if status.is_some_and(|status| status >= 500 || status == 429) => {
            Fault::Unreachable { why: said.clone(), retry_after: None }
        }
        _ => Fault::Failing { why: format!("{id}: {said}") },
    };
    Failure { fault, words: said }
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(value: &Value) -> Fields {
        value.fields("app", crate::size::USUAL).unwrap().expose()
    }

    #[test]
    fn what_is_too_large_is_not_read() {
        let text = |text: &str| Value::new(Some(text), None, None);
        let zeros = format!("{{\"a\":[{}0]}}", "0,".repeat(100));
        let commas = ",".repeat(200);
        for (value, limit, fits) in [
            (text("0123456789"), 10, true),
            (text("0123456789"), 9, false),
            (text(&zeros), 1000, false),
            (text(&zeros), 4000, true),
            (text(&commas), 200, true),
            (Value::new(None, Some(&Blob::new([0; 30])), None), 40, true),
            (Value::new(None, Some(&Blob::new([0; 30])), None), 39, false),
        ] {
            assert_eq!(value.fields("app", limit).is_ok(), fits, "{} {limit}", value.text.expose());
        }
    }

    #[test]
    fn an_object_is_fields_and_anything_else_one_value() {
        for (text, fields) in [
            (r#"{"username": "alice", "port": 5432}"#, json!({"username": "alice", "port": 5432})),
            ("plain", json!({"value": "plain"})),
            ("17", json!({"value": "17"})),
            ("[1, 2]", json!({"value": "[1, 2]"})),
            ("{not JSON", json!({"value": "{not JSON"})),
            ("", json!({"value": ""})),
        ] {
            let value = Value::new(Some(text), None, Some("v1"));
            assert_eq!(json!(read(&value)), fields, "{text}");
        }
        let binary = Value::new(None, Some(&Blob::new([0, 255])), Some("v1"));
        assert_eq!(json!(read(&binary)), json!({"value": "AP8="}));
    }

    #[test]
    fn every_refusal_has_its_class() {
        let class = |code: &str, status| match refused(code, "words", Some(status), "app", "the right").fault
        {
            Fault::Unreachable { .. } => "unreachable",
            Fault::Failing { .. } => "failing",
            Fault::Denied { capability: "the right", .. } => "denied",
            Fault::Dead => "dead",
            Fault::Gone { .. } => "gone",
            Fault::Malformed { .. } => "malformed",
            Fault::Denied { .. } | Fault::Awaiting { .. } | Fault::Refused { .. } => "wrong",
        };
        for (code, status, expected) in [
            ("ResourceNotFoundException", 400, "gone"),
            ("InvalidRequestException", 400, "gone"),
            ("AccessDeniedException", 400, "denied"),
            ("UnrecognizedClientException", 400, "dead"),
            ("ExpiredTokenException", 400, "dead"),
            ("InvalidSignatureException", 400, "dead"),
            ("ThrottlingException", 400, "unreachable"),
            ("InternalServiceError", 500, "unreachable"),
            ("Unheard", 503, "unreachable"),
            ("Unheard", 429, "unreachable"),
            ("DecryptionFailure", 400, "failing"),
            ("Unheard", 400, "failing"),
            ("InvalidParameterException", 400, "malformed"),
        ] {
            assert_eq!(class(code, status), expected, "{code} {status}");
        }
    }
}
