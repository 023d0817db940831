//! The key that webhooks are signed by.
//!
//! *Invariant:* a key is too long to be guessed, so that an empty field lets nobody in.

use std::fmt;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, PAD};
use ring::hmac;

use super::Delivery;
use crate::secret::{Digest, DigestKey};

/// The fewest bytes of a key.
pub const SHORTEST_KEY: usize = 16;

/// What Standard Webhooks writes before the base64 of a key.
const PREFIX: &str = "whsec_";

/// Base64 as those libraries read it: with padding or without.
const BASE64: GeneralPurpose =
    GeneralPurpose::new(&STANDARD, PAD.with_decode_padding_mode(DecodePaddingMode::Indifferent));

/// A key.
#[derive(Clone)]
pub struct Key {
    digest: Digest,
    readings: Vec<hmac::Key>,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

/// The key could be guessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the key of webhooks is shorter than {SHORTEST_KEY} bytes and could be guessed; make one with `openssl rand -base64 32`"
)]
pub struct TooShort;

impl Key {
    /// A key as the secret has it, without white space at its ends. The libraries of Standard Webhooks take a key for base64, with or without
    /// `whsec_`, and all else takes the text as it is. So a key that is base64 has both readings: whoever knows one knows the other.
    ///
    /// # Errors
    /// [`TooShort`]
    pub fn new(text: &str, digests: &DigestKey) -> Result<Self, TooShort> {
        let text = text.trim();
        let decoded = BASE64.decode(text.strip_prefix(PREFIX).unwrap_or(text)).ok();
        // The prefix is no part of a key that could not be guessed.
        let is_short = |decoded: &Vec<u8>| text.starts_with(PREFIX) && decoded.len() < SHORTEST_KEY;
        if decoded.as_ref().is_some_and(is_short) {
            return Err(TooShort);
        }
        let readings = [Some(text.as_bytes()), decoded.as_deref()].into_iter().flatten();
        let readings = readings.filter(|bytes| bytes.len() >= SHORTEST_KEY);
        let readings: Vec<_> = readings.map(|bytes| hmac::Key::new(hmac::HMAC_SHA256, bytes)).collect();
        if readings.is_empty() {
            Err(TooShort)
        } else {
            Ok(Self { digest: digests.digest(text.as_bytes()), readings })
        }
    }

    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.digest == other.digest
    }

    /// Whether one of its signatures is by this key. Each is compared in a time that does not depend on how much of it is right.
    pub(super) fn signed(&self, delivery: &Delivery) -> bool {
        self.readings.iter().any(|key| {
            delivery.signatures.iter().any(|signature| hmac::verify(key, &delivery.signed, signature).is_ok())
        })
    }
}
