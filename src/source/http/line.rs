//! Makes the connection to a server: by the network, by a socket, or through a proxy. TLS with the server itself comes on top.

use std::error::Error;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::client::proxy::matcher::Intercept;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tower_service::Service;

use super::route::{Route, Routes};

type BoxError = Box<dyn Error + Send + Sync>;

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Layer {
    pub(super) routes: Arc<Routes>,
    pub(super) tcp: HttpConnector,
    /// For proxies, some of which use TLS themselves.
    pub(super) to_proxy: HttpsConnector<HttpConnector>,
}

impl Service<Uri> for Layer {
    type Response = Line;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Line, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        // Neither of the two ever has to wait.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, server: Uri) -> Self::Future {
        match self.routes.to(&server) {
            Route::Direct => {
                let connecting = self.tcp.call(server);
                Box::pin(async move { Ok(Line::to_server(connecting.await?)) })
            }
            Route::Socket(socket) => Box::pin(async move {
                let stream = UnixStream::connect(&socket).await;
                let stream =
                    stream.map_err(|error| io::Error::new(error.kind(), format!("{socket}: {error}")))?;
                Ok(Line::to_server(TokioIo::new(stream)))
            }),
            Route::Tunnel(proxy) => {
                let tunnel = Tunnel::new(proxy.uri().clone(), self.to_proxy.clone());
                let mut tunnel = match proxy.basic_auth() {
                    Some(login) => tunnel.with_auth(login.clone()),
                    None => tunnel,
                };
                let connecting = tunnel.call(server);
                Box::pin(async move { connecting.await.map(Line::to_server).map_err(by(&proxy)) })
            }
            Route::Forward(proxy) => {
                let connecting = self.to_proxy.call(proxy.uri().clone());
                Box::pin(async move {
                    let stream = connecting.await.map_err(by(&proxy))?;
                    Ok(Line { forward: true, ..Line::to_server(stream) })
                })
            }
        }
    }
}

/// Adds the proxy's name to an error.
fn by<E: Into<BoxError>>(proxy: &Intercept) -> impl FnOnce(E) -> BoxError {
    let proxy = proxy.uri().authority().map(ToString::to_string).unwrap_or_default();
    |error| Box::new(ProxyError { proxy, why: error.into() })
}

/// A proxy that refused or failed.
#[derive(Debug)]
struct ProxyError {
    proxy: String,
    why: BoxError,
}

impl fmt::Display for ProxyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the proxy {} does not let us through (see `proxy`, HTTPS_PROXY and NO_PROXY)", self.proxy)
    }
}

impl Error for ProxyError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.why)
    }
}

/// A stream of bytes to a server and back.
pub(super) struct Line {
    stream: Box<dyn Stream>,
    /// The other end is a proxy that reads requests, so they need complete addresses.
    forward: bool,
    turn: Turn,
}

/// A peer whose bytes never end would keep the thread: hyper reads on while there is something to read, as through answers `100 Continue`
/// without end, or through pings. So a turn of reading has an end, after which everybody else is served first.
#[derive(Debug, Default)]
struct Turn {
    began: Option<Instant>,
}

/// The longest turn.
const TURN: Duration = Duration::from_millis(5);

impl Turn {
    /// Whether it is over; then the next one may begin.
    fn is_over(&mut self, now: Instant) -> bool {
        let began = *self.began.get_or_insert(now);
        let is_over = now.saturating_duration_since(began) >= TURN;
        if is_over {
            self.began = None;
        }
        is_over
    }
}

trait Stream: Read + Write + Connection + Send + Unpin {}

impl<T: Read + Write + Connection + Send + Unpin> Stream for T {}

impl Line {
    fn to_server(stream: impl Stream + 'static) -> Self {
        Self { stream: Box::new(stream), forward: false, turn: Turn::default() }
    }
}

impl Connection for Line {
    fn connected(&self) -> Connected {
        self.stream.connected().proxy(self.forward)
    }
}

impl Read for Line {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if self.turn.is_over(Instant::now()) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let read = Pin::new(&mut self.stream).poll_read(context, into);
        if read.is_pending() {
            self.turn = Turn::default();
        }
        read
    }
}

impl Write for Line {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_of_reading_has_an_end_and_the_next_one_begins_anew() {
        let (mut turn, now) = (Turn::default(), Instant::now());
        assert!(!turn.is_over(now) && !turn.is_over(now + TURN / 2) && turn.is_over(now + TURN));
        assert!(!turn.is_over(now + TURN) && turn.is_over(now + TURN * 2));
    }
}
