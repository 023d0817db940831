//! The report of `verify`: what was checked, and what is wrong.

use crate::chain::Point;

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The place.
    pub place: String,
    /// What is wrong there.
    pub why: String,
}

/// What was checked, and what was found.
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
    /// The last entry that was read: keep it outside of the store.
    pub end: Option<Point>,
    /// Everything that is wrong.
    pub findings: Vec<Finding>,
}

impl Report {
    pub(super) fn find(&mut self, place: impl Into<String>, why: impl Into<String>) {
        self.findings.push(Finding { place: place.into(), why: why.into() });
    }
}
