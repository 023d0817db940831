//! Gathers updates; yields a generation only when it is complete, settled and different.
//!
//! `settle` is a fixed wait from the first change, not a pause that every further change prolongs: secrets that change all the
//! time bound the rate of generations and starve nobody. The first generation never waits for it.
//!
//! A generation that was taken back is settled secret by secret: what was new in it is held at its last good value, until its source
//! has something newer, so that one bad value does not block the others.
//!
//! *Invariants:* pure. Generations only grow. A snapshot has a value for every secret that is wanted. What was taken back is not
//! yielded again, unless that is asked for or the value before it is dead.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::{Duration, Instant};

use crate::names::{Generation, Revision, SecretName};
use crate::secret::{Meta, Packed};
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
    pub fields: Packed,
    /// What is known of it beside that.
    pub meta: Meta,
    /// When what the process has instead stops being good, if it does.
    pub former_ends: Option<Instant>,
    /// Whether it dies when its lease is given back.
    pub is_leased: bool,
}

/// A value that the process had before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Former {
    /// When it ends by itself, if that is known.
    pub ends: Option<Instant>,
    /// Whether it dies when its lease is given back.
    pub is_leased: bool,
}

/// Gathers the updates of all sessions.
#[derive(Clone, Debug)]
pub struct Gatherer {
    missing: BTreeSet<SecretName>,
    /// The newest of each.
    newest: BTreeMap<SecretName, Value>,
    /// What the process is known to work with; empty before the first generation is accepted.
    good: BTreeMap<SecretName, Value>,
    past: Past,
    /// Not the newest of these, but the good one.
    held: BTreeSet<SecretName>,
    /// The good values of what is held while the process has to use another one.
    returning: BTreeMap<SecretName, Value>,
    /// What the process has to use until a generation without it is accepted.
    unwanted: Vec<(SecretName, Revision)>,
    /// What was yielded and is neither accepted nor taken back.
    open: BTreeMap<Generation, BTreeMap<SecretName, Value>>,
    settle: Duration,
    next: Generation,
    yielded: bool,
    changed_at: Option<Instant>,
}

/// Values that decide nothing any more, while their files are still there for a command to print.
#[derive(Clone, Default)]
struct Past {
    /// What the process worked with before.
    good: BTreeMap<SecretName, Value>,
    /// What was taken back last.
    taken_back: BTreeMap<SecretName, Value>,
}

/// Shows nothing, since no two states differ by it.
impl fmt::Debug for Past {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Past(…)")
    }
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// A session has a new value.
    Updated(Update),
    /// The process works with this generation.
    Accepted(Generation),
    /// It does not, and is back on what it had.
    TakenBack(Generation),
    /// It does not, but cannot go back: what it had is dead.
    Forced(Generation),
    /// It could not be rendered, or a newer one took its place before it was tried.
    Dropped(Generation),
    /// The user asks that what is held of these be tried again; of all if there are none.
    RetryAsked(Vec<SecretName>),
    /// The user asks for the values that the process had before.
    RollbackAsked,
    /// What is rendered may differ though no value does: a file that a template includes.
    RenderAsked,
    /// The deadline came.
    Due,
}

/// What to do.
#[derive(Clone, Debug)]
#[must_use = "a snapshot that is dropped is never rendered"]
pub enum Effect {
    /// Render this.
    Render(Snapshot),
    /// This revision of this secret is used by nobody and will not be.
    Reject(SecretName, Revision),
    /// The newest value of these secrets is not used: they are held at their last good one.
    Hold(Vec<SecretName>),
}

impl Gatherer {
    /// Waits for all of these secrets. `next` is the number of the first generation it will yield. With nothing wanted, the
    /// first [`Event::Due`] yields it.
    pub fn new(wanted: BTreeSet<SecretName>, settle: Duration, next: Generation, now: Instant) -> Self {
        let changed_at = wanted.is_empty().then_some(now);
        Self {
            missing: wanted,
            newest: BTreeMap::new(),
            good: BTreeMap::new(),
            past: Past::default(),
            held: BTreeSet::new(),
            returning: BTreeMap::new(),
            unwanted: Vec::new(),
            open: BTreeMap::new(),
            settle,
            next,
            yielded: false,
            changed_at,
        }
    }

    /// Takes what happened at `now`, answers with what to do.
    pub fn step(&mut self, event: Event, now: Instant) -> Vec<Effect> {
        let mut effects = Vec::new();
        match event {
            Event::Updated(update) => self.take(update, now),
            Event::Accepted(generation) => self.accept(generation, &mut effects),
            Event::TakenBack(generation) => self.take_back(generation, now, &mut effects),
            Event::Forced(generation) => self.force(generation, now, &mut effects),
            Event::Dropped(generation) => self.drop(generation, &mut effects),
            Event::RetryAsked(secrets) => self.retry(&secrets, now),
            Event::RollbackAsked => self.roll_back(now),
            Event::RenderAsked => _ = self.changed_at.get_or_insert(now),
            Event::Due => {}
        }
        if self.deadline().is_some_and(|due| due <= now) {
            effects.push(Effect::Render(self.settled()));
        }
        effects
    }

    /// The gatherer of another configuration: it has the values of what stays, and waits for those that are `fresh`.
    #[must_use]
    pub fn successor(
        &self,
        wanted: &BTreeSet<SecretName>,
        fresh: &BTreeSet<SecretName>,
        settle: Duration,
    ) -> Self {
        let mut next = self.clone();
        let stays = |secret: &SecretName| wanted.contains(secret) && !fresh.contains(secret);
        for values in [&mut next.newest, &mut next.good, &mut next.returning] {
            values.retain(|secret, _| stays(secret));
        }
        let gone = next.past.good.extract_if(.., |secret, _| !stays(secret));
        next.past.taken_back.extend(gone);
        next.held.retain(stays);
        next.unwanted.retain(|(secret, _)| stays(secret));
        next.open.clear();
        next.missing = wanted.iter().filter(|secret| !next.newest.contains_key(*secret)).cloned().collect();
        (next.settle, next.changed_at) = (settle, None);
        next
    }

    /// Takes from another gatherer what was fetched for it alone.
    #[must_use]
    pub fn with(mut self, other: &Self, fetched: &BTreeSet<SecretName>) -> Self {
        for (secret, value) in other.newest.iter().filter(|(secret, _)| fetched.contains(*secret)) {
            self.missing.remove(secret);
            self.newest.insert(secret.clone(), value.clone());
        }
        self
    }

    /// Takes a value and yields nothing: this gatherer is not the one that decides now.
    pub fn hear(&mut self, update: Update, now: Instant) {
        self.take(update, now);
    }

    /// The same for what the user asks to be tried again.
    pub fn hear_retry(&mut self, secrets: &[SecretName], now: Instant) {
        self.retry(secrets, now);
    }

    /// Whether it has, or waits for, a value of this secret.
    pub fn wants(&self, secret: &SecretName) -> bool {
        self.missing.contains(secret) || self.newest.contains_key(secret)
    }

    /// Yields now. Complete it has to be.
    pub fn begin(&mut self) -> Snapshot {
        self.settled()
    }

    /// The number of the next generation. Two gatherers count as one.
    pub fn next(&self) -> Generation {
        self.next
    }

    /// Counts on from this number.
    pub fn go_on_from(&mut self, next: Generation) {
        self.next = self.next.max(next);
    }

    /// Every value of these secrets that it knows and that may be in use.
    pub fn revisions<'a>(
        &'a self,
        secrets: &'a BTreeSet<SecretName>,
    ) -> impl Iterator<Item = (SecretName, Revision)> + 'a {
        let known = self.open.values().chain([&self.newest]).flatten();
        let of_these = known.filter(|(secret, _)| secrets.contains(*secret));
        let revisions = of_these.map(|(secret, value)| (secret.clone(), value.revision));
        revisions.collect::<BTreeSet<_>>().into_iter()
    }

    /// Takes over what only its predecessor knew: it is in files that are still there. It is no value to go back to, since it may be what
    /// the name of a secret stood for before.
    pub fn inherit(&mut self, former: Self) {
        self.past.taken_back.extend(former.good);
    }

    /// When the changes have settled.
    pub fn deadline(&self) -> Option<Instant> {
        if !self.missing.is_empty() {
            return None;
        }
        self.changed_at.map(|at| if self.yielded { at + self.settle } else { at })
    }

    /// The secrets that had another value before.
    pub fn former(&self) -> BTreeMap<SecretName, Former> {
        let differ = self.past.good.iter().filter_map(|(secret, before)| {
            let good = self.good.get(secret).filter(|good| good.revision != before.revision)?;
            Some((secret.clone(), Former { ends: good.former_ends, is_leased: before.is_leased }))
        });
        differ.collect()
    }

    /// The secrets that are held at their last good value.
    pub fn held(&self) -> &BTreeSet<SecretName> {
        &self.held
    }

    /// The newest generation that was yielded.
    pub fn newest(&self) -> Option<Generation> {
        self.yielded.then(|| self.next.before()).flatten()
    }

    /// What has no value yet.
    pub fn missing(&self) -> &BTreeSet<SecretName> {
        &self.missing
    }

    /// Every value that is known: whatever a process prints has to be kept out of the log.
    pub fn plaintexts(&self) -> impl Iterator<Item = &Packed> {
        let open = self.open.values().flat_map(BTreeMap::values);
        let kept = [&self.newest, &self.good, &self.past.good, &self.past.taken_back];
        kept.into_iter().flat_map(BTreeMap::values).chain(open).map(|value| &value.fields)
    }

    /// An older value than the one held, or one of a secret that nobody wants any more, changes nothing.
    fn take(&mut self, update: Update, now: Instant) {
        let Update { secret, revision, fields, meta, former_ends, is_leased, .. } = update;
        let known = self.newest.get(&secret);
        let first = self.missing.remove(&secret);
        if !first && known.is_none_or(|known| known.revision >= revision) {
            return;
        }
        // Where the process still has an older value than the one before, it is that one's end which counts.
        let skipped = known.filter(|_| !self.held.contains(&secret));
        let skipped =
            skipped.filter(|known| self.good.get(&secret).is_some_and(|good| good.revision < known.revision));
        let former_ends = skipped.map_or(former_ends, |skipped| skipped.former_ends);
        self.newest.insert(secret.clone(), Value { revision, fields, meta, former_ends, is_leased });
        self.held.remove(&secret);
        self.returning.remove(&secret);
        self.changed_at.get_or_insert(now);
    }

    fn accept(&mut self, generation: Generation, effects: &mut Vec<Effect>) {
        self.decided(generation);
        let good = &self.good;
        let is_gone = |(secret, revision): &mut (SecretName, Revision)| {
            good.get(secret).is_none_or(|value| value.revision != *revision)
        };
        let gone = self.unwanted.extract_if(.., is_gone);
        effects.extend(gone.map(|(secret, revision)| Effect::Reject(secret, revision)));
    }

    /// The process has it.
    fn decided(&mut self, generation: Generation) {
        if let Some(values) = self.open.remove(&generation) {
            let before = std::mem::replace(&mut self.good, values);
            // What was to go is no value to go back to.
            let (unwanted, good) = before
                .into_iter()
                .partition(|(secret, value)| self.unwanted.contains(&(secret.clone(), value.revision)));
            self.past.good = good;
            self.past.taken_back.extend::<BTreeMap<_, _>>(unwanted);
        }
        self.open.retain(|number, _| *number > generation);
    }

    /// What was new in it is suspect, all of it, since nobody knows which it was.
    fn take_back(&mut self, generation: Generation, now: Instant, effects: &mut Vec<Effect>) {
        let suspects = self.hold_suspects(generation, now, effects);
        // It was to return to a value that is given back now: what the process has stays.
        self.returning.retain(|secret, value| !suspects.contains(&(secret.clone(), value.revision)));
        effects.extend(suspects.into_iter().map(|(secret, revision)| Effect::Reject(secret, revision)));
        self.past.taken_back.extend(self.open.remove(&generation).unwrap_or_default());
        self.open.retain(|number, _| *number > generation);
        self.changed_at = self.differs().then(|| self.changed_at.unwrap_or(now));
    }

    /// The process has to live with it. What has a good value left is suspect all the same, and goes back to that.
    fn force(&mut self, generation: Generation, now: Instant, effects: &mut Vec<Effect>) {
        let suspects = self.hold_suspects(generation, now, effects);
        let before = self.good.clone();
        self.decided(generation);
        for (secret, _) in &suspects {
            let value = before.get(secret).filter(|_| self.held.contains(secret));
            self.returning.extend(value.map(|value| (secret.clone(), value.clone())));
        }
        self.unwanted.extend(suspects);
        self.changed_at = self.differs().then(|| self.changed_at.unwrap_or(now));
    }

    /// What is new in it, and replaced something that lives. Where there is nothing newer, the good value is held.
    fn hold_suspects(
        &mut self,
        generation: Generation,
        now: Instant,
        effects: &mut Vec<Effect>,
    ) -> Vec<(SecretName, Revision)> {
        let values = self.open.get(&generation).into_iter().flatten();
        let is_suspect = |(secret, value): &(&SecretName, &Value)| {
            let is_new = self.good.get(*secret).is_some_and(|good| good.revision != value.revision);
            is_new && value.former_ends.is_none_or(|ends| ends > now)
        };
        let suspects = values.filter(is_suspect).map(|(secret, value)| (secret.clone(), value.revision));
        let suspects: Vec<_> = suspects.collect();
        let is_newest = |(secret, revision): &&(SecretName, Revision)| {
            self.newest.get(secret).is_some_and(|newest| newest.revision == *revision)
        };
        let held: Vec<_> = suspects.iter().filter(is_newest).map(|(secret, _)| secret.clone()).collect();
        self.held.extend(held.iter().cloned());
        if !held.is_empty() {
            effects.push(Effect::Hold(held));
        }
        suspects
    }

    /// What only it had is rejected.
    fn drop(&mut self, generation: Generation, effects: &mut Vec<Effect>) {
        for (secret, value) in self.open.remove(&generation).unwrap_or_default() {
            let others = self.open.values().chain([&self.newest, &self.good, &self.returning]);
            let mut others = others.filter_map(|values| values.get(&secret));
            if others.all(|other| other.revision != value.revision) {
                effects.push(Effect::Reject(secret, value.revision));
            }
        }
    }

    fn retry(&mut self, secrets: &[SecretName], now: Instant) {
        let stays = |secret: &SecretName| !secrets.is_empty() && !secrets.contains(secret);
        let is_on_its_way = self.held.iter().all(stays) && !self.open.is_empty();
        if is_on_its_way {
            return;
        }
        self.held.retain(stays);
        self.returning.retain(|secret, _| stays(secret));
        if self.differs() {
            self.changed_at.get_or_insert(now);
        }
    }

    /// What the process has is held to be suspect, as if it had been taken back: the next generation has the values of before.
    fn roll_back(&mut self, now: Instant) {
        for secret in self.former().into_keys() {
            let present = self.good.get(&secret).map(|good| (secret.clone(), good.revision));
            self.unwanted.extend(present);
            let before = self.past.good.get(&secret).map(|before| (secret.clone(), before.clone()));
            self.returning.extend(before);
            self.held.insert(secret);
        }
        if self.differs() {
            self.changed_at.get_or_insert(now);
        }
    }

    /// Whether the next snapshot would be another than what the process has.
    fn differs(&self) -> bool {
        self.newest.keys().any(|secret| {
            self.value(secret).map(|value| value.revision) != self.good.get(secret).map(|good| good.revision)
        })
    }

    fn value(&self, secret: &SecretName) -> Option<&Value> {
        let good = self.returning.get(secret).or_else(|| self.good.get(secret));
        good.filter(|_| self.held.contains(secret)).or_else(|| self.newest.get(secret))
    }

    fn settled(&mut self) -> Snapshot {
        let generation = self.next;
        self.next = generation.next();
        self.yielded = true;
        self.changed_at = None;
        let secrets =
            self.newest.keys().filter_map(|secret| Some((secret.clone(), self.value(secret)?.clone())));
        let values: BTreeMap<_, _> = secrets.collect();
        self.open.insert(generation, values.clone());
        Snapshot { generation, values }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::secret::{DigestKey, Fields};

    const SETTLE: Duration = Duration::from_millis(100);

    fn gatherer(wanted: &[&str], now: Instant) -> Gatherer {
        let wanted = wanted.iter().map(|name| SecretName::new(*name)).collect();
        Gatherer::new(wanted, SETTLE, Generation::FIRST, now)
    }

    fn update(secret: &str, revision: u64) -> Event {
        let fields = Packed::of(&Fields::from_iter([("n".to_owned(), revision.into())]));
        let digest = DigestKey::new([0; 32]).digest_fields(&fields);
        let revision = (0..revision).fold(Revision::default(), |revision, _| revision.next());
        Event::Updated(Update {
            secret: SecretName::new(secret),
            revision,
            fields,
            meta: Meta::default(),
            digest,
            former_ends: None,
            is_leased: false,
            again_at: None,
        })
    }

    fn yielded(effects: &[Effect]) -> Vec<u64> {
        let snapshot = |effect: &Effect| match effect {
            Effect::Render(snapshot) => Some(snapshot.generation.number()),
            Effect::Reject(..) | Effect::Hold(_) => None,
        };
        effects.iter().filter_map(snapshot).collect()
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

    /// The release before the live one is still on disk, and a bad one until the next.
    #[test]
    fn what_a_command_can_still_print_is_known() {
        let now = Instant::now();
        let mut gatherer = gatherer(&["a"], now);
        let known = |gatherer: &Gatherer| {
            let numbers = gatherer.plaintexts().map(|fields| fields.expose()["n"].to_string());
            numbers.collect::<BTreeSet<_>>().into_iter().collect::<String>()
        };
        let next = |gatherer: &mut Gatherer, revision: u64, event: fn(Generation) -> Event| {
            let at = now + SETTLE * u32::try_from(revision).unwrap() * 2;
            drop(gatherer.step(update("a", revision), at));
            let effects = gatherer.step(Event::Due, at + SETTLE);
            let generation = effects.iter().find_map(|effect| match effect {
                Effect::Render(snapshot) => Some(snapshot.generation),
                Effect::Reject(..) | Effect::Hold(_) => None,
            });
            drop(gatherer.step(event(generation.unwrap()), at + SETTLE));
        };
        drop(gatherer.step(update("a", 1), now));
        drop(gatherer.step(Event::Accepted(Generation::FIRST), now));
        next(&mut gatherer, 2, Event::Accepted);
        assert_eq!(known(&gatherer), "12");
        next(&mut gatherer, 3, Event::TakenBack);
        next(&mut gatherer, 4, Event::TakenBack);
        assert_eq!(known(&gatherer), "124");
        next(&mut gatherer, 5, Event::Accepted);
        assert_eq!(known(&gatherer), "245");
    }

    /// The values before go out as a generation of their own, once; what the process had is rejected when they are accepted.
    #[test]
    fn an_operator_goes_back_to_the_values_before() {
        let now = Instant::now();
        let mut gatherer = gatherer(&["a", "b"], now);
        drop(gatherer.step(update("a", 1), now));
        drop(gatherer.step(update("b", 1), now));
        drop(gatherer.step(Event::Accepted(Generation::FIRST), now));
        assert!(gatherer.former().is_empty(), "nothing was before");
        drop(gatherer.step(update("a", 2), now));
        let second = Generation::FIRST.next();
        assert_eq!(words(&gatherer.step(Event::Due, now + SETTLE)), ["2: a2 b1"]);
        drop(gatherer.step(Event::Accepted(second), now));
        assert_eq!(gatherer.former().into_keys().collect::<Vec<_>>(), [SecretName::new("a")]);

        assert!(gatherer.step(Event::RollbackAsked, now).is_empty());
        assert_eq!(words(&gatherer.step(Event::Due, now + SETTLE)), ["3: a1 b1"]);
        assert_eq!(words(&gatherer.step(Event::Accepted(second.next()), now)), ["reject a2"]);
        assert!(gatherer.former().is_empty(), "what was rejected is nothing to go back to");
        assert_eq!(gatherer.deadline(), None);

        // It is held, until there is something newer, or somebody asks for it.
        assert!(gatherer.step(Event::RetryAsked(vec![SecretName::new("b")]), now).is_empty());
        assert_eq!(gatherer.deadline(), None, "that was another one");
        drop(gatherer.step(update("a", 3), now));
        assert_eq!(words(&gatherer.step(Event::Due, now + SETTLE)), ["4: a3 b1"]);
    }

    #[test]
    fn a_way_back_that_fails_leaves_what_there_is() {
        let now = Instant::now();
        let mut gatherer = gatherer(&["a"], now);
        drop(gatherer.step(update("a", 1), now));
        drop(gatherer.step(Event::Accepted(Generation::FIRST), now));
        drop(gatherer.step(update("a", 2), now));
        drop(gatherer.step(Event::Due, now + SETTLE));
        let second = Generation::FIRST.next();
        drop(gatherer.step(Event::Accepted(second), now));
        drop(gatherer.step(Event::RollbackAsked, now));
        assert_eq!(words(&gatherer.step(Event::Due, now + SETTLE)), ["3: a1"]);
        assert_eq!(words(&gatherer.step(Event::TakenBack(second.next()), now)), ["reject a1"]);
        assert_eq!(gatherer.deadline(), None);
        drop(gatherer.step(update("a", 3), now));
        assert_eq!(words(&gatherer.step(Event::Due, now + SETTLE)), ["4: a3"]);
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

    /// Effects in words: snapshots with the revision of each secret.
    fn words(effects: &[Effect]) -> Vec<String> {
        let word = |effect: &Effect| match effect {
            Effect::Render(Snapshot { generation, values }) => {
                let values: Vec<_> =
                    values.iter().map(|(name, value)| format!("{name}{}", value.revision)).collect();
                format!("{generation}: {}", values.join(" "))
            }
            Effect::Reject(secret, revision) => format!("reject {secret}{revision}"),
            Effect::Hold(secrets) => {
                let secrets: Vec<_> = secrets.iter().map(ToString::to_string).collect();
                format!("hold {}", secrets.join(" "))
            }
        };
        effects.iter().map(word).collect()
    }

    fn at(generation: u64) -> Generation {
        Generation::from_number(generation).unwrap()
    }

    /// Both secrets have revision 1, and the process works with it.
    fn accepted(now: Instant) -> Gatherer {
        let mut gatherer = gatherer(&["a", "b"], now);
        assert!(gatherer.step(update("a", 1), now).is_empty());
        assert_eq!(words(&gatherer.step(update("b", 1), now)), ["1: a1 b1"]);
        assert!(gatherer.step(Event::Accepted(at(1)), now).is_empty());
        gatherer
    }

    fn settled(gatherer: &mut Gatherer, now: Instant) -> Vec<String> {
        words(&gatherer.step(Event::Due, now + SETTLE))
    }

    #[test]
    fn what_was_taken_back_is_held_and_blocks_no_other_secret() {
        let now = Instant::now();
        let mut gatherer = accepted(now);
        assert!(gatherer.step(update("a", 2), now).is_empty());
        assert_eq!(settled(&mut gatherer, now), ["2: a2 b1"]);
        assert_eq!(words(&gatherer.step(Event::TakenBack(at(2)), now)), ["hold a", "reject a2"]);
        assert_eq!(gatherer.deadline(), None, "the same is not tried again");
        assert!(gatherer.step(update("b", 2), now).is_empty());
        assert_eq!(settled(&mut gatherer, now), ["3: a1 b2"]);
        assert!(gatherer.step(Event::Accepted(at(3)), now).is_empty());
        assert!(gatherer.step(update("a", 3), now).is_empty());
        assert_eq!(settled(&mut gatherer, now), ["4: a3 b2"]);
    }

    #[test]
    fn all_that_was_new_is_suspect_and_what_came_meanwhile_is_not() {
        let now = Instant::now();
        let mut gatherer = accepted(now);
        drop(gatherer.step(update("a", 2), now));
        drop(gatherer.step(update("b", 2), now));
        assert_eq!(settled(&mut gatherer, now), ["2: a2 b2"]);
        drop(gatherer.step(update("b", 3), now));
        assert_eq!(words(&gatherer.step(Event::TakenBack(at(2)), now)), ["hold a", "reject a2", "reject b2"]);
        assert_eq!(settled(&mut gatherer, now), ["3: a1 b3"]);
    }

    #[test]
    fn what_is_held_is_tried_again_when_that_is_asked_for() {
        let now = Instant::now();
        let mut gatherer = accepted(now);
        drop(gatherer.step(update("a", 2), now));
        assert_eq!(settled(&mut gatherer, now), ["2: a2 b1"]);
        drop(gatherer.step(Event::TakenBack(at(2)), now));
        assert!(gatherer.step(Event::RetryAsked(Vec::new()), now).is_empty());
        assert_eq!(settled(&mut gatherer, now), ["3: a2 b1"]);
    }

    #[test]
    fn what_has_no_live_value_left_is_not_held() {
        let now = Instant::now();
        let mut gatherer = accepted(now);
        drop(gatherer.step(dying("a", 2, now), now));
        drop(gatherer.step(update("b", 2), now));
        assert_eq!(settled(&mut gatherer, now), ["2: a2 b2"]);
        let forced = gatherer.step(Event::Forced(at(2)), now);
        assert_eq!(words(&forced), ["hold b"]);
        assert_eq!(
            settled(&mut gatherer, now),
            ["3: a2 b1"],
            "forward, to what is known to be good of the others"
        );
        let accepted = gatherer.step(Event::Accepted(at(3)), now);
        assert_eq!(words(&accepted), ["reject b2"], "not before the process has another one");
        assert_eq!(gatherer.deadline(), None);
    }

    #[test]
    fn what_could_not_be_returned_to_is_given_back_and_not_tried_again() {
        let now = Instant::now();
        let mut gatherer = accepted(now);
        drop(gatherer.step(dying("a", 2, now), now));
        drop(gatherer.step(update("b", 2), now));
        assert_eq!(settled(&mut gatherer, now), ["2: a2 b2"]);
        assert_eq!(words(&gatherer.step(Event::Forced(at(2)), now)), ["hold b"]);
        assert_eq!(settled(&mut gatherer, now), ["3: a2 b1"]);
        assert_eq!(words(&gatherer.step(Event::TakenBack(at(3)), now)), ["reject b1"]);
        assert_eq!(gatherer.deadline(), None, "the process has a2 and b2, and there is nothing else");
        drop(gatherer.step(update("a", 3), now));
        assert_eq!(settled(&mut gatherer, now), ["4: a3 b2"]);
    }

    #[test]
    fn what_was_overtaken_before_it_was_tried_is_rejected() {
        let now = Instant::now();
        let mut gatherer = accepted(now);
        for revision in 2..4 {
            drop(gatherer.step(update("a", revision), now));
            drop(gatherer.step(Event::Due, now + SETTLE));
        }
        assert_eq!(words(&gatherer.step(Event::Dropped(at(2)), now)), ["reject a2"]);
        assert!(
            gatherer.step(Event::Dropped(at(3)), now).is_empty(),
            "it is the newest: a later one has it too"
        );
    }

    #[test]
    fn the_end_that_counts_is_that_of_what_the_process_has() {
        let now = Instant::now();
        let mut gatherer = accepted(now);
        let soon = now + SETTLE * 10;
        drop(gatherer.step(dying("a", 2, soon), now));
        drop(gatherer.step(dying("a", 3, soon + SETTLE), now));
        let effects = gatherer.step(Event::Due, now + SETTLE);
        let Some(Effect::Render(snapshot)) = effects.first() else { panic!("{effects:?}") };
        assert_eq!(snapshot.values[&SecretName::new("a")].former_ends, Some(soon));
    }

    fn dying(secret: &str, revision: u64, ends: Instant) -> Event {
        let Event::Updated(update) = update(secret, revision) else { panic!("it is one") };
        Event::Updated(Update { former_ends: Some(ends), ..update })
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
                for effect in gatherer.step(update(names[which], revisions[which]), now) {
                    let Effect::Render(snapshot) = effect else { panic!("nothing was taken back") };
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
