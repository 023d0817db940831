//! Random bytes.
//!
//! *Invariant:* every key, nonce, salt and id is new.

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
