//! The variables with the address and the login of a Vault server, for uses without a configuration.
//!
//! *Invariant:* the code that reads a source with an empty table decides which variables these are.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::same::is_same;
use super::{CREDENTIAL_VARIABLES, Environment, SourceConfig, VaultConfig, survey};
use crate::secret::Secret;

/// A source with an empty table.
const NOTHING_SAID: &str = "[source.vault]\n";

/// The values of these variables, read once: the credentials among them are blanked in the environment afterwards.
#[derive(Clone, Debug, Default)]
pub struct ServerVariables(BTreeMap<String, Secret<str>>);

impl PartialEq for ServerVariables {
    fn eq(&self, other: &Self) -> bool {
        let (ours, theirs) = (&self.0, &other.0);
        ours.len() == theirs.len()
            && ours.iter().all(|(name, value)| theirs.get(name).is_some_and(|other| is_same(value, other)))
    }
}

impl ServerVariables {
    /// Every variable that is asked for and set.
    pub fn of(environment: Environment<'_>) -> Self {
        let set = RefCell::new(BTreeMap::new());
        let remember = |name: &str| {
            let value = environment(name)?;
            set.borrow_mut().insert(name.to_owned(), Secret::new(value.as_str()));
            Some(value)
        };
        drop(survey(Path::new("the environment"), NOTHING_SAID, &remember));
        Self(set.into_inner())
    }

    /// The server and the login; `address` and `namespace` are used if the variables set none.
    ///
    /// # Errors
    /// What is missing or wrong, in words.
    pub fn vault(&self, address: Option<&str>, namespace: Option<&str>) -> Result<VaultConfig, String> {
        let address = self.or_written("address", ["VAULT_ADDR", "BAO_ADDR"], address);
        let namespace = self.or_written("namespace", ["VAULT_NAMESPACE", "BAO_NAMESPACE"], namespace);
        let text = [NOTHING_SAID, &address, &namespace].concat();
        let variable = |name: &str| self.0.get(name).map(|value| value.expose().to_owned());
        let (config, problems) = survey(Path::new("the environment"), &text, &variable);
        match config.and_then(|mut config| config.sources.remove("vault")) {
            Some(SourceConfig::Vault(vault)) if problems.is_empty() => Ok(vault),
            Some(_) | None => {
                let problems: Vec<_> = problems.into_iter().map(|problem| problem.message).collect();
                Err(problems.join("; "))
            }
        }
    }

    /// The line that sets it, if no variable does.
    fn or_written(&self, key: &str, variables: [&str; 2], written: Option<&str>) -> String {
        let is_set = |name: &str| self.0.get(name).is_some_and(|value| !value.expose().is_empty());
        match written {
            Some(written) if !variables.into_iter().any(is_set) => {
                format!("{key} = {}\n", toml::Value::String(written.to_owned()))
            }
            Some(_) | None => String::new(),
        }
    }

    /// The files that a login reads.
    pub fn files(&self) -> impl Iterator<Item = PathBuf> {
        let files = self.0.iter().filter(|(name, _)| name.ends_with("_FILE"));
        files.map(|(_, file)| PathBuf::from(file.expose()))
    }

    /// Variables that contain a credential themselves.
    pub fn credentials(&self) -> Vec<&'static str> {
        CREDENTIAL_VARIABLES.into_iter().filter(|name| self.0.contains_key(*name)).collect()
    }

    /// All of them, for a process that has to reach the same server.
    pub fn all(&self) -> &BTreeMap<String, Secret<str>> {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Authorities;

    fn of(variables: &[(&str, &str)]) -> ServerVariables {
        let find = |name: &str| {
            let found = variables.iter().find(|(variable, _)| *variable == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        ServerVariables::of(&find)
    }

    #[test]
    fn only_what_is_about_the_server_is_taken() {
        let variables = [
            ("VAULT_ADDR", "https://a:8200"),
            ("BAO_TOKEN_FILE", "/t"),
            ("VAULT_CACERT", "/ca"),
            ("HOME", "/root"),
            ("AWS_SECRET_ACCESS_KEY", "canary"),
            ("BAO_TOKEN", "t"),
        ];
        let taken = of(&variables);
        let names: Vec<_> = taken.all().keys().map(String::as_str).collect();
        assert_eq!(names, ["BAO_TOKEN", "VAULT_ADDR", "VAULT_CACERT"]);
        assert_eq!(taken.credentials(), ["BAO_TOKEN"]);
        let in_file = of(&[("BAO_TOKEN_FILE", "/t")]);
        assert_eq!(in_file.files().collect::<Vec<_>>(), [PathBuf::from("/t")]);
        assert_eq!(taken.vault(None, None).unwrap().authorities, Authorities::File("/ca".into()));
        assert!(!format!("{taken:?}").contains("https"), "a value of a variable may be a secret");
    }

    #[test]
    fn a_variable_wins_over_what_was_written_down() {
        let written = Some("https://written:8200");
        let vault = |variables: &[_]| of(variables).vault(written, Some("team/written"));
        let login = ("VAULT_TOKEN", "t");
        let taken = vault(&[login]).unwrap();
        assert_eq!(taken.addresses, ["https://written:8200"]);
        assert_eq!(taken.namespace.as_deref(), Some("team/written"));
        let taken = vault(&[login, ("BAO_ADDR", "https://set:8200"), ("VAULT_NAMESPACE", "set")]).unwrap();
        assert_eq!(taken.addresses, ["https://set:8200"]);
        assert_eq!(taken.namespace.as_deref(), Some("set"));
    }

    #[test]
    fn what_is_missing_or_wrong_is_said() {
        assert!(of(&[("VAULT_TOKEN", "t")]).vault(None, None).unwrap_err().contains("VAULT_ADDR"));
        let at = |address: &str| of(&[("VAULT_TOKEN", "t")]).vault(Some(address), None);
        assert!(at("ftp://x").unwrap_err().contains("https://"));
        assert!(at("x\"\n[source.other]\n").is_err());
        assert!(of(&[]).vault(Some("https://a:8200"), None).unwrap_err().contains("VAULT_TOKEN"));
    }
}
