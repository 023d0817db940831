//! Gathers updates; yields a generation only when it is complete, settled and different.
//!
//! `settle` is a fixed wait from the first change, not a pause that every further change prolongs: secrets that change all the
//! time bound the rate of generations and starve nobody. The first generation never waits for it.
//!
//! *Invariants:* pure. Generations only grow. A snapshot has a value for every secret that is wanted.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::names::{Generation, Revision, SecretName};
use crate::secret::{Fields, Secret};
use crate::session::Update;

/// One complete, consistent set of values.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Which one.
    pub generation: Generation,
    /// Every wanted secret.
    pub values: BTreeMap<SecretName, Value>,
}

/// The value of one secret in a snapshot.
#[derive(Clone, Debug)]
pub struct Value {
    /// Which value of it.
    pub revision: Revision,
    /// What templates see.
    pub fields: Secret<Fields>,
}

/// Gathers the updates of all sessions.
#[derive(Clone, Debug)]
pub struct Gatherer {
    missing: BTreeSet<SecretName>,
    values: BTreeMap<SecretName, Value>,
    settle: Duration,
    next: Generation,
    yielded: bool,
    changed_at: Option<Instant>,
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// A session has a new value.
    Updated(Update),
    /// The deadline came.
    Due,
}

/// What to do.
#[derive(Clone, Debug)]
#[must_use = "a snapshot that is dropped is never rendered"]
pub enum Effect {
    /// Render this.
    Render(Snapshot),
}

impl Gatherer {
    /// Waits for all of these secrets. `next` is the number of the first generation it will yield. With nothing wanted, the
    /// first [`Event::Due`] yields it.
    pub fn new(wanted: BTreeSet<SecretName>, settle: Duration, next: Generation, now: Instant) -> Self {
        let changed_at = wanted.is_empty().then_some(now);
        Self { missing: wanted, values: BTreeMap::new(), settle, next, yielded: false, changed_at }
    }

    /// Takes what happened at `now`, answers with what to do.
    pub fn step(&mut self, event: Event, now: Instant) -> Vec<Effect> {
        match event {
            Event::Updated(update) => self.take(update, now),
            Event::Due => {}
        }
        if self.deadline().is_some_and(|due| due <= now) { vec![self.settled()] } else { Vec::new() }
    }

    /// When the changes have settled.
    pub fn deadline(&self) -> Option<Instant> {
        if !self.missing.is_empty() {
            return None;
        }
        self.changed_at.map(|at| if self.yielded { at + self.settle } else { at })
    }

    /// What has no value yet.
    pub fn missing(&self) -> &BTreeSet<SecretName> {
        &self.missing
    }

    /// An older value than the one held, or one of a secret that nobody wants any more, changes nothing.
    fn take(&mut self, update: Update, now: Instant) {
        let Update { secret, revision, fields, .. } = update;
        let known = self.values.get(&secret).map(|value| value.revision);
        let first = self.missing.remove(&secret);
        if first || known.is_some_and(|known| known < revision) {
            self.values.insert(secret, Value { revision, fields });
            self.changed_at.get_or_insert(now);
        }
    }

    fn settled(&mut self) -> Effect {
        let generation = self.next;
        self.next = generation.next();
        self.yielded = true;
        self.changed_at = None;
        Effect::Render(Snapshot { generation, values: self.values.clone() })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::secret::DigestKey;

    const SETTLE: Duration = Duration::from_millis(100);

    fn gatherer(wanted: &[&str], now: Instant) -> Gatherer {
        let wanted = wanted.iter().map(|name| SecretName::new(*name)).collect();
        Gatherer::new(wanted, SETTLE, Generation::FIRST, now)
    }

    fn update(secret: &str, revision: u64) -> Event {
        let fields = Fields::from_iter([("n".to_owned(), revision.into())]);
        let digest = DigestKey::new([0; 32]).digest_fields(&fields);
        let revision = (0..revision).fold(Revision::default(), |revision, _| revision.next());
        Event::Updated(Update {
            secret: SecretName::new(secret),
            revision,
            fields: Secret::new(fields),
            digest,
        })
    }

    fn yielded(effects: &[Effect]) -> Vec<u64> {
        effects.iter().map(|Effect::Render(snapshot)| snapshot.generation.number()).collect()
    }

    #[test]
    fn the_first_generation_waits_for_every_secret_and_for_nothing_else() {
        let now = Instant::now();
        let mut gatherer = gatherer(&["a", "b"], now);
        assert!(gatherer.step(update("a", 1), now).is_empty());
        assert_eq!(gatherer.deadline(), None);
        assert_eq!(yielded(&gatherer.step(update("b", 1), now)), [1]);
        assert_eq!(gatherer.deadline(), None);
    }

    #[test]
    fn later_changes_settle_from_the_first_of_them() {
        let now = Instant::now();
        let mut gatherer = gatherer(&["a", "b"], now);
        assert!(gatherer.step(update("a", 1), now).is_empty());
        assert_eq!(yielded(&gatherer.step(update("b", 1), now)), [1]);
        assert!(gatherer.step(update("a", 2), now).is_empty());
        assert!(gatherer.step(update("a", 3), now + SETTLE / 2).is_empty());
        assert_eq!(gatherer.deadline(), Some(now + SETTLE));
        assert_eq!(yielded(&gatherer.step(Event::Due, now + SETTLE)), [2]);
        assert!(gatherer.step(Event::Due, now + SETTLE * 2).is_empty());
    }

    #[test]
    fn without_any_secret_the_first_generation_is_there_at_once() {
        let now = Instant::now();
        assert_eq!(yielded(&gatherer(&[], now).step(Event::Due, now)), [1]);
    }

    #[test]
    fn what_is_old_or_unwanted_changes_nothing() {
        let now = Instant::now();
        let mut gatherer = gatherer(&["a"], now);
        assert_eq!(yielded(&gatherer.step(update("a", 2), now)), [1]);
        assert!(gatherer.step(update("a", 1), now).is_empty());
        assert!(gatherer.step(update("z", 1), now).is_empty());
        assert_eq!(gatherer.deadline(), None);
    }

    proptest! {
        #[test]
        fn generations_grow_are_complete_and_come_no_faster_than_settle(
            schedule in prop::collection::vec((0_usize..3, 0_u64..80), 1..200),
        ) {
            let names = ["a", "b", "c"];
            let mut now = Instant::now();
            let mut gatherer = gatherer(&names, now);
            let mut revisions = [0_u64; 3];
            let mut last: Option<(Instant, Generation)> = None;
            for (which, wait) in schedule {
                now += Duration::from_millis(wait);
                revisions[which] += 1;
                for Effect::Render(snapshot) in gatherer.step(update(names[which], revisions[which]), now) {
                    prop_assert_eq!(snapshot.values.len(), 3);
                    if let Some((at, generation)) = last {
                        prop_assert!(snapshot.generation == generation.next());
                        prop_assert!(now - at >= SETTLE, "{:?}", now - at);
                    }
                    last = Some((now, snapshot.generation));
                }
            }
        }
    }
}
