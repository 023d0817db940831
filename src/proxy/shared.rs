//! Equal reads at the same time are one request, and a static value may be kept for a while.
//!
//! What is leased is made for one client: it is neither kept nor given to two. A path that was leased once is not waited for by others.
//!
//! A write ends what was read before at the same mount; one that the server did not do leaves it for an outage.
//!
//! *Invariant:* the memory is bounded. What is kept counts only with the token that it was read with; in an outage with any of the same
//! keeper, for as long as the configuration says.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hyper::StatusCode;
use hyper::header::HeaderMap;
use tokio::sync::watch;

use super::forward::Trouble;
use super::line::Mark;
use crate::secret::Secret;

/// So many bytes of values are kept.
const KEPT_BYTES: usize = 16 << 20;

/// So many values are kept.
const KEPT_VALUES: usize = 1024;

/// Mounts are told apart by so many numbers.
const LANES: usize = 64;

/// A read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    /// The path of the API.
    pub(super) path: String,
    /// Method and query.
    pub(super) asks: String,
}

/// What a path gave when it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// The same for everybody.
    Static,
    /// Something made for whoever asked.
    Made,
}

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
    mark: Mark,
    at: Instant,
    /// Somebody may have written since then.
    is_doubtful: bool,
}

#[derive(Debug)]
struct State {
    kept: BTreeMap<Key, Kept>,
    bytes: usize,
    going: BTreeMap<Key, watch::Receiver<Option<Outcome>>>,
    kinds: BTreeMap<String, Kind>,
    /// How often somebody wrote, for each lane.
    writes: [u64; LANES],
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
        let nothing = State {
            kept: BTreeMap::new(),
            bytes: 0,
            going: BTreeMap::new(),
            kinds: BTreeMap::new(),
            writes: [0; LANES],
        };
        Self { cache, stale, state: Mutex::new(nothing) }
    }

    /// Nothing in there can panic half-way.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How to get the answer of this read with this token.
    pub(super) fn way(&self, key: &Key, mark: Option<Mark>, now: Instant) -> Way<'_> {
        let mut state = self.state();
        let kept = state.kept.get(key).filter(|kept| Some(kept.mark) == mark && !kept.is_doubtful);
        if let Some(kept) = kept {
            let age = now.saturating_duration_since(kept.at);
            if age < self.cache {
                return Way::Kept(kept.whole.clone(), age);
            }
        }
        if state.kinds.get(&key.path) == Some(&Kind::Made) {
            return Way::Alone;
        }
        if let Some(going) = state.going.get(key) {
            return Way::Wait(going.clone());
        }
        let (tell, told) = watch::channel(None);
        state.going.insert(key.clone(), told);
        let writes = state.writes[lane(&key.path)];
        Way::Ask(Leader { shared: self, key: key.clone(), tell, writes })
    }

    /// Whether reading this path makes nothing, as far as anybody saw.
    pub(super) fn is_static(&self, path: &str) -> bool {
        self.state().kinds.get(path) == Some(&Kind::Static)
    }

    /// Whether reading this path makes something.
    pub(super) fn is_made(&self, path: &str) -> bool {
        self.state().kinds.get(path) == Some(&Kind::Made)
    }

    /// An answer says what reading this path does.
    pub(super) fn learn(&self, path: &str, is_made: bool) {
        let kind = if is_made { Kind::Made } else { Kind::Static };
        let mut state = self.state();
        if state.kinds.get(path) == Some(&kind) {
            return;
        }
        if state.kinds.len() >= KEPT_VALUES {
            state.kinds.clear();
        }
        state.kinds.insert(path.to_owned(), kind);
    }

    /// A value for an outage, and its age.
    pub(super) fn stale(&self, key: &Key, keeper: u64, now: Instant) -> Option<(Whole, Duration)> {
        let state = self.state();
        let kept = state.kept.get(key).filter(|kept| kept.mark.keeper == keeper)?;
        let age = now.saturating_duration_since(kept.at);
        (age < self.cache + self.stale).then(|| (kept.whole.clone(), age))
    }

    /// Somebody is about to write there: what was read before may not be so any more, and what is being read neither.
    pub(super) fn may_change(&self, path: &str) {
        let mut state = self.state();
        state.begin_write(path);
        for (_, kept) in state.kept.iter_mut().filter(|(key, _)| is_touched(path, &key.path)) {
            kept.is_doubtful = true;
        }
    }

    /// Somebody wrote there.
    pub(super) fn changed(&self, path: &str) {
        let mut state = self.state();
        state.begin_write(path);
        state.kept.retain(|key, _| !is_touched(path, &key.path));
        state.count();
    }

    /// What there is may be another server's.
    pub(super) fn forget(&self) {
        let mut state = self.state();
        state.writes.iter_mut().for_each(|writes| *writes += 1);
        state.going.clear();
        state.kept.clear();
        state.kinds.clear();
        state.bytes = 0;
    }

    /// Keeps what was asked for after so many writes.
    fn keep(&self, key: &Key, whole: &Whole, (mark, writes): (Mark, u64), now: Instant) {
        let lasts = self.cache + self.stale;
        let size = whole.body.expose().len();
        if lasts.is_zero() || size > KEPT_BYTES {
            return;
        }
        let mut state = self.state();
        if state.writes[lane(&key.path)] != writes {
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
        state.kept.insert(key.clone(), Kept { whole: whole.clone(), mark, at: now, is_doubtful: false });
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
        self.count();
    }

    fn count(&mut self) {
        self.bytes = self.kept.values().map(|kept| kept.whole.body.expose().len()).sum();
    }

    fn begin_write(&mut self, path: &str) {
        if is_of_system(path) {
            self.writes.iter_mut().for_each(|writes| *writes += 1);
        } else {
            self.writes[lane(path)] += 1;
        }
        self.going.retain(|key, _| !is_touched(path, &key.path));
    }
}

/// The mount is the first part of a path, or begins with it.
fn mount(path: &str) -> &str {
    path.split('/').next().unwrap_or_default()
}

/// Two mounts may share a lane: then a write to one of them is taken for a write to both.
fn lane(path: &str) -> usize {
    let mut hasher = DefaultHasher::new();
    mount(path).hash(&mut hasher);
    usize::try_from(hasher.finish() % LANES as u64).unwrap_or_default()
}

/// Whether a write there may change what any mount says: mounts, rights, identities.
fn is_of_system(path: &str) -> bool {
    path.split('/').any(|part| matches!(part, "sys" | "auth" | "identity"))
}

/// Whether what is read there may be otherwise after this write.
fn is_touched(written: &str, read: &str) -> bool {
    is_of_system(written) || lane(written) == lane(read)
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
    pub(super) fn found(self, whole: &Whole, mark: Mark, may_be_kept: bool, now: Instant) {
        if whole.status == StatusCode::OK && may_be_kept {
            self.shared.keep(&self.key, whole, (mark, self.writes), now);
        }
        self.tell.send_replace(Some(Outcome::Whole(whole.clone())));
    }

    /// It is for whoever asked alone.
    pub(super) fn leased(self) {
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
        if state.writes[lane(&self.key.path)] == self.writes {
            state.going.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Key {
        Key { path: name.to_owned(), asks: "GET".to_owned() }
    }

    fn whole(size: usize) -> Whole {
        Whole { status: StatusCode::OK, headers: HeaderMap::new(), body: Secret::new(vec![7; size]) }
    }

    fn found(shared: &Shared, name: &str, size: usize, now: Instant) {
        let Way::Ask(leader) = shared.way(&key(name), None, now) else { panic!("{name} is there") };
        leader.found(&whole(size), Mark::default(), true, now);
    }

    #[test]
    fn one_asks_and_the_others_wait_unless_it_is_leased() {
        let (shared, now) = (Shared::new(Duration::ZERO, Duration::ZERO), Instant::now());
        let Way::Ask(leader) = shared.way(&key("a"), None, now) else { panic!() };
        let Way::Wait(told) = shared.way(&key("a"), None, now) else { panic!() };
        assert!(matches!(shared.way(&key("b"), None, now), Way::Ask(_)));
        leader.found(&whole(1), Mark::default(), true, now);
        assert!(matches!(&*told.borrow(), Some(Outcome::Whole(_))));
        let Way::Ask(leader) = shared.way(&key("a"), None, now) else { panic!("nothing is kept") };
        let Way::Wait(told) = shared.way(&key("a"), None, now) else { panic!() };
        drop(leader);
        assert!(
            told.has_changed().is_err() && told.borrow().is_none(),
            "who goes away leaves the others to ask"
        );
        let Way::Ask(leader) = shared.way(&key("a"), None, now) else { panic!() };
        shared.learn("a", true);
        leader.leased();
        assert!(matches!(shared.way(&key("a"), None, now), Way::Alone));
        shared.learn("a", false);
        assert!(matches!(shared.way(&key("a"), None, now), Way::Ask(_)), "another engine is mounted there");
    }

    #[test]
    fn what_is_kept_is_fresh_then_for_an_outage_then_gone() {
        let second = Duration::from_secs(1);
        let (shared, now) = (Shared::new(second * 10, second * 60), Instant::now());
        found(&shared, "a", 5, now);
        let mark = Some(Mark::default());
        assert!(
            matches!(shared.way(&key("a"), mark, now + second * 9), Way::Kept(_, age) if age == second * 9)
        );
        assert!(matches!(shared.way(&key("a"), None, now), Way::Ask(_)), "it is another token's");
        assert!(matches!(shared.way(&key("a"), mark, now + second * 10), Way::Ask(_)));
        assert_eq!(shared.stale(&key("a"), 0, now + second * 69).map(|(_, age)| age), Some(second * 69));
        assert!(shared.stale(&key("a"), 0, now + second * 70).is_none());
        shared.sweep(now + second * 70);
        let left = shared.state().kept.len();
        assert_eq!((left, shared.state().bytes), (0, 0));
        found(&shared, "a", 5, now);
        assert!(shared.stale(&key("a"), 1, now).is_none(), "after a reload it may be another server's");
        shared.forget();
        assert!(shared.stale(&key("a"), 0, now).is_none());
    }

    #[test]
    fn who_wrote_is_not_given_what_was_asked_for_before() {
        let (shared, now) = (Shared::new(Duration::from_secs(9), Duration::ZERO), Instant::now());
        let Way::Ask(before) = shared.way(&key("a"), None, now) else { panic!() };
        shared.may_change("a");
        let Way::Ask(after) = shared.way(&key("a"), None, now) else {
            panic!("it would wait for the former value")
        };
        before.found(&whole(1), Mark::default(), true, now);
        assert!(shared.stale(&key("a"), 0, now).is_none(), "the former value is not kept");
        assert!(matches!(shared.way(&key("a"), None, now), Way::Wait(_)), "the other still asks");
        after.found(&whole(2), Mark::default(), true, now);
        assert_eq!(shared.stale(&key("a"), 0, now).map(|(whole, _)| whole.body.expose().len()), Some(2));
    }

    #[test]
    fn a_write_ends_what_its_mount_said_and_one_that_was_not_done_leaves_it_for_an_outage() {
        let (shared, now) = (Shared::new(Duration::from_secs(9), Duration::from_secs(9)), Instant::now());
        let is_fresh =
            |path: &str| matches!(shared.way(&key(path), Some(Mark::default()), now), Way::Kept(..));
        let is_there = |path: &str| shared.stale(&key(path), 0, now).is_some();
        for path in ["secret/a", "kv/a"] {
            found(&shared, path, 5, now);
        }
        shared.may_change("transit/encrypt/app");
        shared.changed("transit/encrypt/app");
        assert!(is_fresh("secret/a") && is_fresh("kv/a"), "another mount's");
        shared.may_change("secret/a");
        assert!(!is_fresh("secret/a") && is_there("secret/a") && is_fresh("kv/a"));
        shared.changed("secret/b");
        assert!(!is_there("secret/a") && is_fresh("kv/a"));
        shared.changed("sys/mounts/kv");
        assert!(!is_there("kv/a"), "the system may change every mount");
        assert_eq!(shared.state().bytes, 0);
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
