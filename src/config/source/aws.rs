//! `type = "aws"`: AWS Secrets Manager.
//!
//! If the table does not set region, endpoint or credentials, the SDK finds them in the same places as every tool of AWS.

use super::{REFRESH, address, from_variable, path_setting, proxy, said_in_clear, setting};
use crate::config::reader::{Table, Value};
use crate::config::value::{Form, PATH, POSITIVE_DURATION, TEXT, WORD};
use crate::config::{AssumedRole, Authorities, AwsConfig, AwsKeys};
use crate::secret::Secret;

/// The variables that contain an AWS key.
pub const AWS_VARIABLES: [&str; 3] = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"];

pub(super) fn aws(mut table: Table<'_>) -> Option<AwsConfig> {
    refuse_keys(&mut table);
    let region = setting(&mut table, "region", ["AWS_REGION", "AWS_DEFAULT_REGION"], &REGION);
    let endpoint = table.read("endpoint", &address::ENDPOINT);
    let profile = table.read("profile", &WORD);
    let ca_file = path_setting(&mut table, "ca_file", ["AWS_CA_BUNDLE"; 2]);
    let authorities = ca_file.map_or(Authorities::System, Authorities::File);
    let proxy = proxy::of_aws(&mut table);
    let cautions = cautions(&table, endpoint.as_deref());
    let refresh = table.read("refresh", &POSITIVE_DURATION).unwrap_or(REFRESH);
    let role = table.take("assume_role");
    let assume_role = role.as_ref().and_then(assumed);
    let keys = if profile.is_some() { None } else { keys(&table) };
    table.finish();
    if role.is_some() && assume_role.is_none() {
        return None;
    }
    Some(AwsConfig { region, endpoint, profile, authorities, proxy, refresh, assume_role, keys, cautions })
}

/// No key of AWS is taken from a configuration.
pub(in crate::config) fn refuse_keys(table: &mut Table<'_>) {
    for key in ["access_key_id", "secret_access_key", "session_token", "access_key", "secret_key"] {
        table.refuse(
            key,
            "no key is written in the configuration; give it in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or in a profile, \
             or leave it to the role of the machine or container",
        );
    }
}

/// An account that nothing is asked of: its credentials are for a login elsewhere, and all of it is found where every tool of AWS finds it.
pub(in crate::config) fn of_login(table: &Table<'_>) -> AwsConfig {
    let ca_file = from_variable(table, ["AWS_CA_BUNDLE"; 2], &PATH);
    AwsConfig {
        region: from_variable(table, ["AWS_REGION", "AWS_DEFAULT_REGION"], &REGION),
        endpoint: None,
        profile: None,
        authorities: ca_file.map_or(Authorities::System, Authorities::File),
        proxy: proxy::of_environment(table),
        refresh: REFRESH,
        assume_role: None,
        keys: keys(table),
        cautions: Vec::new(),
    }
}

/// The SDK reads AWS's own variables for the address; Squire only warns about them.
fn cautions(table: &Table<'_>, endpoint: Option<&str>) -> Vec<String> {
    let variable = table.variable(["AWS_ENDPOINT_URL_SECRETS_MANAGER", "AWS_ENDPOINT_URL"]);
    let variable = variable.map(|(_, address)| address);
    let host = endpoint.or(variable.as_deref()).and_then(address::in_clear);
    host.iter().map(|host| said_in_clear(host)).collect()
}

fn assumed(value: &Value<'_>) -> Option<AssumedRole> {
    let mut table = value.table("a table: [source.NAME.assume_role]")?;
    let arn = table.require("arn", "arn = \"arn:aws:iam::123456789012:role/app\"");
    let arn = arn.and_then(|arn| arn.read(&ROLE));
    let external_id = table.read("external_id", &TEXT);
    let session_name = table.read("session_name", &SESSION_NAME);
    table.finish();
    Some(AssumedRole {
        arn: arn?,
        external_id,
        session_name: session_name.unwrap_or_else(|| "squire".to_owned()),
    })
}

/// They are read here, because they are wiped from the environment before the SDK could read them.
fn keys(table: &Table<'_>) -> Option<AwsKeys> {
    let secret = |name| from_variable(table, [name; 2], &TEXT).filter(|text| !text.trim().is_empty());
    let id = secret("AWS_ACCESS_KEY_ID")?;
    let key = secret("AWS_SECRET_ACCESS_KEY");
    if key.is_none() {
        table.report(
            "the environment variable AWS_ACCESS_KEY_ID is set without AWS_SECRET_ACCESS_KEY; set both or neither",
        );
    }
    let session_token = secret("AWS_SESSION_TOKEN").map(|token| Secret::new(token.trim()));
    Some(AwsKeys { id: id.trim().to_owned(), key: Secret::new(key?.trim()), session_token })
}

/// A name or an ARN, taken to the letter: a slash at the beginning is part of it.
pub(in crate::config) const SECRET_ID: Form<String> =
    Form { expected: "the name or ARN of a secret in quotes", shown: true, read: secret_id };

/// The characters that AWS accepts, <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_CreateSecret.html>, and those that
/// its own services use in names.
fn secret_id(text: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "/_+=.@-!:".contains(c);
    if text.is_empty() || !text.chars().all(fits) {
        Err("is no name of a secret in AWS; it has letters, digits and `/_+=.@-`, or is an ARN".to_owned())
    } else {
        Ok(text.to_owned())
    }
}

pub(in crate::config) const REGION: Form<String> =
    Form { expected: "a region in quotes, such as \"eu-central-1\"", shown: true, read: region };

fn region(text: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if !text.is_empty() && text.chars().all(fits) {
        Ok(text.to_owned())
    } else {
        Err("is not a region; write for example \"eu-central-1\"".to_owned())
    }
}

const ROLE: Form<String> = Form { expected: "the ARN of a role in quotes", shown: true, read: role };

fn role(text: &str) -> Result<String, String> {
    let parts: Vec<&str> = text.splitn(6, ':').collect();
    match parts[..] {
        ["arn", _, "iam", "", account, role] if !account.is_empty() && role.starts_with("role/") => {
            Ok(text.to_owned())
        }
        _ => {
            Err("is not the ARN of a role; write for example \"arn:aws:iam::123456789012:role/app\""
                .to_owned())
        }
    }
}

/// The characters that AWS accepts: <https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html>
const SESSION_NAME: Form<String> = Form { expected: "a name in quotes", shown: true, read: session_name };

fn session_name(text: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "_=,.@-".contains(c);
    if (2..=64).contains(&text.len()) && text.chars().all(fits) {
        Ok(text.to_owned())
    } else {
        Err("is not a name for a session; it has 2 to 64 letters, digits and `_=,.@-`".to_owned())
    }
}
