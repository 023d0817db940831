//! What happens to a release.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use tracing::{debug, error, info, warn};

use super::seconds;
use crate::names::{Generation, SecretName};
use crate::publish::Exposure;

/// Something that happened to a release.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the variants and their fields are the words of the log lines below")]
pub enum RolloutFact {
    NotRendered { generation: Generation, errors: Vec<String> },
    Published { generation: Generation, changed: BTreeSet<PathBuf>, env_changed: bool },
    NotPublished { generation: Generation, error: String, again_in: Duration },
    Committed { generation: Generation },
    NotPassed { generation: Generation, why: String, again_in: Duration },
    Unhealthy { generation: Generation, why: String },
    TakenBack { from: Generation, to: Generation, again_in: Duration },
    NoWayBack { generation: Generation, dead: Vec<SecretName> },
    Held { secrets: Vec<SecretName> },
    AwaitsWindow { generation: Generation, latest: Option<Duration> },
    BeforeWindow { generation: Generation },
    NotDiscarded { error: String },
    NotRetired { generation: Generation, error: String },
    TimedOut { waited: Duration, missing: Vec<SecretName>, errors: Vec<String> },
    Waiting { waited: Duration, missing: Vec<SecretName>, errors: Vec<String> },
    Hopeless { errors: Vec<String> },
    Exposed(Exposure),
    FormerCleared { removed: Vec<PathBuf> },
    NotEnrolled { error: String },
    Swept,
    NotSwept { error: String },
}

impl RolloutFact {
    pub(super) fn log(&self) {
        match self {
            Self::NotRendered { generation, errors } => {
                for error in errors {
                    error!(%generation, error, "release not rendered");
                }
            }
            Self::Published { generation, changed, env_changed: false } if changed.is_empty() => {
                debug!(%generation, "nothing changed, what is published stays");
            }
            Self::Published { generation, changed, env_changed } => {
                info!(%generation, changed = names(changed), env_changed, "generation published");
            }
            Self::NotPublished { generation, error, again_in } => {
                error!(%generation, error, again_in_s = seconds(*again_in), "generation not published");
            }
            Self::Committed { generation } => debug!(%generation, "generation committed"),
            Self::NotPassed { generation, why, again_in } => {
                error!(%generation, why, again_in_s = seconds(*again_in), "generation failed its check, what is published stays");
            }
            Self::Unhealthy { generation, why } => {
                error!(%generation, why, "process is not well with the new generation");
            }
            Self::TakenBack { from, to, again_in } => {
                warn!(%from, %to, again_in_s = seconds(*again_in), "generation taken back, the one before is live again");
            }
            Self::NoWayBack { generation, dead } if dead.is_empty() => {
                error!(%generation, "first generation stays, there is none to go back to");
            }
            Self::NoWayBack { generation, dead } => {
                error!(%generation, dead = listed(dead), "generation stays: what it replaced is dead, so there is no way back");
            }
            Self::Held { secrets } => {
                warn!(
                    secrets = listed(secrets),
                    "held at the last good value until the source has something newer"
                );
            }
            Self::AwaitsWindow { generation, latest } => info!(
                %generation, goes_at_the_latest_in_s = latest.map(seconds), "generation waits for rollout.window"
            ),
            Self::BeforeWindow { generation } => {
                warn!(%generation, "generation goes outside rollout.window: what is live would end first");
            }
            Self::NotDiscarded { error } => warn!(error, "staged files not removed"),
            Self::NotRetired { generation, error } => warn!(%generation, error, "old generation not removed"),
            Self::TimedOut { waited, missing, errors } => {
                let missing = listed(missing);
                let errors = errors.join("; ");
                error!(waited_s = seconds(*waited), missing, errors, "no complete release in time");
            }
            Self::Waiting { waited, missing, errors } => {
                let missing = listed(missing);
                let errors = errors.join("; ");
                warn!(
                    waited_s = seconds(*waited),
                    missing, errors, "still waiting for the first complete release"
                );
            }
            Self::Hopeless { errors } => {
                let errors = errors.join("; ");
                error!(
                    errors,
                    "giving up: waiting does not change this; correct the configuration or the source, and start again"
                );
            }
            Self::Exposed(exposure) => warn!(
                %exposure,
                "files are not safe from being exchanged; a directory that only squire writes to would be, all the way from the root"
            ),
            Self::FormerCleared { removed } => {
                let removed: BTreeSet<PathBuf> = removed.iter().cloned().collect();
                info!(removed = names(&removed), "files of an earlier run removed, which was killed");
            }
            Self::NotEnrolled { error } => {
                warn!(error, "after a kill, a run with other paths will not know what to remove");
            }
            Self::Swept => debug!("published files removed"),
            Self::NotSwept { error } => warn!(error, "published files not removed"),
        }
    }
}

fn listed(secrets: &[SecretName]) -> String {
    secrets.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn names(paths: &BTreeSet<PathBuf>) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}
