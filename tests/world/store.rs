//! A store in miniature: no leases, values that change by themselves and by errands, and what it says of that.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::json;
use squire::names::LeaseId;
use squire::secret::Secret;
use squire::session::{Answer, Ask};
use squire::source::{Errand, Fault, Grant, GrantLife, Life, OWN_PROGRAM};
use squire::supervise::host::Ticket;

use crate::server::{digested, fetched};
use crate::variant::Weather;

/// The secret that errands rotate.
const ROTATING: &str = "dev/app/rotating";
const ROTATION_EVERY: Duration = Duration::from_secs(45);
/// Whoever rotates has a secret for himself for so long.
const CLAIM: Duration = Duration::from_mins(1);
const REST_AFTER_FAILURE: Duration = Duration::from_secs(10);
/// A source whose errand has not helped asks for another one after this.
const ASKS_AGAIN_AFTER: Duration = Duration::from_mins(1);
const LIFE: GrantLife = GrantLife { ttl: None, renewable: false };

pub(crate) struct Store {
    chance: fastrand::Rng,
    versions: BTreeMap<String, u64>,
    /// The process that has it open is the one that runs.
    is_open: bool,
    due_at: Instant,
    claimed: Option<(Ticket, Instant)>,
    asked_at: Option<Instant>,
    pub errands: u32,
}

impl Store {
    pub(crate) fn new(seed: u64, now: Instant) -> Self {
        Self {
            chance: fastrand::Rng::with_seed(seed ^ 0x570e),
            versions: BTreeMap::new(),
            is_open: false,
            due_at: now + ROTATION_EVERY,
            claimed: None,
            asked_at: None,
            errands: 0,
        }
    }

    /// Who had it open is gone.
    pub(crate) fn close(&mut self) {
        (self.is_open, self.asked_at) = (false, None);
    }

    /// Somebody writes a value by hand.
    pub(crate) fn write(&mut self) {
        *self.versions.entry("dev/app/written".to_owned()).or_default() += 1;
    }

    /// What it asks for at such a time: something is due that nobody is at.
    pub(crate) fn errand(&mut self, now: Instant) -> Option<Errand> {
        let is_claimed = self.claimed.is_some_and(|(_, until)| until > now);
        let has_asked = self.asked_at.is_some_and(|at| at + ASKS_AGAIN_AFTER > now);
        if !self.is_open || is_claimed || has_asked || self.due_at > now {
            return None;
        }
        self.asked_at = Some(now);
        let command = [OWN_PROGRAM, "store", "rotate", "--due"].map(str::to_owned).to_vec();
        Some(Errand { command, env: BTreeMap::new() })
    }

    /// An errand begins. It finds nothing to do where another one is at it.
    pub(crate) fn begin(&mut self, errand: Ticket, now: Instant) {
        self.errands += 1;
        if self.claimed.is_none_or(|(_, until)| until <= now) && self.due_at <= now {
            self.claimed = Some((errand, now + CLAIM));
        }
    }

    /// It ended. One that was killed leaves its claim.
    pub(crate) fn end(&mut self, errand: Ticket, is_done: bool, is_killed: bool, now: Instant) {
        if is_killed || self.claimed.is_none_or(|(by, _)| by != errand) {
            return;
        }
        self.claimed = None;
        self.asked_at = None;
        if is_done {
            *self.versions.entry(ROTATING.to_owned()).or_default() += 1;
            self.due_at = now + ROTATION_EVERY;
        } else {
            self.due_at = now + REST_AFTER_FAILURE;
        }
    }

    pub(crate) fn version(&self, path: &str) -> u64 {
        self.versions.get(path).copied().unwrap_or_default()
    }

    pub(crate) fn answer(&mut self, ask: &Ask, weather: Weather) -> Answer {
        let fault = (weather == Weather::Storm && self.chance.u32(..30) == 0)
            .then(|| Fault::Unreachable { why: "locked".to_owned(), retry_after: None });
        match ask {
            Ask::LogIn => Answer::LogIn(fault.map_or_else(|| Ok(self.open()), Err)),
            Ask::RenewGrant(serial, _) => Answer::RenewGrant(*serial, Ok(LIFE)),
            Ask::LookUpGrant(serial, _) => Answer::LookUpGrant(*serial, self.alive(fault).map(|()| LIFE)),
            Ask::RevokeGrant(_) => Answer::RevokeGrant(Ok(())),
            Ask::Fetch(_, want) => {
                let read = self.alive(fault).map(|()| {
                    let value = format!("{}-{}", want.path, self.version(&want.path));
                    fetched(json!({ "value": value }), Life::Versioned { within: None })
                });
                Answer::Fetch(want.name.clone(), digested(read))
            }
            Ask::Renew(_, lease, _) => Answer::Renew(lease.clone(), Err(no_lease(lease))),
            Ask::LookUp(_, lease) => Answer::LookUp(lease.clone(), Err(no_lease(lease))),
            Ask::Revoke(_, lease) => Answer::Revoke(lease.clone(), Ok(())),
        }
    }

    fn open(&mut self) -> Grant {
        self.is_open = true;
        Grant { token: Secret::new(""), life: LIFE, revocable: false, uses: None }
    }

    fn alive(&self, fault: Option<Fault>) -> Result<(), Fault> {
        match fault {
            Some(fault) => Err(fault),
            None if self.is_open => Ok(()),
            None => Err(Fault::Dead),
        }
    }
}

fn no_lease(lease: &LeaseId) -> Fault {
    Fault::Gone { why: format!("this source has no leases, and so not {lease}") }
}
