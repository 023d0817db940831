//! Times as others read them: RFC 3339, in UTC, to the millisecond.

use std::fmt;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A time of the wall clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(SystemTime);

impl Moment {
    /// This time, to the millisecond.
    pub fn new(time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let whole = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        Self(UNIX_EPOCH.checked_add(Duration::from_millis(whole)).unwrap_or(UNIX_EPOCH))
    }

    /// How long after `other` it is; nothing if it is before.
    pub fn since(self, other: Self) -> Option<Duration> {
        self.0.duration_since(other.0).ok()
    }

    /// Seconds since 1970, as metrics want them.
    pub fn unix_s(self) -> f64 {
        self.0.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
    }

    /// The time itself.
    pub fn time(self) -> SystemTime {
        self.0
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_rfc3339_millis(self.0).fmt(f)
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        humantime::parse_rfc3339(&text).map(Self).map_err(de::Error::custom)
    }
}

/// Both clocks, read at the same time: what is planned is counted by the one, and told by the other.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// The clock of the machines.
    pub now: Instant,
    /// The wall clock.
    pub wall: SystemTime,
}

/// The last time that the text form can hold: the end of the year 9999.
const LAST: Duration = Duration::from_secs(253_402_300_799);

impl Clock {
    /// Now.
    pub fn moment(&self) -> Moment {
        Moment::new(self.wall)
    }

    /// When this instant is, or was, by the wall clock. What is later than anybody can write is at the last time that can be written.
    pub fn at(&self, instant: Instant) -> Moment {
        let last = UNIX_EPOCH + LAST;
        let time = match instant.checked_duration_since(self.now) {
            Some(ahead) => self.wall.checked_add(ahead).unwrap_or(last),
            None => self.wall.checked_sub(self.now.saturating_duration_since(instant)).unwrap_or(UNIX_EPOCH),
        };
        Moment::new(time.min(last))
    }
}
