//! What a session knows of one secret, and of one lease.
//!
//! A secret and its leases are two things: while a secret is replaced it has two leases, and the old one lives until nothing uses
//! its value any more.
//!
//! *Invariant:* pure.

use std::time::{Duration, Instant};

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
    pub(super) digest: Option<Digest>,
    /// When the value that we hold stops being good; `None` while there is no value, and for one without end.
    pub(super) ends: Option<Instant>,
    /// Its end has passed, and that was said.
    pub(super) expired: bool,
    pub(super) mints: Mints,
    pub(super) next: Next,
    /// The grant that the last question was put with: a lease that comes back is that one's, even if there is a newer by then.
    pub(super) asked_with: Option<(Serial, Grant)>,
    pub(super) failures: u32,
    /// What was reported last, so that the same trouble is said once.
    pub(super) trouble: Option<Fault>,
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
            digest: None,
            ends: None,
            expired: false,
            mints: Mints::default(),
            next: Next::Fetch(now),
            asked_with: None,
            failures: 0,
            trouble: None,
        }
    }

    /// Whether a value was ever delivered.
    pub(super) fn has_value(&self) -> bool {
        self.digest.is_some()
    }

    /// When it is to be fetched, if it is.
    pub(super) fn due(&self) -> Option<Instant> {
        match self.next {
            Next::Fetch(at) => Some(self.mints.allowed(at)),
            Next::Fetching { .. } | Next::Leased => None,
        }
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

    /// How long the value still lives, if it ends.
    pub(super) fn left(&self, now: Instant) -> Option<Duration> {
        self.ends.map(|ends| ends.saturating_duration_since(now))
    }

    /// Whether this trouble is news.
    pub(super) fn is_news(&mut self, fault: &Fault) -> bool {
        let news = self.trouble.as_ref() != Some(fault);
        self.trouble = Some(fault.clone());
        news
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

impl Mints {
    /// A credential was made that lives this long.
    pub(super) fn made(&mut self, at: Instant, ttl: Duration) {
        let pause = MINT_PAUSE.min(ttl / 2);
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
    pub(super) secret: SecretName,
    /// The value that it keeps alive.
    pub(super) revision: Revision,
    /// The grant that made it: it dies with that one.
    pub(super) serial: Serial,
    pub(super) grant: Grant,
    /// How long it lived at first: what renewals ask for.
    pub(super) first_ttl: Duration,
    pub(super) ends: Instant,
    pub(super) next: LeaseNext,
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
    /// A question about it is out. `give_up` if it is to be revoked after that.
    Asking {
        give_up: bool,
    },
}

impl HeldLease {
    /// Revoke it, now or as soon as the question about it is answered.
    pub(super) fn give_up(&mut self, now: Instant) {
        self.next = match self.next {
            LeaseNext::Asking { .. } => LeaseNext::Asking { give_up: true },
            LeaseNext::Revoke(at) => LeaseNext::Revoke(at),
            LeaseNext::Rest | LeaseNext::Renew(_) | LeaseNext::LookUp(_) => LeaseNext::Revoke(now),
        };
    }

    /// Plans the next step, unless it is to be revoked.
    pub(super) fn then(&mut self, next: LeaseNext, now: Instant) {
        self.next =
            if self.next == (LeaseNext::Asking { give_up: true }) { LeaseNext::Revoke(now) } else { next };
    }

    /// When the next step is due by itself.
    pub(super) fn due(&self) -> Option<Instant> {
        match self.next {
            LeaseNext::Renew(at) | LeaseNext::LookUp(at) | LeaseNext::Revoke(at) => Some(at),
            LeaseNext::Rest | LeaseNext::Asking { .. } => None,
        }
    }

    pub(super) fn is_asking(&self) -> bool {
        matches!(self.next, LeaseNext::Asking { .. })
    }

    pub(super) fn is_given_up(&self) -> bool {
        matches!(self.next, LeaseNext::Revoke(_) | LeaseNext::Asking { give_up: true })
    }

    pub(super) fn left(&self, now: Instant) -> Duration {
        self.ends.saturating_duration_since(now)
    }

    /// When to replace it if it can live no longer than it does.
    pub(super) fn last_chance(&self, now: Instant) -> Instant {
        now + lease::last_chance(self.left(now))
    }
}
