//! The client of the socket, for the commands.

use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, HOST, HeaderValue};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

use super::place::{Place, PlaceError};

/// The longest answer, in bytes: the status of a hundred thousand secrets is smaller.
const LONGEST_ANSWER: usize = 256 << 20;

/// An answer that is waited for by nobody else comes within this time.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum ClientError {
    #[error("cannot ask the squire that runs")]
    Place(#[from] PlaceError),
    #[error("not over in the time that was given; `squire status` says what is waited for")]
    Late,
    #[error("the squire that runs does not answer at {place}: {why}")]
    Unanswered { place: Place, why: String },
}

/// Asks, and waits for the answer; `patience` is added to the time that any answer may take.
///
/// # Errors
/// [`ClientError`]
pub fn ask(
    place: &Place,
    method: Method,
    target: &str,
    patience: Duration,
) -> Result<(StatusCode, String), ClientError> {
    let unanswered = |why: String| ClientError::Unanswered { place: place.clone(), why };
    let stream = place.connect()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| unanswered(error.to_string()))?;
    runtime.block_on(async {
        let exchange = exchange(stream, method, target);
        match tokio::time::timeout(ANSWER_WITHIN + patience, exchange).await {
            Ok(result) => result.map_err(|error| unanswered(error.to_string())),
            Err(_) if patience.is_zero() => Err(unanswered("it takes too long".to_owned())),
            Err(_) => Err(ClientError::Late),
        }
    })
}

type AnyError = Box<dyn std::error::Error + Send + Sync>;

async fn exchange(
    stream: std::os::unix::net::UnixStream,
    method: Method,
    target: &str,
) -> Result<(StatusCode, String), AnyError> {
    stream.set_nonblocking(true)?;
    let stream = TokioIo::new(UnixStream::from_std(stream)?);
    let (mut sender, connection) = http1::handshake(stream).await?;
    // It ends with the sender.
    drop(tokio::spawn(connection));
    let mut request = Request::new(Empty::<Bytes>::new());
    *request.method_mut() = method;
    *request.uri_mut() = target.parse()?;
    request.headers_mut().insert(HOST, HeaderValue::from_static("squire"));
    request.headers_mut().insert(ACCEPT, HeaderValue::from_static("application/json"));
    let (head, body) = sender.send_request(request).await?.into_parts();
    let body = Limited::new(body, LONGEST_ANSWER).collect().await?.to_bytes();
    Ok((head.status, String::from_utf8(body.to_vec())?))
}
