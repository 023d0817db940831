//! Seals data to a role: with a public key, so that only the role can open it.
//!
//! The owner gives a role new keys whenever another role is revoked, and never learns the role's credential. With one symmetric key for
//! both, a thief of the owner's key could open all later keys of the role, and a new root key would not help while roles keep their
//! secret-ids. HPKE (RFC 9180, base mode) with X25519, HKDF-SHA256 and AES-256-GCM.
//!
//! *Invariant:* pure, except that a sealing takes random bytes from the system.

use hpke::aead::AesGcm256;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::{Deserializable as _, Kem as _, OpModeR, OpModeS, Serializable as _};
use serde::{Deserialize, Serialize};

use super::seal::{KEY, Key, Place};
use crate::hex::as_hex;
use crate::secret::Secret;

type Kem = X25519HkdfSha256;

/// The public key of a role. It is not secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Address(#[serde(with = "as_hex")] [u8; KEY]);

/// The public key that belongs to this key.
pub(super) fn address(key: &Key) -> Address {
    let (_, public) = Kem::derive_keypair(key.expose());
    Address(public.to_bytes().into())
}

/// Seals bytes for this public key, in their place. `None` if it is no point of the curve.
pub(super) fn seal(to: &Address, place: Place<'_>, plaintext: &[u8]) -> Option<Vec<u8>> {
    let to = <Kem as hpke::Kem>::PublicKey::from_bytes(&to.0).ok()?;
    let info = place.associated_data();
    let (encapped, sealed) = hpke::single_shot_seal_with_rng::<AesGcm256, HkdfSha256, Kem>(
        &OpModeS::Base,
        &to,
        &info,
        plaintext,
        &[],
        &mut rand::rng(),
    )
    .ok()?;
    Some([encapped.to_bytes().as_slice(), &sealed].concat())
}

/// Opens what [`seal`] made for this key's public key in this place.
pub(super) fn open(key: &Key, place: Place<'_>, sealed: &[u8]) -> Option<Secret<Vec<u8>>> {
    let (private, _) = Kem::derive_keypair(key.expose());
    let (encapped, sealed) = sealed.split_first_chunk::<KEY>()?;
    let encapped = <Kem as hpke::Kem>::EncappedKey::from_bytes(encapped).ok()?;
    let info = place.associated_data();
    let opened = hpke::single_shot_open::<AesGcm256, HkdfSha256, Kem>(
        &OpModeR::Base,
        &private,
        &encapped,
        &info,
        sealed,
        &[],
    );
    opened.ok().map(Secret::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_to_an_address_opens_with_its_key_in_its_place_and_not_otherwise() {
        let (key, other) = (Key::new([1; KEY]), Key::new([2; KEY]));
        let place = Place { kind: "role", parts: &[b"store"] };
        let sealed = seal(&address(&key), place, b"keys").unwrap();
        assert_eq!(open(&key, place, &sealed).unwrap().expose(), b"keys");
        assert!(open(&other, place, &sealed).is_none());
        assert!(open(&key, Place { kind: "else", ..place }, &sealed).is_none());
        for at in [0, KEY, sealed.len() - 1] {
            let mut edited = sealed.clone();
            edited[at] ^= 1;
            assert!(open(&key, place, &edited).is_none(), "{at}");
            assert!(open(&key, place, &sealed[..at]).is_none(), "{at}");
        }
    }
}
