//! Readiness as an answer: in words, or as JSON for who asks for it.

use hyper::{Response, StatusCode};

use super::serve::{Body, json, plain};
use crate::status::Status;

/// 200 if what Squire serves can be relied on, else 503 with every reason.
pub(super) fn ready(status: &Status, as_json: bool) -> Response<Body> {
    let code = if status.ready.is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    if as_json {
        return json(code, &status.ready);
    }
    let reasons: Vec<_> = status.ready.reasons.iter().map(ToString::to_string).collect();
    let words = if reasons.is_empty() { "ready".to_owned() } else { reasons.join("\n") };
    plain(code, &format!("{words}\n"))
}
