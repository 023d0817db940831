//! A secret server in miniature: tokens, leases with a maximum, values that change, and faults by chance.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::json;
use squire::names::LeaseId;
use squire::plan::Want;
use squire::secret::{Digest, DigestKey, Meta, Packed, Secret};
use squire::session::{Answer, Ask};
use squire::source::{Fault, Fetched, Grant, GrantLife, Life, Renewal};

use crate::variant::{Lives, Weather};

/// How often the static value changes.
const KV_PERIOD: u64 = 25;

pub(crate) struct Server {
    pub weather: Weather,
    lives: Lives,
    chance: fastrand::Rng,
    epoch: Instant,
    tokens: BTreeMap<String, Living>,
    leases: BTreeMap<LeaseId, Living>,
    /// How many leases were made: no name comes twice.
    made: u64,
    down_until: Instant,
    pub logins: u32,
}

/// What the server says of a lease, or of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    /// The answer that hands it out is on its way.
    No,
    /// To a Squire that runs, or to its ledger.
    Yes,
    /// It was handed out to a Squire that was killed before it could write it down, or that had another token by then.
    Never,
}

/// Something that ends, and at the latest when.
struct Living {
    ends: Instant,
    latest: Instant,
    /// The token that a lease dies with.
    parent: String,
    /// What a lease is for.
    path: String,
    known: Known,
}

impl Server {
    pub(crate) fn new(weather: Weather, lives: Lives, seed: u64, now: Instant) -> Self {
        Self {
            weather,
            lives,
            chance: fastrand::Rng::with_seed(seed),
            epoch: now,
            tokens: BTreeMap::new(),
            leases: BTreeMap::new(),
            made: 0,
            down_until: now,
            logins: 0,
        }
    }

    /// Whether the credential of this name works.
    pub(crate) fn accepts(&self, lease: &str, now: Instant) -> bool {
        self.leases.get(lease).is_some_and(|living| self.lives(living, now))
    }

    /// How many leases of each path live that somebody could give back, and how many tokens.
    pub(crate) fn living(&self, now: Instant) -> BTreeMap<&str, usize> {
        let mut living = BTreeMap::new();
        let leases = self.leases.values().filter(|lease| self.lives(lease, now));
        let tokens = self.tokens.values().filter(|token| token.ends > now);
        for one in leases.chain(tokens).filter(|one| one.known != Known::Never) {
            *living.entry(one.path.as_str()).or_default() += 1;
        }
        living
    }

    /// The leases that die with a token.
    pub(crate) fn of_token<'a>(&'a self, token: &'a str) -> impl Iterator<Item = &'a str> {
        self.leases.iter().filter(move |(_, lease)| lease.parent == token).map(|(id, _)| id.as_str())
    }

    /// An answer arrived.
    pub(crate) fn told(&mut self, answer: &Answer) {
        let known = match answer {
            Answer::LogIn(Ok(grant)) => self.tokens.get_mut(grant.token.expose()),
            Answer::Fetch(_, Ok((Fetched { life: Life::Renewable { lease, .. }, .. }, _))) => {
                self.leases.get_mut(lease)
            }
            _ => None,
        };
        if let Some(living) = known {
            living.known = Known::Yes;
        }
    }

    /// Squire is gone without a farewell, and this is what is written down: whatever it was not told, and what its former tokens
    /// made, nobody knows any more. Answers with what was told and is not written down.
    pub(crate) fn forsaken(
        &mut self,
        token: Option<&str>,
        written: &[LeaseId],
        now: Instant,
    ) -> Vec<LeaseId> {
        let mut unwritten = Vec::new();
        for (id, living) in &mut self.tokens {
            if living.known == Known::No || token != Some(id.as_str()) {
                living.known = Known::Never;
            }
        }
        for (id, lease) in &mut self.leases {
            if lease.known == Known::No || token != Some(lease.parent.as_str()) {
                lease.known = Known::Never;
            } else if lease.known == Known::Yes && lease.ends > now && !written.contains(id) {
                unwritten.push(id.clone());
            }
        }
        unwritten
    }

    /// When a lease ends, if it still lives.
    pub(crate) fn ends(&self, lease: &LeaseId) -> Option<Instant> {
        self.leases.get(lease).map(|living| living.ends)
    }

    pub(crate) fn answer(&mut self, ask: &Ask, now: Instant) -> Answer {
        let fault = self.weather_fault(now);
        match ask {
            Ask::LogIn => Answer::LogIn(self.or(fault, |server| server.log_in(now))),
            Ask::RenewGrant(serial, grant) => {
                Answer::RenewGrant(*serial, self.or(fault, |server| server.renew_grant(grant, now)))
            }
            Ask::LookUpGrant(serial, grant) => {
                Answer::LookUpGrant(*serial, self.or(fault, |server| server.look_up_grant(grant, now)))
            }
            Ask::RevokeGrant(grant) => Answer::RevokeGrant(self.or(fault, |server| {
                server.tokens.remove(grant.token.expose());
                Ok(())
            })),
            Ask::Fetch(grant, want) => {
                let fetched = self.or(fault, |server| server.fetch(grant, want, now));
                Answer::Fetch(want.name.clone(), digested(fetched))
            }
            Ask::Renew(_, lease, increment) => {
                Answer::Renew(lease.clone(), self.or(fault, |server| server.renew(lease, *increment, now)))
            }
            Ask::LookUp(_, lease) => {
                Answer::LookUp(lease.clone(), self.or(fault, |server| server.look_up(lease, now)))
            }
            Ask::Revoke(_, lease) => Answer::Revoke(
                lease.clone(),
                self.or(fault, |server| {
                    server.leases.remove(lease);
                    Ok(())
                }),
            ),
        }
    }

    fn or<T>(
        &mut self,
        fault: Option<Fault>,
        work: impl FnOnce(&mut Self) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        fault.map_or_else(|| work(self), Err)
    }

    /// In rough weather the server is down now and then, and in a storm single questions fail.
    fn weather_fault(&mut self, now: Instant) -> Option<Fault> {
        if !self.weather.is_rough() {
            return None;
        }
        if now >= self.down_until && self.chance.u32(..200) == 0 {
            self.down_until = now + Duration::from_secs(self.chance.u64(1..40));
        }
        if now < self.down_until {
            return Some(Fault::Unreachable { why: "down".to_owned(), retry_after: None });
        }
        if self.weather != Weather::Storm {
            return None;
        }
        let why = || "by chance".to_owned();
        match self.chance.u32(..100) {
            0 => Some(Fault::Failing { why: why() }),
            1 => Some(Fault::Denied { path: why(), capability: "read" }),
            2 => Some(Fault::Gone { why: why() }),
            3 => Some(Fault::Malformed { why: why() }),
            4 => Some(Fault::Dead),
            5 => Some(Fault::Awaiting { file: "role-id".into(), why: why() }),
            _ => None,
        }
    }

    fn log_in(&mut self, now: Instant) -> Result<Grant, Fault> {
        self.logins += 1;
        if self.weather == Weather::WrongCredential {
            return Err(Fault::Refused { why: "invalid secret id".to_owned(), again_in: None });
        }
        let token = format!("token-{}", self.logins);
        let living = Living {
            ends: now + self.lives.token,
            latest: now + self.lives.token_at_most,
            parent: String::new(),
            path: "token".to_owned(),
            known: Known::No,
        };
        self.tokens.insert(token.clone(), living);
        let life = GrantLife { ttl: Some(self.lives.token), renewable: true };
        Ok(Grant { token: Secret::new(token.as_str()), life, revocable: true, uses: None })
    }

    fn token(&mut self, grant: &Grant, now: Instant) -> Result<&mut Living, Fault> {
        self.tokens.get_mut(grant.token.expose()).filter(|living| living.ends > now).ok_or(Fault::Dead)
    }

    fn renew_grant(&mut self, grant: &Grant, now: Instant) -> Result<GrantLife, Fault> {
        let ttl = self.lives.token;
        let token = self.token(grant, now)?;
        token.ends = (now + ttl).min(token.latest);
        Ok(GrantLife { ttl: Some(token.ends - now), renewable: true })
    }

    fn look_up_grant(&mut self, grant: &Grant, now: Instant) -> Result<GrantLife, Fault> {
        let token = self.token(grant, now)?;
        Ok(GrantLife { ttl: Some(token.ends - now), renewable: true })
    }

    fn fetch(&mut self, grant: &Grant, want: &Want, now: Instant) -> Result<Fetched, Fault> {
        if self.token(grant, now).is_err() {
            return Err(Fault::Denied { path: want.path.clone(), capability: "read" });
        }
        if want.path.starts_with("secret/") {
            let version = (now - self.epoch).as_secs() / KV_PERIOD;
            return Ok(fetched(json!({ "value": version }), Life::Versioned { within: None }));
        }
        self.made += 1;
        let lease = LeaseId::new(format!("lease-{}", self.made));
        let parent = grant.token.expose().to_owned();
        let Lives { lease: ttl, lease_at_most, .. } = self.lives;
        let (path, known) = (want.path.clone(), Known::No);
        let living = Living { ends: now + ttl, latest: now + lease_at_most, parent, path, known };
        self.leases.insert(lease.clone(), living);
        let fields = json!({ "username": lease.as_str(), "password": lease.as_str() });
        Ok(fetched(fields, Life::Renewable { lease, ttl }))
    }

    fn renew(&mut self, lease: &LeaseId, increment: Duration, now: Instant) -> Result<Renewal, Fault> {
        self.look_up(lease, now).map_err(|_| Fault::Failing { why: "lease not found".to_owned() })?;
        let living = self.leases.get_mut(lease).expect("it was just looked up");
        living.ends = (now + increment).min(living.latest);
        let ttl = living.ends - now;
        Ok(Renewal { ttl, capped: ttl < increment })
    }

    fn look_up(&mut self, lease: &LeaseId, now: Instant) -> Result<Duration, Fault> {
        let living = self.leases.get(lease).filter(|living| self.lives(living, now));
        living.map(|living| living.ends - now).ok_or(Fault::Gone { why: "invalid lease".to_owned() })
    }

    /// A lease dies with its token.
    fn lives(&self, lease: &Living, now: Instant) -> bool {
        lease.ends > now && self.tokens.get(&lease.parent).is_some_and(|token| token.ends > now)
    }
}

/// As the keeper does it.
pub(crate) fn digested(fetched: Result<Fetched, Fault>) -> Result<(Fetched, Digest), Fault> {
    fetched.map(|fetched| {
        let digest = DigestKey::new([1; 32]).digest_fields(&fetched.fields);
        (fetched, digest)
    })
}

pub(crate) fn fetched(fields: serde_json::Value, life: Life) -> Fetched {
    let serde_json::Value::Object(fields) = fields else { unreachable!("fields are an object") };
    Fetched { fields: Packed::of(&fields), life, written: None, meta: Meta::default() }
}
