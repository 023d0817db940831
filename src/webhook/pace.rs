//! How often a sender may come: a bucket of tokens for each address.
//!
//! One bucket for all would let a stranger use up the tokens of those who have the key.
//!
//! *Invariant:* pure, and bounded whatever the number of senders.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

/// So many may come at once.
pub(super) const AT_ONCE: u32 = 10;

/// In the long run one may come in this time.
pub(super) const EVERY: Duration = Duration::from_secs(1);

/// So many senders have a bucket of their own; beyond them the others share one.
const SENDERS: usize = 1024;

/// Whose bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Sender {
    /// Whoever may use the socket.
    Socket,
    /// Of IPv6 the first 64 bits: nobody has fewer addresses than that.
    Address(IpAddr),
    /// Those for whom there is no other.
    Others,
}

/// The buckets that are not full, each by the time when it will be.
#[derive(Debug, Default)]
pub(super) struct Pace {
    full_at: BTreeMap<Sender, Instant>,
}

impl Pace {
    /// Takes a token, or says when there will be one.
    pub(super) fn take(&mut self, from: Option<IpAddr>, now: Instant) -> Result<(), Duration> {
        let mut sender = from.map_or(Sender::Socket, |address| Sender::Address(network(address)));
        if !self.full_at.contains_key(&sender) && self.full_at.len() >= SENDERS {
            self.full_at.retain(|_, full_at| *full_at > now);
            if self.full_at.len() >= SENDERS {
                sender = Sender::Others;
            }
        }
        let full_at = self.full_at.entry(sender).or_insert(now);
        let taken = (*full_at).max(now) + EVERY;
        let missing = taken.saturating_duration_since(now + EVERY * AT_ONCE);
        if !missing.is_zero() {
            return Err(missing);
        }
        *full_at = taken;
        Ok(())
    }
}

/// An address of IPv4, or the network of one of IPv6. Whoever is on this machine has all of 127.0.0.0/8, so that is one.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(address) if address.is_loopback() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(number: u32) -> IpAddr {
        std::net::Ipv4Addr::from_bits(number).into()
    }

    #[test]
    fn a_sender_may_come_ten_times_at_once_and_then_once_a_second() {
        let (mut pace, mut now) = (Pace::default(), Instant::now());
        for _ in 0..AT_ONCE {
            assert_eq!(pace.take(Some(address(1)), now), Ok(()));
        }
        assert_eq!(pace.take(Some(address(1)), now), Err(EVERY));
        now += EVERY / 4;
        assert_eq!(pace.take(Some(address(1)), now), Err(EVERY * 3 / 4), "who is refused pays nothing");
        assert_eq!((pace.take(Some(address(2)), now), pace.take(None, now)), (Ok(()), Ok(())));
        now += EVERY;
        assert_eq!(
            (pace.take(Some(address(1)), now), pace.take(Some(address(1)), now)),
            (Ok(()), Err(EVERY * 3 / 4))
        );
        now += EVERY * 100;
        let taken = (0..100).take_while(|_| pace.take(Some(address(1)), now).is_ok()).count();
        assert_eq!(taken, AT_ONCE as usize, "no more than a full bucket is saved up");
    }

    #[test]
    fn ever_new_addresses_get_no_more_than_the_room_there_is() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        let taken = (0..10_000).filter(|number| pace.take(Some(address(*number)), now).is_ok()).count();
        assert_eq!((taken, pace.full_at.len()), (SENDERS + AT_ONCE as usize, SENDERS + 1));
        assert_eq!(pace.take(Some(address(1)), now), Ok(()), "who was there before is not touched");
        assert_eq!(pace.take(Some(address(200_000)), now + EVERY * AT_ONCE), Ok(()));
        assert_eq!(pace.full_at.len(), 1, "what is full again is forgotten");
    }

    #[test]
    fn this_machine_is_one_sender() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        let of = |host: u8| Some(Ipv4Addr::new(127, host, host, 1).into());
        let taken = (0..100).filter(|host| pace.take(of(*host), now).is_ok()).count();
        assert_eq!(taken, AT_ONCE as usize);
    }

    #[test]
    fn an_ipv6_network_is_one_sender() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        let of = |text: &str| Some(text.parse::<IpAddr>().unwrap());
        let taken =
            (0..100).filter(|host| pace.take(of(&format!("2001:db8::{host:x}")), now).is_ok()).count();
        assert_eq!(taken, AT_ONCE as usize);
        assert_eq!(pace.take(of("2001:db8:0:1::1"), now), Ok(()));
    }
}
