//! The same exchange for whoever passes the answer on: its body is left where it is.
//!
//! *Invariant:* the addresses, the redirects and what they mean are those of [`Http::send`]. Only an answer that may mean "not this
//! server, not now" is read here.

use std::sync::atomic::Ordering;
use std::time::SystemTime;

use hyper::body::Incoming;
use hyper::{Response, StatusCode};

use super::failure::{Failure, together, usable};
use super::origin::Origin;
use super::{Address, Answer, Http, Line, Longest, Request, Upload, hidden, message};
use crate::secret::Secret;
use crate::source::Fault;

/// An answer, with its body or before it.
#[derive(Debug)]
pub(crate) enum Opened {
    /// It was short, and had to be read to know what it means.
    Whole(Answer),
    /// Nothing of its body was read.
    Head(Response<Incoming>),
}

/// No answer.
#[derive(Debug)]
pub(crate) struct Unopened {
    /// Why.
    pub(crate) fault: Fault,
    /// No connection to any address was made.
    pub(crate) is_unsent: bool,
}

impl Http {
    /// Asks the addresses in turn until one of them begins to answer. With an upload, that is the body, and nothing else may be.
    ///
    /// # Errors
    /// As [`Http::send`]. How long the body takes is for its reader to bound.
    pub(crate) async fn open(&self, request: &Request, upload: Option<&Upload>) -> Result<Opened, Unopened> {
        let (mut faults, mut is_unsent) = (Vec::new(), true);
        for place in self.turns() {
            match self.open_at(place, request, upload).await {
                Ok((place, opened)) => {
                    self.answering.store(place, Ordering::Relaxed);
                    return Ok(opened);
                }
                Err(failure) => {
                    is_unsent &= failure.is_unsent();
                    let goes_on = self.goes_on(place, request.repeat, &failure);
                    faults.push(failure.fault);
                    if !goes_on {
                        break;
                    }
                }
            }
        }
        Err(Unopened { fault: together(faults), is_unsent })
    }

    async fn open_at(
        &self,
        place: usize,
        request: &Request,
        upload: Option<&Upload>,
    ) -> Result<(usize, Opened), Failure> {
        let Some(Address { origin, base }) = self.addresses.get(place) else {
            return Err(Failure::unsent("no address".to_owned()));
        };
        let path = format!("{base}{}", request.path);
        let opened = self.opened(origin, &path, request, upload).await?;
        let Opened::Whole(answer) = &opened else { return Ok((place, opened)) };
        if !answer.status.is_redirection() {
            return Ok((place, opened));
        }
        let (target, path) = self.target(origin, answer)?;
        let place = self.addresses.iter().position(|known| known.origin == target).unwrap_or(place);
        if upload.is_some_and(Upload::is_begun) {
            // Where it belongs is known now, so the next request goes there.
            self.answering.store(place, Ordering::Relaxed);
            let why = format!("{origin}: redirects to {target}, and a long body is sent once: send it again");
            return Err(Failure::last(Fault::Failing { why }));
        }
        match self.opened(&target, &path, request, upload).await? {
            Opened::Whole(answer) if answer.status.is_redirection() => {
                Err(Failure::unsent(format!("{target}: was redirected to, and redirects again")))
            }
            opened @ (Opened::Whole(_) | Opened::Head(_)) => Ok((place, opened)),
        }
    }

    /// The answer of one server; read where its status alone does not tell whether it is the server's last word.
    async fn opened(
        &self,
        origin: &Origin,
        path: &str,
        request: &Request,
        upload: Option<&Upload>,
    ) -> Result<Opened, Failure> {
        let exchange = async {
            let message = message(origin, path, request, upload)?;
            let response = self.begun(origin, message, Line::Others).await?;
            if response.status().is_informational() {
                let why = format!("{origin}: answered {}, which no secret server does", response.status());
                return Err(Failure::last(Fault::Malformed { why }));
            }
            if !is_doubtful(response.status()) {
                return Ok(Opened::Head(response));
            }
            let (head, body) = response.into_parts();
            let body = hidden::without(self.whole(origin, body, Longest::Usual).await?, &request.hidden);
            let body = Secret::new(body);
            let answer = Answer { status: head.status, headers: head.headers, body };
            if answer.status.is_redirection() {
                return Ok(Opened::Whole(answer));
            }
            usable(origin, answer, SystemTime::now()).map(Opened::Whole)
        };
        match tokio::time::timeout(self.limits.request, exchange).await {
            Ok(outcome) => outcome,
            Err(_elapsed) => Err(self.too_late(origin, request.repeat)),
        }
    }
}

/// Whether an answer with this status has to be read before anybody can say what it means.
fn is_doubtful(status: StatusCode) -> bool {
    status.is_redirection()
        || status.is_server_error()
        || matches!(status.as_u16(), 407 | 412 | 429 | 472 | 473)
}
