//! A login with a name and a password, as the methods `userpass` and `ldap` take it.
//!
//! *Invariant:* both lock a user after some wrong passwords, so what was refused is not sent again before its file changes or the lock has
//! surely ended. The password stands in the body and never in the path.

use serde_json::json;

use super::credential::Credential;
use super::{Meaning, grant, login_path, post};
use crate::config::{PasswordConfig, PasswordKind};
use crate::source::vault::api::Api;
use crate::source::{Fault, Grant};

const USERPASS: Meaning = Meaning {
    rejected: "check username and password",
    forbidden: "the user is locked after wrong passwords, or nothing is mounted there",
    again_in: None,
};

/// A directory that does not answer is a 400 as well, and its words are not to be relied on.
const LDAP: Meaning = Meaning {
    rejected: "check username and password, and that the server reaches the directory",
    forbidden: "the user is locked after wrong passwords, or nothing is mounted there",
    again_in: None,
};

/// Logs in with what the file holds now.
pub(super) async fn log_in(api: &Api, config: &PasswordConfig) -> Result<Grant, Fault> {
    let password = Credential::read(&config.file)?.text;
    let path = format!("{}/{}", login_path(&config.mount), config.username);
    let meaning = match config.kind {
        PasswordKind::Userpass => &USERPASS,
        PasswordKind::Ldap => &LDAP,
    };
    let answer = post(api, &path, &json!({ "password": password.expose() })).await?;
    grant(&answer, &path, meaning)
}
