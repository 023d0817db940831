//! One vocabulary of what happened; log lines, events, metrics and audit records derive from it.
//!
//! The machines report [`Fact`]s as values, so that a test can compare them; [`Fact::tell`] is where they become log lines with
//! a constant message and fields, and where whoever listens gets them. Levels say who must act: `error` somebody now, `warn` somebody
//! soon, `info` nobody.
//!
//! *Invariant:* a fact holds names, numbers and outcomes, never a value.

pub mod audit;
mod credential;
mod hearing;
pub mod metrics;
mod process;
mod question;
mod reload;
mod rollout;
mod secret;
mod source;
mod trail;
mod webhook;

use std::time::Duration;

pub use credential::CredentialFact;
pub use hearing::{Told, hear};
pub use process::ProcessFact;
pub use question::{Outcome, QuestionFact, QuestionKind, Subject};
pub use reload::ReloadFact;
pub use rollout::RolloutFact;
pub use secret::SecretFact;
pub use source::SourceFact;
pub use trail::AuditFact;
pub use webhook::WebhookFact;

use crate::names::{Generation, SecretName, SourceName, Trace};
use crate::plain::plain;

/// Something that happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Fact {
    /// To a source: its login and its token.
    Source(SourceName, SourceFact),
    /// To a question to a source.
    Question(SourceName, QuestionFact),
    /// To a secret: its value and its lease.
    Secret(SecretName, SecretFact),
    /// To a release; with the id of its rollout, where it has one by then.
    Rollout(Option<Trace>, RolloutFact),
    /// To the process, or to a command.
    Process(ProcessFact),
    /// To a reload of the configuration.
    Reload(ReloadFact),
    /// To the audit.
    Audit(AuditFact),
    /// To a webhook.
    Webhook(WebhookFact),
    /// To a credential of a unit.
    Credential(CredentialFact),
}

impl Fact {
    /// Writes the log line, and hands the fact to whoever listens.
    pub fn tell(self) {
        match &self {
            Self::Source(source, fact) => fact.log(source),
            Self::Question(source, fact) => fact.log(source),
            Self::Secret(secret, fact) => fact.log(secret),
            Self::Rollout(trace, fact) => fact.log(trace.as_ref().map(Trace::as_str)),
            Self::Process(fact) => fact.log(),
            Self::Reload(fact) => fact.log(),
            Self::Audit(fact) => fact.log(),
            Self::Webhook(fact) => fact.log(),
            Self::Credential(fact) => fact.log(),
        }
        hearing::pass_on(self);
    }
}

impl Fact {
    /// The source or the secret that it happened to.
    pub fn subject(&self) -> (Option<&SourceName>, Option<&SecretName>) {
        match self {
            Self::Source(source, _) => (Some(source), None),
            Self::Question(source, fact) => (Some(source), fact.about.secret()),
            Self::Secret(secret, _) => (None, Some(secret)),
            Self::Rollout(..)
            | Self::Process(_)
            | Self::Reload(_)
            | Self::Audit(_)
            | Self::Webhook(_)
            | Self::Credential(_) => (None, None),
        }
    }

    /// The release that it happened to.
    pub fn generation(&self) -> Option<Generation> {
        match self {
            Self::Rollout(_, fact) => fact.generation(),
            Self::Credential(fact) => fact.generation(),
            Self::Source(..)
            | Self::Question(..)
            | Self::Secret(..)
            | Self::Process(_)
            | Self::Reload(_)
            | Self::Audit(_)
            | Self::Webhook(_) => None,
        }
    }

    /// The id of the rollout that it belongs to.
    pub fn trace(&self) -> Option<&Trace> {
        match self {
            Self::Rollout(trace, _) => trace.as_ref(),
            Self::Source(..)
            | Self::Question(..)
            | Self::Secret(..)
            | Self::Process(_)
            | Self::Reload(_)
            | Self::Audit(_)
            | Self::Webhook(_)
            | Self::Credential(_) => None,
        }
    }

    /// Its name, for machines.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Source(_, fact) => fact.word(),
            Self::Question(..) => "source_asked",
            Self::Secret(_, fact) => fact.word(),
            Self::Rollout(_, fact) => fact.word(),
            Self::Process(fact) => fact.word(),
            Self::Reload(fact) => fact.word(),
            Self::Audit(fact) => fact.word(),
            Self::Webhook(fact) => fact.word(),
            Self::Credential(fact) => fact.word(),
        }
    }
}

impl From<RolloutFact> for Fact {
    fn from(fact: RolloutFact) -> Self {
        Self::Rollout(None, fact)
    }
}

impl From<ProcessFact> for Fact {
    fn from(fact: ProcessFact) -> Self {
        Self::Process(fact)
    }
}

impl From<ReloadFact> for Fact {
    fn from(fact: ReloadFact) -> Self {
        Self::Reload(fact)
    }
}

/// Names of secrets as one field of a log line.
fn listed(secrets: &[SecretName]) -> String {
    secrets.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

impl From<CredentialFact> for Fact {
    fn from(fact: CredentialFact) -> Self {
        Self::Credential(fact)
    }
}

impl From<AuditFact> for Fact {
    fn from(fact: AuditFact) -> Self {
        Self::Audit(fact)
    }
}

/// An error with its causes, as log lines show it: `a: b: c`. Names in it may be somebody else's.
pub fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    plain(&causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))).into_owned()
}

/// A duration as a field of a log line, whose name ends with `_s`: a number for machines, to a tenth of a second. The log of a terminal
/// shows it with its unit. What is without end has no such field.
pub(crate) fn seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::chain;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot read {name}")]
    struct Outer {
        name: &'static str,
        source: std::fmt::Error,
    }

    #[test]
    fn an_error_is_one_line_that_forges_nothing() {
        let error = Outer { name: "x\nERROR forged\u{1b}[2J\u{202e}", source: std::fmt::Error };
        let cause = std::fmt::Error.to_string();
        assert_eq!(chain(&error), format!("cannot read x\\nERROR forged\\u{{1b}}[2J\\u{{202e}}: {cause}"));
    }
}
