//! Asks the metadata service of a cloud who this machine is.
//!
//! *Invariant:* it is never asked through a proxy, its answers are bounded, and what it answers is in no fault: whoever reads it is this
//! machine.

use std::time::Duration;

use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, StatusCode};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::DeserializeOwned;

use super::NOTHING_LOCKS;
use crate::fact::chain;
use crate::secret::Secret;
use crate::source::Fault;
use crate::source::http::{Http, Limits, Longest, Repeat, Request};

/// It is near, or it is not there. Azure's takes some seconds when many ask.
const LIMITS: Limits =
    Limits { connect: Duration::from_secs(2), request: Duration::from_secs(10), body: 64 << 10 };

/// RFC 3986, section 2.3: all but the unreserved characters.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A metadata service.
pub(super) struct Metadata<'a> {
    http: Http,
    address: &'a str,
    header: (HeaderName, HeaderValue),
}

impl<'a> Metadata<'a> {
    /// At this address. The header is what a page in a browser, or a server that is made to ask somebody else, does not send.
    pub(super) fn at(address: &'a str, header: &'static str, value: &'static str) -> Result<Self, Fault> {
        let http = Http::near(address, LIMITS)
            .map_err(|error| Fault::Refused { why: chain(&error), again_in: NOTHING_LOCKS })?;
        let header = (HeaderName::from_static(header), HeaderValue::from_static(value));
        Ok(Self { http, address, header })
    }

    /// What is at this path, with these parameters. `meaning` says what to look at where there is nothing.
    pub(super) async fn text(
        &self,
        path: &str,
        parameters: &[(&str, &str)],
        meaning: &str,
    ) -> Result<Secret<str>, Fault> {
        let query: Vec<_> = parameters
            .iter()
            .map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, ENCODED)))
            .collect();
        let request = Request {
            method: Method::GET,
            path: format!("{path}?{}", query.join("&")),
            headers: HeaderMap::from_iter([self.header.clone()]),
            body: None,
            repeat: Repeat::Always,
            longest: Longest::Usual,
            hidden: Vec::new(),
        };
        let answer = self.http.send(&request).await?;
        if answer.status != StatusCode::OK {
            let why = format!("{}{path}: {} ({meaning})", self.address, answer.status);
            return Err(Fault::Refused { why, again_in: NOTHING_LOCKS });
        }
        match std::str::from_utf8(answer.body.expose()).map(str::trim) {
            Ok(text) if !text.is_empty() => Ok(Secret::new(text)),
            Ok(_) | Err(_) => Err(self.malformed(path)),
        }
    }

    /// The same, if it is JSON.
    pub(super) async fn json<T: DeserializeOwned>(
        &self,
        path: &str,
        parameters: &[(&str, &str)],
        meaning: &str,
    ) -> Result<T, Fault> {
        let text = self.text(path, parameters, meaning).await?;
        // The library's error message would quote the value.
        serde_json::from_str(text.expose()).map_err(|_| self.malformed(path))
    }

    /// An answer that no metadata service gives.
    pub(super) fn malformed(&self, path: &str) -> Fault {
        Fault::Malformed { why: format!("{}{path}: this is no metadata service's answer", self.address) }
    }
}
