//! What the audit tells: who read what, how often, what was refused, and what was otherwise than before.
//!
//! "Before" are all lines that are kept from before the time that is asked about. A path that was never read, an hour of the day in which a
//! path was never read, and more reads in an hour than ever before are said. They are no proof of anything, only where to look first.
//!
//! *Invariant:* pure, and one pass over the entries.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use serde::Serialize;

use super::line::Entry;

/// An hour of the day says something only about a path that was read on so many days before.
const DAYS: usize = 3;

/// Fewer reads in an hour are no burst, however few there were before.
const FEW: u64 = 10;

/// A burst is so many times as many as ever before.
const TIMES: u64 = 3;

const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;

/// Somebody who uses a path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Use {
    /// At this source.
    pub source: String,
    /// As this login.
    pub login: String,
    /// This path.
    pub path: String,
}

/// How it was used in the time that is asked about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// By these names in the configuration.
    pub secrets: BTreeSet<String>,
    /// How often it was read.
    pub reads: u64,
    /// How often a lease of it was renewed.
    pub renewals: u64,
    /// How often a lease of it was revoked.
    pub revocations: u64,
    /// How often that was refused: denied by a policy, or by the login.
    pub refused: u64,
    /// How often it failed otherwise.
    pub failed: u64,
    /// When it was used first in that time.
    pub first: String,
    /// And last.
    pub last: String,
}

/// Something that is otherwise than before.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Deviation {
    /// It was never read before.
    NewPath {
        /// What was read.
        of: Use,
    },
    /// It was never read at this time of the day before.
    NewHour {
        /// What was read.
        of: Use,
        /// The hour of the day, in UTC.
        hour: u64,
    },
    /// It was read far more often within an hour than ever before.
    Burst {
        /// What was read.
        of: Use,
        /// So often.
        reads: u64,
        /// At most so often before.
        before: u64,
    },
}

/// What the audit tells of the time since then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Since when.
    pub since: String,
    /// What was before is known since then; `None` if nothing is.
    pub compared_since: Option<String>,
    /// Who used what.
    pub uses: Vec<Row>,
    /// What is otherwise than before.
    pub deviations: Vec<Deviation>,
}

/// A use and its counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// Who and what.
    #[serde(rename = "use")]
    pub of: Use,
    /// How.
    pub counts: Counts,
}

/// What is known of a use.
#[derive(Debug, Default)]
struct Habit {
    counts: Counts,
    before: Past,
    now: Past,
}

/// When something was read.
#[derive(Debug, Default)]
struct Past {
    hours_of_day: BTreeSet<u64>,
    days: BTreeSet<u64>,
    by_hour: BTreeMap<u64, u64>,
}

/// Takes one entry after the other.
#[derive(Debug)]
pub struct Reporter {
    since: SystemTime,
    first: Option<SystemTime>,
    habits: BTreeMap<Use, Habit>,
}

impl Reporter {
    /// A report about the time since then.
    pub fn new(since: SystemTime) -> Self {
        Self { since, first: None, habits: BTreeMap::new() }
    }

    /// The next entry.
    pub fn entry(&mut self, entry: &Entry) {
        let Ok(at) = humantime::parse_rfc3339(&entry.at) else { return };
        self.first = Some(self.first.map_or(at, |first| first.min(at)));
        let (Some(source), Some(path)) = (&entry.source, path(entry)) else { return };
        let login = entry.login.clone().unwrap_or_default();
        let habit = self.habits.entry(Use { source: source.clone(), login, path }).or_default();
        let is_now = at >= self.since;
        if is_now {
            habit.counts.add(entry);
        }
        if entry.what == "fetch" && entry.outcome == "done" {
            if is_now { &mut habit.now } else { &mut habit.before }.add(at);
        }
    }

    /// What was told.
    pub fn finish(self) -> Report {
        let Self { since, first, habits } = self;
        let compared_since = first.filter(|first| *first < since);
        let mut report = Report {
            since: written(since),
            compared_since: compared_since.map(written),
            uses: Vec::new(),
            deviations: Vec::new(),
        };
        for (of, habit) in habits {
            if compared_since.is_some() {
                report.deviations.extend(habit.deviations(&of));
            }
            if !habit.counts.first.is_empty() {
                report.uses.push(Row { of, counts: habit.counts });
            }
        }
        report
    }
}

/// A login has no path at the source, and is counted all the same.
fn path(entry: &Entry) -> Option<String> {
    match (entry.path.as_ref(), entry.what.as_str()) {
        (Some(path), _) => Some(path.clone()),
        (None, "login") => Some("(login)".to_owned()),
        (None, _) => None,
    }
}

fn written(at: SystemTime) -> String {
    humantime::format_rfc3339_seconds(at).to_string()
}

impl Counts {
    fn add(&mut self, entry: &Entry) {
        match (entry.what.as_str(), entry.outcome.as_str()) {
            (_, "denied" | "refused" | "dead") => self.refused += 1,
            ("fetch" | "login", "done") => self.reads += 1,
            ("renew", "done") => self.renewals += 1,
            ("revoke", "done") => self.revocations += 1,
            (_, "done") => {}
            (_, _) => self.failed += 1,
        }
        self.secrets.extend(entry.secrets.iter().cloned());
        if self.first.is_empty() {
            self.first.clone_from(&entry.at);
        }
        self.last.clone_from(&entry.at);
    }
}

impl Past {
    fn add(&mut self, at: SystemTime) {
        let seconds = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
        self.hours_of_day.insert(seconds % DAY / HOUR);
        self.days.insert(seconds / DAY);
        *self.by_hour.entry(seconds / HOUR).or_default() += 1;
    }

    fn most(&self) -> u64 {
        self.by_hour.values().copied().max().unwrap_or_default()
    }

    /// Whether it is usual to read it at about this hour.
    fn has_about(&self, hour: u64) -> bool {
        [23, 24, 25].iter().any(|by| self.hours_of_day.contains(&((hour + by) % 24)))
    }
}

impl Habit {
    fn deviations(&self, of: &Use) -> Vec<Deviation> {
        let (now, before) = (&self.now, &self.before);
        if before.by_hour.is_empty() {
            let is_new = !now.by_hour.is_empty();
            return is_new.then(|| Deviation::NewPath { of: of.clone() }).into_iter().collect();
        }
        let known = before.days.len() >= DAYS;
        let odd = now.hours_of_day.iter().filter(|hour| known && !before.has_about(**hour));
        let mut deviations: Vec<_> =
            odd.map(|hour| Deviation::NewHour { of: of.clone(), hour: *hour }).collect();
        let (reads, most) = (now.most(), before.most());
        if reads >= FEW && reads > most.saturating_mul(TIMES) {
            deviations.push(Deviation::Burst { of: of.clone(), reads, before: most });
        }
        deviations
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIDNIGHT: &str = "2026-03-01T00:00:00Z";

    fn at(days: u64, hours: u64, minutes: u64) -> SystemTime {
        let begin = humantime::parse_rfc3339(MIDNIGHT).unwrap();
        begin + Duration::from_secs(days * DAY + hours * HOUR + minutes * 60)
    }

    fn entry(at: SystemTime, what: &str, outcome: &str, path: &str) -> Entry {
        Entry {
            at: humantime::format_rfc3339_millis(at).to_string(),
            what: what.to_owned(),
            outcome: outcome.to_owned(),
            source: Some("vault".to_owned()),
            login: Some("approle web".to_owned()),
            path: Some(path.to_owned()),
            secrets: vec!["db".to_owned()],
            ..Entry::default()
        }
    }

    fn of(path: &str) -> Use {
        Use { source: "vault".to_owned(), login: "approle web".to_owned(), path: path.to_owned() }
    }

    fn report(entries: &[Entry], since: SystemTime) -> Report {
        let mut reporter = Reporter::new(since);
        for entry in entries {
            reporter.entry(entry);
        }
        reporter.finish()
    }

    /// Two weeks in which a path was read once at nine each morning.
    fn mornings() -> Vec<Entry> {
        (0..14).map(|day| entry(at(day, 9, 5), "fetch", "done", "secret/app")).collect()
    }

    #[test]
    fn it_counts_who_read_what_how_often_and_what_was_refused() {
        let mut entries = mornings();
        entries.push(entry(at(14, 9, 5), "fetch", "denied", "secret/app"));
        entries.push(entry(at(14, 9, 6), "fetch", "unreachable", "secret/app"));
        entries.push(entry(at(14, 9, 7), "renew", "done", "secret/app"));
        entries.push(entry(at(14, 9, 8), "revoke", "done", "secret/app"));
        entries.push(Entry { path: None, ..entry(at(14, 9, 9), "login", "refused", "") });
        let report = report(&entries, at(13, 0, 0));
        assert_eq!(report.compared_since.as_deref(), Some("2026-03-01T09:05:00Z"));
        assert_eq!(report.deviations, []);
        let [login, app] = &report.uses[..] else { panic!("{report:?}") };
        assert_eq!((login.of.path.as_str(), login.counts.refused), ("(login)", 1));
        let counts = &app.counts;
        assert_eq!((counts.reads, counts.refused, counts.failed), (1, 1, 1));
        assert_eq!((counts.renewals, counts.revocations), (1, 1));
        assert_eq!(
            (counts.first.as_str(), counts.last.as_str()),
            ("2026-03-14T09:05:00.000Z", "2026-03-15T09:08:00.000Z")
        );
    }

    #[test]
    fn what_is_otherwise_than_in_the_weeks_before_is_said() {
        let mut entries = mornings();
        let since = at(14, 0, 0);
        entries.push(entry(at(14, 10, 1), "fetch", "done", "secret/app"));
        assert_eq!(report(&entries, since).deviations, [], "an hour later is about the same time");
        entries.push(entry(at(15, 3, 0), "fetch", "done", "secret/app"));
        entries.push(entry(at(15, 3, 0), "fetch", "done", "secret/other"));
        entries.push(entry(at(15, 3, 0), "fetch", "denied", "secret/third"));
        entries.extend((0..12).map(|minute| entry(at(15, 9, minute), "fetch", "done", "secret/app")));
        let expected = [
            Deviation::NewHour { of: of("secret/app"), hour: 3 },
            Deviation::Burst { of: of("secret/app"), reads: 12, before: 1 },
            Deviation::NewPath { of: of("secret/other") },
        ];
        assert_eq!(report(&entries, since).deviations, expected);
    }

    #[test]
    fn without_a_past_nothing_deviates() {
        let report = report(&mornings(), at(0, 0, 0));
        assert_eq!((report.compared_since, report.deviations), (None, Vec::new()));
        assert_eq!(report.uses[0].counts.reads, 14);
    }

    #[test]
    fn what_cannot_be_read_is_passed_over() {
        let odd = Entry { at: "yesterday".to_owned(), ..entry(at(0, 0, 0), "fetch", "done", "secret/app") };
        assert_eq!(report(&[odd], at(0, 0, 0)).uses, []);
    }
}
