//! What the audit says of some of it, and how much there is of everything.
//!
//! *Invariant:* for the owner: nobody else has the keys of every entry.

use std::time::SystemTime;

use serde::Serialize;

use super::access::Store;
use super::audit::{About, Action, Outcome};
use super::error::{StoreError, damaged};
use super::head::Head;
use super::journal::{record, walk};
use super::moment::Moment;
use super::power::environments;
use super::rows::all_heads;

/// Which entries are wanted: all that nothing here is against.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// About what begins so.
    pub about: String,
    /// By whom.
    pub who: Option<String>,
    /// What was done, in the audit's words.
    pub action: Option<String>,
    /// What came of it.
    pub outcome: Option<Outcome>,
    /// Not before this.
    pub since: Option<Moment>,
    /// No more than the last so many.
    pub last: Option<usize>,
}

/// An entry of the audit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Record {
    /// Which, from 1 on.
    pub number: u64,
    /// When.
    pub at: Moment,
    /// The name of the role, or `owner`.
    pub who: String,
    /// What was done.
    pub action: Action,
    /// What came of it.
    pub outcome: Outcome,
    /// With which secret, or with what else.
    pub about: String,
    /// With which version of it.
    pub version: Option<u64>,
}

/// How much there is of everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Stats {
    /// Environments.
    pub environments: u64,
    /// Secrets that can be read.
    pub secrets: u64,
    /// Those that were deleted.
    pub deleted: u64,
    /// Versions of all of them.
    pub versions: u64,
    /// Roles.
    pub roles: u64,
    /// Entries of the audit.
    pub audit_entries: u64,
    /// Secrets with a policy.
    pub with_policy: u64,
    /// Those whose rotation is due, and since when.
    pub overdue: Vec<(String, Moment)>,
    /// Those whose last rotation failed, and why.
    pub failing: Vec<(String, String)>,
    /// The size of the file, in bytes.
    pub bytes: u64,
}

impl Store {
    /// The entries of the audit that are wanted, the oldest first.
    ///
    /// # Errors
    /// A chain that is broken: what is behind that place cannot be read.
    pub fn query(&mut self, query: &Query) -> Result<Vec<Record>, StoreError> {
        self.as_owner("read the audit", |writing, id, root, keys| {
            let environments = environments(writing, id, root)?;
            let mut records = Vec::new();
            let (_, broken) = walk(writing, id, root, &environments, |number, entry, subject| {
                let (about, version) = match (entry.about, subject) {
                    (About::Named(name), _) => (name, None),
                    (About::Secret { .. }, Some(subject)) => (subject.path, subject.version),
                    (About::Secret { .. }, None) => (String::new(), None),
                };
                let (at, who, action, outcome) = (entry.at, entry.who, entry.action, entry.outcome);
                let record = Record { number, at, who, action, outcome, about, version };
                if query.wants(&record) {
                    records.push(record);
                }
            })?;
            if let Some(found) = broken {
                return Err(damaged(&found.place, &found.why));
            }
            if let Some(last) = query.last {
                records.drain(..records.len().saturating_sub(last));
            }
            record(writing, id, keys, Action::Audit, Outcome::Done, About::Named("the audit".to_owned()))?;
            Ok(records)
        })
    }

    /// How much there is of everything.
    pub fn stats(&mut self) -> Result<Stats, StoreError> {
        self.as_owner("look at all of a store", |writing, id, root, keys| {
            let now = SystemTime::now().into();
            let count = |sql: &str| {
                Ok::<u64, StoreError>(writing.one(sql, [], |row| row.get(0))?.unwrap_or_default())
            };
            let mut stats = Stats {
                roles: count("SELECT count(*) FROM roles")?,
                audit_entries: count("SELECT count(*) FROM audit")?,
                bytes: count("PRAGMA page_count")? * count("PRAGMA page_size")?,
                ..Stats::default()
            };
            for environment in environments(writing, id, root)? {
                stats.environments += 1;
                for (_, head) in all_heads(writing, id, &environment)? {
                    stats.count(&head, now);
                }
            }
            record(writing, id, keys, Action::Stats, Outcome::Done, About::Named("the store".to_owned()))?;
            Ok(stats)
        })
    }
}

impl Query {
    fn wants(&self, record: &Record) -> bool {
        let Self { about, who, action, outcome, since, last: _ } = self;
        record.about.starts_with(about.as_str())
            && who.as_ref().is_none_or(|who| *who == record.who)
            && action.as_ref().is_none_or(|action| *action == record.action.word())
            && outcome.is_none_or(|outcome| outcome == record.outcome)
            && since.is_none_or(|since| since <= record.at)
    }
}

impl Stats {
    fn count(&mut self, head: &Head, now: Moment) {
        let state = if head.is_live() { &mut self.secrets } else { &mut self.deleted };
        *state += 1;
        self.versions += head.versions.len() as u64;
        self.with_policy += u64::from(head.policy.is_some());
        let overdue = head.policy.as_ref().and_then(|policy| policy.overdue(head, now));
        self.overdue.extend(overdue.map(|since| (head.path.clone(), since)));
        self.failing.extend(head.rotation.trouble.clone().map(|why| (head.path.clone(), why)));
    }
}
