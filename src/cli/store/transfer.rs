//! `squire store export` and `import`: moves secrets with their values out of a store and into one.
//!
//! *Invariant:* each secret is read and written as by `get` and `put`, with the same rights and audit entries.

use std::fs::File;
use std::io::{self, IsTerminal, Read as _};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use serde_json::json;

use super::place::Place;
use super::{Failed, documents, input, output, secret_path, write_private};
use crate::names::{SecretName, SourceName};
use crate::plan::Want;
use crate::secret::{Fields, Secret};
use crate::source::Source as _;
use crate::source::vault::Vault;
use crate::store::{Store, StoreError, With};

/// The largest document, in bytes.
const LONGEST_DOCUMENT: u64 = 64 << 20;

/// What is imported from a server is bounded by what the store takes: this is above that, so that the store says so.
const LONGEST_IMPORTED: usize = 16 << 20;

#[derive(Args, Debug)]
pub(super) struct ExportAsked {
    /// The beginning of the paths
    #[arg(default_value = "")]
    prefix: String,
    /// The format
    #[arg(long, value_enum, default_value_t = Kind::Json)]
    format: Kind,
    /// The file, which only you can read; else stdout
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
    /// Write to a terminal too
    #[arg(long)]
    show: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    /// Everything, for `import`
    Json,
    /// The fields of one secret as variables
    Env,
}

#[derive(Args, Debug)]
#[command(after_help = IMPORT_EXAMPLES)]
pub(super) struct ImportAsked {
    /// A .env, .json or .toml file
    #[arg(required_unless_present = "vault", conflicts_with = "vault")]
    file: Option<PathBuf>,
    /// The target: ENVIRONMENT/NAME…
    #[arg(long, value_name = "PATH")]
    under: Option<String>,
    /// All secrets at and below this path of a KV mount; address and login as for `squire run`
    #[arg(long, value_name = "PATH", requires = "under")]
    vault: Option<String>,
}

const IMPORT_EXAMPLES: &str = "\
Examples:
  squire store import .env --under dev/app              one secret, a field a variable
  squire store import secrets.toml --under dev/app      a secret a table
  squire store import export.json                       what `squire store export` wrote
  VAULT_ADDR=… VAULT_TOKEN=… squire store import --vault secret/team/app --under prod/app";

impl ExportAsked {
    pub(super) fn perform(&self, place: &Place) -> Result<(), Failed> {
        if self.to.is_none() && io::stdout().is_terminal() && !self.show {
            return Err(Failed::Usage(
                "stdout is a terminal, which would show the values: write --to FILE, or --show".to_owned(),
            ));
        }
        let mut store = place.open()?;
        let mut secrets = Vec::new();
        for head in store.list(&self.prefix)?.iter().filter(|head| head.is_live()) {
            let value = store.get(&secret_path(&head.path)?, None)?;
            secrets.push((head.path.clone(), value.fields.expose().clone()));
        }
        let text = match self.format {
            Kind::Json => documents::json(&secrets),
            Kind::Env => documents::env(&secrets).map_err(Failed::Usage)?,
        };
        match &self.to {
            None => output::raw(text.trim_end_matches('\n')),
            Some(file) => {
                write_private(file, text.trim_end_matches('\n'), "write the secrets to")?;
                let text = format!("{} secrets in {}: it is not encrypted", secrets.len(), file.display());
                place.tell(&text, &json!({ "exported": secrets.len(), "file": file }))
            }
        }
    }
}

impl ImportAsked {
    pub(super) fn perform(&self, place: &Place) -> Result<(), Failed> {
        let secrets = match (&self.file, &self.vault) {
            (Some(file), _) => from_file(file)?,
            (None, Some(path)) => from_vault(path)?,
            (None, None) => return Err(Failed::Usage("name a file, or --vault".to_owned())),
        };
        // All of them are checked before the first one is stored.
        let secrets: Vec<_> = secrets
            .into_iter()
            .map(|(path, fields)| Ok((secret_path(&self.joined(&path)?)?, fields)))
            .collect::<Result<_, Failed>>()?;
        let mut store = place.open()?;
        let (mut new, mut same) = (0, 0);
        for (path, fields) in secrets {
            if is_there(&mut store, &path, &fields)? {
                same += 1;
                continue;
            }
            let number = store.put(&path, &Secret::new(fields), With::default())?;
            new += 1;
            place.tell(
                &format!("{path}: version {number}"),
                &json!({ "path": path.as_str(), "version": number }),
            )?;
        }
        let text = format!("{new} imported, {same} were the same already");
        place.tell(&text, &json!({ "imported": new, "same": same }))
    }

    fn joined(&self, path: &str) -> Result<String, Failed> {
        match (self.under.as_deref().map(|under| under.trim_end_matches('/')), path) {
            (Some(under), "") => Ok(under.to_owned()),
            (Some(under), path) => Ok(format!("{under}/{path}")),
            (None, "") => Err(Failed::Usage("say where to: --under ENVIRONMENT/NAME".to_owned())),
            (None, path) => Ok(path.to_owned()),
        }
    }
}

/// An unchanged value is not stored as a new version.
fn is_there(store: &mut Store, path: &crate::store::SecretPath, fields: &Fields) -> Result<bool, Failed> {
    match store.get(path, None) {
        Ok(value) => Ok(value.fields.expose() == fields),
        Err(StoreError::Missing { .. } | StoreError::Unreadable { .. } | StoreError::Denied { .. }) => {
            Ok(false)
        }
        Err(error) => Err(error.into()),
    }
}

fn from_file(file: &Path) -> Result<Vec<(String, Fields)>, Failed> {
    let failed = |source| StoreError::Io { doing: "read", file: file.to_owned(), source };
    let mut text = String::new();
    let opened = File::open(file).map_err(failed)?;
    opened.take(LONGEST_DOCUMENT + 1).read_to_string(&mut text).map_err(failed)?;
    if text.len() as u64 > LONGEST_DOCUMENT {
        return Err(Failed::Usage(format!(
            "{} has more than {LONGEST_DOCUMENT} bytes: import it in parts",
            file.display()
        )));
    }
    documents::secrets(file, &text).map_err(|why| Failed::Usage(format!("{} {why}", file.display())))
}

/// With address and login from the environment.
fn from_vault(path: &str) -> Result<Vec<(String, Fields)>, Failed> {
    let vault = input::server().vault(None, None).map_err(Failed::Usage)?;
    let failed = |why: String| Failed::Usage(format!("cannot import {path}: {why}"));
    input::waited_for(async {
        let vault = Vault::new(&vault).map_err(|error| failed(crate::agent::chain(&error)))?;
        let grant = vault.log_in().await.map_err(|fault| failed(fault.to_string()))?;
        let mut secrets = Vec::new();
        for found in vault.tree(&grant, path).await.map_err(|fault| failed(fault.to_string()))? {
            let want = want(&found);
            let fetched = vault.fetch(&grant, &want).await.map_err(|fault| failed(fault.to_string()))?;
            let below = found.strip_prefix(path.trim_end_matches('/')).unwrap_or_default();
            secrets.push((below.trim_start_matches('/').to_owned(), fetched.fields.expose()));
        }
        if grant.revocable {
            // The token also ends by itself.
            vault.revoke_grant(&grant).await.ok();
        }
        Ok(secrets)
    })?
}

fn want(path: &str) -> Want {
    Want {
        name: SecretName::new("imported"),
        source: SourceName::new("vault"),
        path: path.to_owned(),
        params: None,
        version: None,
        kind: None,
        list: None,
        tags: std::collections::BTreeMap::new(),
        refresh: std::time::Duration::MAX,
        max_size: LONGEST_IMPORTED,
    }
}
