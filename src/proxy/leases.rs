//! Leases that clients got through the proxy: each is renewed while its client lives, and given back when the client's process has ended,
//! or when Squire ends.
//!
//! By TCP, and from another container, nobody says when a client has ended. Its leases live for the time that the server gave them, or for
//! as long as it renews them itself, and are given back only when Squire ends: a lease that were renewed for nobody would live for ever.
//!
//! Who attacks: a client that takes leases without end, or asks for those of another one; a server whose answers are odd.
//!
//! *Invariant:* there are at most as many as there is room for; one that there is no room for is given back before its client has it. What is
//! asked of all of them at once goes over [`LINES`] connections.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::client::{Owner, Process};
use crate::fact::{Fact, Outcome, QuestionFact, QuestionKind, Subject};
use crate::lease::{Chance, failing, renewal};
use crate::names::{LeaseId, SourceName};
use crate::source::heard::{Heard, listening};
use crate::source::vault::Vault;
use crate::source::{Fault, Grant, LONGEST_LIFE, Renewal, Source as _};

/// So many leases of clients are held.
const MOST_LEASES: usize = 1024;

/// So many renewals and ends are asked for at once: a client with many leases may end.
const LINES: usize = 16;

/// The longest name of a lease, in bytes: it is held for as long as the lease lives.
const LONGEST_ID: usize = 1024;

/// Giving one back is tried so often.
const GIVEN_BACK_TRIES: u32 = 3;

/// From one such try to the next.
const GIVE_BACK_PAUSE: Duration = Duration::from_secs(1);

/// A lease that ends sooner is not renewed any more: its maximum is near.
const SHORTEST: Duration = Duration::from_secs(2);

/// Giving all of them back may take this long at the end.
const ALL_BACK_WITHIN: Duration = Duration::from_secs(4);

/// What an answer says of a lease, and of what else is for one client alone.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Envelope {
    #[serde(skip)]
    is_odd: bool,
    lease_id: Option<String>,
    lease_duration: Option<Value>,
    renewable: Option<Value>,
    auth: Option<IgnoredAny>,
    wrap_info: Option<IgnoredAny>,
    errors: Option<IgnoredAny>,
}

impl Envelope {
    /// Reads an answer. Who knows what one says that cannot be read: it is for nobody else.
    pub(super) fn read(body: &[u8]) -> Self {
        serde_json::from_slice(body).unwrap_or_else(|_| Self { is_odd: true, ..Self::default() })
    }

    /// Whether everybody who asks the same may have it.
    pub(super) fn is_for_all(&self) -> bool {
        !self.is_odd && !self.has_lease() && self.auth.is_none() && self.wrap_info.is_none()
    }

    /// Whether it may be given to somebody later.
    pub(super) fn may_be_kept(&self) -> bool {
        self.is_for_all() && self.errors.is_none()
    }

    fn has_lease(&self) -> bool {
        self.lease_id.as_ref().is_some_and(|id| !id.is_empty())
    }

    /// The lease, if it is one that can be held.
    pub(super) fn lease(&self) -> Option<LeaseId> {
        let id = self.lease_id.as_deref();
        id.filter(|id| !id.is_empty() && id.len() <= LONGEST_ID).map(LeaseId::new)
    }

    /// How long it lives; what is no such number is taken for nothing.
    pub(super) fn ttl(&self) -> Duration {
        let seconds = self.lease_duration.as_ref().and_then(Value::as_u64);
        Duration::from_secs(seconds.unwrap_or_default()).min(LONGEST_LIFE)
    }

    fn is_renewable(&self) -> bool {
        self.renewable == Some(Value::Bool(true))
    }
}

/// A lease, and all that keeps it.
pub(super) struct Held {
    pub(super) id: LeaseId,
    pub(super) vault: Arc<Vault>,
    pub(super) grant: Grant,
    pub(super) source: SourceName,
    /// When its request was sent.
    pub(super) sent: Instant,
    /// Who may ask for it.
    pub(super) owner: Owner,
    /// `None` where nobody says when the client has ended.
    pub(super) client: Option<Process>,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Leases {
    tasks: Mutex<JoinSet<()>>,
    end: watch::Sender<bool>,
    book: Arc<Book>,
    most: usize,
}

/// Which there are, and whose.
#[derive(Debug)]
struct Book {
    number: Arc<AtomicUsize>,
    lines: Semaphore,
    pages: Mutex<Pages>,
}

#[derive(Debug, Default)]
struct Pages {
    /// By name, and by a number: a server may give one lease to two.
    leases: BTreeMap<(LeaseId, u64), Page>,
    of_one: BTreeMap<Owner, usize>,
    next: u64,
}

#[derive(Debug)]
struct Page {
    owner: Owner,
    news: watch::Sender<News>,
}

/// What its client did with a lease.
#[derive(Clone, Copy, Debug)]
enum News {
    /// It ends then.
    Ends(Instant),
    /// It has ended.
    Gone,
}

impl Book {
    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(self: &Arc<Self>, id: &LeaseId, owner: Owner, ends: Instant) -> (Entry, watch::Receiver<News>) {
        let (news, told) = watch::channel(News::Ends(ends));
        let mut pages = self.pages();
        let number = pages.next;
        pages.next += 1;
        *pages.of_one.entry(owner).or_default() += 1;
        pages.leases.insert((id.clone(), number), Page { owner, news });
        self.number.fetch_add(1, Ordering::Relaxed);
        (Entry { book: Arc::clone(self), key: (id.clone(), number) }, told)
    }
}

/// One that is counted.
struct Entry {
    book: Arc<Book>,
    key: (LeaseId, u64),
}

impl Entry {
    /// Whether nobody else has the same lease.
    fn is_the_only_one(&self) -> bool {
        let id = &self.key.0;
        self.book.pages().leases.range((id.clone(), 0)..=(id.clone(), u64::MAX)).count() == 1
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut pages = self.book.pages();
        if let Some(page) = pages.leases.remove(&self.key) {
            let left = pages.of_one.get(&page.owner).map_or(0, |of_one| of_one.saturating_sub(1));
            if left == 0 {
                pages.of_one.remove(&page.owner);
            } else {
                pages.of_one.insert(page.owner, left);
            }
        }
        self.book.number.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Leases {
    /// None yet, and no more than these; their number is told there.
    pub(super) fn new(number: Arc<AtomicUsize>, most: usize) -> Self {
        let book = Book { number, lines: Semaphore::new(LINES), pages: Mutex::default() };
        let most = most.min(MOST_LEASES);
        Self { tasks: Mutex::default(), end: watch::Sender::new(false), book: Arc::new(book), most }
    }

    /// Whether this client may have one more. One process gets no more than half of them.
    pub(super) fn has_room(&self, owner: Owner) -> bool {
        let pages = self.book.pages();
        let of_one = pages.of_one.get(&owner).copied().unwrap_or_default();
        let is_one = matches!(owner, Owner::Process(_));
        pages.leases.len() < self.most && !(is_one && of_one >= self.most / 2)
    }

    /// Whether this client got it.
    pub(super) fn is_of(&self, id: &str, owner: Owner) -> bool {
        self.pages_of(id, |page| page.owner == owner)
    }

    /// Its client renewed it.
    pub(super) fn was_renewed(&self, id: &str, ends: Instant) {
        self.pages_of(id, |page| {
            page.news.send_replace(News::Ends(ends));
            false
        });
    }

    /// Its client ended it.
    pub(super) fn was_revoked(&self, id: &str) {
        self.pages_of(id, |page| {
            page.news.send_replace(News::Gone);
            false
        });
    }

    fn pages_of(&self, id: &str, found: impl Fn(&Page) -> bool) -> bool {
        let id = LeaseId::new(id);
        let pages = self.book.pages();
        pages.leases.range((id.clone(), 0)..=(id, u64::MAX)).any(|(_, page)| found(page))
    }

    /// Keeps one; `false` if there is no room, and then it is given back.
    pub(super) fn hold(&self, held: Held, envelope: &Envelope) -> bool {
        let has_room = self.has_room(held.owner);
        let (ttl, renewable) = (envelope.ttl(), envelope.is_renewable());
        let (entry, news) = self.book.enter(&held.id, held.owner, held.sent + ttl);
        let end = self.end.subscribe();
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        // Those that are over are forgotten here, so that there are never more than what is held.
        while tasks.try_join_next().is_some() {}
        tasks.spawn(async move {
            if has_room && !held.keep(&entry.book, ttl, renewable, (end, news)).await {
                return;
            }
            if entry.is_the_only_one() {
                held.give_back(&entry.book).await;
            }
        });
        has_room
    }

    /// The end: all are given back, as far as the server answers in time.
    pub(super) async fn end(&self) {
        self.end.send_replace(true);
        let mut tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        let all = async { while tasks.join_next().await.is_some() {} };
        if timeout(ALL_BACK_WITHIN, all).await.is_err() {
            tracing::warn!(
                "leases of the proxy's clients could not be given back in time, and live on to their end"
            );
        }
    }
}

impl Held {
    /// Returns when nobody needs it any more; `false` if it has ended by itself, or by its client.
    async fn keep(
        &self,
        book: &Book,
        ttl: Duration,
        renewable: bool,
        (mut end, mut news): (watch::Receiver<bool>, watch::Receiver<News>),
    ) -> bool {
        let chance = || Chance::new(fastrand::f64());
        let renews = renewable && self.client.is_some();
        let due = |from: Instant, ttl: Duration| {
            Some(from + renewal(ttl, chance())).filter(|_| renews && ttl >= SHORTEST)
        };
        let (mut ends, mut next, mut failures) = (self.sent + ttl, due(self.sent, ttl), 0);
        loop {
            let at = next.unwrap_or(ends).min(ends);
            tokio::select! {
                () = ended(self.client.as_ref()) => return true,
                _ = end.wait_for(|is_over| *is_over) => return true,
                Ok(()) = news.changed() => {
                    let News::Ends(then) = *news.borrow_and_update() else { return false };
                    let now = Instant::now();
                    (ends, next) = (then, due(now, then.saturating_duration_since(now)));
                    continue;
                }
                () = tokio::time::sleep_until(at.into()) => {}
            }
            if ends <= Instant::now() {
                return false;
            }
            let renewed = self.renew(book, ttl).await;
            let now = Instant::now();
            match renewed {
                Ok(renewed) => {
                    failures = 0;
                    (ends, next) = (now + renewed.ttl, due(now, renewed.ttl));
                }
                Err(Fault::Gone { .. } | Fault::Denied { .. } | Fault::Dead) => next = None,
                Err(_) => {
                    failures += 1;
                    next = Some(now + failing(failures, Some(ends.saturating_duration_since(now)), chance()));
                }
            }
        }
    }

    async fn renew(&self, book: &Book, ttl: Duration) -> Result<Renewal, Fault> {
        // Nobody closes it.
        let _line = book.lines.acquire().await;
        let begun = Instant::now();
        let (result, heard) = listening(self.vault.renew(&self.grant, &self.id, ttl)).await;
        self.tell(QuestionKind::Renew, result.as_ref().err(), begun, heard);
        result
    }

    async fn give_back(&self, book: &Book) {
        for again in 0..GIVEN_BACK_TRIES {
            let line = book.lines.acquire().await;
            let begun = Instant::now();
            let (result, heard) = listening(self.vault.revoke(&self.grant, &self.id)).await;
            self.tell(QuestionKind::Revoke, result.as_ref().err(), begun, heard);
            drop(line);
            // What is refused is refused again.
            if !matches!(result, Err(Fault::Unreachable { .. } | Fault::Failing { .. })) {
                return;
            }
            tokio::time::sleep(GIVE_BACK_PAUSE * again).await;
        }
    }

    fn tell(&self, kind: QuestionKind, fault: Option<&Fault>, begun: Instant, heard: Heard) {
        let fact = QuestionFact {
            kind,
            about: Subject::Lease(self.id.clone()),
            outcome: fault.map_or(Outcome::Done, Fault::outcome),
            took: begun.elapsed(),
            login: self.vault.identity().words().into(),
            accessor: heard.accessor,
            request: heard.request,
        };
        Fact::Question(self.source.clone(), fact).tell();
    }
}

async fn ended(client: Option<&Process>) {
    match client {
        Some(process) => process.ended().await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_for_all_unless_something_in_it_is_for_one() {
        let cases = [
            (
                r#"{"lease_id":"","lease_duration":0,"renewable":false,"data":{"a":"b"},"auth":null,"wrap_info":null}"#,
                true,
            ),
            (r#"{"lease_id":"database/creds/app/x","lease_duration":60,"renewable":true}"#, false),
            (r#"{"lease_id":"","auth":{"client_token":"x"}}"#, false),
            (r#"{"wrap_info":{"token":"x"}}"#, false),
            (r#"{"lease_id":"a/b","lease_duration":-1}"#, false),
            (r#"{"lease_id":"a/b","lease_duration":"1h","renewable":"yes"}"#, false),
            (r#"{"lease_id":"","lease_id":"a/b"}"#, false),
            (r#"{"lease_id":7}"#, false),
            ("<html>", false),
            ("", false),
        ];
        for (body, is_for_all) in cases {
            assert_eq!(Envelope::read(body.as_bytes()).is_for_all(), is_for_all, "{body}");
        }
        let envelope = Envelope::read(br#"{"lease_id":"a/b","lease_duration":18446744073709551615}"#);
        assert_eq!((envelope.lease(), envelope.ttl()), (Some(LeaseId::new("a/b")), LONGEST_LIFE));
        let odd = Envelope::read(br#"{"lease_id":"../..\u0000","lease_duration":-1,"renewable":"yes"}"#);
        assert_eq!(
            (odd.lease(), odd.ttl(), odd.is_renewable()),
            (Some(LeaseId::new("../..\0")), Duration::ZERO, false)
        );
        let long = format!(r#"{{"lease_id":"{}"}}"#, "x".repeat(LONGEST_ID + 1));
        assert!(
            Envelope::read(long.as_bytes()).lease().is_none()
                && !Envelope::read(long.as_bytes()).is_for_all()
        );
        assert!(!Envelope::read(br#"{"errors":["x"]}"#).may_be_kept());
    }

    #[test]
    fn a_lease_is_its_clients_and_one_client_does_not_get_all() {
        let (number, now) = (Arc::new(AtomicUsize::new(0)), Instant::now());
        let leases = Leases::new(Arc::clone(&number), 4);
        let (one, two) = (Owner::Process(1), Owner::Process(2));
        let enter = |id: &str, owner| leases.book.enter(&LeaseId::new(id), owner, now).0;
        let first = [enter("a", one), enter("b", one)];
        assert!(!leases.has_room(one) && leases.has_room(two));
        assert!(leases.is_of("a", one) && !leases.is_of("a", two) && !leases.is_of("c", one));
        let second = [enter("a", two), enter("c", two)];
        assert!(leases.is_of("a", two) && !first[0].is_the_only_one() && second[1].is_the_only_one());
        assert!(!leases.has_room(Owner::Process(3)) && number.load(Ordering::Relaxed) == 4);
        drop(first);
        assert!(leases.is_of("a", two) && !leases.is_of("b", one) && second[0].is_the_only_one());
        drop(second);
        assert_eq!((number.load(Ordering::Relaxed), leases.book.pages().of_one.len()), (0, 0));
    }
}
