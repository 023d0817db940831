//! Signatures: readers can check them, but cannot make them.
//!
//! All roles of an environment can open and make its seals, so a seal does not prove who wrote it. Ed25519 does: only roles with the right
//! to it have the signing key.
//!
//! *Invariant:* pure. A signature is bound to its [`Place`], like a seal.

use ed25519_dalek::{Signature as Ed25519, Signer as _, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};

use super::seal::{KEY, Key, Place};
use crate::hex::as_hex;

/// The length of a signature.
pub(super) const SIGNATURE: usize = 64;

/// A signature.
pub(super) type Signature = [u8; SIGNATURE];

/// A public key. It is not secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Public(#[serde(with = "as_hex")] [u8; KEY]);

/// A signing key, prepared for many signatures.
pub(super) struct Signer(SigningKey);

impl Signer {
    pub(super) fn new(signing: &Key) -> Self {
        Self(SigningKey::from_bytes(signing.expose()))
    }

    /// Signs bytes in their place: the same bytes always give the same signature.
    pub(super) fn sign(&self, place: Place<'_>, bytes: &[u8]) -> Signature {
        self.0.sign(&message(place, bytes)).to_bytes()
    }
}

/// The key that checks what this one signs.
pub(super) fn public(signing: &Key) -> Public {
    Public(SigningKey::from_bytes(signing.expose()).verifying_key().to_bytes())
}

/// Signs bytes in their place.
pub(super) fn sign(signing: &Key, place: Place<'_>, bytes: &[u8]) -> Signature {
    Signer::new(signing).sign(place, bytes)
}

impl Public {
    /// Whether the holder of the signing key signed these bytes in this place.
    pub(super) fn signed(&self, place: Place<'_>, bytes: &[u8], signature: &Signature) -> bool {
        VerifyingKey::from_bytes(&self.0).is_ok_and(|key| {
            key.verify_strict(&message(place, bytes), &Ed25519::from_bytes(signature)).is_ok()
        })
    }

    /// Its bytes, to be part of a digest.
    pub(super) fn as_bytes(&self) -> &[u8; KEY] {
        &self.0
    }
}

/// The place contains its own length, so no two pairs give the same message.
fn message(place: Place<'_>, bytes: &[u8]) -> Vec<u8> {
    let mut message = place.associated_data();
    message.extend((message.len() as u64).to_be_bytes());
    message.extend(bytes);
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_holds_for_its_bytes_its_place_and_its_key() {
        let (key, other) = (Key::new([1; KEY]), Key::new([2; KEY]));
        let place = Place { kind: "head", parts: &[b"store"] };
        let signature = sign(&key, place, b"bytes");
        assert!(public(&key).signed(place, b"bytes", &signature));
        assert!(!public(&other).signed(place, b"bytes", &signature));
        assert!(!public(&key).signed(place, b"byteZ", &signature));
        assert!(!public(&key).signed(Place { kind: "policy", ..place }, b"bytes", &signature));
        assert!(!public(&key).signed(place, b"bytes", &[0; SIGNATURE]));
        let mut edited = signature;
        edited[10] ^= 1;
        assert!(!public(&key).signed(place, b"bytes", &edited));
    }
}
