//! What was looked at in a store, and what is wrong with it.

use super::witness::Point;

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Where.
    pub place: String,
    /// What is wrong there.
    pub why: String,
}

/// What was looked at, and what was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Environments.
    pub environments: u64,
    /// Secrets.
    pub secrets: u64,
    /// Versions whose values opened.
    pub versions: u64,
    /// Entries of the audit.
    pub entries: u64,
    /// The last of them that was read: to be kept elsewhere.
    pub end: Option<Point>,
    /// All that is wrong.
    pub findings: Vec<Finding>,
}

impl Report {
    pub(super) fn find(&mut self, place: impl Into<String>, why: impl Into<String>) {
        self.findings.push(Finding { place: place.into(), why: why.into() });
    }
}
