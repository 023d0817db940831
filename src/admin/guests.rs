//! Who is in: so many connections at once for each door, and of them so many from one address.
//!
//! Who attacks: one host that keeps as many connections as it gets. Half of them are left for others. Who has many addresses can take all of
//! the listener's, and none of the socket's.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::webhook::network;

/// So many connections at once for each door; what comes beyond is closed at once, since waiting would help nobody.
const CONNECTIONS: usize = 64;

/// So many of them from one address, or from one network of IPv6: half.
const FROM_ONE: usize = 32;

/// Who is in by one door.
#[derive(Clone, Debug, Default)]
pub(super) struct Guests(Arc<Mutex<Counts>>);

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    from: BTreeMap<IpAddr, usize>,
}

impl Counts {
    fn admit(&mut self, from: Option<IpAddr>) -> bool {
        if self.all >= CONNECTIONS {
            return false;
        }
        if let Some(from) = from {
            let of_one = self.from.entry(from).or_default();
            if *of_one >= FROM_ONE {
                return false;
            }
            *of_one += 1;
        }
        self.all += 1;
        true
    }

    fn dismiss(&mut self, from: Option<IpAddr>) {
        self.all = self.all.saturating_sub(1);
        if let Some(from) = from
            && let Some(of_one) = self.from.get_mut(&from)
        {
            *of_one = of_one.saturating_sub(1);
            if *of_one == 0 {
                self.from.remove(&from);
            }
        }
    }
}

impl Guests {
    /// A seat for who comes from this address, until it is dropped; `None` if there is none for that one.
    pub(super) fn admit(&self, from: Option<IpAddr>) -> Option<Seat> {
        let from = from.map(network);
        let is_in = self.counts().admit(from);
        is_in.then(|| Seat { guests: self.clone(), from })
    }

    /// Nothing in there can panic half-way.
    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection that is in.
#[derive(Debug)]
pub(super) struct Seat {
    guests: Guests,
    from: Option<IpAddr>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.guests.counts().dismiss(self.from);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn one_address_gets_half_and_gives_back_what_it_leaves() {
        let guests = Guests::default();
        let fill = |from| (0..CONNECTIONS).filter_map(|_| guests.admit(from)).collect::<Vec<_>>();
        let one = fill(Some(address("192.0.2.1")));
        assert_eq!(one.len(), FROM_ONE);
        assert!(guests.admit(Some(address("192.0.2.1"))).is_none());
        // All hosts of one IPv6 network are one.
        let two = fill(Some(address("2001:db8::1")));
        assert_eq!(two.len(), FROM_ONE);
        assert!(
            guests.admit(Some(address("2001:db8::2"))).is_none()
                && guests.admit(Some(address("192.0.2.3"))).is_none()
        );
        drop(one);
        assert!(guests.admit(Some(address("2001:db8::2"))).is_none(), "the network has its half still");
        let three = fill(Some(address("192.0.2.3")));
        assert_eq!(three.len(), FROM_ONE);
        drop((two, three));
        let counts = guests.counts();
        assert_eq!((counts.all, counts.from.len()), (0, 0), "nobody who left is remembered");
    }

    #[test]
    fn the_socket_has_no_addresses() {
        let guests = Guests::default();
        let all: Vec<_> = (0..=CONNECTIONS).filter_map(|_| guests.admit(None)).collect();
        assert_eq!(all.len(), CONNECTIONS);
    }
}
