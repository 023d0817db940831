//! Serves the proxy's socket or address, on the agent's runtime.
//!
//! Who attacks: a client that keeps connections, sends slowly, does not read, or asks too much. What each limit is for stands beside it.

use std::convert::Infallible;
use std::io;
use std::net::TcpListener as StdTcpListener;
use std::os::unix::net::UnixListener as StdUnixListener;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hyper::body::Incoming;
use hyper::header::{ALLOW, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use nix::sys::resource::{Resource, getrlimit};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;

use super::answer::{Body, error, later, refused};
use super::body::{Missing, of_request, until_sent};
use super::client::{Processes, Users, Visitor, by_address, by_socket};
use super::forward::Trouble;
use super::leases::Leases;
use super::line::Line;
use super::pace::Pace;
use super::places::Places;
use super::shared::Shared;
use super::{Refusal, Rules, admit};
use crate::audit::Gate;
use crate::config::ProxyConfig;
use crate::names::SourceName;
use crate::serving::{converse, take_at_address, take_at_socket};

/// So many connections at once; what comes beyond is closed at once.
const CONNECTIONS: usize = 1024;

/// So many of them of one process; those by TCP have no process.
const OF_ONE: usize = 256;

/// So many requests are on their way at once, until the last byte of their answers is taken.
const REQUESTS: usize = 256;

/// So many of them of one process.
const REQUESTS_OF_ONE: usize = 64;

/// A connection takes two descriptors, itself and its process; a request one, to the server; a lease one, of its process. So there are no
/// more of each than one for so many descriptors, and the rest of Squire has some left.
const DESCRIPTORS: usize = 5;

/// A request head that is not there within this time will not come; a connection that is not used is closed after it, too.
const HEAD_WITHIN: Duration = Duration::from_secs(30);

/// A request and its answer are over after this time, whoever does not read: a server gives up sooner.
const EXCHANGE_LASTS: Duration = Duration::from_mins(2);

/// Who has no place may ask again after this time.
const PAUSE: Duration = Duration::from_millis(100);

/// Who serves.
#[derive(Clone, Debug)]
pub struct Proxy(Arc<Inner>);

/// What all connections share.
#[derive(Debug)]
pub struct Inner {
    pub(super) source: SourceName,
    pub(super) line: Line,
    pub(super) gate: Gate,
    pub(super) shared: Shared,
    pub(super) leases: Leases,
    /// Until then the server is not asked, and why.
    pub(super) down: Mutex<Option<(Instant, Trouble)>>,
    rules: Mutex<Arc<Rules>>,
    pace: Mutex<Pace>,
    processes: Processes,
    connections: Places,
    requests: Places,
}

impl std::ops::Deref for Proxy {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl Proxy {
    /// A proxy to the source at the other end of `line`, that asks `gate` before it asks anything there.
    pub(crate) fn new(config: &ProxyConfig, rules: Rules, line: Line, gate: Gate) -> Self {
        let most = most();
        let half = most / 2;
        Self(Arc::new(Inner {
            source: config.source.clone(),
            gate,
            shared: Shared::new(config.cache, config.stale),
            leases: Leases::new(Arc::clone(&line.leases), most),
            line,
            down: Mutex::default(),
            rules: Mutex::new(Arc::new(rules)),
            pace: Mutex::new(Pace::new(config.rate)),
            processes: Processes::default(),
            connections: Places::new(CONNECTIONS.min(most), OF_ONE.min(half)),
            requests: Places::new(REQUESTS.min(most), REQUESTS_OF_ONE.min(half)),
        }))
    }

    /// After a reload: from now on these rules hold, and what was kept may be of another server.
    pub(crate) fn set_rules(&self, rules: Rules) {
        *locked(&self.rules) = Arc::new(rules);
        self.shared.forget();
    }

    /// The end: leases of clients are given back.
    pub async fn end(&self) {
        self.0.leases.end().await;
    }

    /// Serves the socket, as long as the runtime runs. These users may connect, beside root and Squire's own.
    ///
    /// # Errors
    /// When the runtime cannot take the socket.
    pub(crate) fn serve_socket(&self, listener: StdUnixListener, users: Users) -> io::Result<()> {
        self.sweep();
        let (proxy, host) = (self.clone(), self.clone());
        let know = move |stream: &_| by_socket(stream, &users, &proxy.processes);
        take_at_socket(listener, "proxy", know, move |stream, visitor| host.welcome(stream, visitor))
    }

    /// Serves an address of this machine, as long as the runtime runs.
    ///
    /// # Errors
    /// When the runtime cannot take the listener.
    pub(crate) fn serve_address(&self, listener: StdTcpListener) -> io::Result<()> {
        self.sweep();
        let host = self.clone();
        take_at_address(listener, move |stream, _| host.welcome(stream, by_address()))
    }

    /// Values do not stay in the memory because nobody asks for them.
    fn sweep(&self) {
        let lasts = self.shared.lasts();
        if lasts.is_zero() {
            return;
        }
        let proxy = self.clone();
        drop(tokio::spawn(async move {
            loop {
                tokio::time::sleep(lasts.max(Duration::from_secs(1))).await;
                proxy.shared.sweep(Instant::now());
            }
        }));
    }

    fn welcome<S>(&self, stream: S, visitor: Visitor)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let Some(place) = self.connections.take(visitor.client) else { return };
        let proxy = self.clone();
        drop(tokio::spawn(async move {
            let _place = place;
            let (begun, lasts) = watch::channel(EXCHANGE_LASTS);
            let service = service_fn(|request| {
                begun.send_replace(EXCHANGE_LASTS);
                let (proxy, visitor) = (proxy.clone(), visitor.clone());
                async move { Ok::<_, Infallible>(proxy.answer(visitor, request).await) }
            });
            converse(stream, service, HEAD_WITHIN, lasts).await;
        }));
    }

    async fn answer(&self, visitor: Visitor, request: Request<Incoming>) -> Response<Body> {
        if let Err(after) = locked(&self.pace).take(visitor.client, Instant::now()) {
            return later(StatusCode::TOO_MANY_REQUESTS, "squire: too many requests (proxy.rate)", after);
        }
        let (head, body) = request.into_parts();
        let rules = Arc::clone(&locked(&self.rules));
        let (path, query) = (head.uri.path(), head.uri.query());
        // A whole address in the request line would be for a proxy of another kind.
        let admitted = match head.uri.authority() {
            Some(_) => Err(Refusal::Form),
            None => admit(&rules, &head.method, path, query, &head.headers),
        };
        let admitted = match admitted {
            Ok(admitted) => admitted,
            Err(refusal) => {
                tracing::debug!(source = %self.source, status = refusal.status().as_u16(), why = %refusal, "a request to the proxy is refused");
                return allowed(refusal, refused(refusal));
            }
        };
        let Some(place) = self.requests.take(visitor.client) else {
            return later(
                StatusCode::SERVICE_UNAVAILABLE,
                "squire: too many requests are on their way",
                PAUSE,
            );
        };
        let body = match of_request(body).await {
            Ok(body) => body,
            Err(missing) => return missed(missing),
        };
        // A client that goes away does not take back what it asked for: a lease that comes of it has to be known.
        let proxy = self.clone();
        let asked = tokio::spawn(async move { proxy.forward(&visitor, admitted, body).await });
        let response = asked
            .await
            .unwrap_or_else(|_| error(StatusCode::INTERNAL_SERVER_ERROR, "squire: failed, see its log"));
        response.map(|body| until_sent(body, place))
    }
}

/// Why a body did not arrive.
pub(super) fn missed(missing: Missing) -> Response<Body> {
    match missing {
        Missing::TooLong => {
            error(StatusCode::PAYLOAD_TOO_LARGE, "squire: the body is longer than what is passed on")
        }
        Missing::TooLate => error(StatusCode::REQUEST_TIMEOUT, "squire: the body did not come in time"),
    }
}

/// How many there may be of anything that takes a descriptor.
fn most() -> usize {
    let soft = getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, _)| soft);
    usize::try_from(soft).unwrap_or(usize::MAX) / DESCRIPTORS
}

/// Which methods there are, for who used another.
fn allowed(refusal: Refusal, mut response: Response<Body>) -> Response<Body> {
    if refusal == Refusal::Method {
        let methods = HeaderValue::from_static("GET, LIST, POST, PUT, PATCH, DELETE");
        response.headers_mut().insert(ALLOW, methods);
    }
    response
}

/// Nothing in there can panic half-way.
pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
