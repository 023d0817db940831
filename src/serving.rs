//! What everybody who serves does alike: taking connections, and having a conversation that ends.
//!
//! Who attacks: whoever reaches the socket or the address. A connection that is refused is said, but not each time; a head has a size and a
//! time; and whoever does not read an answer is left.

use std::convert::Infallible;
use std::fmt::Display;
use std::io;
use std::net::{SocketAddr, TcpListener as StdTcpListener};
use std::os::unix::net::UnixListener as StdUnixListener;
use std::time::{Duration, Instant};

use hyper::body::{Body, Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::HttpService;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::watch;

/// How often it is said that somebody is refused: a socket may let every user connect, as often as that one likes.
const SAY_EVERY: Duration = Duration::from_secs(10);

/// Without a free descriptor the next connection waits this long.
const PAUSE: Duration = Duration::from_millis(100);

/// The longest request head, in bytes.
const LONGEST_HEAD: usize = 16 << 10;

/// Takes connections at a socket, as long as the runtime runs: `know` says who it is, and `welcome` has the conversation.
///
/// # Errors
/// When the runtime cannot take the socket.
pub(crate) fn take_at_socket<V, E: Display>(
    listener: StdUnixListener,
    name: &'static str,
    know: impl Fn(&UnixStream) -> Result<V, E> + Send + 'static,
    welcome: impl Fn(UnixStream, V) + Send + 'static,
) -> io::Result<()> {
    let listener = UnixListener::from_std(listener)?;
    drop(tokio::spawn(async move {
        let mut said_at: Option<Instant> = None;
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                tokio::time::sleep(PAUSE).await;
                continue;
            };
            match know(&stream) {
                Ok(visitor) => welcome(stream, visitor),
                Err(_) if said_at.is_some_and(|at| at.elapsed() < SAY_EVERY) => {}
                Err(stranger) => {
                    said_at = Some(Instant::now());
                    tracing::warn!(error = %stranger, "a connection to the {name} is refused");
                }
            }
        }
    }));
    Ok(())
}

/// Takes connections at an address, as long as the runtime runs.
///
/// # Errors
/// When the runtime cannot take the listener.
pub(crate) fn take_at_address(
    listener: StdTcpListener,
    welcome: impl Fn(TcpStream, SocketAddr) + Send + 'static,
) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    drop(tokio::spawn(async move {
        loop {
            match listener.accept().await {
                Ok((stream, from)) => {
                    // Small answers go out at once; without it they only come later.
                    stream.set_nodelay(true).ok();
                    welcome(stream, from);
                }
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    }));
    Ok(())
}

/// Answers one connection. A head that is not there after `head_within` will not come. The connection is over when the newest time in
/// `lasts` has passed since it was set.
pub(crate) async fn converse<S, B>(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    service: S,
    head_within: Duration,
    mut lasts: watch::Receiver<Duration>,
) where
    S: HttpService<Incoming, ResBody = B, Error = Infallible>,
    B: Body<Data = Bytes> + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head_within)
        .max_buf_size(LONGEST_HEAD)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    loop {
        let lasts_for = *lasts.borrow_and_update();
        tokio::select! {
            // Whatever went wrong, the other side is gone.
            _ = connection.as_mut() => return,
            Ok(()) = lasts.changed() => {}
            () = tokio::time::sleep(lasts_for) => return,
        }
    }
}
