//! A record, outside of a store, of an entry that somebody saw: so that an earlier state of the store, put back whole, can be noticed.
//!
//! A copy of the file passes every check that uses the file alone. Only somebody who remembers a later entry of its audit can tell it from
//! the store. The owner keeps a witness beside the key, an agent in its memory and in its ledger, and some people on paper.
//!
//! *Invariant:* pure.

use std::fmt;
use std::str::FromStr;

use super::keys::{Id, Tip};
use crate::chain::Point;
use crate::hex::{hex, unhex};

/// The latest entry of a store's audit that somebody saw. It is not secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Witness {
    pub(super) store: Id,
    pub(super) tip: Tip,
}

impl Witness {
    /// The entry as people keep it: `NUMBER:LINK`.
    pub fn point(&self) -> Point {
        Point { number: self.tip.number, link: self.tip.link }
    }

    /// The number of the entry.
    pub fn number(&self) -> u64 {
        self.tip.number
    }

    /// Whether this one is of the same store, and at the same entry or later.
    #[must_use]
    pub fn is_after(&self, other: &Self) -> bool {
        self.store == other.store && (self.tip.era, self.tip.number) >= (other.tip.era, other.tip.number)
    }
}

impl fmt::Display for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tip { era, number, link, keys: _ } = &self.tip;
        write!(f, "{} {era} {number} {}", hex(&self.store), hex(link))
    }
}

impl FromStr for Witness {
    type Err = NoWitness;

    fn from_str(text: &str) -> Result<Self, NoWitness> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let [store, era, number, link] = words.as_slice() else { return Err(NoWitness) };
        let read = || {
            let (era, number, link) = (era.parse().ok()?, number.parse().ok()?, unhex(link)?);
            Some(Self { store: unhex(store)?, tip: Tip { era, number, link, ..Tip::NONE } })
        };
        read().ok_or(NoWitness)
    }
}

/// The text is not a witness.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is no witness of a store")]
pub struct NoWitness;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_nothing_else_is() {
        let tip = Tip { era: 2, number: 7, link: [3; 32], ..Tip::NONE };
        let witness = Witness { store: [1; 16], tip };
        assert_eq!(witness.to_string().parse(), Ok(witness));
        for text in ["", "7", "7:", ":", "x:00", "1 2 3", "7:03"] {
            assert!(text.parse::<Witness>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_later_era_is_later_whatever_its_entries() {
        let at = |era, number| Witness { store: [1; 16], tip: Tip { era, number, ..Tip::NONE } };
        assert!(
            at(2, 1).is_after(&at(1, 9)) && at(1, 9).is_after(&at(1, 9)) && !at(1, 8).is_after(&at(1, 9))
        );
        assert!(!Witness { store: [2; 16], ..at(3, 3) }.is_after(&at(1, 1)));
    }
}
