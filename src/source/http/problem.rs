//! Why no client can be made from a configuration.
//!
//! *Invariant:* each error names the key or the file, and what to do.

use std::io;
use std::path::PathBuf;

use rustls::pki_types::pem;

/// Why no client can be made from a configuration.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The text is not an address.
    #[error(
        "`{address}` is not an address: write `https://host:port`, `http://host:port` or `unix:///path/of/socket`"
    )]
    Address {
        /// As configured.
        address: String,
    },
    /// There is no address.
    #[error("there is no address to ask: set `address`")]
    NoAddress,
    /// A PEM file cannot be read.
    #[error("cannot read {setting} {}: it has to be a readable PEM file", file.display())]
    Pem {
        /// The key in the configuration.
        setting: &'static str,
        /// The file.
        file: PathBuf,
        /// Why not.
        #[source]
        source: pem::Error,
    },
    /// A PEM file contains no certificate.
    #[error("{setting} {} holds no certificate: it has to contain `-----BEGIN CERTIFICATE-----`", file.display())]
    NoCertificate {
        /// The key in the configuration.
        setting: &'static str,
        /// The file.
        file: PathBuf,
    },
    /// A certificate in `ca_file` cannot be used as an authority.
    #[error("a certificate in ca_file {} cannot be used as an authority", file.display())]
    Authority {
        /// The file.
        file: PathBuf,
        /// Why not.
        #[source]
        source: rustls::Error,
    },
    /// The system has no certificate authorities.
    #[error(
        "this system has no certificate authorities: set `ca_file`, or install them (package `ca-certificates`)"
    )]
    NoAuthorities,
    /// The system's certificate authorities cannot be read.
    #[error("cannot read the system's certificate authorities: set `ca_file` to a file that can be read")]
    SystemAuthorities(#[source] io::Error),
    /// The client's key and certificate do not belong together, or cannot be used.
    #[error("client_cert_file {} and client_key_file {} cannot be used together", cert.display(), key.display())]
    Identity {
        /// `client_cert_file`
        cert: PathBuf,
        /// `client_key_file`
        key: PathBuf,
        /// Why not.
        #[source]
        source: rustls::Error,
    },
    /// `tls_server_name` is not a valid name.
    #[error("tls_server_name `{name}` is neither a DNS name nor an IP address")]
    ServerName {
        /// As configured.
        name: String,
    },
    /// The namespace cannot be put into a header.
    #[error("namespace `{namespace}` holds characters that no namespace has")]
    Namespace {
        /// As configured.
        namespace: String,
    },
    /// The authorities cannot verify anything.
    #[error("the authorities cannot be used")]
    Verifier(#[source] rustls::client::VerifierBuilderError),
    /// TLS itself cannot be set up.
    #[error("cannot set up TLS")]
    Tls(#[source] rustls::Error),
}

impl HttpError {
    /// Whether the error is about the client certificate, which may be only half written at the moment.
    pub(crate) fn is_of_identity(&self) -> bool {
        match self {
            Self::Pem { setting, .. } | Self::NoCertificate { setting, .. } => setting.starts_with("client_"),
            Self::Identity { .. } => true,
            Self::Address { .. }
            | Self::NoAddress
            | Self::Authority { .. }
            | Self::NoAuthorities
            | Self::SystemAuthorities(_)
            | Self::Verifier(_)
            | Self::ServerName { .. }
            | Self::Namespace { .. }
            | Self::Tls(_) => false,
        }
    }
}
