//! How often a client may ask: a bucket of tokens for each.
//!
//! *Invariant:* pure, and bounded whatever the number of clients.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// So many clients have a bucket of their own; beyond them the others share one.
const CLIENTS: usize = 4096;

/// So many seconds of its rate a client may ask at once.
const BURST: u32 = 2;

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Client {
    /// A process of this machine, by the socket.
    Process(i32),
    /// The processes of a user whom the kernel does not name: those of another container.
    User(u32),
    /// Whoever comes by TCP: an address of this machine is anybody's, and there are millions of them.
    Loopback,
    /// Those for whom there is no other bucket.
    Others,
}

/// The buckets that are not full, each by the time when it will be.
#[derive(Debug)]
pub(super) struct Pace {
    every: Duration,
    at_once: Duration,
    full_at: BTreeMap<Client, Instant>,
}

impl Pace {
    /// `rate` requests a second; 0 is taken for 1.
    pub(super) fn new(rate: u32) -> Self {
        let every = Duration::from_secs(1) / rate.max(1);
        Self { every, at_once: Duration::from_secs(BURST.into()).max(every), full_at: BTreeMap::new() }
    }

    /// Takes a token, or says when there will be one.
    pub(super) fn take(&mut self, client: Client, now: Instant) -> Result<(), Duration> {
        let mut client = client;
        if !self.full_at.contains_key(&client) && self.full_at.len() >= CLIENTS {
            self.full_at.retain(|_, full_at| *full_at > now);
            if self.full_at.len() >= CLIENTS {
                client = Client::Others;
            }
        }
        let full_at = self.full_at.entry(client).or_insert(now);
        let taken = (*full_at).max(now) + self.every;
        let missing = taken.saturating_duration_since(now + self.at_once);
        if !missing.is_zero() {
            return Err(missing);
        }
        *full_at = taken;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_may_ask_two_seconds_of_its_rate_at_once_and_the_others_lose_nothing() {
        let (mut pace, now) = (Pace::new(10), Instant::now());
        let one = Client::Process(1);
        let asked = (0..30).filter(|_| pace.take(one, now).is_ok()).count();
        assert_eq!(asked, 20);
        assert_eq!(pace.take(one, now), Err(Duration::from_millis(100)), "who is refused pays nothing");
        assert_eq!(pace.take(Client::Process(2), now), Ok(()));
        assert_eq!(pace.take(one, now + Duration::from_millis(100)), Ok(()));
        assert_eq!(Pace::new(0).take(one, now), Ok(()));
    }

    #[test]
    fn the_buckets_are_bounded() {
        let (mut pace, now) = (Pace::new(1), Instant::now());
        for number in 0..i32::try_from(CLIENTS).unwrap() * 2 {
            pace.take(Client::Process(number), now).ok();
        }
        assert!(pace.full_at.len() <= CLIENTS + 1);
        assert_eq!(pace.take(Client::Process(-1), now + Duration::from_mins(1)), Ok(()));
        assert_eq!(pace.full_at.len(), 1, "those that are full are forgotten when there is no room");
    }
}
