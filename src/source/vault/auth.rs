//! Logging in: credentials from their files, and what the server says to them.
//!
//! *Invariant:* files are read at each login and never kept; what is in them is in no fault.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use hyper::StatusCode;
use serde_json::{Value, json};

use super::answers::{AuthAnswer, Envelope, TokenState};
use super::api::{self, Api, Call};
use crate::config::{AppRoleConfig, AuthConfig, RoleId};
use crate::secret::Secret;
use crate::source::http::{Answer, Repeat, words};
use crate::source::{Fault, Grant};

/// The longest credential that is read, in bytes.
const LONGEST: u64 = 64 << 10;

/// Logs in with what the files hold now.
pub(super) async fn log_in(api: &Api, auth: &AuthConfig) -> Result<Grant, Fault> {
    match auth {
        AuthConfig::AppRole(role) => with_role(api, role).await,
        AuthConfig::Token { file } => with_token(api, file).await,
    }
}

/// The method, where it is mounted, and as whom it logs in. A role that stands in a file is named by what is in it, or by the
/// file while that cannot be read.
pub(super) fn identity(auth: &AuthConfig) -> (&'static str, Option<String>, Option<String>) {
    match auth {
        AuthConfig::AppRole(role) => {
            let id = match &role.role_id {
                RoleId::Inline(id) => id.clone(),
                RoleId::File(file) => {
                    credential(file).map_or_else(|_| file.display().to_string(), |id| id.expose().to_owned())
                }
            };
            ("approle", Some(role.mount.clone()), Some(id))
        }
        AuthConfig::Token { file } => ("token", None, Some(file.display().to_string())),
    }
}

async fn with_role(api: &Api, role: &AppRoleConfig) -> Result<Grant, Fault> {
    let role_id = match &role.role_id {
        RoleId::Inline(id) => id.clone(),
        RoleId::File(file) => credential(file)?.expose().to_owned(),
    };
    let mut body = json!({ "role_id": role_id });
    if let Some(file) = &role.secret_id_file {
        body["secret_id"] = credential(file)?.expose().into();
    }
    let path = format!("auth/{}/login", role.mount);
    let mut call = Call::post(&path, &body);
    // A secret-id may be good for a single use.
    call.repeat = Repeat::OnlyIfUnsent;
    let answer = api.ask(None, call).await?;
    match answer.status {
        StatusCode::BAD_REQUEST => Err(refused(&answer, &path, "check role id and secret-id")),
        StatusCode::FORBIDDEN => {
            Err(refused(&answer, &path, "the role is locked after wrong logins, or nothing is mounted there"))
        }
        _ => api::parsed::<Envelope<Value, AuthAnswer>>(&answer, &path, "update")?.grant(&path),
    }
}

async fn with_token(api: &Api, file: &Path) -> Result<Grant, Fault> {
    let token = credential(file)?;
    let path = "auth/token/lookup-self";
    let answer = api.ask(Some(&token), Call::get(path)).await?;
    if answer.status == StatusCode::FORBIDDEN {
        let either = "the token is not valid, or it may not look itself up: no default policy, bound to other addresses";
        return Err(refused(&answer, path, either));
    }
    let state = api::parsed::<Envelope<TokenState>>(&answer, path, "read")?.into_data(path)?;
    // Somebody else made it, so it is not ours to end.
    Ok(Grant { token, life: state.life(), revocable: false, uses: state.uses() })
}

fn refused(answer: &Answer, path: &str, meaning: &str) -> Fault {
    let said =
        words(answer.body.expose()).unwrap_or_else(|| format!("no reason, but {}", answer.content_type()));
    Fault::Refused { why: format!("{path}: {}: {said} ({meaning})", answer.status) }
}

/// What a credential file holds, trimmed.
fn credential(file: &Path) -> Result<Secret<str>, Fault> {
    let awaiting = |why: &str| Fault::Awaiting { file: file.to_owned(), why: why.to_owned() };
    let opened = File::open(file).map_err(|error| awaiting(&error.to_string()))?;
    // A directory can be opened, and a pipe would keep us waiting for its other end.
    if !opened.metadata().is_ok_and(|metadata| metadata.is_file()) {
        return Err(awaiting("it is not a regular file"));
    }
    let mut text = String::new();
    opened.take(LONGEST + 1).read_to_string(&mut text).map_err(|error| awaiting(&error.to_string()))?;
    match text.trim() {
        "" => Err(awaiting("it is empty")),
        _ if text.len() as u64 > LONGEST => Err(awaiting("it is longer than any credential")),
        trimmed if trimmed.contains(char::is_control) => Err(awaiting("it holds more than one line")),
        trimmed => Ok(Secret::new(trimmed)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_file_is_trimmed_and_has_to_hold_one_line_of_text() {
        let directory = tempfile::tempdir().unwrap();
        let long = vec![b'a'; 70_000];
        let cases: [(&[u8], Result<&str, &str>); 6] = [
            (b" s.abc\r\n", Ok("s.abc")),
            (b"", Err("it is empty")),
            (b" \n", Err("it is empty")),
            (b"s.abc\ns.def\n", Err("it holds more than one line")),
            (b"\xff\xfe", Err("stream did not contain valid UTF-8")),
            (&long, Err("it is longer than any credential")),
        ];
        let file = directory.path().join("credential");
        for (contents, expected) in cases {
            std::fs::write(&file, contents).unwrap();
            let expected = expected
                .map(str::to_owned)
                .map_err(|why| Fault::Awaiting { file: file.clone(), why: why.into() });
            assert_eq!(credential(&file).map(|secret| secret.expose().to_owned()), expected);
        }
        for missing in [directory.path().join("missing"), directory.path().to_owned()] {
            assert!(matches!(credential(&missing), Err(Fault::Awaiting { file, .. }) if file == missing));
        }
    }
}
