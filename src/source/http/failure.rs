//! Decides what it means that one address did not answer: which fault it is, and whether to ask the next one.
//!
//! *Invariant:* pure; the wall clock is an argument.

use std::error::Error;
use std::time::{Duration, SystemTime};

use hyper::header::{HeaderMap, RETRY_AFTER};

use super::explain::{Keys, explained, tls_error};
use super::origin::Origin;
use super::{Answer, Repeat, words};
use crate::source::Fault;

/// What OpenBao and Vault say, with status 500, while a cluster elects its leader: no request can be served, whatever it asks for.
const NO_LEADER: &str = "active cluster node not found";

/// Turns the answers of a server that cannot be asked now into failures.
pub(super) fn usable(origin: &Origin, answer: Answer, now: SystemTime) -> Result<Answer, Failure> {
    let words = || words(answer.body.expose()).map(|words| format!(": {words}")).unwrap_or_default();
    let fault = || Fault::Unreachable {
        why: format!("{origin}: answered {}{}", answer.status, words()),
        retry_after: retry_after(&answer.headers, now),
    };
    match answer.status.as_u16() {
        // Asking another address would only evade the limit.
        429 => Err(Failure::last(fault())),
        407 => Err(Failure::last(Fault::Unreachable {
            why: format!("{origin}: the proxy demands a login (HTTPS_PROXY and HTTP_PROXY may hold one)"),
            retry_after: None,
        })),
        412 | 472 | 473 | 501..=504 => Err(Failure { fault: fault(), next: Next::IfRepeatable }),
        500 if words().contains(NO_LEADER) => Err(Failure { fault: fault(), next: Next::IfRepeatable }),
        _ => Ok(answer),
    }
}

/// The pause that the server asked for, in seconds or until a date.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    match text.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => Some(httpdate::parse_http_date(text).ok()?.duration_since(now).unwrap_or_default()),
    }
}

/// One address that did not answer, and whether to try the next.
pub(super) struct Failure {
    pub(super) fault: Fault,
    next: Next,
}

enum Next {
    Always,
    IfRepeatable,
    Never,
}

impl Failure {
    pub(super) fn unsent(why: String) -> Self {
        Self { fault: Fault::Unreachable { why, retry_after: None }, next: Next::Always }
    }

    pub(super) fn perhaps_sent(why: String) -> Self {
        Self { fault: Fault::Unreachable { why, retry_after: None }, next: Next::IfRepeatable }
    }

    pub(super) fn last(fault: Fault) -> Self {
        Self { fault, next: Next::Never }
    }

    /// Whether no connection was made.
    pub(super) fn is_unsent(&self) -> bool {
        matches!(self.next, Next::Always)
    }

    /// Whether another address may do better.
    pub(super) fn blames_address(&self) -> bool {
        matches!(self.fault, Fault::Unreachable { .. })
    }

    pub(super) fn allows_next(&self, repeat: Repeat) -> bool {
        match self.next {
            Next::Always => true,
            Next::IfRepeatable => repeat == Repeat::Always,
            Next::Never => false,
        }
    }
}

/// One fault for all addresses: the class of the last one, and the messages of all that could not be reached.
pub(super) fn together(mut faults: Vec<Fault>) -> Fault {
    let last =
        faults.pop().unwrap_or_else(|| Fault::Unreachable { why: "no address".into(), retry_after: None });
    let Fault::Unreachable { why: last, retry_after: asked } = last else { return last };
    let mut asked = asked;
    let mut whys = Vec::new();
    for fault in faults {
        if let Fault::Unreachable { why, retry_after } = fault {
            whys.push(why);
            asked = asked.max(retry_after);
        }
    }
    whys.push(last);
    Fault::Unreachable { why: whys.join("; "), retry_after: asked }
}

/// An error and its causes in one line, each once; TLS errors in our own words.
pub(crate) fn causes(error: Option<&(dyn Error + 'static)>, keys: Keys) -> String {
    let words = error.and_then(tls_error).and_then(|tls| explained(tls, keys));
    words.unwrap_or_else(|| chained(error))
}

/// An error and its causes in one line, each once.
pub(super) fn chained(mut error: Option<&(dyn Error + 'static)>) -> String {
    let mut line = String::new();
    while let Some(cause) = error {
        let text = cause.to_string();
        if !line.contains(&text) {
            line.push_str(if line.is_empty() { "" } else { ": " });
            line.push_str(&text);
        }
        error = cause.source();
    }
    line
}

#[cfg(test)]
mod tests {
    use hyper::StatusCode;
    use hyper::header::HeaderValue;

    use super::*;
    use crate::secret::Secret;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        let cases = [
            ("7", Some(7)),
            (" 0 ", Some(0)),
            ("Sun, 06 Nov 1994 08:50:37 GMT", Some(60)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(0)),
            ("soon", None),
            ("-1", None),
        ];
        for (text, seconds) in cases {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static(text))]);
            assert_eq!(retry_after(&headers, now), seconds.map(Duration::from_secs), "{text}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }

    /// OpenBao 2.7.2 says so while it has no leader, with a status that it also has for faults of one path.
    #[test]
    fn a_cluster_without_a_leader_cannot_be_reached_whatever_the_status() {
        let says = |words: &str| {
            let body = format!("{{\"errors\":[\"{words}\"]}}");
            let headers = HeaderMap::new();
            Answer {
                status: StatusCode::INTERNAL_SERVER_ERROR,
                headers,
                body: Secret::new(body.into_bytes()),
            }
        };
        let origin = Origin::Socket("/run/bao.sock".into());
        let fault =
            |words| usable(&origin, says(words), SystemTime::UNIX_EPOCH).err().map(|failure| failure.fault);
        let electing = "local node not active but active cluster node not found";
        assert!(matches!(fault(electing), Some(Fault::Unreachable { .. })));
        assert_eq!(fault("pq: role does not exist"), None);
    }

    #[test]
    fn only_what_was_surely_not_sent_goes_on_when_it_makes_something() {
        let unsent = Failure::unsent(String::new());
        let sent = Failure::perhaps_sent(String::new());
        let last = Failure::last(Fault::Dead);
        let go_on = |repeat| [&unsent, &sent, &last].map(|failure| failure.allows_next(repeat));
        assert_eq!(go_on(Repeat::Always), [true, true, false]);
        assert_eq!(go_on(Repeat::OnlyIfUnsent), [true, false, false]);
    }

    #[test]
    fn the_fault_of_several_addresses_says_all_of_them_and_waits_the_longest() {
        let unreachable = |why: &str, seconds: Option<u64>| Fault::Unreachable {
            why: why.into(),
            retry_after: seconds.map(Duration::from_secs),
        };
        assert_eq!(
            together(vec![unreachable("a", Some(5)), unreachable("b", None)]),
            unreachable("a; b", Some(5))
        );
        assert_eq!(together(vec![unreachable("a", None), Fault::Dead]), Fault::Dead);
    }
}
