//! Response-wrapping tokens: each is looked up before it is used, since a thief could have put his own in its place.
//!
//! *Invariant:* nothing is unwrapped that another path than the role's made.

use std::time::SystemTime;

use hyper::StatusCode;
use serde_json::json;

use super::api::{self, Api, Call};
use super::refused;
use crate::config::CredentialFrom;
use crate::secret::Secret;
use crate::source::Fault;
use crate::source::http::{Answer, Repeat};
use crate::source::vault::answers::{Envelope, MadeSecretId, WrappingState};

/// What was wrapped.
pub(super) struct Unwrapped {
    pub(super) secret_id: Secret<str>,
    /// How many logins it is good for.
    pub(super) uses: Option<u64>,
    /// When it ends.
    pub(super) ends: Option<SystemTime>,
}

/// The secret-id that this token wraps.
pub(super) async fn unwrap(
    api: &Api,
    mount: &str,
    from: &CredentialFrom,
    token: &Secret<str>,
) -> Result<Unwrapped, Fault> {
    let path = "sys/wrapping/lookup";
    let answer = api.ask(None, Call::post(path, &json!({ "token": token.expose() }))).await?;
    let state: WrappingState = valid(&answer, path, from)?.into_data(path)?;
    if !makes_secret_ids(&state.creation_path, mount) {
        return Err(foreign(&state.creation_path, mount, from));
    }
    let path = "sys/wrapping/unwrap";
    let mut call = Call::post(path, &json!({}));
    call.repeat = Repeat::OnlyIfUnsent;
    let answer = api.ask(Some(token), call).await?;
    let made: MadeSecretId = valid(&answer, path, from)?.into_data(path)?;
    let (uses, ends) = (made.uses(), made.ends(state.made(SystemTime::now())));
    Ok(Unwrapped { secret_id: made.secret_id, uses, ends })
}

/// Whether this is where the method makes secret-ids: `auth/MOUNT/role/ROLE/secret-id` or `…/custom-secret-id`.
fn makes_secret_ids(path: &str, mount: &str) -> bool {
    let role = path.strip_prefix("auth/").and_then(|rest| rest.strip_prefix(mount));
    let role = role.and_then(|rest| rest.strip_prefix("/role/")).and_then(|rest| rest.split_once('/'));
    matches!(role, Some((role, "secret-id" | "custom-secret-id")) if !role.is_empty())
}

/// The answer of a wrapping token that lives.
fn valid<T: serde::de::DeserializeOwned>(
    answer: &Answer,
    path: &str,
    from: &CredentialFrom,
) -> Result<Envelope<T>, Fault> {
    if !matches!(answer.status, StatusCode::BAD_REQUEST | StatusCode::FORBIDDEN) {
        return api::parsed(answer, path, "update");
    }
    tracing::error!(
        file = %from,
        "SECURITY: wrapping token is not valid: if it has not expired, somebody else may have unwrapped the secret-id"
    );
    let meaning = format!(
        "the wrapping token in {from} was used already, has expired, or is none; if it was used, somebody else may hold the \
         secret-id: destroy that, and write a new wrapping token",
    );
    Err(refused(answer, path, &meaning, None))
}

fn foreign(found: &str, mount: &str, from: &CredentialFrom) -> Fault {
    let expected = format!("auth/{mount}/role/*/secret-id");
    tracing::error!(
        file = %from,
        found,
        expected,
        "SECURITY: wrapping token comes from another path and is not used: somebody may have taken the right one"
    );
    let why = format!(
        "the wrapping token in {from} was made at {found:?}, not at {expected}: somebody may have taken the right one and put this \
         in its place (or check `mount`)",
    );
    Fault::Refused { why, again_in: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_paths_that_make_secret_ids_of_the_mount_are_right() {
        let cases = [
            ("auth/approle/role/app/secret-id", true),
            ("auth/approle/role/app/custom-secret-id", true),
            ("auth/approle/role/app/secret-id/", false),
            ("auth/approle/role/app/secret-id/lookup", false),
            ("auth/approle/role/app/role-id", false),
            ("auth/approle/role//secret-id", false),
            ("auth/approle/role/secret-id", false),
            ("auth/approle2/role/app/secret-id", false),
            ("auth/other/role/app/secret-id", false),
            ("sys/wrapping/wrap", false),
            ("secret/data/auth/approle/role/app/secret-id", false),
            ("", false),
        ];
        for (path, expected) in cases {
            assert_eq!(makes_secret_ids(path, "approle"), expected, "{path}");
        }
        assert!(makes_secret_ids("auth/teams/a/role/app/secret-id", "teams/a"));
    }
}
