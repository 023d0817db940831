//! `squire store audit`: shows the audit, and moves it out of the store.

use std::fs::{File, OpenOptions};
use std::io::{BufReader, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use clap::{Args, Subcommand};
use serde_json::json;

use super::place::Place;
use super::{Failed, output};
use crate::store::{Moment, Outcome, Query, StoreError};

#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true, after_help = AUDIT_EXAMPLES)]
pub(super) struct AuditAsked {
    #[command(subcommand)]
    command: Option<AuditCommand>,
    /// Only entries whose object begins with this
    #[arg(default_value = "")]
    about: String,
    /// By this role, or `owner`
    #[arg(long)]
    who: Option<String>,
    /// Only this action: read, put, log-in, rotate, …
    #[arg(long)]
    action: Option<String>,
    /// Only refusals, and the number of refused log-ins, of which nothing else is known
    #[arg(long)]
    refused: bool,
    /// Not older than this: 30d, 12h
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    since: Option<Duration>,
    /// At most this many, the last ones
    #[arg(long, value_name = "N")]
    last: Option<usize>,
}

#[derive(Debug, Subcommand)]
enum AuditCommand {
    /// Write all entries to a file that the owner signs
    Export {
        /// The file; it must not exist yet
        file: PathBuf,
        /// Remove the entries from the store; a summary is kept, so that `verify` still knows what the store should contain
        #[arg(long)]
        prune: bool,
    },
    /// Check that such a file is complete, and signed by the owner of this store
    Check {
        /// Which
        file: PathBuf,
    },
}

const AUDIT_EXAMPLES: &str = "\
Examples:
  squire store audit prod/ --last 20
  squire store audit --refused --since 1d
  squire store audit export audit-2026.jsonl --prune
  squire store audit check audit-2026.jsonl";

impl AuditAsked {
    pub(super) fn perform(&self, place: &Place) -> Result<(), Failed> {
        match &self.command {
            Some(AuditCommand::Export { file, prune }) => export(place, file, *prune),
            Some(AuditCommand::Check { file }) => check(place, file),
            None => self.show(place),
        }
    }

    fn show(&self, place: &Place) -> Result<(), Failed> {
        let ago = |ago: &Duration| SystemTime::now().checked_sub(*ago).map(Moment::from);
        let since = self.since.as_ref().and_then(ago);
        let query = Query {
            about: self.about.clone(),
            who: self.who.clone(),
            action: self.action.clone(),
            outcome: self.refused.then_some(Outcome::Refused),
            since,
            last: self.last,
        };
        let mut store = place.open()?;
        output::audit(&store.query(&query)?, place.json)?;
        if self.refused && self.about.is_empty() && self.who.is_none() {
            output::refused(&store.refused()?, since, place.json)?;
        }
        Ok(())
    }
}

fn export(place: &Place, file: &Path, prune: bool) -> Result<(), Failed> {
    let failed = |source| StoreError::Io { doing: "write the archive", file: file.to_owned(), source };
    let mut store = place.open()?;
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file).map_err(failed)?;
    let mut to = BufWriter::new(made);
    let exported = store.export_audit(&mut to)?;
    to.flush().and_then(|()| to.get_ref().sync_all()).map_err(failed)?;
    let entries = exported.entries;
    if prune {
        store.prune_audit(exported)?;
        place.leave_nothing(&store);
    }
    let pruned = if prune { ", and no longer in the store" } else { "" };
    place.tell(
        &format!("{entries} entries in {}{pruned}", file.display()),
        &json!({ "entries": entries, "file": file, "pruned": prune }),
    )
}

fn check(place: &Place, file: &Path) -> Result<(), Failed> {
    let failed = |source| StoreError::Io { doing: "read the archive", file: file.to_owned(), source };
    let mut from = BufReader::new(File::open(file).map_err(failed)?);
    let entries = place.open()?.check_archive(&mut from)?;
    place.tell(
        &format!("{}: {entries} entries, whole and signed by the owner", file.display()),
        &json!({ "file": file, "entries": entries }),
    )
}
