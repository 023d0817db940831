//! What became of a question to a source.

use std::sync::Arc;
use std::time::Duration;

use tracing::debug;

use crate::names::{Accessor, LeaseId, RequestId, SecretName, SourceName};

/// One question to a source, and what became of it. Metrics count it and take its time; the audit has a line for each.
#[derive(Clone, Debug, PartialEq)]
pub struct QuestionFact {
    /// What was asked.
    pub kind: QuestionKind,
    /// About what.
    pub about: Subject,
    /// What came back.
    pub outcome: Outcome,
    /// The time from the question to the answer.
    pub took: Duration,
    /// As whom: the method of the login and its role, `approle web`.
    pub login: Arc<str>,
    /// The token's name at the server, where this answer had it.
    pub accessor: Option<Accessor>,
    /// What the server calls the request, where it says so: the last one, if the question took several.
    pub request: Option<RequestId>,
}

/// What was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(
    missing_docs,
    reason = "they are the methods of `Source`, of which those about the token and those about a lease are one kind; \
              `Forward` is what a client of the proxy asked"
)]
pub enum QuestionKind {
    LogIn,
    Fetch,
    Renew,
    LookUp,
    Revoke,
    Wrap,
    Forward,
}

impl QuestionKind {
    /// Its word in labels and records.
    pub fn word(self) -> &'static str {
        match self {
            Self::LogIn => "login",
            Self::Fetch => "fetch",
            Self::Renew => "renew",
            Self::LookUp => "look_up",
            Self::Revoke => "revoke",
            Self::Wrap => "wrap",
            Self::Forward => "forward",
        }
    }
}

/// What a question was about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The token of the source.
    Token,
    /// A secret.
    Secret {
        /// Its name in the configuration.
        secret: SecretName,
        /// Its path at the source.
        path: String,
    },
    /// A lease.
    Lease(LeaseId),
    /// What a client of the proxy asked for: the path alone, without the query.
    Path(String),
}

impl Subject {
    /// The secret that is fetched.
    pub(super) fn secret(&self) -> Option<&SecretName> {
        match self {
            Self::Secret { secret, .. } => Some(secret),
            Self::Token | Self::Lease(_) | Self::Path(_) => None,
        }
    }

    /// The path at the source: of a lease, that of the secret that it was made for.
    pub fn path(&self) -> Option<&str> {
        match self {
            Self::Token => None,
            Self::Secret { path, .. } | Self::Path(path) => Some(path),
            Self::Lease(lease) => {
                Some(lease.as_str().rsplit_once('/').map_or(lease.as_str(), |(path, _)| path))
            }
        }
    }
}

/// What came back: an answer, or the class of the fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "but for the first they are the classes of `Fault`")]
pub enum Outcome {
    Done,
    Unreachable,
    Failing,
    Awaiting,
    Refused,
    Denied,
    Dead,
    Gone,
    Malformed,
}

impl Outcome {
    /// Its word in labels and records.
    pub fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Unreachable => "unreachable",
            Self::Failing => "failing",
            Self::Awaiting => "awaiting",
            Self::Refused => "refused",
            Self::Denied => "denied",
            Self::Dead => "dead",
            Self::Gone => "gone",
            Self::Malformed => "malformed",
        }
    }
}

impl QuestionFact {
    pub(super) fn log(&self, source: &SourceName) {
        let Self { kind, about, outcome, took, login: _, accessor: _, request } = self;
        debug!(
            %source, kind = kind.word(), path = about.path(), outcome = outcome.word(), took_ms = millis(*took),
            request_id = request.as_ref().map(RequestId::as_str), "source asked"
        );
    }
}

/// Most answers come in less than the tenth of a second to which other durations are written.
fn millis(duration: Duration) -> u64 {
    duration.as_millis().try_into().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_about_the_path_that_made_it() {
        let lease = |id: &str| Subject::Lease(LeaseId::new(id));
        assert_eq!(lease("database/creds/app/Jx2").path(), Some("database/creds/app"));
        assert_eq!(lease("odd").path(), Some("odd"));
        assert_eq!(Subject::Token.path(), None);
    }
}
