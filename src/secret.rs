//! The only type that holds plaintext.
//!
//! A [`Secret`] cannot be printed, compared or serialized; [`Secret::expose`] is the only way to read it, so a search for that word finds
//! every place where plaintext is used. Changes are found by keyed [`Digest`]s.
//!
//! *Invariant:* no `Display`, no `PartialEq`, no `Serialize`, and a `Debug` that shows nothing. The memory is wiped when it is
//! freed, by the allocator that `main.rs` installs, since no type can reach the copies that TLS, HTTP and JSON make.

pub mod meta;
mod packed;

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::names::Trace;

pub use meta::Meta;
pub use packed::Packed;
pub(crate) use packed::readable;

/// The fields of one secret as its source gave them: text, numbers, booleans, lists and further fields, by name in order. A tree; what
/// is held is [`Packed`].
pub type Fields = Map<String, Value>;

/// Plaintext, shared and never copied.
pub struct Secret<T: ?Sized>(Arc<T>);

impl<T: ?Sized> Secret<T> {
    /// Wraps plaintext.
    pub fn new(plaintext: impl Into<Arc<T>>) -> Self {
        Self(plaintext.into())
    }

    /// The only way to read the plaintext. Borrow as late and as briefly as possible.
    pub fn expose(&self) -> &T {
        &self.0
    }
}

impl Secret<str> {
    /// The same as bytes, not copied.
    pub fn into_bytes(self) -> Secret<[u8]> {
        Secret(self.0.into())
    }
}

impl<T: ?Sized> Clone for Secret<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: ?Sized> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The key of this run's digests. It is random, so that a digest tells others nothing.
#[derive(Clone)]
pub struct DigestKey([u8; 32]);

impl DigestKey {
    /// A key from 32 random bytes.
    pub fn new(random: [u8; 32]) -> Self {
        Self(random)
    }

    /// The digest of these bytes under this key.
    pub fn digest(&self, plaintext: &[u8]) -> Digest {
        Digest(*blake3::keyed_hash(&self.0, plaintext).as_bytes())
    }

    /// The digest of these fields. Equal fields have equal digests whatever order the source sent them in.
    pub fn digest_fields(&self, fields: &Packed) -> Digest {
        fields.digest(self)
    }
}

impl fmt::Debug for DigestKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DigestKey(…)")
    }
}

/// A digest that tells whether two plaintexts differ, and nothing else about them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Digest([u8; 32]);

impl Digest {
    /// A part of the digest as the id of a trace.
    pub fn trace(&self) -> Trace {
        let number = self.0.iter().take(16).fold(0, |number, byte| number << 8 | u128::from(*byte));
        Trace::new(format!("{number:032x}"))
    }

    /// A part of the digest, for a file name that nobody can guess without the key.
    pub fn short(&self) -> u64 {
        self.0.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({:02x}{:02x}…)", self.0[0], self.0[1])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_prints_nothing_of_itself() {
        let secret: Secret<str> = Secret::new("hunter2");
        assert_eq!(format!("{secret:?} {:?}", Some(&secret)), "Secret(…) Some(Secret(…))");
        assert_eq!(secret.expose(), "hunter2");
    }
}
