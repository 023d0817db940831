//! So many of something at once, and so many of them for one client.
//!
//! Who attacks: a client that keeps all connections, or all requests, for itself. Another one still gets some.
//!
//! *Invariant:* a place is given back when it is dropped, and only then.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::pace::Client;

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Places(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    most: usize,
    of_one: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    by: BTreeMap<Client, usize>,
}

impl Places {
    /// `most` places, `of_one` of them for one client. Those whom nobody can tell apart are no one client.
    pub(super) fn new(most: usize, of_one: usize) -> Self {
        Self(Arc::new(Inner { most, of_one, taken: Mutex::default() }))
    }

    /// A place; `None` if there is none for this client.
    pub(super) fn take(&self, client: Client) -> Option<Place> {
        let mut taken = self.0.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let of_it = taken.by.get(&client).copied().unwrap_or_default();
        let is_one = matches!(client, Client::Process(_));
        if taken.all >= self.0.most || (is_one && of_it >= self.0.of_one) {
            return None;
        }
        taken.all += 1;
        taken.by.insert(client, of_it + 1);
        Some(Place { places: self.clone(), client })
    }
}

/// One that is taken.
#[derive(Debug)]
pub(super) struct Place {
    places: Places,
    client: Client,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.0.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.all = taken.all.saturating_sub(1);
        let left = taken.by.get(&self.client).map_or(0, |of_it| of_it.saturating_sub(1));
        if left == 0 {
            taken.by.remove(&self.client);
        } else {
            taken.by.insert(self.client, left);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_client_leaves_some_for_others_and_what_is_given_back_is_free() {
        let places = Places::new(4, 2);
        let (one, two) = (Client::Process(1), Client::Process(2));
        let first = [places.take(one), places.take(one)];
        assert!(first.iter().all(Option::is_some) && places.take(one).is_none());
        let second = [places.take(two), places.take(two)];
        assert!(second.iter().all(Option::is_some) && places.take(Client::Process(3)).is_none());
        drop(first);
        let many: Vec<_> = (0..2).map(|_| places.take(Client::Loopback)).collect();
        assert!(many.iter().all(Option::is_some) && places.take(Client::Loopback).is_none());
        drop((many, second));
        assert!(places.0.taken.lock().unwrap().by.is_empty());
    }
}
