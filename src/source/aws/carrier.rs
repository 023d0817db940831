//! Carries the SDK's requests: over the same connections, with the same TLS and the same bounds, as those to other servers.
//!
//! *Invariant:* no answer is longer than [`Longest`] allows: not of Secrets Manager or STS, nor of the service that gives credentials to a
//! machine or container.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use http_body_util::{BodyExt as _, Full, Limited};

use super::account::CONNECT_WITHIN;
use crate::size;
use crate::source::http::{Connections, Keys, causes};

/// Twenty secrets of 64 KiB, the most that AWS has in one answer, with room for how JSON writes them.
const USUAL: usize = 4 << 20;

/// The longest body of an answer, in bytes. It grows with the largest secret that is wanted.
#[derive(Clone, Debug)]
pub(super) struct Longest(Arc<AtomicUsize>);

impl Default for Longest {
    fn default() -> Self {
        Self(Arc::new(AtomicUsize::new(USUAL)))
    }
}

impl Longest {
    /// A secret may have this size, and JSON may write it in twice as many bytes.
    pub(super) fn allow(&self, size: usize) {
        self.0.fetch_max(size.saturating_mul(2), Ordering::Relaxed);
    }

    fn bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// Who carries for one source.
#[derive(Clone, Debug)]
pub(super) struct Carrier {
    pub(super) connections: Arc<Connections>,
    pub(super) longest: Longest,
}

impl HttpClient for Carrier {
    fn http_connector(&self, settings: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(Line {
            connections: Arc::clone(&self.connections),
            longest: self.longest.clone(),
            connect_within: settings.connect_timeout().unwrap_or(CONNECT_WITHIN),
            answer_within: settings.read_timeout(),
        })
    }
}

/// The same for who may wait so long: the service of a machine answers at once or is not there.
#[derive(Clone, Debug)]
struct Line {
    connections: Arc<Connections>,
    longest: Longest,
    connect_within: Duration,
    /// Where it is less than the time for the whole request, which the SDK keeps itself.
    answer_within: Option<Duration>,
}

impl HttpConnector for Line {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let line = self.clone();
        HttpConnectorFuture::new(async move {
            match line.answer_within {
                None => line.carry(request).await,
                Some(within) => match tokio::time::timeout(within, line.carry(request)).await {
                    Ok(outcome) => outcome,
                    Err(elapsed) => Err(ConnectorError::timeout(elapsed.into())),
                },
            }
        })
    }
}

impl Line {
    async fn carry(&self, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
        let request = request.try_into_http1x().map_err(|error| ConnectorError::user(error.into()))?;
        let (head, body) = request.into_parts();
        let body = body.collect().await.map_err(ConnectorError::user)?.to_bytes();
        let host = head.uri.authority().map(ToString::to_string).unwrap_or_default();
        let request = hyper::Request::from_parts(head, Full::new(body));
        let response =
            self.connections.request(request, self.connect_within).await.map_err(|unanswered| {
                let why = format!("{host}: {}", unanswered.words(Keys::Aws));
                let error = ConnectorError::io(why.into());
                if unanswered.is_unsent() { error.never_connected() } else { error }
            })?;
        let (head, body) = response.into_parts();
        let longest = self.longest.bytes();
        let body = Limited::new(body, longest).collect().await;
        let body = body.map_err(|error| cut(&host, &*error, longest))?;
        // The SDK logs what it knows of a body, and of this kind it knows nothing.
        let body = SdkBody::from_body_1_x(Full::new(body.to_bytes()));
        let response = hyper::Response::from_parts(head, body);
        HttpResponse::try_from(response).map_err(|error| ConnectorError::other(error.into(), None))
    }
}

/// A body that did not come whole.
fn cut(host: &str, error: &(dyn Error + 'static), longest: usize) -> ConnectorError {
    if error.is::<http_body_util::LengthLimitError>() {
        let why = format!("{host}: the answer is longer than {}", size::words(longest));
        // The kind that the SDK does not ask for again.
        return ConnectorError::user(why.into());
    }
    ConnectorError::io(format!("{host}: the answer was cut off: {}", causes(Some(error), Keys::Aws)).into())
}
