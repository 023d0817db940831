//! Signatures: what readers can check and cannot make.
//!
//! All roles of an environment can open what is in it, so a seal says nothing about who wrote it. Ed25519 does: the key to sign with is
//! only in the hands of those who may.
//!
//! *Invariant:* pure. What is signed is bound to its [`Place`], as what is sealed is.

use ed25519_dalek::{Signature as Ed25519, Signer as _, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};

use super::hex::as_hex;
use super::seal::{KEY, Key, Place};

/// The length of a signature.
pub(super) const SIGNATURE: usize = 64;

/// A signature.
pub(super) type Signature = [u8; SIGNATURE];

/// What checks signatures. No secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Public(#[serde(with = "as_hex")] [u8; KEY]);

/// A key to sign with, ready for many things.
pub(super) struct Signer(SigningKey);

impl Signer {
    pub(super) fn new(signing: &Key) -> Self {
        Self(SigningKey::from_bytes(signing.expose()))
    }

    /// Signs bytes in their place: the same bytes always alike.
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
    /// Whether these bytes were signed in this place by who has the other half.
    pub(super) fn signed(&self, place: Place<'_>, bytes: &[u8], signature: &Signature) -> bool {
        VerifyingKey::from_bytes(&self.0).is_ok_and(|key| {
            key.verify_strict(&message(place, bytes), &Ed25519::from_bytes(signature)).is_ok()
        })
    }

    /// The bytes of it, to be part of a digest.
    pub(super) fn as_bytes(&self) -> &[u8; KEY] {
        &self.0
    }
}

/// The place says its own length, so no two pairs are the same message.
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
