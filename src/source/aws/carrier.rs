//! Carries the SDK's requests: over the same connections, with the same TLS and the same bounds, as those to other servers.
//!
//! *Invariant:* no answer is longer than [`LONGEST`].

use std::error::Error;
use std::sync::Arc;
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
use crate::source::http::{Connections, Keys, causes};

/// The longest body of an answer, in bytes; as with the other servers.
const LONGEST: usize = 16 << 20;

/// Who carries for one source.
#[derive(Clone, Debug)]
pub(super) struct Carrier(pub(super) Arc<Connections>);

impl HttpClient for Carrier {
    fn http_connector(&self, settings: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(Line {
            connections: Arc::clone(&self.0),
            connect_within: settings.connect_timeout().unwrap_or(CONNECT_WITHIN),
            answer_within: settings.read_timeout(),
        })
    }
}

/// The same for who may wait so long: the service of a machine answers at once or is not there.
#[derive(Clone, Debug)]
struct Line {
    connections: Arc<Connections>,
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
        let body = Limited::new(body, LONGEST).collect().await.map_err(|error| cut(&host, &*error))?;
        // The SDK logs what it knows of a body, and of this kind it knows nothing.
        let body = SdkBody::from_body_1_x(Full::new(body.to_bytes()));
        let response = hyper::Response::from_parts(head, body);
        HttpResponse::try_from(response).map_err(|error| ConnectorError::other(error.into(), None))
    }
}

/// A body that did not come whole.
fn cut(host: &str, error: &(dyn Error + 'static)) -> ConnectorError {
    if error.is::<http_body_util::LengthLimitError>() {
        let why = format!("{host}: the answer is longer than {LONGEST} bytes");
        // The kind that the SDK does not ask for again.
        return ConnectorError::user(why.into());
    }
    ConnectorError::io(format!("{host}: the answer was cut off: {}", causes(Some(error), Keys::Aws)).into())
}
