//! A login with an identity of AWS's IAM: a request for `sts:GetCallerIdentity` that is signed here, and that the server sends to AWS.
//!
//! AWS answers the server who signed it. The forms are those of
//! <https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html> and of the server's own command line.
//!
//! *Invariant:* the key itself goes nowhere; the request is good for some minutes, and where the server asks for its name, for this
//! server alone.

use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4::SigningParams;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value, json};

use super::{Meaning, NOTHING_LOCKS, grant, login_path, post};
use crate::config::AwsLoginConfig;
use crate::fact::chain;
use crate::source::vault::api::Api;
use crate::source::{Fault, Grant, aws};

const BODY: &str = "Action=GetCallerIdentity&Version=2011-06-15";

/// The region whose STS has the address without a region, as the server asks it by default.
const GLOBAL: &str = "us-east-1";

const MEANING: Meaning = Meaning {
    rejected: "check `role`, that it takes this identity, `server_id`, and that `region` is that of the STS that the server asks",
    forbidden: "nothing is mounted there, or not for this namespace",
    again_in: NOTHING_LOCKS,
};

/// Logs in with the credentials that every tool of AWS would find now.
pub(super) async fn log_in(api: &Api, config: &AwsLoginConfig) -> Result<Grant, Fault> {
    let credentials = aws::credentials(&config.account).await?;
    let body = signed(config, &credentials, SystemTime::now())
        .map_err(|why| Fault::Refused { why, again_in: NOTHING_LOCKS })?;
    let path = login_path(&config.mount);
    grant(&post(api, &path, &body).await?, &path, &MEANING)
}

/// The host of the STS of a region.
fn host(region: &str) -> String {
    match region {
        GLOBAL => "sts.amazonaws.com".to_owned(),
        _ if region.starts_with("cn-") => format!("sts.{region}.amazonaws.com.cn"),
        _ => format!("sts.{region}.amazonaws.com"),
    }
}

/// What the login sends.
fn signed(config: &AwsLoginConfig, credentials: &Credentials, now: SystemTime) -> Result<Value, String> {
    let host = host(&config.region);
    let url = format!("https://{host}/");
    let form = "application/x-www-form-urlencoded; charset=utf-8";
    let mut headers = vec![("Content-Type", form), ("Host", host.as_str())];
    headers.extend(config.server_id.as_deref().map(|id| ("X-Vault-AWS-IAM-Server-ID", id)));
    let signature = signature(config, credentials, now, (&url, &headers))?;
    let signature = signature.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    // As Go's HTTP has them: each name with the list of its values.
    let headers: Map<String, Value> =
        headers.into_iter().chain(signature).map(|(name, value)| (name.to_owned(), json!([value]))).collect();
    Ok(json!({
        "role": config.role,
        "iam_http_request_method": "POST",
        "iam_request_url": BASE64_STANDARD.encode(&url),
        "iam_request_body": BASE64_STANDARD.encode(BODY),
        "iam_request_headers": BASE64_STANDARD.encode(Value::Object(headers).to_string()),
    }))
}

/// The headers that sign the request: `Authorization`, `X-Amz-Date` and, of temporary credentials, `X-Amz-Security-Token`.
fn signature(
    config: &AwsLoginConfig,
    credentials: &Credentials,
    now: SystemTime,
    (url, headers): (&str, &[(&str, &str)]),
) -> Result<Vec<(String, String)>, String> {
    let identity = credentials.clone().into();
    let parameters = SigningParams::builder()
        .identity(&identity)
        .region(&config.region)
        .name("sts")
        .time(now)
        .settings(SigningSettings::default())
        .build()
        .map_err(|error| chain(&error))?
        .into();
    let body = SignableBody::Bytes(BODY.as_bytes());
    let request = SignableRequest::new("POST", url, headers.iter().copied(), body);
    let request = request.map_err(|error| chain(&error))?;
    let (signed, _signature) = sign(request, &parameters).map_err(|error| chain(&error))?.into_parts();
    Ok(signed.headers().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_region_has_its_own_sts() {
        for (region, expected) in [
            ("us-east-1", "sts.amazonaws.com"),
            ("eu-central-1", "sts.eu-central-1.amazonaws.com"),
            ("us-gov-west-1", "sts.us-gov-west-1.amazonaws.com"),
            ("cn-north-1", "sts.cn-north-1.amazonaws.com.cn"),
        ] {
            assert_eq!(host(region), expected);
        }
    }
}
