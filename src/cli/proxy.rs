//! Opens the proxy: where it listens, who may come, and what they may ask.

use std::net::TcpListener;

use nix::sys::stat::Mode;
use nix::unistd::User;

use crate::admin::place::{Bound, Place};
use crate::agent::lifecycle::{Farewell, Settled};
use crate::audit::Gate;
use crate::config::{Account, Config, ProxyConfig, ProxyListen, SourceConfig};
use crate::names::SourceName;
use crate::plan;
use crate::policy::vault;
use crate::proxy::allowed::{Allowed, Entry};
use crate::proxy::client::Users;
use crate::proxy::line::Line;
use crate::proxy::serve::Proxy;
use crate::proxy::{Rules, Verb};

/// A place where the proxy listens already.
pub(super) struct At {
    config: ProxyConfig,
    listener: Listener,
}

enum Listener {
    Socket(Bound, Users),
    Address(TcpListener),
}

/// A proxy that serves.
pub(super) struct Open {
    proxy: Proxy,
    source: SourceName,
    line: Line,
    /// Its file goes with it.
    _bound: Option<Bound>,
}

/// Listens; before the agent is confined.
///
/// # Errors
/// What stands in the way, and the way out.
pub(super) fn bind(config: &ProxyConfig, whole: &Config) -> Result<At, String> {
    let failed = |why: String| format!("proxy.listen: {}", why.replace("agent.socket", "proxy.listen"));
    let listener = match &config.listen {
        ProxyListen::Socket(path) => {
            let users = users(config, whole)?;
            // Whoever else may come has to get to the socket; who it is, the kernel says.
            let mode = if users.is_empty() { 0o600 } else { 0o666 };
            let bound = Place::File(path.clone()).bind_for(Mode::from_bits_truncate(mode));
            Listener::Socket(bound.map_err(|error| failed(error.to_string()))?, users)
        }
        ProxyListen::Loopback(address) => {
            let bound = TcpListener::bind(address);
            Listener::Address(bound.map_err(|error| failed(format!("cannot listen at {address}: {error}")))?)
        }
    };
    Ok(At { config: config.clone(), listener })
}

/// The users that are named, or that of the process.
fn users(config: &ProxyConfig, whole: &Config) -> Result<Users, String> {
    let of_process: Vec<Account> = whole.process.setting.user.iter().cloned().collect();
    let number = |account: &Account| match account {
        Account::Id(number) => Ok(*number),
        Account::Name(name) => match User::from_name(name) {
            Ok(Some(user)) => Ok(user.uid.as_raw()),
            Ok(None) | Err(_) => Err(format!("proxy.users: there is no user {name}")),
        },
    };
    config.users.as_ref().unwrap_or(&of_process).iter().map(number).collect()
}

/// The users whom this machine does not have.
pub(super) fn strangers(config: &ProxyConfig) -> Vec<&str> {
    let named = config.users.iter().flatten().filter_map(|account| match account {
        Account::Name(name) => Some(name.as_str()),
        Account::Id(_) => None,
    });
    named.filter(|name| !matches!(User::from_name(name), Ok(Some(_)))).collect()
}

impl At {
    /// Serves, within the runtime.
    pub(super) fn open(self, whole: &Config, gate: Gate) -> Result<Open, String> {
        let Self { config, listener } = self;
        let line = Line::default();
        let proxy = Proxy::new(&config, rules(&config, whole), line.clone(), gate);
        let failed = |error| format!("proxy.listen: {error}");
        let bound = match listener {
            Listener::Socket(bound, users) => {
                let listener = bound.listener.try_clone().map_err(failed)?;
                proxy.serve_socket(listener, users).map_err(failed)?;
                tracing::info!(socket = %bound.place, source = %config.source, "programs may ask the secret server through the proxy");
                Some(bound)
            }
            Listener::Address(listener) => {
                let address = listener.local_addr().map_err(failed)?;
                proxy.serve_address(listener).map_err(failed)?;
                tracing::info!(%address, source = %config.source, "every program of this machine may ask the secret server through the proxy");
                None
            }
        };
        Ok(Open { proxy, source: config.source, line, _bound: bound })
    }
}

impl Open {
    /// The source whose token it uses, and where it hears of it.
    pub(super) fn line(&self) -> (SourceName, Line) {
        (self.source.clone(), self.line.clone())
    }
}

/// Gives back what the proxy's clients hold; its socket goes with it.
pub(super) fn farewell(open: Option<Open>) -> Farewell {
    Box::pin(async move {
        if let Some(open) = open {
            open.proxy.end().await;
        }
    })
}

/// After a reload the proxy allows what the new configuration does.
pub(super) fn settled(open: Option<&Open>) -> Settled {
    let proxy = open.map(|open| open.proxy.clone());
    Box::new(move |setup| {
        if let (Some(proxy), Some(config)) = (&proxy, &setup.config.proxy) {
            proxy.set_rules(rules(config, &setup.config));
        }
    })
}

fn rules(config: &ProxyConfig, whole: &Config) -> Rules {
    let namespace = match whole.sources.get(&config.source) {
        Some(SourceConfig::Vault(vault)) => vault.namespace.clone(),
        Some(SourceConfig::Store(_) | SourceConfig::Aws(_)) | None => None,
    };
    let allowed = match &config.paths {
        Some(paths) => Allowed::written(paths),
        None => of_secrets(whole, &config.source),
    };
    Rules {
        allowed,
        auto_auth: config.auto_auth,
        namespace: namespace.unwrap_or_default(),
        is_loopback: matches!(config.listen, ProxyListen::Loopback(_)),
    }
}

/// What the secrets of the configuration ask for, and not more.
fn of_secrets(config: &Config, source: &SourceName) -> Allowed {
    let asked = vault::asked(&plan::of_source(config, source)).into_iter();
    let entry = |(path, is_pattern, capability)| {
        let verbs: &[Verb] = match capability {
            "list" => &[Verb::List],
            "update" => &[Verb::Write],
            _ => &[Verb::Read],
        };
        Entry { path, is_pattern, verbs }
    };
    Allowed(asked.map(entry).collect())
}
