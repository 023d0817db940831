//! Programs that speak the API of Vault ask Squire, and need no token: what they may ask, and what goes on to the server.
//!
//! Who attacks: a program that may use the proxy and wants more than it may (a path in disguise, another namespace, a header that the server
//! obeys, a lease of somebody else, Squire's token); a page in a browser that reaches the loopback address; a client that asks too much. So a
//! path is decoded once, judged, and encoded anew, of the headers only those go on that are named here, and `guard` has what no list opens.
//!
//! *Invariant:* pure. `proxy/` serves. What is forwarded has a path that the rules allow, in the one form that it has.

pub(crate) mod allowed;
mod answer;
mod body;
pub(crate) mod client;
mod forward;
mod guard;
mod leases;
pub mod line;
mod pace;
mod path;
mod places;
mod query;
pub mod serve;
mod shared;

use hyper::header::{ACCEPT, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN};
use hyper::{Method, StatusCode};

use crate::admin::is_local;
use crate::config::AutoAuth;
use crate::secret::Secret;
use allowed::Allowed;
use guard::{OfLease, guarded};
use path::Path;
use query::Query;

/// The header that no page in a browser can send to another origin without asking first.
const REQUEST: HeaderName = HeaderName::from_static("x-vault-request");
const TOKEN: HeaderName = HeaderName::from_static("x-vault-token");
const NAMESPACE: HeaderName = HeaderName::from_static("x-vault-namespace");
const WRAP: HeaderName = HeaderName::from_static("x-vault-wrap-ttl");

/// What goes on of a request's headers. All others end here: those of one connection, those that name somebody, and those that a server may
/// obey one day.
const PASSED: [HeaderName; 6] = [
    ACCEPT,
    CONTENT_TYPE,
    WRAP,
    HeaderName::from_static("x-vault-index"),
    HeaderName::from_static("x-vault-inconsistent"),
    HeaderName::from_static("x-vault-mfa"),
];

/// What goes on only beside a client's own token: with Squire's it would override a policy in Squire's name.
const OVERRIDE: HeaderName = HeaderName::from_static("x-vault-policy-override");

/// What is asked of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    /// `GET`
    Read,
    /// `LIST`, or `GET` with `list=true`.
    List,
    /// `POST`, `PUT`, `PATCH`
    Write,
    /// `DELETE`
    Delete,
}

/// The rules of one proxy.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    /// Which paths.
    pub(crate) allowed: Allowed,
    /// Whether a client's own token counts.
    pub(crate) auto_auth: AutoAuth,
    /// The namespace of the source, without slashes at its ends; empty if there is none.
    pub(crate) namespace: String,
    /// Only this machine reaches the proxy, over TCP.
    pub(crate) is_loopback: bool,
}

/// A request that may go on.
#[derive(Clone, Debug)]
pub(crate) struct Admitted {
    /// What is asked.
    pub(crate) verb: Verb,
    /// The method, as it was sent.
    pub(crate) method: Method,
    /// The path of the API, decoded, without `/v1/`.
    pub(crate) path: String,
    /// The query, as it was sent.
    pub(crate) query: Option<String>,
    /// What goes on of its headers.
    pub(crate) headers: HeaderMap,
    /// The client's own token, where it counts.
    pub(crate) token: Option<Secret<str>>,
    /// What is asked of a lease, which has to be the client's.
    pub(crate) of_lease: Option<OfLease>,
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("missing 'X-Vault-Request: true': SDKs of Vault send it, for others add the header")]
    NoRequestHeader,
    #[error("this method is not passed on: GET, LIST, POST, PUT, PATCH and DELETE are")]
    Method,
    #[error(
        "the path has a form that servers may read in different ways: write it below /v1/ without empty parts, dots, backslashes, encoded slashes or encoded percent signs"
    )]
    Form,
    #[error(
        "this query is not passed on: the keys list, version, help, after, limit, depth and detailed are"
    )]
    Query,
    #[error(
        "this path is not among those that the proxy passes on: add it to proxy.paths, or ask for a secret of the configuration"
    )]
    Path,
    #[error("another namespace than the source's: leave X-Vault-Namespace away, or set it to the source's")]
    Namespace,
    #[error("the token holds characters that no token has")]
    Token,
    #[error("this proxy is for this machine: ask it as localhost, or by its address")]
    Name,
    #[error("pages of a browser are not answered")]
    Page,
    #[error(
        "a lease is for the client that got it here: of sys/leases/ only renew, revoke and lookup go on, as POST or PUT, with its lease_id in the body"
    )]
    Lease,
    #[error("squire keeps its token itself, and shows it to nobody")]
    Own,
    #[error("a path is no place for a token, since logs have it: send the token in the body")]
    TokenInPath,
}

impl Refusal {
    /// The status of the answer.
    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::NoRequestHeader => StatusCode::PRECONDITION_FAILED,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Form | Self::Query | Self::Token | Self::TokenInPath => StatusCode::BAD_REQUEST,
            Self::Path | Self::Namespace | Self::Page | Self::Lease | Self::Own => StatusCode::FORBIDDEN,
            Self::Name => StatusCode::MISDIRECTED_REQUEST,
        }
    }
}

/// Judges the head of a request.
///
/// # Errors
/// [`Refusal`], with the status of the answer.
pub(crate) fn admit(
    rules: &Rules,
    method: &Method,
    path: &str,
    query: Option<&str>,
    headers: &HeaderMap,
) -> Result<Admitted, Refusal> {
    if rules.is_loopback && !is_asked_locally(headers) {
        return Err(Refusal::Name);
    }
    // Only a browser says so, and it cannot leave it out.
    if headers.contains_key(ORIGIN) {
        return Err(Refusal::Page);
    }
    if headers.get(REQUEST).is_none_or(|value| value != "true") {
        return Err(Refusal::NoRequestHeader);
    }
    let query = Query::read(query.unwrap_or_default())?;
    let verb = match method.as_str() {
        "GET" if query.lists => Verb::List,
        "GET" => Verb::Read,
        "LIST" => Verb::List,
        "POST" | "PUT" | "PATCH" => Verb::Write,
        "DELETE" => Verb::Delete,
        _ => return Err(Refusal::Method),
    };
    let path = Path::read(path)?;
    let token = own_token(rules.auto_auth, headers)?;
    let of_lease = guarded(verb, path.as_str(), headers.contains_key(WRAP), token.is_some())?;
    // What a client got it may renew and give back.
    if of_lease.is_none() && !rules.allowed.allows(verb, &path) {
        return Err(Refusal::Path);
    }
    if headers.get_all(NAMESPACE).iter().any(|value| !is_namespace(value, &rules.namespace)) {
        return Err(Refusal::Namespace);
    }
    Ok(Admitted {
        verb,
        method: method.clone(),
        path: path.into_text(),
        query: query.text,
        headers: passed(headers, token.is_some()),
        token,
        of_lease,
    })
}

/// Who sends no name is no browser.
fn is_asked_locally(headers: &HeaderMap) -> bool {
    headers.get_all(HOST).iter().all(|host| host.to_str().is_ok_and(is_local))
}

/// The server takes a namespace with or without slashes at its ends, and `root` for none.
fn is_namespace(value: &HeaderValue, ours: &str) -> bool {
    let said = value.to_str().map(|text| text.trim_matches('/'));
    said.is_ok_and(|said| said == ours || (ours.is_empty() && said == "root"))
}

fn passed(headers: &HeaderMap, has_token: bool) -> HeaderMap {
    let one = |name: &HeaderName| Some((name.clone(), headers.get(name)?.clone()));
    PASSED.iter().chain([&OVERRIDE].into_iter().filter(|_| has_token)).filter_map(one).collect()
}

/// `Authorization: Bearer` is the other place where a server looks for a token, and counts the same.
fn own_token(auto_auth: AutoAuth, headers: &HeaderMap) -> Result<Option<Secret<str>>, Refusal> {
    if auto_auth == AutoAuth::Always {
        return Ok(None);
    }
    let bearer = headers.get(hyper::header::AUTHORIZATION);
    let Some(value) = headers.get(TOKEN).or(bearer) else { return Ok(None) };
    let text = value.to_str().map_err(|_| Refusal::Token)?;
    let token = if headers.contains_key(TOKEN) { text } else { text.trim_start_matches("Bearer ") };
    Ok(Some(token).filter(|token| !token.is_empty()).map(Secret::new))
}

#[cfg(test)]
mod tests;
