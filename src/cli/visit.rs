//! A short visit to a source, to ask what is allowed there: the login, and the token back at the end.
//!
//! *Invariant:* no secret is read, no credential is used up, and no token is left behind.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use clap::Args;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tokio::sync::oneshot;

use super::load::complain;
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
    /// Log in to each source and ask; no secret is read
    #[arg(long)]
    pub(super) online: bool,
    /// Ask a Vault or OpenBao with the token in this file, instead of the source's login
    #[arg(long, value_name = "FILE", requires = "online")]
    pub(super) token_file: Option<PathBuf>,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Unanswered {
    /// What is wrong, in a sentence.
    Failed(String),
    /// Somebody ended the command by this signal, and this became of the token.
    Interrupted(i32, Option<String>),
}

impl Unanswered {
    /// Says it; the exit code.
    pub(super) fn tell(self) -> u8 {
        match self {
            Self::Failed(why) => {
                complain(&[why]);
                1
            }
            Self::Interrupted(signal, left) => {
                if let Some(left) = left {
                    complain(&[format!("warning: {left}")]);
                }
                u8::try_from(128 + signal).unwrap_or(1)
            }
        }
    }
}

/// Who asks the sources of a configuration, one after the other.
#[derive(Default)]
pub(super) struct Visitor {
    /// The login that was not given back yet.
    open: RefCell<Option<Rc<Open>>>,
}

struct Open {
    vault: Vault,
    grant: Grant,
}

/// How many requests it takes to ask, beside one a secret: capabilities (twice, where there are many paths), all rights, the token's
/// own state, and its end.
const REQUESTS: u64 = 5;

/// Runs the questions of a command. A signal ends them, and then the token is given back all the same.
pub(super) fn run<T>(
    visitor: &Visitor,
    questions: impl Future<Output = Result<T, String>>,
) -> Result<T, Unanswered> {
    // A token is in this process's memory, as in that of an agent.
    harden::seal();
    harden::forget(&CREDENTIAL_VARIABLES);
    let failed = |doing, error| Unanswered::Failed(format!("cannot {doing}: {error}"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| failed("start the runtime", error))?;
    let signal = signal().map_err(|error| failed("listen for signals", error))?;
    let answer = runtime.block_on(async {
        tokio::select! {
            answer = questions => answer.map_err(Unanswered::Failed),
            // Whatever is being asked is dropped, and the token is not.
            Ok(signal) = signal => Err(Unanswered::Interrupted(signal, visitor.leave().await)),
        }
    });
    // A name that is still being looked up must not hold back the end.
    runtime.shutdown_background();
    answer
}

/// The next signal that asks for the end.
fn signal() -> io::Result<oneshot::Receiver<i32>> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    let (sender, receiver) = oneshot::channel();
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        if let Some(signal) = signals.forever().next() {
            // Nobody waits for it when the end has come anyway.
            sender.send(signal).ok();
        }
    })?;
    Ok(receiver)
}

/// An answer that comes in time.
pub(super) async fn within<T>(questions: impl Future<Output = Result<T, Fault>>) -> Result<T, String> {
    match tokio::time::timeout(WITHIN, questions).await {
        Ok(answer) => answer.map_err(|fault| fault.to_string()),
        Err(_) => Err(format!("gave no answer within {} s", WITHIN.as_secs())),
    }
}

impl Visitor {
    /// Logs in to a server, asks about so many secrets, and gives the token back. Beside the answer: what became of the token, if that is
    /// not as it should be.
    pub(super) async fn vault<T>(
        &self,
        (config, token_file, secrets): (&VaultConfig, Option<&Path>, usize),
        questions: impl AsyncFnOnce(&Vault, &Grant) -> Result<T, Fault>,
    ) -> Result<(T, Option<String>), String> {
        let config = harmless(config, token_file)?;
        let vault = Vault::new(&config).map_err(|error| chain(&error))?;
        let grant = within(vault.log_in()).await?;
        let enough = is_enough(&config, &grant, secrets);
        let open = Rc::new(Open { vault, grant });
        *self.open.borrow_mut() = Some(Rc::clone(&open));
        let answer = match enough {
            Ok(()) => within(questions(&open.vault, &open.grant)).await,
            Err(why) => Err(why),
        };
        let left = self.leave().await;
        Ok((answer?, left))
    }

    /// Gives back what is open. What became of it, if it could not be given back.
    async fn leave(&self) -> Option<String> {
        let open = self.open.borrow().clone()?;
        let left = open.give_back().await;
        // Not before that: a signal may come meanwhile.
        self.open.borrow_mut().take();
        left
    }
}

impl Open {
    async fn give_back(&self) -> Option<String> {
        if !self.grant.revocable {
            return None;
        }
        let why = match tokio::time::timeout(GIVE_BACK_WITHIN, self.vault.revoke_grant(&self.grant)).await {
            Ok(Ok(())) => return None,
            Ok(Err(fault)) => fault.to_string(),
            Err(_) => "no answer in time".to_owned(),
        };
        Some(format!("the token of this check could not be given back, and {}: {why}", end(&self.grant)))
    }
}

fn end(grant: &Grant) -> String {
    match grant.life.ttl {
        Some(ttl) => {
            format!("it ends in {}", humantime::format_duration(Duration::from_secs(ttl.as_secs())))
        }
        None => "it has no end".to_owned(),
    }
}

/// Whether the token may be used as often as the questions take. One that somebody else made is not used up for them.
fn is_enough(config: &VaultConfig, grant: &Grant, secrets: usize) -> Result<(), String> {
    let Some(uses) = grant.uses else { return Ok(()) };
    let needed = REQUESTS + u64::try_from(secrets).unwrap_or(u64::MAX - REQUESTS);
    if let AuthConfig::Token { from } = &config.auth {
        return Err(format!(
            "the token in {from} may be used {uses} more times, and this would take {needed} of them: make one whose uses are not counted, \
             and name its file with --token-file"
        ));
    }
    if uses < needed {
        return Err(format!(
            "the login gives a token for {uses} requests, and this takes {needed}: make one with the same policies whose uses are not \
             counted, and name its file with --token-file"
        ));
    }
    Ok(())
}

/// The same source, to be visited: with another token, or with its own login, which must not use anything up.
fn harmless(config: &VaultConfig, token_file: Option<&Path>) -> Result<VaultConfig, String> {
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
                (harmless(&vault(auth), None), harmless(&vault(auth), Some(Path::new("/t"))));
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
