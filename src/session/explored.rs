//! Everywhere that the session of two secrets can come to, one leased and one that anybody may write: every order of answers, each of them
//! good or bad, and all that the agent may tell it meanwhile.
//!
//! The server knows its tokens and leases. Chance is the same at every step, so that times do not keep apart what is alike.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::*;
use crate::explore::{Told, World, explore};
use crate::lease;
use crate::names::SourceName;
use crate::secret::{DigestKey, Meta, Secret};
use crate::source::Life;

const TOKEN_TTL: Duration = Duration::from_mins(10);
const LEASE_TTL: Duration = Duration::from_mins(1);
const REFRESH: Duration = Duration::from_mins(5);
/// What was longer ago means nothing to a session.
const MEMORY: Duration = Duration::from_mins(20);

/// A session, the server, and an agent as far as it tells the session something.
#[derive(Clone)]
#[expect(clippy::struct_excessive_bools, reason = "they are not of one another")]
struct Conversation {
    session: Session,
    now: Instant,
    /// What was asked and is not answered, in the order of asking.
    asked: Vec<Ask>,
    tokens: BTreeMap<String, Instant>,
    leases: BTreeMap<LeaseId, Leased>,
    made: u64,
    /// The value that somebody wrote.
    written: u64,
    delivered: BTreeMap<SecretName, Revision>,
    /// Below these nothing is used, by what the agent said.
    released: BTreeMap<SecretName, Revision>,
    rejected: BTreeSet<(SecretName, Revision)>,
    recorded: BTreeSet<LeaseId>,
    /// A login was refused, and its file has not changed since.
    refused_at: Option<Instant>,
    /// The credential's file has changed since the login was asked for.
    file_changed: bool,
    /// Giving back failed, which is said, and not tried again.
    is_left: bool,
    /// So many bad answers, and things that the agent tells, may still come.
    faults: u8,
    news: u8,
    /// When to stop looking.
    ends: Instant,
    is_stopping: bool,
    is_over: bool,
}

#[derive(Clone, Debug)]
struct Leased {
    ends: Instant,
    token: String,
    /// What it was delivered as.
    revision: Option<Revision>,
}

fn want(name: &str) -> Want {
    Want {
        name: SecretName::new(name),
        source: SourceName::new("vault"),
        path: name.to_owned(),
        params: None,
        version: None,
        kind: None,
        list: None,
        tags: std::collections::BTreeMap::new(),
        refresh: REFRESH,
        max_size: crate::size::USUAL,
    }
}

/// What a bad answer is, by the word for it.
fn fault(word: &str) -> Fault {
    let why = || "by choice".to_owned();
    match word {
        "unreachable" => Fault::Unreachable { why: why(), retry_after: None },
        "denied" => Fault::Denied { path: why(), capability: "read" },
        "refused" => Fault::Refused { why: why(), again_in: None },
        "gone" => Fault::Gone { why: why() },
        _ => Fault::Dead,
    }
}

impl Conversation {
    fn new(faults: u8, news: u8) -> Self {
        let now = Instant::now();
        let settings = Settings {
            source: SourceName::new("vault"),
            wants: vec![want("db"), want("kv")],
            look_up_every: Duration::from_mins(2),
            seed: 1,
            adopt: None,
        };
        let mut world = Self {
            session: Session::new(settings, now),
            now,
            asked: Vec::new(),
            tokens: BTreeMap::new(),
            leases: BTreeMap::new(),
            made: 0,
            written: 0,
            delivered: BTreeMap::new(),
            released: BTreeMap::new(),
            rejected: BTreeSet::new(),
            recorded: BTreeSet::new(),
            refused_at: None,
            file_changed: false,
            is_left: false,
            faults,
            news,
            ends: now + Duration::from_mins(3),
            is_stopping: false,
            is_over: false,
        };
        world.step(Event::Due).unwrap();
        world
    }

    fn step(&mut self, event: Event) -> Result<(), String> {
        self.session.chance = fastrand::Rng::with_seed(1);
        for effect in self.session.step(event, self.now) {
            check(!self.is_over, "something is asked after the end")?;
            match effect {
                Effect::Ask(ask) => self.ask(ask)?,
                Effect::Deliver(update) => self.deliver(&update)?,
                Effect::Record(holdings) => {
                    self.recorded =
                        holdings.leases.iter().map(|holding| holding.entry.lease.clone()).collect();
                }
                Effect::Lack(_) | Effect::Report(_) => {}
                Effect::Ended => self.is_over = true,
            }
        }
        let is_due = self.session.deadline().is_some_and(|deadline| deadline <= self.now);
        check(!is_due || !self.asked.is_empty(), "it would spin")?;
        check(self.asked.len() <= IN_FLIGHT, "too many questions at once")?;
        self.nothing_is_forgotten()
    }

    /// A lease that the server has is known to the session, unless its making, or its end, is just being answered.
    fn nothing_is_forgotten(&self) -> Result<(), String> {
        for (id, leased) in &self.leases {
            let lives = leased.ends > self.now && self.lives(&leased.token);
            let is_known = self.session.leases.contains_key(id);
            check(
                !lives || leased.revision.is_none() || is_known || self.is_stopping,
                &format!("{id} is forgotten"),
            )?;
        }
        Ok(())
    }

    fn lives(&self, token: &str) -> bool {
        self.tokens.get(token).is_some_and(|ends| *ends > self.now)
    }

    fn ask(&mut self, ask: Ask) -> Result<(), String> {
        match &ask {
            Ask::LogIn => {
                let again = self.refused_at.map(|at| at + lease::REFUSED_PAUSE);
                check(again.is_none_or(|again| again <= self.now), "a refused credential is sent again")?;
                self.file_changed = false;
            }
            Ask::Renew(_, id, _) => {
                let is_over = self.leases.get(id).is_some_and(|leased| leased.ends < self.now);
                check(!is_over, "what has ended is renewed")?;
            }
            Ask::Revoke(_, id) if !self.is_stopping => {
                let secret = SecretName::new("db");
                let revision = self.leases.get(id).and_then(|leased| leased.revision);
                let is_free = revision.is_some_and(|revision| {
                    self.released.get(&secret).is_some_and(|below| revision < *below)
                        || self.rejected.contains(&(secret.clone(), revision))
                });
                check(is_free, &format!("{id} is revoked while it is used"))?;
            }
            Ask::RenewGrant(..)
            | Ask::LookUpGrant(..)
            | Ask::RevokeGrant(_)
            | Ask::Fetch(..)
            | Ask::LookUp(..)
            | Ask::Revoke(..) => {}
        }
        self.asked.push(ask);
        Ok(())
    }

    fn deliver(&mut self, update: &Update) -> Result<(), String> {
        let before = self.delivered.insert(update.secret.clone(), update.revision);
        check(before.is_none_or(|before| before < update.revision), "revisions do not grow")?;
        if let Some(lease) = update.fields.expose().get("lease").and_then(serde_json::Value::as_str) {
            let id = LeaseId::new(lease);
            check(self.is_stopping || self.recorded.contains(&id), "a lease is used before it is recorded")?;
            let leased = self.leases.get_mut(&id).ok_or("a lease of nobody is delivered")?;
            leased.revision = Some(update.revision);
        }
        Ok(())
    }

    /// The server's answer to the first question that waits.
    fn answer(&mut self, word: &str) -> Result<(), String> {
        let ask = self.asked.remove(0);
        let well = word == "well";
        let answer = match &ask {
            Ask::LogIn => Answer::LogIn(if well { Ok(self.log_in()) } else { Err(fault(word)) }),
            Ask::RenewGrant(serial, grant) => {
                Answer::RenewGrant(*serial, if well { self.prolong(grant) } else { Err(fault(word)) })
            }
            Ask::LookUpGrant(serial, grant) => {
                Answer::LookUpGrant(*serial, if well { self.life(grant) } else { Err(fault(word)) })
            }
            Ask::RevokeGrant(grant) => {
                if well {
                    self.tokens.remove(grant.token.expose());
                }
                Answer::RevokeGrant(if well { Ok(()) } else { Err(fault(word)) })
            }
            Ask::Fetch(grant, want) => {
                let fetched = if well { self.fetch(grant, want) } else { Err(fault(word)) };
                let key = DigestKey::new([1; 32]);
                let fetched = fetched.map(|fetched| {
                    let digest = key.digest_fields(&fetched.fields);
                    (fetched, digest)
                });
                Answer::Fetch(want.name.clone(), fetched)
            }
            Ask::Renew(_, id, increment) => {
                let renewed = if well { self.renew(id, *increment) } else { Err(fault(word)) };
                Answer::Renew(id.clone(), renewed)
            }
            Ask::LookUp(_, id) => {
                Answer::LookUp(id.clone(), if well { self.look_up(id) } else { Err(fault(word)) })
            }
            Ask::Revoke(_, id) => {
                if well || word == "denied" {
                    // Whoever may not end it cannot do more.
                    self.leases.remove(id);
                }
                Answer::Revoke(id.clone(), if well { Ok(()) } else { Err(fault(word)) })
            }
        };
        if !well {
            self.faults -= 1;
            if word == "gone" || word == "dead" {
                self.it_is_true(&ask);
            }
            self.is_left |= self.is_stopping;
            if matches!(ask, Ask::LogIn) && word == "refused" && !self.file_changed {
                self.refused_at = Some(self.now);
            }
        }
        self.step(Event::Answered { sent: self.now, answer })
    }

    /// What a server says is gone, or dead, is.
    fn it_is_true(&mut self, ask: &Ask) {
        match ask {
            Ask::Renew(_, id, _) | Ask::LookUp(_, id) | Ask::Revoke(_, id) => drop(self.leases.remove(id)),
            Ask::RenewGrant(_, grant) | Ask::LookUpGrant(_, grant) | Ask::Fetch(grant, _) => {
                self.tokens.remove(grant.token.expose());
            }
            Ask::LogIn | Ask::RevokeGrant(_) => {}
        }
    }

    fn log_in(&mut self) -> Grant {
        self.made += 1;
        let token = format!("token-{}", self.made);
        self.tokens.insert(token.clone(), self.now + TOKEN_TTL);
        let life = GrantLife { ttl: Some(TOKEN_TTL), renewable: true };
        Grant { token: Secret::new(token), life, revocable: true, uses: None }
    }

    fn life(&self, grant: &Grant) -> Result<GrantLife, Fault> {
        let ends =
            self.tokens.get(grant.token.expose()).filter(|ends| **ends > self.now).ok_or(Fault::Dead)?;
        Ok(GrantLife { ttl: Some(*ends - self.now), renewable: true })
    }

    fn prolong(&mut self, grant: &Grant) -> Result<GrantLife, Fault> {
        self.life(grant)?;
        self.tokens.insert(grant.token.expose().to_owned(), self.now + TOKEN_TTL);
        self.life(grant)
    }

    fn fetch(&mut self, grant: &Grant, want: &Want) -> Result<Fetched, Fault> {
        if self.life(grant).is_err() {
            return Err(fault("denied"));
        }
        let (fields, life) = if want.path == "kv" {
            (json!({ "value": self.written }), Life::Versioned { within: None })
        } else {
            self.made += 1;
            let id = LeaseId::new(format!("lease-{}", self.made));
            let token = grant.token.expose().to_owned();
            self.leases.insert(id.clone(), Leased { ends: self.now + LEASE_TTL, token, revision: None });
            (json!({ "lease": id.as_str() }), Life::Renewable { lease: id, ttl: LEASE_TTL })
        };
        let serde_json::Value::Object(fields) = fields else { unreachable!("fields are an object") };
        Ok(Fetched { fields: Packed::of(&fields), life, written: None, meta: Meta::default() })
    }

    fn look_up(&self, id: &LeaseId) -> Result<Duration, Fault> {
        let lives = |leased: &&Leased| leased.ends > self.now && self.lives(&leased.token);
        self.leases.get(id).filter(lives).map(|leased| leased.ends - self.now).ok_or_else(|| fault("gone"))
    }

    fn renew(&mut self, id: &LeaseId, increment: Duration) -> Result<Renewal, Fault> {
        self.look_up(id)?;
        if let Some(leased) = self.leases.get_mut(id) {
            leased.ends = self.now + increment;
        }
        Ok(Renewal { ttl: increment, capped: false })
    }

    fn newest(&self, name: &str) -> Option<(SecretName, Revision)> {
        let secret = SecretName::new(name);
        self.delivered.get(&secret).map(|revision| (secret.clone(), *revision))
    }

    fn tell(&mut self, word: &str) -> Result<(), String> {
        self.news -= 1;
        let (secret, revision) =
            self.newest("db").unwrap_or_else(|| (SecretName::new("db"), Revision::default()));
        match word {
            "the newest is good" => {
                self.released.insert(secret.clone(), revision);
                self.step(Event::Released(secret, revision))
            }
            "the newest is bad" => {
                self.rejected.insert((secret.clone(), revision));
                self.step(Event::Rejected(secret, revision))
            }
            "somebody writes" => {
                self.written += 1;
                Ok(())
            }
            "the file changes" => {
                (self.refused_at, self.file_changed) = (None, true);
                self.step(Event::CredentialChanged)
            }
            "all is asked for" => self.step(Event::RefreshAsked(Vec::new())),
            "it slept" => {
                let slept = LEASE_TTL / 2;
                let sooner = |at: &mut Instant| *at = at.checked_sub(slept).unwrap_or(*at);
                self.tokens.values_mut().for_each(sooner);
                self.leases.values_mut().map(|leased| &mut leased.ends).for_each(sooner);
                self.refused_at.iter_mut().for_each(sooner);
                self.step(Event::Slept(slept))?;
                self.step(Event::Due)
            }
            other => Err(format!("what is {other:?}?")),
        }
    }
}

impl World for Conversation {
    fn possible(&self) -> Vec<String> {
        let mut events: Vec<&str> = Vec::new();
        if self.is_over || self.now >= self.ends {
            return Vec::new();
        }
        if let Some(ask) = self.asked.first() {
            events.push("well");
            if self.faults > 0 {
                events.extend(match ask {
                    Ask::LogIn => vec!["unreachable", "refused"],
                    Ask::Renew(..) | Ask::LookUp(..) | Ask::Revoke(..) => {
                        vec!["unreachable", "denied", "gone"]
                    }
                    Ask::Fetch(..) => vec!["unreachable", "denied", "gone"],
                    Ask::RenewGrant(..) | Ask::LookUpGrant(..) | Ask::RevokeGrant(_) => {
                        vec!["unreachable", "dead"]
                    }
                });
            }
        }
        if self.asked.len() > 1 {
            events.push("the other first");
        }
        if self.session.deadline().is_some() {
            events.push("wait");
        }
        if self.news > 0 && !self.is_stopping {
            let newest = self.newest("db");
            let may_tell = newest.clone().is_some_and(|newest| {
                !self.rejected.contains(&newest) && self.released.get(&newest.0) != Some(&newest.1)
            });
            if may_tell {
                events.push("the newest is good");
                if self.released.contains_key(&SecretName::new("db")) {
                    events.push("the newest is bad");
                }
            }
            if self.newest("db").is_some() && self.asked.is_empty() {
                events.extend(["somebody writes", "it slept"]);
            }
            events.extend(["the file changes", "all is asked for"]);
        }
        // Where nothing is out, a stop is what comes when all is well.
        if !self.is_stopping && !self.asked.is_empty() {
            events.push("stop");
        }
        events.into_iter().map(str::to_owned).collect()
    }

    fn happen(&mut self, event: &str) -> Result<(), String> {
        match event {
            "well" | "unreachable" | "denied" | "refused" | "gone" | "dead" => self.answer(event),
            "the other first" => {
                self.asked.rotate_left(1);
                Ok(())
            }
            "wait" => {
                self.now = self.session.deadline().ok_or("there is nothing to wait for")?.max(self.now);
                self.step(Event::Due)
            }
            "stop" => {
                self.is_stopping = true;
                self.step(Event::StopAsked)
            }
            other => self.tell(other),
        }
    }

    fn told(&self) -> String {
        let Session {
            login,
            grant,
            secrets,
            leases,
            in_flight,
            allowed_in_flight,
            not_before,
            phase,
            deaths,
            ..
        } = &self.session;
        let bounds = (
            in_flight,
            allowed_in_flight,
            not_before,
            self.session.unreachable_in_a_row,
            self.session.login_failures,
        );
        let machine = (login, grant, &**secrets, &**leases, bounds, phase, deaths, self.session.serial);
        let server = (&self.asked, &self.tokens, &self.leases, self.written);
        let agent = (&self.delivered, &self.released, &self.rejected, &self.recorded, self.refused_at);
        let what =
            (machine, server, agent, (self.faults, self.news, self.ends, self.is_stopping, self.is_over));
        Told { what: &what, now: self.now, memory: MEMORY }.to_string()
    }

    /// Until it is time to stop, and then until it is over.
    fn next_if_all_is_well(&self) -> Option<String> {
        if self.is_over {
            return None;
        }
        let next = match (self.asked.is_empty(), self.session.deadline()) {
            (false, _) => "well",
            (true, Some(at)) if at <= self.ends && !self.is_stopping => "wait",
            (true, _) => "stop",
        };
        Some(next.to_owned())
    }

    fn rests(&self) -> Result<(), String> {
        if self.is_left {
            return Ok(());
        }
        let left = self.leases.values().filter(|leased| leased.ends > self.now && self.lives(&leased.token));
        check(left.count() == 0, "a lease is left on the server after the end")?;
        check(
            self.tokens.values().all(|ends| *ends <= self.now),
            "a token is left on the server after the end",
        )
    }
}

fn check(holds: bool, wrong: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(wrong.to_owned()) }
}

fn go_everywhere(name: &str, start: Conversation) {
    let seen = explore(name, start, 2_500);
    let seen = seen.unwrap_or_else(|wrong| panic!("{name}: {wrong}"));
    assert!(seen.is_all || seen.worlds >= 2_500, "{seen:?}");
}

/// Logged in, with both values, which the process has.
fn at_rest(faults: u8, news: u8) -> Conversation {
    let mut world = Conversation::new(faults, news + 1);
    for event in ["well", "well", "well", "the newest is good"] {
        world.happen(event).unwrap();
    }
    world
}

#[test]
fn at_the_start() {
    go_everywhere("a session at its start", Conversation::new(2, 0));
}

#[test]
fn with_bad_answers() {
    go_everywhere("a session with bad answers", at_rest(3, 0));
}

#[test]
fn with_news_and_a_bad_answer() {
    go_everywhere("a session with news and a bad answer", at_rest(1, 3));
}
