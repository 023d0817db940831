//! What happens to webhooks.

use std::net::IpAddr;

use tracing::{info, warn};

use crate::names::SecretName;

/// A webhook that was read. `from` is nobody's address where it came by the socket.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the variants and their fields are the words of the log lines below")]
pub enum WebhookFact {
    Accepted { from: Option<IpAddr>, secrets: Vec<SecretName> },
    Refused { from: Option<IpAddr>, why: String },
}

impl WebhookFact {
    /// Its name, for machines.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::Accepted { .. } => "webhook_accepted",
            Self::Refused { .. } => "webhook_refused",
        }
    }

    pub(super) fn log(&self) {
        match self {
            Self::Accepted { from, secrets } if secrets.is_empty() => {
                info!(from = %sender(*from), "webhook accepted, all secrets are fetched");
            }
            Self::Accepted { from, secrets } => {
                let secrets: Vec<_> = secrets.iter().map(SecretName::as_str).collect();
                info!(from = %sender(*from), secrets = secrets.join(", "), "webhook accepted, these secrets are fetched");
            }
            Self::Refused { from, why } => warn!(from = %sender(*from), error = why, "webhook refused"),
        }
    }
}

fn sender(from: Option<IpAddr>) -> String {
    from.map_or_else(|| "the socket".to_owned(), |address| address.to_string())
}
