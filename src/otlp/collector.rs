//! A collector, and what every request to it has.
//!
//! *Invariant:* nothing that it answers is shown: it could say back the key that it was given.

use std::time::Duration;

use http_body_util::{BodyExt, Collected, Full, Limited};
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderValue, USER_AGENT};
use hyper::{Method, Request, StatusCode};
use tokio::time::timeout;

use super::settings::Settings;
use crate::source::http::{Connections, HttpError, Keys, Reach};

/// An answer is read so far.
const ANSWER: usize = 64 << 10;

/// See the module.
pub(super) struct Collector {
    connections: Connections,
    request: Request<()>,
    timeout: Duration,
    resource: Vec<(String, String)>,
}

impl Collector {
    pub(super) fn new(settings: Settings) -> Result<Self, HttpError> {
        let Settings { endpoint, headers, timeout, authorities, resource } = settings;
        let is_https = endpoint.scheme_str() == Some("https");
        let connections = Connections::new(Reach::directly(is_https, authorities), timeout)?;
        let mut request = Request::new(());
        *request.method_mut() = Method::POST;
        *request.uri_mut() = endpoint;
        *request.headers_mut() = headers;
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        let agent = HeaderValue::from_static(concat!("squire/", env!("CARGO_PKG_VERSION")));
        request.headers_mut().insert(USER_AGENT, agent);
        Ok(Self { connections, request, timeout, resource })
    }

    /// As whose what is sent goes out.
    pub(super) fn resource(&self) -> &[(String, String)] {
        &self.resource
    }

    /// Sends once; returns what the collector says of what it took, empty if nobody can read that.
    pub(super) async fn send(&self, body: Bytes) -> Result<Bytes, Unsent> {
        let request = self.request.clone().map(|()| Full::new(body));
        let exchange = async {
            let answer = self.connections.request(request, self.timeout).await;
            let answer = answer.map_err(|error| Unsent::Unreached { why: error.words(Keys::Collector) })?;
            if !answer.status().is_success() {
                return Err(Unsent::Refused { status: answer.status() });
            }
            let answer = Limited::new(answer.into_body(), ANSWER).collect().await;
            Ok(answer.map(Collected::to_bytes).unwrap_or_default())
        };
        timeout(self.timeout, exchange).await.unwrap_or(Err(Unsent::Late { after: self.timeout }))
    }
}

/// Why what was sent was not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unsent {
    #[error("the collector cannot be reached: {why}")]
    Unreached { why: String },
    #[error("the collector did not answer within {after:?}")]
    Late { after: Duration },
    #[error("the collector answered {status}")]
    Refused { status: StatusCode },
    #[error("the collector rejected {count} {what}")]
    Rejected { count: u64, what: &'static str },
}

impl Unsent {
    /// Whether another try may help, as the specification has it.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Unreached { .. } | Self::Late { .. } => true,
            Self::Refused { status } => matches!(status.as_u16(), 429 | 502..=504),
            Self::Rejected { .. } => false,
        }
    }
}
