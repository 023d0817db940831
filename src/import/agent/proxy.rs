//! `listener`, `api_proxy` and `cache`: what others ask of the server through the agent → `[proxy]`.
//!
//! *Invariant:* nobody may do more than before without a word: a listener that lends no token becomes no proxy, and one that others of the
//! network reach neither.

use std::net::SocketAddr;

use super::super::block::Reading;
use super::super::foreign::Proxy;
use super::super::hcl::{Block, Fields};
use super::super::{Notes, Place};
use super::dead;

/// Whose token counts for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Lends {
    /// The client's only.
    Nothing,
    /// The agent's, if the client has none.
    IfMissing,
    /// The agent's.
    Always,
}

/// Reads all three.
pub(super) fn read(fields: &mut Fields<'_>, reading: &mut Reading<'_>) {
    let (file, start) = (reading.file, reading.notes.count());
    let listeners = fields.blocks("listener").into_iter().flat_map(|block| block.labelled(LISTENER_KEYS));
    let listeners: Vec<Block<'_>> = listeners.collect();
    let mut lends = Lends::Nothing;
    for block in fields.blocks("cache") {
        cache(&block, !listeners.is_empty(), &mut lends, reading);
    }
    for block in fields.blocks("api_proxy") {
        let place = Fields::new(file, block.body).place(block.at);
        if listeners.is_empty() {
            reading.notes.told(place, "api_proxy", "nothing listens, so it is dead; left out");
        } else {
            let mut inner = Fields::new(file, block.body);
            lends = token(&mut inner, reading.notes).unwrap_or(lends);
            consistency(&mut inner, reading.notes);
            dead(&inner, "api_proxy", reading.notes);
        }
    }
    let mut made: Option<Proxy> = None;
    for block in &listeners {
        let kind = block.labels.first().map_or("listener", |label| label.name.as_str());
        if let Some(proxy) = listener(block, kind, lends, made.is_some(), reading) {
            made = Some(proxy);
        }
    }
    if let Some(mut proxy) = made {
        proxy.remarks = start..reading.notes.count();
        reading.foreign.proxy = Some(proxy);
    }
}

const LISTENER_KEYS: &[&str] = &[
    "type",
    "address",
    "tls_disable",
    "role",
    "agent_api",
    "proxy_api",
    "profiling",
    "require_request_header",
    "tls_cert_file",
    "tls_key_file",
    "socket_mode",
    "socket_user",
    "socket_group",
];

/// `use_auto_auth_token`, which may be a text.
fn token(fields: &mut Fields<'_>, notes: &mut Notes) -> Option<Lends> {
    const KEY: &str = "use_auto_auth_token";
    let place = fields.place_of(KEY);
    let lends = Lends::of(&fields.text(KEY, notes)?);
    if lends.is_none() {
        notes.left(place, KEY, "is none of true, false and \"force\", so it counts for nothing");
    }
    lends
}

impl Lends {
    /// As it is written.
    pub(in super::super) fn of(text: &str) -> Option<Self> {
        match text {
            "force" => Some(Self::Always),
            "true" | "1" => Some(Self::IfMissing),
            "false" | "0" | "" => Some(Self::Nothing),
            _ => None,
        }
    }
}

/// What there is to do about a proxy whose clients nobody knows.
pub(in super::super) const PATHS: &str = "the agent passes on whatever is asked, as far as the token may; here only what the templates read, and \
                                          the look at one's own token, is allowed: add what the clients ask for to `paths`, such as \
                                          \"secret/data/shop/*\". docs/proxy.md says how";
/// What becomes of a proxy that lends no token.
pub(in super::super) const LENDS_NOTHING: &str = "without `use_auto_auth_token` the agent passes each client's own token on and lends none. Squire's proxy \
                                                  lends its own, so there is none here: let these clients ask the server itself";

fn consistency(fields: &mut Fields<'_>, notes: &mut Notes) {
    for key in ["enforce_consistency", "when_inconsistent"] {
        if fields.take(key, notes).is_some() {
            let advice = "the proxy passes on what a client says about it, in X-Vault-Index and X-Vault-Inconsistent, and adds nothing; left out";
            notes.told(fields.place_of(key), key, advice);
        }
    }
    if fields.take("prepend_configured_namespace", notes).is_some() {
        let advice = "the proxy asks in the namespace of [source.vault], and refuses another one; left out";
        notes.told(fields.place_of("prepend_configured_namespace"), "prepend_configured_namespace", advice);
    }
}

fn cache(block: &Block<'_>, has_listener: bool, lends: &mut Lends, reading: &mut Reading<'_>) {
    let notes = &mut *reading.notes;
    let mut fields = Fields::new(reading.file, block.body);
    let place = fields.place(block.at);
    if let Some(said) = token(&mut fields, notes) {
        *lends = said;
    }
    consistency(&mut fields, notes);
    let is_static = fields.boolean("cache_static_secrets", notes) == Some(true);
    for key in [
        "disable_caching_dynamic_secrets",
        "static_secret_token_capability_refresh_interval",
        "static_secret_token_capability_refresh_behaviour",
    ] {
        if fields.take(key, notes).is_some() {
            let advice =
                "the proxy makes what is leased for each client, and keeps no value beyond `cache`; left out";
            notes.told(fields.place_of(key), key, advice);
        }
    }
    let persist = fields.blocks("persist");
    if !persist.is_empty() {
        reading.foreign.own.keeps_ledger = true;
        let advice = "token and leases outlive a restart in `agent.ledger`, which has to be in memory, as /run is; in a pod in a volume of both \
                      containers";
        notes.told(place.clone(), "cache.persist", advice);
    }
    let advice = match (has_listener, is_static) {
        (true, true) => {
            "equal requests at the same time are one; for values that are kept longer add cache = \"10s\", or more, to [proxy]"
        }
        (true, false) => {
            "equal requests at the same time are one; what is leased is made for each client, and no value is kept. For that add cache = \"10s\""
        }
        (false, _) => "Squire asks for each secret once, however many templates read it; left out",
    };
    notes.told(place, "cache", advice);
    dead(&fields, "cache", notes);
}

/// A listener as a proxy, if it can be one. `is_taken`: there is a proxy already.
fn listener(
    block: &Block<'_>,
    kind: &str,
    lends: Lends,
    is_taken: bool,
    reading: &mut Reading<'_>,
) -> Option<Proxy> {
    let mut fields = Fields::new(reading.file, block.body);
    let place = fields.place(block.at);
    let kind = fields.word("type", reading.notes).unwrap_or_else(|| kind.to_owned());
    let construct = format!("listener {kind:?}");
    let address = fields.word("address", reading.notes);
    let tells_only = fields.word("role", reading.notes).as_deref() == Some("metrics_only");
    let listen = listens(&kind, address.as_deref());
    let advice = match listen {
        _ if is_taken => {
            "Squire's proxy listens at one place: point its clients to that one, or leave the agent running for them"
        }
        _ if lends == Lends::Nothing => LENDS_NOTHING,
        Some(_) => PATHS,
        None => {
            "Squire's proxy is for this machine: a socket by an absolute path, or 127.0.0.1. If the clients are on this machine, or in this pod, \
             write [proxy] with listen = \"127.0.0.1:8200\" and their paths; for others leave the agent running"
        }
    };
    let listen = listen.filter(|_| !is_taken && lends != Lends::Nothing && !tells_only);
    // How it is reached matters only where there is one.
    let mut unheard = Notes::default();
    let heard = if listen.is_some() { &mut *reading.notes } else { &mut unheard };
    let users = access(&mut fields, &kind, heard);
    transport(&mut fields, &kind, heard);
    dead(&fields, "listener", reading.notes);
    if tells_only {
        metrics(address, &construct, place, reading);
        return None;
    }
    reading.notes.left(place, construct, advice);
    let lets_own_token = lends == Lends::IfMissing;
    listen.map(|listen| Proxy { listen, users, lets_own_token, ..Proxy::default() })
}

/// Where Squire's proxy would listen.
fn listens(kind: &str, address: Option<&str>) -> Option<String> {
    match (kind, address) {
        ("unix", path) => path.filter(|path| path.starts_with('/')).map(|path| format!("unix:{path}")),
        (_, address) => loopback(address.unwrap_or("127.0.0.1:8200")),
    }
}

/// An address of this machine.
fn loopback(address: &str) -> Option<String> {
    let numbers = address.replace("localhost:", "127.0.0.1:");
    let numbers: SocketAddr = numbers.parse().ok()?;
    (numbers.ip().is_loopback() && numbers.port() != 0).then(|| numbers.to_string())
}

/// Who may connect to a socket.
fn access(fields: &mut Fields<'_>, kind: &str, notes: &mut Notes) -> Vec<String> {
    let user = fields.word("socket_user", notes);
    for key in ["socket_mode", "socket_group"] {
        if fields.text(key, notes).is_some_and(|text| !text.is_empty()) && kind == "unix" {
            let advice = "at the socket Squire looks at the user of who connects: name those who may in `users` of [proxy]";
            notes.left(fields.place_of(key), key, advice);
        }
    }
    user.filter(|_| kind == "unix").into_iter().collect()
}

/// How requests come, and what else is there.
fn transport(fields: &mut Fields<'_>, kind: &str, notes: &mut Notes) {
    let is_plain = fields.boolean("tls_disable", notes) == Some(true);
    let mut has_tls = false;
    for key in [
        "tls_cert_file",
        "tls_key_file",
        "tls_min_version",
        "tls_max_version",
        "tls_cipher_suites",
        "tls_client_ca_file",
        "tls_require_and_verify_client_cert",
        "tls_disable_client_certs",
    ] {
        has_tls |= fields.take(key, notes).is_some();
    }
    if has_tls && !is_plain && kind != "unix" {
        let advice = "Squire's proxy has no TLS, since it is for this machine only: give the clients http:// in VAULT_ADDR, or a socket, \
                      unix:///run/squire/vault.sock";
        notes.left(fields.place_of("tls_cert_file"), "tls_cert_file", advice);
    }
    if fields.boolean("require_request_header", notes) != Some(true) {
        let advice = "Squire's proxy always asks for the header X-Vault-Request: true. Every SDK sends it; curl needs -H 'X-Vault-Request: true'";
        notes.told_once(fields.place_of("require_request_header"), "require_request_header", advice);
    }
    for key in ["agent_api", "proxy_api", "profiling"] {
        if !fields.blocks(key).is_empty() {
            let advice = "orders go to Squire's own socket (`squire status`, `squire reload`); left out";
            notes.told(fields.place_of(key), key, advice);
        }
    }
}

/// A listener that tells figures and nothing else.
fn metrics(address: Option<String>, construct: &str, place: Place, reading: &mut Reading<'_>) {
    let listen = address.and_then(|address| address.parse::<SocketAddr>().ok());
    if let Some(listen) = listen.filter(|_| reading.foreign.own.listen.is_none()) {
        reading.foreign.own.listen = Some(listen.to_string());
        let advice = "Squire's own figures are at /metrics of `agent.listen`, under names of their own: docs/metrics.md";
        reading.notes.told(place, construct, advice);
    } else {
        let advice = "figures are at `agent.listen`, an address such as \"127.0.0.1:9790\"; this is none, or is a second one";
        reading.notes.left(place, construct, advice);
    }
}
