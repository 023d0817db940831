//! How the servers of a source are reached, as far as it is the same for every kind of source.

#[cfg(feature = "aws")]
use crate::config::AwsConfig;
use crate::config::{Authorities, ClientIdentity, Proxy, VaultConfig};

use super::origin::Address;

/// The part of a source's configuration that connections are made by.
#[derive(Clone, Debug)]
pub(crate) struct Reach {
    /// Whom we trust.
    pub(super) authorities: Authorities,
    /// Whether there is anything to trust somebody for.
    pub(super) tls: Expected,
    /// Who we are.
    pub(super) identity: Option<ClientIdentity>,
    /// The name that the server's certificate has to bear, where it is not the address's.
    pub(super) server_name: Option<String>,
    /// By which way.
    pub(super) proxy: Proxy,
    /// Verify nothing.
    pub(super) insecure: bool,
}

/// Whether TLS is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    No,
    /// It is decided later by whom, if anybody.
    #[cfg_attr(
        not(feature = "aws"),
        expect(dead_code, reason = "only the SDK of AWS decides by itself whom it asks")
    )]
    Perhaps,
    Yes,
}

impl From<&VaultConfig> for Reach {
    fn from(config: &VaultConfig) -> Self {
        let uses_tls = |text: &String| Address::parse(text).is_ok_and(|address| address.origin.is_https());
        let uses_tls = config.addresses.iter().any(uses_tls) || config.proxy.speaks_tls();
        let tls = if uses_tls { Expected::Yes } else { Expected::No };
        Self {
            authorities: config.authorities.clone(),
            tls,
            identity: config.client_identity.clone(),
            server_name: config.tls_server_name.clone(),
            proxy: config.proxy.clone(),
            insecure: config.insecure_tls,
        }
    }
}

#[cfg(feature = "aws")]
impl From<&AwsConfig> for Reach {
    fn from(config: &AwsConfig) -> Self {
        Self {
            authorities: config.authorities.clone(),
            tls: Expected::Perhaps,
            identity: None,
            server_name: None,
            proxy: config.proxy.clone(),
            insecure: false,
        }
    }
}
