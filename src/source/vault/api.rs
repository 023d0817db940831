//! One call of the HTTP API: its headers, and the meaning of its status.
//!
//! *Invariant:* the token's header is marked sensitive, so that no library prints it; of a body only `errors` is ever shown.

use std::path::PathBuf;
use std::time::Duration;

use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Passed;
use super::answers::{Envelope, Versioned, request_id};
use super::index::NewestIndex;
use super::path::encoded;
use crate::secret::Secret;
use crate::source::Fault;
use crate::source::heard;
use crate::source::http::{Answer, Http, HttpError, Longest, Opened, Repeat, Request, Unopened, words};

const REQUEST: HeaderName = HeaderName::from_static("x-vault-request");
const NAMESPACE: HeaderName = HeaderName::from_static("x-vault-namespace");
const TOKEN: HeaderName = HeaderName::from_static("x-vault-token");
const INDEX: HeaderName = HeaderName::from_static("x-vault-index");
const WRAP_TTL: HeaderName = HeaderName::from_static("x-vault-wrap-ttl");
const INCONSISTENT: HeaderName = HeaderName::from_static("x-vault-inconsistent");

/// The fields of a request that nobody else may see.
const CREDENTIALS: [&str; 6] = ["password", "secret_id", "jwt", "iam_request_headers", "token", "plaintext"];

/// A call of the API.
#[derive(Debug)]
pub(super) struct Call {
    method: Method,
    path: String,
    body: Option<Secret<[u8]>>,
    pub(super) query: Option<String>,
    pub(super) repeat: Repeat,
    pub(super) longest: Longest,
    /// The answer is wrapped, and the wrapping token lives for this long.
    pub(super) wrap_ttl: Option<Duration>,
    /// Credentials in the body. The token that it is sent with is always hidden.
    hidden: Vec<Secret<str>>,
}

impl Call {
    pub(super) fn get(path: &str) -> Self {
        Self::new(Method::GET, path, None)
    }

    pub(super) fn post(path: &str, body: &Value) -> Self {
        let credentials = CREDENTIALS.iter().filter_map(|field| body.get(field)?.as_str());
        let hidden = credentials.map(Secret::new).collect();
        let body = Some(Secret::new(body.to_string().into_bytes()));
        Self { hidden, ..Self::new(Method::POST, path, body) }
    }

    fn new(method: Method, path: &str, body: Option<Secret<[u8]>>) -> Self {
        let (repeat, longest) = (Repeat::Always, Longest::Usual);
        let (path, query, wrap_ttl, hidden) = (path.to_owned(), None, None, Vec::new());
        Self { method, path, body, query, repeat, longest, wrap_ttl, hidden }
    }
}

/// The servers, and the headers of every request to them.
#[derive(Debug)]
pub(super) struct Api {
    http: Http,
    namespace: Option<HeaderValue>,
    index: NewestIndex,
}

impl Api {
    pub(super) fn new(http: Http, namespace: Option<&str>) -> Result<Self, HttpError> {
        let namespace = namespace.map(|namespace| {
            HeaderValue::from_str(namespace)
                .map_err(|_| HttpError::Namespace { namespace: namespace.to_owned() })
        });
        Ok(Self { http, namespace: namespace.transpose()?, index: NewestIndex::default() })
    }

    /// Reads the TLS files again: authorities and client certificate.
    pub(super) fn look_again(&self) -> Result<bool, HttpError> {
        self.http.look_again()
    }

    /// The TLS files to watch.
    pub(super) fn tls_files(&self) -> Vec<PathBuf> {
        self.http.tls_files()
    }

    /// Makes a call. The caller handles statuses that belong to one path.
    pub(super) async fn ask(&self, token: Option<&Secret<str>>, call: Call) -> Result<Answer, Fault> {
        let Call { method, path, body, query, repeat, longest, wrap_ttl, mut hidden } = call;
        hidden.extend(token.cloned());
        let mut headers = self.headers(token)?;
        headers.extend(wrap_ttl.map(|ttl| (WRAP_TTL, HeaderValue::from(ttl.as_secs()))));
        let path = encoded(&path, query.as_deref());
        let request = Request { method, path, headers, body, repeat, longest, hidden };
        let answer = self.http.send(&request).await?;
        if let Some(index) = answer.headers.get(INDEX) {
            self.index.saw(index);
        }
        heard::request(request_id(answer.body.expose()));
        Ok(answer)
    }

    /// Passes a request on, and returns the beginning of its answer. The namespace is that of the configuration.
    pub(super) async fn pass_on(&self, token: &Secret<str>, passed: Passed) -> Result<Opened, Unopened> {
        let Passed { method, path, query, headers: mut all, body, upload, repeat } = passed;
        all.extend(self.headers(Some(token)).map_err(|fault| Unopened { fault, is_unsent: true })?);
        let path = encoded(&path, query.as_deref());
        let (longest, hidden) = (Longest::Usual, vec![token.clone()]);
        let request = Request { method, path, headers: all, body, repeat, longest, hidden };
        let opened = self.http.open(&request, upload.as_ref()).await?;
        let headers = match &opened {
            Opened::Whole(answer) => &answer.headers,
            Opened::Head(response) => response.headers(),
        };
        if let Some(index) = headers.get(INDEX) {
            self.index.saw(index);
        }
        Ok(opened)
    }

    fn headers(&self, token: Option<&Secret<str>>) -> Result<HeaderMap, Fault> {
        let mut headers = HeaderMap::new();
        headers.insert(REQUEST, HeaderValue::from_static("true"));
        headers.extend(self.namespace.clone().map(|namespace| (NAMESPACE, namespace)));
        if let Some(token) = token {
            let mut value = HeaderValue::from_str(token.expose()).map_err(|_| bad_token())?;
            value.set_sensitive(true);
            headers.insert(TOKEN, value);
        }
        if let Some(index) = self.index.newest() {
            headers.insert(INDEX, index);
            headers.insert(INCONSISTENT, HeaderValue::from_static("forward-active-node"));
        }
        Ok(headers)
    }
}

fn bad_token() -> Fault {
    Fault::Refused { why: "the token holds characters that no token has".into(), again_in: None }
}

/// The data of a successful answer; otherwise the fault of its status.
pub(super) fn parsed<T: DeserializeOwned>(
    answer: &Answer,
    path: &str,
    capability: &'static str,
) -> Result<T, Fault> {
    done(answer, path, capability)?;
    let body = answer.body.expose();
    serde_json::from_slice(body).map_err(|error| Fault::Malformed {
        // The library's error message would quote the value.
        why: match (body.len(), error.line(), error.column()) {
            (0, ..) => format!("{path}: {} with an empty body", answer.status),
            (size, line, column) => format!(
                "{path}: {} with {size} bytes of {} that do not fit at line {line}, column {column}",
                answer.status,
                answer.content_type()
            ),
        },
    })
}

/// Whether the call succeeded; otherwise the fault of its status.
pub(super) fn done(answer: &Answer, path: &str, capability: &'static str) -> Result<(), Fault> {
    if answer.status.is_success() { Ok(()) } else { Err(refusal(answer, path, capability)) }
}

/// The fault of a status that is neither a success nor one of a server that cannot be asked now.
pub(super) fn refusal(answer: &Answer, path: &str, capability: &'static str) -> Fault {
    let said = words(answer.body.expose());
    match (answer.status, said) {
        (StatusCode::FORBIDDEN, _) => Fault::Denied { path: path.to_owned(), capability },
        (StatusCode::NOT_FOUND, None) if is_json(answer) => {
            Fault::Gone { why: format!("there is nothing at {path}") }
        }
        (StatusCode::NOT_FOUND, Some(words)) => Fault::Malformed {
            why: format!("{path}: {words} (check `namespace`, and that the path is meant for this server)"),
        },
        (StatusCode::NOT_FOUND, None) => Fault::Malformed {
            why: format!(
                "{path}: 404 with {}: this is no secret server's answer, check `address`",
                answer.content_type()
            ),
        },
        (status, Some(words)) => Fault::Failing { why: format!("{path}: {status}: {words}") },
        (status, None) => Fault::Failing { why: format!("{path}: {status} with {}", answer.content_type()) },
    }
}

/// The fault of a KV v2 secret that was there: deleted or destroyed. `None` if it never was.
pub(super) fn tombstone(answer: &Answer, path: &str) -> Option<Fault> {
    let body = serde_json::from_slice::<Envelope<Versioned>>(answer.body.expose()).ok()?;
    Some(body.data?.tombstone(path))
}

/// The fault of a path that is not there, on a mount that may not be looked up.
pub(super) fn unclear(answer: &Answer, path: &str) -> Fault {
    let mut fault = refusal(answer, path, "read");
    if let Fault::Gone { why } = &mut fault {
        *why = format!(
            "{why}, and the server does not tell what is mounted there: if it is KV v2, write MOUNT/data/NAME, or kind = \"kv2\""
        );
    }
    fault
}

fn is_json(answer: &Answer) -> bool {
    serde_json::from_slice::<serde::de::IgnoredAny>(answer.body.expose()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{AuthConfig, Authorities, CredentialFrom, Proxy, VaultConfig};
    use crate::source::http::Limits;

    #[test]
    fn the_token_is_sent_and_never_printed() {
        let config = VaultConfig {
            addresses: vec!["http://127.0.0.1:1".into()],
            namespace: None,
            authorities: Authorities::System,
            proxy: Proxy::None,
            client_identity: None,
            tls_server_name: None,
            insecure_tls: false,
            allow_redirects: false,
            refresh: Duration::ZERO,
            look_up_every: Duration::MAX,
            auth: AuthConfig::Token { from: CredentialFrom::File(PathBuf::new()) },
            token_files: Vec::new(),
            cautions: Vec::new(),
        };
        let http = Http::new(&config, Limits::default()).unwrap();
        let api = Api::new(http, Some("team/a")).unwrap();
        let headers = api.headers(Some(&Secret::new("canary"))).unwrap();
        assert_eq!(headers[TOKEN], "canary");
        assert_eq!(headers[NAMESPACE], "team/a");
        assert!(!format!("{headers:?}").contains("canary"));
    }
}
