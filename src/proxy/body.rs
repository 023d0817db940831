//! Bodies, both ways: what is short is read whole, and what is longer goes on as it comes.
//!
//! *Invariant:* nothing is held beyond [`LONGEST_REQUEST`] of a request, and [`READ_WHOLE`] of an answer.

use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http_body_util::{BodyExt, Limited};
use hyper::body::{Body as HttpBody, Bytes, Frame, Incoming, SizeHint};
use tokio::time::timeout;

use super::answer::Body;

/// The longest body of a request: it is read before anything is asked, so that a client that sends slowly holds no connection to the server.
pub(super) const LONGEST_REQUEST: usize = 1 << 20;

/// A request's body is there within this time, or will not come.
const REQUEST_WITHIN: Duration = Duration::from_secs(10);

/// An answer that is no longer than this is read whole: it may be leased, be for others too, or be kept.
pub(super) const READ_WHOLE: usize = 256 << 10;

/// The longest answer that is passed on.
const LONGEST_ANSWER: usize = 256 << 20;

/// A server that sends nothing of an answer for this long is given up.
const STALLS: Duration = Duration::from_secs(30);

/// Why a request's body is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missing {
    /// It is longer than it may be.
    TooLong,
    /// The client did not send it in time, or went away.
    TooLate,
}

/// The whole body of a request.
pub(super) async fn of_request(body: Incoming) -> Result<Vec<u8>, Missing> {
    let announced = body.size_hint().lower();
    if announced > LONGEST_REQUEST as u64 {
        return Err(Missing::TooLong);
    }
    let mut body = Limited::new(body, LONGEST_REQUEST);
    let read = async {
        let mut whole = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| {
                if error.is::<http_body_util::LengthLimitError>() {
                    Missing::TooLong
                } else {
                    Missing::TooLate
                }
            })?;
            whole.extend_from_slice(frame.data_ref().map_or(&[], |data| data));
        }
        Ok(whole)
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

/// Reads an answer that may be short; `None` if the server broke it off.
pub(super) async fn of_answer(mut body: Incoming) -> Option<Read> {
    let mut whole = Vec::new();
    if body.size_hint().lower() > READ_WHOLE as u64 {
        return Some(Read::Long(rest(Bytes::new(), body)));
    }
    loop {
        let Some(frame) = timeout(STALLS, body.frame()).await.ok()? else { return Some(Read::Whole(whole)) };
        let Ok(data) = frame.ok()?.into_data() else { continue };
        whole.extend_from_slice(&data);
        if whole.len() > READ_WHOLE {
            return Some(Read::Long(rest(Bytes::from(whole), body)));
        }
    }
}

/// An answer that is not looked at.
pub(super) fn rest(beginning: Bytes, body: Incoming) -> Body {
    Body::new(Rest {
        beginning: Some(beginning).filter(|bytes| !bytes.is_empty()),
        rest: Limited::new(body, LONGEST_ANSWER),
    })
}

struct Rest {
    beginning: Option<Bytes>,
    rest: Limited<Incoming>,
}

impl HttpBody for Rest {
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match self.beginning.take() {
            Some(beginning) => Poll::Ready(Some(Ok(Frame::data(beginning)))),
            None => Pin::new(&mut self.rest).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.beginning.is_none() && self.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        // An answer of a known length goes on as one.
        let begun = self.beginning.as_ref().map_or(0, |beginning| beginning.len() as u64);
        self.rest
            .size_hint()
            .exact()
            .map_or_else(SizeHint::default, |rest| SizeHint::with_exact(begun + rest))
    }
}
