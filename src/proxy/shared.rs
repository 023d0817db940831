//! Equal reads at the same time are one request, and a static value may be kept for a while.
//!
//! What is leased is made for one client: it is neither kept nor given to two. A read that was leased once is not waited for by others.
//!
//! *Invariant:* the memory is bounded. What is kept counts only with the token that it was read with; in an outage with any, for as long as
//! the configuration says.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hyper::StatusCode;
use hyper::header::HeaderMap;
use tokio::sync::watch;

use super::forward::Trouble;
use crate::secret::Secret;
use crate::session::Serial;

/// So many bytes of values are kept.
const KEPT_BYTES: usize = 16 << 20;

/// So many values are kept.
const KEPT_VALUES: usize = 1024;

/// A read: path and query.
pub(super) type Key = (String, Option<String>);

/// An answer that was read whole.
#[derive(Clone, Debug)]
pub(super) struct Whole {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Secret<Vec<u8>>,
}

/// What came of a read that others wait for.
#[derive(Clone, Debug)]
pub(super) enum Outcome {
    /// It is for everybody.
    Whole(Whole),
    /// Nobody would get more.
    Failed(Trouble),
    /// It is for whoever asked: each has to ask for itself.
    Alone,
}

#[derive(Debug)]
struct Kept {
    whole: Whole,
    serial: Serial,
    at: Instant,
}

#[derive(Debug, Default)]
struct State {
    kept: BTreeMap<Key, Kept>,
    bytes: usize,
    going: BTreeMap<Key, watch::Receiver<Option<Outcome>>>,
    leased: BTreeSet<Key>,
    /// How often somebody wrote.
    writes: u64,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Shared {
    cache: Duration,
    stale: Duration,
    state: Mutex<State>,
}

/// How somebody gets an answer.
pub(super) enum Way<'a> {
    /// It is here, and this old.
    Kept(Whole, Duration),
    /// Somebody asks already.
    Wait(watch::Receiver<Option<Outcome>>),
    /// Ask, and tell the others.
    Ask(Leader<'a>),
    /// Ask for yourself.
    Alone,
}

impl Shared {
    /// Keeps values for `cache`, and in an outage for `stale` more.
    pub(super) fn new(cache: Duration, stale: Duration) -> Self {
        Self { cache, stale, state: Mutex::default() }
    }

    /// Nothing in there can panic half-way.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How to get the answer of this read with this token.
    pub(super) fn way(&self, key: &Key, serial: Option<Serial>, now: Instant) -> Way<'_> {
        let mut state = self.state();
        if let Some(kept) = state.kept.get(key).filter(|kept| Some(kept.serial) == serial) {
            let age = now.saturating_duration_since(kept.at);
            if age < self.cache {
                return Way::Kept(kept.whole.clone(), age);
            }
        }
        if state.leased.contains(key) {
            return Way::Alone;
        }
        if let Some(going) = state.going.get(key) {
            return Way::Wait(going.clone());
        }
        let (tell, told) = watch::channel(None);
        state.going.insert(key.clone(), told);
        Way::Ask(Leader { shared: self, key: key.clone(), tell, writes: state.writes })
    }

    /// Whether an answer to this read had a lease.
    pub(super) fn is_leased(&self, key: &Key) -> bool {
        self.state().leased.contains(key)
    }

    /// A value for an outage, and its age.
    pub(super) fn stale(&self, key: &Key, now: Instant) -> Option<(Whole, Duration)> {
        let state = self.state();
        let kept = state.kept.get(key)?;
        let age = now.saturating_duration_since(kept.at);
        (age < self.cache + self.stale).then(|| (kept.whole.clone(), age))
    }

    /// Somebody wrote through the proxy: what was read before may not be so any more, and what is being read neither.
    pub(super) fn forget(&self) {
        let mut state = self.state();
        state.writes += 1;
        state.going.clear();
        state.kept.clear();
        state.bytes = 0;
    }

    /// Keeps what was asked for after so many writes.
    fn keep(&self, key: &Key, whole: &Whole, (serial, writes): (Serial, u64), now: Instant) {
        let lasts = self.cache + self.stale;
        let size = whole.body.expose().len();
        if lasts.is_zero() || size > KEPT_BYTES {
            return;
        }
        let mut state = self.state();
        if state.writes != writes {
            return;
        }
        state.drop_old(lasts, now);
        state.remove(key);
        while state.bytes + size > KEPT_BYTES || state.kept.len() >= KEPT_VALUES {
            let oldest = state.kept.iter().min_by_key(|(_, kept)| kept.at).map(|(key, _)| key.clone());
            let Some(oldest) = oldest else { return };
            state.remove(&oldest);
        }
        state.bytes += size;
        state.kept.insert(key.clone(), Kept { whole: whole.clone(), serial, at: now });
    }

    /// What is too old even for an outage goes, so that it does not stay in the memory because nobody asks.
    pub(super) fn sweep(&self, now: Instant) {
        self.state().drop_old(self.cache + self.stale, now);
    }

    /// The longest that a value stays.
    pub(super) fn lasts(&self) -> Duration {
        self.cache + self.stale
    }
}

impl State {
    fn remove(&mut self, key: &Key) {
        if let Some(gone) = self.kept.remove(key) {
            self.bytes = self.bytes.saturating_sub(gone.whole.body.expose().len());
        }
    }

    fn drop_old(&mut self, lasts: Duration, now: Instant) {
        self.kept.retain(|_, kept| now.saturating_duration_since(kept.at) < lasts);
        self.bytes = self.kept.values().map(|kept| kept.whole.body.expose().len()).sum();
    }
}

/// Whoever asks for others, too. One that is gone before it has an answer leaves each to ask for itself.
pub(super) struct Leader<'a> {
    shared: &'a Shared,
    key: Key,
    tell: watch::Sender<Option<Outcome>>,
    writes: u64,
}

impl Leader<'_> {
    /// A static value, that may be kept if it is one (and not, for example, that there is none).
    pub(super) fn found(self, whole: &Whole, serial: Serial, now: Instant) {
        if whole.status == StatusCode::OK {
            self.shared.keep(&self.key, whole, (serial, self.writes), now);
        }
        self.tell.send_replace(Some(Outcome::Whole(whole.clone())));
    }

    /// It is for whoever asked alone.
    pub(super) fn leased(self) {
        let mut state = self.shared.state();
        if state.leased.len() >= KEPT_VALUES {
            state.leased.clear();
        }
        state.leased.insert(self.key.clone());
        drop(state);
        self.tell.send_replace(Some(Outcome::Alone));
    }

    /// Nobody would get more.
    pub(super) fn failed(self, trouble: &Trouble) {
        self.tell.send_replace(Some(Outcome::Failed(trouble.clone())));
    }
}

impl Drop for Leader<'_> {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        // After a write somebody else may be asking.
        if state.writes == self.writes {
            state.going.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Key {
        (name.to_owned(), None)
    }

    fn whole(size: usize) -> Whole {
        Whole { status: StatusCode::OK, headers: HeaderMap::new(), body: Secret::new(vec![7; size]) }
    }

    fn found(shared: &Shared, name: &str, size: usize, now: Instant) {
        let Way::Ask(leader) = shared.way(&key(name), None, now) else { panic!("{name} is there") };
        leader.found(&whole(size), Serial::default(), now);
    }

    #[test]
    fn one_asks_and_the_others_wait_unless_it_is_leased() {
        let (shared, now) = (Shared::new(Duration::ZERO, Duration::ZERO), Instant::now());
        let Way::Ask(leader) = shared.way(&key("a"), None, now) else { panic!() };
        let Way::Wait(told) = shared.way(&key("a"), None, now) else { panic!() };
        assert!(matches!(shared.way(&key("b"), None, now), Way::Ask(_)));
        leader.found(&whole(1), Serial::default(), now);
        assert!(matches!(&*told.borrow(), Some(Outcome::Whole(_))));
        let Way::Ask(leader) = shared.way(&key("a"), None, now) else { panic!("nothing is kept") };
        let Way::Wait(told) = shared.way(&key("a"), None, now) else { panic!() };
        drop(leader);
        assert!(
            told.has_changed().is_err() && told.borrow().is_none(),
            "who goes away leaves the others to ask"
        );
        let Way::Ask(leader) = shared.way(&key("a"), None, now) else { panic!() };
        leader.leased();
        assert!(matches!(shared.way(&key("a"), None, now), Way::Alone));
    }

    #[test]
    fn what_is_kept_is_fresh_then_for_an_outage_then_gone() {
        let second = Duration::from_secs(1);
        let (shared, now) = (Shared::new(second * 10, second * 60), Instant::now());
        found(&shared, "a", 5, now);
        let serial = Some(Serial::default());
        assert!(
            matches!(shared.way(&key("a"), serial, now + second * 9), Way::Kept(_, age) if age == second * 9)
        );
        assert!(matches!(shared.way(&key("a"), None, now), Way::Ask(_)), "it is another token's");
        assert!(matches!(shared.way(&key("a"), serial, now + second * 10), Way::Ask(_)));
        assert_eq!(shared.stale(&key("a"), now + second * 69).map(|(_, age)| age), Some(second * 69));
        assert!(shared.stale(&key("a"), now + second * 70).is_none());
        shared.sweep(now + second * 70);
        let left = shared.state().kept.len();
        assert_eq!((left, shared.state().bytes), (0, 0));
        found(&shared, "a", 5, now);
        shared.forget();
        assert!(shared.stale(&key("a"), now).is_none());
    }

    #[test]
    fn who_wrote_is_not_given_what_was_asked_for_before() {
        let (shared, now) = (Shared::new(Duration::from_secs(9), Duration::ZERO), Instant::now());
        let Way::Ask(before) = shared.way(&key("a"), None, now) else { panic!() };
        shared.forget();
        let Way::Ask(after) = shared.way(&key("a"), None, now) else {
            panic!("it would wait for the former value")
        };
        before.found(&whole(1), Serial::default(), now);
        assert!(shared.stale(&key("a"), now).is_none(), "the former value is not kept");
        assert!(matches!(shared.way(&key("a"), None, now), Way::Wait(_)), "the other still asks");
        after.found(&whole(2), Serial::default(), now);
        assert_eq!(shared.stale(&key("a"), now).map(|(whole, _)| whole.body.expose().len()), Some(2));
    }

    #[test]
    fn the_memory_is_bounded_and_the_oldest_goes() {
        let second = Duration::from_secs(1);
        let (shared, now) = (Shared::new(second * 1000, Duration::ZERO), Instant::now());
        for number in 0..100 {
            found(&shared, &number.to_string(), 1 << 20, now + second * number);
        }
        let state = shared.state();
        assert_eq!((state.bytes, state.kept.len()), (16 << 20, 16));
        assert!(state.kept.contains_key(&key("99")) && !state.kept.contains_key(&key("83")));
    }
}
