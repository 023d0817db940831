//! A login of a machine of Google's cloud: its metadata service signs a JWT for this role.
//!
//! The forms are those of <https://cloud.google.com/compute/docs/instances/verifying-instance-identity> and of the server's own agent.

use serde_json::json;

use super::metadata::Metadata;
use super::{Meaning, NOTHING_LOCKS, grant, login_path, post};
use crate::config::GcpLoginConfig;
use crate::source::vault::api::Api;
use crate::source::{Fault, Grant};

/// Of the service account that the machine has.
const IDENTITY: &str = "/computeMetadata/v1/instance/service-accounts/default/identity";

const MEANING: Meaning = Meaning {
    rejected: "check `role`, and what it asks of the machine: its project, zone, labels or service account",
    forbidden: "nothing is mounted there, or not for this namespace",
    again_in: NOTHING_LOCKS,
};

/// Logs in with a JWT that is made now.
pub(super) async fn log_in(api: &Api, config: &GcpLoginConfig) -> Result<Grant, Fault> {
    let metadata = Metadata::at(&config.metadata, "metadata-flavor", "Google")?;
    // The server looks for this end of the audience, so that a JWT for one role is good for no other.
    let audience = format!("http://vault/{}", config.role);
    let parameters = [("audience", audience.as_str()), ("format", "full")];
    let jwt = metadata.text(IDENTITY, &parameters, "check that the machine has a service account").await?;
    if !jwt.expose().chars().all(|c| c.is_ascii_graphic()) {
        return Err(metadata.malformed(IDENTITY));
    }
    let path = login_path(&config.mount);
    let body = json!({ "role": config.role, "jwt": jwt.expose() });
    grant(&post(api, &path, &body).await?, &path, &MEANING)
}
