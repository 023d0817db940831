//! Verifies a whole store: the file, the chain of the audit, and that all rows match the audit.
//!
//! *Invariant:* only reads, and blocks no writer. Every finding names its place.

use std::collections::{BTreeMap, BTreeSet};

use super::access::Store;
use super::audit::Action;
use super::charter::charter;
use super::error::StoreError;
use super::file::Reading;
use super::head::{Head, State};
use super::journal::pruned;
use super::keys::{Environment, Id};
use super::owner::root_digest;
use super::power::{Keys, environments, log_ins};
use super::proof;
use super::replay::{Replay, named};
use super::report::{Finding, Report};
use super::roles::records;
use super::rows::{Found, Row, each_head, folders, parsed, read_value};
use super::seal::Key;
use super::walk::{base, walk};
use crate::chain::Point;
use crate::hex::hex;
use crate::ordered::Order as _;

/// The state of a verification.
struct Looking<'a> {
    reading: &'a Reading<'a>,
    id: &'a Id,
    root: &'a Key,
    keys: &'a Keys,
}

impl Store {
    /// Checks everything. Only for the owner: nobody else has the keys. With a point, checks whether the audit contains it.
    ///
    /// # Errors
    /// If the store cannot be read at all.
    pub fn verify(&mut self, since: Option<Point>) -> Result<Report, StoreError> {
        let integrity = self.file.integrity()?;
        let about = (Action::Verify, "the store");
        self.look_as_owner("verify a store", about, |reading, id, root, keys| {
            let mut report = Report::default();
            for why in integrity {
                report.find("the file", why);
            }
            let looking = Looking { reading, id, root, keys };
            let replay = looking.audit(since, &mut report)?;
            looking.keys(&replay, &mut report)?;
            looking.roles(&replay, &mut report)?;
            for environment in looking.environments(&replay, &mut report)? {
                looking.secrets(&environment, &replay, &mut report)?;
            }
            looking.orphans(&replay, &mut report)?;
            Ok(report)
        })
    }
}

impl Looking<'_> {
    /// Walks the chain; returns what the store should contain.
    fn audit(&self, since: Option<Point>, report: &mut Report) -> Result<Replay, StoreError> {
        let (start, mut replay) = base(self.reading, self.id, self.root)?;
        let mut since = since.filter(|since| *since != start);
        let walked = walk(self.reading, self.id, self.root, start, |visited| {
            replay.apply(visited.at.number, &visited.writer, &visited.entry);
            since = since.filter(|since| *since != visited.at);
            Ok(())
        })?;
        report.entries = walked.count;
        report.end = Some(walked.end);
        report.findings.extend(walked.broken);
        report.findings.append(&mut replay.findings);
        if let Some(Point { number, .. }) = since {
            let why = if number <= start.number {
                "it was moved to an archive: give a later entry"
            } else {
                "the audit does not have it: the store is an earlier one, or another one"
            };
            report.find(format!("audit entry {number}"), why);
        }
        let tip = self.keys.tip.get();
        if (tip.number, tip.link) != (walked.end.number, walked.end.link) {
            let why = format!("it ends with entry {}, and {} were written", walked.end.number, tip.number);
            report.find("the end of the audit", why);
        }
        if pruned(self.reading, self.id, &self.keys.owner)?.unwrap_or(Point::NONE) != start {
            report.find("the beginning of the audit", "it does not begin where the owner pruned it");
        }
        Ok(replay)
    }

    /// Checks the rows that say who has which keys.
    fn keys(&self, replay: &Replay, report: &mut Report) -> Result<(), StoreError> {
        if charter(self.reading)? != self.keys.tip.get().keys {
            report.find(
                "who has which keys",
                "a row of an environment or a role is not the one that was written",
            );
        }
        if root_digest(self.reading)? != replay.root {
            report.find(
                "the root key",
                "it is sealed in another way than the audit says: an earlier owner's key opens it",
            );
        }
        Ok(())
    }

    fn roles(&self, replay: &Replay, report: &mut Report) -> Result<(), StoreError> {
        let records = match records(self.reading, self.id, self.root) {
            Ok(records) => records,
            Err(error) => return found(error, report),
        };
        let mut expected: BTreeMap<&Id, _> =
            replay.roles().map(|(writer, member)| (&member.id, (writer, member))).ordered();
        for (id, record) in &records {
            let place = || named(id, &record.role);
            let Some((writer, member)) = expected.remove(id) else {
                report.find(place(), "the audit does not know it, or knows that it was revoked");
                continue;
            };
            if record.role != member.role || record.writer != *writer {
                report.find(place(), "it differs from the audit");
            }
            let log_ins = log_ins(self.reading, id)?;
            if log_ins != member.log_ins {
                let why = format!("its row has {log_ins} log-ins, but it logged in {} times", member.log_ins);
                report.find(place(), why);
            }
        }
        for (id, (_, member)) in expected {
            report.find(named(id, &member.role), "the audit knows it, and it is not there");
        }
        Ok(())
    }

    /// The rows that open.
    fn environments(&self, replay: &Replay, report: &mut Report) -> Result<Vec<Environment>, StoreError> {
        let environments = match environments(self.reading, self.id, self.root) {
            Ok(environments) => environments,
            Err(error) => {
                found(error, report)?;
                Vec::new()
            }
        };
        report.environments = environments.len() as u64;
        for environment in &environments {
            let place = || format!("environment {}", environment.name);
            match replay.keys_of(&environment.id) {
                Some(keys) if *keys == environment.fingerprint() => {}
                Some(_) => {
                    report.find(place(), "it has other keys than the audit says: earlier ones were put back");
                }
                None => report.find(place(), "the audit does not know it"),
            }
        }
        for (id, name) in replay.environments() {
            if !environments.iter().any(|environment| environment.id == *id) {
                report.find(format!("environment {name}"), "the audit knows it, and it is not there");
            }
        }
        Ok(environments)
    }

    fn secrets(
        &self,
        environment: &Environment,
        replay: &Replay,
        report: &mut Report,
    ) -> Result<(), StoreError> {
        let below = format!("{}/", environment.name);
        let mut expected: BTreeSet<&str> = replay
            .secrets
            .range(below.clone()..)
            .map(|(path, _)| path.as_str())
            .take_while(|path| path.starts_with(&below))
            .ordered();
        let mut in_folders: BTreeSet<[Row; 2]> = BTreeSet::new();
        let mut numbers = self.numbers(environment)?;
        each_head(self.reading, self.id, environment, |row, opened| {
            let Some(found) = opened else {
                let place = format!("a secret in {} (row {})", environment.name, hex(&row));
                report.find(place, "what is known of it does not open");
                numbers.remove(&row);
                return Ok(());
            };
            let head = &found.head;
            expected.remove(head.path.as_str());
            in_folders
                .extend(folders(&head.path).map(|folder| [environment.folder(folder).to_vec(), row.clone()]));
            self.secret(environment, (&row, &found), replay, report);
            self.versions(environment, (&row, head), numbers.remove(&row).unwrap_or_default(), report)
        })?;
        for (row, numbers) in numbers {
            let place = format!("{} versions in {} (row {})", numbers.len(), environment.name, hex(&row));
            report.find(place, "there is no such secret");
        }
        for path in expected {
            report.find(path, "the audit knows it, and it is not there");
        }
        let sql = "SELECT folder, row FROM folders WHERE environment = ?1";
        let found = self
            .reading
            .all(sql, [environment.id], |row| Ok([row.get::<_, Row>(0)?, row.get::<_, Row>(1)?]))?;
        if in_folders != found.into_iter().ordered() {
            report.find(format!("the folders of {}", environment.name), "they do not match its secrets");
        }
        Ok(())
    }

    /// The versions that have rows, by the row of their secret.
    fn numbers(&self, environment: &Environment) -> Result<BTreeMap<Row, BTreeSet<i64>>, StoreError> {
        let mut numbers: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        let row = |row: &rusqlite::Row<'_>| Ok((row.get::<_, Row>(0)?, row.get::<_, i64>(1)?));
        let sql = "SELECT row, number FROM versions WHERE environment = ?1";
        self.reading.each(sql, [environment.id], row, |(row, number)| {
            numbers.entry(row).or_default().insert(number);
            Ok(())
        })?;
        Ok(numbers)
    }

    fn secret(
        &self,
        environment: &Environment,
        (row, found): (&[u8], &Found),
        replay: &Replay,
        report: &mut Report,
    ) {
        let Found { head, digest, is_written } = found;
        report.secrets += 1;
        if environment.row(&head.path) != row {
            report.find(&head.path, "it is in the place of another secret");
        }
        match replay.secrets.get(&head.path) {
            Some(known) if known.serial != head.serial => {
                let why = format!(
                    "it is in its state {}, and the audit knows {}: an earlier one was put back, or one was written past the audit",
                    head.serial, known.serial
                );
                report.find(&head.path, why);
            }
            Some(known) if known.head != *digest => {
                report.find(&head.path, "it differs from the audit: it was changed without an entry");
            }
            Some(_) => {}
            None => report.find(&head.path, "the audit does not know it"),
        }
        if !is_written {
            report.find(&head.path, "it was written by somebody who may not");
        }
        if head.policy.is_some() && !proof::has_policy(self.id, environment, head) {
            report.find(&head.path, "its policy was set without the right to");
        }
    }

    fn versions(
        &self,
        environment: &Environment,
        (row, head): (&[u8], &Head),
        mut numbers: BTreeSet<i64>,
        report: &mut Report,
    ) -> Result<(), StoreError> {
        if let Err(why) = parsed(&head.path) {
            return found(why, report);
        }
        for version in &head.versions {
            if matches!(version.state, State::Destroyed { .. }) {
                continue;
            }
            numbers.retain(|number| u64::try_from(*number) != Ok(version.number));
            match read_value(self.reading, self.id, environment, (row, head, version.number)) {
                Ok(_) => report.versions += 1,
                Err(error) => found(error, report)?,
            }
        }
        for number in numbers {
            report.find(format!("version {number} of {}", head.path), "the secret has no such version");
        }
        Ok(())
    }

    /// Rows that belong to no environment.
    fn orphans(&self, replay: &Replay, report: &mut Report) -> Result<(), StoreError> {
        for table in ["secrets", "versions"] {
            let sql = format!("SELECT DISTINCT environment FROM {table}");
            for found in self.reading.all(&sql, [], |row| row.get::<_, Vec<u8>>(0))? {
                let known = Id::try_from(found.as_slice()).is_ok_and(|id| replay.keys_of(&id).is_some());
                if !known {
                    let place = format!("{table} of environment {}", hex(&found));
                    report.find(place, "there is no such environment");
                }
            }
        }
        Ok(())
    }
}

/// Damage becomes a finding; any other error ends the verification.
fn found(error: StoreError, report: &mut Report) -> Result<(), StoreError> {
    let StoreError::Damaged { place, why } = error else { return Err(error) };
    report.findings.push(Finding { place, why });
    Ok(())
}
