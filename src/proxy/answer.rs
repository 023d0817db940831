//! The answers of the proxy itself, in the form of the server's API.
//!
//! *Invariant:* they say what is refused and why, and nothing that a client or a server sent.

use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};
use serde_json::json;

use super::Refusal;

/// A body that streams, or is there.
pub(super) type Body =
    http_body_util::combinators::UnsyncBoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;

/// Says that a value is older than it should be.
pub(super) const STALE: HeaderName = HeaderName::from_static("x-squire-stale");

/// What is there.
pub(super) fn full(bytes: Bytes) -> Body {
    Body::new(Full::new(bytes).map_err(|never| match never {}))
}

/// `{"errors": […]}`, as the server says it.
pub(super) fn error(status: StatusCode, why: &str) -> Response<Body> {
    let mut response = Response::new(full(Bytes::from(json!({ "errors": [why] }).to_string())));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A request that is not passed on.
pub(super) fn refused(refusal: Refusal) -> Response<Body> {
    error(refusal.status(), &format!("squire: {refusal}"))
}

/// It may be asked again after this time.
pub(super) fn later(status: StatusCode, why: &str, after: Duration) -> Response<Body> {
    let mut response = error(status, why);
    let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds.max(1)));
    response
}
