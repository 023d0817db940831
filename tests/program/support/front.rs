//! Reads the certificate of a TLS server, and runs a TLS server with a certificate that the test chooses.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, ServerConfig, SignatureScheme, Stream};
use tokio::io::copy_bidirectional;
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;

use super::certificates::Shown;

/// The certificate of the server on this port of this machine, in DER; `None` if no server has one.
pub(crate) fn shown_on(port: u16) -> Option<Vec<u8>> {
    let seen = Arc::new(Seen::default());
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let config = config.with_safe_default_protocol_versions().unwrap().dangerous();
    let verifier = Arc::clone(&seen) as Arc<dyn ServerCertVerifier>;
    let config = config.with_custom_certificate_verifier(verifier).with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let mut connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut tcp = TcpStream::connect(("127.0.0.1", port)).ok()?;
    let mut stream = Stream::new(&mut connection, &mut tcp);
    // A server that demands a client certificate ends the connection here; by then we have its certificate.
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").ok();
    stream.read_exact(&mut [0; 1]).ok();
    seen.0.lock().unwrap().clone()
}

#[derive(Debug, Default)]
struct Seen(Mutex<Option<Vec<u8>>>);

impl ServerCertVerifier for Seen {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        *self.0.lock().unwrap() = Some(end_entity.to_vec());
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

/// TLS in front of a server that has none: the bytes are passed on unchanged.
pub(crate) struct Front {
    port: u16,
    config: Arc<Mutex<Arc<ServerConfig>>>,
    cut: Arc<Notify>,
}

impl Front {
    /// In front of the server at this address, which begins with `http://`.
    pub(crate) fn before(address: &str, shown: &Shown) -> Self {
        let server = address.trim_start_matches("http://").to_owned();
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (config, cut) = (Arc::new(Mutex::new(config(shown))), Arc::new(Notify::new()));
        let (current, ends) = (Arc::clone(&config), Arc::clone(&cut));
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(serve(listener, server, current, ends));
        });
        Self { port, config, cut }
    }

    /// Its address.
    pub(crate) fn address(&self) -> String {
        format!("https://localhost:{}", self.port)
    }

    /// Uses this certificate from now on, and cuts all connections.
    pub(crate) fn show(&self, shown: &Shown) {
        *self.config.lock().unwrap() = config(shown);
        self.cut.notify_waiters();
    }
}

fn config(shown: &Shown) -> Arc<ServerConfig> {
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let key = PrivateKeyDer::try_from(shown.key.serialize_der()).unwrap();
    Arc::new(config.with_single_cert(vec![shown.certificate.der().clone()], key).unwrap())
}

async fn serve(
    listener: std::net::TcpListener,
    server: String,
    current: Arc<Mutex<Arc<ServerConfig>>>,
    cut: Arc<Notify>,
) {
    listener.set_nonblocking(true).unwrap();
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    while let Ok((visitor, _)) = listener.accept().await {
        let acceptor = TlsAcceptor::from(Arc::clone(&current.lock().unwrap()));
        let (server, cut) = (server.clone(), Arc::clone(&cut));
        tokio::spawn(async move {
            let pass = async {
                let mut visitor = acceptor.accept(visitor).await.ok()?;
                let mut host = tokio::net::TcpStream::connect(server).await.ok()?;
                copy_bidirectional(&mut visitor, &mut host).await.ok()
            };
            tokio::select! { _ = pass => {}, () = cut.notified() => {} }
        });
    }
}
