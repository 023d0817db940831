//! Helpers that make a credential of another form out of a secret.
//!
//! *Invariant:* the same secret gives the same text, so that nothing looks rotated that is not.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::carry::{Ban, COLON, CONTROL, NUL};
use super::{Arguments, Complaint};
use crate::template::arguments::text;

/// `base64(user:password)`, as in HTTP's basic authentication (RFC 7617), which knows no colon in a user and no control characters.
pub(super) fn basic_auth(arguments: &Arguments<'_>) -> Result<Value, Complaint> {
    let user = arguments.text_without(0, &[CONTROL, COLON])?;
    let password = arguments.text_without(1, &[CONTROL])?;
    Ok(STANDARD.encode(format!("{user}:{password}")).into())
}

/// What Apache's `htpasswd -B` could do for years, and Prometheus recommends: 50 ms.
const COST: u32 = 10;

/// bcrypt cuts the rest off.
const TOO_LONG: Ban = Ban::new("more than 72 bytes", |text| text.len() > 72);

/// The bcrypt hash of a password. Its salt is made of the other texts and not of chance, or each rendering would look like a rotation; and
/// not of the password, or its digest would be there for whoever guesses passwords, at the cost of one SHA-256 and not of bcrypt.
pub(super) fn bcrypt(arguments: &Arguments<'_>) -> Result<Value, Complaint> {
    let password = arguments.text_without(0, &[NUL, TOO_LONG])?;
    let mut named = Sha256::new_with_prefix("squire: the salt of a bcrypt hash");
    for index in 1..arguments.count_of_values() {
        let part = arguments.some_text(index)?;
        named.update((part.len() as u64).to_le_bytes());
        named.update(part.as_bytes());
    }
    let digest = named.finalize();
    let mut salt = [0; 16];
    salt.iter_mut().zip(digest).for_each(|(byte, of_digest)| *byte = of_digest);
    let hash = bcrypt::hash_with_salt(password.as_bytes(), COST, salt);
    let hash = hash.map_err(|_| arguments.refuse(0, "something"))?;
    Ok(hash.format_for_version(bcrypt::Version::TwoY).into())
}

/// Certificates and keys in PEM, one or a list of them: with the line breaks of Unix, also where they were written as `\n`, and none at the
/// end.
pub(super) fn pem(arguments: &Arguments<'_>) -> Result<Value, Complaint> {
    let value = arguments.value(0);
    let blocks: Option<Vec<Cow<'_, str>>> = match value {
        Value::Array(items) => items.iter().map(text).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {
            Some(vec![arguments.text(0)?])
        }
    };
    let blocks = blocks.unwrap_or_default();
    let blocks: Option<Vec<String>> = blocks.iter().map(|block| unix(block)).collect();
    match blocks {
        Some(blocks) if !blocks.is_empty() => Ok(blocks.join("\n").into()),
        _ => Err(Complaint::new(format_args!(
            "{} is no PEM: it does not go from -----BEGIN to -----END",
            arguments.label(0)
        ))),
    }
}

/// Nothing if it is no PEM.
fn unix(block: &str) -> Option<String> {
    let block = if block.trim().contains('\n') {
        Cow::Borrowed(block)
    } else {
        Cow::Owned(block.replace("\\n", "\n"))
    };
    let lines: Vec<&str> = block.trim().lines().map(str::trim_end).collect();
    let begins = lines.first().is_some_and(|line| line.starts_with("-----BEGIN "));
    let ends = lines.last().is_some_and(|line| line.starts_with("-----END ") && line.ends_with("-----"));
    let is_text = !lines.iter().any(|line| line.contains(char::is_control));
    (begins && ends && is_text).then(|| lines.join("\n"))
}
