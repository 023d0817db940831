//! The contents of the TLS files: the trusted authorities and the client certificate.
//!
//! *Invariant:* the server's certificate is verified unless `insecure_tls` is set, and signatures even then. No read waits for a file.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::client::WantsClientCert;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ConfigBuilder, RootCertStore};

use super::HttpError;
use super::reach::{Expected, Reach};
use super::trust::{AnyCertificate, Trust};
use crate::config::{Authorities, ClientIdentity};
use crate::files;

/// The largest file of certificates that is read; all certificates of a system are a quarter of a MiB.
const LARGEST: u64 = 4 << 20;

/// The library's name for the system's authorities, wherever they are.
const SYSTEM: &str = "the system's authorities";

/// Where authorities come from if no file is named.
const CA_PATH: &str = "VAULT_CAPATH";
const CA_TEXT: &str = "VAULT_CACERT_BYTES";

/// See the module.
#[derive(Debug)]
pub(super) struct Material {
    authorities: Vec<CertificateDer<'static>>,
    identity: Option<Identity>,
}

/// A client certificate, with the chain to its authority, and its key.
#[derive(Debug)]
struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Material {
    /// Reads the certificate and the key.
    pub(super) fn read(reach: &Reach) -> Result<Self, HttpError> {
        let authorities = if reach.insecure { Vec::new() } else { authorities(reach)? };
        let identity = reach.identity.as_ref().map(identity).transpose()?;
        Ok(Self { authorities, identity })
    }

    /// A digest that tells whether it changed.
    pub(super) fn digest(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        let mut add = |bytes: &[u8]| {
            hasher.update(&bytes.len().to_le_bytes());
            hasher.update(bytes);
        };
        for certificate in &self.authorities {
            add(certificate);
        }
        // A certificate always has bytes.
        add(&[]);
        if let Some(Identity { chain, key }) = &self.identity {
            for certificate in chain {
                add(certificate);
            }
            add(key.secret_der());
        }
        *hasher.finalize().as_bytes()
    }

    /// The TLS settings for a server.
    pub(super) fn client_config(&self, reach: &Reach) -> Result<ClientConfig, HttpError> {
        let builder = self.trusting(reach)?;
        let (Some(Identity { chain, key }), Some(files)) = (&self.identity, &reach.identity) else {
            return Ok(builder.with_no_client_auth());
        };
        builder.with_client_auth_cert(chain.clone(), key.clone_key()).map_err(|source| HttpError::Identity {
            cert: files.cert_file.clone(),
            key: files.key_file.clone(),
            source,
        })
    }

    /// The TLS settings for a proxy: the same authorities, but no client certificate.
    pub(super) fn proxy_config(&self, reach: &Reach) -> Result<ClientConfig, HttpError> {
        Ok(self.trusting(reach)?.with_no_client_auth())
    }

    fn trusting(&self, reach: &Reach) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, HttpError> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder.with_safe_default_protocol_versions().map_err(HttpError::Tls)?;
        Ok(match self.verifier(reach, provider)? {
            Some(verifier) => builder.dangerous().with_custom_certificate_verifier(verifier),
            None => builder.with_root_certificates(RootCertStore::empty()),
        })
    }

    /// The verifier of a server's certificate; `None` trusts nobody.
    fn verifier(
        &self,
        reach: &Reach,
        provider: Arc<CryptoProvider>,
    ) -> Result<Option<Arc<dyn ServerCertVerifier>>, HttpError> {
        if reach.insecure {
            return Ok(Some(Arc::new(AnyCertificate(provider))));
        }
        let mut store = RootCertStore::empty();
        match &reach.authorities {
            Authorities::File(file) => self.authorities.iter().try_for_each(|certificate| {
                let added = store.add(certificate.clone());
                added.map_err(|source| HttpError::Authority { file: file.to_owned(), source })
            })?,
            // One invalid certificate among a hundred is no reason to reject the others.
            Authorities::System | Authorities::Directory(_) | Authorities::Text(_) => {
                let (_added, _odd) = store.add_parsable_certificates(self.authorities.iter().cloned());
            }
        }
        if store.is_empty() {
            return Ok(None);
        }
        let trust = Trust::new(store, &self.authorities, provider).map_err(HttpError::Verifier)?;
        Ok(Some(Arc::new(trust)))
    }
}

fn authorities(reach: &Reach) -> Result<Vec<CertificateDer<'static>>, HttpError> {
    match &reach.authorities {
        Authorities::File(file) => certificates("ca_file", file),
        Authorities::Directory(directory) => in_directory(directory),
        Authorities::Text(text) => {
            let found = CertificateDer::pem_slice_iter(text.as_bytes()).collect::<Result<Vec<_>, _>>();
            let file = Path::new("the environment");
            let found = found.map_err(|source| unreadable(CA_TEXT, file, source))?;
            some(found, CA_TEXT, file)
        }
        Authorities::System if reach.tls == Expected::No => Ok(Vec::new()),
        Authorities::System => {
            let found =
                files::many_within(Path::new(SYSTEM), || Ok(rustls_native_certs::load_native_certs().certs));
            let found = found.map_err(HttpError::SystemAuthorities)?;
            if found.is_empty() && reach.tls == Expected::Yes {
                Err(HttpError::NoAuthorities)
            } else {
                Ok(found)
            }
        }
    }
}

/// The certificates of all files in a directory; a file without certificates is skipped.
fn in_directory(directory: &Path) -> Result<Vec<CertificateDer<'static>>, HttpError> {
    let path = directory.to_owned();
    let files = files::many_within(directory, move || {
        let entries = std::fs::read_dir(path)?.collect::<io::Result<Vec<_>>>()?;
        Ok(entries.into_iter().map(|entry| entry.path()).collect::<BTreeSet<_>>())
    });
    let files = files.map_err(|source| unreadable(CA_PATH, directory, pem::Error::Io(source)))?;
    let found = files.iter().filter_map(|file| certificates(CA_PATH, file).ok()).flatten().collect();
    some(found, CA_PATH, directory)
}

fn some(
    found: Vec<CertificateDer<'static>>,
    setting: &'static str,
    file: &Path,
) -> Result<Vec<CertificateDer<'static>>, HttpError> {
    if found.is_empty() {
        Err(HttpError::NoCertificate { setting, file: file.to_owned() })
    } else {
        Ok(found)
    }
}

fn identity(files: &ClientIdentity) -> Result<Identity, HttpError> {
    let ClientIdentity { cert_file, key_file } = files;
    let chain = certificates("client_cert_file", cert_file)?;
    let key = read("client_key_file", key_file)?;
    let key = PrivateKeyDer::from_pem_slice(&key);
    let key = key.map_err(|source| unreadable("client_key_file", key_file, source))?;
    Ok(Identity { chain, key })
}

fn certificates(setting: &'static str, file: &Path) -> Result<Vec<CertificateDer<'static>>, HttpError> {
    let text = read(setting, file)?;
    let found = CertificateDer::pem_slice_iter(&text).collect::<Result<Vec<_>, _>>();
    let found = found.map_err(|source| unreadable(setting, file, source))?;
    some(found, setting, file)
}

fn read(setting: &'static str, file: &Path) -> Result<Vec<u8>, HttpError> {
    let contents = files::read(file, LARGEST);
    contents
        .map(|contents| contents.bytes)
        .map_err(|source| unreadable(setting, file, pem::Error::Io(source)))
}

fn unreadable(setting: &'static str, file: &Path, source: pem::Error) -> HttpError {
    HttpError::Pem { setting, file: file.to_owned(), source }
}
