//! Bodies, both ways: what is short is read whole, and what is longer goes on as it comes.
//!
//! A request that is read whole can be sent again: with the next token, to the next server, by another client's connection. It also takes
//! no connection to the server while its client sends slowly. A longer one is sent once, as it comes.
//!
//! *Invariant:* nothing is held beyond [`READ_WHOLE`] of a request, and of an answer. Trailers end here.

use std::error::Error;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body as HttpBody, Bytes, Frame, Incoming, SizeHint};
use tokio::time::timeout;

use super::answer::Body;
use super::places::Place;
use crate::source::http::Upload;

/// A body that is no longer than this is read whole. An answer may then be leased, be for others too, or be kept.
pub(super) const READ_WHOLE: usize = 256 << 10;

/// The longest body of a request: as long as a server takes, if nothing else is said there.
const LONGEST_REQUEST: usize = 32 << 20;

/// A request's body, or the part of a long one that is read first, is there within this time, or will not come.
const REQUEST_WITHIN: Duration = Duration::from_secs(10);

/// The longest answer that is passed on.
const LONGEST_ANSWER: usize = 256 << 20;

/// A short answer, or the beginning of a long one, is there within this time, or the server is given up.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// Why a request's body is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missing {
    /// It is longer than it may be.
    TooLong,
    /// The client did not send it in time, or went away.
    TooLate,
}

/// The body of a request.
pub(super) enum Sent {
    /// All of it.
    Whole(Vec<u8>),
    /// It is long, and comes.
    Long(Coming),
}

/// A body that comes while it is sent on.
pub(super) struct Coming {
    pub(super) upload: Upload,
    missing: Arc<OnceLock<Missing>>,
}

impl Coming {
    fn new(beginning: Vec<u8>, body: Incoming) -> Self {
        let missing = Arc::default();
        let rest = Rest::new(beginning.into(), body, LONGEST_REQUEST, Arc::clone(&missing));
        Self { upload: Upload::new(rest), missing }
    }

    /// Why it did not come, if it did not.
    pub(super) fn missing(&self) -> Option<Missing> {
        self.missing.get().copied()
    }
}

/// The body of a request, as far as it has to be read.
pub(super) async fn of_request(mut body: Incoming) -> Result<Sent, Missing> {
    let announced = body.size_hint().lower();
    if announced > LONGEST_REQUEST as u64 {
        return Err(Missing::TooLong);
    }
    if announced > READ_WHOLE as u64 {
        return Ok(Sent::Long(Coming::new(Vec::new(), body)));
    }
    let read = async {
        let mut whole = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| Missing::TooLate)?;
            whole.extend_from_slice(frame.data_ref().map_or(&[], |data| data));
            if whole.len() > READ_WHOLE {
                return Ok(Sent::Long(Coming::new(whole, body)));
            }
        }
        Ok(Sent::Whole(whole))
    };
    timeout(REQUEST_WITHIN, read).await.unwrap_or(Err(Missing::TooLate))
}

/// An answer, as far as it was read.
pub(super) enum Read {
    /// All of it.
    Whole(Vec<u8>),
    /// It is long: the beginning, and then the rest as it comes.
    Long(Body),
}

/// Reads an answer that may be short; `None` if the server broke it off, or sends it too slowly.
pub(super) async fn of_answer(mut body: Incoming) -> Option<Read> {
    if body.size_hint().lower() > READ_WHOLE as u64 {
        return Some(Read::Long(rest(Bytes::new(), body)));
    }
    let read = async {
        let mut whole = Vec::new();
        while let Some(frame) = body.frame().await {
            whole.extend_from_slice(frame.ok()?.data_ref().map_or(&[], |data| data));
            if whole.len() > READ_WHOLE {
                return Some(Read::Long(rest(Bytes::from(whole), body)));
            }
        }
        Some(Read::Whole(whole))
    };
    timeout(ANSWER_WITHIN, read).await.ok()?
}

/// An answer that is not looked at.
pub(super) fn rest(beginning: Bytes, body: Incoming) -> Body {
    Body::new(Rest::new(beginning, body, LONGEST_ANSWER, Arc::default()))
}

struct Rest {
    beginning: Option<Bytes>,
    body: Limited<Incoming>,
    /// Why it broke off.
    missing: Arc<OnceLock<Missing>>,
}

impl Rest {
    fn new(beginning: Bytes, body: Incoming, longest: usize, missing: Arc<OnceLock<Missing>>) -> Self {
        let body = Limited::new(body, longest.saturating_sub(beginning.len()));
        Self { beginning: Some(beginning).filter(|bytes| !bytes.is_empty()), body, missing }
    }
}

impl HttpBody for Rest {
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if let Some(beginning) = self.beginning.take() {
            return Poll::Ready(Some(Ok(Frame::data(beginning))));
        }
        let polled = Pin::new(&mut self.body).poll_frame(context);
        match &polled {
            Poll::Ready(Some(Ok(frame))) if frame.is_trailers() => return Poll::Ready(None),
            Poll::Ready(Some(Err(error))) => {
                let is_long = error.is::<LengthLimitError>();
                self.missing.get_or_init(|| if is_long { Missing::TooLong } else { Missing::TooLate });
            }
            Poll::Ready(Some(Ok(_)) | None) | Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.beginning.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        // A body of a known length goes on as one.
        let begun = self.beginning.as_ref().map_or(0, |beginning| beginning.len() as u64);
        self.body
            .size_hint()
            .exact()
            .map_or_else(SizeHint::default, |rest| SizeHint::with_exact(begun + rest))
    }
}

/// An answer whose request has its place until the client took it.
pub(super) fn until_sent(body: Body, place: Place) -> Body {
    Body::new(UntilSent { body, _place: place })
}

struct UntilSent {
    body: Body,
    _place: Place,
}

impl HttpBody for UntilSent {
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
