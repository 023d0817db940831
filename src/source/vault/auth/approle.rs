//! An AppRole login.
//!
//! *Invariant:* the role id is read first, so that no wrapping token is used up while there is no role to log in to.

use hyper::StatusCode;
use serde_json::json;

use super::credential::Credential;
use super::drawer::Drawer;
use super::secret_id::{self, Memory};
use super::{Meaning, grant, login_path, post};
use crate::config::{AppRoleConfig, RoleId};
use crate::source::vault::api::Api;
use crate::source::{Fault, Grant};

const MEANING: Meaning = Meaning {
    rejected: "check role id and secret-id",
    forbidden: "the role is locked after wrong logins, or nothing is mounted there",
    again_in: None,
};

/// Logs in with the secret-id that the file holds or, where that is gone, with the one before, of this run or, from the drawer, of an
/// earlier one.
pub(super) async fn log_in(
    api: &Api,
    role: &AppRoleConfig,
    memory: &mut Memory,
    drawer: Option<&Drawer>,
) -> Result<Grant, Fault> {
    let role_id = match &role.role_id {
        RoleId::Inline(id) => id.clone(),
        RoleId::File(file) => Credential::read(file)?.text.expose().to_owned(),
    };
    let drawer = drawer.map(|drawer| drawer.of(&role_id));
    let drawer = drawer.as_ref();
    let mut body = json!({ "role_id": role_id });
    if let Some(config) = &role.secret_id {
        let secret_id = secret_id::current(api, &role.mount, config, memory, drawer).await?;
        body["secret_id"] = secret_id.expose().into();
    }
    let path = login_path(&role.mount);
    let answer = post(api, &path, &body).await?;
    let mut outcome = grant(&answer, &path, &MEANING);
    match (&mut outcome, &role.secret_id) {
        (Ok(_), Some(config)) => secret_id::worked(config, memory, drawer),
        (Err(Fault::Refused { again_in, .. }), Some(config)) if answer.status == StatusCode::BAD_REQUEST => {
            *again_in = secret_id::refused(config, memory, drawer);
        }
        (Ok(_) | Err(_), _) => {}
    }
    outcome
}
