//! Maps and sets of what comes in any order.

use std::collections::{BTreeMap, BTreeSet};

/// A map or a set that keeps its order.
pub(crate) trait Ordered<Item>: Default + Extend<Item> {}

impl<Key: Ord, Value> Ordered<(Key, Value)> for BTreeMap<Key, Value> {}
impl<Item: Ord> Ordered<Item> for BTreeSet<Item> {}

/// Puts items into one.
pub(crate) trait Order: Iterator + Sized {
    /// As `collect`, one by one, for what is small. `collect` sorts first, and the compiler writes that sort anew for each type, 4 KB each: a
    /// quarter of a megabyte in all. A map that is filled so, in the order of its keys, stays half empty: what may be large is collected.
    fn ordered<Into: Ordered<Self::Item>>(self) -> Into {
        let mut ordered = Into::default();
        ordered.extend(self);
        ordered
    }
}

impl<Items: Iterator> Order for Items {}
