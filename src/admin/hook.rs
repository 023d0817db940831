//! A webhook on its way to the agent.
//!
//! Who attacks: whoever reaches the listener, without a key. So nothing of a request is read before its sender's network is allowed (see
//! [`crate::webhook`]); then no more than a body may have, and for no longer than it may take. How many there are at once is bounded by the
//! connections of an address. Who the sender is, is said by the kernel: a header such as `X-Forwarded-For` is anybody's to write.

use std::net::IpAddr;
use std::time::Duration;

use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::header::{HeaderValue, RETRY_AFTER};
use hyper::{Request, Response, StatusCode};
use tokio::time::timeout;

use super::serve::{Body, Server, plain, unanswered};
use crate::agent::Ask;
use crate::webhook::{Delivery, LONGEST_BODY, Refusal};

/// A body that is not there within this time will not come.
const BODY_WITHIN: Duration = Duration::from_secs(5);

/// Where the key is not there yet, it may be in this time.
const KEY_WITHIN: Duration = Duration::from_secs(5);

/// `from` is nobody's address at the socket.
pub(super) async fn webhook(
    server: &Server,
    from: Option<IpAddr>,
    request: Request<Incoming>,
) -> Response<Body> {
    match server.ask(|answer| Ask::Knock(from, answer)).await {
        None => return unanswered(),
        Some(Err(refusal)) => return refused(&refusal),
        Some(Ok(())) => {}
    }
    let (head, body) = request.into_parts();
    let body = match read(body).await {
        Ok(body) => body,
        Err((status, words)) => return plain(status, words),
    };
    let delivery = match Delivery::read(&head.headers, &body) {
        Ok(delivery) => delivery,
        Err(refusal) => return refused(&refusal),
    };
    match server.ask(|answer| Ask::Webhook(from, delivery, answer)).await {
        None => unanswered(),
        Some(Err(refusal)) => refused(&refusal),
        Some(Ok(())) => plain(StatusCode::ACCEPTED, "asked for\n"),
    }
}

async fn read(body: Incoming) -> Result<Bytes, (StatusCode, &'static str)> {
    const TOO_LONG: (StatusCode, &str) = (StatusCode::PAYLOAD_TOO_LARGE, "a webhook has at most 64 KiB\n");
    if body.size_hint().lower() > LONGEST_BODY as u64 {
        return Err(TOO_LONG);
    }
    match timeout(BODY_WITHIN, Limited::new(body, LONGEST_BODY).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(TOO_LONG),
        Ok(Err(_)) => Err((StatusCode::BAD_REQUEST, "the body broke off\n")),
        Err(_) => Err((StatusCode::REQUEST_TIMEOUT, "the body did not come within 5 s\n")),
    }
}

fn refused(refusal: &Refusal) -> Response<Body> {
    let mut response = plain(status(refusal), &format!("{refusal}\n"));
    if let Some(again_in) = again_in(refusal) {
        // Whole seconds, and none too few.
        let seconds = again_in.as_secs() + u64::from(again_in.subsec_nanos() > 0);
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

fn status(refusal: &Refusal) -> StatusCode {
    match refusal {
        Refusal::Nothing => StatusCode::NOT_FOUND,
        Refusal::Elsewhere => StatusCode::FORBIDDEN,
        Refusal::TooMany { .. } => StatusCode::TOO_MANY_REQUESTS,
        Refusal::NoKey => StatusCode::SERVICE_UNAVAILABLE,
        Refusal::Malformed(_) => StatusCode::BAD_REQUEST,
        Refusal::Unsigned
        | Refusal::Old(_)
        | Refusal::Early(_)
        | Refusal::BeforeStart
        | Refusal::Repeated => StatusCode::UNAUTHORIZED,
        Refusal::NotDone(_) => StatusCode::CONFLICT,
    }
}

fn again_in(refusal: &Refusal) -> Option<Duration> {
    match refusal {
        Refusal::TooMany { again_in } => Some(*again_in),
        Refusal::NoKey => Some(KEY_WITHIN),
        Refusal::Nothing
        | Refusal::Elsewhere
        | Refusal::Malformed(_)
        | Refusal::Unsigned
        | Refusal::Old(_)
        | Refusal::Early(_)
        | Refusal::BeforeStart
        | Refusal::Repeated
        | Refusal::NotDone(_) => None,
    }
}
