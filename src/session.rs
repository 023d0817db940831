//! The life of one source as a state machine: log in, fetch, renew, replace, log in anew, revoke, stop.
//!
//! [`Session::step`] takes an event and the time, and answers with effects; [`Session::deadline`] says when to call it next with
//! [`Event::Due`]. The keeper in `session/keeper.rs` performs the effects. `grant` handles the token, `held` a lease.
//!
//! *Invariants:* pure; random numbers come from a seed. At most [`IN_FLIGHT`] requests are out at once. Each revision of a secret that is
//! delivered is greater than the one before. A lease is forgotten only when it is revoked, may not be revoked, is lost or is past its end.
//! After [`Effect::Ended`] the session asks for nothing more.

mod adopt;
mod agenda;
mod answers;
mod dispatch;
#[cfg(test)]
mod explored;
mod grant;
mod held;
pub mod keeper;
mod lack;
mod reject;
pub mod sink;
mod status;
mod suspend;
#[cfg(test)]
mod tests;
mod view;
mod wanted;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::fact::Fact;
use crate::lease::Chance;
use crate::ledger::Entry;
use crate::names::{Edition, LeaseId, Revision, SecretName, SourceName};
use crate::plan::Want;
use crate::secret::{Digest, Meta, Packed};
use crate::source::{Fault, Fetched, Grant, GrantLife, Renewal};

use agenda::Agenda;
use answers::Turn;
pub use grant::Serial;
use grant::{Deaths, HeldGrant, Login};
use held::{HeldLease, Mints, Tracked};
pub use lack::{Lack, Outlook};
pub use view::View;

/// How many requests to one source are out at once.
pub const IN_FLIGHT: usize = 16;

/// This many unreachable answers in a row open the breaker: from then on one request at a time probes whether the source is back.
const BREAKER_OPENS_AT: u32 = 5;

/// One source's life.
#[derive(Clone)]
pub struct Session {
    source: SourceName,
    login: Login,
    login_failures: u32,
    login_trouble: Option<Fault>,
    deaths: Deaths,
    grant: Option<HeldGrant>,
    serial: Serial,
    secrets: Agenda<SecretName, Tracked>,
    /// How often those that are no longer wanted were made.
    former_mints: BTreeMap<SecretName, Mints>,
    leases: Agenda<LeaseId, HeldLease>,
    in_flight: usize,
    /// At most [`IN_FLIGHT`]; few when the source has just come back.
    allowed_in_flight: usize,
    unreachable_in_a_row: u32,
    not_before: Option<Instant>,
    phase: Phase,
    look_up_every: Duration,
    adopt: Option<Holdings>,
    /// The holdings have changed since they were recorded.
    unrecorded: bool,
    /// When the machine was suspended, and for how long, while questions were out that are out still.
    sleeps: Vec<(Instant, Duration)>,
    chance: fastrand::Rng,
}

/// The settings of a session.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The source's name.
    pub source: SourceName,
    /// The secrets to fetch from it.
    pub wants: Vec<Want>,
    /// How often to ask whether token and leases are still valid, even without a sign that they are not.
    pub look_up_every: Duration,
    /// The seed of all its random numbers.
    pub seed: u64,
    /// The holdings of an earlier run: taken over as far as they are still valid.
    pub adopt: Option<Holdings>,
}

/// The part of a session that must outlive it, because no server gives it out twice.
#[derive(Clone, Debug)]
pub struct Holdings {
    /// The token, with the time to live that it had at first.
    pub grant: Grant,
    /// Every lease that was made with it; of the leases of one secret the older comes first.
    pub leases: Vec<Holding>,
}

/// A lease with the value that it keeps valid.
#[derive(Clone, Debug)]
pub struct Holding {
    /// The lease, as the ledger has it.
    pub entry: Entry,
    /// A digest that tells whether the value differs from another.
    pub digest: Digest,
}

/// Where a session is between its start and its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Keeping,
    Stopping,
    Ended,
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// The source answered a question that was sent at this time.
    Answered {
        /// When the question was sent.
        sent: Instant,
        /// The answer.
        answer: Answer,
    },
    /// A credential file appeared or changed.
    CredentialChanged,
    /// The file that holds the token itself appeared or changed.
    GrantChanged,
    /// Something was denied to whoever else uses this grant: it may be dead.
    Doubted(Serial),
    /// Fetch these secrets now, whatever their schedule says; all if empty.
    RefreshAsked(Vec<SecretName>),
    /// No generation uses the revisions of this secret below this one any more.
    Released(SecretName, Revision),
    /// No generation uses this revision of this secret, and none will: a release with it was taken back, or never tried.
    Rejected(SecretName, Revision),
    /// The configuration changed: from now on these are wanted, and no others.
    #[expect(missing_docs, reason = "said above; values of what is new have the numbers of this edition")]
    Wanted { wants: Vec<Want>, edition: Edition },
    /// The machine was suspended for this long.
    Slept(Duration),
    /// The end: give token and leases back.
    StopAsked,
    /// The deadline came.
    Due,
}

/// Effects, for the keeper to perform.
#[derive(Clone, Debug)]
#[must_use = "an effect that is dropped leaves the session waiting for its answer"]
pub enum Effect {
    /// Send a question to the source.
    Ask(Ask),
    /// Give a new value to the agent.
    Deliver(Update),
    /// Tell the agent why it has no value of a secret yet.
    Lack(Lack),
    /// Record these holdings for a later run, before anything else is done.
    Record(Holdings),
    /// Log this fact.
    Report(Fact),
    /// The session is over.
    Ended,
}

/// A question to the source.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "each is the method of the same name of `Source`, with its arguments")]
pub enum Ask {
    LogIn,
    RenewGrant(Serial, Grant),
    LookUpGrant(Serial, Grant),
    RevokeGrant(Grant),
    Fetch(Grant, Want),
    Renew(Grant, LeaseId, Duration),
    LookUp(Grant, LeaseId),
    Revoke(Grant, LeaseId),
}

/// The answer to the question of the same name.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "each is the answer of the method of the same name of `Source`")]
pub enum Answer {
    LogIn(Result<Grant, Fault>),
    RenewGrant(Serial, Result<GrantLife, Fault>),
    LookUpGrant(Serial, Result<GrantLife, Fault>),
    RevokeGrant(Result<(), Fault>),
    Fetch(SecretName, Result<(Fetched, Digest), Fault>),
    Renew(LeaseId, Result<Renewal, Fault>),
    LookUp(LeaseId, Result<Duration, Fault>),
    Revoke(LeaseId, Result<(), Fault>),
}

/// A new value of a secret.
#[derive(Clone, Debug)]
pub struct Update {
    /// Which secret.
    pub secret: SecretName,
    /// The number of this value.
    pub revision: Revision,
    /// The value.
    pub fields: Packed,
    /// What is known of it beside its fields.
    pub meta: Meta,
    /// A digest that tells whether the value differs from another.
    pub digest: Digest,
    /// When the previous value ends, if it does: in the past if it has ended already.
    pub former_ends: Option<Instant>,
    /// Whether it lives by a lease, and dies when that is given back.
    pub is_leased: bool,
    /// When the source is asked for a newer value; `None` if the lease is only renewed.
    pub again_at: Option<Instant>,
}

impl Session {
    /// A session that has not logged in yet.
    pub fn new(settings: Settings, now: Instant) -> Self {
        let Settings { source, wants, look_up_every, seed, adopt } = settings;
        Self {
            source,
            login: Login::At(now),
            login_failures: 0,
            login_trouble: None,
            deaths: Deaths::default(),
            grant: None,
            serial: Serial::default(),
            secrets: wants.into_iter().map(|want| (want.name.clone(), Tracked::new(want, now))).collect(),
            former_mints: BTreeMap::new(),
            leases: Agenda::default(),
            in_flight: 0,
            allowed_in_flight: IN_FLIGHT,
            unreachable_in_a_row: 0,
            not_before: None,
            phase: Phase::Keeping,
            look_up_every,
            adopt,
            unrecorded: false,
            sleeps: Vec::new(),
            chance: fastrand::Rng::with_seed(seed),
        }
    }

    /// Handles an event that happened at `now`; answers with the effects to perform.
    pub fn step(&mut self, event: Event, now: Instant) -> Vec<Effect> {
        let mut effects = Vec::new();
        if self.phase == Phase::Ended {
            return effects;
        }
        match event {
            Event::Answered { sent, answer } => {
                let sent = self.before_sleeps(sent);
                self.answered(answer, &mut Turn { sent, now, effects: &mut effects });
            }
            Event::CredentialChanged => self.login.credential_changed(now),
            Event::GrantChanged => self.login.grant_changed(now),
            Event::Doubted(serial) => self.doubt(serial),
            Event::RefreshAsked(names) => self.refresh(&names, now),
            Event::Released(secret, below) => self.release(&secret, below, now),
            Event::Rejected(secret, revision) => self.reject(&secret, revision, now),
            Event::Wanted { wants, edition } => self.want(wants, edition, now),
            Event::Slept(time) => self.slept(time, now),
            Event::StopAsked => self.phase = Phase::Stopping,
            Event::Due => {}
        }
        match self.phase {
            Phase::Keeping => self.dispatch(now, &mut effects),
            Phase::Stopping => self.give_back(&mut effects),
            Phase::Ended => {}
        }
        self.secrets.settle();
        self.leases.settle();
        if std::mem::take(&mut self.unrecorded)
            && self.phase == Phase::Keeping
            && let Some(holdings) = self.holdings()
        {
            // The record comes first: no lease may be in use before the ledger has it.
            effects.insert(0, Effect::Record(holdings));
        }
        effects
    }

    /// The name of its source.
    pub fn source(&self) -> &SourceName {
        &self.source
    }

    /// The token that is held and not being given back, if there is one.
    pub fn grant(&self) -> Option<&Grant> {
        self.grant.as_ref().map(|held| &held.grant)
    }

    /// Whether there is a token or a lease to give back.
    pub fn holds_anything(&self) -> bool {
        self.grant.is_some() || !self.leases.is_empty()
    }

    fn refresh(&mut self, names: &[SecretName], now: Instant) {
        if names.is_empty() {
            self.secrets.values_mut().for_each(|tracked| tracked.hurry(now));
        }
        for name in names {
            if let Some(tracked) = self.secrets.get_mut(name) {
                tracked.hurry(now);
            }
        }
    }

    /// Leases that only former generations used are revoked; the process is well with the newest.
    fn release(&mut self, secret: &SecretName, below: Revision, now: Instant) {
        for id in self.leases.of(secret) {
            if let Some(lease) = self.leases.get_mut(&id).filter(|lease| lease.revision < below) {
                self.unrecorded |= lease.give_up(now);
            }
        }
        if let Some(tracked) = self.secrets.get_mut(secret).filter(|tracked| tracked.revision == below) {
            tracked.rejections = 0;
        }
    }

    fn draw(&mut self) -> Chance {
        Chance::new(self.chance.f64())
    }
}
