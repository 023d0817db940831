//! The connections of one source: pooled, over TLS, and made anew when the TLS files changed.
//!
//! *Invariant:* a request is sent again only if no connection was made, and only after the TLS files changed.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::PROXY_AUTHORIZATION;
use hyper_rustls::{FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder};
use hyper_timeout::TimeoutConnector;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;

use super::content::Outgoing;
use super::explain::{Keys, tls_error};
use super::failure::causes;
use super::line::Layer;
use super::reach::Reach;
use super::route::{Route, Routes};
use super::tls::Material;
use super::{HttpError, chained};
use crate::config::Authorities;

/// Connections with the same authorities and the same client certificate.
type Pool = Client<TimeoutConnector<HttpsConnector<Layer>>, Outgoing>;

/// So many bytes are read, and parsed, at once; the head of an answer has no more either.
const READ_AT_ONCE: usize = 32 << 10;

/// See the module.
#[derive(Debug)]
pub(crate) struct Connections {
    reach: Reach,
    server_name: Option<ServerName<'static>>,
    routes: Arc<Routes>,
    /// A peer that sends nothing for this long counts as gone.
    dead_after: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    made_of: [u8; 32],
    tls: ClientConfig,
    /// TLS with a proxy.
    proxy_tls: ClientConfig,
    /// One for each connection time-out, and for whose requests they are.
    pools: BTreeMap<(Line, Duration), Pool>,
}

/// Whose requests go over a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Line {
    /// Squire's own.
    Ours,
    /// Those that are passed on. Each has a connection for itself (HTTP/1.1): on a shared one (HTTP/2), those who read their answers slowly
    /// hold up all others, Squire's own as well.
    Others,
}

/// So many connections for requests that are passed on stay open while there are none.
const IDLE_OF_OTHERS: usize = 32;

impl Connections {
    /// Makes no connection yet. Reads the TLS files.
    pub(crate) fn new(reach: Reach, dead_after: Duration) -> Result<Self, HttpError> {
        let server_name = reach
            .server_name
            .clone()
            .map(|name| ServerName::try_from(name.clone()).map_err(|_| HttpError::ServerName { name }));
        let server_name = server_name.transpose()?;
        let state = State::new(&reach, &Material::read(&reach)?)?;
        let routes = Arc::new(Routes::new(&reach.proxy));
        Ok(Self { reach, server_name, routes, dead_after, state: Mutex::new(state) })
    }

    /// Reads the TLS files again. If they changed, later connections use them. Returns whether they changed.
    pub(crate) fn look_again(&self) -> Result<bool, HttpError> {
        let material = Material::read(&self.reach)?;
        if material.digest() == self.state().made_of {
            return Ok(false);
        }
        let state = State::new(&self.reach, &material)?;
        *self.state() = state;
        tracing::info!("what TLS is made of has changed, and was read again");
        Ok(true)
    }

    /// The TLS files to watch.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let authorities = match &self.reach.authorities {
            Authorities::File(file) => Some(file.clone()),
            Authorities::System | Authorities::Directory(_) | Authorities::Text(_) => None,
        };
        let identity = self.reach.identity.iter();
        let identity = identity.flat_map(|identity| [identity.cert_file.clone(), identity.key_file.clone()]);
        authorities.into_iter().chain(identity).collect()
    }

    /// Sends a request with a complete address, and returns the beginning of the answer.
    #[cfg(any(feature = "aws", feature = "otlp"))]
    pub(crate) async fn request(
        &self,
        request: hyper::Request<impl Into<Outgoing>>,
        connect_within: Duration,
    ) -> Result<hyper::Response<Incoming>, Unanswered> {
        self.request_by(Line::Ours, request.map(Into::into), connect_within).await
    }

    /// The same over a line of this kind.
    pub(super) async fn request_by(
        &self,
        line: Line,
        mut request: hyper::Request<Outgoing>,
        connect_within: Duration,
    ) -> Result<hyper::Response<Incoming>, Unanswered> {
        if let Route::Forward(proxy) = self.routes.to(request.uri())
            && let Some(login) = proxy.basic_auth()
        {
            request.headers_mut().insert(PROXY_AUTHORIZATION, login.clone());
        }
        let error = match self.pool(line, connect_within).request(request.clone()).await {
            Ok(response) => return Ok(response),
            Err(error) => error,
        };
        // A server that rejects our certificate may just close the connection.
        if tls_error(&error).is_none() && self.reach.identity.is_none() {
            return Err(Unanswered { error, unread: None });
        }
        match self.look_again() {
            Ok(true) if error.is_connect() => {
                let outcome = self.pool(line, connect_within).request(request).await;
                outcome.map_err(|error| Unanswered { error, unread: None })
            }
            Ok(_) => Err(Unanswered { error, unread: None }),
            Err(unread) => Err(Unanswered { error, unread: Some(unread) }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pool(&self, line: Line, connect_within: Duration) -> Pool {
        let mut state = self.state();
        let State { tls, proxy_tls, pools, .. } = &mut *state;
        let new = || self.new_pool(line, tls.clone(), proxy_tls.clone(), connect_within);
        pools.entry((line, connect_within)).or_insert_with(new).clone()
    }

    fn new_pool(
        &self,
        whose: Line,
        tls: ClientConfig,
        proxy_tls: ClientConfig,
        connect_within: Duration,
    ) -> Pool {
        let tcp = tcp(connect_within, self.dead_after);
        let to_proxy = HttpsConnectorBuilder::new().with_tls_config(proxy_tls).https_or_http();
        let to_proxy = to_proxy.enable_http1().wrap_connector(tcp.clone());
        let line = Layer { routes: Arc::clone(&self.routes), tcp, to_proxy };
        let https = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http();
        let https = match &self.server_name {
            Some(name) => https.with_server_name_resolver(FixedServerNameResolver::new(name.clone())),
            None => https,
        };
        let (https, idle) = match whose {
            Line::Ours => (https.enable_all_versions().wrap_connector(line), usize::MAX),
            Line::Others => (https.enable_http1().wrap_connector(line), IDLE_OF_OTHERS),
        };
        let mut connector = TimeoutConnector::new(https);
        connector.set_connect_timeout(Some(connect_within));
        Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_max_idle_per_host(idle)
            // Without pings, a dead connection to a peer that vanished would stay for minutes, and so would every request on it.
            .http2_keep_alive_interval(self.dead_after / 3)
            .http2_keep_alive_timeout(self.dead_after / 3)
            // What is read at once is parsed at once.
            .http1_max_buf_size(READ_AT_ONCE)
            .build(connector)
    }
}

impl State {
    fn new(reach: &Reach, material: &Material) -> Result<Self, HttpError> {
        let (tls, proxy_tls) = (material.client_config(reach)?, material.proxy_config(reach)?);
        Ok(Self { made_of: material.digest(), tls, proxy_tls, pools: BTreeMap::new() })
    }
}

fn tcp(connect_within: Duration, dead_after: Duration) -> HttpConnector {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(connect_within));
    tcp.set_keepalive(Some(dead_after));
    tcp.set_tcp_user_timeout(Some(dead_after));
    tcp
}

/// A request without an answer.
#[derive(Debug)]
pub(crate) struct Unanswered {
    error: Error,
    /// Why the TLS files, which may be the cause, could not be read again.
    unread: Option<HttpError>,
}

impl Unanswered {
    /// Whether no connection was made, so that nothing was sent.
    pub(crate) fn is_unsent(&self) -> bool {
        self.error.is_connect()
    }

    /// The error.
    pub(crate) fn words(&self, keys: Keys) -> String {
        let cannot = if self.is_unsent() { "cannot connect: " } else { "" };
        let why = causes(std::error::Error::source(&self.error), keys);
        let unread = self.unread.as_ref().map(|unread| format!("; {}", chained(Some(unread))));
        format!("{cannot}{why}{}", unread.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::Full;
    use hyper::body::Bytes;
    use rustls::ServerConfig;
    use rustls::pki_types::PrivateKeyDer;
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;

    use super::*;

    /// What both sides agree on, where the server knows HTTP/2 and HTTP/1.1.
    async fn agreed(line: Line) -> Option<String> {
        let rcgen::CertifiedKey { cert, signing_key } =
            rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let server = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let server = server.unwrap().with_no_client_auth();
        let mut server = server.with_single_cert(vec![cert.der().clone()], key).unwrap();
        server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = async {
            let (stream, _) = listener.accept().await.unwrap();
            let stream = TlsAcceptor::from(Arc::new(server)).accept(stream).await.unwrap();
            stream.get_ref().1.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned())
        };
        let reach = Reach { insecure: true, ..Reach::directly(true, Authorities::System) };
        let connections = Connections::new(reach, Duration::from_secs(9)).unwrap();
        let request = hyper::Request::get(format!("https://{address}/"));
        let request = request.body(Outgoing::from(Full::new(Bytes::new()))).unwrap();
        tokio::select! {
            agreed = serving => agreed,
            answer = connections.request_by(line, request, Duration::from_secs(9)) => panic!("{answer:?}"),
        }
    }

    #[tokio::test]
    async fn what_is_passed_on_shares_no_window_with_squires_own_requests() {
        assert_eq!(agreed(Line::Ours).await.as_deref(), Some("h2"));
        assert_ne!(agreed(Line::Others).await.as_deref(), Some("h2"));
    }
}
