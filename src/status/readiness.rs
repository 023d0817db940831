//! Whether what Squire serves can be relied on.
//!
//! Ready means: a release is live, its process runs, and none of its values is past its end. What can still be relied on is ready, however
//! much is wrong behind it: an outage of a source, a value that is held, rollouts on hold.

use serde::{Deserialize, Serialize};

use super::{AgentStatus, SecretState, SecretStatus};
use crate::names::SecretName;

/// Whether it is ready, and everything that keeps it from being so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Readiness {
    /// Whether it is.
    pub is_ready: bool,
    /// Why it is not.
    pub reasons: Vec<Unready>,
}

/// One reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "reason")]
pub enum Unready {
    /// No release is live yet.
    NoRelease {
        /// The secrets that have no value yet.
        missing: Vec<SecretName>,
        /// Why.
        why: Vec<String>,
    },
    /// The process does not run.
    NoProcess {
        /// How it ended, if one ran.
        last_ending: Option<String>,
    },
    /// A value of the live release is past its end.
    Expired {
        /// The secret.
        secret: SecretName,
    },
}

impl Readiness {
    pub(super) fn of(agent: &AgentStatus, secrets: &[SecretStatus]) -> Self {
        let mut reasons = Vec::new();
        if agent.generation.live.is_none() {
            let missing = agent.missing.iter().cloned().collect();
            reasons.push(Unready::NoRelease { missing, why: agent.trouble.clone() });
        }
        if let Some(process) = agent.process.as_ref().filter(|process| process.pids.is_empty()) {
            reasons.push(Unready::NoProcess { last_ending: process.last_ending.clone() });
        }
        let expired = secrets.iter().filter(|secret| secret.state == SecretState::Expired);
        reasons.extend(expired.map(|secret| Unready::Expired { secret: secret.name.clone() }));
        Self { is_ready: reasons.is_empty(), reasons }
    }
}

/// As people read it.
impl std::fmt::Display for Unready {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoRelease { missing, why } => {
                f.write_str("no release is live yet")?;
                if !missing.is_empty() {
                    let names: Vec<_> = missing.iter().map(SecretName::as_str).collect();
                    write!(f, "; there is no value of {}", names.join(", "))?;
                }
                why.iter().try_for_each(|why| write!(f, "; {why}"))
            }
            Self::NoProcess { last_ending: Some(ending) } => write!(f, "the process does not run: {ending}"),
            Self::NoProcess { last_ending: None } => f.write_str("the process does not run yet"),
            Self::Expired { secret } => write!(f, "the value of {secret} is past its end"),
        }
    }
}
