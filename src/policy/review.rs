//! What a source allows, compared with what the configuration needs.
//!
//! *Invariant:* pure. Nothing here is a secret: not the questions, and not what is kept of the answers.

mod aws;
mod store;
mod vault;

use std::fmt;

pub use aws::{AwsFacts, Kept, aws};
pub use store::store;
pub use vault::{VaultFacts, probes, vault};

use super::{Rule, Weight};

/// The most lines about one thing.
const MOST: usize = 10;

/// The answer for one right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is there.
    Allowed,
    /// It is not, and this is known about that.
    Missing(String),
    /// It is not, and Squire does without it; this is worse then.
    Without(String),
    /// Nobody could say.
    Unknown(String),
}

/// One right that is needed, and whether it is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Where.
    pub path: String,
    /// What.
    pub capability: &'static str,
    /// What for.
    pub why: String,
    /// Whether.
    pub verdict: Verdict,
}

/// What a source allows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Review {
    /// A line for each right that is needed.
    pub lines: Vec<Line>,
    /// Secrets that cannot be read as the configuration asks for them, whatever is allowed.
    pub wrong: Vec<String>,
    /// What a reviewer should worry about.
    pub worries: Vec<String>,
    /// What the answers do not tell.
    pub notes: Vec<String>,
}

impl Review {
    /// How many rights are missing or not known, and how many secrets cannot be read in any case.
    pub fn lacks(&self) -> usize {
        let lacks = |line: &&Line| matches!(line.verdict, Verdict::Missing(_) | Verdict::Unknown(_));
        self.lines.iter().filter(lacks).count() + self.wrong.len()
    }
}

impl Line {
    fn new(path: &str, rule: &Rule, verdict: Verdict) -> Self {
        Self { path: path.to_owned(), capability: rule.capability, why: rule.why.clone(), verdict }
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, capability, why, verdict } = self;
        match verdict {
            Verdict::Allowed => write!(f, "allowed  {capability} {path}: {why}"),
            Verdict::Missing(known) => write!(f, "MISSING  {capability} {path}: {why}; {known}"),
            Verdict::Without(worse) => write!(f, "without  {capability} {path}: {worse}"),
            Verdict::Unknown(reason) => write!(f, "UNKNOWN  {capability} {path}: {why}; {reason}"),
        }
    }
}

/// What it means that a right is not there.
fn absent(rule: &Rule, known: String) -> Verdict {
    match rule.weight {
        Weight::Needed => Verdict::Missing(known),
        Weight::Helps(without) => Verdict::Without(without.to_owned()),
        Weight::Asks => Verdict::Without("this check knows less".to_owned()),
    }
}

/// The first of them, and how many more there are.
fn bounded(mut lines: Vec<String>) -> Vec<String> {
    let more = lines.len().saturating_sub(MOST);
    if more > 0 {
        lines.truncate(MOST);
        lines.push(format!("and {more} more of this kind"));
    }
    lines
}
