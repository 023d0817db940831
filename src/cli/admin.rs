//! Opens what others learn of Squire by: the socket, the listener, and the service manager.

use std::net::TcpListener;

use prometheus_client::registry::Registry;
use tokio::sync::mpsc;

use super::load::Origin;
use crate::admin::events::Feed;
use crate::admin::place::Place;
use crate::admin::serve::Server;
use crate::agent::{Ask, chain};
use crate::config::Config;
use crate::fact::Told;
use crate::fact::metrics::{Counters, PREFIX};
use crate::systemd::Herald;
use crate::systemd::notify::Manager;

/// The variable that says where the socket is.
pub(super) const SOCKET: &str = "SQUIRE_SOCKET";

/// Where the socket of this configuration is.
pub(super) fn place(config: &Config, origin: &Origin) -> Option<Place> {
    let file = match origin {
        Origin::File(file) => Some(file.as_path()),
        Origin::Environment(_) => None,
    };
    Place::of(config, file, std::env::var(SOCKET).ok())
}

/// Those who follow what happens.
pub(super) struct Followers {
    feed: Feed,
    counters: Counters,
    manager: Option<(Manager, Herald)>,
}

impl Followers {
    /// Tells them.
    pub(super) fn tell(&mut self, told: &Told) {
        self.feed.tell(told);
        self.counters.tell(told);
        if let Some((manager, herald)) = &mut self.manager {
            manager.tell(herald.hear(&told.fact));
        }
    }
}

/// Serves socket and listener, and returns who follows and who serves; `None` if nobody can ask, and nobody wants to know what is measured.
/// Without its socket an agent still does its work. An address that was asked for and cannot be had is an error, since somebody watches it.
pub(super) fn open(
    config: &Config,
    place: Option<&Place>,
    is_measured: bool,
    asks: mpsc::Sender<Ask>,
) -> Result<Option<(Followers, Server)>, String> {
    let listen = config.agent.listen;
    let manager = Manager::of_this_process();
    let manager =
        manager.map_err(|error| format!("cannot start the thread for the service manager: {error}"))?;
    if place.is_none() && listen.is_none() && manager.is_none() && !is_measured {
        return Ok(None);
    }
    let feed = Feed::default();
    if let Some(manager) = manager.clone() {
        drop(tokio::spawn(manager.keep_watchdog(asks.clone())));
    }
    let mut registry = Registry::with_prefix(PREFIX);
    let counters = Counters::new(&mut registry);
    let server = Server::new(asks, feed.clone(), registry);
    if let Some(address) = listen {
        let bound = TcpListener::bind(address);
        bound
            .and_then(|listener| server.serve_listener(listener))
            .map_err(|error| format!("agent.listen: cannot listen at {address}: {error}"))?;
        tracing::info!(%address, "status may be read by whoever reaches this address");
    }
    let bound = place.inspect(|place| place.sweep(config)).map(Place::bind).transpose();
    match bound {
        Ok(Some(bound)) => {
            if let Err(error) = server.serve_socket(bound) {
                tracing::warn!(error = chain(&error), "going on without the admin socket");
            }
        }
        Ok(None) => {}
        Err(error) => tracing::warn!(error = chain(&error), "going on without the admin socket"),
    }
    let manager = manager.map(|manager| (manager, Herald::default()));
    Ok(Some((Followers { feed, counters, manager }, server)))
}
