//! Views of the status as answers: readiness in words, or as JSON for who asks for it; metrics for Prometheus.

use hyper::body::Bytes;
use hyper::{Response, StatusCode};

use prometheus_client::encoding::prometheus_text::CONTENT_TYPE;
use prometheus_client::registry::Registry;

use super::metrics::{self, figures::Figures};
use super::serve::{Body, bytes, json, plain};
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

/// All metrics. Whatever form is asked for, every Prometheus reads this one.
pub(super) fn metrics(counters: &Registry, status: &Status) -> Response<Body> {
    match metrics::text(counters, status, &Figures::read()) {
        Ok(words) => bytes(StatusCode::OK, CONTENT_TYPE, Bytes::from(words)),
        Err(error) => plain(StatusCode::INTERNAL_SERVER_ERROR, &format!("{error}\n")),
    }
}
