//! What happens to a reload.

use tracing::{debug, error, info, warn};

use super::listed;
use crate::names::SecretName;

/// Something that happened to a reload.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the variants and their fields are the words of the log lines below")]
pub enum ReloadFact {
    Begun,
    UpToDate,
    Awaited { missing: Vec<SecretName>, errors: Vec<String> },
    Reloaded { added: Vec<String>, removed: Vec<String>, changed: Vec<String> },
    NotReloaded { problems: Vec<String> },
}

impl ReloadFact {
    /// Its name, for machines.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::Begun => "reload_begun",
            Self::UpToDate => "reload_up_to_date",
            Self::Awaited { .. } => "reload_awaited",
            Self::Reloaded { .. } => "reloaded",
            Self::NotReloaded { .. } => "not_reloaded",
        }
    }

    pub(super) fn log(&self) {
        match self {
            Self::Begun => debug!("configuration is read anew"),
            Self::UpToDate => info!("configuration read anew, nothing differs"),
            Self::Awaited { missing, errors } => {
                let (missing, errors) = (listed(missing), errors.join("; "));
                warn!(
                    missing,
                    errors, "new configuration waits for its secrets, the one before holds meanwhile"
                );
            }
            Self::Reloaded { added, removed, changed } => {
                let (added, removed, changed) = (added.join(", "), removed.join(", "), changed.join(", "));
                info!(added, removed, changed, "configuration reloaded");
            }
            Self::NotReloaded { problems } => {
                for problem in problems {
                    error!(problem, "configuration not reloaded, the one before holds");
                }
            }
        }
    }
}
