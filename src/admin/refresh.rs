//! A refresh, and its outcome for whoever waits for it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hyper::{Response, StatusCode};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::serve::{Body, Server, json, plain, unanswered};
use crate::agent::Instruction;
use crate::names::SecretName;
use crate::ordered::Order as _;
use crate::status::{Outcome, RolloutStatus, SecretState, SecretStatus, Status};

/// How often the outcome is looked for, while somebody waits for it.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What a refresh led to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Refreshed {
    /// Whether all that was asked for came, and is live.
    pub is_done: bool,
    /// In words, what did not.
    pub problems: Vec<String>,
    /// The secrets whose value changed.
    pub changed: Vec<SecretName>,
    /// The rollout that followed, if one did.
    pub rollout: Option<RolloutStatus>,
}

pub(super) async fn refresh(
    server: &Server,
    secrets: Vec<SecretName>,
    wait: Option<Duration>,
) -> Response<Body> {
    let Some(before) = server.status().await else { return unanswered() };
    match server.instruct(Instruction::Refresh(secrets.clone())).await {
        None => return unanswered(),
        Some(Err(why)) => return plain(StatusCode::NOT_FOUND, &format!("{why}\n")),
        Some(Ok(())) => {}
    }
    let Some(wait) = wait else { return plain(StatusCode::ACCEPTED, "asked for\n") };
    let by = Instant::now() + wait;
    let (mut was_quiet, mut last) = (false, None);
    loop {
        tokio::time::sleep(LOOK_EVERY.min(by.saturating_duration_since(Instant::now()))).await;
        // Many may wait, and looking costs the agent time.
        let Some(look) = server.look().await else { return unanswered() };
        let is_late = by <= Instant::now();
        if !is_late && last.replace(Arc::clone(&look)).is_some_and(|last| Arc::ptr_eq(&last, &look)) {
            continue;
        }
        let now = &look.status;
        // A value may be on its way from the session to the agent: what is quiet twice is over.
        let is_quiet = is_answered(&before, now, &secrets) && !now.generation.is_pending;
        if is_late || (is_quiet && was_quiet) {
            let outcome = outcome(&before, now, &secrets, is_quiet);
            let code = if outcome.is_done { StatusCode::OK } else { StatusCode::CONFLICT };
            return json(code, &outcome);
        }
        was_quiet = is_quiet;
    }
}

fn asked<'a>(status: &'a Status, secrets: &'a [SecretName]) -> impl Iterator<Item = &'a SecretStatus> {
    status.secrets.iter().filter(|secret| secrets.is_empty() || secrets.contains(&secret.name))
}

/// Those of a configuration that waits, and does not hold yet.
fn awaited<'a>(now: &'a Status, secrets: &'a [SecretName]) -> impl Iterator<Item = &'a SecretName> {
    secrets.iter().filter(|name| now.secrets.iter().all(|secret| secret.name != **name))
}

/// Whether the source answered for each, after it was asked.
fn is_answered(before: &Status, now: &Status, secrets: &[SecretName]) -> bool {
    if awaited(now, secrets).next().is_some() {
        return false;
    }
    let former: BTreeMap<_, _> = before.secrets.iter().map(|secret| (&secret.name, secret.answers)).ordered();
    asked(now, secrets).all(|secret| {
        !secret.is_asked_for && former.get(&secret.name).is_none_or(|answers| secret.answers > *answers)
    })
}

fn outcome(before: &Status, now: &Status, secrets: &[SecretName], is_quiet: bool) -> Refreshed {
    let former: BTreeMap<_, _> =
        before.secrets.iter().map(|secret| (&secret.name, secret.revision)).ordered();
    let is_new = |secret: &&SecretStatus| former.get(&secret.name) != Some(&secret.revision);
    let changed: Vec<_> = asked(now, secrets).filter(is_new).map(|secret| secret.name.clone()).collect();
    let newest = before.rollouts.first().map(|rollout| rollout.generation);
    let rollout = now.rollouts.iter().find(|rollout| Some(rollout.generation) > newest).cloned();
    let mut problems: Vec<String> = asked(now, secrets).filter_map(problem).collect();
    if let Some(failed) = rollout.as_ref().filter(|rollout| rollout.outcome != Some(Outcome::Committed)) {
        let word = failed.outcome.map_or("not over", Outcome::word);
        let reason = failed.reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
        problems.push(format!("generation {} is {word}{reason}", failed.generation));
    }
    problems.extend(awaited(now, secrets).map(|secret| {
        format!("{secret}: only a new configuration has it, which waits for its secrets: `squire status` says for which")
    }));
    let waits = asked(now, secrets).any(|secret| secret.live != Some(secret.revision));
    if now.on_hold_since.is_some() && waits {
        problems.push("rollouts are on hold: `squire release` lets the new values go out".to_owned());
    }
    if !is_quiet && problems.is_empty() {
        problems.push("not over in the time that was given".to_owned());
    }
    Refreshed { is_done: problems.is_empty(), problems, changed, rollout }
}

fn problem(secret: &SecretStatus) -> Option<String> {
    let trouble = secret.trouble.as_ref().map(|trouble| format!("{}: {trouble}", secret.name));
    let is_held = secret.state == SecretState::Held;
    trouble.or_else(|| is_held.then(|| format!("{}: held at the last good value", secret.name)))
}
