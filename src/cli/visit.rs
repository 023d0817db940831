//! A short visit to a source, to ask what is allowed there: the login, and the token back at the end.
//!
//! *Invariant:* no secret is read, no credential is used up, and no token is left behind.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use crate::agent::chain;
use crate::config::{
    AppRoleConfig, AuthConfig, CREDENTIAL_VARIABLES, CredentialFrom, SecretIdConfig, VaultConfig,
};
use crate::harden;
use crate::source::vault::Vault;
use crate::source::{Fault, Grant, Source};

/// How long the questions to one source may take.
const WITHIN: Duration = Duration::from_mins(1);

/// How long it may take to give a token back.
const GIVE_BACK_WITHIN: Duration = Duration::from_secs(10);

/// Whether to ask the servers, and how.
#[derive(Args, Clone, Debug)]
pub(super) struct Online {
    /// Log in to each source and ask what is allowed; no secret is read
    #[arg(long)]
    pub(super) online: bool,
    /// Ask a Vault or OpenBao with the token in this file, instead of the source's login
    #[arg(long, value_name = "FILE", requires = "online")]
    pub(super) token_file: Option<PathBuf>,
}

/// Runs the questions of a command, on a thread of their own making.
pub(super) fn run<T>(questions: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    // A token is in this process's memory, as in that of an agent.
    harden::seal();
    harden::forget(&CREDENTIAL_VARIABLES);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("cannot start the runtime: {error}"))?;
    let answer = runtime.block_on(questions);
    // A name that is still being looked up must not hold back the end.
    runtime.shutdown_background();
    answer
}

/// The same, with an end.
pub(super) async fn within<T>(questions: impl Future<Output = Result<T, Fault>>) -> Result<T, String> {
    match tokio::time::timeout(WITHIN, questions).await {
        Ok(answer) => answer.map_err(|fault| fault.to_string()),
        Err(_) => Err(format!("gave no answer within {} s", WITHIN.as_secs())),
    }
}

/// Logs in to a server, asks, and gives the token back. Beside the answer: what became of the token, if that is not as it should be.
pub(super) async fn vault<T>(
    config: &VaultConfig,
    token_file: Option<&Path>,
    questions: impl AsyncFnOnce(&Vault, &Grant) -> Result<T, Fault>,
) -> Result<(T, Option<String>), String> {
    let config = visitor(config, token_file)?;
    let vault = Vault::new(&config).map_err(|error| chain(&error))?;
    let grant = within(vault.log_in()).await?;
    let answer = within(questions(&vault, &grant)).await;
    let left = give_back(&vault, &grant).await;
    Ok((answer?, left))
}

async fn give_back(vault: &Vault, grant: &Grant) -> Option<String> {
    if !grant.revocable {
        return None;
    }
    let ends = match grant.life.ttl {
        Some(ttl) => format!("it ends in {}", humantime::format_duration(Duration::from_secs(ttl.as_secs()))),
        None => "it has no end".to_owned(),
    };
    let why = match tokio::time::timeout(GIVE_BACK_WITHIN, vault.revoke_grant(grant)).await {
        Ok(Ok(())) => return None,
        Ok(Err(fault)) => fault.to_string(),
        Err(_) => "no answer in time".to_owned(),
    };
    Some(format!("the token of this check could not be given back, and {ends}: {why}"))
}

/// The same source for a visitor: with another token, or with its own login, which must not use anything up.
fn visitor(config: &VaultConfig, token_file: Option<&Path>) -> Result<VaultConfig, String> {
    let mut config = config.clone();
    // They were said already.
    config.cautions.clear();
    if let Some(file) = token_file {
        config.auth = AuthConfig::Token { from: CredentialFrom::File(file.to_owned()) };
        return Ok(config);
    }
    let AuthConfig::AppRole(AppRoleConfig { secret_id: Some(secret_id), .. }) = &mut config.auth else {
        return Ok(config);
    };
    let SecretIdConfig { from, unwrap, delete, keep } = secret_id;
    let why = match (*unwrap, *delete) {
        (true, _) => format!("{from} holds a wrapping token, and a login would use it up"),
        (false, true) => format!("the secret-id in {from} is for one login, after which its file is deleted"),
        (false, false) => {
            *keep = false;
            return Ok(config);
        }
    };
    Err(format!(
        "{why}, so this does not log in; make a token with the same policies instead, such as `bao token create -policy=NAME -ttl=5m \
         -field=token`, put it into a file, and name that with --token-file"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, SourceConfig};

    fn vault(auth: &str) -> VaultConfig {
        let text = format!(
            "[source.vault]\naddress = \"http://127.0.0.1:1\"\n[source.vault.auth.approle]\nrole_id = \"r\"\n{auth}"
        );
        let mut config = config::survey(Path::new("squire.toml"), &text, &|_| None).0.unwrap();
        match config.sources.remove("vault") {
            Some(SourceConfig::Vault(vault)) => vault,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_a_login_would_use_up_is_not_used() {
        let file = "secret_id_file = \"/run/id\"\n";
        for (auth, refused) in [
            ("", None),
            (file, None),
            (&format!("{file}keep_secret_id = true\n"), None),
            (&format!("{file}unwrap = true\n"), Some("a wrapping token")),
            (&format!("{file}unwrap = true\ndelete_secret_id = false\n"), Some("a wrapping token")),
            (&format!("{file}delete_secret_id = true\n"), Some("for one login")),
        ] {
            let (visitor, given) =
                (visitor(&vault(auth), None), super::visitor(&vault(auth), Some(Path::new("/t"))));
            match (visitor, refused) {
                (Ok(config), None) => {
                    let AuthConfig::AppRole(role) = config.auth else { panic!("another login") };
                    assert!(role.secret_id.is_none_or(|secret_id| !secret_id.keep), "{auth}");
                }
                (Err(why), Some(part)) => {
                    assert!(why.contains(part) && why.contains("--token-file"), "{why}");
                }
                (visitor, _) => panic!("{auth}: {visitor:?}"),
            }
            assert!(matches!(given.unwrap().auth, AuthConfig::Token { .. }), "{auth}");
        }
    }
}
