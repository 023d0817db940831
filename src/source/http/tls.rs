//! Whom we trust and who we are: the TLS side of the configuration.
//!
//! *Invariant:* the server's certificate is verified unless `insecure_tls` says otherwise, and signatures even then.

use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};

use super::HttpError;
use super::origin::Origin;
use super::trust::{AnyCertificate, Trust};
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
    let builder = match verifier(config, provider)? {
        Some(verifier) => builder.dangerous().with_custom_certificate_verifier(verifier),
        None => builder.with_root_certificates(RootCertStore::empty()),
    };
    let (Some(identity), Some(files)) = (identity, &config.client_identity) else {
        return Ok(builder.with_no_client_auth());
    };
    builder.with_client_auth_cert(identity.chain.clone(), identity.key.clone_key()).map_err(|source| {
        HttpError::Identity { cert: files.cert_file.clone(), key: files.key_file.clone(), source }
    })
}

/// Who decides about a server's certificate; `None` trusts nobody.
fn verifier(
    config: &VaultConfig,
    provider: Arc<CryptoProvider>,
) -> Result<Option<Arc<dyn ServerCertVerifier>>, HttpError> {
    if config.insecure_tls {
        return Ok(Some(Arc::new(AnyCertificate(provider))));
    }
    let certificates = authorities(config)?;
    let mut store = RootCertStore::empty();
    match &config.ca_file {
        Some(file) => certificates.iter().try_for_each(|certificate| {
            let added = store.add(certificate.clone());
            added.map_err(|source| HttpError::Authority { file: file.to_owned(), source })
        })?,
        // One odd certificate among a system's hundred is no reason to trust none of them.
        None => drop(store.add_parsable_certificates(certificates.iter().cloned())),
    }
    if store.is_empty() {
        return Ok(None);
    }
    let trust = Trust::new(store, &certificates, provider);
    trust.map(|trust| Some(Arc::new(trust) as Arc<dyn ServerCertVerifier>)).map_err(HttpError::Verifier)
}

/// The name that the server's certificate has to bear, where it is not the address's.
pub(super) fn server_name(config: &VaultConfig) -> Result<Option<ServerName<'static>>, HttpError> {
    let Some(name) = &config.tls_server_name else { return Ok(None) };
    ServerName::try_from(name.clone()).map(Some).map_err(|_| HttpError::ServerName { name: name.clone() })
}

/// The system's are read only if an address uses TLS.
fn authorities(config: &VaultConfig) -> Result<Vec<CertificateDer<'static>>, HttpError> {
    if let Some(file) = &config.ca_file {
        return certificates("ca_file", file);
    }
    let uses_tls = |address: &String| Origin::parse(address).is_ok_and(|origin| origin.is_https());
    if !config.addresses.iter().any(uses_tls) {
        return Ok(Vec::new());
    }
    let found = rustls_native_certs::load_native_certs().certs;
    if found.is_empty() { Err(HttpError::NoAuthorities) } else { Ok(found) }
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
