//! Logins of machines in a cloud: the cloud says who they are, so no file holds a credential.
//!
//! *Invariant:* the address of a metadata service is one of this machine's cloud, so it is never asked through a proxy.

use super::{mount, role};
use crate::config::reader::Table;
use crate::config::source::{address, aws};
use crate::config::value::{Form, WORD};
use crate::config::{AuthConfig, AwsLoginConfig, AzureLoginConfig, GcpLoginConfig};

/// Whose STS the server asks if it is not told another one; its `sts_region` has to be the same region.
const REGION: &str = "us-east-1";

/// <https://cloud.google.com/compute/docs/metadata/querying-metadata>
const GCP_METADATA: &str = "http://metadata.google.internal";

/// <https://learn.microsoft.com/en-us/azure/virtual-machines/instance-metadata-service>
const AZURE_METADATA: &str = "http://169.254.169.254";

/// The audience that the server's own documentation takes for its method.
const AZURE_RESOURCE: &str = "https://management.azure.com/";

/// `[source.NAME.auth.aws]`
pub(super) fn aws(mut table: Table<'_>) -> Option<AuthConfig> {
    if !cfg!(feature = "aws") {
        table.report("is not in this build; build Squire with its feature `aws`");
    }
    aws::refuse_keys(&mut table);
    let (mount, role) = (mount(&mut table, "aws"), role(&mut table));
    let region = table.take("region").map_or_else(|| Some(REGION.to_owned()), |it| it.read(&aws::REGION));
    let server_id = table.read("server_id", &HEADER);
    let account = aws::of_login(&table);
    table.finish();
    let login = AwsLoginConfig { mount: mount?, role: role?, region: region?, server_id, account };
    Some(AuthConfig::Aws(Box::new(login)))
}

/// `[source.NAME.auth.gcp]`
pub(super) fn gcp(mut table: Table<'_>) -> Option<AuthConfig> {
    let (mount, role) = (mount(&mut table, "gcp"), role(&mut table));
    let metadata = metadata(&mut table, GCP_METADATA);
    table.finish();
    Some(AuthConfig::Gcp(GcpLoginConfig { mount: mount?, role: role?, metadata: metadata? }))
}

/// `[source.NAME.auth.azure]`
pub(super) fn azure(mut table: Table<'_>) -> Option<AuthConfig> {
    let (mount, role) = (mount(&mut table, "azure"), role(&mut table));
    let usual = || Some(AZURE_RESOURCE.to_owned());
    let resource = table.take("resource").map_or_else(usual, |resource| resource.read(&WORD));
    let client_id = table.read("client_id", &WORD);
    let metadata = metadata(&mut table, AZURE_METADATA);
    table.finish();
    Some(AuthConfig::Azure(AzureLoginConfig {
        mount: mount?,
        role: role?,
        resource: resource?,
        client_id,
        metadata: metadata?,
    }))
}

fn metadata(table: &mut Table<'_>, usual: &str) -> Option<String> {
    table.take("metadata").map_or_else(|| Some(usual.to_owned()), |it| it.read(&address::ENDPOINT))
}

/// The value of a header.
const HEADER: Form<String> = Form { expected: "text in quotes", shown: true, read: header };

fn header(text: &str) -> Result<String, String> {
    if !text.is_empty() && text.chars().all(|c| c.is_ascii_graphic()) {
        Ok(text.to_owned())
    } else {
        Err("cannot be sent in a header; it may have neither spaces nor anything outside ASCII".to_owned())
    }
}
