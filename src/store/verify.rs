//! Looks at all of a store: the file, the chain of the audit, and that everything opens where it belongs.
//!
//! *Invariant:* only looks. Every finding names its place.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::params;

use super::access::Store;
use super::audit::Subject;
use super::error::StoreError;
use super::file::Writing;
use super::head::State;
use super::hex::hex;
use super::journal::{tip, walk};
use super::keys::{Environment, Id};
use super::power::environments;
use super::report::Report;
use super::rows::{all_heads, folders, parsed, read_value};
use super::seal::Key;

impl Store {
    /// Looks at everything. For the owner: nobody else has the keys.
    ///
    /// # Errors
    /// Where it cannot even be looked at.
    pub fn verify(&mut self) -> Result<Report, StoreError> {
        let mut report = Report::default();
        for why in self.integrity()? {
            report.find("the file", why);
        }
        self.as_owner("verify a store", |writing, id, root, keys| {
            let environments = environments(writing, id, root)?;
            report.environments = environments.len() as u64;
            let serials = chain(writing, id, root, &environments, &mut report)?;
            let (tip, _) = tip(writing, id, &keys.audit)?;
            if tip.number != report.entries {
                report.find(
                    "the end of the audit",
                    format!("it ends with entry {}, and {} were written", report.entries, tip.number),
                );
            }
            for environment in &environments {
                secrets(writing, id, environment, &serials, &mut report)?;
            }
            orphans(writing, &environments, &mut report)?;
            Ok(report)
        })
    }
}

/// Walks the chain; answers with the last serial that was recorded for each secret.
fn chain(
    writing: &Writing<'_>,
    id: &Id,
    root: &Key,
    environments: &[Environment],
    report: &mut Report,
) -> Result<BTreeMap<String, u64>, StoreError> {
    let mut serials = BTreeMap::new();
    let (entries, broken) = walk(writing, id, root, environments, |_, _, subject| {
        if let Some(Subject { path, serial: Some(serial), .. }) = subject {
            serials.insert(path, serial);
        }
    })?;
    report.entries = entries;
    report.findings.extend(broken);
    Ok(serials)
}

fn secrets(
    writing: &Writing<'_>,
    id: &Id,
    environment: &Environment,
    serials: &BTreeMap<String, u64>,
    report: &mut Report,
) -> Result<(), StoreError> {
    let heads = match all_heads(writing, id, environment) {
        Ok(heads) => heads,
        Err(StoreError::Damaged { place, why }) => {
            report.find(place, why);
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    let mut expected: BTreeSet<[[u8; 32]; 2]> = BTreeSet::new();
    for (row, head) in heads {
        report.secrets += 1;
        expected.extend(folders(&head.path).map(|folder| [environment.folder(folder), row]));
        if environment.row(&head.path) != row {
            report.find(&head.path, "it is in the place of another secret");
        }
        match serials.get(&head.path) {
            Some(serial) if *serial == head.serial => {}
            Some(serial) => report.find(
                &head.path,
                format!(
                    "it is in its state {}, and the audit knows {serial}: an earlier one was put back",
                    head.serial
                ),
            ),
            None => report.find(&head.path, "the audit does not know it"),
        }
        let path = parsed(&head.path)?;
        for version in &head.versions {
            if matches!(version.state, State::Destroyed { .. }) {
                continue;
            }
            match read_value(writing, id, environment, (&row, &path, version.number)) {
                Ok(_) => report.versions += 1,
                Err(StoreError::Damaged { place, why }) => report.find(place, why),
                Err(error) => return Err(error),
            }
        }
    }
    let sql = "SELECT folder, row FROM folders WHERE environment = ?1";
    let found = writing
        .all(sql, [environment.id], |row| Ok([row.get::<_, [u8; 32]>(0)?, row.get::<_, [u8; 32]>(1)?]))?;
    if expected != found.into_iter().collect() {
        report.find(format!("the folders of {}", environment.name), "they are not those of its secrets");
    }
    let mine =
        |path: &&String| path.strip_prefix(&environment.name).is_some_and(|rest| rest.starts_with('/'));
    for path in serials.keys().filter(mine) {
        let sql = "SELECT 1 FROM secrets WHERE environment = ?1 AND row = ?2";
        let row = environment.row(path);
        if writing.one(sql, params![environment.id, row], |row| row.get::<_, u64>(0))?.is_none() {
            report.find(path, "the audit knows it, and it is not there");
        }
    }
    Ok(())
}

/// Rows that no environment has.
fn orphans(
    writing: &Writing<'_>,
    environments: &[Environment],
    report: &mut Report,
) -> Result<(), StoreError> {
    let known: BTreeSet<Vec<u8>> = environments.iter().map(|environment| environment.id.to_vec()).collect();
    for table in ["secrets", "versions"] {
        let sql = format!("SELECT DISTINCT environment FROM {table}");
        for found in writing.all(&sql, [], |row| row.get::<_, Vec<u8>>(0))? {
            if !known.contains(&found) {
                report
                    .find(format!("{table} of environment {}", hex(&found)), "there is no such environment");
            }
        }
    }
    Ok(())
}
