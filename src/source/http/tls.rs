//! Whom we trust and who we are: the TLS side of the configuration.
//!
//! *Invariant:* the server's certificate is verified unless `insecure_tls` says otherwise, and signatures even then.

use std::error::Error;
use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::HttpError;
use super::origin::Origin;
use crate::config::{ClientIdentity, VaultConfig};

/// Who we are: a client certificate, with those that lead to its authority, and its key.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

/// Reads the client certificate, if there is one.
pub(super) fn identity(config: &VaultConfig) -> Result<Option<Identity>, HttpError> {
    let Some(ClientIdentity { cert_file, key_file }) = &config.client_identity else { return Ok(None) };
    let chain = certificates("client_cert_file", cert_file)?;
    let key = PrivateKeyDer::from_pem_file(key_file);
    let key = key.map_err(|source| unreadable("client_key_file", key_file, source))?;
    Ok(Some(Identity { chain, key }))
}

/// What TLS needs.
pub(super) fn client_config(
    config: &VaultConfig,
    identity: Option<&Identity>,
) -> Result<ClientConfig, HttpError> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_safe_default_protocol_versions().map_err(HttpError::Tls)?;
    let builder = if config.insecure_tls {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
    } else {
        builder.with_root_certificates(authorities(config)?)
    };
    let (Some(identity), Some(files)) = (identity, &config.client_identity) else {
        return Ok(builder.with_no_client_auth());
    };
    builder.with_client_auth_cert(identity.chain.clone(), identity.key.clone_key()).map_err(|source| {
        HttpError::Identity { cert: files.cert_file.clone(), key: files.key_file.clone(), source }
    })
}

/// The name that the server's certificate has to bear, where it is not the address's.
pub(super) fn server_name(config: &VaultConfig) -> Result<Option<ServerName<'static>>, HttpError> {
    let Some(name) = &config.tls_server_name else { return Ok(None) };
    ServerName::try_from(name.clone()).map(Some).map_err(|_| HttpError::ServerName { name: name.clone() })
}

/// Whether this is the error of a certificate that nobody we trust has signed.
pub(super) fn is_unknown_issuer(error: &(dyn Error + 'static)) -> bool {
    // Each layer of I/O wraps the error of the one below, and none of them shows it as its source.
    if let Some(inner) = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        return is_unknown_issuer(inner);
    }
    let tls = error.downcast_ref::<rustls::Error>();
    matches!(tls, Some(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer)))
}

/// The system's authorities are read only if an address uses TLS.
fn authorities(config: &VaultConfig) -> Result<RootCertStore, HttpError> {
    let mut store = RootCertStore::empty();
    if let Some(file) = &config.ca_file {
        for certificate in certificates("ca_file", file)? {
            let added = store.add(certificate);
            added.map_err(|source| HttpError::Authority { file: file.to_owned(), source })?;
        }
    } else if config
        .addresses
        .iter()
        .any(|address| Origin::parse(address).is_ok_and(|origin| origin.is_https()))
    {
        // One odd certificate among a system's hundred is no reason to trust none of them.
        store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if store.is_empty() {
            return Err(HttpError::NoAuthorities);
        }
    }
    Ok(store)
}

fn certificates(setting: &'static str, file: &Path) -> Result<Vec<CertificateDer<'static>>, HttpError> {
    let found = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let found = found.map_err(|source| unreadable(setting, file, source))?;
    if found.is_empty() {
        return Err(HttpError::NoCertificate { setting, file: file.to_owned() });
    }
    Ok(found)
}

fn unreadable(setting: &'static str, file: &Path, source: pem::Error) -> HttpError {
    HttpError::Pem { setting, file: file.to_owned(), source }
}

/// Takes every certificate (`insecure_tls`), but checks that the server holds its key.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
