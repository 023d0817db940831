//! Logging in: the method, its files, and the meaning of the server's answers.
//!
//! *Invariant:* the content of a credential file is in no fault and no log line, and is sent only to the server.

mod approle;
#[cfg(feature = "aws")]
mod aws;
mod azure;
mod credential;
mod drawer;
mod gcp;
mod jwt;
mod metadata;
mod password;
mod secret_id;
mod token;
mod wrapping;

use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper::StatusCode;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::answers::{AuthAnswer, Envelope};
use super::api::{self, Api, Call};
use crate::config::{
    AuthConfig, AwsLoginConfig, CertConfig, ClientIdentity, CredentialFrom, RoleId, VaultConfig,
};
use crate::source::http::{Answer, Keys, Repeat, causes, words};
use crate::source::{Fault, Grant, heard};
use crate::status::{CredentialPlace, CredentialStatus};
pub(super) use drawer::Drawer;
use secret_id::Memory;

/// The login method of a source, with its state.
#[derive(Debug)]
pub(super) struct Login {
    method: AuthConfig,
    identity: Option<ClientIdentity>,
    memory: Mutex<Memory>,
    drawer: Option<Drawer>,
}

impl Login {
    pub(super) fn new(config: &VaultConfig) -> Self {
        let (method, identity) = (config.auth.clone(), config.client_identity.clone());
        Self { method, identity, memory: Mutex::default(), drawer: None }
    }

    /// Keeps a credential that the login uses up for a later run, where that is asked for; else what an earlier one kept is forgotten.
    pub(super) fn keep_in(&mut self, drawer: Drawer) {
        match &self.method {
            AuthConfig::AppRole(role) if role.secret_id.as_ref().is_some_and(|config| config.keep) => {
                self.drawer = Some(drawer);
            }
            AuthConfig::AppRole(_)
            | AuthConfig::Token { .. }
            | AuthConfig::Jwt(_)
            | AuthConfig::Kubernetes(_)
            | AuthConfig::Cert(_)
            | AuthConfig::Password(_)
            | AuthConfig::Aws(_)
            | AuthConfig::Gcp(_)
            | AuthConfig::Azure(_) => drawer.forget(),
        }
    }

    /// Nothing is left for a later run.
    pub(super) fn forget(&self) {
        self.drawer.iter().for_each(Drawer::forget);
    }

    /// Logs in with what the files hold now.
    pub(super) async fn log_in(&self, api: &Api) -> Result<Grant, Fault> {
        self.look_again(api)?;
        match &self.method {
            AuthConfig::AppRole(role) => {
                approle::log_in(api, role, &mut *self.memory.lock().await, self.drawer.as_ref()).await
            }
            AuthConfig::Token { from } => token::log_in(api, from).await,
            AuthConfig::Jwt(config) => jwt::log_in(api, config, &JWT).await,
            AuthConfig::Kubernetes(config) => jwt::log_in(api, config, &KUBERNETES).await,
            AuthConfig::Cert(config) => with_certificate(api, config).await,
            AuthConfig::Password(config) => password::log_in(api, config).await,
            // Those that ask several are large, and few need them.
            AuthConfig::Aws(config) => Box::pin(with_aws(api, config)).await,
            AuthConfig::Gcp(config) => Box::pin(gcp::log_in(api, config)).await,
            AuthConfig::Azure(config) => Box::pin(azure::log_in(api, config)).await,
        }
    }

    /// What is known of the credential, unless a login goes on.
    pub(super) fn credential(&self) -> Option<CredentialStatus> {
        let written_in = match &self.method {
            AuthConfig::AppRole(role) => {
                return Some(self.memory.try_lock().ok()?.status(role.secret_id.as_ref()?));
            }
            AuthConfig::Token { from } => from.to_string(),
            AuthConfig::Jwt(config) | AuthConfig::Kubernetes(config) => config.file.display().to_string(),
            AuthConfig::Cert(_) => self.identity.as_ref()?.cert_file.display().to_string(),
            AuthConfig::Password(config) => config.file.display().to_string(),
            // Nobody wrote one down.
            AuthConfig::Aws(_) | AuthConfig::Gcp(_) | AuthConfig::Azure(_) => return None,
        };
        Some(CredentialStatus { from: CredentialPlace::File, written_in, uses_left: None, ends: None })
    }

    /// Whether the file holds the token itself.
    pub(super) fn is_grant(&self) -> bool {
        matches!(&self.method, AuthConfig::Token { from } if from.file().is_some())
    }

    /// The method, its mount, and the role. If the role is in a file, its name is the content of the file, or the path of the file while
    /// that cannot be read. A token is named by its hash.
    pub(super) fn identity(&self) -> (&'static str, Option<String>, Option<String>) {
        let in_file = |file: &Path, name: fn(&str) -> String| {
            let read = credential::Credential::read(file);
            read.map_or_else(|_| file.display().to_string(), |read| name(read.text.expose()))
        };
        match &self.method {
            AuthConfig::AppRole(role) => {
                let id = match &role.role_id {
                    RoleId::Inline(id) => id.clone(),
                    RoleId::File(file) => in_file(file, str::to_owned),
                };
                ("approle", Some(role.mount.clone()), Some(id))
            }
            AuthConfig::Token { from } => {
                let hash = |token: &str| blake3::hash(token.as_bytes()).to_hex().to_string();
                let hash = match from {
                    CredentialFrom::File(file) => in_file(file, hash),
                    CredentialFrom::Variable(_, token) => hash(token.expose()),
                };
                ("token", None, Some(hash))
            }
            AuthConfig::Jwt(config) => ("jwt", Some(config.mount.clone()), Some(config.role.clone())),
            AuthConfig::Kubernetes(config) => {
                ("kubernetes", Some(config.mount.clone()), Some(config.role.clone()))
            }
            AuthConfig::Cert(config) => ("cert", Some(config.mount.clone()), config.name.clone()),
            AuthConfig::Password(config) => {
                (config.kind.word(), Some(config.mount.clone()), Some(config.username.clone()))
            }
            AuthConfig::Aws(config) => ("aws", Some(config.mount.clone()), Some(config.role.clone())),
            AuthConfig::Gcp(config) => ("gcp", Some(config.mount.clone()), Some(config.role.clone())),
            AuthConfig::Azure(config) => ("azure", Some(config.mount.clone()), Some(config.role.clone())),
        }
    }

    /// The files that a login reads.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        let mut files = match &self.method {
            AuthConfig::AppRole(role) => {
                let role_id = match &role.role_id {
                    RoleId::Inline(_) => None,
                    RoleId::File(file) => Some(file.clone()),
                };
                let secret_id = role.secret_id.as_ref().and_then(|config| config.from.file());
                role_id.into_iter().chain(secret_id.map(Path::to_owned)).collect()
            }
            AuthConfig::Token { from } => from.file().map(Path::to_owned).into_iter().collect(),
            AuthConfig::Jwt(config) | AuthConfig::Kubernetes(config) => vec![config.file.clone()],
            AuthConfig::Password(config) => vec![config.file.clone()],
            AuthConfig::Cert(_) | AuthConfig::Aws(_) | AuthConfig::Gcp(_) | AuthConfig::Azure(_) => {
                Vec::new()
            }
        };
        // For a token source, only the token's file may change the grant.
        if let Some(identity) = self.identity.iter().find(|_| !self.is_grant()) {
            files.extend([identity.cert_file.clone(), identity.key_file.clone()]);
        }
        files
    }

    /// Uses a client certificate that was replaced; waits if it is only half written. If the authorities cannot be read, the previous ones
    /// stay.
    fn look_again(&self, api: &Api) -> Result<(), Fault> {
        match (api.look_again(), &self.identity) {
            (Err(error), Some(identity)) if error.is_of_identity() => Err(Fault::Awaiting {
                file: identity.cert_file.clone(),
                why: causes(Some(&error), Keys::Vault),
            }),
            (Ok(_) | Err(_), _) => Ok(()),
        }
    }
}

/// What the refusals of one method mean, for the person who has to correct them.
struct Meaning {
    /// A 400.
    rejected: &'static str,
    /// A 403.
    forbidden: &'static str,
    /// When to try again although no file changed.
    again_in: Option<Duration>,
}

/// No server locks a role for a wrong JWT, certificate or machine, and the cause may be on the server: a role that is not written yet, or a cluster
/// that cannot be asked now, which is a 403 too.
const NOTHING_LOCKS: Option<Duration> = Some(Duration::from_mins(1));

const JWT: Meaning = Meaning {
    rejected: "check `role`, and what it asks of the JWT: its signature, issuer, audience, subject and claims",
    forbidden: "nothing is mounted there, or not for this namespace",
    again_in: NOTHING_LOCKS,
};

const KUBERNETES: Meaning = Meaning {
    rejected: "check `role`, and that it takes this pod's service account",
    forbidden: "the cluster does not know the token or cannot be asked, the role does not take this pod's service account, or nothing \
                is mounted there",
    again_in: NOTHING_LOCKS,
};

const CERTIFICATE: Meaning = Meaning {
    rejected: "no certificate role takes the client certificate, or the server did not ask for one; check `name`",
    forbidden: "nothing is mounted there, or not for this namespace",
    again_in: NOTHING_LOCKS,
};

async fn with_certificate(api: &Api, config: &CertConfig) -> Result<Grant, Fault> {
    let body = config.name.as_ref().map_or_else(|| json!({}), |name| json!({ "name": name }));
    let path = login_path(&config.mount);
    grant(&post(api, &path, &body).await?, &path, &CERTIFICATE)
}

#[cfg(feature = "aws")]
async fn with_aws(api: &Api, config: &AwsLoginConfig) -> Result<Grant, Fault> {
    aws::log_in(api, config).await
}

/// No configuration leads here: its reader knows the features.
#[cfg(not(feature = "aws"))]
#[expect(clippy::unused_async, reason = "the other one asks")]
async fn with_aws(_: &Api, _: &AwsLoginConfig) -> Result<Grant, Fault> {
    let why = "`auth.aws` is not in this build; build Squire with its feature `aws`".to_owned();
    Err(Fault::Refused { why, again_in: None })
}

fn login_path(mount: &str) -> String {
    format!("auth/{mount}/login")
}

/// Sends a credential. It may be good for a single use, so it is never sent twice.
async fn post(api: &Api, path: &str, body: &Value) -> Result<Answer, Fault> {
    let mut call = Call::post(path, body);
    call.repeat = Repeat::OnlyIfUnsent;
    api.ask(None, call).await
}

/// The grant that a login gave, or the fault.
fn grant(answer: &Answer, path: &str, meaning: &Meaning) -> Result<Grant, Fault> {
    let explanation = match answer.status {
        StatusCode::BAD_REQUEST => meaning.rejected,
        StatusCode::FORBIDDEN => meaning.forbidden,
        _ => {
            let parsed = api::parsed::<Envelope<Value, AuthAnswer>>(answer, path, "update")?;
            heard::accessor(parsed.accessor());
            return parsed.grant(path);
        }
    };
    Err(refused(answer, path, explanation, meaning.again_in))
}

fn refused(answer: &Answer, path: &str, meaning: &str, again_in: Option<Duration>) -> Fault {
    let said =
        words(answer.body.expose()).unwrap_or_else(|| format!("no reason, but {}", answer.content_type()));
    Fault::Refused { why: format!("{path}: {}: {said} ({meaning})", answer.status), again_in }
}
