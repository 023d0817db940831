//! What is known of a value beside its fields: which version it is, who keeps it, when it came.
//!
//! It travels beside the fields and not among them, so no name of a field can collide with it. It is fixed when the value arrives: what
//! changes later, as the end of a lease does with each renewal, would make a release of nothing.
//!
//! *Invariant:* pure; times are arguments. It is behind [`Packed`], as fields are.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Fields, Packed};
use crate::names::LeaseId;
use crate::ordered::Order as _;

/// The number of a version: of KV v2, and of the store.
pub const VERSION: &str = "version";
/// The id of a version: of AWS.
pub const VERSION_ID: &str = "version_id";
/// The labels of a version: of AWS, a list.
pub const VERSION_STAGES: &str = "version_stages";
/// When the version was written, by the clock of the source (RFC 3339): of KV v2, AWS and the store.
pub const CREATED_TIME: &str = "created_time";
/// What its owner wrote about it: of KV v2, a map.
pub const CUSTOM_METADATA: &str = "custom_metadata";
/// The name of the lease: of what is leased.
pub const LEASE_ID: &str = "lease_id";
/// How long it lived at first, in seconds: of what ends.
pub const LEASE_DURATION: &str = "lease_duration";
/// Its first end, by Squire's clock (RFC 3339): of what ends. Renewals move the end and not this.
pub const LEASE_END: &str = "lease_end";
/// Whether it can be renewed: of what ends.
pub const RENEWABLE: &str = "renewable";
/// When it came, by Squire's clock (RFC 3339): of every value.
pub const ARRIVED: &str = "arrived";
/// The same of each entry, by its name: of a folder, a map.
pub const ENTRIES: &str = "entries";

/// Every key that there may be.
pub const KEYS: [&str; 11] = [
    VERSION,
    VERSION_ID,
    VERSION_STAGES,
    CREATED_TIME,
    CUSTOM_METADATA,
    LEASE_ID,
    LEASE_DURATION,
    LEASE_END,
    RENEWABLE,
    ARRIVED,
    ENTRIES,
];

/// The last second of the year 9999, since 1970: RFC 3339 ends there.
const LAST_SECOND: u64 = 253_402_300_799;

/// What is known of one value. Some of [`KEYS`], each with its value.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Meta(Packed);

impl Default for Meta {
    fn default() -> Self {
        Self(Packed::of(&Fields::new()))
    }
}

impl Meta {
    /// These keys; a null is none.
    pub fn of<const N: usize>(known: [(&str, Value); N]) -> Self {
        let there = known.into_iter().filter(|(_, value)| !value.is_null());
        Self(Packed::of(&there.map(|(key, value)| (key.to_owned(), value)).collect()))
    }

    /// One key whose value is a map, without a tree of it.
    pub fn of_map(key: &str, map: Packed) -> Self {
        Self(Packed::of_all(&std::iter::once((key.to_owned(), map)).ordered()))
    }

    /// When the value came. All these times have one form, so the greater text is the later time.
    pub fn arrived(&self) -> Option<String> {
        self.0.expose_field(ARRIVED)?.as_str().map(str::to_owned)
    }

    /// What a lease tells of itself, or what ends without one.
    pub fn of_lease(id: Option<&LeaseId>, ttl: Duration, renewable: bool) -> Self {
        Self::of([
            (LEASE_ID, id.map(LeaseId::as_str).into()),
            (LEASE_DURATION, ttl.as_secs().into()),
            (RENEWABLE, renewable.into()),
        ])
    }

    /// When a value came, and when it ends if it does.
    pub fn of_arrival(arrived: SystemTime, ends: Option<SystemTime>) -> Self {
        Self::of([(ARRIVED, written(arrived)), (LEASE_END, ends.map_or(Value::Null, written))])
    }

    /// Both.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        Self(self.0.joined(&other.0))
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.0.names().next().is_none()
    }

    /// How many bytes of JSON it is, a little less.
    pub fn size(&self) -> usize {
        self.0.size()
    }

    /// The same, as it is held.
    pub fn packed(&self) -> &Packed {
        &self.0
    }

    /// The door: a tree of all keys.
    pub fn expose(&self) -> Fields {
        self.0.expose()
    }
}

/// A time as a version of a secret has it: RFC 3339, UTC. What that cannot write is written as the nearest that it can.
pub fn written(time: SystemTime) -> Value {
    let last = SystemTime::UNIX_EPOCH + Duration::from_secs(LAST_SECOND);
    humantime::format_rfc3339_seconds(time.clamp(SystemTime::UNIX_EPOCH, last)).to_string().into()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_known_from_several_places_is_one_map_and_shows_nothing() {
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let lease = LeaseId::new("database/creds/app/x");
        let meta = Meta::of([(VERSION, 3.into()), (CREATED_TIME, Value::Null)])
            .and(&Meta::of_map(
                CUSTOM_METADATA,
                Packed::of(&Fields::from_iter([("owner".into(), "ann".into())])),
            ))
            .and(&Meta::of_lease(Some(&lease), Duration::from_mins(1), true))
            .and(&Meta::of_arrival(at, at.checked_add(Duration::from_mins(1))));
        let expected = json!({
            "version": 3, "custom_metadata": {"owner": "ann"}, "lease_id": "database/creds/app/x", "lease_duration": 60,
            "renewable": true, "arrived": "2023-11-14T22:13:20Z", "lease_end": "2023-11-14T22:14:20Z",
        });
        assert_eq!(Value::Object(meta.expose()), expected);
        assert!(meta.expose().keys().all(|key| KEYS.contains(&key.as_str())));
        assert_eq!(format!("{meta:?}"), "Meta(Packed(Secret(…)))");
        let text = serde_json::to_string(&meta).unwrap();
        let read: Meta = serde_json::from_str(&text).unwrap();
        assert_eq!(Value::Object(read.expose()), expected);
        assert!(Meta::default().is_empty() && !meta.is_empty());
    }

    #[test]
    fn of_two_values_of_a_key_the_later_counts_and_every_time_can_be_written() {
        let of = |version: u64| Meta::of([(VERSION, version.into())]);
        assert_eq!(Value::Object(of(1).and(&of(2)).expose()), json!({"version": 2}));
        let before = SystemTime::UNIX_EPOCH - Duration::from_secs(1);
        let after = SystemTime::UNIX_EPOCH + Duration::from_secs(LAST_SECOND + 1);
        assert_eq!([written(before), written(after)], ["1970-01-01T00:00:00Z", "9999-12-31T23:59:59Z"]);
    }
}
