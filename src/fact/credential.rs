//! What happens to credentials that units of systemd ask for.

use tracing::{info, warn};

use super::listed;
use crate::names::{Generation, SecretName};

/// A unit asked for a credential, or somebody else did.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the variants and their fields are the words of the log lines below")]
pub enum CredentialFact {
    Given { unit: String, credential: String, secrets: Vec<SecretName>, generation: Generation },
    Refused { unit: Option<String>, credential: Option<String>, why: String },
    Stranger { user: Option<u32>, times: u64 },
    Outdated { units: Vec<String> },
    NotKept { error: String },
}

impl CredentialFact {
    /// Its name, for machines.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::Given { .. } => "credential_given",
            Self::Refused { .. } => "credential_refused",
            Self::Stranger { .. } => "credential_stranger_refused",
            Self::Outdated { .. } => "credential_outdated",
            Self::NotKept { .. } => "credential_holders_not_kept",
        }
    }

    /// The release that it is about.
    pub(super) fn generation(&self) -> Option<Generation> {
        match self {
            Self::Given { generation, .. } => Some(*generation),
            Self::Refused { .. } | Self::Stranger { .. } | Self::Outdated { .. } | Self::NotKept { .. } => {
                None
            }
        }
    }

    pub(super) fn log(&self) {
        match self {
            Self::Given { unit, credential, secrets, generation } => {
                info!(unit, credential, secrets = listed(secrets), %generation, "a unit has its credential");
            }
            Self::Refused { unit, credential, why } => {
                let (unit, credential) = (unit.as_deref(), credential.as_deref());
                warn!(unit, credential, error = why, "a credential is refused, so the unit does not start");
            }
            Self::Stranger { user, times } => {
                warn!(user, times, "somebody who is not systemd asks for credentials, and is refused");
            }
            Self::Outdated { units } => {
                info!(units = units.join(", "), "these units hold a credential of before, and are told");
            }
            Self::NotKept { error } => {
                warn!(
                    error,
                    "who holds which credential is not in the ledger, so a restart of squire forgets it"
                );
            }
        }
    }
}
