//! What is known of a value only when it comes: when that was, and when it ends.
//!
//! *Invariant:* pure. The times are those of the wall clock, since people read them; leases are counted by another clock.

use std::time::SystemTime;

use crate::secret::Meta;
use crate::source::{Fetched, Life};

/// The same value, with what its arrival tells. A lease is counted from when it was asked for.
pub(super) fn arrived(fetched: Fetched, asked: SystemTime, now: SystemTime) -> Fetched {
    let (lease, ends) = match &fetched.life {
        Life::Renewable { lease, ttl } => (Meta::of_lease(Some(lease), *ttl, true), asked.checked_add(*ttl)),
        Life::Expiring { lease, ttl } => {
            (Meta::of_lease(lease.as_ref(), *ttl, false), asked.checked_add(*ttl))
        }
        Life::Rotating { .. } | Life::Versioned { .. } => (Meta::default(), None),
    };
    let meta = fetched.meta.and(&lease).and(&Meta::of_arrival(now, ends));
    Fetched { meta, ..fetched }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::names::LeaseId;
    use crate::secret::{Fields, Packed};

    #[test]
    fn what_ends_has_an_end_and_every_value_came_at_some_time() {
        let asked = SystemTime::UNIX_EPOCH + Duration::from_hours(1);
        let now = asked + Duration::from_secs(2);
        let ttl = Duration::from_mins(1);
        let (came, ends) = ("1970-01-01T01:00:02Z", "1970-01-01T01:01:00Z");
        for (life, expected) in [
            (
                Life::Renewable { lease: LeaseId::new("a/b"), ttl },
                json!({"version": 1, "arrived": came, "lease_id": "a/b", "lease_duration": 60, "lease_end": ends, "renewable": true}),
            ),
            (
                Life::Expiring { lease: None, ttl },
                json!({"version": 1, "arrived": came, "lease_duration": 60, "lease_end": ends, "renewable": false}),
            ),
            (Life::Rotating { ttl }, json!({"version": 1, "arrived": came})),
            (Life::Versioned { within: None }, json!({"version": 1, "arrived": came})),
        ] {
            let meta = Meta::of([("version", 1.into())]);
            let fetched = Fetched { fields: Packed::of(&Fields::new()), life, written: None, meta };
            assert_eq!(json!(arrived(fetched, asked, now).meta.expose()), expected);
        }
    }
}
