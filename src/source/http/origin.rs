//! One server as scheme, host and port, or as its socket, so that two spellings of it are equal.
//!
//! *Invariant:* an [`Origin`] has no path, query or user information.

use std::fmt;

use hyper::Uri;

use super::HttpError;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    Net {
        https: bool,
        /// In lower case; an IPv6 address has its brackets.
        host: String,
        port: u16,
    },
    /// The path of a socket on this machine, where HTTP is spoken without TLS.
    Socket(String),
}

/// A configured address: a server, and the prefix of every path there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) origin: Origin,
    /// The prefix, without a slash at its end; it is usually empty.
    pub(super) base: String,
}

impl Address {
    /// Reads an address.
    pub(super) fn parse(address: &str) -> Result<Self, HttpError> {
        let refused = || HttpError::Address { address: address.to_owned() };
        if let Some(socket) = address.strip_prefix(SOCKET) {
            let origin = Origin::Socket(socket.to_owned());
            return if socket.starts_with('/') {
                Ok(Self { origin, base: String::new() })
            } else {
                Err(refused())
            };
        }
        match split(address) {
            Some((Some(origin), path)) if !path.contains('?') => {
                Ok(Self { origin, base: path.trim_end_matches('/').to_owned() })
            }
            _ => Err(refused()),
        }
    }
}

/// The beginning of a socket's address.
const SOCKET: &str = "unix://";

/// The end of a host name that stands for a socket. No network has such a name; before it comes the socket's path in hexadecimal digits. So
/// a socket has an address like every server, and its connections are pooled like others.
const SOCKET_HOST: &str = ".unix.invalid";

/// A byte as two hexadecimal digits.
fn digits(byte: u8) -> [char; 2] {
    [byte >> 4, byte & 15].map(|digit| char::from_digit(digit.into(), 16).unwrap_or_default())
}

/// The socket that a host name stands for.
pub(super) fn socket(host: &str) -> Option<String> {
    let digits = host.strip_suffix(SOCKET_HOST)?;
    let byte = |at: usize| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok();
    String::from_utf8((0..digits.len()).step_by(2).map(byte).collect::<Option<_>>()?).ok()
}

impl Origin {
    pub(super) fn is_https(&self) -> bool {
        matches!(self, Self::Net { https: true, .. })
    }

    /// The address of a path on this server; `None` if the path is not valid.
    pub(super) fn uri(&self, path: &str) -> Option<Uri> {
        match self {
            Self::Net { .. } => format!("{self}{path}").parse().ok(),
            Self::Socket(socket) => {
                let digits: String = socket.bytes().flat_map(digits).collect();
                format!("http://{digits}{SOCKET_HOST}{path}").parse().ok()
            }
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Net { https, host, port } => {
                write!(f, "{}://{host}:{port}", if *https { "https" } else { "http" })
            }
            Self::Socket(socket) => write!(f, "{SOCKET}{socket}"),
        }
    }
}

/// Splits an address into the server (`None` if it is only a path) and the path with its query. `None` if it is neither.
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
    let host = authority.host().to_ascii_lowercase();
    // A server must not redirect to one of our sockets.
    if authority.as_str().contains('@') || host.is_empty() || host.ends_with(SOCKET_HOST) {
        return None;
    }
    // From `a[::1]:8200` the crate makes the host `a[`.
    let bare = authority.host().strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    if bare.unwrap_or(authority.host()).contains(['[', ']']) {
        return None;
    }
    // `host:` and `host:99999` have a colon after the host, but no valid port.
    if authority.port_u16().is_none() && authority.as_str().len() != authority.host().len() {
        return None;
    }
    let port = authority.port_u16().unwrap_or(if https { 443 } else { 80 });
    Some((Some(Origin::Net { https, host, port }), path.to_owned()))
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
            ("https://vault.internal/vault", Some("https://vault.internal:443/vault")),
            ("https://vault.internal/a/b/", Some("https://vault.internal:443/a/b")),
            ("unix:///run/vault.sock", Some("unix:///run/vault.sock")),
            ("unix://vault.sock", None),
            ("http://2f72756e.unix.invalid", None),
            ("https://vault.internal/?a=b", None),
            ("https://user:word@vault.internal", None),
            ("https://vault.internal:99999", None),
            ("http://vault[::1]:8200", None),
            ("vault.internal:8200", None),
            ("ftp://vault.internal", None),
            ("/v1", None),
            ("", None),
        ];
        for (address, expected) in cases {
            let address_read = Address::parse(address).ok();
            let shown = address_read.map(|Address { origin, base }| format!("{origin}{base}"));
            assert_eq!(shown.as_deref(), expected, "{address}");
        }
    }

    #[test]
    fn a_socket_has_an_address_that_leads_back_to_it() {
        let origin = Address::parse("unix:///run/größe.sock").unwrap().origin;
        let uri = origin.uri("/v1/a?b=c").unwrap();
        assert_eq!(socket(uri.host().unwrap()).as_deref(), Some("/run/größe.sock"));
        assert_eq!(uri.path_and_query().unwrap(), "/v1/a?b=c");
        for host in ["vault.internal", "unix.invalid", "xyz.unix.invalid", "2.unix.invalid", "ä.unix.invalid"]
        {
            assert_eq!(socket(host), None, "{host}");
        }
    }

    #[test]
    fn a_path_alone_has_no_server() {
        assert_eq!(split("/v1/secret?version=2"), Some((None, "/v1/secret?version=2".into())));
        assert_eq!(split("v1 secret"), None);
    }
}
