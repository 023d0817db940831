//! What a session knows of one secret, and of one lease.
//!
//! A secret and its leases are two things: while a secret is replaced it has two leases, and the old one lives until nothing uses
//! its value any more.
//!
//! *Invariant:* pure.

use std::time::{Duration, Instant};

use super::Holding;
use super::agenda::{Planned, Urgency};
use super::grant::Serial;
use crate::lease;
use crate::names::{Revision, SecretName};
use crate::plan::Want;
use crate::secret::Digest;
use crate::source::{Fault, Grant};

/// A secret that is wanted.
#[derive(Clone, Debug)]
pub(super) struct Tracked {
    pub(super) want: Want,
    pub(super) revision: Revision,
    /// How often the source answered for it.
    pub(super) answers: u64,
    /// When the newest value came.
    pub(super) changed_at: Option<Instant>,
    /// The revision that the process has to live with: the newest, unless that was rejected.
    pub(super) relied_on: Revision,
    /// So many in a row were rejected.
    pub(super) rejections: u32,
    pub(super) digest: Option<Digest>,
    /// When the value before the newest stops being good, if it does.
    pub(super) former_ends: Option<Instant>,
    /// When the value that we rely on stops being good; `None` while there is no value, and for one without end.
    pub(super) ends: Option<Instant>,
    /// Its end has passed, and that was said.
    pub(super) expired: bool,
    pub(super) mints: Mints,
    pub(super) next: Next,
    /// The grant that the last question was put with: a lease that comes back is that one's, even if there is a newer by then.
    pub(super) asked_with: Option<(Serial, Grant)>,
    /// The grant that it was last read with.
    pub(super) read_with: Option<Serial>,
    pub(super) failures: u32,
    /// What was reported last, so that the same trouble is said once.
    pub(super) trouble: Option<Fault>,
    /// Nobody wants it any more; only the answer to the question that is out is waited for.
    pub(super) leaves: bool,
    /// The question that is out asks for what was wanted before.
    pub(super) asks_otherwise: bool,
}

/// What is next for a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Fetch it at this time.
    Fetch(Instant),
    /// The question is out. `hurry` if it was asked for again meanwhile.
    Fetching { hurry: bool },
    /// Its lease is kept alive, nothing to fetch.
    Leased,
}

impl Tracked {
    pub(super) fn new(want: Want, now: Instant) -> Self {
        Self {
            want,
            revision: Revision::default(),
            answers: 0,
            changed_at: None,
            relied_on: Revision::default(),
            rejections: 0,
            digest: None,
            former_ends: None,
            ends: None,
            expired: false,
            mints: Mints::default(),
            next: Next::Fetch(now),
            asked_with: None,
            read_with: None,
            failures: 0,
            trouble: None,
            leaves: false,
            asks_otherwise: false,
        }
    }

    /// Whether a value was ever delivered.
    pub(super) fn has_value(&self) -> bool {
        self.digest.is_some()
    }

    /// There is a newer value.
    pub(super) fn advance(&mut self, now: Instant) {
        self.revision = self.revision.next();
        self.changed_at = Some(now);
        self.relied_on = self.revision;
    }

    /// Fetch it now.
    pub(super) fn hurry(&mut self, now: Instant) {
        match &mut self.next {
            Next::Fetching { hurry } => *hurry = true,
            Next::Fetch(_) | Next::Leased => self.next = Next::Fetch(now),
        }
    }

    /// Fetch it no later than this.
    pub(super) fn fetch_by(&mut self, at: Instant) {
        match self.next {
            Next::Fetch(already) => self.next = Next::Fetch(already.min(at)),
            Next::Leased => self.next = Next::Fetch(at),
            Next::Fetching { .. } => {}
        }
    }

    /// The token that its lease depended on is dead, and so is the value.
    pub(super) fn died(&mut self, now: Instant) {
        self.ends = Some(now);
        self.fetch_by(now);
    }

    /// How long the value still lives, if it ends. What has no value yet is as urgent as what has ended: the start waits for it.
    pub(super) fn left(&self, now: Instant) -> Option<Duration> {
        let ends = if self.has_value() { self.ends } else { Some(now) };
        ends.map(|ends| ends.saturating_duration_since(now))
    }

    /// Whether this trouble is news.
    pub(super) fn is_news(&mut self, fault: &Fault) -> bool {
        let news = self.trouble.as_ref() != Some(fault);
        self.trouble = Some(fault.clone());
        news
    }
}

impl Planned for Tracked {
    fn due(&self) -> Option<Instant> {
        match self.next {
            Next::Fetch(at) => Some(self.mints.allowed(at)),
            Next::Fetching { .. } | Next::Leased => None,
        }
    }

    fn end(&self) -> Option<Instant> {
        self.ends.filter(|_| !self.expired)
    }

    fn urgency(&self) -> Urgency {
        (self.has_value(), self.ends.is_none(), self.ends)
    }

    fn belongs_to(&self) -> Option<&SecretName> {
        None
    }
}

/// How often new credentials of one secret are made: one in [`MINT_PAUSE`] in the long run, and up to [`MINTS_AT_ONCE`] at once,
/// since a replacement that was planned and one for a new token may fall together. So a failing database never fills with
/// roles. A lease that is shorter than twice the pause may be replaced as often as it has to be.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Mints {
    /// When all that were made are made up for, and how long one takes to be.
    made_up: Option<(Instant, Duration)>,
}

const MINT_PAUSE: Duration = Duration::from_secs(5);
const MINTS_AT_ONCE: u32 = 3;
/// No replacement comes in time for what lives shorter than this.
const SHORTEST_TTL: Duration = Duration::from_millis(500);

impl Mints {
    /// What is reckoned with.
    pub(super) fn times(&mut self) -> impl Iterator<Item = &mut Instant> {
        self.made_up.iter_mut().map(|(until, _)| until)
    }

    /// A credential was made that lives this long.
    pub(super) fn made(&mut self, at: Instant, ttl: Duration) {
        // What is dead on arrival would only be made again at once.
        let pause = if ttl < SHORTEST_TTL { MINT_PAUSE } else { MINT_PAUSE.min(ttl / 2) };
        let from = self.made_up.map_or(at, |(until, _)| until.max(at));
        self.made_up = Some((from + pause, pause));
    }

    /// The earliest time from `at` on at which one more may be made.
    fn allowed(self, at: Instant) -> Instant {
        let earliest = self.made_up.and_then(|(until, pause)| until.checked_sub(pause * (MINTS_AT_ONCE - 1)));
        earliest.map_or(at, |earliest| earliest.max(at))
    }
}

/// A lease that is ours.
#[derive(Clone, Debug)]
pub(super) struct HeldLease {
    pub(super) holding: Holding,
    /// The value that it keeps alive.
    pub(super) revision: Revision,
    /// The grant that made it: it dies with that one.
    pub(super) serial: Serial,
    pub(super) grant: Grant,
    pub(super) ends: Instant,
    pub(super) next: LeaseNext,
    /// When to ask whether it still lives, though nothing says that it does not; `None` where each question costs a use.
    pub(super) check_at: Option<Instant>,
    /// The question about it that is out.
    pub(super) asking: Option<Question>,
    /// It is an earlier run's, and not yet verified.
    pub(super) adopting: bool,
    pub(super) failures: u32,
}

/// What is next for a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LeaseNext {
    /// Nothing until its end.
    Rest,
    Renew(Instant),
    /// A renewal was refused: ask whether it still lives.
    LookUp(Instant),
    Revoke(Instant),
}

/// A question about a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Question {
    Renew,
    /// After a renewal that was refused.
    LookUp,
    /// The same question without a cause.
    Check,
    Revoke,
}

impl HeldLease {
    /// The secret that it is for.
    pub(super) fn secret(&self) -> &SecretName {
        &self.holding.entry.secret
    }

    /// Revoke it, now or as soon as the question about it is answered. Whether that is news.
    pub(super) fn give_up(&mut self, now: Instant) -> bool {
        let is_news = !self.is_given_up();
        if is_news {
            self.next = LeaseNext::Revoke(now);
        }
        is_news
    }

    /// The question about it is answered; this is next, unless it is to be revoked.
    pub(super) fn then(&mut self, next: LeaseNext) {
        self.asking = None;
        if !self.is_given_up() {
            self.next = next;
        }
    }

    /// The question that is due.
    pub(super) fn question(&self, now: Instant) -> Question {
        match self.next {
            LeaseNext::Revoke(_) => Question::Revoke,
            LeaseNext::Renew(at) if at <= now => Question::Renew,
            LeaseNext::LookUp(at) if at <= now => Question::LookUp,
            LeaseNext::Renew(_) | LeaseNext::LookUp(_) | LeaseNext::Rest => Question::Check,
        }
    }

    /// Whether nothing but its user decides how long it lives: it is the present grant's, and can be renewed.
    pub(super) fn is_renewed_on(&self, serial: Serial) -> bool {
        self.serial == serial && matches!(self.next, LeaseNext::Renew(_) | LeaseNext::LookUp(_))
    }

    pub(super) fn is_given_up(&self) -> bool {
        matches!(self.next, LeaseNext::Revoke(_))
    }

    pub(super) fn left(&self, now: Instant) -> Duration {
        self.ends.saturating_duration_since(now)
    }

    /// When to replace it if it can live no longer than it does.
    pub(super) fn last_chance(&self, now: Instant) -> Instant {
        now + lease::last_chance(self.left(now))
    }
}

impl Planned for HeldLease {
    fn due(&self) -> Option<Instant> {
        match (self.asking, self.next) {
            (Some(_), _) => None,
            (None, LeaseNext::Revoke(at)) => Some(at),
            (None, LeaseNext::Renew(at) | LeaseNext::LookUp(at)) => {
                Some(self.check_at.map_or(at, |check| check.min(at)))
            }
            (None, LeaseNext::Rest) => self.check_at,
        }
    }

    fn end(&self) -> Option<Instant> {
        Some(self.ends).filter(|_| self.asking.is_none())
    }

    fn urgency(&self) -> Urgency {
        (true, self.is_given_up(), Some(self.ends))
    }

    fn belongs_to(&self) -> Option<&SecretName> {
        Some(self.secret())
    }
}
