//! AWS Secrets Manager as a [`Source`]. It has no leases; a version is current until its stage moves to another one.
//!
//! The SDK makes requests and signatures and searches for credentials. Our own code reads many secrets in one request, reads a secret again
//! when its planned rotation is due, and does not send refused credentials again in a loop.
//!
//! *Invariant:* no request is repeated here, except the one that the SDK repeats to correct a wrong clock.

mod account;
mod answer;
mod batch;
mod carrier;
mod folder;
mod plan;
mod rights;

use std::env;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;

use super::http::{Connections, HttpError};
use super::{Fault, Fetched, Grant, GrantLife, LONGEST_LIFE, Life, Source, heard};
use crate::config::{AwsConfig, Version};
use crate::fact::chain;
use crate::ledger::Identity;
use crate::ordered::Order as _;
use crate::plan::Want;
use crate::secret::Secret;
use account::{ANSWER_WITHIN, Account, Refused};
use answer::Value;
use carrier::{Carrier, Longest};
pub use rights::Described;

/// AWS locks nothing after refused credentials, and their owner may soon correct them.
const AGAIN_IN: Duration = Duration::from_mins(1);

/// The life of a grant: the SDK renews credentials that end, and credentials that it cannot renew are refused by an answer.
const LIFE: GrantLife = GrantLife { ttl: None, renewable: false };

/// An account of AWS in one region, and a login.
#[derive(Debug)]
pub struct Aws {
    config: AwsConfig,
    carrier: Carrier,
    account: Mutex<Option<Arc<Account>>>,
    refused: Mutex<Option<Refused>>,
}

impl Aws {
    /// Sends no request yet.
    ///
    /// # Errors
    /// When the authorities in `ca_file` cannot be read.
    pub fn new(config: &AwsConfig) -> Result<Self, HttpError> {
        for caution in &config.cautions {
            tracing::warn!("{caution}");
        }
        let connections = Arc::new(Connections::new(config.into(), ANSWER_WITHIN)?);
        let carrier = Carrier { connections, longest: Longest::default() };
        Ok(Self { config: config.clone(), carrier, account: Mutex::default(), refused: Mutex::default() })
    }

    fn account(&self) -> Result<Arc<Account>, Fault> {
        self.account.lock().unwrap_or_else(PoisonError::into_inner).clone().ok_or(Fault::Dead)
    }

    /// Remembers refused credentials, so that the next log-in can say why and does not send them again at once.
    fn note(&self, account: &Account, why: &str) {
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = Some(account.refused(why));
    }

    /// The fault of a failure, and where it was looked for.
    fn fault(&self, account: &Account, failure: answer::Failure) -> Fault {
        if failure.fault == Fault::Dead {
            self.note(account, &failure.words);
        }
        account.with_region(failure.fault)
    }

    async fn get(&self, account: &Account, want: &Want) -> Result<Value, answer::Failure> {
        match &want.version {
            // A batch answers only with current versions.
            None => account.batch.get(&account.client, &want.path).await,
            Some(Version::Stage(stage)) => {
                let question = account.client.get_secret_value().secret_id(&want.path).version_stage(stage);
                Value::single(question.send().await, &want.path)
            }
            Some(Version::Id(id)) => {
                let question = account.client.get_secret_value().secret_id(&want.path).version_id(id);
                Value::single(question.send().await, &want.path)
            }
            Some(Version::Number(_)) => Err(answer::Failure::from(Fault::Malformed {
                why: format!("{}: AWS does not number its versions; leave `version` out", want.path),
            })),
        }
    }
}

/// The credentials that every tool of AWS would find now, for a login elsewhere.
pub(in crate::source) async fn credentials(config: &AwsConfig) -> Result<Credentials, Fault> {
    let connections = Connections::new(config.into(), ANSWER_WITHIN);
    let connections =
        connections.map_err(|error| Fault::Refused { why: chain(&error), again_in: Some(AGAIN_IN) })?;
    let carrier = Carrier { connections: Arc::new(connections), longest: Longest::default() };
    account::credentials(config, &carrier).await
}

impl Source for Aws {
    const KIND: &'static str = "aws";

    async fn log_in(&self) -> Result<Grant, Fault> {
        // If the files cannot be read, the previous authorities stay.
        self.carrier.connections.look_again().ok();
        let account = Account::find(&self.config, &self.carrier).await?;
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(why) = refused.and_then(|refused| refused.of(&account)) {
            return Err(Fault::Refused { why, again_in: Some(AGAIN_IN) });
        }
        *self.account.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(account));
        Ok(Grant { token: Secret::new(""), life: LIFE, revocable: false, uses: None })
    }

    async fn renew_grant(&self, _: &Grant) -> Result<GrantLife, Fault> {
        Ok(LIFE)
    }

    /// Sends no request: each answer says whether the credentials are still valid.
    async fn look_up_grant(&self, _: &Grant) -> Result<GrantLife, Fault> {
        self.account().map(|_| LIFE)
    }

    async fn revoke_grant(&self, _: &Grant) -> Result<(), Fault> {
        Ok(())
    }

    async fn fetch(&self, _: &Grant, want: &Want) -> Result<Fetched, Fault> {
        if want.params.is_some() {
            return Err(Fault::Malformed {
                why: format!("{}: AWS takes no `params`; leave them out", want.path),
            });
        }
        self.carrier.longest.allow(want.max_size);
        let account = self.account()?;
        if let Some(list) = want.list {
            return self.read_folder(&account, want, list).await;
        }
        let value = self.get(&account, want).await.map_err(|failure| self.fault(&account, failure))?;
        // It may have come with a request that another task sent.
        heard::request(value.request.clone());
        let fields = value.fields(&want.path, want.max_size)?;
        let within = match &want.version {
            // A version that is pinned by its id has no rotation.
            Some(Version::Id(_)) => None,
            _ => {
                account.plans.look_again(&account.client, &want.path, &value.version, SystemTime::now()).await
            }
        };
        let meta = value.meta();
        Ok(Fetched { fields, life: Life::Versioned { within }, written: value.written, meta })
    }

    fn identity(&self) -> Identity {
        let config = &self.config;
        let place = config.endpoint.iter().chain(&config.region).cloned();
        let role = config.assume_role.as_ref().map(|role| role.arn.clone());
        Identity {
            addresses: place.ordered(),
            namespace: None,
            method: "aws".to_owned(),
            mount: None,
            role: role.or_else(|| config.profile.clone()),
        }
    }

    fn tls_files(&self) -> Vec<PathBuf> {
        self.carrier.connections.files()
    }

    fn look_at_tls(&self) {
        if let Err(error) = self.carrier.connections.look_again() {
            tracing::warn!(
                error = chain(&error),
                "the files of TLS have changed and cannot be used, those of before are"
            );
        }
    }

    /// The files in which the SDK looks for credentials.
    fn credential_files(&self) -> Vec<PathBuf> {
        if self.config.keys.is_some() {
            return Vec::new();
        }
        let named = [
            "AWS_SHARED_CREDENTIALS_FILE",
            "AWS_CONFIG_FILE",
            "AWS_WEB_IDENTITY_TOKEN_FILE",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
        ];
        let named = named.into_iter().filter_map(env::var_os).map(PathBuf::from);
        // A container has no such directory, and the file watch should not look for it for ever.
        let home = env::var_os("HOME").map(|home| Path::new(&home).join(".aws")).filter(|home| home.is_dir());
        let usual = home.into_iter().flat_map(|home| [home.join("credentials"), home.join("config")]);
        named.chain(usual).collect()
    }
}
