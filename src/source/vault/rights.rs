//! What a token may do: its capabilities, its whole list of rights, and what is mounted where. An agent does not ask this.
//!
//! *Invariant:* no secret is read. Every question is about the token itself.

use crate::ordered::Order as _;
use std::collections::{BTreeMap, BTreeSet};

use hyper::StatusCode;
use serde::Deserialize;
use serde_json::json;

use super::answers::{Envelope, TokenState};
use super::api::{self, Call};
use super::mounts::{Mount, Mounted};
use super::{Fault, Grant, GrantLife, Longest, Vault, Want};

/// Capabilities by path, as the server names them: `read`, `update`, `sudo`, `root`, `deny`, …
pub type Rights = BTreeMap<String, BTreeSet<String>>;

/// The most paths in one question.
const AT_ONCE: usize = 100;

/// All rights of a token, as its policies together give them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Acl {
    /// Of paths that are named whole.
    pub exact: Rights,
    /// Of paths that begin like this.
    pub beginnings: Rights,
    /// Whether it may do everything.
    pub is_root: bool,
}

/// What a token says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// How long it lives.
    pub life: GrantLife,
    /// The names of its policies.
    pub policies: Vec<String>,
    /// Whether it can be renewed for ever.
    pub is_periodic: bool,
    /// Whether only some addresses may use it.
    pub is_bound: bool,
}

#[derive(Deserialize)]
struct ResultantAcl {
    #[serde(default)]
    exact_paths: Option<BTreeMap<String, Allowed>>,
    #[serde(default)]
    glob_paths: Option<BTreeMap<String, Allowed>>,
    #[serde(default)]
    root: bool,
}

#[derive(Deserialize)]
struct Allowed {
    #[serde(default)]
    capabilities: BTreeSet<String>,
}

impl Vault {
    /// What is mounted where a secret is, unless the configuration says it. `None` if the server does not tell: the token may read nothing below that mount, or there is none.
    ///
    /// # Errors
    /// Those of any request.
    pub async fn mounted(&self, grant: &Grant, want: &Want) -> Result<Option<Mounted>, Fault> {
        if let Some(mounted) = Mounted::said(want) {
            return Ok(Some(mounted));
        }
        match self.mounts.of(&self.api, &grant.token, &want.path).await {
            Ok(mount) => Ok(mount.mounted()),
            // It was asked before, and a refusal counts.
            Err(Fault::Denied { .. }) => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    /// What the token may do at each of these paths.
    ///
    /// # Errors
    /// [`Fault::Denied`] if its policies do not allow the question, which the policy `default` does.
    pub async fn rights(&self, grant: &Grant, paths: &[String]) -> Result<Rights, Fault> {
        let path = "sys/capabilities-self";
        let mut rights = Rights::new();
        for paths in paths.chunks(AT_ONCE) {
            let mut call = Call::post(path, &json!({ "paths": paths }));
            call.longest = Longest::List;
            let answer = self.api.ask(Some(&grant.token), call).await?;
            let found: BTreeMap<String, BTreeSet<String>> =
                api::parsed::<Envelope<_>>(&answer, path, "update")?.into_data(path)?;
            rights.extend(found);
        }
        Ok(rights)
    }

    /// All that the token may do, except what its policies give by a `+`; `None` if they do not allow the question.
    ///
    /// # Errors
    /// Those of any request.
    pub async fn acl(&self, grant: &Grant) -> Result<Option<Acl>, Fault> {
        let path = "sys/internal/ui/resultant-acl";
        let mut call = Call::get(path);
        call.longest = Longest::List;
        let answer = self.api.ask(Some(&grant.token), call).await?;
        if answer.status == StatusCode::FORBIDDEN {
            return Ok(None);
        }
        let ResultantAcl { exact_paths, glob_paths, root } =
            api::parsed::<Envelope<_>>(&answer, path, "read")?.into_data(path)?;
        Ok(Some(Acl { exact: rights(exact_paths), beginnings: rights(glob_paths), is_root: root }))
    }

    /// What the token says of itself; `None` if its policies do not allow the question.
    ///
    /// # Errors
    /// Those of any request.
    pub async fn held(&self, grant: &Grant) -> Result<Option<Held>, Fault> {
        let path = "auth/token/lookup-self";
        let answer = self.api.ask(Some(&grant.token), Call::get(path)).await?;
        if answer.status == StatusCode::FORBIDDEN {
            return Ok(None);
        }
        let state: TokenState = api::parsed::<Envelope<_>>(&answer, path, "read")?.into_data(path)?;
        Ok(Some(Held {
            life: state.life(),
            policies: state.policies(),
            is_periodic: state.is_periodic(),
            is_bound: state.is_bound(),
        }))
    }
}

/// Whether a secret can be read as the configuration asks for it, from what is mounted there.
///
/// # Errors
/// [`Fault::Malformed`] if it cannot.
pub fn suits(mounted: &Mounted, want: &Want) -> Result<(), Fault> {
    super::suitable(&Mount::of(mounted), want)
}

fn rights(allowed: Option<BTreeMap<String, Allowed>>) -> Rights {
    allowed.into_iter().flatten().map(|(path, allowed)| (path, allowed.capabilities)).ordered()
}
