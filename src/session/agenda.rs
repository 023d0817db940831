//! What a session keeps, with what is due of it in the order of time: a step looks at what is due, however much else is kept.
//!
//! Whoever changes an item gets it from [`Agenda::get_mut`] or [`Agenda::values_mut`], which note that it may have other times now. They are
//! sorted in before anybody asks for what is due.
//!
//! *Invariants:* pure. Each item is in `waiting` or `ripe` if it is due at some time, and in neither otherwise; the same for `ends`.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;
use std::time::Instant;

use crate::names::SecretName;

/// What is more urgent comes first: what has no value yet, then what ends, in the order of its end.
pub(super) type Urgency = (bool, bool, Option<Instant>);

/// Something that is due at times.
pub(super) trait Planned {
    /// When the next question about it may go out.
    fn due(&self) -> Option<Instant>;
    /// When it ends, if that is still to be noticed.
    fn end(&self) -> Option<Instant>;
    /// How it compares with others that are due.
    fn urgency(&self) -> Urgency;
    /// The secret that it belongs to, if it is not that secret itself. That never changes.
    fn belongs_to(&self) -> Option<&SecretName>;
}

/// Items by their keys, and by their times.
#[derive(Clone)]
pub(super) struct Agenda<Key, Item> {
    items: BTreeMap<Key, Item>,
    /// The times under which each is sorted in below; nothing of what is never due and never ends.
    sorted: BTreeMap<Key, Sorted>,
    /// What is due later than `ripe_at`.
    waiting: BTreeSet<(Instant, Key)>,
    /// What is due at `ripe_at`, the most urgent first.
    ripe: BTreeSet<(Urgency, Key)>,
    ripe_at: Option<Instant>,
    ends: BTreeSet<(Instant, Key)>,
    by_secret: BTreeMap<SecretName, BTreeSet<Key>>,
    /// What may have changed since it was sorted in.
    touched: Vec<Key>,
    all_touched: bool,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Sorted {
    due: Option<Due>,
    end: Option<Instant>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Due {
    Waiting(Instant),
    Ripe(Urgency),
}

impl<Key, Item> Default for Agenda<Key, Item> {
    fn default() -> Self {
        Self {
            items: BTreeMap::new(),
            sorted: BTreeMap::new(),
            waiting: BTreeSet::new(),
            ripe: BTreeSet::new(),
            ripe_at: None,
            ends: BTreeSet::new(),
            by_secret: BTreeMap::new(),
            touched: Vec::new(),
            all_touched: false,
        }
    }
}

impl<Key: Clone + Ord, Item: Planned> FromIterator<(Key, Item)> for Agenda<Key, Item> {
    fn from_iter<Items: IntoIterator<Item = (Key, Item)>>(items: Items) -> Self {
        // At once, since a map that is filled one by one in the order of its keys stays half empty.
        let items: BTreeMap<_, _> = items.into_iter().collect();
        let mut agenda = Self { items, all_touched: true, ..Self::default() };
        for (key, item) in &agenda.items {
            if let Some(secret) = item.belongs_to() {
                agenda.by_secret.entry(secret.clone()).or_default().insert(key.clone());
            }
        }
        agenda.settle();
        agenda
    }
}

/// To read, it is the map of the items.
impl<Key, Item> Deref for Agenda<Key, Item> {
    type Target = BTreeMap<Key, Item>;

    fn deref(&self) -> &Self::Target {
        &self.items
    }
}

impl<Key: Clone + Ord, Item: Planned> Agenda<Key, Item> {
    pub(super) fn insert(&mut self, key: Key, item: Item) {
        self.touched.push(key.clone());
        if let Some(secret) = item.belongs_to() {
            self.by_secret.entry(secret.clone()).or_default().insert(key.clone());
        }
        self.items.insert(key, item);
    }

    pub(super) fn remove(&mut self, key: &Key) -> Option<Item> {
        let item = self.items.remove(key)?;
        self.forget(key, &item);
        Some(item)
    }

    fn forget(&mut self, key: &Key, item: &Item) {
        self.sort(key);
        let Some(secret) = item.belongs_to() else { return };
        if let Some(keys) = self.by_secret.get_mut(secret) {
            keys.remove(key);
            if keys.is_empty() {
                self.by_secret.remove(secret);
            }
        }
    }

    /// Those that belong to this secret.
    pub(super) fn of(&self, secret: &SecretName) -> Vec<Key> {
        self.by_secret.get(secret).into_iter().flatten().cloned().collect()
    }

    /// Takes out what is gone.
    pub(super) fn take_if(&mut self, is_gone: impl Fn(&Item) -> bool) -> Vec<(Key, Item)> {
        let gone: Vec<_> = self.items.extract_if(.., |_, item| is_gone(item)).collect();
        for (key, item) in &gone {
            self.forget(key, item);
        }
        gone
    }

    pub(super) fn get_mut(&mut self, key: &Key) -> Option<&mut Item> {
        let item = self.items.get_mut(key)?;
        self.touched.push(key.clone());
        Some(item)
    }

    /// All of them, each of which may change.
    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut Item> {
        self.all_touched = true;
        self.items.values_mut()
    }

    /// Sorts in what may have changed.
    pub(super) fn settle(&mut self) {
        if std::mem::take(&mut self.all_touched) {
            self.touched = self.items.keys().cloned().collect();
        }
        for key in std::mem::take(&mut self.touched) {
            self.sort(&key);
        }
    }

    /// What is due at this time, the most urgent first; at most so many.
    pub(super) fn due(&mut self, now: Instant, most: usize) -> Vec<(Urgency, Key)> {
        self.settle();
        while self.waiting.first().is_some_and(|(at, _)| *at <= now) {
            let Some((_, key)) = self.waiting.pop_first() else { break };
            let Some(urgency) = self.items.get(&key).map(Planned::urgency) else { continue };
            if let Some(sorted) = self.sorted.get_mut(&key) {
                sorted.due = Some(Due::Ripe(urgency));
            }
            self.ripe.insert((urgency, key));
        }
        self.ripe_at = self.ripe_at.max(Some(now));
        self.ripe.iter().take(most).cloned().collect()
    }

    /// When something is due next; in the past if something is due already.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let ripe = self.ripe.first().and(self.ripe_at);
        ripe.or_else(|| self.waiting.first().map(|(at, _)| *at))
    }

    /// What has ended by now, in the order of the keys.
    pub(super) fn ended(&mut self, now: Instant) -> BTreeSet<Key> {
        self.settle();
        self.ends.iter().take_while(|(at, _)| *at <= now).map(|(_, key)| key.clone()).collect()
    }

    /// When the next one ends.
    pub(super) fn next_end(&self) -> Option<Instant> {
        self.ends.first().map(|(at, _)| *at)
    }

    fn sort(&mut self, key: &Key) {
        let item = self.items.get(key);
        let due = item.and_then(|item| item.due().map(|at| (at, item.urgency())));
        let due = due.map(
            |(at, urgency)| {
                if Some(at) <= self.ripe_at { Due::Ripe(urgency) } else { Due::Waiting(at) }
            },
        );
        let wanted = Sorted { due, end: item.and_then(Planned::end) };
        let before = self.sorted.get(key).copied().unwrap_or_default();
        if wanted == before {
            return;
        }
        self.take_out(key, before);
        match wanted.due {
            Some(Due::Waiting(at)) => {
                self.waiting.insert((at, key.clone()));
            }
            Some(Due::Ripe(urgency)) => {
                self.ripe.insert((urgency, key.clone()));
            }
            None => {}
        }
        if let Some(end) = wanted.end {
            self.ends.insert((end, key.clone()));
        }
        if wanted == Sorted::default() {
            self.sorted.remove(key);
        } else {
            self.sorted.insert(key.clone(), wanted);
        }
    }

    fn take_out(&mut self, key: &Key, sorted: Sorted) {
        match sorted.due {
            Some(Due::Waiting(at)) => {
                self.waiting.remove(&(at, key.clone()));
            }
            Some(Due::Ripe(urgency)) => {
                self.ripe.remove(&(urgency, key.clone()));
            }
            None => {}
        }
        if let Some(end) = sorted.end {
            self.ends.remove(&(end, key.clone()));
        }
    }
}

#[cfg(test)]
mod tests;
