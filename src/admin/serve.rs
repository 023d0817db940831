//! Serves the socket and the listener, on the agent's runtime. Nothing runs here until somebody connects.
//!
//! Who attacks: whoever reaches the listener. What each limit is for stands beside it.

use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::net::TcpListener as StdTcpListener;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::{Bytes, Incoming};
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, HeaderValue, X_CONTENT_TYPE_OPTIONS,
};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use prometheus_client::registry::Registry;
use serde::Serialize;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::time::timeout;

use super::events::{Feed, Stream};
use super::guests::Guests;
use super::look::{Look, Looks};
use super::metrics::{figures::Figures, gauges};
use super::place::Bound;
use super::{Door, LONGEST_WAIT, Question, Refusal, hook, is_local, page, question, refresh, views};
use crate::agent::{Ask, Instruction, Refused};
use crate::plain::plain_json;
use crate::serving::{converse, take_at_address, take_at_socket};
use crate::status::Status;

/// So many connections may follow events, which have no end, so that somebody else can still ask; for each door, too.
const FOLLOWERS: usize = 16;

/// A request head that is not there within this time will not come.
const HEAD_WITHIN: Duration = Duration::from_secs(5);

/// A connection that only asks and listens is over after this time, whoever does not read its answer.
const CONNECTION_LASTS: Duration = Duration::from_secs(30);

/// Whoever follows events comes again after this time, as all clients of server-sent events do.
const FOLLOWING_LASTS: Duration = Duration::from_hours(1);

/// The agent answers within this time, or not at all: it is as good as dead then.
pub(super) const ANSWER_WITHIN: Duration = Duration::from_secs(5);

const JSON: &str = "application/json";
const EVENTS: &str = "text/event-stream";

/// The description of the interface, in the form of `OpenAPI`.
const DESCRIPTION: &str = include_str!("../../docs/openapi.json");

pub(super) type Body = http_body_util::combinators::UnsyncBoxBody<Bytes, Infallible>;

/// Who serves: the way to the agent, and to what happens.
#[derive(Clone, Debug)]
pub struct Server {
    asks: mpsc::Sender<Ask>,
    feed: Feed,
    counters: Arc<Registry>,
    /// Whoever comes by the listener takes no place from the socket.
    followers: [Arc<Semaphore>; 2],
    looks: Arc<Looks>,
}

/// Who comes, and by which way.
#[derive(Clone, Copy, Debug)]
struct Visitor {
    door: Door,
    /// The address of who comes by the listener.
    from: Option<IpAddr>,
    /// Only this machine reaches the listener, so only browsers on it bring strangers.
    is_local: bool,
}

/// What is measured at a moment.
#[derive(Debug)]
pub struct Measured {
    /// What is counted since the beginning of this run.
    pub counters: Arc<Registry>,
    /// How everything stands; nothing if the agent does not answer.
    pub gauges: Vec<Registry>,
}

impl Server {
    /// A server that passes questions on to the agent by `asks`, lets others follow `feed`, and shows `counters`.
    pub fn new(asks: mpsc::Sender<Ask>, feed: Feed, counters: Registry) -> Self {
        let followers = [(); 2].map(|()| Arc::new(Semaphore::new(FOLLOWERS)));
        Self { asks, feed, counters: Arc::new(counters), followers, looks: Arc::default() }
    }

    /// Serves the socket, as long as the runtime runs.
    ///
    /// # Errors
    /// When the runtime cannot take the socket.
    pub fn serve_socket(&self, bound: Bound) -> io::Result<()> {
        let listener = bound.listener.try_clone()?;
        let (server, guests) = (self.clone(), Guests::default());
        let visitor = Visitor { door: Door::Socket, from: None, is_local: false };
        let know = move |stream: &_| bound.place.know(stream);
        take_at_socket(listener, "admin socket", know, move |stream, ()| {
            server.welcome(stream, visitor, &guests);
        })
    }

    /// Serves the listener, as long as the runtime runs.
    ///
    /// # Errors
    /// When the runtime cannot take the socket.
    pub fn serve_listener(&self, listener: StdTcpListener) -> io::Result<()> {
        let is_local = listener.local_addr()?.ip().to_canonical().is_loopback();
        let (server, guests) = (self.clone(), Guests::default());
        take_at_address(listener, move |stream, from| {
            // Over a socket of both families an address of IPv4 comes inside one of IPv6.
            let from = Some(from.ip().to_canonical());
            server.welcome(stream, Visitor { door: Door::Listener, from, is_local }, &guests);
        })
    }

    fn welcome<S>(&self, stream: S, visitor: Visitor, guests: &Guests)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let Some(seat) = guests.admit(visitor.from) else { return };
        let server = self.clone();
        drop(tokio::spawn(async move {
            let _seat = seat;
            let (lasts, longer) = watch::channel(CONNECTION_LASTS);
            let service = service_fn(|request| {
                let (server, lasts) = (server.clone(), lasts.clone());
                async move { Ok::<_, Infallible>(server.answer(visitor, request, &lasts).await) }
            });
            converse(stream, service, HEAD_WITHIN, longer).await;
        }));
    }

    /// `lasts` is how long the connection may last from now on.
    async fn answer(
        &self,
        Visitor { door, from, is_local }: Visitor,
        request: Request<Incoming>,
        lasts: &watch::Sender<Duration>,
    ) -> Response<Body> {
        let uri = request.uri();
        let asked = match question(door, request.method(), uri.path(), uri.query()) {
            Ok(asked) => asked,
            Err(refusal) => return refused(&refusal),
        };
        // A webhook tells nothing, and comes by whatever proxy.
        if is_local && asked != Question::Webhook && !is_asked_locally(&request) {
            return refused(&Refusal::Name);
        }
        match asked {
            Question::Page => the_page(),
            Question::Description => bytes(StatusCode::OK, JSON, Bytes::from_static(DESCRIPTION.as_bytes())),
            // Of a stream, the head alone is no reason to stay.
            Question::Events if request.method() == Method::HEAD => {
                bytes(StatusCode::OK, EVENTS, Bytes::new())
            }
            Question::Events => self.events(door, lasts),
            Question::Live => match self.ask(Ask::Alive).await {
                Some(()) => plain(StatusCode::OK, "ok\n"),
                None => unanswered(),
            },
            Question::Ready => match self.seen_from(door).await {
                Some(look) => views::ready(&look.status, wants_json(&request)),
                None => unanswered(),
            },
            Question::Status => match self.seen_from(door).await {
                Some(look) => bytes(StatusCode::OK, JSON, look.json()),
                None => unanswered(),
            },
            Question::Metrics => match self.seen_from(door).await {
                Some(look) => views::metrics(&self.counters, &look.status),
                None => unanswered(),
            },
            Question::Refresh(secrets, wait) => {
                lasts.send_replace(wait.unwrap_or_default() + CONNECTION_LASTS);
                refresh::refresh(self, secrets, wait).await
            }
            Question::Reload => {
                lasts.send_replace(LONGEST_WAIT + CONNECTION_LASTS);
                self.reload().await
            }
            Question::Webhook => hook::webhook(self, from, request).await,
            Question::Do(instruction) => match self.instruct(instruction).await {
                Some(result) => done(result),
                None => unanswered(),
            },
        }
    }

    /// At the socket, how everything stands now.
    async fn seen_from(&self, door: Door) -> Option<Arc<Look>> {
        match door {
            Door::Socket => self.status().await.map(|status| Arc::new(Look::new(status))),
            Door::Listener => self.look().await,
        }
    }

    /// How everything stood a moment ago, for those who may be many.
    pub(super) async fn look(&self) -> Option<Arc<Look>> {
        self.looks.get(self.status()).await
    }

    /// What is measured now, for whoever sends it on.
    pub async fn measured(&self) -> Measured {
        let look = self.look().await;
        let gauges = look.iter().flat_map(|look| gauges(&look.status, &Figures::read()));
        Measured { counters: Arc::clone(&self.counters), gauges: gauges.collect() }
    }

    /// How everything stands; `None` if the agent does not answer.
    pub(super) async fn status(&self) -> Option<Status> {
        self.ask(Ask::Status).await
    }

    pub(super) async fn instruct(&self, instruction: Instruction) -> Option<Result<(), Refused>> {
        self.ask(|answer| Ask::Instruct(instruction, answer)).await
    }

    /// A rollout may take as long as its probe may.
    async fn reload(&self) -> Response<Body> {
        let (sender, outcome) = oneshot::channel();
        if !matches!(timeout(ANSWER_WITHIN, self.asks.send(Ask::Reload(sender))).await, Ok(Ok(()))) {
            return unanswered();
        }
        match timeout(LONGEST_WAIT, outcome).await {
            Ok(Ok(Ok(summary))) => json(StatusCode::OK, &summary),
            Ok(Ok(Err(problems))) => plain(StatusCode::CONFLICT, &(problems.join("\n") + "\n")),
            Ok(Err(_)) => unanswered(),
            Err(_) => plain(
                StatusCode::ACCEPTED,
                "it is on its way still; the log and the status say what comes of it\n",
            ),
        }
    }

    pub(super) async fn ask<T>(&self, ask: impl FnOnce(oneshot::Sender<T>) -> Ask) -> Option<T> {
        let (sender, answer) = oneshot::channel();
        let asked = async {
            self.asks.send(ask(sender)).await.ok()?;
            answer.await.ok()
        };
        timeout(ANSWER_WITHIN, asked).await.ok().flatten()
    }

    fn events(&self, door: Door, lasts: &watch::Sender<Duration>) -> Response<Body> {
        let [by_socket, by_listener] = &self.followers;
        let followers = match door {
            Door::Socket => by_socket,
            Door::Listener => by_listener,
        };
        let Ok(place) = Arc::clone(followers).try_acquire_owned() else {
            return plain(StatusCode::SERVICE_UNAVAILABLE, "too many follow already; ask again later\n");
        };
        lasts.send_replace(FOLLOWING_LASTS);
        let mut response = Response::new(Body::new(Stream::new(self.feed.follow(), place)));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(EVENTS));
        guarded(response)
    }
}

/// Who sends no name is no browser.
fn is_asked_locally(request: &Request<Incoming>) -> bool {
    request.headers().get(HOST).is_none_or(|host| host.to_str().is_ok_and(is_local))
}

fn wants_json(request: &Request<Incoming>) -> bool {
    let accept = request.headers().get(hyper::header::ACCEPT);
    accept.and_then(|accept| accept.to_str().ok()).is_some_and(|accept| accept.contains("application/json"))
}

fn refused(refusal: &Refusal) -> Response<Body> {
    let mut response = plain(refusal.status(), &format!("{refusal}\n"));
    if let Refusal::Method(method) = refusal
        && let Ok(method) = HeaderValue::from_str(method.as_str())
    {
        response.headers_mut().insert(ALLOW, method);
    }
    response
}

fn done(result: Result<(), Refused>) -> Response<Body> {
    match result {
        Ok(()) => plain(StatusCode::OK, "done\n"),
        Err(why @ Refused::Unknown(_)) => plain(StatusCode::NOT_FOUND, &format!("{why}\n")),
        Err(why) => plain(StatusCode::CONFLICT, &format!("{why}\n")),
    }
}

fn the_page() -> Response<Body> {
    let mut response = bytes(StatusCode::OK, "text/html; charset=utf-8", Bytes::from(page::document()));
    if let Ok(policy) = HeaderValue::try_from(page::policy()) {
        response.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
    }
    response
}

pub(super) fn unanswered() -> Response<Body> {
    plain(StatusCode::SERVICE_UNAVAILABLE, "the agent does not answer\n")
}

pub(super) fn plain(status: StatusCode, words: &str) -> Response<Body> {
    bytes(status, "text/plain; charset=utf-8", Bytes::from(words.to_owned()))
}

pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Response<Body> {
    match serde_json::to_string(value) {
        Ok(words) => bytes(status, JSON, Bytes::from(plain_json(&words).into_owned() + "\n")),
        Err(error) => plain(StatusCode::INTERNAL_SERVER_ERROR, &format!("{error}\n")),
    }
}

pub(super) fn bytes(status: StatusCode, kind: &'static str, words: Bytes) -> Response<Body> {
    let mut response = Response::new(Body::new(http_body_util::Full::new(words)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    guarded(response)
}

/// Nothing of it is kept by anybody, or taken for something else.
fn guarded(mut response: Response<Body>) -> Response<Body> {
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
