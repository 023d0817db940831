//! What happens to a secret: its value and its lease.

use std::time::{Duration, SystemTime};

use tracing::{debug, error, info, warn};

use super::seconds;
use crate::names::{LeaseId, Revision, SecretName};

/// Something that happened to a secret.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the variants and their fields are the words of the log lines below")]
pub enum SecretFact {
    Fetched { next_in: Duration, revision: Revision, written: Option<SystemTime> },
    Adopted { next_in: Duration },
    Same { next_in: Duration },
    NotFetched { error: String, again_in: Duration, holds_a_value: bool, still_valid: Option<Duration> },
    Recovered,
    Expired { next_in: Duration },
    Renewed { ttl: Duration, next_in: Duration },
    NotRenewed { error: String, again_in: Duration },
    Ending { left: Duration },
    Lost,
    Revoked { lease: LeaseId },
    NotRevoked { lease: LeaseId, error: String },
}

impl SecretFact {
    /// Its name, for machines.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::Fetched { .. } => "secret_fetched",
            Self::Adopted { .. } => "secret_adopted",
            Self::Same { .. } => "secret_same",
            Self::NotFetched { .. } => "secret_not_fetched",
            Self::Recovered => "secret_recovered",
            Self::Expired { .. } => "secret_expired",
            Self::Renewed { .. } => "secret_renewed",
            Self::NotRenewed { .. } => "secret_not_renewed",
            Self::Ending { .. } => "secret_ending",
            Self::Lost => "secret_lost",
            Self::Revoked { .. } => "secret_revoked",
            Self::NotRevoked { .. } => "secret_not_revoked",
        }
    }

    pub(super) fn log(&self, secret: &SecretName) {
        match self {
            Self::Fetched { next_in, .. } => info!(%secret, next_in_s = seconds(*next_in), "secret fetched"),
            Self::Adopted { next_in } => {
                info!(%secret, next_in_s = seconds(*next_in), "lease of an earlier run adopted");
            }
            Self::Same { next_in } => debug!(%secret, next_in_s = seconds(*next_in), "secret unchanged"),
            Self::NotFetched { error, again_in, holds_a_value, still_valid } => warn!(
                %secret, error = %error, again_in_s = seconds(*again_in), holds_a_value, still_valid_s = still_valid.map(seconds),
                "secret not fetched"
            ),
            Self::Recovered => info!(%secret, "secret can be fetched again"),
            Self::Expired { next_in } => {
                error!(%secret, next_in_s = seconds(*next_in), "secret is past its end, what is published is no longer good");
            }
            Self::Renewed { ttl, next_in } => {
                debug!(%secret, ttl_s = seconds(*ttl), next_in_s = seconds(*next_in), "lease renewed");
            }
            Self::NotRenewed { error, again_in } => {
                warn!(%secret, error = %error, again_in_s = seconds(*again_in), "lease not renewed");
            }
            Self::Ending { left } => {
                info!(%secret, left_s = seconds(*left), "lease can be renewed no further, it will be replaced");
            }
            Self::Lost => warn!(%secret, "lease is lost, replacing it"),
            Self::Revoked { lease } => debug!(%secret, %lease, "lease revoked"),
            Self::NotRevoked { lease, error } => warn!(%secret, %lease, error = %error, "lease not revoked"),
        }
    }
}
