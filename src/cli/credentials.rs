//! Opens the sockets that systemd asks for credentials.

use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use nix::sys::socket::sockopt::{AcceptConn, SockType as OfType};
use nix::sys::socket::{SockType, UnixAddr, getsockname, getsockopt};
use nix::unistd::geteuid;
use tokio::sync::{mpsc, watch};

use super::prepare::random;
use crate::admin::place::{Bound, Place};
use crate::agent::lifecycle::Showing;
use crate::agent::{Counter as ToAgent, Event, Setup, chain};
use crate::audit::Gate;
use crate::config::Problem;
use crate::credential::Scope;
use crate::credential::held::Held;
use crate::credential::serve::Counter;
use crate::ledger::file::Ledger;
use crate::supervise::Listeners;

/// What the command line says of it.
#[derive(Args, Debug)]
pub(super) struct Asked {
    /// Where systemd asks, unless it handed over a socket (a .socket unit); made for its owner alone
    #[arg(long, value_name = "PATH")]
    listen: Option<PathBuf>,
    /// Serve the units of this user (systemctl --user), and not those of the machine
    #[arg(long)]
    user: bool,
}

impl Asked {
    pub(super) fn wanted(self) -> Wanted {
        let scope = if self.user { Scope::User(geteuid().as_raw()) } else { Scope::System };
        Wanted { listen: self.listen, scope }
    }
}

/// Who is to be served, and where.
pub(super) struct Wanted {
    listen: Option<PathBuf>,
    scope: Scope,
}

/// Sockets that are listened to.
pub(super) struct Doors {
    scope: Scope,
    sockets: Vec<UnixListener>,
    bound: Option<Bound>,
}

/// Credentials that are served.
pub(super) struct Open {
    pub(super) counter: ToAgent,
    pub(super) showing: Showing,
    /// Ends the serving.
    pub(super) serving: Counter,
    /// Its file goes with it.
    pub(super) bound: Option<Bound>,
}

/// A configuration that has credentials, and no process: that is for `squire run`.
///
/// # Errors
/// What is there, or is not, and the way out.
pub(super) fn require(setup: Setup) -> Result<Setup, Vec<String>> {
    let config = &setup.config;
    if setup.plan.process.is_some() {
        let message = "`squire serve-credentials` runs no process; take `command` away, and run the process by a configuration of its own";
        return Err(vec![Problem::new(config.process.setting.place.clone(), message).to_string()]);
    }
    if config.credentials.is_empty() {
        let message = "there is no credential to serve; add [[credential]] with name = \"db-password\", units = [\"shop.service\"] and inline = \
                       \"{{db.password}}\"";
        return Err(vec![message.to_owned()]);
    }
    Ok(setup)
}

impl Wanted {
    /// Takes over what the service manager handed over, or listens. Call it once, before there are threads.
    ///
    /// # Errors
    /// What stands in the way, and the way out.
    pub(super) fn open(self) -> Result<Doors, String> {
        let handed_over = Listeners::handed_over().map_err(|error| chain(&error))?.into_sockets();
        let scope = self.scope;
        if !handed_over.is_empty() {
            let sockets = handed_over.into_iter().map(listener).collect::<Result<_, _>>()?;
            return Ok(Doors { scope, sockets, bound: None });
        }
        let path = self.listen.ok_or(
            "nobody could ask: systemd handed over no socket; start it by a .socket unit, or write --listen /run/squire/credentials.sock",
        )?;
        let bound = Place::File(path).bind();
        let bound = bound.map_err(|error| error.to_string().replace("agent.socket", "--listen"))?;
        let socket = bound.listener.try_clone().map_err(|error| format!("--listen: {error}"))?;
        Ok(Doors { scope, sockets: vec![socket], bound: Some(bound) })
    }
}

/// systemd asks a stream socket of this machine, and nothing else is one that may be asked.
fn listener(socket: OwnedFd) -> Result<UnixListener, String> {
    let is_stream = getsockopt(&socket, OfType) == Ok(SockType::Stream);
    let is_local = getsockname::<UnixAddr>(socket.as_raw_fd()).is_ok();
    if is_stream && is_local && getsockopt(&socket, AcceptConn) == Ok(true) {
        Ok(UnixListener::from(socket))
    } else {
        Err("a socket that the service manager handed over is not one that systemd asks for credentials: the .socket unit needs ListenStream= \
             with a path, and Accept=no"
            .to_owned())
    }
}

impl Doors {
    /// The directory that has to be written to, since the socket's file goes in the end.
    pub(super) fn directory(&self) -> Option<&Path> {
        self.bound.as_ref().and_then(|bound| bound.place.directory())
    }

    /// Serves, within the runtime.
    ///
    /// # Errors
    /// When the runtime cannot take a socket.
    pub(super) fn serve(
        self,
        gate: Gate,
        ledger: Option<Arc<Ledger>>,
        agent: mpsc::UnboundedSender<Event>,
    ) -> Result<Open, String> {
        let Self { scope, sockets, bound } = self;
        let (shown, seen) = watch::channel(None);
        // An agent that is gone needs to know nothing.
        let tell = move |given| drop(agent.send(Event::Given(given)));
        let counter = Counter::new(scope, gate, seen, Arc::new(tell));
        for socket in sockets {
            counter.serve(socket).map_err(|error| format!("cannot serve credentials: {error}"))?;
        }
        let at = bound
            .as_ref()
            .map_or_else(|| "the service manager's".to_owned(), |bound| bound.place.to_string());
        tracing::info!(socket = at, "units may ask for their credentials");
        let held = match ledger.as_deref().map(held) {
            Some(Some(held)) => held,
            Some(None) | None => Held::new(random()?),
        };
        let serving = counter;
        let counter = ToAgent { scope, held };
        Ok(Open { counter, showing: Showing { shown, ledger }, serving, bound })
    }
}

/// Who holds what, as an earlier run left it.
fn held(ledger: &Ledger) -> Option<Held> {
    let kept = ledger.holders().inspect_err(|error| {
        tracing::warn!(
            error = chain(error),
            "who held which credential is not known: units are not told of what changed meanwhile"
        );
    });
    Held::read(kept.ok()??.expose())
}
