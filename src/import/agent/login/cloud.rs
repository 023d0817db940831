//! Logins by an identity of a cloud.
//!
//! *Invariant:* a key of a cloud that stands in the text is never repeated.

use super::super::super::foreign::Auth;
use super::super::super::hcl::Fields;
use super::super::super::{Notes, Place};
use super::role;

/// Says once for each of these that is there why it is not taken over.
fn left(config: &mut Fields<'_>, keys: &[&str], advice: &str, notes: &mut Notes) {
    for key in keys {
        if config.take(key, notes).is_some() {
            notes.left(config.place_of(key), *key, advice);
        }
    }
}

pub(super) fn aws(
    config: &mut Fields<'_>,
    mount: Option<String>,
    at: Place,
    notes: &mut Notes,
) -> Option<Auth> {
    let kind = config.word("type", notes);
    if kind.as_deref().is_some_and(|kind| kind != "iam") {
        let advice = "Squire logs in with an identity of IAM: give the role auth_type=iam and bound_iam_principal_arn; the login stands here as that";
        notes.left(config.place_of("type"), "type", advice);
    } else if kind.is_none() {
        notes.left(at, "type", "the agent needs it: `iam` or `ec2`. Squire has iam, which stands here");
    }
    let role = role(config, "aws", notes);
    let region = config.word("region", notes);
    let server_id = config.word("header_value", notes);
    let keys = ["access_key", "secret_key", "session_token"];
    left(
        config,
        &keys,
        "a credential in the text is not taken over: Squire finds one where every tool of AWS does, in AWS_ACCESS_KEY_ID and its kin, \
         AWS's files, or the role of the machine",
        notes,
    );
    if config.take("nonce", notes).is_some() {
        notes.told(config.place_of("nonce"), "nonce", "it is of the type ec2; left out");
    }
    if config.take("credential_poll_interval", notes).is_some() {
        let advice = "Squire looks for credentials at each login, and watches the files of AWS; left out";
        notes.told(config.place_of("credential_poll_interval"), "credential_poll_interval", advice);
    }
    Some(Auth::Aws { mount, role: role?, region, server_id })
}

pub(super) fn gcp(config: &mut Fields<'_>, mount: Option<String>, notes: &mut Notes) -> Option<Auth> {
    let kind = config.word("type", notes);
    if kind.as_deref() == Some("iam") {
        let advice = "there the agent signs by the API of IAM; here the metadata service signs for the machine's service account, which a role \
                      of this type takes too";
        notes.told(config.place_of("type"), "type", advice);
    }
    let role = role(config, "gcp", notes);
    left(
        config,
        &["credentials"],
        "Squire logs in as the machine's own service account, and reads no file with a key; run it where that account is",
        notes,
    );
    if config.word("service_account", notes).is_some_and(|account| account != "default") {
        let advice = "Squire logs in as the machine's own service account; give the role to that one";
        notes.left(config.place_of("service_account"), "service_account", advice);
    }
    for key in ["project", "jwt_exp"] {
        if config.take(key, notes).is_some() {
            notes.told(config.place_of(key), key, "the metadata service knows it; left out");
        }
    }
    Some(Auth::Gcp { mount, role: role? })
}

pub(super) fn azure(config: &mut Fields<'_>, mount: Option<String>, notes: &mut Notes) -> Option<Auth> {
    const USUAL: &str = "https://management.azure.com/";
    let role = role(config, "azure", notes);
    let resource = config.word("resource", notes).filter(|resource| resource != USUAL);
    let client_id = config.word("client_id", notes);
    left(
        config,
        &["object_id"],
        "Squire names a managed identity by its client id; write that into client_id",
        notes,
    );
    left(
        config,
        &["scope"],
        "Squire asks the metadata service, which takes a `resource`: the scope without `/.default` at its end",
        notes,
    );
    if config.boolean("authenticate_from_environment", notes) == Some(true) {
        let advice =
            "Squire logs in by the machine's managed identity, and not by AZURE_CLIENT_SECRET and its kin";
        notes.left(config.place_of("authenticate_from_environment"), "authenticate_from_environment", advice);
    }
    Some(Auth::Azure { mount, role: role?, resource, client_id })
}
