//! A secret server in miniature: tokens, leases with a maximum, values that change, and faults by chance.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::json;
use squire::names::LeaseId;
use squire::plan::Want;
use squire::secret::{DigestKey, Secret};
use squire::session::{Answer, Ask};
use squire::source::{Fault, Fetched, Grant, GrantLife, Life, Renewal};

use crate::world::Weather;

/// How long a token lives at most, renewals included.
const TOKEN_MAX: Duration = Duration::from_mins(2);
const TOKEN_TTL: Duration = Duration::from_secs(40);
const LEASE_MAX: Duration = Duration::from_secs(30);
const LEASE_TTL: Duration = Duration::from_secs(10);
/// How often the static value changes.
const KV_PERIOD: u64 = 25;

pub(crate) struct Server {
    weather: Weather,
    chance: fastrand::Rng,
    epoch: Instant,
    tokens: BTreeMap<String, Living>,
    leases: BTreeMap<LeaseId, Living>,
    /// How many leases were made: no name comes twice.
    made: u64,
    down_until: Instant,
    pub logins: u32,
}

/// Something that ends, and at the latest when.
struct Living {
    ends: Instant,
    latest: Instant,
    /// The token that a lease dies with.
    parent: String,
}

impl Server {
    pub(crate) fn new(weather: Weather, seed: u64, now: Instant) -> Self {
        Self {
            weather,
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

    pub(crate) fn living_leases(&self, now: Instant) -> usize {
        self.leases.values().filter(|living| self.lives(living, now)).count()
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
                let key = DigestKey::new([1; 32]);
                let digested = fetched.map(|fetched| {
                    let digest = key.digest_fields(fetched.fields.expose());
                    (fetched, digest)
                });
                Answer::Fetch(want.name.clone(), digested)
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

    /// In a storm, the server is down now and then, and single questions fail.
    fn weather_fault(&mut self, now: Instant) -> Option<Fault> {
        if self.weather != Weather::Storm {
            return None;
        }
        if now >= self.down_until && self.chance.u32(..200) == 0 {
            self.down_until = now + Duration::from_secs(self.chance.u64(1..40));
        }
        if now < self.down_until {
            return Some(Fault::Unreachable { why: "down".to_owned(), retry_after: None });
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
        let living = Living { ends: now + TOKEN_TTL, latest: now + TOKEN_MAX, parent: String::new() };
        self.tokens.insert(token.clone(), living);
        let life = GrantLife { ttl: Some(TOKEN_TTL), renewable: true };
        Ok(Grant { token: Secret::new(token.as_str()), life, revocable: true, uses: None })
    }

    fn token(&mut self, grant: &Grant, now: Instant) -> Result<&mut Living, Fault> {
        self.tokens.get_mut(grant.token.expose()).filter(|living| living.ends > now).ok_or(Fault::Dead)
    }

    fn renew_grant(&mut self, grant: &Grant, now: Instant) -> Result<GrantLife, Fault> {
        let token = self.token(grant, now)?;
        token.ends = (now + TOKEN_TTL).min(token.latest);
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
        self.leases.insert(lease.clone(), Living { ends: now + LEASE_TTL, latest: now + LEASE_MAX, parent });
        let fields = json!({ "username": lease.as_str(), "password": lease.as_str() });
        Ok(fetched(fields, Life::Renewable { lease, ttl: LEASE_TTL }))
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

fn fetched(fields: serde_json::Value, life: Life) -> Fetched {
    let serde_json::Value::Object(fields) = fields else { unreachable!("fields are an object") };
    Fetched { fields: Secret::new(fields), life }
}
