//! `squire store`: the embedded store on the command line.
//!
//! *Invariant:* no value is taken from an argument that is to be secret, and none is shown on a terminal unasked.

mod input;
mod output;

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use clap::{Args, Subcommand};

use crate::agent::chain;
use crate::secret::Secret;
use crate::store::{Credential, Moment, NewRole, Right, SecretPath, Store, StoreError};

use super::load::complain;

/// What is asked of a store, and of which.
#[derive(Args, Debug)]
pub(super) struct Asked {
    #[command(flatten)]
    place: Place,
    #[command(subcommand)]
    command: Command,
}

/// Which store, and as whom.
#[derive(Args, Debug)]
struct Place {
    /// The store
    #[arg(long, value_name = "FILE", env = "SQUIRE_STORE", default_value = "squire.store", global = true)]
    store: PathBuf,
    /// The owner's key [default: the store's name with .key]
    #[arg(long, value_name = "FILE", env = "SQUIRE_STORE_KEY_FILE", global = true)]
    key_file: Option<PathBuf>,
    /// A role instead of the owner
    #[arg(long, value_name = "ID", env = "SQUIRE_STORE_ROLE_ID", global = true)]
    role_id: Option<String>,
    /// The role's secret-id
    #[arg(long, value_name = "FILE", env = "SQUIRE_STORE_SECRET_ID_FILE", global = true)]
    secret_id_file: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a store, and the owner's key beside it
    Init,
    /// Store a new version: from stdin, a file, or a prompt
    #[command(after_help = PUT_EXAMPLES)]
    Put {
        /// ENVIRONMENT/NAME…
        path: String,
        /// FIELD=VALUE for what is no secret, FIELD=- to read a line of stdin, or to be asked without echo
        fields: Vec<String>,
        /// Read the value, or a JSON object of fields, from this file
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
        /// What somebody should know about it
        #[arg(long)]
        note: Option<String>,
    },
    /// Show a secret: masked on a terminal, unless --show
    Get {
        /// ENVIRONMENT/NAME…
        path: String,
        /// Only this field, and nothing else
        #[arg(long)]
        field: Option<String>,
        /// Not the current version
        #[arg(long, value_name = "N")]
        version: Option<u64>,
        /// Also on a terminal
        #[arg(long)]
        show: bool,
        #[command(flatten)]
        form: Form,
    },
    /// List what may be read
    List {
        /// What the paths begin with
        #[arg(default_value = "")]
        prefix: String,
        #[command(flatten)]
        form: Form,
    },
    /// Show the versions of a secret, without values
    History {
        /// ENVIRONMENT/NAME…
        path: String,
        #[command(flatten)]
        form: Form,
    },
    /// Delete versions, or all; `undelete` brings them back
    Rm(Versions),
    /// Bring back deleted versions, or all
    Undelete(Versions),
    /// Destroy versions, or all, for ever
    Destroy(Versions),
    /// Make, list and revoke roles
    #[command(subcommand)]
    Role(RoleCommand),
    /// Give the owner another key; the old one opens the store no more
    Rekey,
    /// Look for cuts, edits and swaps in the file and in its audit
    Verify {
        #[command(flatten)]
        form: Form,
    },
}

#[derive(Args, Debug)]
struct Versions {
    /// ENVIRONMENT/NAME…
    path: String,
    /// Only these versions
    #[arg(long = "version", value_name = "N")]
    versions: Vec<u64>,
}

#[derive(Args, Clone, Copy, Debug)]
struct Form {
    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum RoleCommand {
    /// Make a role; its secret-id is shown once
    #[command(after_help = ROLE_EXAMPLES)]
    Add {
        /// What it is called
        name: String,
        /// May read what matches
        #[arg(long, value_name = "GLOB")]
        read: Vec<String>,
        /// May store new versions, delete and undelete
        #[arg(long, value_name = "GLOB")]
        write: Vec<String>,
        /// May destroy
        #[arg(long, value_name = "GLOB")]
        admin: Vec<String>,
        /// Ends after this long: 30d, 12h
        #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
        expires: Option<Duration>,
        /// Ends after so many log-ins
        #[arg(long, value_name = "N")]
        uses: Option<u64>,
        /// Write the secret-id here, and do not show it
        #[arg(long, value_name = "FILE")]
        secret_id_to: Option<PathBuf>,
        #[command(flatten)]
        form: Form,
    },
    /// List the roles
    List {
        #[command(flatten)]
        form: Form,
    },
    /// End a role; its environments get new keys
    Revoke {
        /// Which
        name: String,
    },
}

const PUT_EXAMPLES: &str = "\
Examples:
  squire store put dev/app/token < token.txt
  squire store put dev/app/db username=alice password=-      asks for the password
  squire store put dev/app/db --file db.json                 a JSON object: its fields

A value is not taken from the command line: there every user of the machine sees it, and the shell keeps it.";

const ROLE_EXAMPLES: &str = "\
Examples:
  squire store role add web --read 'prod/app/*' --secret-id-to /run/squire-id/secret-id
  squire store role add ci --write 'dev/**' --expires 90d --uses 1000

* stays within a part of the path, ** does not. The environment, the first part, is no pattern.";

/// Does what is asked; answers with the exit code.
pub(super) fn perform(asked: &Asked) -> u8 {
    match asked.command.perform(&asked.place) {
        Ok(()) => 0,
        Err(Failed::Store(error)) => {
            complain(&[format!("squire: {}", chain(&error))]);
            1
        }
        Err(Failed::Usage(why)) => {
            complain(&[format!("squire: {why}")]);
            super::USAGE
        }
        Err(Failed::Findings) => 1,
    }
}

/// Why a command did not succeed.
enum Failed {
    Store(StoreError),
    Usage(String),
    /// They were shown.
    Findings,
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl Command {
    fn perform(&self, place: &Place) -> Result<(), Failed> {
        match self {
            Self::Init => place.init(),
            Self::Put { path, fields, file, note } => {
                let path = secret_path(path)?;
                let fields = input::fields(fields, file.as_deref())?;
                let number = place.open()?.put(&path, &fields, note.as_deref())?;
                output::line(&format!("{path}: version {number}"))
            }
            Self::Get { path, field, version, show, form } => {
                let value = place.open()?.get(&secret_path(path)?, *version)?;
                output::value(&value, field.as_deref(), *show, form.json)
            }
            Self::List { prefix, form } => output::list(&place.open()?.list(prefix)?, form.json),
            Self::History { path, form } => {
                output::history(&place.open()?.history(&secret_path(path)?)?, form.json)
            }
            Self::Rm(Versions { path, versions }) => {
                let count = place.open()?.delete(&secret_path(path)?, versions)?;
                output::line(&format!(
                    "{path}: {count} versions deleted; `squire store undelete` brings them back"
                ))
            }
            Self::Undelete(Versions { path, versions }) => {
                let count = place.open()?.undelete(&secret_path(path)?, versions)?;
                output::line(&format!("{path}: {count} versions brought back"))
            }
            Self::Destroy(Versions { path, versions }) => {
                let count = place.open()?.destroy(&secret_path(path)?, versions)?;
                output::line(&format!("{path}: {count} versions destroyed"))
            }
            Self::Role(command) => command.perform(place),
            Self::Rekey => place.rekey(),
            Self::Verify { form } => {
                let report = place.open()?.verify()?;
                output::report(&report, form.json)?;
                if report.findings.is_empty() { Ok(()) } else { Err(Failed::Findings) }
            }
        }
    }
}

impl RoleCommand {
    fn perform(&self, place: &Place) -> Result<(), Failed> {
        match self {
            Self::Add { name, read, write, admin, expires, uses, secret_id_to, form } => {
                let grants: BTreeMap<_, _> =
                    [(Right::Read, read), (Right::Write, write), (Right::Admin, admin)]
                        .into_iter()
                        .filter(|(_, globs)| !globs.is_empty())
                        .map(|(right, globs)| (right, globs.clone()))
                        .collect();
                if grants.is_empty() {
                    return Err(Failed::Usage(
                        "the role may do nothing: write for example --read 'prod/app/*'".to_owned(),
                    ));
                }
                if let Some(file) = secret_id_to.as_ref().filter(|file| file.exists()) {
                    return Err(StoreError::Exists { file: file.clone() }.into());
                }
                let expires = expires.map(|after| Moment::from(SystemTime::now()).plus(after));
                let new = NewRole { name: name.clone(), grants, expires, uses: *uses };
                let pair = place.open()?.add_role(&new)?;
                if let Some(file) = secret_id_to {
                    write_private(file, &pair.secret_id, "write the secret-id to")?;
                }
                output::role(&pair, secret_id_to.as_deref(), form.json)
            }
            Self::List { form } => output::roles(&place.open()?.roles()?, form.json),
            Self::Revoke { name } => {
                place.open()?.revoke_role(name)?;
                output::line(&format!("{name}: revoked; its environments have new keys"))
            }
        }
    }
}

impl Place {
    fn key_file(&self) -> PathBuf {
        self.key_file.clone().unwrap_or_else(|| self.store.with_added_extension("key"))
    }

    fn init(&self) -> Result<(), Failed> {
        let key_file = self.key_file();
        if key_file.exists() {
            return Err(StoreError::Exists { file: key_file }.into());
        }
        // First the key, so that there is never a store that nothing opens.
        let key = Store::new_key()?;
        write_private(&key_file, &key, "write the owner's key to")?;
        if let Err(error) = Store::init(&self.store, &key) {
            fs::remove_file(&key_file).ok();
            return Err(error.into());
        }
        output::line(&format!(
            "made {} and the owner's key {}: keep the key apart from the store, since nothing else opens it",
            self.store.display(),
            key_file.display()
        ))
    }

    fn open(&self) -> Result<Store, Failed> {
        let credential = match (&self.role_id, &self.secret_id_file) {
            (Some(id), Some(file)) => {
                Credential::Role { id: id.trim().to_owned(), secret_id: input::credential(file)? }
            }
            (None, None) => Credential::Owner(input::credential(&self.key_file())?),
            (Some(_), None) => return Err(Failed::Usage("a role needs its --secret-id-file too".to_owned())),
            (None, Some(_)) => return Err(Failed::Usage("a secret-id needs its --role-id too".to_owned())),
        };
        Ok(Store::open(&self.store, &credential)?)
    }

    /// The new key is in its file before the store knows it, so that no failure leaves the store without a key.
    fn rekey(&self) -> Result<(), Failed> {
        let key_file = self.key_file();
        let mut store = self.open()?;
        let key = Store::new_key()?;
        let new = key_file.with_added_extension("new");
        write_private(&new, &key, "write the owner's new key to")?;
        if let Err(error) = store.rekey(&key) {
            fs::remove_file(&new).ok();
            return Err(error.into());
        }
        fs::rename(&new, &key_file).map_err(|source| StoreError::Io {
            doing: "replace",
            file: key_file.clone(),
            source,
        })?;
        output::line(&format!(
            "the owner's key in {} is new; the one before opens the store no more",
            key_file.display()
        ))
    }
}

fn secret_path(text: &str) -> Result<SecretPath, Failed> {
    SecretPath::parse(text).map_err(|why| Failed::Usage(format!("the path {text:?} {why}")))
}

/// For its owner alone; never over something that is there.
fn write_private(file: &Path, text: &Secret<str>, doing: &'static str) -> Result<(), Failed> {
    let written = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file);
    let written = written.and_then(|mut opened| {
        opened.write_all(text.expose().as_bytes())?;
        opened.write_all(b"\n")?;
        opened.sync_all()
    });
    written.map_err(|source| StoreError::Io { doing, file: file.to_owned(), source }.into())
}
