//! Asks a process over the network whether it is well, or to react to a change.

use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::CONNECTION;
use hyper::{Request, Response, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::net::TcpStream;

use crate::config::{HttpCall, HttpProbe, ProbeKind};
use crate::fact::chain;

/// How much of an answer is read, in bytes.
const LARGEST_BODY: usize = 64 << 10;

/// Probes once. Only `http` and `tcp` are done here: the main thread runs commands, the clock decides about `alive`, and the process itself
/// sends `notify`; here these always succeed.
///
/// # Errors
/// What is wrong, in words, without anything from the process's answer.
pub async fn attempt(kind: &ProbeKind, timeout: Duration) -> Result<(), String> {
    let asked = async {
        match kind {
            ProbeKind::Http(probe) => http(probe).await,
            ProbeKind::Tcp(address) => tcp(address).await,
            ProbeKind::Command(_) | ProbeKind::Alive(_) | ProbeKind::Notify => Ok(()),
        }
    };
    tokio::time::timeout(timeout, asked)
        .await
        .unwrap_or_else(|_| Err(format!("no answer within {timeout:?}")))
}

async fn tcp(address: &str) -> Result<(), String> {
    TcpStream::connect(address).await.map(drop).map_err(|error| format!("{address}: {error}"))
}

/// Sends a request whose answer only has to say that it was done.
///
/// # Errors
/// What is wrong, in words, without anything from the answer.
pub async fn call(call: &HttpCall) -> Result<(), String> {
    let HttpCall { method, url, timeout } = call;
    let sent = async {
        let answer = ask(method, url).await?;
        if answer.status().is_success() { Ok(()) } else { Err(format!("status {}", answer.status())) }
    };
    tokio::time::timeout(*timeout, sent)
        .await
        .unwrap_or_else(|_| Err(format!("no answer within {timeout:?}")))
}

async fn ask(method: &str, url: &str) -> Result<Response<Incoming>, String> {
    let request = Request::builder().method(method).uri(url).header(CONNECTION, "close");
    let request = request.body(Empty::<Bytes>::new()).map_err(|error| error.to_string())?;
    let client: Client<_, Empty<Bytes>> = Client::builder(TokioExecutor::new()).build(HttpConnector::new());
    client.request(request).await.map_err(|error| chain(&error))
}

async fn http(probe: &HttpProbe) -> Result<(), String> {
    let HttpProbe { url, status, body } = probe;
    let about = |why: String| format!("{url}: {why}");
    let answer = ask("GET", url).await.map_err(about)?;
    let is_well = match status {
        Some(status) => answer.status().as_u16() == *status,
        None => (StatusCode::OK..StatusCode::BAD_REQUEST).contains(&answer.status()),
    };
    if !is_well {
        return Err(about(format!("status {}", answer.status())));
    }
    let Some(expected) = body else { return Ok(()) };
    let answer = Limited::new(answer.into_body(), LARGEST_BODY).collect().await;
    let answer = answer.map_err(|error| about(error.to_string()))?.to_bytes();
    let contains = answer.windows(expected.len().max(1)).any(|part| part == expected.as_bytes());
    if expected.is_empty() || contains {
        Ok(())
    } else {
        Err(about("the answer does not contain `body`".to_owned()))
    }
}
