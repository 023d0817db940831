//! A signed token that says who we are, as the methods `jwt` and `kubernetes` take it.
//!
//! *Invariant:* its file is read at each login, since whoever keeps it fresh replaces it.

use serde_json::json;

use super::credential::Credential;
use super::{Meaning, grant, login_path, post};
use crate::config::JwtConfig;
use crate::source::vault::api::Api;
use crate::source::{Fault, Grant};

/// Logs in with what the file holds now.
pub(super) async fn log_in(api: &Api, config: &JwtConfig, meaning: &Meaning) -> Result<Grant, Fault> {
    let jwt = Credential::read(&config.file)?.text;
    let path = login_path(&config.mount);
    let body = json!({ "role": config.role, "jwt": jwt.expose() });
    grant(&post(api, &path, &body).await?, &path, meaning)
}
