//! Helpers that write text so that another language reads it back unchanged.
//!
//! *Invariant:* no text can leave the quotes or the alphabet that it is put in.

use base64::Engine as _;
use base64::alphabet::{self, Alphabet};
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD, URL_SAFE};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use ring::hmac;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::carry::NUL;
use super::{Arguments, Complaint};
use crate::hex::hex;

/// All characters except the unreserved ones of RFC 3986, section 2.3.
const RESERVED: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// One word of a POSIX shell: in single quotes, where nothing but the quote itself is special.
pub(super) fn shell(arguments: &Arguments<'_>) -> Result<Value, Complaint> {
    Ok(format!("'{}'", arguments.text_without(0, &[NUL])?.replace('\'', r"'\''")).into())
}

/// Percent-encoded for any part of a URL. Without NUL: a reader in C would decode `%00` and end the text there.
pub(super) fn url(arguments: &Arguments<'_>) -> Result<Value, Complaint> {
    Ok(utf8_percent_encode(&arguments.text_without(0, &[NUL])?, &RESERVED).to_string().into())
}

/// Standard alphabet, padded.
pub(super) fn base64(arguments: &Arguments<'_>) -> Result<Value, Complaint> {
    Ok(STANDARD.encode(arguments.text(0)?.as_bytes()).into())
}

/// Standard alphabet, padded or not; white space is skipped. The decoded bytes have to be text.
pub(super) fn base64_decode(arguments: &Arguments<'_>) -> Result<Value, Complaint> {
    let text = arguments.text(0)?;
    let label = arguments.label(0);
    // The library's errors for both steps contain bytes of the value.
    let Some(bytes) = decoded(&text) else {
        return Err(Complaint::new(format_args!("{label} is not base64")));
    };
    match String::from_utf8(bytes) {
        Ok(text) => Ok(text.into()),
        Err(_) => Err(Complaint::new(format_args!(
            "{label} is base64 of bytes that are no text; for a file of bytes write base64 = \"{{{{secret.field}}}}\" in its [[file]]"
        ))),
    }
}

/// The alphabet of URLs (RFC 4648, section 5), padded.
pub(super) fn base64_url(arguments: &Arguments<'_>) -> Result<Value, Complaint> {
    Ok(URL_SAFE.encode(arguments.text(0)?.as_bytes()).into())
}

/// The alphabet of URLs, padded or not. The decoded bytes have to be text.
pub(super) fn base64_url_decode(arguments: &Arguments<'_>) -> Result<Value, Complaint> {
    let bytes = decoded_by(&alphabet::URL_SAFE, &arguments.text(0)?);
    let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    let label = arguments.label(0);
    text.map(Value::from).ok_or_else(|| {
        Complaint::new(format_args!("{label} is not text in base64 with the alphabet of URLs"))
    })
}

/// Decodes base64 of the standard alphabet, padded or not; white space is skipped.
pub(in crate::template) fn decoded(text: &str) -> Option<Vec<u8>> {
    decoded_by(&alphabet::STANDARD, text)
}

fn decoded_by(alphabet: &Alphabet, text: &str) -> Option<Vec<u8>> {
    const LENIENT: GeneralPurposeConfig =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let encoded: String = text.split_ascii_whitespace().collect();
    GeneralPurpose::new(alphabet, LENIENT).decode(encoded).ok()
}

/// In hexadecimal digits.
pub(super) fn sha256(arguments: &Arguments<'_>) -> Result<Value, Complaint> {
    Ok(hex(&Sha256::digest(arguments.text(0)?.as_bytes())).into())
}

/// The HMAC-SHA256 of a text under a key, in hexadecimal digits.
pub(super) fn hmac_sha256(arguments: &Arguments<'_>) -> Result<Value, Complaint> {
    let (text, key) = (arguments.text(0)?, arguments.some_text(1)?);
    let key = hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes());
    Ok(hex(hmac::sign(&key, text.as_bytes()).as_ref()).into())
}
