//! One request on its way: by whose token, to which server, how often, and what becomes of the answer.
//!
//! *Invariant:* a request that may make something is sent once, but if it surely reached no server or its token was refused: a lost answer may
//! have had a lease. A client's own token is never looked up, and what it gets is neither kept nor given to others. Squire's token is in no
//! answer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::body::Bytes;
use hyper::header::{AGE, CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, WARNING};
use hyper::{Response, StatusCode};

use super::answer::{Body, STALE, error, full, later, refused};
use super::body::{Read, Sent, of_answer, rest};
use super::client::Visitor;
use super::guard::{OfLease, asked, without};
use super::leases::{Envelope, Held};
use super::line::Mark;
use super::serve::{Proxy, locked, missed};
use super::shared::{Key, Leader, Outcome as SharedOutcome, Way, Whole};
use super::{Admitted, Refusal, Verb};
use crate::audit;
use crate::fact::{Fact, Outcome, QuestionFact, QuestionKind, Subject};
use crate::secret::Secret;
use crate::source::http::{Opened, Repeat, Unopened};
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
    grant: Option<(Mark, Grant)>,
    sent: Instant,
}

impl Proxy {
    /// Answers a request that may go on.
    pub(super) async fn forward(&self, visitor: &Visitor, admitted: Admitted, sent: Sent) -> Response<Body> {
        if let Some(of) = admitted.of_lease {
            return self.of_lease(visitor, admitted, of, sent).await;
        }
        let is_read = matches!(admitted.verb, Verb::Read | Verb::List);
        // A header of its own makes a read differ from others.
        let is_plain = admitted.headers.keys().all(|name| matches!(name.as_str(), "accept" | "content-type"));
        let is_empty = matches!(&sent, Sent::Whole(body) if body.is_empty());
        if is_read && self.shared.is_made(&admitted.path) && !self.leases.has_room(visitor.owner()) {
            return no_room();
        }
        if is_read && is_plain && admitted.token.is_none() && is_empty {
            return self.read(visitor, admitted).await;
        }
        if !is_read {
            self.shared.may_change(&admitted.path);
        }
        let result = self.ask(&admitted, &sent).await;
        let is_done = result.as_ref().is_ok_and(|(_, reply)| reply.status().is_success());
        if !is_read && is_done {
            // Somebody may have read the former value meanwhile.
            self.shared.changed(&admitted.path);
        }
        match result {
            Ok((by, reply)) => self.hand_over(visitor, by, reply, None),
            Err(trouble) => match &sent {
                Sent::Long(coming) => coming.missing().map_or_else(|| trouble.response(), missed),
                Sent::Whole(_) => trouble.response(),
            },
        }
    }

    /// A client asks for a lease: it has to be one that it got here, and the server is asked for just this one.
    async fn of_lease(
        &self,
        visitor: &Visitor,
        mut admitted: Admitted,
        of: OfLease,
        sent: Sent,
    ) -> Response<Body> {
        let body = match sent {
            Sent::Whole(body) => asked(of, &body),
            Sent::Long(_) => None,
        };
        let Some((id, body)) = body.filter(|(id, _)| self.leases.is_of(id, visitor.owner())) else {
            return refused(Refusal::Lease);
        };
        admitted.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        admitted.query = None;
        let (by, reply) = match self.ask(&admitted, &Sent::Whole(body)).await {
            Ok(answered) => answered,
            Err(trouble) => return trouble.response(),
        };
        match (of, &reply) {
            (OfLease::Revoke, reply) if reply.status().is_success() => self.leases.was_revoked(&id),
            (OfLease::Renew, Reply::Whole(whole)) if whole.status.is_success() => {
                self.leases.was_renewed(&id, by.sent + Envelope::read(whole.body.expose()).ttl());
            }
            (OfLease::Renew | OfLease::Revoke | OfLease::LookUp, _) => {}
        }
        handed(reply)
    }

    /// A read that others may want too.
    async fn read(&self, visitor: &Visitor, admitted: Admitted) -> Response<Body> {
        let key = key(&admitted);
        let mark = self.line.now().and_then(|upstream| upstream.mark());
        let leader = match self.shared.way(&key, mark, Instant::now()) {
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
        match self.ask(&admitted, &Sent::Whole(Vec::new())).await {
            Ok((by, reply)) => self.hand_over(visitor, by, reply, Some((&key, leader))),
            Err(trouble) => {
                if let Some(leader) = leader {
                    leader.failed(&trouble);
                }
                self.failed(&key, &trouble)
            }
        }
    }

    /// In an outage an older value is better than none, where the configuration says so.
    fn failed(&self, key: &Key, trouble: &Trouble) -> Response<Body> {
        let keeper = self.line.now().map(|upstream| upstream.keeper).filter(|_| trouble.is_outage());
        match keeper.and_then(|keeper| self.shared.stale(key, keeper, Instant::now())) {
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
        read: Option<(&Key, Option<Leader<'_>>)>,
    ) -> Response<Body> {
        let whole = match reply {
            Reply::Whole(whole) => whole,
            Reply::Long(..) => return handed(reply),
        };
        let envelope = Envelope::read(whole.body.expose());
        let Some((mark, grant)) = by.grant else { return response(&whole) };
        let (key, leader) = read.unzip();
        if let Some(key) = key.filter(|_| whole.status.is_success()) {
            self.shared.learn(&key.path, !envelope.is_for_all());
        }
        let leader = leader.flatten();
        if envelope.is_for_all() {
            if let Some(leader) = leader {
                leader.found(&whole, mark, envelope.may_be_kept(), Instant::now());
            }
            return response(&whole);
        }
        if let Some(leader) = leader {
            leader.leased();
        }
        let Some(id) = envelope.lease().filter(|_| whole.status.is_success()) else {
            return response(&whole);
        };
        let (owner, client) = (visitor.owner(), visitor.process.clone());
        let source = self.source.clone();
        let held = Held { id, vault: by.vault, grant, source, sent: by.sent, owner, client };
        if self.leases.hold(held, &envelope) { response(&whole) } else { no_room() }
    }

    /// Asks the server, with a token that it takes.
    async fn ask(&self, admitted: &Admitted, body: &Sent) -> Result<(By, Reply), Trouble> {
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
        let (mark, grant) = upstream.token().ok_or(Trouble::NoToken)?;
        if grant.uses.is_some() {
            return Err(Trouble::Counted);
        }
        let sent = Instant::now();
        let reply = self.exchange(&vault, &grant.token, admitted, body).await?;
        if reply.status() != StatusCode::FORBIDDEN {
            let reply = reply.without(&grant.token);
            return Ok((By { vault, grant: Some((mark, grant)), sent }, reply));
        }
        // What was refused was not done, so it may be sent again, whatever it is, if it is still there.
        let successor = self.line.after(mark).await.filter(|_| matches!(body, Sent::Whole(_)));
        let Some((mark, grant)) = successor else {
            return Ok((By { vault, grant: Some((mark, grant)), sent }, reply));
        };
        let vault = self.line.now().map_or(vault, |upstream| upstream.vault);
        let sent = Instant::now();
        let reply = self.exchange(&vault, &grant.token, admitted, body).await?.without(&grant.token);
        Ok((By { vault, grant: Some((mark, grant)), sent }, reply))
    }

    /// One question to the server; a read that reached none, and makes nothing, is put once more.
    async fn exchange(
        &self,
        vault: &Vault,
        token: &Secret<str>,
        admitted: &Admitted,
        body: &Sent,
    ) -> Result<Reply, Trouble> {
        let begun = Instant::now();
        let repeat = self.repeat(admitted, body);
        let mut result = self.exchange_once(vault, token, admitted, (body, repeat)).await;
        let is_lost = |unopened: &Unopened| {
            matches!(unopened.fault, Fault::Unreachable { retry_after: None, .. })
                && (repeat == Repeat::Always || (unopened.is_unsent && matches!(body, Sent::Whole(_))))
        };
        if result.as_ref().is_err_and(is_lost) {
            tokio::time::sleep(AGAIN_AFTER).await;
            result = self.exchange_once(vault, token, admitted, (body, repeat)).await;
        }
        let request = match &result {
            Ok(Reply::Whole(whole)) => request_id(whole.body.expose()),
            Ok(Reply::Long(..)) | Err(_) => None,
        };
        let fault = result.as_ref().map_err(|unopened| &unopened.fault);
        let fact = QuestionFact {
            kind: QuestionKind::Forward,
            about: Subject::Path(admitted.path.clone()),
            outcome: fault.map_or_else(Fault::outcome, |reply| outcome(reply.status())),
            took: begun.elapsed(),
            login: vault.identity().words().into(),
            accessor: None,
            request,
        };
        Fact::Question(self.source.clone(), fact).tell();
        // One path that fails is no reason not to ask for others.
        let is_down = result.as_ref().is_err_and(|unopened| unopened.is_unsent);
        let result = result.map_err(|unopened| Trouble::of(&unopened.fault));
        let outage = result.as_ref().err().filter(|trouble| is_down && trouble.is_outage());
        *locked(&self.down) = outage.map(|trouble| (Instant::now() + REST, trouble.clone()));
        result
    }

    /// A list makes nothing, nor does a read of a path that is known to be static. Whatever else may have made something, if its answer is
    /// lost.
    fn repeat(&self, admitted: &Admitted, body: &Sent) -> Repeat {
        let may_repeat = match (admitted.verb, body) {
            (_, Sent::Long(_)) | (Verb::Write | Verb::Delete, _) => false,
            (Verb::List, Sent::Whole(_)) => true,
            (Verb::Read, Sent::Whole(_)) => self.shared.is_static(&admitted.path),
        };
        if may_repeat { Repeat::Always } else { Repeat::OnlyIfUnsent }
    }

    async fn exchange_once(
        &self,
        vault: &Vault,
        token: &Secret<str>,
        admitted: &Admitted,
        (body, repeat): (&Sent, Repeat),
    ) -> Result<Reply, Unopened> {
        let (body, upload) = match body {
            Sent::Whole(body) => (Some(body).filter(|body| !body.is_empty()), None),
            Sent::Long(coming) => (None, Some(coming.upload.clone())),
        };
        let passed = Passed {
            method: admitted.method.clone(),
            path: admitted.path.clone(),
            query: admitted.query.clone(),
            headers: admitted.headers.clone(),
            body: body.map(|body| Secret::new(body.as_slice())),
            upload,
            repeat,
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
                        let fault = Fault::Unreachable { why, retry_after: None };
                        Err(Unopened { fault, is_unsent: false })
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

    /// A server tells a token to who has it.
    fn without(self, token: &Secret<str>) -> Self {
        match self {
            Self::Whole(whole) => {
                let hidden = without(whole.body.expose(), token.expose());
                let body = hidden.map_or(whole.body, Secret::new);
                Self::Whole(Whole { body, ..whole })
            }
            long @ Self::Long(..) => long,
        }
    }
}

/// There are as many leases as there may be.
fn no_room() -> Response<Body> {
    let why = "squire: this client, or all of them, hold too many leases";
    later(StatusCode::SERVICE_UNAVAILABLE, why, RETRY_AFTER)
}

/// An answer as it came.
fn handed(reply: Reply) -> Response<Body> {
    match reply {
        Reply::Whole(whole) => response(&whole),
        Reply::Long(status, headers, body) => {
            let mut response = Response::new(body);
            *response.status_mut() = status;
            *response.headers_mut() = headers;
            response
        }
    }
}

/// Which read it is.
fn key(admitted: &Admitted) -> Key {
    let query = admitted.query.as_deref().unwrap_or_default();
    Key { path: admitted.path.clone(), asks: format!("{} {query}", admitted.method) }
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
