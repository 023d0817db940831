//! A login of a machine of Azure: a token of its managed identity, and where the machine is.
//!
//! The forms are those of <https://learn.microsoft.com/en-us/azure/virtual-machines/instance-metadata-service> and of the server's own
//! agent.

use serde::Deserialize;
use serde_json::json;

use super::metadata::Metadata;
use super::{Meaning, NOTHING_LOCKS, grant, login_path, post};
use crate::config::AzureLoginConfig;
use crate::source::vault::api::Api;
use crate::source::{Fault, Grant};

const TOKEN: &str = "/metadata/identity/oauth2/token";
const INSTANCE: &str = "/metadata/instance";

/// The first version that knows managed identities.
const VERSION: (&str, &str) = ("api-version", "2018-02-01");

const MEANING: Meaning = Meaning {
    rejected: "check `role`, what it asks of the machine, and that `resource` is that of the server's method",
    forbidden: "nothing is mounted there, or not for this namespace",
    again_in: NOTHING_LOCKS,
};

#[derive(Deserialize)]
struct Token {
    access_token: String,
}

#[derive(Deserialize)]
struct Instance {
    compute: Compute,
}

/// Where the machine is. One that is part of a set is named by that.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Compute {
    name: String,
    resource_group_name: String,
    subscription_id: String,
    #[serde(default)]
    vm_scale_set_name: String,
}

/// Logs in with a token that is made, or still good, now.
pub(super) async fn log_in(api: &Api, config: &AzureLoginConfig) -> Result<Grant, Fault> {
    let metadata = Metadata::at(&config.metadata, "metadata", "true")?;
    let client = config.client_id.iter().map(|id| ("client_id", id.as_str()));
    let parameters: Vec<_> =
        [VERSION, ("resource", config.resource.as_str())].into_iter().chain(client).collect();
    let meaning = "check that the machine has a managed identity, and that `resource` is right";
    let token: Token = metadata.json(TOKEN, &parameters, meaning).await?;
    let instance: Instance = metadata.json(INSTANCE, &[VERSION], "this is no machine of Azure").await?;
    let Compute { name, resource_group_name, subscription_id, vm_scale_set_name } = instance.compute;
    let path = login_path(&config.mount);
    let body = json!({
        "role": config.role,
        "jwt": token.access_token,
        "subscription_id": subscription_id,
        "resource_group_name": resource_group_name,
        "vm_name": name,
        "vmss_name": vm_scale_set_name,
    });
    grant(&post(api, &path, &body).await?, &path, &MEANING)
}
