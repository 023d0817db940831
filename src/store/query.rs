//! Queries of the audit, and counts of everything in the store.
//!
//! *Invariant:* only for the owner: nobody else has the keys of every entry.

use std::collections::VecDeque;
use std::time::SystemTime;

use serde::Serialize;

use super::access::Store;
use super::audit::{About, Action, Entry, Outcome};
use super::error::{StoreError, damaged};
use super::head::Head;
use super::moment::Moment;
use super::power::environments;
use super::refusals::{self, Refused};
use super::rows::all_heads;
use super::walk::{Visited, base, walk};

/// A filter of entries; an empty one matches all.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// The object begins with this.
    pub about: String,
    /// The writer.
    pub who: Option<String>,
    /// The action, in the audit's words.
    pub action: Option<String>,
    /// The result.
    pub outcome: Option<Outcome>,
    /// The earliest time.
    pub since: Option<Moment>,
    /// Only the last entries, this many.
    pub last: Option<usize>,
}

/// An entry of the audit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Record {
    /// Its number, from 1 on.
    pub number: u64,
    /// When.
    pub at: Moment,
    /// The name of the role, or `owner`.
    pub who: String,
    /// The action.
    pub action: Action,
    /// The result.
    pub outcome: Outcome,
    /// The secret, or another object.
    pub about: String,
    /// The version.
    pub version: Option<u64>,
}

/// Counts of everything in the store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Stats {
    /// Environments.
    pub environments: u64,
    /// Secrets that can be read.
    pub secrets: u64,
    /// Secrets that were deleted.
    pub deleted: u64,
    /// Versions of all secrets.
    pub versions: u64,
    /// Roles.
    pub roles: u64,
    /// Entries of the audit.
    pub audit_entries: u64,
    /// Secrets with a policy.
    pub with_policy: u64,
    /// Secrets whose rotation is due, and since when.
    pub overdue: Vec<(String, Moment)>,
    /// Secrets whose last rotation failed, and why.
    pub failing: Vec<(String, String)>,
    /// The size of the file, in bytes.
    pub bytes: u64,
}

impl Store {
    /// The entries that match, the oldest first.
    ///
    /// # Errors
    /// If the chain is broken: entries after that place cannot be read.
    pub fn query(&mut self, query: &Query) -> Result<Vec<Record>, StoreError> {
        let about = (Action::Audit, "the audit");
        self.look_as_owner("read the audit", about, |reading, id, root, _| {
            let mut records = VecDeque::new();
            let (start, _) = base(reading, id, root)?;
            let walked = walk(reading, id, root, start, |visited| {
                let record = Record::of(visited);
                if query.wants(&record) {
                    records.push_back(record);
                }
                if query.last.is_some_and(|last| records.len() > last) {
                    records.pop_front();
                }
                Ok(())
            })?;
            match walked.broken {
                Some(found) => Err(damaged(&found.place, &found.why)),
                None => Ok(records.into()),
            }
        })
    }

    /// The refused log-ins, by the minute.
    pub fn refused(&mut self) -> Result<Vec<Refused>, StoreError> {
        let about = (Action::Audit, "refused log-ins");
        self.look_as_owner("read the audit", about, |reading, _, _, _| refusals::all(reading))
    }

    /// Counts everything.
    pub fn stats(&mut self) -> Result<Stats, StoreError> {
        self.look_as_owner("look at all of a store", (Action::Stats, "the store"), |reading, id, root, _| {
            let now = SystemTime::now().into();
            let count = |sql: &str| {
                Ok::<u64, StoreError>(reading.one(sql, [], |row| row.get(0))?.unwrap_or_default())
            };
            let mut stats = Stats {
                roles: count("SELECT count(*) FROM roles")?,
                audit_entries: count("SELECT count(*) FROM audit")?,
                bytes: count("PRAGMA page_count")? * count("PRAGMA page_size")?,
                ..Stats::default()
            };
            for environment in environments(reading, id, root)? {
                stats.environments += 1;
                for (_, head) in all_heads(reading, id, &environment)? {
                    stats.count(&head, now);
                }
            }
            Ok(stats)
        })
    }
}

impl Record {
    pub(super) fn of(visited: Visited<'_>) -> Self {
        let Visited { at: point, who, entry: Entry { at, action, outcome, about }, .. } = visited;
        let (about, version) = match about {
            About::Named(name) | About::Revoked { name, .. } => (name, None),
            About::Secret { path, version, .. } => (path, version),
            About::Owner { .. } => ("the owner's key".to_owned(), None),
            About::Environment(epoch) => (epoch.name, None),
            About::Role { role, .. } => (role.name, None),
            About::Era(era) => (format!("era {era}"), None),
        };
        Self { number: point.number, at, who: who.to_owned(), action, outcome, about, version }
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
