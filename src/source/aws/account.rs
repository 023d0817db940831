//! From a configuration to a client with credentials: what a log-in is here.

use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::sts::AssumeRoleProvider;
use aws_config::timeout::TimeoutConfig;
use aws_config::{AppName, BehaviorVersion, ConfigLoader, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::config::Builder;
use aws_smithy_runtime_api::client::result::ConnectorError;

use super::batch::Batch;
use super::carrier::Carrier;
use super::plan::Plans;
use super::{AGAIN_IN, Fault};
use crate::config::{AssumedRole, AwsConfig, AwsKeys};
use crate::fact::chain;

/// How long the search for credentials may take: the service of a machine or container that has none answers late or never.
const FIND_WITHIN: Duration = Duration::from_secs(30);

/// As with the other servers.
pub(super) const CONNECT_WITHIN: Duration = Duration::from_secs(5);
pub(super) const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// The session waits and asks again; once more at once is for a clock that is wrong, which the SDK puts right by the answer.
const ATTEMPTS: u32 = 2;

/// What a log-in found: a client, and what belongs to it alone.
#[derive(Debug)]
pub(super) struct Account {
    pub(super) client: Client,
    pub(super) batch: Batch,
    pub(super) plans: Plans,
    credentials: Credentials,
}

impl Account {
    /// Looks for region and credentials where they may be by now.
    pub(super) async fn find(config: &AwsConfig, carrier: &Carrier) -> Result<Self, Fault> {
        in_time(Box::pin(Self::find_at_length(config, carrier))).await
    }

    async fn find_at_length(config: &AwsConfig, carrier: &Carrier) -> Result<Self, Fault> {
        let sdk = loader(config, carrier).load().await;
        if sdk.region().is_none() {
            let why = "no region is known; write region = \"…\" in the source's table, or set AWS_REGION";
            return Err(refused(why.to_owned()));
        }
        let sdk = match &config.assume_role {
            Some(role) => assume(role, &sdk).await,
            None => sdk,
        };
        let credentials = provided(&sdk).await?;
        let mut client = Builder::from(&sdk);
        // Else it is AWS's own, or what AWS's own variables say of this service.
        if let Some(endpoint) = &config.endpoint {
            client = client.endpoint_url(endpoint);
        }
        Ok(Self {
            client: Client::from_conf(client.build()),
            batch: Batch::default(),
            plans: Plans::default(),
            credentials,
        })
    }

    /// The same; for what is not there also where it was looked for, since every region has its own secrets.
    pub(super) fn with_region(&self, fault: Fault) -> Fault {
        match (fault, self.client.config().region()) {
            (Fault::Gone { why }, Some(region)) => Fault::Gone { why: format!("{why} (looked in {region})") },
            (fault, _) => fault,
        }
    }

    /// Whether its credentials end by themselves.
    pub(super) fn has_end(&self) -> bool {
        self.credentials.expiry().is_some() || self.credentials.session_token().is_some()
    }

    /// That its credentials were refused, in these words.
    pub(super) fn refused(&self, why: &str) -> Refused {
        Refused { credentials: self.credentials.clone(), why: why.to_owned() }
    }
}

/// The credentials alone, for a login elsewhere.
pub(super) async fn credentials(config: &AwsConfig, carrier: &Carrier) -> Result<Credentials, Fault> {
    in_time(Box::pin(async { provided(&loader(config, carrier).load().await).await })).await
}

async fn provided(sdk: &SdkConfig) -> Result<Credentials, Fault> {
    let provider = sdk.credentials_provider().ok_or_else(|| refused(NONE.to_owned()))?;
    provider.provide_credentials().await.map_err(|error| not_found(&error))
}

/// What the SDK does for it is large, so it comes in a box.
async fn in_time<T>(search: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
    match tokio::time::timeout(FIND_WITHIN, search).await {
        Ok(found) => found,
        Err(_) => Err(Fault::Unreachable {
            why: format!("found no credentials within {} s", FIND_WITHIN.as_secs()),
            retry_after: None,
        }),
    }
}

/// Credentials that a server refused.
#[derive(Debug)]
pub(super) struct Refused {
    credentials: Credentials,
    why: String,
}

impl Refused {
    /// Why, if it is these that the account would use again.
    pub(super) fn of(self, account: &Account) -> Option<String> {
        let known = |credentials: &Credentials| {
            let token = credentials.session_token().map(str::to_owned);
            (credentials.access_key_id().to_owned(), credentials.secret_access_key().to_owned(), token)
        };
        (known(&self.credentials) == known(&account.credentials)).then_some(self.why)
    }
}

const NONE: &str = "there are no credentials: not in the environment, a profile, a web identity, or a role of this machine or \
                    container";

fn loader(config: &AwsConfig, carrier: &Carrier) -> ConfigLoader {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(CONNECT_WITHIN)
        .operation_attempt_timeout(ANSWER_WITHIN)
        .build();
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .http_client(carrier.clone())
        .timeout_config(timeouts)
        .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS));
    if let Ok(name) = AppName::new("squire") {
        loader = loader.app_name(name);
    }
    if let Some(region) = &config.region {
        loader = loader.region(Region::new(region.clone()));
    }
    if let Some(profile) = &config.profile {
        loader = loader.profile_name(profile);
    }
    if let Some(AwsKeys { id, key, session_token }) = &config.keys {
        let token = session_token.as_ref().map(|token| token.expose().to_owned());
        let keys = Credentials::new(id, key.expose(), token, None, "environment");
        loader = loader.credentials_provider(SharedCredentialsProvider::new(keys));
    }
    loader
}

/// The same, as somebody else.
async fn assume(role: &AssumedRole, sdk: &SdkConfig) -> SdkConfig {
    let mut builder = AssumeRoleProvider::builder(&role.arn).session_name(&role.session_name);
    if let Some(id) = &role.external_id {
        builder = builder.external_id(id);
    }
    let provider = builder.configure(sdk).build().await;
    sdk.to_builder().credentials_provider(SharedCredentialsProvider::new(provider)).build()
}

fn refused(why: String) -> Fault {
    Fault::Refused { why, again_in: Some(AGAIN_IN) }
}

/// Somebody who does not answer is asked again soon; somebody who answers, later.
fn not_found(error: &CredentialsError) -> Fault {
    let why = chain(error);
    match error {
        CredentialsError::CredentialsNotLoaded(_) => refused(format!("{NONE} ({why})")),
        CredentialsError::ProviderTimedOut(_) => Fault::Unreachable { why, retry_after: None },
        CredentialsError::ProviderError(_) if is_unanswered(error) => {
            Fault::Unreachable { why, retry_after: None }
        }
        CredentialsError::InvalidConfiguration(_)
        | CredentialsError::ProviderError(_)
        | CredentialsError::Unhandled(_)
        | _ => refused(why),
    }
}

/// Whether the cause is that no answer came.
fn is_unanswered(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| error.source())
        .any(|error| error.downcast_ref::<ConnectorError>().is_some())
}
