//! `squire audit`: checks the audit that `run` and `render` write, and asks it.

mod output;

use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use clap::{Args, Subcommand};

use super::load::{complain, configured_audit};
use super::{ConfigFile, USAGE};
use crate::agent::chain;
use crate::audit::AuditError;
use crate::audit::anchor::Place;
use crate::audit::file::Log;
use crate::audit::read::{Checked, check};
use crate::audit::report::{Report, Reporter};
use crate::chain::Point;
use crate::config::{AuditConfig, OnFailure};

/// The exit code of an audit that is not as Squire wrote it, or cannot be read.
const WRONG: u8 = 1;

#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Asked {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Check that the audit has every line that Squire wrote, unchanged and in order; else say where it has not
    Verify {
        #[command(flatten)]
        which: Which,
        /// Also check that this entry is in it, which you noted earlier: the log has one at each start
        #[arg(long, value_name = "NUMBER:LINK")]
        since: Option<Point>,
    },
    /// Who read what, how often, what was refused, and what is otherwise than in the weeks before
    Report {
        #[command(flatten)]
        which: Which,
        /// Not older than this: 1d, 12h
        #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration, default_value = "7d")]
        since: Duration,
    },
    /// Begin a new file, at once or with the next line of the Squire that runs
    Rotate {
        #[command(flatten)]
        which: Which,
    },
}

#[derive(Args, Debug)]
struct Which {
    #[command(flatten)]
    config: ConfigFile,
    /// The audit, instead of the configuration's `audit.file`
    #[arg(long, value_name = "FILE", requires = "anchor")]
    file: Option<PathBuf>,
    /// Its anchor, instead of the configuration's `audit.anchor`
    #[arg(long, value_name = "FILE", requires = "file")]
    anchor: Option<PathBuf>,
    /// The answer as JSON
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  squire audit verify -c squire.toml
  squire audit verify --file audit.jsonl --anchor audit.anchor --json
  squire audit report -c squire.toml --since 1d

Exit status of `verify`: 0 if the audit is as Squire wrote it, 1 if it is not or cannot be read.";

/// Does what was asked for; returns the exit code.
pub(super) fn perform(asked: &Asked) -> u8 {
    let which = match &asked.command {
        Command::Verify { which, .. } | Command::Report { which, .. } | Command::Rotate { which } => which,
    };
    let config = match which.find() {
        Ok(config) => config,
        Err(problems) => {
            complain(&problems);
            return USAGE;
        }
    };
    let done = match &asked.command {
        Command::Verify { since, .. } => verify(&config, *since, which.json),
        Command::Report { since, .. } => report(&config, *since, which.json),
        Command::Rotate { .. } => rotate(&config),
    };
    done.unwrap_or_else(|error| {
        complain(&[chain(&error)]);
        WRONG
    })
}

impl Which {
    fn find(&self) -> Result<AuditConfig, Vec<String>> {
        if let (Some(file), Some(anchor)) = (&self.file, &self.anchor) {
            let (file, anchor) = (file.clone(), anchor.clone());
            return Ok(AuditConfig {
                file,
                anchor,
                max_size: u64::MAX,
                keep: usize::MAX,
                on_failure: OnFailure::Refuse,
            });
        }
        let file = self.config.config.clone().unwrap_or_else(|| super::USUAL.into());
        configured_audit(&file)
    }
}

fn verify(config: &AuditConfig, since: Option<Point>, json: bool) -> Result<u8, AuditError> {
    let checked = check(&config.file, &Place(config.anchor.clone()), since, || (), |(), _| ())?;
    let is_well = checked.verdict.findings.is_empty() && checked.has_point;
    output::verdict(&config.file, &checked, since, json);
    Ok(if is_well { 0 } else { WRONG })
}

fn report(config: &AuditConfig, since: Duration, json: bool) -> Result<u8, AuditError> {
    let now = SystemTime::now();
    let begin = now.checked_sub(since).unwrap_or(SystemTime::UNIX_EPOCH);
    let place = Place(config.anchor.clone());
    let checked = check(&config.file, &place, None, || Reporter::new(begin), Reporter::entry)?;
    let Checked { made, verdict, .. } = checked;
    let report: Report = made.finish();
    output::report(&report, verdict.findings.len(), json);
    Ok(0)
}

/// The Squire that runs is asked by a file beside its anchor, where nobody else can write. Only `run` and `render` begin an audit: with a mistake in
/// a name, this would take another one's file away.
fn rotate(config: &AuditConfig) -> Result<u8, AuditError> {
    let place = Place(config.anchor.clone());
    place.look()?.ok_or_else(|| AuditError::Unanchored { path: place.0.clone() })?;
    match Log::open(config) {
        Ok((mut log, _)) => {
            log.rotate()?;
            let tip = log.close()?;
            output::line(&format!("a new file begins after {tip}"));
            Ok(0)
        }
        Err(AuditError::InUse { .. }) => {
            ask(&place.request())?;
            output::line("the squire that runs begins a new file with its next line");
            Ok(0)
        }
        Err(error) => Err(error),
    }
}

fn ask(path: &Path) -> Result<(), AuditError> {
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    match made {
        Err(source) if source.kind() != ErrorKind::AlreadyExists => {
            Err(AuditError::System { doing: "make", path: path.to_owned(), source })
        }
        Ok(_) | Err(_) => Ok(()),
    }
}
