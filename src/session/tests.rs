use std::sync::atomic::{AtomicU64, Ordering};

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::fact::{SecretFact, SourceFact};
use crate::lease;
use crate::ledger::Fingerprint;
use crate::secret::{DigestKey, Fields, Meta, Secret};
use crate::source::Life;

const TTL: Duration = Duration::from_mins(1);
const LOOK_UP_EVERY: Duration = Duration::from_hours(100);

fn want(name: &str) -> Want {
    Want {
        name: SecretName::new(name),
        source: SourceName::new("vault"),
        path: format!("path/{name}"),
        params: None,
        version: None,
        kind: None,
        list: None,
        tags: std::collections::BTreeMap::new(),
        refresh: Duration::from_mins(5),
        max_size: crate::size::USUAL,
    }
}

/// Another one each time.
fn grant(ttl: Duration) -> Grant {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let token = format!("token-{}", COUNT.fetch_add(1, Ordering::Relaxed));
    let life = GrantLife { ttl: Some(ttl), renewable: true };
    Grant { token: Secret::new(token), life, revocable: true, uses: None }
}

fn value(content: u64, life: Life) -> (Fetched, Digest) {
    let fields = Packed::of(&Fields::from_iter([("n".to_owned(), json!(content))]));
    let digest = DigestKey::new([3; 32]).digest_fields(&fields);
    (Fetched { fields, life, written: None, meta: Meta::default() }, digest)
}

fn lease(id: &str) -> Life {
    Life::Renewable { lease: LeaseId::new(id), ttl: TTL }
}

fn versioned() -> Life {
    Life::Versioned { within: None }
}

fn denied() -> Fault {
    Fault::Denied { path: "path/db".to_owned(), capability: "read" }
}

fn unreachable() -> Fault {
    Fault::Unreachable { why: "down".to_owned(), retry_after: None }
}

/// A session with its clock.
struct Bench {
    session: Session,
    now: Instant,
}

impl Bench {
    fn new(secrets: &[&str]) -> Self {
        let now = Instant::now();
        let wants = secrets.iter().map(|name| want(name)).collect();
        let settings = Settings {
            source: SourceName::new("vault"),
            wants,
            look_up_every: LOOK_UP_EVERY,
            seed: 7,
            adopt: None,
        };
        Self { session: Session::new(settings, now), now }
    }

    /// Logged in with a token that lives long.
    fn logged_in(secrets: &[&str]) -> Self {
        let mut bench = Self::new(secrets);
        assert_eq!(bench.due(), ["log in"]);
        bench.answer(Answer::LogIn(Ok(grant(TTL * 100))));
        bench
    }

    /// Its token has looked itself up once.
    fn proven(secrets: &[&str]) -> Self {
        let mut bench = Self::logged_in(secrets);
        bench.until("look up token");
        let lives = GrantLife { ttl: Some(TTL), renewable: true };
        assert!(bench.answer(Answer::LookUpGrant(bench.session.serial, Ok(lives))).is_empty());
        bench
    }

    /// Its one secret came back with a lease.
    fn leased() -> Self {
        let mut bench = Self::logged_in(&["db"]);
        assert_eq!(bench.fetched("db", 1, lease("one")), ["deliver db 1"]);
        bench
    }

    fn step(&mut self, event: Event) -> Vec<String> {
        words(&self.session.step(event, self.now))
    }

    fn due(&mut self) -> Vec<String> {
        self.step(Event::Due)
    }

    fn answer(&mut self, answer: Answer) -> Vec<String> {
        self.step(Event::Answered { sent: self.now, answer })
    }

    fn fetched(&mut self, name: &str, content: u64, life: Life) -> Vec<String> {
        self.answer(Answer::Fetch(SecretName::new(name), Ok(value(content, life))))
    }

    fn failed(&mut self, name: &str, fault: Fault) -> Vec<String> {
        self.answer(Answer::Fetch(SecretName::new(name), Err(fault)))
    }

    /// Lets time pass until the deadline, which has to be later than now.
    fn sleep(&mut self) -> Duration {
        let deadline = self.session.deadline().expect("something is planned");
        let slept = deadline - self.now;
        assert!(deadline > self.now, "the session would spin");
        self.now = deadline;
        slept
    }

    /// Sleeps and wakes until this is among what it says.
    fn until(&mut self, word: &str) -> Duration {
        let mut slept = Duration::ZERO;
        for _ in 0..1000 {
            slept += self.sleep();
            if self.due().iter().any(|said| said == word) {
                return slept;
            }
        }
        panic!("never: {word}");
    }
}

/// Effects in words; reports of what cannot be read off the rest.
fn words(effects: &[Effect]) -> Vec<String> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Ask(ask) => Some(match ask {
                Ask::LogIn => "log in".to_owned(),
                Ask::RenewGrant(..) => "renew token".to_owned(),
                Ask::LookUpGrant(..) => "look up token".to_owned(),
                Ask::RevokeGrant(_) => "revoke token".to_owned(),
                Ask::Fetch(_, want) => format!("fetch {}", want.name),
                Ask::Renew(_, lease, increment) => format!("renew {lease} by {}", increment.as_secs()),
                Ask::LookUp(_, lease) => format!("look up {lease}"),
                Ask::Revoke(_, lease) => format!("revoke {lease}"),
            }),
            Effect::Deliver(update) => Some(format!("deliver {} {}", update.secret, update.revision)),
            Effect::Report(Fact::Secret(name, SecretFact::Expired { .. })) => Some(format!("{name} expired")),
            Effect::Report(Fact::Secret(name, SecretFact::Lost)) => Some(format!("{name} lost")),
            Effect::Report(Fact::Secret(name, SecretFact::NotFetched { .. })) => {
                Some(format!("{name} not fetched"))
            }
            Effect::Report(Fact::Source(_, SourceFact::TokenDead)) => Some("token dead".to_owned()),
            Effect::Report(Fact::Source(_, SourceFact::CredentialAwaited { .. })) => {
                Some("awaiting".to_owned())
            }
            Effect::Report(Fact::Source(_, SourceFact::LoginFailed { .. })) => {
                Some("login failed".to_owned())
            }
            Effect::Report(Fact::Source(_, SourceFact::Unreachable { .. })) => {
                Some("breaker open".to_owned())
            }
            Effect::Report(Fact::Source(_, SourceFact::Reachable)) => Some("breaker closed".to_owned()),
            Effect::Lack(_) | Effect::Record(_) | Effect::Report(_) => None,
            Effect::Ended => Some("ended".to_owned()),
        })
        .collect()
}

#[test]
fn it_logs_in_once_and_then_fetches_everything() {
    let mut bench = Bench::new(&["a", "b"]);
    assert_eq!(bench.due(), ["log in"]);
    assert_eq!(bench.answer(Answer::LogIn(Ok(grant(TTL)))), ["fetch a", "fetch b"]);
    assert_eq!(bench.fetched("a", 1, versioned()), ["deliver a 1"]);
    assert_eq!(bench.fetched("b", 1, versioned()), ["deliver b 1"]);
}

#[test]
fn questions_are_bounded() {
    let names: Vec<String> = (0..40).map(|number| format!("s{number:02}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut bench = Bench::new(&names);
    bench.due();
    assert_eq!(bench.answer(Answer::LogIn(Ok(grant(TTL)))).len(), IN_FLIGHT);
    assert_eq!(bench.fetched("s00", 1, versioned()), ["deliver s00 1", "fetch s16"]);
}

#[test]
fn a_missing_credential_is_waited_for_and_said_once() {
    let mut bench = Bench::new(&["a"]);
    bench.due();
    let awaiting = || Answer::LogIn(Err(Fault::Awaiting { file: "id".into(), why: "not there".to_owned() }));
    assert_eq!(bench.answer(awaiting()), ["awaiting"]);
    for _ in 0..3 {
        assert_eq!(bench.sleep(), lease::AWAITED_PAUSE);
        assert_eq!(bench.due(), ["log in"]);
        assert!(bench.answer(awaiting()).is_empty());
    }
    assert_eq!(bench.step(Event::CredentialChanged), ["log in"]);
}

#[test]
fn a_refused_credential_waits_for_its_file_to_change() {
    let mut bench = Bench::new(&["a"]);
    bench.due();
    let refused = || Answer::LogIn(Err(Fault::Refused { why: "invalid".to_owned(), again_in: None }));
    assert_eq!(bench.answer(refused()), ["login failed"]);
    assert_eq!(bench.session.deadline(), Some(bench.now + lease::REFUSED_PAUSE));
    assert_eq!(bench.step(Event::CredentialChanged), ["log in"]);
    // It changes again while the login is under way: the answer is about the old one.
    assert!(bench.step(Event::CredentialChanged).is_empty());
    assert!(bench.answer(refused()).is_empty());
    assert_eq!(bench.sleep(), lease::SOONEST);
    assert_eq!(bench.due(), ["log in"]);
}

#[test]
fn a_refused_credential_that_the_server_may_not_know_yet_is_sent_again_when_the_source_says() {
    let mut bench = Bench::new(&["a"]);
    bench.due();
    let refused = |again_in| Answer::LogIn(Err(Fault::Refused { why: "invalid".to_owned(), again_in }));
    let soon = Duration::from_secs(3);
    assert_eq!(bench.answer(refused(Some(soon))), ["login failed"]);
    assert_eq!(bench.sleep(), soon);
    assert_eq!(bench.due(), ["log in"]);
    assert_eq!(bench.answer(refused(None)), ["login failed"]);
    assert_eq!(bench.sleep(), lease::REFUSED_PAUSE);
}

#[test]
fn a_changed_credential_disturbs_no_living_grant_and_a_changed_grant_is_taken_first() {
    let mut bench = Bench::new(&["db", "kv"]);
    bench.due();
    bench.answer(Answer::LogIn(Ok(grant(TTL * 100))));
    bench.fetched("db", 1, lease("one"));
    bench.fetched("kv", 1, versioned());
    assert!(bench.step(Event::CredentialChanged).is_empty());
    assert_eq!(bench.step(Event::GrantChanged), ["log in"]);
    assert_eq!(bench.answer(Answer::LogIn(Ok(grant(TTL * 100)))), ["fetch db"], "what is static stays");
    assert_eq!(bench.fetched("db", 2, lease("two")), ["deliver db 2"]);
}

#[test]
fn a_grant_that_changes_while_it_is_looked_at_is_looked_at_again() {
    let mut bench = Bench::logged_in(&[]);
    assert_eq!(bench.step(Event::GrantChanged), ["log in"]);
    assert!(bench.step(Event::GrantChanged).is_empty());
    // Another credential file of the same source changes nothing about that.
    assert!(bench.step(Event::CredentialChanged).is_empty());
    assert!(bench.answer(Answer::LogIn(Ok(grant(TTL)))).is_empty());
    assert_eq!(bench.sleep(), lease::SOONEST);
    assert_eq!(bench.due(), ["log in"]);
}

#[test]
fn the_same_grant_again_replaces_no_lease() {
    let mut bench = Bench::new(&["db"]);
    bench.due();
    let same = grant(TTL * 100);
    bench.answer(Answer::LogIn(Ok(same.clone())));
    bench.fetched("db", 1, lease("one"));
    assert_eq!(bench.step(Event::GrantChanged), ["log in"]);
    assert!(bench.answer(Answer::LogIn(Ok(same))).is_empty());
}

#[test]
fn the_death_of_a_grant_hurries_no_refused_credential() {
    let mut bench = Bench::logged_in(&["db"]);
    let serial = bench.session.serial;
    bench.failed("db", denied());
    let life = GrantLife { ttl: Some(TTL), renewable: true };
    bench.answer(Answer::LookUpGrant(serial, Ok(life)));
    assert_eq!(bench.step(Event::GrantChanged), ["log in"]);
    let refused = Fault::Refused { why: "invalid".to_owned(), again_in: None };
    assert_eq!(bench.answer(Answer::LogIn(Err(refused))), ["login failed"]);
    let allowed = bench.now + lease::REFUSED_PAUSE;
    bench.until("fetch db");
    assert_eq!(bench.failed("db", denied()), ["look up token"]);
    assert_eq!(bench.answer(Answer::LookUpGrant(serial, Err(Fault::Dead))), ["token dead"]);
    assert_eq!(bench.session.deadline(), Some(allowed));
}

#[test]
fn an_unchanged_value_is_no_update_and_a_changed_one_is() {
    let mut bench = Bench::logged_in(&["kv"]);
    assert_eq!(bench.fetched("kv", 1, versioned()), ["deliver kv 1"]);
    bench.until("fetch kv");
    assert!(bench.fetched("kv", 1, versioned()).is_empty());
    bench.until("fetch kv");
    assert_eq!(bench.fetched("kv", 2, versioned()), ["deliver kv 2"]);
}

#[test]
fn a_lease_is_renewed_and_replaced_when_its_maximum_is_in_sight() {
    let mut bench = Bench::leased();
    let slept = bench.until("renew one by 60");
    assert!(slept >= TTL * 6 / 10 && slept <= TTL * 2 / 3, "{slept:?}");
    let renewal = Renewal { ttl: TTL / 2, capped: true };
    assert!(bench.answer(Answer::Renew(LeaseId::new("one"), Ok(renewal))).is_empty());
    assert_eq!(bench.until("fetch db"), TTL / 3);
    assert_eq!(bench.fetched("db", 2, lease("two")), ["deliver db 2"]);
    // The old lease is kept until nothing uses it.
    let release = Event::Released(SecretName::new("db"), Revision::default().next().next());
    assert_eq!(bench.step(release), ["revoke one"]);
}

#[test]
fn a_lease_that_is_used_is_never_revoked_by_a_release_of_older_ones() {
    let mut bench = Bench::leased();
    assert!(bench.step(Event::Released(SecretName::new("db"), Revision::default().next())).is_empty());
}

#[test]
fn a_refused_renewal_is_looked_up_and_a_lost_lease_replaced_at_once() {
    let mut bench = Bench::leased();
    bench.until("renew one by 60");
    let refused = Fault::Failing { why: "lease not found".to_owned() };
    assert_eq!(bench.answer(Answer::Renew(LeaseId::new("one"), Err(refused))), ["look up one"]);
    let gone = Fault::Gone { why: "invalid lease".to_owned() };
    let said = bench.answer(Answer::LookUp(LeaseId::new("one"), Err(gone)));
    assert_eq!(said, ["db lost", "fetch db"]);
}

#[test]
fn a_refused_renewal_of_a_living_lease_is_tried_again_and_replaced_before_its_end() {
    let mut bench = Bench::leased();
    let renewed_at = bench.until("renew one by 60");
    let left = TTL.checked_sub(renewed_at).unwrap();
    let refused = || Fault::Failing { why: "database down".to_owned() };
    assert_eq!(bench.answer(Answer::Renew(LeaseId::new("one"), Err(refused()))), ["look up one"]);
    assert!(bench.answer(Answer::LookUp(LeaseId::new("one"), Ok(left))).is_empty());
    assert!(bench.until("renew one by 60") < left * 2 / 3);
    let renewal = Renewal { ttl: TTL, capped: false };
    assert!(bench.answer(Answer::Renew(LeaseId::new("one"), Ok(renewal))).is_empty());
    // With the renewal the replacement is off.
    assert!(bench.until("renew one by 60") >= TTL * 6 / 10);
}

#[test]
fn the_token_is_renewed_and_succeeded_and_only_leases_move_to_the_successor() {
    let mut bench = Bench::new(&["db", "kv"]);
    bench.due();
    bench.answer(Answer::LogIn(Ok(grant(TTL))));
    bench.fetched("db", 1, Life::Renewable { lease: LeaseId::new("one"), ttl: TTL * 100 });
    bench.fetched("kv", 1, versioned());
    let slept = bench.until("renew token");
    assert!(slept >= TTL * 6 / 10 && slept <= TTL * 2 / 3, "{slept:?}");
    let serial = bench.session.serial;
    let cut = GrantLife { ttl: Some(TTL / 2), renewable: true };
    assert!(bench.answer(Answer::RenewGrant(serial, Ok(cut))).is_empty());
    assert_eq!(bench.until("log in"), TTL / 3, "there is time left for the successor");
    assert_eq!(bench.answer(Answer::LogIn(Ok(grant(TTL)))), ["fetch db"], "what is static stays");
    assert_eq!(bench.fetched("db", 2, lease("two")), ["deliver db 2"]);
}

#[test]
fn a_token_that_was_alive_and_cannot_look_itself_up_is_dead() {
    let mut bench = Bench::proven(&["db"]);
    let serial = bench.session.serial;
    assert_eq!(bench.failed("db", denied()), ["db not fetched", "look up token"]);
    assert_eq!(bench.answer(Answer::LookUpGrant(serial, Err(Fault::Dead))), ["token dead", "log in"]);
    assert_eq!(bench.answer(Answer::LogIn(Ok(grant(TTL)))), ["fetch db"]);
}

#[test]
fn a_token_that_never_could_look_itself_up_makes_no_login_storm() {
    let mut bench = Bench::logged_in(&["db"]);
    let serial = bench.session.serial;
    assert_eq!(bench.failed("db", denied()), ["db not fetched", "look up token"]);
    assert!(bench.answer(Answer::LookUpGrant(serial, Err(Fault::Dead))).is_empty());
    bench.until("fetch db");
}

#[test]
fn a_denied_path_disturbs_no_other() {
    let mut bench = Bench::logged_in(&["a", "b"]);
    bench.failed("a", denied());
    bench
        .answer(Answer::LookUpGrant(bench.session.serial, Ok(GrantLife { ttl: Some(TTL), renewable: true })));
    assert_eq!(bench.fetched("b", 1, versioned()), ["deliver b 1"]);
    bench.until("fetch a");
    assert_eq!(bench.fetched("a", 1, versioned()), ["deliver a 1"]);
}

#[test]
fn the_breaker_lets_one_question_at_a_time_look_for_the_server() {
    let mut bench = Bench::proven(&["a", "b", "c", "d", "e", "f"]);
    for name in ["a", "b", "c", "d"] {
        bench.failed(name, unreachable());
    }
    assert!(bench.failed("e", unreachable()).contains(&"breaker open".to_owned()));
    bench.failed("f", unreachable());
    for _ in 0..20 {
        bench.sleep();
        let said = bench.due();
        assert_eq!(said.len(), 1, "{said:?}");
        let name = said[0].strip_prefix("fetch ").unwrap().to_owned();
        assert!(bench.failed(&name, unreachable()).is_empty());
    }
    let slept = bench.sleep();
    assert!(slept <= Duration::from_secs(4), "{slept:?}");
    let said = bench.due();
    let name = said[0].strip_prefix("fetch ").unwrap().to_owned();
    bench.now += Duration::from_mins(2);
    let said = bench.fetched(&name, 1, versioned());
    assert_eq!(said[0], "breaker closed");
    // All are due by now. They go out as the answers come, twice as many each time.
    let asked: Vec<_> = said.iter().filter_map(|word| word.strip_prefix("fetch ")).collect();
    assert_eq!(asked.len(), 2, "{said:?}");
    let said = bench.fetched(asked[0], 1, versioned());
    assert_eq!(said.iter().filter(|word| word.starts_with("fetch ")).count(), 3, "{said:?}");
}

#[test]
fn an_expired_value_is_said_once() {
    let mut bench = Bench::logged_in(&["tls"]);
    bench.fetched("tls", 1, Life::Expiring { lease: None, ttl: TTL });
    let slept = bench.until("fetch tls");
    assert!(slept >= TTL * 85 / 100 && slept <= TTL * 95 / 100, "{slept:?}");
    let mut expired = 0;
    for _ in 0..40 {
        bench.failed("tls", Fault::Failing { why: "sealed issuer".to_owned() });
        for _ in 0..3 {
            bench.sleep();
            let said = bench.due();
            expired += said.iter().filter(|word| *word == "tls expired").count();
            if said.contains(&"fetch tls".to_owned()) {
                break;
            }
        }
    }
    assert_eq!(expired, 1);
}

#[test]
fn a_stop_gives_everything_back_once() {
    let mut bench = Bench::leased();
    assert_eq!(bench.step(Event::StopAsked), ["revoke token"]);
    assert_eq!(bench.answer(Answer::RevokeGrant(Ok(()))), ["ended"]);
    assert!(bench.due().is_empty());
}

#[test]
fn a_stop_with_a_token_that_is_not_ours_revokes_the_leases_alone() {
    let mut bench = Bench::new(&["db"]);
    bench.due();
    bench.answer(Answer::LogIn(Ok(Grant { revocable: false, ..grant(TTL) })));
    bench.fetched("db", 1, lease("one"));
    assert_eq!(bench.step(Event::StopAsked), ["revoke one"]);
    assert_eq!(bench.answer(Answer::Revoke(LeaseId::new("one"), Ok(()))), ["ended"]);
}

#[test]
fn what_comes_back_during_a_stop_is_given_back_too() {
    let mut bench = Bench::new(&["db"]);
    bench.due();
    assert!(bench.step(Event::StopAsked).is_empty());
    assert_eq!(bench.answer(Answer::LogIn(Ok(grant(TTL)))), ["revoke token"]);
    assert_eq!(bench.answer(Answer::RevokeGrant(Err(unreachable()))), ["ended"]);
}

proptest! {
    /// Any answers in any order: time moves on, questions stay bounded, revisions grow.
    #[test]
    fn it_never_spins_and_revisions_grow(seed: u64, choices in prop::collection::vec(0_u8..12, 1..300)) {
        let mut bench = Bench::new(&["a", "b"]);
        bench.session.chance = fastrand::Rng::with_seed(seed);
        let mut open: Vec<Ask> = Vec::new();
        let mut revisions = std::collections::BTreeMap::new();
        let mut event = Event::Due;
        let mut count = 0;
        for choice in choices {
            for effect in bench.session.step(event, bench.now) {
                match effect {
                    Effect::Ask(ask) => open.push(ask),
                    Effect::Deliver(update) => {
                        let before = revisions.insert(update.secret, update.revision);
                        prop_assert!(before.is_none_or(|before| before < update.revision));
                    }
                    Effect::Lack(_) | Effect::Record(_) | Effect::Report(_) | Effect::Ended => {}
                }
            }
            prop_assert!(open.len() <= IN_FLIGHT);
            let deadline = bench.session.deadline();
            prop_assert!(deadline.is_none_or(|at| at > bench.now), "it would spin");
            event = if open.is_empty() || choice == 11 {
                bench.now = deadline.unwrap_or(bench.now + TTL);
                Event::Due
            } else {
                count += 1;
                let ask = open.remove(usize::from(choice) % open.len());
                Event::Answered { sent: bench.now, answer: any_answer(&ask, choice, count) }
            };
        }
    }
}

fn any_answer(ask: &Ask, choice: u8, count: u64) -> Answer {
    let fault = match choice {
        0 => Some(unreachable()),
        1 => Some(denied()),
        2 => Some(Fault::Dead),
        3 => Some(Fault::Gone { why: String::new() }),
        4 => Some(Fault::Failing { why: String::new() }),
        5 => Some(Fault::Malformed { why: String::new() }),
        8 => Some(Fault::Refused { why: String::new(), again_in: Some(Duration::ZERO) }),
        _ => None,
    };
    let life = GrantLife { ttl: Some(TTL), renewable: choice.is_multiple_of(2) };
    let result = fault.map_or(Ok(()), Err);
    match ask {
        Ask::LogIn => Answer::LogIn(result.map(|()| grant(TTL))),
        Ask::RenewGrant(serial, _) => Answer::RenewGrant(*serial, result.map(|()| life)),
        Ask::LookUpGrant(serial, _) => Answer::LookUpGrant(*serial, result.map(|()| life)),
        Ask::RevokeGrant(_) => Answer::RevokeGrant(result),
        Ask::Fetch(_, want) => {
            let life = if want.name.as_str() == "a" { lease(&format!("lease-{count}")) } else { versioned() };
            Answer::Fetch(want.name.clone(), result.map(|()| value(count, life)))
        }
        Ask::Renew(_, lease, ttl) => {
            let renewal = Renewal { ttl: *ttl, capped: choice == 7 };
            Answer::Renew(lease.clone(), result.map(|()| renewal))
        }
        Ask::LookUp(_, lease) => Answer::LookUp(lease.clone(), result.map(|()| TTL)),
        Ask::Revoke(_, lease) => Answer::Revoke(lease.clone(), result),
    }
}

#[test]
fn credentials_that_keep_being_lost_are_not_minted_in_a_loop() {
    let mut bench = Bench::leased();
    let start = bench.now;
    let mut minted = 1;
    while bench.now < start + Duration::from_mins(1) {
        let id = format!("lease-{minted}");
        if bench.step(Event::RefreshAsked(Vec::new())).is_empty() {
            bench.until("fetch db");
        }
        bench.fetched("db", minted, lease(&id));
        minted += 1;
    }
    assert!(minted <= 3 + 60 / 5, "{minted} in a minute");
}

#[test]
fn a_lease_that_was_asked_for_with_the_old_token_is_replaced_under_the_new_one() {
    let mut bench = Bench::new(&["db"]);
    bench.due();
    bench.answer(Answer::LogIn(Ok(Grant {
        life: GrantLife { ttl: Some(TTL), renewable: false },
        ..grant(TTL)
    })));
    bench.fetched("db", 1, Life::Expiring { lease: Some(LeaseId::new("one")), ttl: TTL * 2 / 3 });
    bench.until("fetch db");
    bench.until("log in");
    bench.answer(Answer::LogIn(Ok(grant(TTL))));
    // The answer to the question from before the login comes only now.
    assert_eq!(bench.fetched("db", 2, lease("two")), ["deliver db 2", "fetch db"]);
    assert_eq!(bench.fetched("db", 3, lease("three")), ["deliver db 3"]);
    bench.until("renew three by 60");
}

/// A session that looks up its token and leases every 20 seconds.
fn looking() -> Bench {
    let mut bench = Bench::new(&["db"]);
    bench.session.look_up_every = Duration::from_secs(20);
    bench.due();
    bench.answer(Answer::LogIn(Ok(grant(TTL * 100))));
    bench.fetched("db", 1, Life::Renewable { lease: LeaseId::new("one"), ttl: TTL * 100 });
    bench
}

#[test]
fn a_lease_that_an_operator_revoked_is_noticed_by_looking_it_up() {
    let mut bench = looking();
    assert!(bench.until("look up one") <= Duration::from_secs(20));
    assert!(bench.answer(Answer::LookUp(LeaseId::new("one"), Ok(TTL * 99))).is_empty());
    assert!(bench.until("look up one") <= Duration::from_secs(20));
    let gone = Fault::Gone { why: "invalid lease".to_owned() };
    assert_eq!(bench.answer(Answer::LookUp(LeaseId::new("one"), Err(gone))), ["db lost", "fetch db"]);
}

#[test]
fn a_token_that_an_operator_revoked_is_noticed_by_looking_it_up() {
    let mut bench = looking();
    let serial = bench.session.serial;
    let lives = || Ok(GrantLife { ttl: Some(TTL), renewable: true });
    assert!(bench.until("look up token") <= Duration::from_secs(20));
    assert!(bench.answer(Answer::LookUpGrant(serial, lives())).is_empty());
    assert!(bench.until("look up token") <= Duration::from_secs(20));
    let said = bench.answer(Answer::LookUpGrant(serial, Err(Fault::Dead)));
    assert_eq!(said, ["token dead", "db expired", "log in"], "what was leased with it is dead too");
    assert_eq!(bench.answer(Answer::LogIn(Ok(grant(TTL)))), ["fetch db"]);
}

#[test]
fn with_counted_uses_nothing_is_looked_up_and_a_successor_comes_before_the_last_use() {
    let mut bench = Bench::new(&["db"]);
    bench.session.look_up_every = Duration::from_secs(20);
    bench.due();
    let counted = || Answer::LogIn(Ok(Grant { uses: Some(2), ..grant(TTL * 100) }));
    assert_eq!(bench.answer(counted()), ["fetch db"]);
    // A lease would die with the last use of its token.
    let lives_long = Life::Renewable { lease: LeaseId::new("one"), ttl: TTL * 100 };
    assert_eq!(bench.fetched("db", 1, lives_long), ["deliver db 1", "log in"]);
    assert_eq!(bench.answer(counted()), ["fetch db"]);
}

/// What an earlier run left: a token, and a lease of `db` for each of these ids.
fn left_behind(leases: &[&str]) -> Holdings {
    let holding = |id: &&str| {
        let (fetched, digest) = value(7, lease(id));
        let entry = Entry {
            secret: SecretName::new("db"),
            lease: LeaseId::new(*id),
            fields: fetched.fields,
            meta: Meta::of([("arrived", "then".into())]),
            first_ttl: TTL,
            renewable: true,
            want: Fingerprint::of(&want("db")),
            given_up: false,
        };
        Holding { entry, digest }
    };
    Holdings { grant: grant(TTL * 100), leases: leases.iter().map(holding).collect() }
}

fn adopting(holdings: Holdings) -> Bench {
    let mut bench = Bench::new(&["db", "kv"]);
    bench.session.adopt = Some(holdings);
    assert_eq!(bench.due(), ["look up token"]);
    bench
}

fn token_lives() -> Answer {
    Answer::LookUpGrant(Serial::default(), Ok(GrantLife { ttl: Some(TTL * 50), renewable: true }))
}

#[test]
fn what_an_earlier_run_held_is_verified_and_adopted_without_a_login_or_a_mint() {
    let mut bench = adopting(left_behind(&["one"]));
    assert_eq!(bench.answer(token_lives()), ["fetch kv", "look up one"]);
    assert_eq!(bench.answer(Answer::LookUp(LeaseId::new("one"), Ok(TTL / 2))), ["deliver db 1"]);
    bench.fetched("kv", 1, versioned());
    assert!(bench.until("renew one by 60") <= TTL / 3);
}

#[test]
fn what_is_known_of_a_lease_comes_from_the_ledger_and_of_an_older_page_only_what_the_lease_tells() {
    let known = |meta: Meta| {
        let mut holdings = left_behind(&["one"]);
        holdings.leases[0].entry.meta = meta;
        let mut bench = adopting(holdings);
        bench.answer(token_lives());
        let answer = Answer::LookUp(LeaseId::new("one"), Ok(TTL / 2));
        let event = Event::Answered { sent: bench.now, answer };
        let effects = bench.session.step(event, bench.now);
        let delivered = effects.into_iter().filter_map(|effect| {
            if let Effect::Deliver(update) = effect { Some(json!(update.meta.expose())) } else { None }
        });
        delivered.last().unwrap()
    };
    let of_lease = json!({"lease_id": "one", "lease_duration": TTL.as_secs(), "renewable": true});
    assert_eq!(known(Meta::default()), of_lease);
    let mut with_arrival = of_lease;
    with_arrival["arrived"] = json!("then");
    assert_eq!(known(Meta::of([("arrived", "then".into())])), with_arrival);
}

/// Its revocation may have been on the way, or the server away.
#[test]
fn a_lease_that_was_given_up_is_written_down_as_such_and_revoked_by_the_next_run() {
    let mut bench = Bench::leased();
    bench.step(Event::RefreshAsked(Vec::new()));
    bench.fetched("db", 2, lease("two"));
    let below = bench.session.secrets[&SecretName::new("db")].revision;
    let effects = bench.session.step(Event::Released(SecretName::new("db"), below), bench.now);
    let Some(Effect::Record(holdings)) = effects.first() else { panic!("{effects:?}") };
    let given_up = |holding: &Holding| (holding.entry.lease.as_str().to_owned(), holding.entry.given_up);
    let written: Vec<_> = holdings.leases.iter().map(given_up).collect();
    assert_eq!(written, [("one".to_owned(), true), ("two".to_owned(), false)]);
    // Also where it is the newer one: nobody could work with it.
    for (one, two) in [(true, false), (false, true)] {
        let mut left = left_behind(&["one", "two"]);
        (left.leases[0].entry.given_up, left.leases[1].entry.given_up) = (one, two);
        let mut bench = adopting(left);
        let (adopted, revoked) = if one { ("two", "one") } else { ("one", "two") };
        let mut asked = bench.answer(token_lives());
        asked.sort();
        assert_eq!(asked, ["fetch kv".to_owned(), format!("look up {adopted}"), format!("revoke {revoked}")]);
    }
}

#[test]
fn a_server_that_fails_for_a_moment_costs_no_token() {
    let failing = || Answer::LookUpGrant(Serial::default(), Err(Fault::Failing { why: "500".to_owned() }));
    let mut bench = adopting(left_behind(&["one"]));
    assert!(bench.answer(failing()).is_empty());
    bench.until("look up token");
    assert_eq!(bench.answer(token_lives()), ["fetch kv", "look up one"]);
    let mut bench = adopting(left_behind(&["one"]));
    for _ in 1..lease::FIRST_TRIES {
        assert!(bench.answer(failing()).is_empty());
        bench.until("look up token");
    }
    assert_eq!(bench.answer(failing()), ["log in"], "it is not asked for ever");
}

/// However long an outage was, what the server refuses when it is back is its first failure.
#[test]
fn an_outage_makes_nothing_wait_longer_when_it_is_over() {
    const OUTAGE: u32 = 8;
    let failing = || Fault::Failing { why: "500".to_owned() };
    let first = Duration::from_secs(1);
    let mut bench = Bench::new(&["a"]);
    bench.due();
    for _ in 0..OUTAGE {
        drop(bench.answer(Answer::LogIn(Err(unreachable()))));
        bench.until("log in");
    }
    drop(bench.answer(Answer::LogIn(Err(failing()))));
    assert!(bench.until("log in") <= first);

    let mut bench = Bench::proven(&["a"]);
    for _ in 0..OUTAGE {
        drop(bench.failed("a", unreachable()));
        bench.until("fetch a");
    }
    drop(bench.failed("a", denied()));
    assert!(bench.until("fetch a") <= first, "a standby may answer wrongly for a moment");

    let mut bench = adopting(left_behind(&["one"]));
    for _ in 0..OUTAGE {
        drop(bench.answer(Answer::LookUpGrant(Serial::default(), Err(unreachable()))));
        bench.until("look up token");
    }
    drop(bench.answer(Answer::LookUpGrant(Serial::default(), Err(failing()))));
    assert!(bench.until("look up token") <= first, "the token of the earlier run is not given up");
}

/// The earlier run may have known that it can be renewed no further.
#[test]
fn a_lease_of_an_earlier_run_that_is_past_its_half_is_renewed_at_once() {
    let mut bench = adopting(left_behind(&["one"]));
    bench.answer(token_lives());
    assert_eq!(bench.answer(Answer::LookUp(LeaseId::new("one"), Ok(TTL / 3))), ["deliver db 1"]);
    bench.fetched("kv", 1, versioned());
    assert!(bench.until("renew one by 60") < Duration::from_secs(1));
}

#[test]
fn a_lease_of_an_earlier_run_that_is_about_to_end_starts_nobody() {
    let mut bench = adopting(left_behind(&["one"]));
    bench.answer(token_lives());
    assert_eq!(bench.answer(Answer::LookUp(LeaseId::new("one"), Ok(TTL / 6))), ["fetch db"]);
    assert_eq!(bench.fetched("db", 1, lease("two")), ["deliver db 2"]);
    let below = bench.session.secrets[&SecretName::new("db")].revision;
    assert_eq!(bench.step(Event::Released(SecretName::new("db"), below)), ["revoke one"]);
}

#[test]
fn a_token_of_an_earlier_run_that_is_about_to_end_is_succeeded_before_anything_is_leased() {
    let lives = GrantLife { ttl: Some(TTL / 10), renewable: true };
    let ends_soon = || Answer::LookUpGrant(Serial::default(), Ok(lives));
    let looked_up = || Answer::LookUp(LeaseId::new("one"), Ok(TTL));
    let mut bench = adopting(left_behind(&["one"]));
    assert_eq!(bench.answer(ends_soon()), ["log in", "look up one"]);
    assert!(bench.answer(looked_up()).is_empty(), "it ends with its token");
    assert_eq!(bench.answer(Answer::LogIn(Ok(grant(TTL * 100)))), ["fetch db", "fetch kv"]);
    // Where there is no successor, what there is has to do.
    let mut bench = adopting(left_behind(&["one"]));
    bench.answer(ends_soon());
    bench.answer(looked_up());
    assert_eq!(bench.answer(Answer::LogIn(Err(unreachable()))), ["login failed", "fetch db", "fetch kv"]);
}

#[test]
fn a_token_of_an_earlier_run_that_is_dead_leads_to_a_login() {
    let mut bench = adopting(left_behind(&["one"]));
    let said = bench.answer(Answer::LookUpGrant(Serial::default(), Err(Fault::Dead)));
    assert_eq!(said, ["log in"]);
    assert_eq!(bench.answer(Answer::LogIn(Ok(grant(TTL)))), ["fetch db", "fetch kv"]);
}

#[test]
fn an_outage_at_the_restart_loses_nothing() {
    let mut bench = adopting(left_behind(&["one"]));
    assert!(bench.answer(Answer::LookUpGrant(Serial::default(), Err(unreachable()))).is_empty());
    bench.until("look up token");
    assert_eq!(bench.answer(token_lives()), ["fetch kv", "look up one"]);
    assert!(bench.answer(Answer::LookUp(LeaseId::new("one"), Err(unreachable()))).is_empty());
    bench.until("look up one");
    assert_eq!(bench.answer(Answer::LookUp(LeaseId::new("one"), Ok(TTL / 2))), ["deliver db 1"]);
}

#[test]
fn a_lease_that_ended_meanwhile_is_replaced_and_one_that_nobody_wants_is_revoked() {
    let mut holdings = left_behind(&["one", "two"]);
    let another = Want { path: "path/of/another/configuration".to_owned(), ..want("db") };
    holdings.leases[1].entry.want = Fingerprint::of(&another);
    let mut bench = adopting(holdings);
    assert_eq!(bench.answer(token_lives()), ["fetch kv", "look up one", "revoke two"]);
    let gone = Fault::Gone { why: "ended".to_owned() };
    assert_eq!(bench.answer(Answer::LookUp(LeaseId::new("one"), Err(gone))), ["db lost", "fetch db"]);
}

#[test]
fn of_two_leases_of_one_secret_the_newer_is_adopted_and_the_older_given_up_in_its_time() {
    // The order is that of the ledger, and not that of the names.
    for names in [["one", "two"], ["two", "one"]] {
        let mut bench = adopting(left_behind(&names));
        let [older, newer] = names;
        assert_eq!(bench.answer(token_lives()), ["fetch kv", &format!("look up {newer}")]);
        assert_eq!(bench.answer(Answer::LookUp(LeaseId::new(newer), Ok(TTL / 2))), ["deliver db 2"]);
        assert_eq!(bench.session.holdings().unwrap().leases.len(), 2, "a second crash loses neither");
        // A rollout's commit, and its grace.
        let newest = Revision::default().next().next();
        let freed = bench.step(Event::Released(SecretName::new("db"), newest));
        assert_eq!(freed, [format!("revoke {older}")]);
        assert!(bench.answer(Answer::Revoke(LeaseId::new(older), Ok(()))).is_empty());
        assert_eq!(bench.session.leases.len(), 1);
    }
}

#[test]
fn a_lease_whose_look_up_is_overtaken_by_a_new_value_waits_for_its_end() {
    let mut bench = adopting(left_behind(&["one"]));
    drop(bench.answer(token_lives()));
    assert_eq!(bench.step(Event::RefreshAsked(vec![SecretName::new("db")])), ["fetch db"]);
    assert_eq!(bench.fetched("db", 2, lease("two")), ["deliver db 2"]);
    assert!(bench.answer(Answer::LookUp(LeaseId::new("one"), Ok(TTL / 2))).is_empty());
    let freed = bench.step(Event::Released(SecretName::new("db"), Revision::default().next().next()));
    assert_eq!(freed, ["revoke one"]);
}

#[test]
fn a_newer_lease_that_ended_meanwhile_leads_to_a_fetch_and_the_older_is_given_back_at_the_stop() {
    let mut bench = adopting(left_behind(&["one", "two"]));
    drop(bench.answer(token_lives()));
    let gone = Fault::Gone { why: "ended".to_owned() };
    assert_eq!(bench.answer(Answer::LookUp(LeaseId::new("two"), Err(gone))), ["db lost", "fetch db"]);
    assert_eq!(bench.session.leases.len(), 1);
    assert_eq!(bench.step(Event::StopAsked), ["revoke token"]);
}

#[test]
fn the_longest_life_that_a_server_can_tell_is_kept_and_not_reckoned_over() {
    let ttl = crate::source::LONGEST_LIFE;
    let mut bench = Bench::logged_in(&["db", "static"]);
    bench.fetched("db", 1, Life::Renewable { lease: LeaseId::new("one"), ttl });
    bench.fetched("static", 1, Life::Rotating { ttl });
    bench.answer(Answer::Renew(LeaseId::new("one"), Ok(Renewal { ttl, capped: false })));
    bench.answer(Answer::LookUp(LeaseId::new("one"), Ok(ttl)));
    bench.step(Event::Slept(TTL));
    assert!(bench.session.deadline().is_some());
}

#[test]
fn a_new_lease_is_recorded_before_it_is_delivered() {
    let mut bench = Bench::logged_in(&["db"]);
    let answer = Answer::Fetch(SecretName::new("db"), Ok(value(1, lease("one"))));
    let effects = bench.session.step(Event::Answered { sent: bench.now, answer }, bench.now);
    let Some(Effect::Record(holdings)) = effects.first() else {
        panic!("it begins with {:?}", effects.first())
    };
    let names: Vec<_> = holdings.leases.iter().map(|holding| holding.entry.lease.as_str()).collect();
    assert_eq!(names, ["one"]);
}

#[test]
fn after_a_suspension_everything_due_is_done_at_once_and_nothing_twice() {
    let mut bench = Bench::logged_in(&["db", "kv"]);
    bench.fetched("db", 1, lease("one"));
    bench.fetched("kv", 1, versioned());
    let mut said = bench.step(Event::Slept(Duration::from_hours(1)));
    said.retain(|word| !word.starts_with("look up"));
    assert_eq!(said, ["db expired", "fetch db", "fetch kv"]);
    assert_eq!(bench.fetched("db", 2, lease("two")), ["deliver db 2"]);
    assert!(bench.fetched("kv", 1, versioned()).is_empty());
    assert!(bench.due().is_empty());
}

/// The server made it before the machine slept.
#[test]
fn what_was_asked_for_before_a_suspension_lives_as_much_shorter() {
    for (slept, expected) in [(TTL / 2, TTL / 2), (Duration::from_secs(57), Duration::from_secs(3))] {
        let mut bench = Bench::logged_in(&["db"]);
        let sent = bench.now;
        bench.now += Duration::from_millis(10);
        bench.step(Event::Slept(slept));
        bench.now += Duration::from_millis(10);
        let answer = Answer::Fetch(SecretName::new("db"), Ok(value(1, lease("one"))));
        assert_eq!(bench.step(Event::Answered { sent, answer }), ["deliver db 1"]);
        assert!(bench.until("renew one by 60") < expected);
        // What is asked for afterwards lives from then on.
        let renewal = Renewal { ttl: TTL, capped: false };
        bench.answer(Answer::Renew(LeaseId::new("one"), Ok(renewal)));
        assert!(bench.until("renew one by 60") > TTL / 2);
    }
}

#[test]
fn what_a_suspension_ended_is_made_anew_as_often_as_the_servers_clock_allows() {
    let mut bench = Bench::logged_in(&["db"]);
    bench.fetched("db", 1, lease("one"));
    for _ in 0..10 {
        let said = bench.step(Event::Slept(TTL * 200));
        assert!(said.contains(&"log in".to_owned()), "{said:?}");
        assert_eq!(bench.answer(Answer::LogIn(Ok(grant(TTL * 100)))), ["fetch db"]);
        assert_eq!(bench.fetched("db", 2, lease("two")).len(), 1);
    }
}

#[test]
fn the_same_token_again_is_no_successor() {
    let mut bench = Bench::new(&["db"]);
    bench.due();
    let short = Grant { life: GrantLife { ttl: Some(TTL), renewable: false }, ..grant(TTL) };
    bench.answer(Answer::LogIn(Ok(short.clone())));
    bench.fetched("db", 1, Life::Renewable { lease: LeaseId::new("one"), ttl: TTL * 100 });
    bench.until("log in");
    let again = Grant { life: GrantLife { ttl: Some(TTL / 3), renewable: false }, ..short };
    assert!(bench.answer(Answer::LogIn(Ok(again))).is_empty(), "the lease stays");
    assert!(bench.until("log in") <= TTL / 3);
    assert_eq!(bench.answer(Answer::LogIn(Ok(grant(TTL)))), ["fetch db"]);
}

#[test]
fn a_token_that_is_dead_on_arrival_makes_no_storm_of_logins() {
    let mut bench = Bench::new(&["db"]);
    bench.due();
    let start = bench.now;
    for _ in 0..8 {
        if !bench.answer(Answer::LogIn(Ok(grant(Duration::ZERO)))).contains(&"log in".to_owned()) {
            bench.until("log in");
        }
    }
    assert!(bench.now - start > Duration::from_mins(10), "eight logins in {:?}", bench.now - start);
}

#[test]
fn a_token_that_dies_before_its_first_look_up_is_known_by_what_it_could_read() {
    let mut bench = Bench::logged_in(&["db"]);
    let serial = bench.session.serial;
    bench.fetched("db", 1, versioned());
    bench.step(Event::RefreshAsked(Vec::new()));
    assert_eq!(bench.failed("db", denied()), ["db not fetched", "look up token"]);
    assert_eq!(bench.answer(Answer::LookUpGrant(serial, Err(Fault::Dead))), ["token dead", "log in"]);
}

#[test]
fn a_lease_without_any_life_is_not_minted_in_a_loop() {
    let mut bench = Bench::logged_in(&["db"]);
    let start = bench.now;
    for number in 0..10 {
        let life = Life::Renewable { lease: LeaseId::new(format!("lease-{number}")), ttl: Duration::ZERO };
        if !bench.fetched("db", number, life).contains(&"fetch db".to_owned()) {
            bench.until("fetch db");
        }
    }
    assert!(bench.now - start >= Duration::from_secs(5 * (10 - 3)), "{:?}", bench.now - start);
}

/// The configuration changed, for the second time: numbers of new values are those of edition 2.
impl Bench {
    fn wanted(&mut self, wants: Vec<Want>) -> Vec<String> {
        let edition = crate::names::Edition::default().next().next();
        self.step(Event::Wanted { wants, edition })
    }
}

/// The first of edition 2.
const FIRST: &str = "2.1";

fn at(name: &str, path: &str) -> Want {
    Want { path: path.to_owned(), ..want(name) }
}

#[test]
fn what_stays_is_not_asked_for_and_what_is_new_is() {
    let mut bench = Bench::leased();
    assert_eq!(bench.wanted(vec![want("db"), want("web")]), ["fetch web"]);
    assert_eq!(bench.fetched("web", 1, versioned()), [format!("deliver web {FIRST}")]);
    assert!(bench.wanted(vec![want("db"), want("web")]).is_empty());
    let often = Want { refresh: Duration::from_secs(1), ..want("web") };
    assert!(bench.wanted(vec![want("db"), often]).is_empty());
    let slept = bench.until("fetch web");
    assert!(slept <= Duration::from_secs(1), "{slept:?}");
}

#[test]
fn what_is_no_longer_wanted_keeps_its_lease_until_nobody_uses_it() {
    let mut bench = Bench::leased();
    assert!(bench.wanted(Vec::new()).is_empty());
    bench.until("renew one by 60");
    bench.answer(Answer::Renew(LeaseId::new("one"), Ok(Renewal { ttl: TTL, capped: false })));
    bench.until("renew one by 60");
    bench.answer(Answer::Renew(LeaseId::new("one"), Ok(Renewal { ttl: TTL, capped: false })));
    let edition = crate::names::Edition::default().next().next();
    let below = Revision::before(edition);
    assert_eq!(bench.step(Event::Released(SecretName::new("db"), below)), ["revoke one"]);
    bench.answer(Answer::Revoke(LeaseId::new("one"), Ok(())));
    assert!(bench.session.leases.is_empty() && bench.session.secrets.is_empty());
}

#[test]
fn the_answer_about_a_secret_that_nobody_wants_any_more_is_given_back() {
    let mut bench = Bench::logged_in(&["db", "web"]);
    bench.fetched("web", 1, versioned());
    assert!(bench.wanted(vec![want("web")]).is_empty(), "the question about db is out");
    assert_eq!(bench.fetched("db", 1, lease("one")), ["revoke one"], "nothing is delivered");
    bench.answer(Answer::Revoke(LeaseId::new("one"), Ok(())));
    assert!(bench.session.leases.is_empty());
    assert_eq!(bench.session.secrets.len(), 1);
}

#[test]
fn a_question_that_fails_for_a_secret_that_nobody_wants_any_more_is_not_put_again() {
    let mut bench = Bench::logged_in(&["db"]);
    bench.wanted(Vec::new());
    assert!(bench.failed("db", unreachable()).is_empty());
    assert!(bench.session.secrets.is_empty());
}

#[test]
fn another_path_is_asked_for_when_the_question_for_the_former_one_is_answered() {
    let mut bench = Bench::logged_in(&["db"]);
    assert!(bench.wanted(vec![at("db", "another")]).is_empty(), "one question at a time");
    assert_eq!(bench.fetched("db", 1, lease("one")), ["fetch db", "revoke one"]);
    assert_eq!(bench.fetched("db", 2, lease("two")), [format!("deliver db {FIRST}")]);
    bench.answer(Answer::Revoke(LeaseId::new("one"), Ok(())));
    // The lease of what was asked for before is freed like that of any older value.
    let mut bench = Bench::leased();
    assert_eq!(bench.wanted(vec![at("db", "another")]), ["fetch db"]);
    assert_eq!(bench.fetched("db", 2, lease("two")), [format!("deliver db {FIRST}")]);
    let newest = bench.session.secrets["db"].revision;
    assert_eq!(bench.step(Event::Released(SecretName::new("db"), newest)), ["revoke one"]);
}

#[test]
fn whoever_takes_a_secret_out_and_in_again_makes_no_more_credentials_than_anybody() {
    let mut bench = Bench::leased();
    let mut made = 0;
    for number in 0..100 {
        bench.wanted(Vec::new());
        if bench.wanted(vec![want("db")]) == ["fetch db"] {
            made += 1;
            bench.fetched("db", number, lease(&format!("lease-{number}")));
        }
        bench.now += Duration::from_millis(100);
        bench.due();
    }
    assert!(made <= 6, "{made} in ten seconds");
}
