//! Who hears of facts while Squire runs.

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::agent::Event;
use crate::audit::writer::Audit;
use crate::audit::{AuditError, Gate};
use crate::cli::admin::Followers;
use crate::cli::otlp::Exports;
use crate::config::AuditConfig;
use crate::fact::Told;

/// Hands every fact to whoever wants it. Without anybody no task runs.
pub(super) struct Audience {
    gate: Gate,
    listening: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

impl Audience {
    /// Opens the audit, if there is one; `heard` is where facts arrive. An audit that cannot be written may end the agent.
    pub(super) fn gather(
        audit: Option<AuditConfig>,
        followers: Option<Followers>,
        exports: Option<Exports>,
        heard: Option<mpsc::UnboundedReceiver<Told>>,
        agent: &mpsc::UnboundedSender<Event>,
    ) -> Result<Self, AuditError> {
        let agent = agent.clone();
        // An agent that is gone has ended already.
        let end = move || drop(agent.send(Event::Failed));
        let audit = audit.map(|config| Audit::start(config, end)).transpose()?;
        let gate = audit.as_ref().map(Audit::gate).unwrap_or_default();
        let listeners = Listeners { audit, followers, exports };
        let listening = heard.filter(|_| !listeners.are_none()).map(|heard| {
            let (end, ended) = oneshot::channel();
            (end, tokio::spawn(listen(heard, listeners, ended)))
        });
        Ok(Self { gate, listening })
    }

    /// Whether a new secret may be fetched.
    pub(super) fn gate(&self) -> Gate {
        self.gate.clone()
    }

    /// The end: everything that was told is handed on before this returns.
    pub(super) async fn dismiss(self) {
        if let Some((end, listening)) = self.listening {
            drop(end);
            // It ends by itself, unless it panicked, which is said elsewhere.
            drop(listening.await);
        }
    }
}

struct Listeners {
    audit: Option<Audit>,
    followers: Option<Followers>,
    exports: Option<Exports>,
}

impl Listeners {
    fn are_none(&self) -> bool {
        self.audit.is_none() && self.followers.is_none() && self.exports.is_none()
    }

    fn tell(&mut self, told: Told) {
        if let Some(followers) = &mut self.followers {
            followers.tell(&told);
        }
        if let Some(exports) = &mut self.exports {
            exports.tell(&told);
        }
        if let Some(audit) = &self.audit {
            audit.tell(told);
        }
    }
}

async fn listen(
    mut heard: mpsc::UnboundedReceiver<Told>,
    mut listeners: Listeners,
    mut ended: oneshot::Receiver<()>,
) {
    loop {
        // Either arm may be dropped: a fact stays in its channel, and the end stays the end.
        tokio::select! {
            told = heard.recv() => match told {
                Some(told) => listeners.tell(told),
                None => break,
            },
            _ = &mut ended => break,
        }
    }
    heard.close();
    while let Some(told) = heard.recv().await {
        listeners.tell(told);
    }
    if let Some(audit) = listeners.audit {
        audit.close();
    }
    if let Some(exports) = listeners.exports {
        exports.close().await;
    }
}
