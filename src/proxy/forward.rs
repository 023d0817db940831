//! One request on its way: by whose token, to which server, how often, and what becomes of the answer.
//!
//! *Invariant:* a request that makes something is sent once, but if it surely reached no server or its token was refused. A client's own
//! token is never looked up, and what it gets is neither kept nor given to others.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::body::Bytes;
use hyper::header::{AGE, CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, WARNING};
use hyper::{Response, StatusCode};

use super::answer::{Body, STALE, error, full, later};
use super::body::{Read, of_answer, rest};
use super::client::Visitor;
use super::leases::{Envelope, Held};
use super::serve::{Proxy, locked};
use super::shared::{Leader, Outcome as SharedOutcome, Way, Whole};
use super::{Admitted, Verb};
use crate::audit;
use crate::fact::{Fact, Outcome, QuestionFact, QuestionKind, Subject};
use crate::secret::Secret;
use crate::session::Serial;
use crate::source::http::{Opened, Repeat};
use crate::source::vault::{Passed, Vault, request_id};
use crate::source::{Fault, Grant, Source as _};

/// A client waits this long for a token that is on its way.
const TOKEN_WITHIN: Duration = Duration::from_secs(3);

/// A read that reached no server is tried once more after this time: an active node may be changing.
const AGAIN_AFTER: Duration = Duration::from_millis(100);

/// A client whose request could not be served may ask again after this time.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// A server that could not be reached is not asked again for so long: its clients need not wait for it one by one.
const REST: Duration = Duration::from_secs(1);

/// What goes back of an answer's headers.
const RETURNED: [HeaderName; 4] = [
    CONTENT_TYPE,
    CACHE_CONTROL,
    HeaderName::from_static("x-vault-index"),
    HeaderName::from_static("deprecation"),
];

/// Why there is no answer of the server.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum Trouble {
    #[error("the secret server {0}")]
    Unreachable(String, Option<Duration>),
    #[error("squire has no token yet")]
    NoToken,
    #[error(
        "squire's token allows a counted number of requests, so it is not for others: log in with one that is not counted"
    )]
    Counted,
    #[error("{}", audit::CLOSED)]
    AuditClosed,
    #[error("the secret server: {0}")]
    Odd(String),
}

impl Trouble {
    fn of(fault: &Fault) -> Self {
        match fault {
            Fault::Unreachable { retry_after, .. } => Self::Unreachable(fault.to_string(), *retry_after),
            Fault::Failing { .. }
            | Fault::Awaiting { .. }
            | Fault::Refused { .. }
            | Fault::Denied { .. }
            | Fault::Dead
            | Fault::Gone { .. }
            | Fault::Malformed { .. } => Self::Odd(fault.to_string()),
        }
    }

    fn is_outage(&self) -> bool {
        matches!(self, Self::Unreachable(..))
    }

    fn response(&self) -> Response<Body> {
        let why = format!("squire: {self}");
        match self {
            Self::Odd(_) => error(StatusCode::BAD_GATEWAY, &why),
            Self::Unreachable(_, asked) => {
                later(StatusCode::SERVICE_UNAVAILABLE, &why, asked.unwrap_or(RETRY_AFTER))
            }
            Self::NoToken | Self::Counted | Self::AuditClosed => {
                later(StatusCode::SERVICE_UNAVAILABLE, &why, RETRY_AFTER)
            }
        }
    }
}

/// An answer of the server.
enum Reply {
    Whole(Whole),
    Long(StatusCode, HeaderMap, Body),
}

/// By which token an answer came, and when its question was sent.
struct By {
    vault: Arc<Vault>,
    grant: Option<(Serial, Grant)>,
    sent: Instant,
}

impl Proxy {
    /// Answers a request that may go on.
    pub(super) async fn forward(
        &self,
        visitor: &Visitor,
        admitted: Admitted,
        body: Vec<u8>,
    ) -> Response<Body> {
        let is_read = matches!(admitted.verb, Verb::Read | Verb::List);
        if !is_read {
            self.shared.forget();
        }
        // A header of its own makes a read differ from others.
        let is_plain = admitted.headers.keys().all(|name| matches!(name.as_str(), "accept" | "content-type"));
        if is_read && is_plain && admitted.token.is_none() && body.is_empty() {
            return self.read(visitor, admitted).await;
        }
        let result = self.ask(&admitted, &body).await;
        if !is_read {
            // Somebody may have read the former value meanwhile.
            self.shared.forget();
        }
        match result {
            Ok((by, reply)) => self.hand_over(visitor, by, reply, None),
            Err(trouble) => trouble.response(),
        }
    }

    /// A read that others may want too.
    async fn read(&self, visitor: &Visitor, admitted: Admitted) -> Response<Body> {
        let key = key(&admitted);
        let serial = self.line.now().and_then(|upstream| upstream.view.grant).map(|(serial, _)| serial);
        let leader = match self.shared.way(&key, serial, Instant::now()) {
            Way::Kept(whole, age) => return aged(&whole, age, false),
            Way::Ask(leader) => Some(leader),
            Way::Alone => None,
            Way::Wait(mut told) => {
                let outcome = told.wait_for(Option::is_some).await.ok().and_then(|told| told.clone());
                match outcome {
                    Some(SharedOutcome::Whole(whole)) => return response(&whole),
                    Some(SharedOutcome::Failed(trouble)) => return self.failed(&key, &trouble),
                    Some(SharedOutcome::Alone) | None => None,
                }
            }
        };
        match self.ask(&admitted, &[]).await {
            Ok((by, reply)) => self.hand_over(visitor, by, reply, leader),
            Err(trouble) => {
                if let Some(leader) = leader {
                    leader.failed(&trouble);
                }
                self.failed(&key, &trouble)
            }
        }
    }

    /// In an outage an older value is better than none, where the configuration says so.
    fn failed(&self, key: &super::shared::Key, trouble: &Trouble) -> Response<Body> {
        let stale = Some(()).filter(|()| trouble.is_outage());
        match stale.and_then(|()| self.shared.stale(key, Instant::now())) {
            Some((whole, age)) => aged(&whole, age, true),
            None => trouble.response(),
        }
    }

    /// The answer for the client. What is leased is kept for it; what is static may be others' too.
    fn hand_over(
        &self,
        visitor: &Visitor,
        by: By,
        reply: Reply,
        leader: Option<Leader<'_>>,
    ) -> Response<Body> {
        let whole = match reply {
            Reply::Whole(whole) => whole,
            Reply::Long(status, headers, body) => {
                let mut response = Response::new(body);
                *response.status_mut() = status;
                *response.headers_mut() = headers;
                return response;
            }
        };
        let envelope = Envelope::read(whole.body.expose());
        let Some((serial, grant)) = by.grant else { return response(&whole) };
        if envelope.is_for_all() {
            if let Some(leader) = leader {
                leader.found(&whole, serial, Instant::now());
            }
            return response(&whole);
        }
        if let Some(leader) = leader {
            leader.leased();
        }
        let Some(id) = envelope.lease().filter(|_| whole.status.is_success()) else {
            return response(&whole);
        };
        let client = visitor.process.clone();
        let held = Held { id, vault: by.vault, grant, source: self.source.clone(), sent: by.sent, client };
        if self.leases.hold(held, &envelope) {
            response(&whole)
        } else {
            later(
                StatusCode::SERVICE_UNAVAILABLE,
                "squire: clients of the proxy hold too many leases",
                RETRY_AFTER,
            )
        }
    }

    /// Asks the server, with a token that it takes.
    async fn ask(&self, admitted: &Admitted, body: &[u8]) -> Result<(By, Reply), Trouble> {
        if self.gate.is_closed() {
            return Err(Trouble::AuditClosed);
        }
        let mut upstream = self.line.now();
        let is_waited_for = |upstream: &super::line::Upstream| {
            upstream.view.grant.is_none() && upstream.view.is_reachable && admitted.token.is_none()
        };
        if upstream.as_ref().is_none_or(is_waited_for) {
            upstream = self.line.with_token(TOKEN_WITHIN).await.or_else(|| self.line.now());
        }
        let upstream = upstream.ok_or(Trouble::NoToken)?;
        if !upstream.view.is_reachable {
            return Err(Trouble::Unreachable("cannot be reached".to_owned(), None));
        }
        if let Some((_, trouble)) = locked(&self.down).clone().filter(|(until, _)| *until > Instant::now()) {
            return Err(trouble);
        }
        let vault = Arc::clone(&upstream.vault);
        if let Some(token) = &admitted.token {
            let sent = Instant::now();
            let reply = self.exchange(&vault, token, admitted, body).await?;
            return Ok((By { vault, grant: None, sent }, reply));
        }
        let (serial, grant) = upstream.view.grant.ok_or(Trouble::NoToken)?;
        if grant.uses.is_some() {
            return Err(Trouble::Counted);
        }
        let sent = Instant::now();
        let reply = self.exchange(&vault, &grant.token, admitted, body).await?;
        if reply.status() != StatusCode::FORBIDDEN {
            return Ok((By { vault, grant: Some((serial, grant)), sent }, reply));
        }
        // What was refused was not done, so it may be sent again, whatever it is.
        let Some((serial, grant)) = self.line.after(serial).await else {
            return Ok((By { vault, grant: Some((serial, grant)), sent }, reply));
        };
        let sent = Instant::now();
        let reply = self.exchange(&vault, &grant.token, admitted, body).await?;
        Ok((By { vault, grant: Some((serial, grant)), sent }, reply))
    }

    /// One question to the server; a read that reached none is put once more.
    async fn exchange(
        &self,
        vault: &Vault,
        token: &Secret<str>,
        admitted: &Admitted,
        body: &[u8],
    ) -> Result<Reply, Trouble> {
        let begun = Instant::now();
        let mut result = self.exchange_once(vault, token, admitted, body).await;
        let may_repeat = self.may_repeat(admitted);
        if may_repeat && matches!(&result, Err(Fault::Unreachable { retry_after: None, .. })) {
            tokio::time::sleep(AGAIN_AFTER).await;
            result = self.exchange_once(vault, token, admitted, body).await;
        }
        let request = match &result {
            Ok(Reply::Whole(whole)) => request_id(whole.body.expose()),
            Ok(Reply::Long(..)) | Err(_) => None,
        };
        let fact = QuestionFact {
            kind: QuestionKind::Forward,
            about: Subject::Path(admitted.path.clone()),
            outcome: result.as_ref().map_or_else(Fault::outcome, |reply| outcome(reply.status())),
            took: begun.elapsed(),
            login: vault.identity().words().into(),
            accessor: None,
            request,
        };
        Fact::Question(self.source.clone(), fact).tell();
        let result = result.map_err(|fault| Trouble::of(&fault));
        let outage = result.as_ref().err().filter(|trouble| trouble.is_outage());
        *locked(&self.down) = outage.map(|trouble| (Instant::now() + REST, trouble.clone()));
        result
    }

    /// A read changes nothing, unless it makes something: then its answer had a lease before.
    fn may_repeat(&self, admitted: &Admitted) -> bool {
        matches!(admitted.verb, Verb::Read | Verb::List) && !self.shared.is_leased(&key(admitted))
    }

    async fn exchange_once(
        &self,
        vault: &Vault,
        token: &Secret<str>,
        admitted: &Admitted,
        body: &[u8],
    ) -> Result<Reply, Fault> {
        let may_repeat = self.may_repeat(admitted);
        let passed = Passed {
            method: admitted.method.clone(),
            path: admitted.path.clone(),
            query: admitted.query.clone(),
            headers: admitted.headers.clone(),
            body: Some(Secret::new(body)).filter(|_| !body.is_empty()),
            repeat: if may_repeat { Repeat::Always } else { Repeat::OnlyIfUnsent },
        };
        match vault.pass_on(token, passed).await? {
            Opened::Whole(answer) => {
                let headers = returned(&answer.headers);
                Ok(Reply::Whole(Whole { status: answer.status, headers, body: answer.body }))
            }
            Opened::Head(answer) => {
                let (head, body) = answer.into_parts();
                let headers = returned(&head.headers);
                let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
                if kind.is_some_and(|kind| !kind.starts_with("application/json")) {
                    return Ok(Reply::Long(head.status, headers, rest(Bytes::new(), body)));
                }
                match of_answer(body).await {
                    Some(Read::Whole(body)) => {
                        Ok(Reply::Whole(Whole { status: head.status, headers, body: Secret::new(body) }))
                    }
                    Some(Read::Long(body)) => Ok(Reply::Long(head.status, headers, body)),
                    None => {
                        let why = "the answer was cut off".to_owned();
                        Err(Fault::Unreachable { why, retry_after: None })
                    }
                }
            }
        }
    }
}

impl Reply {
    fn status(&self) -> StatusCode {
        match self {
            Self::Whole(whole) => whole.status,
            Self::Long(status, ..) => *status,
        }
    }
}

/// Which read it is.
fn key(admitted: &Admitted) -> super::shared::Key {
    (format!("{} {}", admitted.method, admitted.path), admitted.query.clone())
}

/// What a status means, in the words of the other questions.
fn outcome(status: StatusCode) -> Outcome {
    match status.as_u16() {
        403 => Outcome::Denied,
        404 => Outcome::Gone,
        400..=599 => Outcome::Failing,
        _ => Outcome::Done,
    }
}

fn returned(headers: &HeaderMap) -> HeaderMap {
    let one = |name: &HeaderName| Some((name.clone(), headers.get(name)?.clone()));
    RETURNED.iter().filter_map(one).collect()
}

fn response(whole: &Whole) -> Response<Body> {
    let mut response = Response::new(full(Bytes::copy_from_slice(whole.body.expose())));
    *response.status_mut() = whole.status;
    *response.headers_mut() = whole.headers.clone();
    response
}

/// An answer of some time ago.
fn aged(whole: &Whole, age: Duration, is_stale: bool) -> Response<Body> {
    let mut response = response(whole);
    response.headers_mut().insert(AGE, HeaderValue::from(age.as_secs()));
    if is_stale {
        response.headers_mut().insert(STALE, HeaderValue::from_static("true"));
        response.headers_mut().insert(WARNING, HeaderValue::from_static("110 squire \"Response is Stale\""));
    }
    response
}
