//! The files that have the token of a source, and the process that does.
//!
//! *Invariant:* none has the path of another file, nor is one in the output directory, where only releases are.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Attributes, Compiler, Finding, PlannedFile};
use crate::config::{Config, Problem, ProcessTokenConfig, SourceConfig, TokenFileConfig};
use crate::names::SourceName;
use crate::ordered::Order as _;

/// A file that has the token of a source.
#[derive(Clone, Debug, PartialEq)]
pub struct PlannedToken {
    /// Whose token.
    pub source: SourceName,
    /// Absolute; replaced by one rename.
    pub path: PathBuf,
    /// The mode and owners of the file.
    pub attributes: Attributes,
    /// How to make its directory, if the configuration asks for that.
    pub directory: Option<Attributes>,
    /// It has a wrapping token instead, of this life.
    pub wrap_ttl: Option<Duration>,
}

/// The token that the process gets in its environment.
#[derive(Clone, Debug, PartialEq)]
pub struct PlannedProcessToken {
    /// Whose token.
    pub source: SourceName,
    /// What it needs beside it: where the server is.
    pub variables: BTreeMap<&'static str, String>,
    /// It is started anew when there is another token.
    pub restarts: bool,
}

/// The variables of a token, as HashiCorp's tools and OpenBao's call them.
pub const TOKEN_VARIABLES: [&str; 2] = ["VAULT_TOKEN", "BAO_TOKEN"];
const ADDRESS_VARIABLES: [&str; 2] = ["VAULT_ADDR", "BAO_ADDR"];
const NAMESPACE_VARIABLES: [&str; 2] = ["VAULT_NAMESPACE", "BAO_NAMESPACE"];

/// Each file with a token, with the source.
fn said(config: &Config) -> impl Iterator<Item = (&SourceName, &TokenFileConfig)> {
    config.sources.iter().flat_map(|(name, source)| {
        let files = match source {
            SourceConfig::Vault(vault) => &vault.token_files[..],
            SourceConfig::Store(_) | SourceConfig::Aws(_) => &[],
        };
        files.iter().map(move |file| (name, file))
    })
}

impl Compiler<'_> {
    /// Plans them, beside these files.
    pub(super) fn tokens(&mut self, files: &[PlannedFile]) -> Vec<PlannedToken> {
        let mut taken: Vec<&Path> = files.iter().map(|file| file.path.as_path()).collect();
        let config = self.config;
        let mut tokens = Vec::new();
        for (source, file) in said(config) {
            self.refuse_place(file, &taken);
            taken.push(&file.path);
            tokens.extend(self.token(source, file));
        }
        tokens
    }

    /// Plans the token that the process gets.
    pub(super) fn process_token(&mut self) -> Option<PlannedProcessToken> {
        let config = self.config;
        let said = config.process.token.as_ref()?;
        let vault = match config.sources.get(&said.source) {
            Some(SourceConfig::Vault(vault)) => vault,
            Some(SourceConfig::Store(_) | SourceConfig::Aws(_)) => {
                return self.refuse_token(said, "is no Vault or OpenBao, and so has no token to pass on");
            }
            None => return self.refuse_token(said, "is no source of this configuration"),
        };
        let mut set = TOKEN_VARIABLES.into_iter().chain(ADDRESS_VARIABLES).chain(NAMESPACE_VARIABLES);
        if let Some(name) = set.find(|name| config.process.env.contains_key(*name)) {
            let why = format!("sets {name}, and `process.env` does so too; keep one of the two");
            return self.refuse_token(said, &why);
        }
        let address = vault.addresses.first();
        let variables = ADDRESS_VARIABLES.into_iter().zip([address; 2]);
        let variables = variables.chain(NAMESPACE_VARIABLES.into_iter().zip([vault.namespace.as_ref(); 2]));
        let variables = variables.filter_map(|(name, text)| Some((name, text?.clone())));
        Some(PlannedProcessToken {
            source: said.source.clone(),
            variables: variables.ordered(),
            restarts: said.restarts,
        })
    }

    fn refuse_token(&mut self, said: &ProcessTokenConfig, why: &str) -> Option<PlannedProcessToken> {
        let message = format!("vault_token = \"{}\" {why}", said.source);
        self.findings.push(Finding::Config(Problem::new(said.place.clone(), message)));
        None
    }

    fn token(&mut self, source: &SourceName, file: &TokenFileConfig) -> Option<PlannedToken> {
        let (owner, group) = (file.owner.as_ref(), file.group.as_ref());
        let attributes = self.attributes_of(&file.place, file.mode, owner, group);
        let directory = file.make_dir.as_ref().map(|made| {
            let (owner, group) = (made.owner.as_ref().or(owner), made.group.as_ref().or(group));
            self.attributes_of(&file.place, made.mode, owner, group)
        });
        Some(PlannedToken {
            source: source.clone(),
            path: file.path.clone(),
            attributes: attributes?,
            directory: directory.flatten(),
            wrap_ttl: file.wrap_ttl,
        })
    }

    fn refuse_place(&mut self, file: &TokenFileConfig, taken: &[&Path]) {
        let path = file.path.as_path();
        let why = if taken.contains(&path) {
            "another file has this path; give each one its own"
        } else if self.config.output.dir.as_ref().is_some_and(|dir| path.starts_with(dir)) {
            "a token is no part of a release, so its file cannot be inside `output.dir`; name one beside it"
        } else if taken.iter().any(|other| other.starts_with(path) || path.starts_with(other)) {
            "a file would have to be a directory here; give each one a path of its own"
        } else {
            return;
        };
        let message = format!("token_file {}: {why}", path.display());
        self.findings.push(Finding::Config(Problem::new(file.place.clone(), message)));
    }
}
