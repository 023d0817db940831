//! How to reach the servers of a source: the part that is the same for every kind of source.

#[cfg(feature = "aws")]
use crate::config::AwsConfig;
use crate::config::{Authorities, ClientIdentity, Proxy, VaultConfig};

use super::origin::Address;

/// The part of a source's configuration that its connections use.
#[derive(Clone, Debug)]
pub(crate) struct Reach {
    /// The trusted authorities.
    pub(super) authorities: Authorities,
    /// Whether TLS is used at all.
    pub(super) tls: Expected,
    /// The client certificate.
    pub(super) identity: Option<ClientIdentity>,
    /// The name that the server's certificate has to have, if it is not the address's.
    pub(super) server_name: Option<String>,
    /// The proxy.
    pub(super) proxy: Proxy,
    /// Do not verify the server.
    pub(super) insecure: bool,
}

/// Whether TLS is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    No,
    /// It is not known yet which server will be used.
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

impl Reach {
    /// Who is near: a collector of OpenTelemetry, or what a cloud has for its machines.
    pub(crate) fn directly(is_https: bool, authorities: Authorities) -> Self {
        let tls = if is_https { Expected::Yes } else { Expected::No };
        Self { authorities, tls, identity: None, server_name: None, proxy: Proxy::None, insecure: false }
    }
}
