//! Serves the proxy's socket or address, on the agent's runtime.
//!
//! Who attacks: a client that keeps connections, sends slowly, does not read, or asks too much. What each limit is for stands beside it.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::net::TcpListener as StdTcpListener;
use std::os::unix::net::UnixListener as StdUnixListener;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hyper::body::Incoming;
use hyper::header::{ALLOW, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use nix::sys::resource::{Resource, getrlimit};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{Semaphore, watch};

use super::answer::{Body, error, later, refused};
use super::body::{Missing, of_request};
use super::client::{Users, Visitor, by_address, by_socket};
use super::forward::Trouble;
use super::leases::Leases;
use super::line::Line;
use super::pace::{Client, Pace};
use super::shared::Shared;
use super::{Refusal, Rules, admit};
use crate::audit::Gate;
use crate::config::ProxyConfig;
use crate::names::SourceName;

/// So many connections at once, and at most one for [`DESCRIPTORS`] descriptors; what comes beyond is closed at once.
const CONNECTIONS: usize = 1024;

/// A connection takes two descriptors, itself and its process, and the rest of Squire needs some.
const DESCRIPTORS: usize = 4;

/// So many of them of one process, and no more than half; those by TCP have no process.
const OF_ONE: usize = 256;

/// So many requests are on their way at once.
const REQUESTS: usize = 128;

/// A request head that is not there within this time will not come; a connection that is not used is closed after it, too.
const HEAD_WITHIN: Duration = Duration::from_secs(30);

/// The longest request head, in bytes.
const LONGEST_HEAD: usize = 16 << 10;

/// A request and its answer are over after this time, whoever does not read: a server gives up sooner.
const EXCHANGE_LASTS: Duration = Duration::from_mins(2);

/// How often it is said that somebody is refused.
const SAY_EVERY: Duration = Duration::from_secs(10);

/// Without a free descriptor the next connection waits this long.
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
    seats: Mutex<BTreeMap<Client, usize>>,
    requests: Arc<Semaphore>,
    most: usize,
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
        Self(Arc::new(Inner {
            source: config.source.clone(),
            gate,
            shared: Shared::new(config.cache, config.stale),
            leases: Leases::new(Arc::clone(&line.leases)),
            line,
            down: Mutex::default(),
            rules: Mutex::new(Arc::new(rules)),
            pace: Mutex::new(Pace::new(config.rate)),
            seats: Mutex::default(),
            requests: Arc::new(Semaphore::new(REQUESTS)),
            most: most(),
        }))
    }

    /// From now on these rules hold.
    pub(crate) fn set_rules(&self, rules: Rules) {
        *locked(&self.rules) = Arc::new(rules);
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
        let listener = UnixListener::from_std(listener)?;
        let proxy = self.clone();
        self.sweep();
        drop(tokio::spawn(async move {
            let mut said_at: Option<Instant> = None;
            loop {
                let Ok((stream, _)) = listener.accept().await else {
                    tokio::time::sleep(PAUSE).await;
                    continue;
                };
                match by_socket(&stream, &users) {
                    Ok(visitor) => proxy.welcome(stream, visitor),
                    Err(_) if said_at.is_some_and(|at| at.elapsed() < SAY_EVERY) => {}
                    Err(stranger) => {
                        said_at = Some(Instant::now());
                        tracing::warn!(error = %stranger, "a connection to the proxy is refused");
                    }
                }
            }
        }));
        Ok(())
    }

    /// Serves an address of this machine, as long as the runtime runs.
    ///
    /// # Errors
    /// When the runtime cannot take the listener.
    pub(crate) fn serve_address(&self, listener: StdTcpListener) -> io::Result<()> {
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        let proxy = self.clone();
        self.sweep();
        drop(tokio::spawn(async move {
            loop {
                match listener.accept().await {
                    Ok((stream, from)) => {
                        // Small answers go out at once; without it they only come later.
                        stream.set_nodelay(true).ok();
                        proxy.welcome(stream, by_address(from.ip().to_canonical()));
                    }
                    Err(_) => tokio::time::sleep(PAUSE).await,
                }
            }
        }));
        Ok(())
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
        let Some(seat) = self.seat(visitor.client) else { return };
        let proxy = self.clone();
        drop(tokio::spawn(async move {
            let _seat = seat;
            proxy.converse(stream, visitor).await;
        }));
    }

    fn seat(&self, client: Client) -> Option<Seat> {
        let mut seats = locked(&self.seats);
        let (all, of_one) = (seats.values().sum::<usize>(), seats.get(&client).copied().unwrap_or_default());
        let is_address = matches!(client, Client::Address(_));
        if all >= self.most || (of_one >= OF_ONE.min(self.most / 2) && !is_address) {
            return None;
        }
        seats.insert(client, of_one + 1);
        Some(Seat { proxy: self.clone(), client })
    }

    async fn converse<S>(&self, stream: S, visitor: Visitor)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (begun, mut begins) = watch::channel(());
        let service = service_fn(|request| {
            begun.send_replace(());
            let (proxy, visitor) = (self.clone(), visitor.clone());
            async move { Ok::<_, Infallible>(proxy.answer(visitor, request).await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_WITHIN)
            .max_buf_size(LONGEST_HEAD)
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = std::pin::pin!(connection);
        loop {
            tokio::select! {
                // Whatever went wrong, the other side is gone.
                _ = connection.as_mut() => return,
                Ok(()) = begins.changed() => {}
                () = tokio::time::sleep(EXCHANGE_LASTS) => return,
            }
        }
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
        let Ok(permit) = Arc::clone(&self.requests).try_acquire_owned() else {
            return later(
                StatusCode::SERVICE_UNAVAILABLE,
                "squire: too many requests are on their way",
                PAUSE,
            );
        };
        let body = match of_request(body).await {
            Ok(body) => body,
            Err(Missing::TooLong) => {
                return error(StatusCode::PAYLOAD_TOO_LARGE, "squire: the body is longer than 1 MiB");
            }
            Err(Missing::TooLate) => {
                return error(StatusCode::REQUEST_TIMEOUT, "squire: the body did not come in time");
            }
        };
        // A client that goes away does not take back what it asked for: a lease that comes of it has to be known.
        let proxy = self.clone();
        let asked = tokio::spawn(async move {
            let _permit = permit;
            proxy.forward(&visitor, admitted, body).await
        });
        asked
            .await
            .unwrap_or_else(|_| error(StatusCode::INTERNAL_SERVER_ERROR, "squire: failed, see its log"))
    }
}

/// How many connections there may be with the descriptors of this process.
fn most() -> usize {
    let soft = getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, _)| soft);
    CONNECTIONS.min(usize::try_from(soft).unwrap_or(usize::MAX) / DESCRIPTORS)
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

/// A connection that is in.
struct Seat {
    proxy: Proxy,
    client: Client,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut seats = locked(&self.proxy.seats);
        let left = seats.get(&self.client).map_or(0, |of_one| of_one.saturating_sub(1));
        if left == 0 {
            seats.remove(&self.client);
        } else {
            seats.insert(self.client, left);
        }
    }
}
