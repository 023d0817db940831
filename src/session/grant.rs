//! The token's own life: when to log in, to renew, to log in anew ahead of the end.
//!
//! *Invariant:* pure.

use std::time::{Duration, Instant};

use crate::lease::{self, Chance};
use crate::source::{Grant, GrantLife};

/// A login for the reason that the token is dead happens this often in the long run: a token that cannot look itself up may be
/// alive all the same, and must not make a storm of logins.
const DEAD_PAUSE: Duration = Duration::from_mins(1);
const DEATHS_AT_ONCE: u32 = 3;
const LONGEST_DEAD_PAUSE: Duration = Duration::from_hours(1);

/// Tells one grant of a session from the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Serial(u64);

impl Serial {
    pub(super) fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// Whether a login is needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Login {
    /// Not now.
    Done,
    /// At this time, or when a credential file changes.
    At(Instant),
    /// The question is out.
    Asking { again: Again },
}

/// Whether the question has to be put again, because a credential file changed while it was out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Again {
    No,
    /// If the credential was refused, since that was the old one.
    IfRefused,
    /// Whatever the answer is: the file holds the grant itself.
    Anyway,
}

impl Login {
    pub(super) fn credential_changed(&mut self, now: Instant) {
        match self {
            Self::Done | Self::Asking { again: Again::Anyway } => {}
            Self::At(at) => *at = now.min(*at),
            Self::Asking { again } => *again = Again::IfRefused,
        }
    }

    /// There is another grant in its file than the one we have.
    pub(super) fn grant_changed(&mut self, now: Instant) {
        match self {
            Self::Done => *self = Self::At(now),
            Self::At(at) => *at = now.min(*at),
            Self::Asking { again } => *again = Again::Anyway,
        }
    }

    /// After a success: no more, unless there is another grant by now.
    pub(super) fn succeeded(&mut self, now: Instant) {
        let another = *self == Self::Asking { again: Again::Anyway };
        *self = if another { Self::At(now + lease::SOONEST) } else { Self::Done };
    }

    /// After a failure: again after the pause, or at once if the credential is a new one already.
    pub(super) fn failed(&mut self, pause: Duration, now: Instant) {
        let changed = matches!(self, Self::Asking { again: Again::IfRefused | Again::Anyway });
        *self = Self::At(if changed { now + lease::SOONEST } else { now + pause });
    }

    /// The grant is dead: a successor from this time on. One that is being asked for already, or waits until its credential
    /// may be sent again, is not hurried.
    pub(super) fn needed(&mut self, at: Instant) {
        match self {
            Self::Done => *self = Self::At(at),
            Self::At(_) | Self::Asking { .. } => {}
        }
    }
}

/// The grant that a session works with.
#[derive(Clone, Debug)]
pub(super) struct HeldGrant {
    pub(super) serial: Serial,
    pub(super) grant: Grant,
    pub(super) ends: Option<Instant>,
    pub(super) next: GrantNext,
    pub(super) doubt: Doubt,
    /// When to ask whether it still lives, though nothing was denied; `None` where each question costs a use.
    pub(super) look_up_at: Option<Instant>,
    /// How many more questions may be put with it, if they are counted.
    pub(super) uses_left: Option<u64>,
    /// It is an earlier run's and about to end: nothing is begun with it while its successor is asked for.
    pub(super) awaits_successor: bool,
    /// Something was leased with it.
    pub(super) has_leases: bool,
    /// It could look itself up or renew itself once, so if it no longer can, it is dead.
    pub(super) proven: bool,
    pub(super) failures: u32,
}

/// What is next for the grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GrantNext {
    /// Nothing: it lives for ever, or its successor is being asked for.
    Rest,
    Renew(Instant),
    /// Ask for a successor.
    LogIn(Instant),
    /// The question for a longer life is out.
    Renewing,
}

/// Whether it is doubted that the grant still lives, because something was denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doubt {
    None,
    /// Look it up.
    LookUp,
    /// The question is out.
    Asking,
}

impl HeldGrant {
    pub(super) fn new(serial: Serial, grant: Grant, sent: Instant, chance: Chance) -> Self {
        let (life, uses_left) = (grant.life, grant.uses);
        let mut held = Self {
            serial,
            grant,
            ends: None,
            next: GrantNext::Rest,
            doubt: Doubt::None,
            look_up_at: None,
            uses_left,
            awaits_successor: false,
            has_leases: false,
            proven: false,
            failures: 0,
        };
        held.lives(life, sent, chance);
        held
    }

    /// Takes how long it lives from `sent`, and plans what is next.
    pub(super) fn lives(&mut self, life: GrantLife, sent: Instant, chance: Chance) {
        self.failures = 0;
        self.ends = life.ttl.and_then(|ttl| sent.checked_add(ttl));
        self.next = match (life.ttl, self.ends) {
            (Some(ttl), Some(_)) if life.renewable && !self.capped(ttl) => {
                GrantNext::Renew(sent + lease::renewal(ttl, chance))
            }
            (Some(ttl), Some(_)) => GrantNext::LogIn(sent + lease::last_chance(ttl)),
            (None, _) | (Some(_), None) => GrantNext::Rest,
        };
    }

    /// It is an earlier run's, and lives this much longer. It could look itself up, which proves it.
    pub(super) fn taken_over(&mut self, life: GrantLife, sent: Instant, chance: Chance) {
        self.proven = true;
        self.ends = life.ttl.and_then(|ttl| sent.checked_add(ttl));
        self.next = match (life.ttl, self.ends) {
            (Some(ttl), Some(_)) if life.renewable => GrantNext::Renew(sent + lease::renewal(ttl, chance)),
            (Some(ttl), Some(_)) => GrantNext::LogIn(sent + lease::last_chance(ttl)),
            (None, _) | (Some(_), None) => GrantNext::Rest,
        };
    }

    /// Renewed for less than it had at first: its maximum is in sight. One second is what the server's rounding may take.
    fn capped(&self, ttl: Duration) -> bool {
        self.grant.life.ttl.is_some_and(|first| ttl + Duration::from_secs(1) < first)
    }

    /// When the next step is due by itself.
    pub(super) fn due(&self) -> Option<Instant> {
        let next = match self.next {
            GrantNext::Renew(at) | GrantNext::LogIn(at) => Some(at),
            GrantNext::Rest | GrantNext::Renewing => None,
        };
        let look_up = self.look_up_at.filter(|_| self.doubt == Doubt::None);
        [next, look_up].into_iter().flatten().min()
    }

    /// Whether to ask now if it still lives.
    pub(super) fn wants_look_up(&self, now: Instant) -> bool {
        match self.doubt {
            Doubt::LookUp => true,
            Doubt::None => self.look_up_at.is_some_and(|at| at <= now),
            Doubt::Asking => false,
        }
    }

    /// Takes one use for a question.
    pub(super) fn spend(&mut self) {
        self.uses_left = self.uses_left.map(|left| left.saturating_sub(1));
    }

    /// Whether it is good for no further question. The last use ends the token and all that is leased with it, so it is kept
    /// back where something is.
    pub(super) fn is_used_up(&self) -> bool {
        self.uses_left.is_some_and(|left| left <= u64::from(self.has_leases))
    }

    /// Something was denied: find out whether it is the grant's fault.
    pub(super) fn doubted(&mut self) {
        if self.doubt == Doubt::None && self.uses_left.is_none() {
            self.doubt = Doubt::LookUp;
        }
    }

    /// How long it still lives.
    pub(super) fn left(&self, now: Instant) -> Option<Duration> {
        self.ends.map(|ends| ends.saturating_duration_since(now))
    }
}

/// How often tokens died, so that logins for this reason do not become a storm: one in [`DEAD_PAUSE`] in the long run, a few at once,
/// and a pause that doubles while even that is too often.
#[derive(Clone, Debug, Default)]
pub(super) struct Deaths {
    /// When all of them are made up for.
    made_up: Option<Instant>,
    pause: Duration,
}

impl Deaths {
    /// What is reckoned with.
    pub(super) fn times(&mut self) -> impl Iterator<Item = &mut Instant> {
        self.made_up.iter_mut()
    }

    /// A token died: when may the login for it be?
    pub(super) fn another(&mut self, now: Instant) -> Instant {
        let earliest = self.made_up.and_then(|until| until.checked_sub(DEAD_PAUSE * (DEATHS_AT_ONCE - 1)));
        let at = earliest.map_or(now, |earliest| earliest.max(now));
        self.pause = if at > now { (self.pause * 2).min(LONGEST_DEAD_PAUSE) } else { DEAD_PAUSE };
        self.made_up = Some(self.made_up.map_or(at, |until| until.max(at)) + self.pause);
        at
    }
}
