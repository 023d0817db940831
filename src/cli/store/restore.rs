//! `squire store restore`, `accept-restore`, `tip` and `verify`: which state of the store is the right one.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use super::place::Place;
use super::{Failed, output};
use crate::chain::{NoPoint, Point};
use crate::store::{Finding, Restored, Returned, Store, StoreError};

#[derive(Args, Debug)]
#[command(after_help = RESTORE_EXAMPLES)]
pub(super) struct RestoreAsked {
    /// A copy of the store
    backup: PathBuf,
}

const RESTORE_EXAMPLES: &str = "\
The backup is looked at as `verify` does it, and then takes the place of the store, also while
others have that open. A new era of the audit begins, so that agents and anchors that saw later
entries take it for the right one. What comes back with it is said: revoke the roles and rotate the
values that are not to.

Examples:
  squire store restore /backup/app.store";

#[derive(Args, Debug)]
pub(super) struct VerifyAsked {
    /// An entry that the audit has to have, as an earlier `verify` or `tip` printed it
    #[arg(long, value_name = "NUMBER:LINK", value_parser = point)]
    since: Option<Point>,
}

fn point(text: &str) -> Result<Point, String> {
    text.parse().map_err(|error: NoPoint| error.to_string())
}

impl RestoreAsked {
    pub(super) fn perform(&self, place: &Place) -> Result<(), Failed> {
        let seen = place.seen()?;
        let credential = place.credential(&self.backup)?;
        let Restored { report, returned, witness } =
            Store::restore(&place.store, &self.backup, &credential, seen.as_ref())?;
        let Some(returned) = returned else {
            output::report(&report, place.json)?;
            let backup = self.backup.display();
            return Err(Failed::Usage(format!("{backup} does not match its own audit: nothing was changed")));
        };
        if let (Some(anchor), Some(witness)) = (place.anchor(), witness) {
            anchor.keep(&witness);
        }
        place.tell(&text(place, &returned), &shown(place, &returned, report.secrets))
    }
}

fn shown(place: &Place, returned: &Returned, secrets: u64) -> Value {
    let Returned { compared, roles, versions, older, lost } = returned;
    let versions: Vec<_> =
        versions.iter().map(|(path, version)| json!({ "path": path, "version": version })).collect();
    let older: Vec<_> =
        older.iter().map(|(path, from, to)| json!({ "path": path, "from": from, "to": to })).collect();
    json!({
        "store": place.store, "secrets": secrets, "compared": compared, "roles": roles, "versions": versions,
        "older": older, "lost": lost,
    })
}

fn text(place: &Place, returned: &Returned) -> String {
    let Returned { compared, roles, versions, older, lost } = returned;
    let mut lines = vec![format!("{} is restored, and a new era begins", place.store.display())];
    if !compared {
        lines.push("there was nothing to compare it with: look at `squire store role list` for roles that are not to be".to_owned());
    }
    lines.extend(
        roles
            .iter()
            .map(|role| format!("role {role}: logs in again; `squire store role revoke {role}` ends it")),
    );
    lines.extend(
        versions.iter().map(|(path, version)| format!("{path}: version {version} can be read again")),
    );
    lines.extend(
        older.iter().map(|(path, from, to)| format!("{path}: version {to} is current again, and was {from}")),
    );
    lines.extend(lost.iter().map(|path| format!("{path}: is no longer there")));
    lines.join("\n")
}

/// Declares that the present state of the store is the right one.
pub(super) fn accept(place: &Place) -> Result<(), Failed> {
    let seen = place.seen()?;
    let mut store = place.open_whatever()?;
    let era = store.accept_restore(seen.as_ref())?;
    if let (Some(anchor), Some(witness)) = (place.anchor(), store.witness()) {
        anchor.keep(&witness);
    }
    let text = format!(
        "era {era} begins: whoever saw later entries takes this store for the right one. Look at it with `squire store verify`, and at \
         `squire store role list`: what was revoked since is not revoked in it"
    );
    place.tell(&text, &json!({ "era": era }))
}

/// Shows the end of the audit.
pub(super) fn tip(place: &Place) -> Result<(), Failed> {
    let store = place.open()?;
    let point = store.witness().map(|witness| witness.point().to_string());
    place.tell(point.as_deref().unwrap_or_default(), &json!({ "tip": point }))
}

impl VerifyAsked {
    pub(super) fn perform(&self, place: &Place) -> Result<(), Failed> {
        let (report, kept) = match place.open() {
            Ok(mut store) => (store.verify(self.since)?, None),
            Err(Failed::Store(StoreError::RolledBack { why })) => (
                place.open_whatever()?.verify(self.since)?,
                Some(Finding { place: "the store".to_owned(), why }),
            ),
            Err(Failed::Store(StoreError::Damaged { .. })) => {
                (place.open_whatever()?.verify(self.since)?, None)
            }
            Err(error) => return Err(error),
        };
        let mut report = report;
        report.findings.extend(kept);
        output::report(&report, place.json)?;
        if report.findings.is_empty() { Ok(()) } else { Err(Failed::Findings) }
    }
}
