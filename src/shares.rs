//! Splits the owner's key into shares. Enough of them restore the key, and fewer tell nothing about it.
//!
//! A share is one line that a person can copy by hand:
//!
//! ```text
//! squire-share-1:3-of-5:2:9f03c1ab:DATA:COMMITMENT:CHECKSUM
//!                │      │ │        │    │          └ of all before it: finds a typing error
//!                │      │ │        │    └ a digest of the key and the set: tells whether the result is the key
//!                │      │ │        └ 32 bytes, Shamir's: a byte of it is a value of a polynomial over GF(256)
//!                │      │ └ the set: the shares that were made together
//!                │      └ the share's own number
//!                └ how many are needed, of how many
//! ```
//!
//! *Invariant:* pure: randomness is an argument. No error says anything of a share but its numbers.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use blahaj::Sharks;
use blake3::Hash;
use rand::{CryptoRng, RngExt as _};

use crate::secret::Secret;

/// The beginning of every share, with the version of the format.
const BEGINNING: &str = "squire-share-1";

/// The context of the commitment's digest, so that no other digest of the key is the same.
const COMMITMENT: &str = "squire shares 1 commitment to the owner's key";

/// How many shares are needed, of how many: `3-of-5`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quorum {
    needed: u8,
    all: u8,
}

/// One share.
#[derive(Clone, Debug)]
pub struct Share {
    number: u8,
    set: Set,
    data: Secret<[u8; 32]>,
}

/// The part that shares of one set have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Set {
    quorum: Quorum,
    id: u32,
    commitment: u128,
}

/// Why a line is not a share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoShare {
    /// It is some other text.
    #[error("is no share: a share begins with {BEGINNING}")]
    Other,
    /// A part is missing, or there is one too many.
    #[error("is not a whole share: it has {found} parts between its colons, and a share has 7")]
    Cut {
        /// How many parts it has.
        found: usize,
    },
    /// A character is wrong.
    #[error("is not as it was written: its checksum does not fit; look for a mistyped character")]
    Mistyped,
}

/// Why shares do not give a key. Shares are named by their places in the input.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misfit {
    /// Not enough of them.
    #[error("{needed} shares are needed, and here are {found}: ask for {} more", needed - found)]
    TooFew {
        /// How many are needed.
        needed: usize,
        /// How many there are.
        found: usize,
    },
    /// They are of two sets.
    #[error(
        "is of the set {set:08x}, and the first is of the set {first:08x}: only shares that were made together fit"
    )]
    OtherSet {
        /// Which share.
        at: usize,
        /// Its set.
        set: u32,
        /// The set of the first.
        first: u32,
    },
    /// The same share twice.
    #[error("is share {number}, which is there already: each has to be another one")]
    Twice {
        /// Which share.
        at: usize,
        /// Its number.
        number: u8,
    },
    /// Each share is valid by itself, but together they do not give the key that was split.
    #[error(
        "these shares do not make the key that was split: one of them was changed; try others of the set"
    )]
    Forged,
}

/// Splits a key. All shares that there are, in order.
///
/// # Errors
/// If the text is no owner's key; the error says why, as a predicate.
pub fn split(key: &str, quorum: Quorum, random: &mut impl CryptoRng) -> Result<Vec<Share>, &'static str> {
    let key = Hash::from_hex(key).map_err(|_| "is no owner's key, which has 64 hexadecimal digits")?;
    let id = random.random();
    let set = Set { quorum, id, commitment: commitment(&key, id) };
    let dealt = Sharks(quorum.needed).dealer_rng(key.as_bytes(), random).take(quorum.all.into());
    Ok((1..).zip(dealt).filter_map(|(number, dealt)| Share::of(number, set, &dealt)).collect())
}

/// Restores a key from shares.
///
/// # Errors
/// Why the shares do not give a key.
pub fn combine(shares: &[Share]) -> Result<Secret<str>, Misfit> {
    let Some(Share { set, .. }) = shares.first() else {
        return Err(Misfit::TooFew { needed: 2, found: 0 });
    };
    let mut numbers = BTreeSet::new();
    for (at, share) in shares.iter().enumerate() {
        if share.set != *set {
            return Err(Misfit::OtherSet { at, set: share.set.id, first: set.id });
        }
        if !numbers.insert(share.number) {
            return Err(Misfit::Twice { at, number: share.number });
        }
    }
    let needed = set.quorum.needed;
    if shares.len() < needed.into() {
        return Err(Misfit::TooFew { needed: needed.into(), found: shares.len() });
    }
    let dealt: Vec<_> = shares.iter().filter_map(Share::dealt).collect();
    let bytes = Sharks(needed).recover(&dealt).map_err(|_| Misfit::Forged)?;
    let key = <[u8; 32]>::try_from(bytes).map(Hash::from_bytes).map_err(|_| Misfit::Forged)?;
    if commitment(&key, set.id) == set.commitment {
        Ok(Secret::new(key.to_hex().as_str()))
    } else {
        Err(Misfit::Forged)
    }
}

/// The key has 256 random bits, so nobody finds it by trying; and the commitments of two sets do not show that both are of one key.
fn commitment(key: &Hash, set: u32) -> u128 {
    let mut bytes = [0; 16];
    let mut hasher = blake3::Hasher::new_derive_key(COMMITMENT);
    hasher.update(key.as_bytes()).update(&set.to_be_bytes()).finalize_xof().fill(&mut bytes);
    u128::from_be_bytes(bytes)
}

fn checksum(text: &str) -> String {
    blake3::hash(text.as_bytes()).to_hex().chars().take(8).collect()
}

impl Share {
    /// Its number in its set, from 1.
    pub fn number(&self) -> u8 {
        self.number
    }

    /// The line. It is as secret as a part of the key.
    pub fn line(&self) -> Secret<str> {
        let Set { quorum, id, commitment } = &self.set;
        let data = Hash::from_bytes(*self.data.expose()).to_hex();
        let text = format!("{BEGINNING}:{quorum}:{}:{id:08x}:{data}:{commitment:032x}", self.number);
        let checksum = checksum(&text);
        Secret::new(format!("{text}:{checksum}"))
    }

    /// Reads a line. Spaces, line ends and capital letters, which people and printers may change, do not matter.
    ///
    /// # Errors
    /// Why the line is not a share.
    pub fn parse(line: &str) -> Result<Self, NoShare> {
        let line: String =
            line.chars().filter(|c| !c.is_whitespace()).map(|c| c.to_ascii_lowercase()).collect();
        let parts: Vec<&str> = line.split(':').collect();
        let [beginning, quorum, number, id, data, commitment, sum] = parts[..] else {
            return Err(if parts[0] == BEGINNING {
                NoShare::Cut { found: parts.len() }
            } else {
                NoShare::Other
            });
        };
        if beginning != BEGINNING {
            return Err(NoShare::Other);
        }
        let before = line.strip_suffix(sum).and_then(|rest| rest.strip_suffix(':'));
        if before.is_none_or(|before| checksum(before) != sum) {
            return Err(NoShare::Mistyped);
        }
        let read = || {
            let quorum: Quorum = quorum.parse().ok()?;
            let number = number.parse().ok().filter(|number| (1..=quorum.all).contains(number))?;
            let id = u32::from_str_radix(id, 16).ok()?;
            let commitment = u128::from_str_radix(commitment, 16).ok()?;
            let data = Secret::new(*Hash::from_hex(data).ok()?.as_bytes());
            Some(Self { number, set: Set { quorum, id, commitment }, data })
        };
        read().ok_or(NoShare::Mistyped)
    }

    fn of(number: u8, set: Set, dealt: &blahaj::Share) -> Option<Self> {
        let bytes = Vec::from(dealt);
        let data = bytes.get(1..).and_then(|data| <[u8; 32]>::try_from(data).ok())?;
        Some(Self { number, set, data: Secret::new(data) })
    }

    fn dealt(&self) -> Option<blahaj::Share> {
        let bytes = [[self.number].as_slice(), self.data.expose()].concat();
        blahaj::Share::try_from(bytes.as_slice()).ok()
    }
}

impl Quorum {
    /// How many shares there are.
    pub fn all(self) -> u8 {
        self.all
    }

    /// How many are needed.
    pub fn needed(self) -> u8 {
        self.needed
    }
}

impl fmt::Display for Quorum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-of-{}", self.needed, self.all)
    }
}

impl FromStr for Quorum {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let read = |number: &str| number.parse::<u8>().ok();
        let numbers = text.split_once("-of-").and_then(|(needed, all)| Some((read(needed)?, read(all)?)));
        match numbers {
            Some((0 | 1, _)) => {
                Err("one share would be the key itself: at least 2 have to be needed".to_owned())
            }
            Some((needed, all)) if needed > all => {
                Err(format!("of {all} shares, {needed} can never be there: write for example 3-of-5"))
            }
            Some((needed, all)) => Ok(Self { needed, all }),
            None => Err("write for example 3-of-5, with numbers up to 255".to_owned()),
        }
    }
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::subsequence;
    use rand::SeedableRng as _;
    use rand::rngs::StdRng;

    use super::*;

    fn quorum(text: &str) -> Quorum {
        text.parse().unwrap()
    }

    fn shares(key: &str, text: &str, seed: u64) -> Vec<Share> {
        split(key, quorum(text), &mut StdRng::seed_from_u64(seed)).unwrap()
    }

    fn key(byte: u8) -> String {
        Hash::from_bytes([byte; 32]).to_hex().to_string()
    }

    fn set_of(misfit: &Misfit) -> Option<usize> {
        match misfit {
            Misfit::OtherSet { at, .. } => Some(*at),
            Misfit::TooFew { .. } | Misfit::Twice { .. } | Misfit::Forged => None,
        }
    }

    /// A key, a quorum, and the chosen shares in some order.
    fn chosen() -> impl Strategy<Value = ([u8; 32], Quorum, Vec<usize>, u64)> {
        (2_u8..8).prop_flat_map(|needed| (Just(needed), needed..12)).prop_flat_map(|(needed, all)| {
            let places: Vec<usize> = (0..all.into()).collect();
            let some = subsequence(places, 0..=usize::from(all)).prop_shuffle();
            (any::<[u8; 32]>(), Just(Quorum { needed, all }), some, any::<u64>())
        })
    }

    proptest! {
        #[test]
        fn any_quorum_is_the_key_and_anything_less_is_not((bytes, quorum, chosen, seed) in chosen()) {
            let key = Hash::from_bytes(bytes).to_hex().to_string();
            let all = shares(&key, &quorum.to_string(), seed);
            prop_assert_eq!(all.len(), usize::from(quorum.all));
            let some: Vec<_> = chosen.iter().map(|at| Share::parse(all[*at].line().expose()).unwrap()).collect();
            match combine(&some) {
                Ok(combined) => {
                    prop_assert!(some.len() >= quorum.needed.into());
                    prop_assert_eq!(combined.expose(), key.as_str());
                }
                Err(misfit) => {
                    prop_assert!(some.len() < quorum.needed.into(), "{misfit}");
                    prop_assert!(matches!(misfit, Misfit::TooFew { .. }), "{misfit}");
                }
            }
        }

        #[test]
        fn a_changed_character_is_always_found(seed: u64, at: prop::sample::Index, by in "[0-9a-z:]") {
            let line = shares(&key(7), "2-of-3", seed)[0].line();
            let mut changed = line.expose().to_owned();
            let at = at.index(changed.len());
            prop_assume!(changed[at..=at] != by);
            changed.replace_range(at..=at, &by);
            prop_assert!(Share::parse(&changed).is_err(), "{changed}");
        }

        #[test]
        fn no_text_makes_it_panic(text in "(squire-share-1:)?[0-9a-f:-]{0,200}|.{0,80}") {
            prop_assert!(Share::parse(&text).is_err());
        }
    }

    #[test]
    fn what_people_and_printers_do_to_a_line_changes_nothing() {
        let line = shares(&key(7), "2-of-3", 1)[1].line();
        let printed = format!("  {}\r\n", line.expose().to_uppercase().replace(':', ":\n   "));
        assert_eq!(Share::parse(&printed).unwrap().line().expose(), line.expose());
    }

    #[test]
    fn each_misfit_is_named() {
        let (one, other) = (shares(&key(7), "2-of-3", 1), shares(&key(7), "2-of-3", 2));
        let pick = |shares: [&Share; 2]| combine(&shares.map(Clone::clone)).unwrap_err();
        assert_eq!(set_of(&pick([&one[0], &other[1]])), Some(1));
        assert_eq!(pick([&one[2], &one[2]]), Misfit::Twice { at: 1, number: 3 });
        assert_eq!(combine(&one[..1]).unwrap_err(), Misfit::TooFew { needed: 2, found: 1 });
        assert_eq!(combine(&[]).unwrap_err(), Misfit::TooFew { needed: 2, found: 0 });
        // With a valid checksum: whoever forges a share can compute that too.
        let forged = Share { data: Secret::new([9; 32]), ..one[1].clone() };
        let forged = Share::parse(forged.line().expose()).unwrap();
        assert_eq!(pick([&one[0], &forged]), Misfit::Forged);
    }

    #[test]
    fn lines_that_are_no_shares_are_told_apart() {
        let line = shares(&key(7), "2-of-3", 1)[0].line();
        let parse = |text: &str| Share::parse(text).unwrap_err();
        assert_eq!(parse(""), NoShare::Other);
        assert_eq!(parse(&key(7)), NoShare::Other);
        assert_eq!(parse("a:b:c:d:e:f:g"), NoShare::Other);
        assert_eq!(parse(&line.expose()[..100]), NoShare::Cut { found: 6 });
        assert_eq!(parse(&line.expose()[..line.expose().len() - 1]), NoShare::Mistyped);
    }

    #[test]
    fn a_quorum_that_makes_no_sense_is_refused() {
        for bad in ["1-of-3", "0-of-0", "4-of-3", "3", "3-of-", "3-of-256", "a-of-b", "", "2-of-3-of-4"] {
            assert!(bad.parse::<Quorum>().is_err(), "{bad}");
        }
        assert_eq!(quorum("3-of-5").to_string(), "3-of-5");
        assert!(split("sesame", quorum("2-of-3"), &mut StdRng::seed_from_u64(1)).is_err());
    }

    #[test]
    fn less_than_a_quorum_says_nothing_of_the_key() {
        // Whatever one share of two is, some polynomial leads from it to any key. So over many sets, its bytes are distributed the same way
        // for two different keys.
        let counts = |byte: u8| {
            let mut counts = [0_u32; 256];
            for seed in 0..64 {
                for byte in shares(&key(byte), "2-of-2", seed)[0].data.expose() {
                    counts[usize::from(*byte)] += 1;
                }
            }
            counts
        };
        for count in [counts(0), counts(255)].concat() {
            assert!(count < 40, "a value came {count} times of 2048, and 8 would be usual");
        }
        assert!(!format!("{:?}", shares(&key(7), "2-of-3", 1)).contains("0707"));
    }
}
