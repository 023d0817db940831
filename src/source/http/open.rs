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
use super::{Address, Answer, Http, Longest, Request, hidden};
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

impl Http {
    /// Asks the addresses in turn until one of them begins to answer.
    ///
    /// # Errors
    /// As [`Http::send`]. How long the body takes is for its reader to bound.
    pub(crate) async fn open(&self, request: &Request) -> Result<Opened, Fault> {
        let mut faults = Vec::new();
        for place in self.turns() {
            match self.open_at(place, request).await {
                Ok((place, opened)) => {
                    self.answering.store(place, Ordering::Relaxed);
                    return Ok(opened);
                }
                Err(failure) => {
                    let go_on = failure.allows_next(request.repeat);
                    faults.push(failure.fault);
                    if !go_on {
                        break;
                    }
                }
            }
        }
        Err(together(faults))
    }

    async fn open_at(&self, place: usize, request: &Request) -> Result<(usize, Opened), Failure> {
        let Some(Address { origin, base }) = self.addresses.get(place) else {
            return Err(Failure::unsent("no address".to_owned()));
        };
        let path = format!("{base}{}", request.path);
        let opened = self.opened(origin, &path, request).await?;
        let Opened::Whole(answer) = &opened else { return Ok((place, opened)) };
        if !answer.status.is_redirection() {
            return Ok((place, opened));
        }
        let (target, path) = self.target(origin, answer)?;
        let place = self.addresses.iter().position(|known| known.origin == target).unwrap_or(place);
        match self.opened(&target, &path, request).await? {
            Opened::Whole(answer) if answer.status.is_redirection() => {
                Err(Failure::unsent(format!("{target}: was redirected to, and redirects again")))
            }
            opened @ (Opened::Whole(_) | Opened::Head(_)) => Ok((place, opened)),
        }
    }

    /// The answer of one server; read where its status alone does not tell whether it is the server's last word.
    async fn opened(&self, origin: &Origin, path: &str, request: &Request) -> Result<Opened, Failure> {
        let exchange = async {
            let response = self.begun(origin, path, request).await?;
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
