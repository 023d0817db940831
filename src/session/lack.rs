//! Why there is no value of a secret yet, and whether waiting can change that.
//!
//! *Invariant:* pure.

use std::time::Instant;

use super::{Effect, Session};
use crate::lease;
use crate::names::{SecretName, SourceName};
use crate::source::Fault;

/// Some secrets have no value yet, or nobody who is to have it can be shown the token of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lack {
    /// The source whose token cannot be shown.
    pub login: Option<SourceName>,
    /// These.
    pub secrets: Vec<SecretName>,
    /// What the source said.
    pub why: String,
    /// What may become of it.
    pub outlook: Outlook,
}

/// What may become of a lack if everybody just waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outlook {
    /// The source is asked again, and may have another answer by then.
    Open,
    /// Nobody asks before this time.
    ClosedUntil(Instant),
    /// The source has said it often enough: only somebody who mends something changes it.
    Closed,
}

impl Outlook {
    /// Whether nothing can change before this time.
    pub fn is_closed_until(self, time: Instant) -> bool {
        match self {
            Self::Open => false,
            Self::ClosedUntil(at) => time <= at,
            Self::Closed => true,
        }
    }

    /// Of a secret that could not be fetched so many times in a row.
    pub(super) fn of_secret(fault: &Fault, failures: u32) -> Self {
        match fault {
            // A standby may say so wrongly, but not for long.
            Fault::Denied { .. } | Fault::Gone { .. } if failures >= lease::FIRST_TRIES => Self::Closed,
            Fault::Denied { .. }
            | Fault::Gone { .. }
            | Fault::Unreachable { .. }
            | Fault::Failing { .. }
            | Fault::Awaiting { .. }
            | Fault::Refused { .. }
            | Fault::Dead
            | Fault::Malformed { .. } => Self::Open,
        }
    }

    /// Of a login that failed and is tried again at this time.
    fn of_login(fault: &Fault, again_at: Instant) -> Self {
        match fault {
            Fault::Refused { .. } => Self::ClosedUntil(again_at),
            Fault::Denied { .. }
            | Fault::Gone { .. }
            | Fault::Unreachable { .. }
            | Fault::Failing { .. }
            | Fault::Awaiting { .. }
            | Fault::Dead
            | Fault::Malformed { .. } => Self::Open,
        }
    }
}

impl Session {
    /// Without a login nobody has a value: the agent is told, if any secret lacks one, or if the token is all that is wanted here.
    pub(super) fn lacks_login(&self, fault: &Fault, again_at: Instant) -> Option<Effect> {
        let lacking = self.secrets.iter().filter(|(_, tracked)| !tracked.has_value() && !tracked.leaves);
        let secrets: Vec<_> = lacking.map(|(name, _)| name.clone()).collect();
        let outlook = Outlook::of_login(fault, again_at);
        (!secrets.is_empty() || self.secrets.is_empty()).then(|| {
            let login = Some(self.source.clone());
            Effect::Lack(Lack { login, secrets, why: fault.to_string(), outlook })
        })
    }
}
