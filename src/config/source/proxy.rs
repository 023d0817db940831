//! How servers are reached: directly, or through a proxy.

use hyper::Uri;
use hyper::http::uri::Authority;

use super::{Form, Table};
use crate::config::Proxy;
use crate::secret::Secret;

const ALWAYS: [[&str; 2]; 2] =
    [["VAULT_PROXY_ADDR", "BAO_PROXY_ADDR"], ["VAULT_HTTP_PROXY", "BAO_HTTP_PROXY"]];

/// The key, else these variables, else those that every program knows.
fn proxy(table: &mut Table<'_>, always: &[[&'static str; 2]]) -> Proxy {
    if let Some(value) = table.take("proxy") {
        return value.read(&KEY).unwrap_or_default();
    }
    let always = always.iter().find_map(|names| super::from_variable(table, *names, &ADDRESS));
    always.map_or_else(|| of_environment(table), Proxy::Always)
}

/// The variables that every program knows.
pub(super) fn of_environment(table: &Table<'_>) -> Proxy {
    let variable = |names| super::from_variable(table, names, &ADDRESS);
    let https = variable(["HTTPS_PROXY", "https_proxy"]);
    let http = variable(["HTTP_PROXY", "http_proxy"]);
    let except = table.variable(["NO_PROXY", "no_proxy"]).map(|(_, except)| except).unwrap_or_default();
    if https.is_none() && http.is_none() { Proxy::None } else { Proxy::Environment { https, http, except } }
}

/// For a `vault`.
pub(super) fn of_vault(table: &mut Table<'_>) -> Proxy {
    proxy(table, &ALWAYS)
}

/// For an `aws`.
pub(super) fn of_aws(table: &mut Table<'_>) -> Proxy {
    proxy(table, &[])
}

const EXAMPLE: &str = "write for example \"http://proxy.internal:3128\", or \"none\"";

/// No problem quotes it: people write passwords into addresses.
const KEY: Form<Proxy> = Form::unshown("the address of a proxy in quotes, or \"none\"", |text| {
    if text == "none" {
        return Ok(Proxy::None);
    }
    if text.contains('@') {
        return Err(
            "contains a user name or password; leave `proxy` out and set HTTPS_PROXY, which may hold them"
                .to_owned(),
        );
    }
    address(text).map(Proxy::Always)
});

const ADDRESS: Form<Secret<str>> = Form::unshown("the address of a proxy", address);

fn address(text: &str) -> Result<Secret<str>, String> {
    let uri: Uri = text.parse().map_err(|_| format!("is not the address of a proxy; {EXAMPLE}"))?;
    match uri.scheme_str() {
        None | Some("http" | "https") => {}
        Some(_) => return Err(format!("is a proxy of a kind that Squire does not speak with; {EXAMPLE}")),
    }
    let authority = uri.authority().filter(|authority| !authority.host().is_empty());
    let authority = authority.ok_or_else(|| format!("is not the address of a proxy; {EXAMPLE}"))?;
    // A slash in a password would end the host, and a part of the password would be shown as the host.
    if !matches!(uri.path(), "" | "/") || uri.query().is_some() || !has_good_port(authority) {
        return Err(format!("goes on behind host and port; a login in it is percent-encoded; {EXAMPLE}"));
    }
    Ok(Secret::new(text))
}

fn has_good_port(authority: &Authority) -> bool {
    let (_login, place) = authority.as_str().rsplit_once('@').unwrap_or(("", authority.as_str()));
    place == authority.host() || authority.port_u16().is_some_and(|port| port != 0)
}
