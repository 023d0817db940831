//! `[audit]`: where the agent writes down what was done, and what happens where it cannot.
//!
//! *Invariant:* the anchor is not beside the file: whoever may write there could change both.

use std::path::{Path, PathBuf};

use super::output;
use super::reader::Table;
use super::value::{Form, SIZE};
use super::{AuditConfig, LedgerConfig, OnFailure};

const MAX_SIZE: u64 = 16 << 20;
const KEEP: usize = 8;

/// The most files that are kept: a number that is larger is a mistake.
const MOST: usize = 10_000;

/// Reads `[audit]`; `None` without the table. `output` is the output directory.
pub(super) fn audit(
    table: Option<Table<'_>>,
    output: Option<&Path>,
    ledger: Option<&LedgerConfig>,
) -> Option<AuditConfig> {
    let mut table = table?;
    let written = table.require("file", "file = \"/var/log/squire/audit.jsonl\"");
    let file = written.as_ref().and_then(output::absolute);
    if let (Some(written), Some(file)) = (&written, &file)
        && output.is_some_and(|output| file.starts_with(output))
    {
        written.report("is in `output.dir`, which is emptied at the stop; write it somewhere else");
    }
    let anchor = anchor(&mut table, file.as_deref(), ledger);
    let max_size = table.read("max_size", &SIZE).map_or(MAX_SIZE, |size| size as u64);
    let keep = keep(&mut table);
    let on_failure = table.read("on_failure", &ON_FAILURE).unwrap_or(OnFailure::Refuse);
    table.finish();
    Some(AuditConfig { file: file?, anchor: anchor?, max_size, keep, on_failure })
}

fn anchor(table: &mut Table<'_>, file: Option<&Path>, ledger: Option<&LedgerConfig>) -> Option<PathBuf> {
    let Some(written) = table.take("anchor") else {
        if ledger.is_none() {
            table.report(
                "`anchor` is missing, and there is no ledger to keep it in; write anchor = \"/var/lib/squire/audit.anchor\"",
            );
        }
        return ledger.map(|ledger| ledger.directory.join("audit.anchor"));
    };
    let anchor = output::absolute(&written)?;
    if file.is_some_and(|file| file.parent() == anchor.parent()) {
        written.report(
            "is in the directory of `audit.file`: whoever can change the one could change the other; put it where only squire writes",
        );
        return None;
    }
    Some(anchor)
}

fn keep(table: &mut Table<'_>) -> usize {
    let Some(written) = table.take("keep") else { return KEEP };
    let number = written.integer().and_then(|number| usize::try_from(number).ok());
    number.filter(|number| (1..=MOST).contains(number)).unwrap_or_else(|| {
        written.expected(&format!("how many full files are kept, from 1 to {MOST}"));
        KEEP
    })
}

const ON_FAILURE: Form<OnFailure> = Form {
    expected: "\"refuse\", \"go_on\" or \"stop\"",
    shown: true,
    read: |text| {
        match text {
        "refuse" => Ok(OnFailure::Refuse),
        "go_on" => Ok(OnFailure::GoOn),
        "stop" => Ok(OnFailure::Stop),
        _ => Err("is unknown; write \"refuse\" to renew leases and fetch nothing until it can be written again, \"go_on\" or \"stop\""
            .to_owned()),
    }
    },
};
