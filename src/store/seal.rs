//! Keys, and data that only they open.
//!
//! Sealed data is `nonce, 12 bytes | AES-256-GCM, with a tag of 16 bytes`. Its associated data is its [`Place`]: its kind, and everything
//! that says where it belongs, so that it opens in no other place.
//!
//! *Invariant:* pure: nonces and keys are arguments, and every nonce has to be random. Damaged data does not open at all.

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce};

use crate::secret::Secret;

/// The length of a key.
pub(super) const KEY: usize = 32;
/// The length of a nonce.
pub(super) const NONCE: usize = 12;

/// A digest: BLAKE3, 256 bits.
pub(super) type Digest = [u8; 32];

/// A key of 256 bits.
#[derive(Clone, Debug)]
pub(super) struct Key(Secret<[u8; KEY]>);

/// The kind of sealed data, and where it belongs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    /// Its kind.
    pub(super) kind: &'static str,
    /// The parts of its place: each with its length, so that two places never give the same bytes.
    pub(super) parts: &'a [&'a [u8]],
}

/// The place of a thing of this kind.
pub(super) fn place<'a>(kind: &'static str, parts: &'a [&'a [u8]]) -> Place<'a> {
    Place { kind, parts }
}

/// The form of keys in sealed data, and only there: for `#[serde(with = "…")]`.
pub(super) mod as_bytes {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::{KEY, Key};

    pub(in crate::store) fn serialize<S: Serializer>(key: &Key, serializer: S) -> Result<S::Ok, S::Error> {
        key.expose().serialize(serializer)
    }

    pub(in crate::store) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Key, D::Error> {
        <[u8; KEY]>::deserialize(deserializer).map(Key::new)
    }
}

impl Place<'_> {
    /// The bytes of the place, for seals and for signatures.
    pub(super) fn associated_data(&self) -> Vec<u8> {
        let mut data = b"squire store 2".to_vec();
        for part in std::iter::once(&self.kind.as_bytes()).chain(self.parts) {
            data.extend((part.len() as u64).to_be_bytes());
            data.extend(*part);
        }
        data
    }
}

impl Key {
    /// A key from these bytes, which are random or come from a key derivation.
    pub(super) fn new(bytes: [u8; KEY]) -> Self {
        Self(Secret::new(bytes))
    }

    /// A key from bytes that another key opened.
    pub(super) fn from_opened(bytes: &Secret<Vec<u8>>) -> Option<Self> {
        <[u8; KEY]>::try_from(bytes.expose().as_slice()).ok().map(Self::new)
    }

    /// The bytes themselves, to be sealed under another key.
    pub(super) fn expose(&self) -> &[u8; KEY] {
        self.0.expose()
    }

    /// A key for one purpose. It reveals nothing about this key or the keys of other purposes.
    pub(super) fn derive(&self, purpose: &str) -> Self {
        Self::new(blake3::derive_key(&format!("squire store 2 {purpose}"), self.expose()))
    }

    /// A digest that only holders of this key can make.
    pub(super) fn digest(&self, bytes: &[u8]) -> Digest {
        *blake3::keyed_hash(self.expose(), bytes).as_bytes()
    }

    /// Seals bytes in their place. `None` if they are more than the cipher takes, far above every limit of ours.
    pub(super) fn seal(&self, nonce: [u8; NONCE], place: Place<'_>, plaintext: &[u8]) -> Option<Vec<u8>> {
        let aad = place.associated_data();
        let payload = Payload { msg: plaintext, aad: &aad };
        let sealed = self.cipher().encrypt(&Nonce::from(nonce), payload).ok()?;
        Some([nonce.as_slice(), &sealed].concat())
    }

    /// Opens what [`Key::seal`] made with this key in this place, and nothing else.
    pub(super) fn open(&self, place: Place<'_>, sealed: &[u8]) -> Option<Secret<Vec<u8>>> {
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE>()?;
        let aad = place.associated_data();
        let payload = Payload { msg: sealed, aad: &aad };
        self.cipher().decrypt(&Nonce::from(*nonce), payload).ok().map(Secret::new)
    }

    fn cipher(&self) -> Aes256Gcm {
        Aes256Gcm::new(self.expose().into())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PLACE: Place<'static> = Place { kind: "value", parts: &[b"dev/app", b"1"] };

    fn opened(key: &Key, place: Place<'_>, sealed: &[u8]) -> Option<Vec<u8>> {
        key.open(place, sealed).map(|secret| secret.expose().clone())
    }

    #[test]
    fn what_was_sealed_opens_in_its_place_and_nowhere_else() {
        let key = Key::new([1; KEY]);
        let sealed = key.seal([9; NONCE], PLACE, b"hunter2").unwrap();
        assert_eq!(opened(&key, PLACE, &sealed).unwrap(), b"hunter2");
        assert!(opened(&Key::new([2; KEY]), PLACE, &sealed).is_none());
        let elsewhere: [Place<'_>; 4] = [
            Place { kind: "head", ..PLACE },
            Place { parts: &[b"dev/app", b"2"], ..PLACE },
            Place { parts: &[b"dev/ap", b"p1"], ..PLACE },
            Place { parts: &[b"dev/app"], ..PLACE },
        ];
        for place in elsewhere {
            assert!(opened(&key, place, &sealed).is_none(), "{place:?}");
        }
    }

    #[test]
    fn keys_of_two_purposes_have_nothing_in_common() {
        let key = Key::new([1; KEY]);
        assert_ne!(key.derive("a").expose(), key.derive("b").expose());
        assert_ne!(key.derive("a").expose(), key.expose());
    }

    proptest! {
        #[test]
        fn no_changed_or_cut_bytes_open(at: prop::sample::Index, flip in 1_u8.., cut: prop::sample::Index) {
            let key = Key::new([1; KEY]);
            let sealed = key.seal([9; NONCE], PLACE, b"some plaintext").unwrap();
            let mut changed = sealed.clone();
            changed[at.index(sealed.len())] ^= flip;
            prop_assert!(key.open(PLACE, &changed).is_none());
            prop_assert!(key.open(PLACE, &sealed[..cut.index(sealed.len())]).is_none());
        }
    }
}
