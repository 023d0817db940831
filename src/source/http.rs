//! HTTP to secret servers: pooled connections over TLS, several addresses, and a limit on everything.
//!
//! A [`Request`] goes to the addresses in order, beginning with the one that answered last, until one of them gives an [`Answer`]. If no
//! address could answer, the result is a [`Fault`].
//!
//! *Invariant:* at most one server acts on a request that is marked [`Repeat::OnlyIfUnsent`]; no fault contains a body or a credential; a
//! credential is sent only to the configured addresses, unless `allow_redirects` permits others.

mod connections;
mod content;
mod explain;
mod failure;
#[cfg(test)]
mod fuzz;
mod hidden;
mod line;
mod open;
mod origin;
mod problem;
mod reach;
mod route;
mod tls;
mod trust;
mod words;

use std::error::Error;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HOST, HeaderMap, HeaderValue, LOCATION};
use hyper::{Method, StatusCode};

use super::Fault;
use crate::config::{Authorities, VaultConfig};
use crate::secret::Secret;
use crate::size;

pub(crate) use connections::Connections;
use connections::Line;
use content::Outgoing;
pub(crate) use content::Upload;
pub(crate) use explain::Keys;
pub(crate) use failure::causes;
use failure::{Failure, chained, together, usable};
pub(crate) use open::{Opened, Unopened};
use origin::{Address, Origin};
pub use problem::HttpError;
pub(crate) use reach::Reach;
pub(super) use words::words;

/// The limits of one exchange.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// From the look-up of the name to the end of the TLS handshake, for each address.
    pub connect: Duration,
    /// From sending the request to the last byte of the answer, including the connection, for each address.
    pub request: Duration,
    /// The longest body of an answer that is neither a secret nor a list, in bytes.
    pub body: usize,
}

impl Default for Limits {
    /// 5 seconds, 30 seconds, 1 MiB.
    fn default() -> Self {
        Self { connect: Duration::from_secs(5), request: Duration::from_secs(30), body: 1 << 20 }
    }
}

/// A request. Credentials among the headers have to be marked sensitive: then no library prints them.
#[derive(Clone, Debug)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// Path and query, percent-encoded, from the first slash on.
    pub path: String,
    /// All headers except those that follow from the other fields.
    pub headers: HeaderMap,
    /// JSON.
    pub body: Option<Secret<[u8]>>,
    /// Whether it may be sent twice.
    pub repeat: Repeat,
    /// How long its answer may be.
    pub longest: Longest,
    /// Credentials in it: an answer that is no success is shown, and a server may repeat in it what it was sent.
    pub hidden: Vec<Secret<str>>,
}

/// How long an answer may be: both as it is sent, and as it weighs when it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Longest {
    /// [`Limits::body`].
    Usual,
    /// A list of names: 16 MiB.
    List,
    /// A secret of this size, with what stands around it in an answer.
    Secret(usize),
}

/// What may stand around a secret in an answer.
const AROUND: usize = 64 << 10;

impl Longest {
    fn bytes(self, limits: Limits) -> usize {
        match self {
            Self::Usual => limits.body,
            Self::List => 16 << 20,
            Self::Secret(size) => size.saturating_add(AROUND),
        }
    }

    /// An answer that is longer.
    fn exceeded(self, origin: &Origin, limits: Limits) -> Failure {
        let why = match self {
            Self::Usual | Self::List => {
                format!("the answer is longer than {}", size::words(self.bytes(limits)))
            }
            Self::Secret(size) => format!("the secret {}", size::too_large(size)),
        };
        Failure::last(Fault::Malformed { why: format!("{origin}: {why}") })
    }
}

/// Whether the next address may be asked after one that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// The request has no effect, or the same one however often it is sent.
    Always,
    /// It makes something (a credential, a token), so the next address is asked only if no connection was made. Its time-out is
    /// [`Fault::Failing`]: the cause may be behind the server, so it says nothing about the server itself.
    OnlyIfUnsent,
}

/// An answer, with any status that does not mean that the server cannot be asked now.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Secret<Vec<u8>>,
}

impl Answer {
    /// The content type of the body, for errors.
    pub fn content_type(&self) -> &str {
        self.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("no content type")
    }
}

/// A client for the addresses of one source. Connections are kept and shared; HTTP/2 where TLS negotiates it.
#[derive(Debug)]
pub struct Http {
    allow_redirects: bool,
    connections: Connections,
    addresses: Vec<Address>,
    /// The place in `addresses` of the server that answered last.
    answering: AtomicUsize,
    limits: Limits,
}

impl Http {
    /// A client for these addresses. The TLS files are read now, and again by [`Self::look_again`] and after a failure that they may have
    /// caused.
    pub fn new(config: &VaultConfig, limits: Limits) -> Result<Self, HttpError> {
        let addresses =
            config.addresses.iter().map(|text| Address::parse(text)).collect::<Result<Vec<_>, _>>()?;
        if addresses.is_empty() {
            return Err(HttpError::NoAddress);
        }
        let connections = Connections::new(config.into(), limits.request)?;
        let allow_redirects = config.allow_redirects;
        Ok(Self { allow_redirects, connections, addresses, answering: AtomicUsize::new(0), limits })
    }

    /// A client for a service of this machine's surroundings: one address, never through a proxy, and without redirects.
    pub(super) fn near(address: &str, limits: Limits) -> Result<Self, HttpError> {
        let addresses = vec![Address::parse(address)?];
        let is_https = addresses.iter().any(|address| address.origin.is_https());
        let reach = Reach::directly(is_https, Authorities::System);
        let connections = Connections::new(reach, limits.request)?;
        Ok(Self { allow_redirects: false, connections, addresses, answering: AtomicUsize::new(0), limits })
    }

    /// Reads the TLS files again: authorities, and the client certificate. New connections use them.
    pub fn look_again(&self) -> Result<bool, HttpError> {
        self.connections.look_again()
    }

    /// The TLS files to watch.
    pub fn tls_files(&self) -> Vec<PathBuf> {
        self.connections.files()
    }

    /// Asks the addresses in turn until one answers.
    ///
    /// A redirect (307, 308) is followed once, without a change of scheme and only to one of the addresses, unless the
    /// configuration allows others. A status that means "not this server, not now" (412, 429, 472, 473, 501 to 504) is [`Fault::Unreachable`].
    pub async fn send(&self, request: &Request) -> Result<Answer, Fault> {
        let mut faults = Vec::new();
        for place in self.turns() {
            match self.ask(place, request).await {
                Ok((place, answer)) => {
                    self.answering.store(place, Ordering::Relaxed);
                    return Ok(answer);
                }
                Err(failure) => {
                    let goes_on = self.goes_on(place, request.repeat, &failure);
                    faults.push(failure.fault);
                    if !goes_on {
                        break;
                    }
                }
            }
        }
        Err(together(faults))
    }

    /// Whether the next address is asked. If this request may not go there, the next one should.
    fn goes_on(&self, place: usize, repeat: Repeat, failure: &Failure) -> bool {
        let goes_on = failure.allows_next(repeat);
        if !goes_on && failure.blames_address() {
            self.answering.store((place + 1) % self.addresses.len(), Ordering::Relaxed);
        }
        goes_on
    }

    /// The address that answered last, then the others in order.
    fn turns(&self) -> impl Iterator<Item = usize> {
        let first = self.answering.load(Ordering::Relaxed);
        std::iter::once(first).chain((0..self.addresses.len()).filter(move |place| *place != first))
    }

    /// Asks one address, and the address that it redirects to; returns which of them answered.
    async fn ask(&self, place: usize, request: &Request) -> Result<(usize, Answer), Failure> {
        let Address { origin, base } = &self.addresses[place];
        let answer = self.exchange(origin, &format!("{base}{}", request.path), request).await?;
        if !answer.status.is_redirection() {
            return usable(origin, answer, SystemTime::now()).map(|answer| (place, answer));
        }
        let (target, path) = self.target(origin, &answer)?;
        let place = self.addresses.iter().position(|known| known.origin == target).unwrap_or(place);
        let answer = self.exchange(&target, &path, request).await?;
        if answer.status.is_redirection() {
            // Each of two servers takes the other one for the leader: an election is going on.
            return Err(Failure::unsent(format!("{target}: was redirected to, and redirects again")));
        }
        usable(&target, answer, SystemTime::now()).map(|answer| (place, answer))
    }

    /// The target of a redirect: the server, and the path there.
    fn target(&self, origin: &Origin, answer: &Answer) -> Result<(Origin, String), Failure> {
        let refused = |why: String| Failure::last(Fault::Malformed { why: format!("{origin}: {why}") });
        let location = answer.headers.get(LOCATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let (target, path) = match origin::split(location) {
            Some((Some(target), path)) => (target, path),
            Some((None, path)) => (origin.clone(), path),
            None => return Err(refused(format!("answered {} without saying where to", answer.status))),
        };
        if !matches!(answer.status, StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT) {
            return Err(refused(format!(
                "answered {} to {target}, which no secret server does",
                answer.status
            )));
        }
        if !self.allow_redirects && !self.addresses.iter().any(|known| known.origin == target) {
            let way_out = "add it to `addresses` to allow that, or any with `allow_redirects = true`";
            return Err(refused(format!("redirects to {target}: {way_out}")));
        }
        if target.is_https() != origin.is_https() {
            return Err(refused(format!("redirects to {target}, which changes the scheme")));
        }
        Ok((target, path))
    }

    /// Sends the request to one server and reads the whole answer, whatever its status.
    async fn exchange(&self, origin: &Origin, path: &str, request: &Request) -> Result<Answer, Failure> {
        let exchange = async {
            let message = message(origin, path, request, None)?;
            let (head, body) = self.begun(origin, message, Line::Ours).await?.into_parts();
            let mut body = self.whole(origin, body, request.longest).await?;
            if !head.status.is_success() {
                body = hidden::without(body, &request.hidden);
            }
            Ok(Answer { status: head.status, headers: head.headers, body: Secret::new(body) })
        };
        match tokio::time::timeout(self.limits.request, exchange).await {
            Ok(outcome) => outcome,
            Err(_elapsed) => Err(self.too_late(origin, request.repeat)),
        }
    }

    /// Sends a message to one server, up to the head of the answer.
    async fn begun(
        &self,
        origin: &Origin,
        message: hyper::Request<Outgoing>,
        line: Line,
    ) -> Result<hyper::Response<Incoming>, Failure> {
        let response = self.connections.request_by(line, message, self.limits.connect).await;
        response.map_err(|unanswered| {
            let why = format!("{origin}: {}", unanswered.words(Keys::Vault));
            if unanswered.is_unsent() { Failure::unsent(why) } else { Failure::perhaps_sent(why) }
        })
    }

    fn too_late(&self, origin: &Origin, repeat: Repeat) -> Failure {
        let why = format!("{origin}: no answer within {:?}", self.limits.request);
        match repeat {
            Repeat::Always => Failure::perhaps_sent(why),
            Repeat::OnlyIfUnsent => Failure::last(Fault::Failing { why }),
        }
    }

    /// The whole body, read into one piece of memory.
    async fn whole(&self, origin: &Origin, body: Incoming, longest: Longest) -> Result<Vec<u8>, Failure> {
        let limit = longest.bytes(self.limits);
        let announced = usize::try_from(body.size_hint().lower()).unwrap_or(limit);
        let mut whole = Vec::with_capacity(announced.min(limit));
        let mut body = Limited::new(body, limit);
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| self.cut(origin, &*error, longest))?;
            frame.data_ref().into_iter().for_each(|data| whole.extend_from_slice(data));
        }
        if size::weight(&whole) > limit {
            return Err(longest.exceeded(origin, self.limits));
        }
        Ok(whole)
    }

    /// A body that ended too early.
    fn cut(&self, origin: &Origin, error: &(dyn Error + 'static), longest: Longest) -> Failure {
        if error.is::<LengthLimitError>() {
            return longest.exceeded(origin, self.limits);
        }
        Failure::perhaps_sent(format!(
            "{origin}: the answer was cut off: {}",
            causes(Some(error), Keys::Vault)
        ))
    }
}

/// A request as it goes to one server; with an upload, that is its body.
fn message(
    origin: &Origin,
    path: &str,
    request: &Request,
    upload: Option<&Upload>,
) -> Result<hyper::Request<Outgoing>, Failure> {
    let body = request.body.as_ref().map_or_else(Bytes::new, |body| Bytes::copy_from_slice(body.expose()));
    let body = upload.map_or_else(|| Full::new(body).into(), |upload| upload.clone().into());
    let mut message = hyper::Request::new(body);
    *message.uri_mut() = origin.uri(path).ok_or_else(|| {
        Failure::last(Fault::Malformed {
            why: format!("{origin}: the path is longer than any address may be"),
        })
    })?;
    *message.method_mut() = request.method.clone();
    *message.headers_mut() = request.headers.clone();
    if let Origin::Socket(_) = origin {
        message.headers_mut().insert(HOST, HeaderValue::from_static("localhost"));
    }
    if request.body.is_some() || upload.is_some() {
        let json = HeaderValue::from_static("application/json");
        message.headers_mut().entry(CONTENT_TYPE).or_insert(json);
    }
    Ok(message)
}
