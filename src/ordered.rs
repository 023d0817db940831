//! Maps and sets of what comes in any order.

use std::collections::{BTreeMap, BTreeSet};

/// A map or a set that keeps its order.
pub(crate) trait Ordered<Item>: Default + Extend<Item> {}

impl<Key: Ord, Value> Ordered<(Key, Value)> for BTreeMap<Key, Value> {}
impl<Item: Ord> Ordered<Item> for BTreeSet<Item> {}

/// Puts items into one.
pub(crate) trait Order: Iterator + Sized {
    /// As `collect`, one by one. `collect` would sort them first, by a sort that the compiler writes anew for each type, 4 KB each: with all the
    /// types of this program that is a fortieth of it.
    fn ordered<Into: Ordered<Self::Item>>(self) -> Into {
        let mut ordered = Into::default();
        ordered.extend(self);
        ordered
    }
}

impl<Items: Iterator> Order for Items {}
