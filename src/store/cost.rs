//! The cost of trying a secret-id: Argon2id and its parameters.
//!
//! A secret-id has 256 random bits, so nobody can try them all, whatever one try costs. Its parameters are at least those that OWASP
//! recommends.
//!
//! *Invariant:* pure, and slow on purpose.

use std::fmt;
use std::str::FromStr;

use argon2::{Algorithm, Argon2, Params, Version};
use serde::{Deserialize, Serialize};

use super::seal::{KEY, Key};

/// The length of a salt.
pub(super) const SALT: usize = 16;

/// The parameters of Argon2id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cost {
    /// Memory, in KiB.
    memory: u32,
    /// The number of passes over the memory.
    passes: u32,
    /// The number of lanes.
    lanes: u32,
}

impl Cost {
    /// For secret-ids: 19 MiB, twice.
    pub const SECRET_ID: Self = Self { memory: 19 * 1024, passes: 2, lanes: 1 };

    /// For passphrases, which people choose: 64 MiB, three times.
    pub const PASSPHRASE: Self = Self { memory: 64 * 1024, passes: 3, lanes: 1 };

    /// These parameters, or `None` if Argon2 does not accept them or nobody can mean them. An edited file must not take all the memory or
    /// minutes of time: at most twice the memory of a passphrase, and a few times its passes.
    pub fn new(memory: u32, passes: u32, lanes: u32) -> Option<Self> {
        let sane = (8..=128 * 1024).contains(&memory)
            && (1..=8).contains(&passes)
            && (1..=4).contains(&lanes)
            && memory >= 8 * lanes;
        sane.then_some(Self { memory, passes, lanes })
    }

    /// The key that this text gives.
    pub(super) fn key(self, text: &str, salt: &[u8]) -> Option<Key> {
        let params = Params::new(self.memory, self.passes, self.lanes, Some(KEY)).ok()?;
        let mut key = [0; KEY];
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(text.as_bytes(), salt, &mut key)
            .ok()?;
        Some(Key::new(key))
    }
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{},{},{}", self.memory, self.passes, self.lanes)
    }
}

impl FromStr for Cost {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers: Option<Vec<u32>> = text.split(',').map(|number| number.parse().ok()).collect();
        let cost = match numbers.as_deref() {
            Some([memory, passes, lanes]) => Self::new(*memory, *passes, *lanes),
            Some(_) | None => None,
        };
        cost.ok_or_else(|| {
            "write memory in KiB (8 to 131072), passes (1 to 8) and lanes (1 to 4, at most an eighth of the memory), \
             such as 19456,2,1"
                .to_owned()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_what_nobody_can_mean_is_not() {
        let cost = Cost::SECRET_ID;
        assert_eq!(cost.to_string().parse(), Ok(cost));
        assert_eq!(Cost::new(cost.memory, cost.passes, cost.lanes), Some(cost));
        for text in
            ["", "8", "8,1", "8,1,1,1", "7,1,1", "8,0,1", "8,1,2", "131073,1,1", "8,9,1", "64,1,5", "x,1,1"]
        {
            assert!(text.parse::<Cost>().is_err(), "{text}");
        }
    }

    #[test]
    fn text_salt_and_cost_make_the_key() {
        let cost = Cost::new(8, 1, 1).unwrap();
        let key = |cost: Cost, text, salt: u8| *cost.key(text, &[salt; SALT]).unwrap().expose();
        let one = key(cost, "a", 1);
        assert_eq!(one, key(cost, "a", 1));
        assert_ne!(one, key(cost, "b", 1));
        assert_ne!(one, key(cost, "a", 2));
        assert_ne!(one, key(Cost::new(8, 2, 1).unwrap(), "a", 1));
    }
}
