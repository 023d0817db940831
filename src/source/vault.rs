//! HashiCorp Vault and OpenBao as a [`Source`].
//!
//! A secret's path is always the logical one, as the server's own command line takes it: `secret/redis/main`, whatever engine is mounted at
//! `secret/`. The server is asked once for each mount which engine it has, unless the configuration says it. On a KV v2 mount
//! `secret/data/x` is the API's form and means `secret/x`, since every policy and tutorial has it; a secret whose name is really `data/x`
//! is `secret/data/data/x`.
//!
//! *Invariant:* every request carries `X-Vault-Request` and the namespace. A request is sent twice only if it surely reached no server, or
//! makes nothing. Server errors are shown, the data of an answer never is.

mod answers;
mod api;
mod auth;
mod folder;
mod forward;
mod index;
mod mounts;
mod path;
mod rights;
mod transit;
mod tree;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hyper::StatusCode;
use serde::de::IgnoredAny;
use serde_json::{Value, json};

use super::http::{Http, HttpError, Limits, Longest, Repeat};
use super::{Fault, Fetched, Grant, GrantLife, Renewal, Source, Wrapping, heard};
use crate::config::{VaultConfig, Version};
use crate::fact::chain;
use crate::ledger::Identity;
use crate::ledger::file::Ledger;
use crate::names::{LeaseId, SourceName};
use crate::ordered::Order as _;
use crate::plan::Want;
use crate::secret::Packed;
use crate::status::CredentialStatus;
pub(crate) use answers::request_id;
use answers::{AuthAnswer, Engine, Envelope, LeaseState, TokenState};
use api::{Api, Call};
use auth::{Drawer, Login};
pub(crate) use forward::Passed;
pub use mounts::Mounted;
use mounts::{Mount, Mounts};
pub use rights::{Acl, Held, Rights, suits};

/// The path that revokes a lease.
const REVOKE_LEASE: &str = "sys/leases/revoke";

/// One server, or a cluster, with the credentials that one source has there.
#[derive(Debug)]
pub struct Vault {
    api: Api,
    login: Login,
    addresses: BTreeSet<String>,
    namespace: Option<String>,
    mounts: Mounts,
}

impl Vault {
    /// A source for this configuration. Certificate files are read now, and again at each login, like credential files.
    pub fn new(config: &VaultConfig) -> Result<Self, HttpError> {
        Self::with_limits(config, Limits::default())
    }

    /// The same, with other limits than the default ones.
    pub fn with_limits(config: &VaultConfig, limits: Limits) -> Result<Self, HttpError> {
        for caution in &config.cautions {
            tracing::warn!(address = config.addresses.first(), "{caution}");
        }
        let http = Http::new(config, limits)?;
        let api = Api::new(http, config.namespace.as_deref())?;
        Ok(Self {
            api,
            login: Login::new(config),
            addresses: config.addresses.iter().cloned().ordered(),
            namespace: config.namespace.clone(),
            mounts: Mounts::default(),
        })
    }

    /// The same, which leaves a credential that its login uses up in the ledger, and takes what an earlier run left there.
    #[must_use]
    pub fn with_ledger(mut self, ledger: Arc<Ledger>, name: SourceName) -> Self {
        let identity = self.identity();
        self.login.keep_in(Drawer::new(ledger, name, identity));
        self
    }

    /// Reads a KV v2 secret, the newest version or a pinned one.
    /// `path` is that of the API.
    async fn read_versioned(&self, grant: &Grant, path: &str, want: &Want) -> Result<Fetched, Fault> {
        let answer = self.api.ask(Some(&grant.token), pinned(path, want)).await?;
        if answer.status == StatusCode::NOT_FOUND {
            let nothing = || api::refusal(&answer, &want.path, "read");
            return Err(api::tombstone(&answer, &want.path).unwrap_or_else(nothing));
        }
        let answer = api::parsed(&answer, path, "read")?;
        answers::versioned(answer, &want.path, SystemTime::now())
    }

    /// Reads one secret.
    async fn read_one(&self, grant: &Grant, mount: &Mount, want: &Want) -> Result<Fetched, Fault> {
        suitable(mount, want)?;
        match mount.engine {
            Engine::Versioned => {
                let path = mounts::versioned_path(&mount.path, mount.below(&want.path));
                self.read_versioned(grant, &path, want).await
            }
            Engine::Unversioned | Engine::Other => self.read_plain(grant, mount.engine, want).await,
            Engine::AsWritten => self.read_as_written(grant, want).await,
        }
    }

    /// What is mounted where a secret or a folder is.
    async fn mount(&self, grant: &Grant, want: &Want) -> Result<Mount, Fault> {
        match Mounted::said(want) {
            Some(mounted) => Ok(Mount::of(&mounted)),
            None => self.mounts.of(&self.api, &grant.token, &want.path).await,
        }
    }

    /// Reads a path whose engine is unknown. The read may be a mint, so it is not sent twice.
    async fn read_as_written(&self, grant: &Grant, want: &Want) -> Result<Fetched, Fault> {
        let path = &want.path;
        let mut call = pinned(path, want);
        call.repeat = Repeat::OnlyIfUnsent;
        let answer = self.api.ask(Some(&grant.token), call).await?;
        if answer.status == StatusCode::NOT_FOUND {
            return Err(api::tombstone(&answer, path).unwrap_or_else(|| api::unclear(&answer, path)));
        }
        let envelope: Envelope<Packed, Packed> = api::parsed(&answer, path, "read")?;
        if answers::is_versioned(&envelope) {
            return answers::versioned(api::parsed(&answer, path, "read")?, path, SystemTime::now());
        }
        match &want.version {
            None => answers::made(envelope, path, SystemTime::now()),
            Some(_) => Err(Fault::Malformed {
                why: format!("{path} has no versions: remove `version` from the configuration"),
            }),
        }
    }

    /// Reads a path as it is, or writes to it if there are parameters.
    async fn read_plain(&self, grant: &Grant, engine: Engine, want: &Want) -> Result<Fetched, Fault> {
        let (mut call, capability) = match &want.params {
            None => (Call::get(&want.path), "read"),
            Some(params) => (Call::post(&want.path, &Value::Object(params.clone())), "update"),
        };
        call.longest = Longest::Secret(want.max_size);
        if !engine.is_kv() {
            call.repeat = Repeat::OnlyIfUnsent;
        }
        let answer = self.api.ask(Some(&grant.token), call).await?;
        let envelope: Envelope<Packed, Packed> = api::parsed(&answer, &want.path, capability)?;
        if engine.is_kv() {
            answers::unversioned(envelope, &want.path)
        } else {
            answers::made(envelope, &want.path, SystemTime::now())
        }
    }

    /// If a lease may not be revoked, renewing it for one second ends it a second later.
    async fn let_end(&self, grant: &Grant, lease: &LeaseId) -> Result<(), Fault> {
        match self.renew(grant, lease, Duration::from_secs(1)).await {
            Ok(_renewal) => Ok(()),
            // The lease is already gone, or the database behind the server is down: the look-up tells which.
            Err(Fault::Failing { why }) => match self.look_up(grant, lease).await {
                Err(Fault::Gone { .. }) => Ok(()),
                Ok(_) | Err(_) => Err(Fault::Failing { why }),
            },
            Err(Fault::Denied { .. }) => {
                Err(Fault::Denied { path: REVOKE_LEASE.into(), capability: "update" })
            }
            Err(other) => Err(other),
        }
    }
}

impl Source for Vault {
    const KIND: &'static str = "vault";

    async fn log_in(&self) -> Result<Grant, Fault> {
        self.login.log_in(&self.api).await
    }

    /// The server chooses the increment: the token's first time to live came from its role, which is the server's default. The server
    /// answers 500 in the last second of a token, and for a token whose role is gone, so a 500 counts as [`Fault::Dead`] like a 403.
    async fn renew_grant(&self, grant: &Grant) -> Result<GrantLife, Fault> {
        let path = "auth/token/renew-self";
        let answer = self.api.ask(Some(&grant.token), Call::post(path, &json!({}))).await?;
        match answer.status {
            StatusCode::FORBIDDEN | StatusCode::INTERNAL_SERVER_ERROR => Err(Fault::Dead),
            _ => api::parsed::<Envelope<IgnoredAny, AuthAnswer>>(&answer, path, "update")?.grant_life(path),
        }
    }

    async fn look_up_grant(&self, grant: &Grant) -> Result<GrantLife, Fault> {
        let path = "auth/token/lookup-self";
        let answer = self.api.ask(Some(&grant.token), Call::get(path)).await?;
        if answer.status == StatusCode::FORBIDDEN {
            return Err(Fault::Dead);
        }
        let state = api::parsed::<Envelope<TokenState>>(&answer, path, "read")?.into_data(path)?;
        heard::accessor(state.accessor(&grant.token));
        Ok(state.life())
    }

    /// The server answers 204 before the leases are gone, and ends them afterwards.
    async fn revoke_grant(&self, grant: &Grant) -> Result<(), Fault> {
        let path = "auth/token/revoke-self";
        let answer = self.api.ask(Some(&grant.token), Call::post(path, &json!({}))).await?;
        api::done(&answer, path, "update")
    }

    async fn wrap(&self, grant: &Grant, ttl: Duration) -> Result<Wrapping, Fault> {
        let path = "sys/wrapping/wrap";
        let mut call = Call::post(path, &json!({ "token": grant.token.expose() }));
        call.wrap_ttl = Some(ttl);
        call.repeat = Repeat::OnlyIfUnsent;
        let answer = self.api.ask(Some(&grant.token), call).await?;
        answers::wrapping(api::parsed(&answer, path, "update")?, path)
    }

    async fn fetch(&self, grant: &Grant, want: &Want) -> Result<Fetched, Fault> {
        if let Some(list) = want.list {
            return self.read_folder(grant, want, list).await;
        }
        let mount = self.mount(grant, want).await?;
        let outcome = self.read_one(grant, &mount, want).await;
        if mount.engine == Engine::AsWritten && !matches!(outcome, Err(Fault::Denied { .. })) {
            self.mounts.is_let_through(&want.path);
        }
        if outcome.is_ok() && mount.engine == Engine::AsWritten {
            self.mounts.remember(&mount);
        }
        // Another engine may be mounted there by now.
        if matches!(outcome, Err(Fault::Gone { .. } | Fault::Malformed { .. })) {
            self.mounts.forget(&mount);
        }
        outcome
    }

    /// A 400 is [`Fault::Failing`] and says little: only [`Source::look_up`] can tell a lost lease from a database that is down.
    async fn renew(&self, grant: &Grant, lease: &LeaseId, increment: Duration) -> Result<Renewal, Fault> {
        let path = "sys/leases/renew";
        // 0 would ask for the server's default.
        let seconds = increment.as_secs().max(1);
        let body = json!({ "lease_id": lease.as_str(), "increment": seconds });
        let answer = self.api.ask(Some(&grant.token), Call::post(path, &body)).await?;
        Ok(api::parsed::<Envelope<IgnoredAny>>(&answer, path, "update")?.renewal(seconds))
    }

    async fn look_up(&self, grant: &Grant, lease: &LeaseId) -> Result<Duration, Fault> {
        let path = "sys/leases/lookup";
        let body = json!({ "lease_id": lease.as_str() });
        let answer = self.api.ask(Some(&grant.token), Call::post(path, &body)).await?;
        let gone = || Fault::Gone { why: format!("the lease {lease} has ended") };
        if answer.status == StatusCode::BAD_REQUEST {
            return Err(gone());
        }
        let state: LeaseState = api::parsed::<Envelope<_>>(&answer, path, "update")?.into_data(path)?;
        state.left().ok_or_else(gone)
    }

    /// If the policy does not allow this (the default one does not), the lease is renewed for one second instead.
    async fn revoke(&self, grant: &Grant, lease: &LeaseId) -> Result<(), Fault> {
        let body = json!({ "lease_id": lease.as_str() });
        let answer = self.api.ask(Some(&grant.token), Call::post(REVOKE_LEASE, &body)).await?;
        if answer.status == StatusCode::FORBIDDEN {
            return self.let_end(grant, lease).await;
        }
        api::done(&answer, REVOKE_LEASE, "update")
    }

    fn identity(&self) -> Identity {
        let (method, mount, role) = self.login.identity();
        let (addresses, namespace) = (self.addresses.clone(), self.namespace.clone());
        Identity { addresses, namespace, method: method.to_owned(), mount, role }
    }

    fn forget(&self) {
        self.login.forget();
    }

    fn credential(&self) -> Option<CredentialStatus> {
        self.login.credential()
    }

    fn credential_files(&self) -> Vec<PathBuf> {
        self.login.files()
    }

    fn credential_is_grant(&self) -> bool {
        self.login.is_grant()
    }

    fn tls_files(&self) -> Vec<PathBuf> {
        self.api.tls_files()
    }

    fn look_at_tls(&self) {
        if let Err(error) = self.api.look_again() {
            tracing::warn!(
                error = chain(&error),
                "the files of TLS have changed and cannot be used, those of before are"
            );
        }
    }
}

/// Reads this path, the newest version or a pinned one.
fn pinned(path: &str, want: &Want) -> Call {
    let mut call = Call::get(path);
    call.longest = Longest::Secret(want.max_size);
    let number = want.version.as_ref().and_then(Version::number);
    call.query = number.map(|number| format!("version={number}"));
    call
}

/// Whether the request makes sense with the engine that is mounted there.
fn suitable(mount: &Mount, want: &Want) -> Result<(), Fault> {
    let path = &want.path;
    let wrong = |why: String| Err(Fault::Malformed { why });
    if want.list.is_some() {
        return match mount.engine {
            Engine::Versioned | Engine::Unversioned => Ok(()),
            Engine::Other => wrong(format!(
                "{path}: {} is not KV, and nothing else can be listed: remove `list` from the configuration",
                mount.path
            )),
            // Without a right to anything there, the server does not say what is mounted.
            Engine::AsWritten => Err(Fault::Denied { path: path.clone(), capability: "list" }),
        };
    }
    match mount.engine {
        Engine::Versioned | Engine::Unversioned if mount.below(path).is_empty() => {
            wrong(format!("{path} is a KV mount: the path has to go on with the name of a secret"))
        }
        Engine::Versioned | Engine::Unversioned if want.params.is_some() => wrong(format!(
            "{path} is a KV secret, and `params` would overwrite it: remove `params` from the configuration"
        )),
        Engine::Unversioned | Engine::Other if want.version.is_some() => wrong(format!(
            "{path} has no versions, since {} is not KV v2: remove `version` from the configuration",
            mount.path
        )),
        Engine::AsWritten if want.params.is_some() => wrong(format!(
            "{path}: the server does not tell what is mounted there, and `params` would overwrite a KV secret: write kind = \"other\" \
             if it is none"
        )),
        Engine::Versioned | Engine::Unversioned | Engine::Other | Engine::AsWritten => Ok(()),
    }
}
