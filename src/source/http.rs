//! HTTP to secret servers: pooled connections over TLS, several addresses, and a limit on everything.
//!
//! A [`Request`] goes to the addresses in order, first to the one that answered last, until one of them gives an
//! [`Answer`]. What no address could answer is a [`Fault`].
//!
//! *Invariant:* a request marked [`Repeat::OnlyIfUnsent`] is acted on by at most one server; no body and no credential stands in a
//! fault; a credential is sent to nobody but the configured addresses, unless `allow_redirects` says otherwise.

mod explain;
mod failure;
mod origin;
mod problem;
mod tls;
mod trust;
mod words;

use std::error::Error;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION};
use hyper::{Method, StatusCode};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_timeout::TimeoutConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::Fault;
use crate::config::VaultConfig;
use crate::secret::Secret;

pub(super) use explain::Keys;
pub(super) use failure::causes;
use failure::{Failure, together, usable};
use origin::Origin;
pub use problem::HttpError;
use tls::Identity;
pub(super) use words::words;

/// The bounds of one exchange.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// From the look-up of the name to the end of the TLS handshake, for each address.
    pub connect: Duration,
    /// From sending the request to the last byte of the answer, connecting included, for each address.
    pub request: Duration,
    /// The longest body of an answer, in bytes.
    pub body: usize,
}

impl Default for Limits {
    /// 5 seconds, 30 seconds, 16 MiB.
    fn default() -> Self {
        Self { connect: Duration::from_secs(5), request: Duration::from_secs(30), body: 16 << 20 }
    }
}

/// What is asked. Credentials among the headers have to be marked sensitive: then no library prints them.
#[derive(Clone, Debug)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// Path and query, percent-encoded, from the first slash on.
    pub path: String,
    /// All headers but those that follow from the rest.
    pub headers: HeaderMap,
    /// JSON.
    pub body: Option<Secret<[u8]>>,
    /// Whether it may be sent twice.
    pub repeat: Repeat,
}

/// Whether the next address may be asked after one that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// The request has no effect, or the same one however often it is sent.
    Always,
    /// It makes something (a credential, a token), so it goes on only where no connection came about. Its time-out is
    /// [`Fault::Failing`]: it tells something about what is behind the server, and nothing about the server.
    OnlyIfUnsent,
}

/// What came back, with any status that is not one of a server that cannot be asked now.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Secret<[u8]>,
}

impl Answer {
    /// What the body claims to be, for errors.
    pub fn content_type(&self) -> &str {
        self.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("no content type")
    }
}

/// A pool of connections that all show the same client certificate.
type Pool = Client<TimeoutConnector<HttpsConnector<HttpConnector>>, Full<Bytes>>;

/// A client for the addresses of one source. Connections are kept and shared; HTTP/2 where TLS negotiates it.
#[derive(Debug)]
pub struct Http {
    config: VaultConfig,
    connections: Mutex<Connections>,
    origins: Vec<Origin>,
    /// The place in `origins` of the one that answered last.
    answering: AtomicUsize,
    limits: Limits,
}

#[derive(Debug)]
struct Connections {
    pool: Pool,
    identity: Option<Identity>,
}

impl Http {
    /// A client for these addresses. Certificate files are read now, and again by [`Self::look_at_identity`].
    pub fn new(config: &VaultConfig, limits: Limits) -> Result<Self, HttpError> {
        let origins =
            config.addresses.iter().map(|text| Origin::parse(text)).collect::<Result<Vec<_>, _>>()?;
        if origins.is_empty() {
            return Err(HttpError::NoAddress);
        }
        let identity = tls::identity(config)?;
        let pool = pool(config, identity.as_ref(), limits)?;
        let connections = Mutex::new(Connections { pool, identity });
        Ok(Self { config: config.clone(), connections, origins, answering: AtomicUsize::new(0), limits })
    }

    /// Reads the client certificate again. If it is another one, new connections are made that show it; the authorities are read
    /// again with it.
    pub fn look_at_identity(&self) -> Result<(), HttpError> {
        if self.config.client_identity.is_none() {
            return Ok(());
        }
        let identity = tls::identity(&self.config)?;
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        if connections.identity != identity {
            connections.pool = pool(&self.config, identity.as_ref(), self.limits)?;
            connections.identity = identity;
        }
        Ok(())
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
                    let go_on = failure.allows_next(request.repeat);
                    let reached = !matches!(failure.fault, Fault::Unreachable { .. });
                    faults.push(failure.fault);
                    if !go_on {
                        if !reached {
                            // This request may not go to another address, but the next one shall.
                            self.answering.store((place + 1) % self.origins.len(), Ordering::Relaxed);
                        }
                        break;
                    }
                }
            }
        }
        let fault = together(faults);
        if matches!(fault, Fault::Unreachable { .. }) {
            // Perhaps because our certificate has ended. If its successor cannot be read now, a login will say so.
            self.look_at_identity().ok();
        }
        Err(fault)
    }

    /// The one that answered last, then the others in their order.
    fn turns(&self) -> impl Iterator<Item = usize> {
        let first = self.answering.load(Ordering::Relaxed);
        std::iter::once(first).chain((0..self.origins.len()).filter(move |place| *place != first))
    }

    /// Asks one address, and the one that it redirects to; tells which of them answered.
    async fn ask(&self, place: usize, request: &Request) -> Result<(usize, Answer), Failure> {
        let origin = &self.origins[place];
        let answer = self.exchange(origin, &request.path, request).await?;
        if !answer.status.is_redirection() {
            return usable(origin, answer, SystemTime::now()).map(|answer| (place, answer));
        }
        let (target, path) = self.target(origin, &answer)?;
        let place = self.origins.iter().position(|known| *known == target).unwrap_or(place);
        let answer = self.exchange(&target, &path, request).await?;
        if answer.status.is_redirection() {
            // Two servers that both hold the other one for the leader: an election is going on.
            return Err(Failure::unsent(format!("{target}: was redirected to, and redirects again")));
        }
        usable(&target, answer, SystemTime::now()).map(|answer| (place, answer))
    }

    /// Where an answer redirects to: the server, and the path there.
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
        if !self.config.allow_redirects && !self.origins.contains(&target) {
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
            let response = self.pool().request(message(origin, path, request)?).await.map_err(|error| {
                if error.is_connect() {
                    Failure::unsent(format!(
                        "{origin}: cannot connect: {}",
                        causes(error.source(), Keys::Vault)
                    ))
                } else {
                    Failure::perhaps_sent(format!("{origin}: {}", causes(error.source(), Keys::Vault)))
                }
            })?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, self.limits.body).collect().await;
            let body = body.map_err(|error| self.cut(origin, &*error))?.to_bytes();
            Ok(Answer { status: head.status, headers: head.headers, body: Secret::new(&body[..]) })
        };
        match tokio::time::timeout(self.limits.request, exchange).await {
            Ok(outcome) => outcome,
            Err(_elapsed) => Err(self.too_late(origin, request.repeat)),
        }
    }

    fn pool(&self) -> Pool {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner).pool.clone()
    }

    fn too_late(&self, origin: &Origin, repeat: Repeat) -> Failure {
        let why = format!("{origin}: no answer within {:?}", self.limits.request);
        match repeat {
            Repeat::Always => Failure::perhaps_sent(why),
            Repeat::OnlyIfUnsent => Failure::last(Fault::Failing { why }),
        }
    }

    /// A body that did not come whole.
    fn cut(&self, origin: &Origin, error: &(dyn Error + 'static)) -> Failure {
        if error.is::<LengthLimitError>() {
            let why = format!("{origin}: the answer is longer than {} bytes", self.limits.body);
            return Failure::last(Fault::Malformed { why });
        }
        Failure::perhaps_sent(format!(
            "{origin}: the answer was cut off: {}",
            causes(Some(error), Keys::Vault)
        ))
    }
}

fn pool(config: &VaultConfig, identity: Option<&Identity>, limits: Limits) -> Result<Pool, HttpError> {
    let https =
        HttpsConnectorBuilder::new().with_tls_config(tls::client_config(config, identity)?).https_or_http();
    let https = match tls::server_name(config)? {
        Some(name) => https.with_server_name_resolver(hyper_rustls::FixedServerNameResolver::new(name)),
        None => https,
    };
    let https = https.enable_all_versions().wrap_connector(tcp(limits));
    let mut connector = TimeoutConnector::new(https);
    connector.set_connect_timeout(Some(limits.connect));
    Ok(Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        // Without pings a peer that vanished would hold its dead connection, and with it every request, for minutes.
        .http2_keep_alive_interval(limits.request / 3)
        .http2_keep_alive_timeout(limits.request / 3)
        .build(connector))
}

fn tcp(limits: Limits) -> HttpConnector {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(limits.connect));
    tcp.set_keepalive(Some(limits.request));
    tcp.set_tcp_user_timeout(Some(limits.request));
    tcp
}

fn message(origin: &Origin, path: &str, request: &Request) -> Result<hyper::Request<Full<Bytes>>, Failure> {
    let body = request.body.as_ref().map_or_else(Bytes::new, |body| Bytes::copy_from_slice(body.expose()));
    let mut message = hyper::Request::new(Full::new(body));
    *message.uri_mut() = origin.uri(path).ok_or_else(|| {
        Failure::last(Fault::Malformed {
            why: format!("{origin}: the path is longer than any address may be"),
        })
    })?;
    *message.method_mut() = request.method.clone();
    *message.headers_mut() = request.headers.clone();
    if request.body.is_some() {
        message.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    Ok(message)
}
