//! Random bytes, and bytes as text.
//!
//! *Invariant:* every key, nonce, salt and id is new.

use std::fmt::Write;

use super::error::StoreError;
use super::seal::{Key, NONCE};

pub(super) fn random<const N: usize>() -> Result<[u8; N], StoreError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| StoreError::Random { why: error.to_string() })?;
    Ok(bytes)
}

pub(super) fn key() -> Result<Key, StoreError> {
    random().map(Key::new)
}

pub(super) fn nonce() -> Result<[u8; NONCE], StoreError> {
    random()
}

pub(super) fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // Writing to a text cannot fail.
        write!(text, "{byte:02x}").ok();
    }
    text
}

pub(super) fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let text = text.trim();
    if text.len() != 2 * N || !text.is_ascii() {
        return None;
    }
    let mut bytes = [0; N];
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * index..2 * index + 2)?, 16).ok()?;
    }
    Some(bytes)
}
