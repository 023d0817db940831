//! Who is let in: the keys, what was accepted, and how often each sender came.
//!
//! *Invariant:* pure. What is told to a sender without the key is the same whatever the key is.

use std::net::IpAddr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ipnet::IpNet;

use super::pace::Pace;
use super::seen::Seen;
use super::{Delivery, Key, Refusal, SKEW};

/// After a rotation of the key the one before is good for so long, since senders fetch the new one in their own time. It is not good for
/// ever: a key may have been rotated because it was stolen.
const FORMER_KEY_LASTS: Duration = Duration::from_hours(1);

/// What is remembered of webhooks.
#[derive(Debug)]
pub struct Guard {
    began: Instant,
    key: Option<Key>,
    /// The key before, and its end.
    former: Option<(Key, Instant)>,
    seen: Seen,
    /// Of those who have the key.
    pace: Pace,
    /// Of those who are refused, and said to be.
    complaints: Pace,
}

impl Guard {
    /// A guard that knows no key yet.
    pub fn new(now: Instant) -> Self {
        Self {
            began: now,
            key: None,
            former: None,
            seen: Seen::default(),
            pace: Pace::default(),
            complaints: Pace::default(),
        }
    }

    /// A release has this key.
    pub fn learn(&mut self, key: Option<&Key>, now: Instant) {
        match (self.key.take(), key) {
            (Some(known), Some(key)) if known.is_same(key) => self.key = Some(known),
            (Some(known), Some(key)) => {
                (self.former, self.key) = (Some((known, now + FORMER_KEY_LASTS)), Some(key.clone()));
            }
            (None, Some(key)) => self.key = Some(key.clone()),
            // A configuration that takes no webhooks any more has no key either.
            (_, None) => self.former = None,
        }
    }

    /// Whether a webhook may come from there; asked before any of it is read. `from` is nobody's address at the socket, where only Squire's
    /// own user comes.
    ///
    /// # Errors
    /// [`Refusal::Elsewhere`]
    pub fn knock(allow: &[IpNet], from: Option<IpAddr>) -> Result<(), Refusal> {
        // A listener of both families has IPv4 senders as ::ffff:192.0.2.1.
        let from = from.map(|address| address.to_canonical());
        let is_elsewhere =
            |address: IpAddr| !allow.is_empty() && !allow.iter().any(|network| network.contains(&address));
        if from.is_some_and(is_elsewhere) { Err(Refusal::Elsewhere) } else { Ok(()) }
    }

    /// Whether a refusal of this sender is to be told: not each one of a flood.
    pub fn complains(&mut self, from: Option<IpAddr>, now: Instant) -> bool {
        self.complaints.take(from, now).is_ok()
    }

    /// Whether a delivery is good. If it is, it is not good a second time. Only what is signed counts for the sender's pace: else whoever
    /// shares its address, as everybody behind a proxy does, could use it up without the key.
    ///
    /// # Errors
    /// [`Refusal`]; nothing is remembered of it then.
    pub fn judge(
        &mut self,
        delivery: &Delivery,
        from: Option<IpAddr>,
        now: Instant,
        wall: SystemTime,
    ) -> Result<(), Refusal> {
        let key = self.key.as_ref().ok_or(Refusal::NoKey)?;
        let former = self.former.as_ref().filter(|(_, ends)| now < *ends).map(|(key, _)| key);
        if ![Some(key), former].into_iter().flatten().any(|key| key.signed(delivery)) {
            return Err(Refusal::Unsigned);
        }
        self.is_fresh(delivery, now, wall)?;
        let identity = delivery.identity();
        if self.seen.has(&identity) {
            return Err(Refusal::Repeated);
        }
        self.pace.take(from, now).map_err(|again_in| Refusal::TooMany { again_in })?;
        self.seen.remember(identity, now).map_err(|again_in| Refusal::TooMany { again_in })
    }

    fn is_fresh(&self, delivery: &Delivery, now: Instant, wall: SystemTime) -> Result<(), Refusal> {
        let wall = wall.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let (age, lead) = (wall.saturating_sub(delivery.time), delivery.time.saturating_sub(wall));
        if age > SKEW.as_secs() {
            return Err(Refusal::Old(age));
        }
        if lead > SKEW.as_secs() {
            return Err(Refusal::Early(lead));
        }
        // Both times were cut to seconds.
        if age > now.saturating_duration_since(self.began).as_secs() + 1 {
            return Err(Refusal::BeforeStart);
        }
        Ok(())
    }
}
