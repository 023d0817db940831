//! Addresses of servers, and warnings about them.

use std::net::IpAddr;

use hyper::Uri;

use super::Form;

/// No problem quotes it: people write passwords into addresses.
pub(super) const SERVER: Form<String> =
    Form::unshown("an address in quotes, such as \"https://vault.internal:8200\"", |text| {
        text.strip_prefix("unix://").map_or_else(|| over_the_network(text), socket)
    });

/// The same for addresses that cannot be a socket.
pub(in crate::config) const ENDPOINT: Form<String> =
    Form::unshown("an address in quotes, such as \"https://vault.internal:8200\"", over_the_network);

const EXAMPLE: &str = "write for example \"https://vault.internal:8200\"";

/// The longest path that the kernel takes: <https://man7.org/linux/man-pages/man7/unix.7.html>
const LONGEST_SOCKET: usize = 107;

fn socket(path: &str) -> Result<String, String> {
    if !path.starts_with('/') || path.ends_with('/') || path.len() > LONGEST_SOCKET {
        return Err(
            "is not the address of a socket; write for example \"unix:///run/vault.sock\", with at most 107 bytes behind unix://"
                .to_owned(),
        );
    }
    Ok(format!("unix://{path}"))
}

fn over_the_network(text: &str) -> Result<String, String> {
    let uri: Uri = text.parse().map_err(|_| format!("is not an address; {EXAMPLE}"))?;
    let scheme = uri.scheme_str().filter(|scheme| matches!(*scheme, "http" | "https"));
    let scheme = scheme.ok_or_else(|| format!("has to begin with https:// or http://; {EXAMPLE}"))?;
    let authority = uri.authority().ok_or_else(|| format!("names no host; {EXAMPLE}"))?;
    if authority.as_str().contains('@') {
        return Err("contains a user name or password; the login goes into [source.NAME.auth.…]".to_owned());
    }
    // The parser silently drops a fragment.
    if uri.query().is_some() || text.contains('#') {
        return Err(format!("ends in `?…` or `#…`; {EXAMPLE}"));
    }
    let path = uri.path().trim_end_matches('/');
    if path == "/v1" || path.ends_with("/v1") {
        return Err("ends in /v1, which every request has by itself; leave that out".to_owned());
    }
    if authority.host().is_empty() {
        return Err(format!("names no host; {EXAMPLE}"));
    }
    // The parser accepts any port; only numbers in range are valid.
    let port = authority.as_str().strip_prefix(authority.host()).unwrap_or_default();
    if !port.is_empty() && authority.port_u16().is_none_or(|port| port == 0) {
        return Err("has a port that is not a number from 1 to 65535".to_owned());
    }
    Ok(format!("{scheme}://{authority}{path}"))
}

/// The host of an address, if everybody on the way to it can read the connection.
pub(super) fn in_clear(address: &str) -> Option<String> {
    let uri: Uri = address.parse().ok()?;
    let host = uri.host().filter(|host| uri.scheme_str() == Some("http") && !is_this_machine(host));
    host.map(str::to_owned)
}

/// Whether a host is this machine, by its name or address.
pub fn is_this_machine(host: &str) -> bool {
    let host = host.trim_matches(['[', ']']);
    host.eq_ignore_ascii_case("localhost")
        || host.parse().is_ok_and(|address: IpAddr| address.to_canonical().is_loopback())
}
