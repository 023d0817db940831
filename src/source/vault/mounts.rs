//! Which engine is mounted where: the server is asked once for each mount, even if many secrets below it are fetched at once.
//!
//! *Invariant:* there is one request at a time for all paths with the same first segment. No lock is held while waiting for the network,
//! except the one for that request.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hyper::StatusCode;

use super::answers::{Engine, Envelope, MountState};
use super::api::{self, Api, Call};
use crate::config::EngineKind;
use crate::plan::Want;
use crate::secret::Secret;
use crate::source::Fault;

/// How often a look-up has to be refused before the path itself is tried again; it is tried after the first refusal.
const TRIED_EACH: u64 = 4;

/// An engine whose kind is known, and where it is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mounted {
    /// With a slash at the end.
    pub path: String,
    /// What is mounted there.
    pub kind: EngineKind,
}

impl Mounted {
    /// From the configured kind, if there is one: the part before `/data/` (of a folder also `/metadata/`) if the path has the API's
    /// form, otherwise the first segment.
    pub fn said(want: &Want) -> Option<Self> {
        let (kind, path) = (want.kind?, want.path.as_str());
        let of_folder = path.split_once("/metadata/").filter(|_| want.list.is_some());
        let mount = match path.split_once("/data/").or(of_folder) {
            Some((mount, _)) if kind == EngineKind::Kv2 => mount,
            Some(_) | None => path.split('/').next().unwrap_or_default(),
        };
        Some(Self { path: format!("{mount}/"), kind })
    }

    /// The paths of the API of a folder: where it is listed, and where what is in it is read. Both end with a slash.
    pub fn folder(&self, path: &str) -> (String, String) {
        let mount = &self.path;
        let below = format!("{path}/");
        let below = below.strip_prefix(mount.as_str()).unwrap_or_default();
        match self.kind {
            EngineKind::Kv1 | EngineKind::Other => (format!("{mount}{below}"), format!("{mount}{below}")),
            EngineKind::Kv2 => {
                // Either is the API's form already.
                let forms = ["data/", "metadata/"].into_iter();
                let formed = forms.filter_map(|form| below.strip_prefix(form)).find(|rest| !rest.is_empty());
                let below = formed.unwrap_or(below);
                (format!("{mount}metadata/{below}"), format!("{mount}data/{below}"))
            }
        }
    }

    /// The path of the API at which a secret is asked for: what a policy has to allow.
    pub fn asked(&self, path: &str) -> String {
        match self.kind {
            EngineKind::Kv2 => versioned_path(&self.path, below(&self.path, path)),
            EngineKind::Kv1 | EngineKind::Other => path.to_owned(),
        }
    }
}

/// The path of the API of a secret of KV v2. `data/` at its beginning is the API's form already.
pub(super) fn versioned_path(mount: &str, below: &str) -> String {
    format!("{mount}data/{}", below.strip_prefix("data/").unwrap_or(below))
}

fn below<'a>(mount: &str, path: &'a str) -> &'a str {
    path.strip_prefix(mount).unwrap_or_default()
}

/// One mounted engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mount {
    /// With a slash at the end.
    pub(super) path: String,
    pub(super) engine: Engine,
}

impl Mount {
    /// The mount of which the kind is known.
    pub(super) fn of(mounted: &Mounted) -> Self {
        let engine = match mounted.kind {
            EngineKind::Kv1 => Engine::Unversioned,
            EngineKind::Kv2 => Engine::Versioned,
            EngineKind::Other => Engine::Other,
        };
        Self { path: mounted.path.clone(), engine }
    }

    /// What is mounted there, if that is known.
    pub(super) fn mounted(&self) -> Option<Mounted> {
        let kind = match self.engine {
            Engine::Versioned => EngineKind::Kv2,
            Engine::Unversioned => EngineKind::Kv1,
            Engine::Other => EngineKind::Other,
            Engine::AsWritten => return None,
        };
        Some(Mounted { path: self.path.clone(), kind })
    }

    /// The mount if the token may not look it up: the first segment stands for it.
    fn unknown(path: &str) -> Self {
        let first = path.split('/').next().unwrap_or_default();
        Self { path: format!("{first}/"), engine: Engine::AsWritten }
    }

    /// Whether it is KV v2.
    pub(super) fn is_versioned(&self) -> bool {
        self.engine == Engine::Versioned
    }

    /// The part of a path that is below the mount.
    pub(super) fn below<'a>(&self, path: &'a str) -> &'a str {
        below(&self.path, path)
    }

    fn holds(&self, path: &str) -> bool {
        path.starts_with(&self.path) || path == self.path.trim_end_matches('/')
    }
}

/// The mounts that are known so far.
#[derive(Debug, Default)]
pub(super) struct Mounts {
    known: Mutex<Vec<Mount>>,
    /// By first segment. There are no more of them than in the configuration.
    questions: Mutex<HashMap<String, Arc<Question>>>,
    /// How often in a row the look-up was refused for each path, as far as the path itself was not answered.
    refusals: Mutex<HashMap<String, u64>>,
}

/// The right to ask about one first segment.
#[derive(Debug, Default)]
struct Question {
    /// Held while asking; it contains the fault of the last request.
    turn: tokio::sync::Mutex<Option<Fault>>,
    /// How often it was asked.
    asked: AtomicU64,
}

impl Mounts {
    /// The mount of a path, from memory or from the server.
    pub(super) async fn of(&self, api: &Api, token: &Secret<str>, path: &str) -> Result<Mount, Fault> {
        if let Some(mount) = built_in(path).or_else(|| self.recall(path)) {
            return Ok(mount);
        }
        let question = self.question(path);
        let asked_before = question.asked.load(Ordering::Relaxed);
        let mut last = question.turn.lock().await;
        // The task that asked while this one waited may have found the mount for both.
        if let Some(mount) = self.recall(path) {
            return Ok(mount);
        }
        if let Some(fault @ Fault::Unreachable { .. }) = &*last
            && question.asked.load(Ordering::Relaxed) != asked_before
        {
            return Err(fault.clone());
        }
        let outcome = ask(api, token, path).await;
        question.asked.fetch_add(1, Ordering::Relaxed);
        *last = outcome.as_ref().err().cloned();
        let Some(mount) = outcome? else { return self.refused(path) };
        self.remember(&mount);
        Ok(mount)
    }

    /// Usually the cause is the policy, and the path itself would be denied too. So the path is not tried each time.
    fn refused(&self, path: &str) -> Result<Mount, Fault> {
        let mut refusals = lock(&self.refusals);
        let before = refusals.entry(path.to_owned()).or_default();
        let is_tried = before.is_multiple_of(TRIED_EACH);
        *before = before.saturating_add(1);
        let denied = || Fault::Denied { path: path.to_owned(), capability: "read" };
        is_tried.then(|| Mount::unknown(path)).ok_or_else(denied)
    }

    /// The path itself was answered, whatever it is: it is tried each time.
    pub(super) fn is_let_through(&self, path: &str) {
        lock(&self.refusals).remove(path);
    }

    /// Remembers an engine, or that a mount may not be looked up and a path was right as it is written.
    pub(super) fn remember(&self, mount: &Mount) {
        let mut known = lock(&self.known);
        if !known.contains(mount) {
            known.push(mount.clone());
        }
    }

    /// Makes the next read ask again: the answer suggests that another engine is mounted there now.
    pub(super) fn forget(&self, mount: &Mount) {
        lock(&self.known).retain(|known| known != mount);
    }

    fn recall(&self, path: &str) -> Option<Mount> {
        // The server allows no mount below another one, so there is at most one.
        lock(&self.known).iter().find(|mount| mount.holds(path)).cloned()
    }

    fn question(&self, path: &str) -> Arc<Question> {
        let first = path.split('/').next().unwrap_or_default();
        Arc::clone(lock(&self.questions).entry(first.to_owned()).or_default())
    }
}

/// Mounts that are on every server and never KV. (Asked about `auth/token/x`, the server names the mount `token/`.)
fn built_in(path: &str) -> Option<Mount> {
    let prefix = ["auth/", "sys/"].into_iter().find(|prefix| path.starts_with(prefix))?;
    Some(Mount { path: prefix.to_owned(), engine: Engine::Other })
}

/// Asks the server. Every token may ask this, whatever its policies say: a 403 means that it may read nothing below that mount, or that
/// there is no such mount. But a proxy before the server may allow only the path of the secret, and refuse this with any error. Then there
/// is no answer here, and the answer to the path itself has to show the engine.
async fn ask(api: &Api, token: &Secret<str>, path: &str) -> Result<Option<Mount>, Fault> {
    let question = format!("sys/internal/ui/mounts/{path}");
    let answer = api.ask(Some(token), Call::get(&question)).await?;
    // These two do not mean that the look-up is refused.
    let is_later = matches!(answer.status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT);
    if answer.status.is_client_error() && !is_later {
        return Ok(None);
    }
    let state: MountState = api::parsed::<Envelope<_>>(&answer, &question, "read")?.into_data(&question)?;
    let mount = Mount { engine: state.engine(), path: state.path };
    if mount.holds(path) && mount.path.ends_with('/') {
        Ok(Some(mount))
    } else {
        Err(Fault::Malformed { why: format!("{question}: names a mount that {path} is not below") })
    }
}

/// The same for a folder: what a mount that may not be looked up lacks is the right to list it.
pub(super) fn lists(fault: Fault) -> Fault {
    match fault {
        Fault::Denied { path, capability: _ } => Fault::Denied { path, capability: "list" },
        other @ (Fault::Unreachable { .. }
        | Fault::Failing { .. }
        | Fault::Awaiting { .. }
        | Fault::Refused { .. }
        | Fault::Dead
        | Fault::Gone { .. }
        | Fault::Malformed { .. }) => other,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_belongs_to_the_mount_that_it_goes_on_from() {
        let mount = Mount { path: "team/kv/".into(), engine: Engine::Unversioned };
        let cases = [
            ("team/kv/a/b", true, "a/b"),
            ("team/kv", true, ""),
            ("team/kvx/a", false, ""),
            ("team", false, ""),
            ("kv/a", false, ""),
        ];
        for (path, holds, below) in cases {
            assert_eq!((mount.holds(path), mount.below(path)), (holds, below), "{path}");
        }
    }

    #[test]
    fn a_folder_has_a_path_to_list_and_one_to_read() {
        let kv2 = |path: &str| Mounted { path: path.to_owned(), kind: EngineKind::Kv2 };
        for (mount, path, expected) in [
            ("secret/", "secret/team", "team/"),
            ("secret/", "secret/team/a", "team/a/"),
            ("secret/", "secret", ""),
            ("secret/", "secret/data/team", "team/"),
            ("secret/", "secret/metadata/team", "team/"),
            ("secret/", "secret/data", "data/"),
            ("team/kv/", "team/kv/metadata/x", "x/"),
        ] {
            let expected = (format!("{mount}metadata/{expected}"), format!("{mount}data/{expected}"));
            assert_eq!(kv2(mount).folder(path), expected, "{path}");
        }
        let kv1 = Mounted { path: "kv1/".to_owned(), kind: EngineKind::Kv1 };
        assert_eq!(kv1.folder("kv1/data/team"), ("kv1/data/team/".to_owned(), "kv1/data/team/".to_owned()));
    }
}
