//! A chain: every entry is bound to all that were before it, so that one which is edited, moved, left out or put in breaks it at its place.
//!
//! The store's audit and the agent's are made by it. Both have their anchor elsewhere: whoever remembers a later [`Point`] can tell an earlier
//! state of the whole from it. They differ in one thing. The store's entries are sealed by their writers, so everybody may follow their
//! chain. The agent's are plain lines, so its links are made under a key, and only who has that continues the chain.
//!
//! *Invariant:* pure.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::hex::{as_hex, hex, unhex};
use crate::secret::Secret;

/// The digest that the next entry is bound to.
pub type Link = [u8; 32];

/// The link before the first entry.
pub const BEFORE_ALL: Link = [0; 32];

/// Who writes an entry, or which chain it is of.
pub type Writer = [u8; 16];

/// What only the writer of a chain has.
#[derive(Clone, Debug)]
pub struct ChainKey(Secret<[u8; 32]>);

impl ChainKey {
    /// A key from 32 random bytes.
    pub fn new(random: [u8; 32]) -> Self {
        Self(Secret::new(random))
    }

    /// Its bytes, to be kept by whoever keeps the anchor.
    pub(crate) fn expose(&self) -> &[u8; 32] {
        self.0.expose()
    }
}

/// A place in a chain: for the entry of this number, after this link.
#[derive(Clone, Copy, Debug)]
pub struct Spot<'a> {
    /// The number of the entry, from 1 on.
    pub number: u64,
    /// The link after the entry before.
    pub before: &'a Link,
    /// Who writes it.
    pub writer: &'a Writer,
}

impl Spot<'_> {
    /// The link after this entry. It needs no key, so that everybody can follow the chain.
    pub fn link(&self, entry: &[u8]) -> Link {
        self.digest(blake3::Hasher::new(), entry)
    }

    /// The link after this entry, which nobody can make without the key.
    pub fn link_under(&self, key: &ChainKey, entry: &[u8]) -> Link {
        self.digest(blake3::Hasher::new_keyed(key.expose()), entry)
    }

    /// All but the entry have a fixed length, so no two entries and places read as the same bytes.
    fn digest(&self, mut hasher: blake3::Hasher, entry: &[u8]) -> Link {
        hasher.update(self.before).update(&self.number.to_be_bytes()).update(self.writer).update(entry);
        *hasher.finalize().as_bytes()
    }
}

/// An entry of a chain: its number, and a digest of it and of all before it. People keep it as `NUMBER:LINK`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Point {
    /// The number; 0 before the first entry.
    pub number: u64,
    /// The link after it.
    #[serde(with = "as_hex")]
    pub link: Link,
}

impl Point {
    /// Before the first entry.
    pub const NONE: Self = Self { number: 0, link: BEFORE_ALL };
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.number, hex(&self.link))
    }
}

impl FromStr for Point {
    type Err = NoPoint;

    fn from_str(text: &str) -> Result<Self, NoPoint> {
        let (number, link) = text.trim().split_once(':').ok_or(NoPoint)?;
        Ok(Self { number: number.parse().map_err(|_| NoPoint)?, link: unhex(link).ok_or(NoPoint)? })
    }
}

/// The text is no point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is no entry of an audit: write NUMBER:LINK, as `verify` prints it")]
pub struct NoPoint;

#[cfg(test)]
mod tests {
    use super::*;

    const WRITER: &Writer = &[9; 16];

    #[test]
    fn a_link_depends_on_the_entry_its_place_its_writer_and_the_key() {
        let spot = Spot { number: 1, before: &BEFORE_ALL, writer: WRITER };
        let key = ChainKey::new([1; 32]);
        let links = [
            spot.link(b"entry"),
            spot.link(b"other"),
            Spot { number: 2, ..spot }.link(b"entry"),
            Spot { before: &[1; 32], ..spot }.link(b"entry"),
            Spot { writer: &[8; 16], ..spot }.link(b"entry"),
            spot.link_under(&key, b"entry"),
            spot.link_under(&ChainKey::new([2; 32]), b"entry"),
        ];
        for (at, link) in links.iter().enumerate() {
            assert!(!links[..at].contains(link), "{at}");
        }
        assert_eq!(spot.link_under(&key, b"entry"), links[5]);
    }

    #[test]
    fn stores_that_were_written_before_stay_readable() {
        let link = Spot { number: 7, before: &[3; 32], writer: WRITER }.link(b"sealed");
        let mut whole = [3; 32].to_vec();
        whole.extend([0, 0, 0, 0, 0, 0, 0, 7]);
        whole.extend(WRITER);
        whole.extend(b"sealed");
        assert_eq!(link, *blake3::hash(&whole).as_bytes());
    }

    #[test]
    fn a_point_that_is_written_is_read_and_nothing_else_is() {
        let point = Point { number: 7, link: [3; 32] };
        assert_eq!(point.to_string().parse(), Ok(point));
        for text in ["", "7", "7:", ":", "x:00", "1 2 3", "7:03", "-1:00"] {
            assert_eq!(text.parse::<Point>(), Err(NoPoint), "{text}");
        }
    }
}
