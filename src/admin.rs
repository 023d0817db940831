//! What somebody who asks Squire wants to know or have done: a request becomes a [`Question`], or is refused.
//!
//! There are two doors. The **socket** is a file, or a name, of this machine; only Squire's own user and root may use it, and they may do
//! everything. The **listener** is an address that the configuration opens; whoever reaches it may read, and change nothing, but by a webhook
//! that the key of the configuration signed.
//!
//! Who attacks: a process of another user on the socket; anybody in the network at the listener, who sends too much, reads too slowly, or
//! comes too often; a page in a browser that can reach it ([`is_local`]). They learn names, paths, times and messages, and never a value, since no [`Status`](crate::status::Status) and
//! no fact can hold one.
//!
//! *Invariant:* pure. `admin/` serves.

pub mod client;
pub mod events;
mod guests;
mod hook;
mod look;
mod metrics;
mod page;
pub mod place;
pub mod refresh;
pub mod serve;
mod views;

use std::net::IpAddr;
use std::time::Duration;

use hyper::http::uri::Authority;
use hyper::{Method, StatusCode};
use percent_encoding::percent_decode_str;

use crate::agent::Instruction;
use crate::names::SecretName;

/// By which way somebody came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// The socket of this machine: reads and orders.
    Socket,
    /// The address that the configuration opens: reads.
    Listener,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// `GET /`: the page for a browser.
    Page,
    /// `GET /livez`: does the agent answer?
    Live,
    /// `GET /readyz`: can what it serves be relied on?
    Ready,
    /// `GET /v1/status`
    Status,
    /// `GET /metrics`: counters and gauges, for Prometheus.
    Metrics,
    /// `GET /v1/events`: what happens, as it happens.
    Events,
    /// `GET /v1/openapi.json`: the description of this interface.
    Description,
    /// `POST /v1/refresh`, and for how long to wait for the outcome.
    Refresh(Vec<SecretName>, Option<Duration>),
    /// `POST /v1/reload`: read the configuration anew, and say what came of it.
    Reload,
    /// `POST /v1/webhook`: whether the sender may refresh anything is for its signature to say, so it may come by either door.
    Webhook,
    /// `POST /v1/hold`, `/v1/release`, `/v1/rollback` and `/v1/quit`.
    Do(Instruction),
}

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is nothing at this path.
    #[error("there is nothing here; /v1/openapi.json says what there is")]
    Nothing,
    /// The path has another method.
    #[error("this path wants {0}")]
    Method(Method),
    /// The listener answers questions and takes no orders.
    #[error("orders are taken at the socket only, from Squire's own user and root: squire {0} -c FILE")]
    ReadOnly(&'static str),
    /// A parameter is not understood.
    #[error("{0}")]
    Parameter(String),
    /// The listener of this machine is asked under a name that somebody made for its address.
    #[error("this listener is for this machine: ask it as localhost, or by its address")]
    Name,
}

impl Refusal {
    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Nothing => StatusCode::NOT_FOUND,
            Self::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::ReadOnly(_) => StatusCode::FORBIDDEN,
            Self::Parameter(_) => StatusCode::BAD_REQUEST,
            Self::Name => StatusCode::MISDIRECTED_REQUEST,
        }
    }
}

/// The longest that an outcome may be waited for.
pub(crate) const LONGEST_WAIT: Duration = Duration::from_mins(10);

/// Every path, with its method. What follows an order on the command line is its name.
const PATHS: [(&str, Method, Meaning); 14] = [
    ("/", Method::GET, Meaning::Question(Question::Page)),
    ("/livez", Method::GET, Meaning::Question(Question::Live)),
    ("/readyz", Method::GET, Meaning::Question(Question::Ready)),
    ("/metrics", Method::GET, Meaning::Question(Question::Metrics)),
    ("/v1/status", Method::GET, Meaning::Question(Question::Status)),
    ("/v1/events", Method::GET, Meaning::Question(Question::Events)),
    ("/v1/openapi.json", Method::GET, Meaning::Question(Question::Description)),
    ("/v1/refresh", Method::POST, Meaning::Refresh),
    ("/v1/reload", Method::POST, Meaning::Reload),
    ("/v1/webhook", Method::POST, Meaning::Question(Question::Webhook)),
    ("/v1/hold", Method::POST, Meaning::Order("hold", Instruction::Hold)),
    ("/v1/release", Method::POST, Meaning::Order("release", Instruction::Release)),
    ("/v1/rollback", Method::POST, Meaning::Order("rollback", Instruction::RollBack)),
    ("/v1/quit", Method::POST, Meaning::Order("quit", Instruction::Quit)),
];

enum Meaning {
    Question(Question),
    Refresh,
    Reload,
    Order(&'static str, Instruction),
}

/// What a request asks.
///
/// # Errors
/// [`Refusal`], with the status and the words of the answer.
pub fn question(door: Door, method: &Method, path: &str, query: Option<&str>) -> Result<Question, Refusal> {
    let found = PATHS.iter().find(|(known, ..)| *known == path);
    let (_, wanted, meaning) = found.ok_or(Refusal::Nothing)?;
    // Whoever may ask for a page may ask for its head alone.
    let is_asked = method == wanted || (*wanted == Method::GET && method == Method::HEAD);
    if !is_asked {
        return Err(Refusal::Method(wanted.clone()));
    }
    match meaning {
        Meaning::Question(question) => Ok(question.clone()),
        Meaning::Refresh if door == Door::Listener => Err(Refusal::ReadOnly("refresh")),
        Meaning::Reload if door == Door::Listener => Err(Refusal::ReadOnly("reload")),
        Meaning::Order(name, _) if door == Door::Listener => Err(Refusal::ReadOnly(name)),
        Meaning::Refresh => refresh_of(query.unwrap_or_default()),
        Meaning::Reload => Ok(Question::Reload),
        Meaning::Order(_, instruction) => Ok(Question::Do(instruction.clone())),
    }
}

/// Whether a listener that only this machine reaches may be asked under this name (the `Host` of a request).
///
/// Who attacks: a page that a browser on this machine shows. Its owner lets its name point to 127.0.0.1 afterwards, so that to the browser the
/// listener's answers are the page's own (DNS rebinding). An address, and `localhost`, nobody else can have.
pub fn is_local(host: &str) -> bool {
    let name =
        host.parse::<Authority>().map_or_else(|_| host.to_owned(), |place| place.host().to_lowercase());
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    bare.parse::<IpAddr>().is_ok() || bare == "localhost" || bare.ends_with(".localhost")
}

/// `secret=NAME`, any number of times, and `wait=30s`.
fn refresh_of(query: &str) -> Result<Question, Refusal> {
    let (mut secrets, mut wait) = (Vec::new(), None);
    for part in query.split('&').filter(|part| !part.is_empty()) {
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        let value = percent_decode_str(value).decode_utf8();
        let value = value.map_err(|_| Refusal::Parameter(format!("{key} is not UTF-8")))?;
        match key {
            "secret" => secrets.push(SecretName::new(value.into_owned())),
            "wait" => wait = Some(wait_of(&value)?),
            _ => return Err(Refusal::Parameter("only secret=NAME and wait=DURATION are known".to_owned())),
        }
    }
    Ok(Question::Refresh(secrets, wait))
}

fn wait_of(text: &str) -> Result<Duration, Refusal> {
    let wait = humantime::parse_duration(text).ok().filter(|wait| *wait <= LONGEST_WAIT);
    wait.ok_or_else(|| Refusal::Parameter("wait is a duration of at most 10m, such as wait=30s".to_owned()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn words(door: Door, request: &str) -> String {
        let (method, target) = request.split_once(' ').unwrap();
        let (path, query) =
            target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        match question(door, &method.parse().unwrap(), path, query) {
            Ok(question) => format!("{question:?}"),
            Err(refusal) => format!("{}", refusal.status().as_u16()),
        }
    }

    #[test]
    fn a_request_means_one_thing_or_is_refused() {
        let cases = [
            ("GET /livez", "Live", "Live"),
            ("HEAD /readyz", "Ready", "Ready"),
            ("GET /readyz?verbose", "Ready", "Ready"),
            ("GET /v1/status", "Status", "Status"),
            ("GET /metrics", "Metrics", "Metrics"),
            ("POST /metrics", "405", "405"),
            ("POST /v1/status", "405", "405"),
            ("GET /v1/refresh", "405", "405"),
            ("POST /v1/refresh", "Refresh([], None)", "403"),
            (
                "POST /v1/refresh?secret=db&secret=a%20b&wait=30s",
                r#"Refresh([SecretName("db"), SecretName("a b")], Some(30s))"#,
                "403",
            ),
            ("POST /v1/refresh?wait=11m", "400", "403"),
            ("POST /v1/refresh?wait=", "400", "403"),
            ("POST /v1/refresh?secret=%ff", "400", "403"),
            ("POST /v1/refresh?force=1", "400", "403"),
            ("POST /v1/reload", "Reload", "403"),
            ("GET /v1/reload", "405", "405"),
            ("POST /v1/webhook", "Webhook", "Webhook"),
            ("GET /v1/webhook", "405", "405"),
            ("POST /v1/hold", "Do(Hold)", "403"),
            ("POST /v1/quit", "Do(Quit)", "403"),
            ("DELETE /v1/quit", "405", "405"),
            ("GET /", "Page", "Page"),
            ("GET /index.html", "404", "404"),
            ("GET /livez/", "404", "404"),
            ("GET /v1/../livez", "404", "404"),
            ("GET //livez", "404", "404"),
            ("GET /LIVEZ", "404", "404"),
        ];
        for (request, at_socket, at_listener) in cases {
            assert_eq!(words(Door::Socket, request), at_socket, "{request}");
            assert_eq!(words(Door::Listener, request), at_listener, "{request}");
        }
    }

    #[test]
    fn the_description_has_every_path_with_its_method_and_no_other() {
        let description: serde_json::Value =
            serde_json::from_str(include_str!("../docs/openapi.json")).unwrap();
        let paths = description["paths"].as_object().unwrap();
        let described = paths.iter().flat_map(|(path, methods)| {
            methods.as_object().unwrap().keys().map(move |method| (path.clone(), method.to_uppercase()))
        });
        let known = PATHS.iter().map(|(path, method, _)| ((*path).to_owned(), method.to_string()));
        let (described, known): (BTreeSet<_>, BTreeSet<_>) = (described.collect(), known.collect());
        assert_eq!(described, known);
    }

    #[test]
    fn a_name_that_anybody_can_point_here_is_not_local() {
        for host in [
            "127.0.0.1",
            "127.0.0.1:9790",
            "[::1]:9790",
            "192.0.2.1",
            "localhost",
            "LOCALHOST:9790",
            "a.localhost",
        ] {
            assert!(is_local(host), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "evil.example:9790",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "evil@x",
            "notlocalhost",
        ] {
            assert!(!is_local(host), "{host}");
        }
    }

    #[test]
    fn only_what_is_signed_changes_anything_by_the_listener() {
        for (path, method, _) in &PATHS {
            let asked = question(Door::Listener, method, path, None);
            let is_signed = asked == Ok(Question::Webhook);
            assert_eq!(asked.is_ok(), method == Method::GET || is_signed, "{path}");
        }
    }
}
