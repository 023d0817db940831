//! One server as scheme, host and port, so that two spellings of it are equal.
//!
//! *Invariant:* an [`Origin`] is `http` or `https` and has no path, query or user information.

use std::fmt;

use hyper::Uri;

use super::HttpError;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    https: bool,
    /// In lower case; an IPv6 address has its brackets.
    host: String,
    port: u16,
}

impl Origin {
    /// Reads a configured address.
    pub(super) fn parse(address: &str) -> Result<Self, HttpError> {
        match split(address) {
            Some((Some(origin), path)) if path == "/" => Ok(origin),
            _ => Err(HttpError::Address { address: address.to_owned() }),
        }
    }

    pub(super) fn is_https(&self) -> bool {
        self.https
    }

    /// The address of a path here; `None` if the path is none.
    pub(super) fn uri(&self, path: &str) -> Option<Uri> {
        format!("{self}{path}").parse().ok()
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.https { "https" } else { "http" };
        write!(f, "{scheme}://{}:{}", self.host, self.port)
    }
}

/// Takes an address apart: the server, or `None` where it is a path alone, and path with query. `None` if it is neither.
pub(super) fn split(address: &str) -> Option<(Option<Origin>, String)> {
    let uri: Uri = address.parse().ok()?;
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let Some(authority) = uri.authority() else {
        return (uri.scheme().is_none() && path.starts_with('/')).then(|| (None, path.to_owned()));
    };
    let https = match uri.scheme_str() {
        Some("https") => true,
        Some("http") => false,
        Some(_) | None => return None,
    };
    if authority.as_str().contains('@') || authority.host().is_empty() {
        return None;
    }
    // `host:` and `host:99999` have a colon after the host, but no port.
    if authority.port_u16().is_none() && authority.as_str().len() != authority.host().len() {
        return None;
    }
    let port = authority.port_u16().unwrap_or(if https { 443 } else { 80 });
    Some((Some(Origin { https, host: authority.host().to_ascii_lowercase(), port }), path.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_compared_without_their_spelling() {
        let cases = [
            ("https://Vault.internal", Some("https://vault.internal:443")),
            ("HTTPS://vault.internal:443/", Some("https://vault.internal:443")),
            ("http://127.0.0.1:8200", Some("http://127.0.0.1:8200")),
            ("http://[::1]:8200", Some("http://[::1]:8200")),
            ("https://vault.internal/vault", None),
            ("https://vault.internal/?a=b", None),
            ("https://user:word@vault.internal", None),
            ("https://vault.internal:99999", None),
            ("vault.internal:8200", None),
            ("ftp://vault.internal", None),
            ("unix:///run/vault.sock", None),
            ("/v1", None),
            ("", None),
        ];
        for (address, expected) in cases {
            let origin = Origin::parse(address).ok().map(|origin| origin.to_string());
            assert_eq!(origin.as_deref(), expected, "{address}");
        }
    }

    #[test]
    fn a_path_alone_has_no_server() {
        assert_eq!(split("/v1/secret?version=2"), Some((None, "/v1/secret?version=2".into())));
        assert_eq!(split("v1 secret"), None);
    }
}
