//! What happens, as it happens, for whoever follows: server-sent events.
//!
//! A follower who does not read loses events, and is told how many. Nobody waits for it.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::body::{Body, Bytes, Frame};
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, broadcast};

use crate::fact::Told;
use crate::names::{Generation, SecretName, SourceName, Trace};
use crate::plain::plain_json;
use crate::status::Moment;

/// So many events are kept for a follower who reads slowly.
const KEPT: usize = 256;

/// One event, as JSON in a line.
#[derive(Clone, Debug, Serialize)]
struct Event {
    at: Moment,
    what: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<SourceName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<SecretName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    generation: Option<Generation>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace: Option<Trace>,
}

/// Where facts become events.
#[derive(Clone, Debug)]
pub struct Feed(broadcast::Sender<Bytes>);

impl Default for Feed {
    fn default() -> Self {
        Self(broadcast::Sender::new(KEPT))
    }
}

impl Feed {
    /// Passes a fact on. While nobody follows, that costs nothing.
    pub fn tell(&self, told: &Told) {
        if self.0.receiver_count() == 0 {
            return;
        }
        let (source, secret) = told.fact.subject();
        let event = Event {
            at: Moment::new(told.at),
            what: told.fact.word(),
            source: source.cloned(),
            secret: secret.cloned(),
            generation: told.fact.generation(),
            trace: told.fact.trace().cloned(),
        };
        if let Ok(text) = serde_json::to_string(&event) {
            // The last follower may have gone just now.
            drop(self.0.send(Bytes::from(format!("event: {}\ndata: {}\n\n", event.what, plain_json(&text)))));
        }
    }

    pub(super) fn follow(&self) -> broadcast::Receiver<Bytes> {
        self.0.subscribe()
    }
}

/// What came, and where more will come from.
type Received = (Option<Bytes>, broadcast::Receiver<Bytes>);

/// A body without end.
pub(super) struct Stream {
    next: Pin<Box<dyn Future<Output = Received> + Send>>,
    _place: OwnedSemaphorePermit,
}

impl Stream {
    pub(super) fn new(receiver: broadcast::Receiver<Bytes>, place: OwnedSemaphorePermit) -> Self {
        // Something at once, so that the follower knows that it follows.
        let hello = std::future::ready((Some(Bytes::from_static(b": following\n\n")), receiver));
        Self { next: Box::pin(hello), _place: place }
    }
}

async fn next(mut receiver: broadcast::Receiver<Bytes>) -> Received {
    let bytes = match receiver.recv().await {
        Ok(bytes) => Some(bytes),
        Err(broadcast::error::RecvError::Lagged(missed)) => {
            Some(Bytes::from(format!("event: missed\ndata: {{\"missed\":{missed}}}\n\n")))
        }
        Err(broadcast::error::RecvError::Closed) => None,
    };
    (bytes, receiver)
}

impl Body for Stream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let (bytes, receiver) = std::task::ready!(self.next.as_mut().poll(context));
        self.next = Box::pin(next(receiver));
        Poll::Ready(bytes.map(|bytes| Ok(Frame::data(bytes))))
    }
}
