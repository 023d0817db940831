//! `squire store`: the embedded store on the command line.
//!
//! *Invariant:* no secret value is taken from an argument, and none is shown on a terminal unless that was asked for.

mod anchor;
mod audit;
mod documents;
mod input;
mod key;
mod output;
mod place;
mod restore;
mod roles;
mod rotations;
mod transfer;

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::json;

use crate::agent::chain;
use crate::config::Limit;
use crate::store::{Rekey, SecretPath, Store, StoreError, With};
use audit::AuditAsked;
use key::KeyCommand;
use place::Place;
use restore::{RestoreAsked, VerifyAsked};
use roles::RoleCommand;
use rotations::{PolicyAsked, RotateAsked};
use transfer::{ExportAsked, ImportAsked};

use crate::harden;

/// A command for a store, and which store.
#[derive(Args, Debug)]
pub(super) struct Asked {
    #[command(flatten)]
    place: Place,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a store, and the owner's key beside it
    Init {
        /// Ask for a passphrase, and make no key
        #[arg(long)]
        passphrase: bool,
    },
    /// Store a new version: from stdin, a file, or a prompt
    #[command(after_help = PUT_EXAMPLES)]
    Put {
        /// ENVIRONMENT/NAME…
        path: String,
        /// FIELD=VALUE for a value that is not secret, FIELD=- to read a line of stdin, or to be asked without echo
        fields: Vec<String>,
        /// Read the value, or a JSON object of fields, from this file
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
        /// A note about the secret
        #[arg(long)]
        note: Option<String>,
        /// How many versions are kept [default: 10]
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
        keep: Option<u32>,
        /// Even during a rotation; the version that the rotation made is kept
        #[arg(long)]
        force: bool,
    },
    /// Show a secret: masked on a terminal, unless --show
    Get {
        /// ENVIRONMENT/NAME…
        path: String,
        /// Only this field, and nothing else
        #[arg(long)]
        field: Option<String>,
        /// This version instead of the current one
        #[arg(long, value_name = "N")]
        version: Option<u64>,
        /// Show the value on a terminal too
        #[arg(long)]
        show: bool,
    },
    /// List the secrets that may be read
    List {
        /// The beginning of the paths
        #[arg(default_value = "")]
        prefix: String,
    },
    /// Show the versions of a secret, without values
    History {
        /// ENVIRONMENT/NAME…
        path: String,
    },
    /// Delete versions, or all; `undelete` brings them back
    Rm(Forceable),
    /// Bring back deleted versions, or all
    Undelete(Versions),
    /// Destroy versions, or all, for ever
    Destroy(Forceable),
    /// Set the policy of a secret's rotation, or show it
    Policy(PolicyAsked),
    /// Approve the next rotation of a secret
    Approve {
        /// ENVIRONMENT/NAME…
        path: String,
    },
    /// Rotate secrets by their policies
    Rotate(RotateAsked),
    /// Write secrets with their values, for another store or a program
    Export(ExportAsked),
    /// Import secrets from a file, or from a KV mount of a Vault
    Import(ImportAsked),
    /// Make, list and revoke roles
    #[command(subcommand)]
    Role(RoleCommand),
    /// Keep a store's credential somewhere else than in a plain file
    #[command(subcommand)]
    Key(KeyCommand),
    /// Replace the owner's key and all keys below it
    Rekey {
        /// A passphrase instead of a key
        #[arg(long)]
        passphrase: bool,
        /// Only replace the owner's key: with the old key and an old copy of the store, everything can still be opened
        #[arg(long)]
        wrap_only: bool,
    },
    /// Show the audit of the store and the refusals in it, or move it out of the store
    Audit(AuditAsked),
    /// Count what is in the store, and name overdue rotations
    Stats,
    /// Look for cuts, edits, swaps and earlier states in the file and in its audit
    Verify(VerifyAsked),
    /// Show the end of the audit, to be kept elsewhere for `verify --since`
    Tip,
    /// Copy the store, whole, also while others have it open
    Backup {
        /// The copy; this file must not exist yet
        file: PathBuf,
    },
    /// Replace the store by a backup, and list what comes back with it
    Restore(RestoreAsked),
    /// Declare that the present state of the store is the right one, although later states were seen
    AcceptRestore,
    /// Move all writes into the file, and leave no old data in the `-wal` beside it
    Compact,
}

#[derive(Args, Debug)]
struct Versions {
    /// ENVIRONMENT/NAME…
    path: String,
    /// Only these versions
    #[arg(long = "version", value_name = "N")]
    versions: Vec<u64>,
}

#[derive(Args, Debug)]
struct Forceable {
    #[command(flatten)]
    versions: Versions,
    /// Even during a rotation, and also versions that a rotation made
    #[arg(long)]
    force: bool,
}

const PUT_EXAMPLES: &str = "\
Examples:
  squire store put dev/app/token < token.txt
  squire store put dev/app/db username=alice password=-      asks for the password
  squire store put dev/app/db --file db.json                 a JSON object: its fields

A value is not taken from the command line: there every user of the machine sees it, and the shell keeps it.";

/// Runs the command; returns the exit code.
pub(super) fn perform(asked: &Asked) -> u8 {
    // Keys and values are in this process's memory, as in that of an agent.
    let limits = harden::seal();
    match asked.command.perform(&asked.place, &limits) {
        Ok(()) => 0,
        // The reader of the output closed the pipe.
        Err(Failed::Store(StoreError::Io { file, source, .. }))
            if source.kind() == io::ErrorKind::BrokenPipe && file == Path::new("stdout") =>
        {
            super::NOBODY_READS
        }
        Err(Failed::Store(error)) => {
            complain(&chain(&error));
            1
        }
        Err(Failed::Usage(why)) => {
            complain(&why);
            super::USAGE
        }
        Err(Failed::Findings) => 1,
    }
}

/// Why a command failed.
enum Failed {
    Store(StoreError),
    Usage(String),
    /// The findings were already printed.
    Findings,
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl Command {
    fn perform(&self, place: &Place, limits: &[Limit]) -> Result<(), Failed> {
        match self {
            Self::Init { passphrase } => place.init(*passphrase),
            Self::Put { path, fields, file, note, keep, force } => {
                let path = secret_path(path)?;
                let fields = input::fields(fields, file.as_deref())?;
                let with = With { note: note.as_deref(), keep: *keep, force: *force };
                let number = place.open()?.put(&path, &fields, with)?;
                place.tell(
                    &format!("{path}: version {number}"),
                    &json!({ "path": path.as_str(), "version": number }),
                )
            }
            Self::Get { path, field, version, show } => {
                let value = place.open()?.get(&secret_path(path)?, *version)?;
                output::value(&value, field.as_deref(), *show, place.json)
            }
            Self::List { prefix } => output::list(&place.open()?.list(prefix)?, place.json),
            Self::History { path } => {
                output::history(&place.open()?.history(&secret_path(path)?)?, place.json)
            }
            Self::Rm(Forceable { versions: Versions { path, versions }, force }) => {
                let count = place.open()?.delete(&secret_path(path)?, versions, *force)?;
                let text =
                    format!("{path}: {count} versions deleted; `squire store undelete` brings them back");
                place.tell(&text, &json!({ "path": path, "deleted": count }))
            }
            Self::Undelete(Versions { path, versions }) => {
                let count = place.open()?.undelete(&secret_path(path)?, versions)?;
                place.tell(
                    &format!("{path}: {count} versions brought back"),
                    &json!({ "path": path, "undeleted": count }),
                )
            }
            Self::Destroy(Forceable { versions: Versions { path, versions }, force }) => {
                let mut store = place.open()?;
                let count = store.destroy(&secret_path(path)?, versions, *force)?;
                place.leave_nothing(&store);
                place.tell(
                    &format!("{path}: {count} versions destroyed"),
                    &json!({ "path": path, "destroyed": count }),
                )
            }
            Self::Role(command) => command.perform(place),
            Self::Key(command) => command.perform(place),
            Self::Policy(asked) => asked.perform(place),
            Self::Approve { path } => {
                place.open()?.approve(&secret_path(path)?)?;
                place.tell(
                    &format!("{path}: its next rotation is approved"),
                    &json!({ "path": path, "approved": true }),
                )
            }
            Self::Rotate(asked) => asked.perform(place, limits),
            Self::Export(asked) => asked.perform(place),
            Self::Import(asked) => asked.perform(place),
            Self::Audit(asked) => asked.perform(place),
            Self::Stats => output::stats(&place.open()?.stats()?, place.json),
            Self::Rekey { passphrase, wrap_only } => {
                place.rekey(*passphrase, if *wrap_only { Rekey::WrapOnly } else { Rekey::Everything })
            }
            Self::Verify(asked) => asked.perform(place),
            Self::Tip => restore::tip(place),
            Self::Backup { file } => {
                Store::back_up(&place.store, file)?;
                let text = format!("{} is a copy of {}", file.display(), place.store.display());
                place.tell(&text, &json!({ "store": place.store, "backup": file }))
            }
            Self::Restore(asked) => asked.perform(place),
            Self::AcceptRestore => restore::accept(place),
            Self::Compact => {
                place.open()?.empty_log()?;
                let text = format!("{}: nothing old is in the log beside it", place.store.display());
                place.tell(&text, &json!({ "store": place.store }))
            }
        }
    }
}

/// Prints an error on stderr; it may contain text from outside.
fn complain(what: &str) {
    super::load::complain(&[format!("squire: {what}")]);
}

fn secret_path(text: &str) -> Result<SecretPath, Failed> {
    SecretPath::parse(text).map_err(|why| Failed::Usage(format!("the path {text:?} {why}")))
}

/// Makes a file that only its owner can read; it never replaces an existing one.
fn write_private(file: &Path, text: &str, doing: &'static str) -> Result<(), StoreError> {
    let written = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file);
    let written = written.and_then(|mut opened| {
        opened.write_all(text.as_bytes())?;
        opened.write_all(b"\n")?;
        opened.sync_all()
    });
    written.map_err(|source| StoreError::Io { doing, file: file.to_owned(), source })
}
