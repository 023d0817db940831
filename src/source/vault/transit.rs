//! The transit engine: it seals and opens data that others keep. An agent does not use it for its secrets.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Deserialize;
use serde_json::json;

use super::answers::Envelope;
use super::api::{self, Call};
use super::{Fault, Grant, Vault};
use crate::secret::Secret;

#[derive(Deserialize)]
struct Sealed {
    ciphertext: String,
}

#[derive(Deserialize)]
struct Opened {
    plaintext: String,
}

impl Vault {
    /// Seals this with a key of the transit engine at this mount.
    ///
    /// # Errors
    /// Those of any request.
    pub async fn encrypt(
        &self,
        grant: &Grant,
        (mount, key): (&str, &str),
        plain: &Secret<str>,
    ) -> Result<String, Fault> {
        let path = format!("{mount}/encrypt/{key}");
        let body = json!({ "plaintext": BASE64.encode(plain.expose()) });
        let answer = self.api.ask(Some(&grant.token), Call::post(&path, &body)).await?;
        let sealed: Sealed = api::parsed::<Envelope<_>>(&answer, &path, "update")?.into_data(&path)?;
        Ok(sealed.ciphertext)
    }

    /// Opens what [`Self::encrypt`] sealed.
    ///
    /// # Errors
    /// Those of any request; [`Fault::Failing`] for data that this key did not seal.
    pub async fn decrypt(
        &self,
        grant: &Grant,
        (mount, key): (&str, &str),
        ciphertext: &str,
    ) -> Result<Secret<str>, Fault> {
        let path = format!("{mount}/decrypt/{key}");
        let body = json!({ "ciphertext": ciphertext });
        let answer = self.api.ask(Some(&grant.token), Call::post(&path, &body)).await?;
        let opened: Opened = api::parsed::<Envelope<_>>(&answer, &path, "update")?.into_data(&path)?;
        let bytes = BASE64.decode(opened.plaintext).ok();
        let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok()).map(Secret::new);
        text.ok_or_else(|| Fault::Malformed { why: format!("{path}: what was sealed there is no text") })
    }
}
