//! One vocabulary of what happened; log lines, events, metrics and audit records derive from it.
//!
//! The machines report [`Fact`]s as values, so that a test can compare them; [`Fact::tell`] is where they become log lines with
//! a constant message and fields, and where whoever listens gets them. Levels say who must act: `error` somebody now, `warn` somebody
//! soon, `info` nobody.
//!
//! *Invariant:* a fact holds names, numbers and outcomes, never a value.

mod hearing;
mod process;
mod rollout;
mod secret;
mod source;

use std::time::Duration;

pub use hearing::{Told, hear};
pub use process::ProcessFact;
pub use rollout::RolloutFact;
pub use secret::SecretFact;
pub use source::SourceFact;

use crate::names::{SecretName, SourceName};
use crate::plain::plain;

/// Something that happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Fact {
    /// To a source: its login and its token.
    Source(SourceName, SourceFact),
    /// To a secret: its value and its lease.
    Secret(SecretName, SecretFact),
    /// To a release.
    Rollout(RolloutFact),
    /// To the process, or to a command.
    Process(ProcessFact),
}

impl Fact {
    /// Writes the log line, and hands the fact to whoever listens.
    pub fn tell(self) {
        match &self {
            Self::Source(source, fact) => fact.log(source),
            Self::Secret(secret, fact) => fact.log(secret),
            Self::Rollout(fact) => fact.log(),
            Self::Process(fact) => fact.log(),
        }
        hearing::pass_on(self);
    }
}

impl From<RolloutFact> for Fact {
    fn from(fact: RolloutFact) -> Self {
        Self::Rollout(fact)
    }
}

impl From<ProcessFact> for Fact {
    fn from(fact: ProcessFact) -> Self {
        Self::Process(fact)
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
