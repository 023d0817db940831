//! What is sent with a request: bytes that are there, or a stream that can be sent once.
//!
//! *Invariant:* a stream that one attempt has begun to send is not sent by another one.

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body, Bytes, Frame, SizeHint};

type BoxError = Box<dyn Error + Send + Sync>;

/// A body that is passed on as it comes.
#[derive(Clone)]
pub(crate) struct Upload(Arc<Mutex<Stream>>);

struct Stream {
    body: UnsyncBoxBody<Bytes, BoxError>,
    is_begun: bool,
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Upload(…)")
    }
}

impl Upload {
    /// Sends this.
    pub(crate) fn new(body: impl Body<Data = Bytes, Error = BoxError> + Send + 'static) -> Self {
        Self(Arc::new(Mutex::new(Stream { body: body.boxed_unsync(), is_begun: false })))
    }

    /// Whether some of it may have been sent.
    pub(crate) fn is_begun(&self) -> bool {
        self.stream().is_begun
    }

    fn stream(&self) -> MutexGuard<'_, Stream> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The body of one attempt.
#[derive(Clone, Debug)]
pub(crate) enum Outgoing {
    /// It is there.
    Whole(Full<Bytes>),
    /// It comes.
    Streamed {
        /// From there.
        upload: Upload,
        /// This attempt has begun it.
        is_mine: bool,
    },
}

impl From<Full<Bytes>> for Outgoing {
    fn from(body: Full<Bytes>) -> Self {
        Self::Whole(body)
    }
}

impl From<Upload> for Outgoing {
    fn from(upload: Upload) -> Self {
        Self::Streamed { upload, is_mine: false }
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.get_mut() {
            Self::Whole(body) => Pin::new(body).poll_frame(context).map_err(|never| match never {}),
            Self::Streamed { upload, is_mine } => {
                let mut stream = upload.stream();
                if stream.is_begun && !*is_mine {
                    return Poll::Ready(Some(Err("the body was sent already".into())));
                }
                (*is_mine, stream.is_begun) = (true, true);
                Pin::new(&mut stream.body).poll_frame(context)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(body) => body.is_end_stream(),
            Self::Streamed { upload, .. } => upload.stream().body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(body) => body.size_hint(),
            Self::Streamed { upload, .. } => upload.stream().body.size_hint(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stream_is_sent_by_the_first_attempt_that_begins_it() {
        let upload = Upload::new(Full::new(Bytes::from("once")).map_err(|never| match never {}));
        let (mut first, mut second) = (Outgoing::from(upload.clone()), Outgoing::from(upload.clone()));
        assert!(!upload.is_begun() && first.size_hint().exact() == Some(4));
        let sent = first.frame().await.unwrap().unwrap().into_data().unwrap();
        assert!(sent == "once" && upload.is_begun());
        assert!(second.frame().await.unwrap().is_err());
        assert!(first.frame().await.is_none());
    }
}
