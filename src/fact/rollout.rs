//! What happens to a release.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use tracing::{debug, error, info, warn};

use super::{listed, seconds};
use crate::names::{Generation, Revision, SecretName};
use crate::ordered::Order as _;
use crate::plain::short;
use crate::publish::Exposure;
use crate::status::{Outcome, Step};

/// Something that happened to a release.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the variants and their fields are the words of the log lines below")]
pub enum RolloutFact {
    NotRendered {
        generation: Generation,
        errors: Vec<String>,
    },
    Published {
        generation: Generation,
        changed: BTreeSet<PathBuf>,
        env_changed: bool,
    },
    NotPublished {
        generation: Generation,
        error: String,
        again_in: Duration,
    },
    Committed {
        generation: Generation,
    },
    NotPassed {
        generation: Generation,
        why: String,
        again_in: Duration,
    },
    Unhealthy {
        generation: Generation,
        why: String,
    },
    TakenBack {
        from: Generation,
        to: Generation,
        again_in: Duration,
    },
    NoWayBack {
        generation: Generation,
        dead: Vec<SecretName>,
    },
    Held {
        secrets: Vec<SecretName>,
    },
    AwaitsWindow {
        generation: Generation,
        latest: Option<Duration>,
    },
    BeforeWindow {
        generation: Generation,
    },
    OnHold,
    HoldEnded,
    AwaitsRelease {
        generation: Generation,
    },
    RollingBack {
        secrets: Vec<SecretName>,
    },
    /// It is over, and this is what it was: the values that are new in it, and each step.
    Over {
        generation: Generation,
        outcome: Outcome,
        took: Duration,
        steps: Vec<(Step, Duration)>,
        renewed: Vec<(SecretName, Revision)>,
    },
    NotDiscarded {
        error: String,
    },
    NotRetired {
        generation: Generation,
        error: String,
    },
    TimedOut {
        waited: Duration,
        missing: Vec<SecretName>,
        errors: Vec<String>,
    },
    Waiting {
        waited: Duration,
        missing: Vec<SecretName>,
        errors: Vec<String>,
    },
    Hopeless {
        errors: Vec<String>,
    },
    Exposed(Exposure),
    FormerCleared {
        removed: Vec<PathBuf>,
    },
    NotEnrolled {
        error: String,
    },
    Swept,
    NotSwept {
        error: String,
    },
}

impl RolloutFact {
    /// Its name, for machines.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::NotRendered { .. } => "rollout_not_rendered",
            Self::Published { .. } => "rollout_published",
            Self::NotPublished { .. } => "rollout_not_published",
            Self::Committed { .. } => "rollout_committed",
            Self::NotPassed { .. } => "rollout_not_passed",
            Self::Unhealthy { .. } => "rollout_unhealthy",
            Self::TakenBack { .. } => "rollout_taken_back",
            Self::NoWayBack { .. } => "rollout_no_way_back",
            Self::Held { .. } => "rollout_held",
            Self::AwaitsWindow { .. } => "rollout_awaits_window",
            Self::BeforeWindow { .. } => "rollout_before_window",
            Self::OnHold => "rollout_on_hold",
            Self::HoldEnded => "rollout_hold_ended",
            Self::AwaitsRelease { .. } => "rollout_awaits_release",
            Self::RollingBack { .. } => "rollout_rolling_back",
            Self::Over { .. } => "rollout_over",
            Self::NotDiscarded { .. } => "rollout_not_discarded",
            Self::NotRetired { .. } => "rollout_not_retired",
            Self::TimedOut { .. } => "rollout_timed_out",
            Self::Waiting { .. } => "rollout_waiting",
            Self::Hopeless { .. } => "rollout_hopeless",
            Self::Exposed(_) => "rollout_exposed",
            Self::FormerCleared { .. } => "rollout_former_cleared",
            Self::NotEnrolled { .. } => "rollout_not_enrolled",
            Self::Swept => "rollout_swept",
            Self::NotSwept { .. } => "rollout_not_swept",
        }
    }

    /// The release that it happened to; nothing if it is of no one release.
    pub fn generation(&self) -> Option<Generation> {
        match self {
            Self::NotRendered { generation, .. }
            | Self::Published { generation, .. }
            | Self::NotPublished { generation, .. }
            | Self::Committed { generation }
            | Self::NotPassed { generation, .. }
            | Self::Unhealthy { generation, .. }
            | Self::TakenBack { from: generation, .. }
            | Self::NoWayBack { generation, .. }
            | Self::AwaitsWindow { generation, .. }
            | Self::BeforeWindow { generation }
            | Self::AwaitsRelease { generation }
            | Self::Over { generation, .. }
            | Self::NotRetired { generation, .. } => Some(*generation),
            Self::Held { .. }
            | Self::OnHold
            | Self::HoldEnded
            | Self::RollingBack { .. }
            | Self::NotDiscarded { .. }
            | Self::TimedOut { .. }
            | Self::Waiting { .. }
            | Self::Hopeless { .. }
            | Self::Exposed(_)
            | Self::FormerCleared { .. }
            | Self::NotEnrolled { .. }
            | Self::Swept
            | Self::NotSwept { .. } => None,
        }
    }

    pub(super) fn log(&self, trace: Option<&str>) {
        match self {
            Self::NotRendered { generation, errors } => {
                for error in errors {
                    error!(%generation, trace, error, "release not rendered");
                }
            }
            Self::Published { generation, changed, env_changed: false } if changed.is_empty() => {
                debug!(%generation, trace, "nothing changed, what is published stays");
            }
            Self::Published { generation, changed, env_changed } => {
                info!(%generation, trace, changed = names(changed), env_changed, "generation published");
            }
            Self::NotPublished { generation, error, again_in } => {
                error!(%generation, trace, error, again_in_s = seconds(*again_in), "generation not published");
            }
            Self::Committed { generation } => debug!(%generation, trace, "generation committed"),
            Self::NotPassed { generation, why, again_in } => {
                error!(%generation, trace, why, again_in_s = seconds(*again_in), "generation failed its check, what is published stays");
            }
            Self::Unhealthy { generation, why } => {
                error!(%generation, trace, why, "process is not well with the new generation");
            }
            Self::TakenBack { from, to, again_in } => {
                warn!(%from, %to, trace, again_in_s = seconds(*again_in), "generation taken back, the one before is live again");
            }
            Self::NoWayBack { generation, dead } if dead.is_empty() => {
                error!(%generation, trace, "first generation stays, there is none to go back to");
            }
            Self::NoWayBack { generation, dead } => {
                error!(%generation, trace, dead = listed(dead), "generation stays: what it replaced is dead, so there is no way back");
            }
            Self::Held { secrets } => {
                warn!(
                    secrets = listed(secrets),
                    "held at the last good value until the source has something newer"
                );
            }
            Self::AwaitsWindow { generation, latest } => info!(
                %generation, trace, goes_at_the_latest_in_s = latest.map(seconds), "generation waits for rollout.window"
            ),
            Self::BeforeWindow { generation } => {
                warn!(%generation, trace, "generation goes outside rollout.window: what is live would end first");
            }
            Self::OnHold => {
                warn!("rollouts are on hold by order: what is live stays until they are released");
            }
            Self::HoldEnded => info!("rollouts are released"),
            Self::AwaitsRelease { generation } => {
                info!(%generation, trace, "generation waits: rollouts are on hold");
            }
            Self::RollingBack { secrets } => {
                warn!(secrets = listed(secrets), "going back by order to the values before");
            }
            Self::Over { generation, outcome, took, .. } => {
                debug!(%generation, trace, outcome = outcome.word(), took_s = seconds(*took), "rollout over");
            }
            Self::NotDiscarded { error } => warn!(error, "staged files not removed"),
            Self::NotRetired { generation, error } => {
                warn!(%generation, trace, error, "old generation not removed");
            }
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
                let removed: BTreeSet<PathBuf> = removed.iter().cloned().ordered();
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

/// The first of them: `each` makes a file of each field, and whoever may write the secret must not fill the log.
fn names(paths: &BTreeSet<PathBuf>) -> String {
    const MOST: usize = 50;
    let mut names: Vec<String> = paths.iter().take(MOST).map(|path| short(&path.to_string_lossy())).collect();
    if let Some(more @ 1..) = paths.len().checked_sub(MOST) {
        names.push(format!("and {more} more"));
    }
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_many_files_are_some_and_their_number() {
        let paths = |count: usize| (0..count).map(|at| PathBuf::from(format!("{at:05}"))).collect();
        assert_eq!(names(&paths(0)), "");
        assert_eq!(names(&paths(2)), "00000, 00001");
        assert!(names(&paths(50)).ends_with(", 00049"));
        assert!(names(&paths(30_000)).ends_with(", 00049, and 29950 more"));
        assert!(names(&[PathBuf::from("n".repeat(5000)), "\u{202e}".into()].into()).len() < 100);
    }
}
