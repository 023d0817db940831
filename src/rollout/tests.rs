use nix::sys::signal::Signal;

use super::*;
use crate::config::{Act, Place, ProbeConfig, ProbeKind, Proof, Reaction, UnitReaction};
use crate::credential::RenderedCredential;
use crate::plan::Terms;
use crate::secret::{DigestKey, Secret};

const GRACE: Duration = Duration::from_secs(30);
const PERIOD: Duration = Duration::from_secs(1);
const TIMEOUT: Duration = Duration::from_secs(5);

fn command(program: &str) -> RunCommand {
    RunCommand { command: vec![program.to_owned()], timeout: Duration::from_secs(1) }
}

fn run(program: &str) -> Reaction {
    Reaction::Act(Action { act: Act::Run(command(program)), is_required: false })
}

fn rules(has_process: bool) -> Rules {
    let files = [
        ("restart", Reaction::Restart),
        ("hup", Reaction::Signal(Signal::SIGHUP)),
        ("usr1", Reaction::Signal(Signal::SIGUSR1)),
        ("run", run("reload")),
        ("run-too", run("reload")),
        ("run-other", run("notify")),
        ("quiet", Reaction::Nothing),
    ];
    let files = files.map(|(path, reaction)| (PathBuf::from(path), reaction)).into();
    Rules {
        files,
        env: Reaction::Restart,
        units: BTreeSet::new(),
        has_process,
        grace: GRACE,
        checks: Vec::new(),
        proof: Proof::ShortLife,
        overlaps: false,
    }
}

fn probe(kind: ProbeKind) -> ProbeConfig {
    let place = Place { file: "squire.toml".into(), line: 1, key: "rollout.probe".to_owned() };
    ProbeConfig {
        kind,
        period: PERIOD,
        timeout: TIMEOUT,
        attempt_timeout: PERIOD,
        successes: 1,
        failures: None,
        place,
    }
}

fn revision(number: u64) -> Revision {
    (0..number).fold(Revision::default(), |revision, _| revision.next())
}

fn release(number: u64, env: &str) -> Release {
    Release {
        generation: Generation::from_number(number).unwrap(),
        files: Vec::new(),
        env: BTreeMap::new(),
        env_digest: DigestKey::new([0; 32]).digest(env.as_bytes()),
        webhook_key: None,
        credentials: Vec::new(),
        revisions: [(SecretName::new("db"), revision(number))].into(),
        former_ends: BTreeMap::new(),
    }
}

/// The effects as words, without the reports.
fn words(effects: &[Effect]) -> Vec<String> {
    let word = |effect: &Effect| {
        Some(match effect {
            Effect::Stage(release) => format!("stage {}", release.generation),
            Effect::Check { command, .. } => format!("check {}", command.command[0]),
            Effect::Rehearse(release) => format!("rehearse {}", release.generation),
            Effect::Discard => "discard".to_owned(),
            Effect::Publish => "publish".to_owned(),
            Effect::Restore(release) => format!("restore {}", release.generation),
            Effect::Start(release) => format!("start {}", release.generation),
            Effect::Restart(release) => format!("restart {}", release.generation),
            Effect::Signal(signals) => format!("signal {signals:?}"),
            Effect::Act(_, action) => match &action.act {
                Act::Run(command) => format!("run {}", command.command[0]),
                Act::SignalTo(to) => format!("{} to {:?}", to.signal, to.target),
                Act::Call(call) => format!("{} {}", call.method, call.url),
                Act::Units(reaction) => format!("units {reaction:?}"),
            },
            Effect::Try(attempt) => format!("try {attempt}"),
            Effect::OnTrial(on_trial) => format!("trial {on_trial}"),
            Effect::HandOver => "hand over".to_owned(),
            Effect::Committed(generation) => format!("committed {generation}"),
            Effect::TakenBack(generation) => format!("taken back {generation}"),
            Effect::Forced(generation) => format!("forced {generation}"),
            Effect::Dropped(generation) => format!("dropped {generation}"),
            Effect::Retire(generation) => format!("retire {generation}"),
            Effect::Free(secret, below) => format!("free {secret} below {below}"),
            Effect::Report(_) => return None,
        })
    };
    effects.iter().filter_map(word).collect()
}

/// A rollout, and the present time.
struct Bench {
    rollout: Rollout,
    now: Instant,
    /// The number of actions that were answered.
    acted: u64,
}

impl Bench {
    fn new(rules: Rules) -> Self {
        let now = Instant::now();
        Self { rollout: Rollout::new(rules, &BTreeSet::new(), now), now, acted: 0 }
    }

    /// Its first release is live.
    fn started(rules: Rules) -> Self {
        let mut bench = Self::new(rules);
        assert_eq!(bench.rendered(1, ""), ["stage 1"]);
        assert_eq!(bench.staged(true).last().unwrap(), "publish");
        assert!(bench.published(&["restart", "hup", "run"]).contains(&"start 1".to_owned()));
        drop(bench.step(Event::ProcessSettled));
        drop(bench.tried(1, true));
        if bench.rollout.live().is_none() {
            assert!(bench.sleep() <= TIMEOUT);
            drop(bench.step(Event::Due));
        }
        assert_eq!(bench.rollout.live().unwrap().generation.number(), 1);
        bench.now += GRACE;
        // A lease that was fetched before the first commit and replaced by then is freed too.
        assert_eq!(bench.step(Event::Due), ["free db below 1"]);
        bench
    }

    /// The second release is published.
    fn second(rules: Rules, env: &str, changed: &[&str]) -> (Self, Vec<String>) {
        let mut bench = Self::started(rules);
        assert_eq!(bench.rendered(2, env), ["stage 2"]);
        assert_eq!(bench.staged(!changed.is_empty()), ["publish"]);
        let said = bench.published(changed);
        (bench, said)
    }

    /// The second release is published, after a first one whose process said that it is ready.
    fn second_after(rules: Rules, env: &str, changed: &[&str]) -> (Self, Vec<String>) {
        let mut bench = Self::new(rules);
        drop(bench.rendered(1, ""));
        drop(bench.staged(true));
        drop(bench.published(&["restart"]));
        drop(bench.step(Event::ProcessSettled));
        assert_eq!(bench.step(Event::ProcessReady), ["trial false", "committed 1"]);
        drop(bench.rendered(2, env));
        drop(bench.staged(true));
        let said = bench.published(changed);
        (bench, said)
    }

    fn step(&mut self, event: Event) -> Vec<String> {
        words(&self.rollout.step(event, self.now))
    }

    fn rendered(&mut self, number: u64, env: &str) -> Vec<String> {
        self.step(Event::Rendered(release(number, env)))
    }

    /// It is staged, and a process could be started with it.
    fn staged(&mut self, changes: bool) -> Vec<String> {
        let said = self.step(Event::Staged { directory: None, changes });
        match said.as_slice() {
            [rehearse] if rehearse.starts_with("rehearse ") => self.step(Event::Rehearsed(Ok(()))),
            _ => said,
        }
    }

    fn acted(&mut self, well: bool) -> Vec<String> {
        self.acted += 1;
        self.step(Event::Acted(self.acted, if well { Ok(()) } else { Err("not found".to_owned()) }))
    }

    fn down(&mut self, is_clean: bool) -> Vec<String> {
        self.step(Event::ProcessDown { why: "the process ended".to_owned(), is_clean })
    }

    fn published(&mut self, changed: &[&str]) -> Vec<String> {
        let changed = changed.iter().map(PathBuf::from).collect();
        self.step(Event::Published { changed, superseded: None })
    }

    fn tried(&mut self, attempt: u64, well: bool) -> Vec<String> {
        self.step(Event::Tried(attempt, if well { Ok(()) } else { Err("status 503".to_owned()) }))
    }

    /// Moves the time to the deadline.
    fn sleep(&mut self) -> Duration {
        let deadline = self.rollout.deadline().expect("something is planned");
        let slept = deadline.saturating_duration_since(self.now);
        assert!(!slept.is_zero(), "the rollout would spin");
        self.now = deadline;
        slept
    }
}

fn with_probe(kind: ProbeKind) -> Rules {
    Rules { proof: Proof::Probe(probe(kind)), ..rules(true) }
}

fn http() -> ProbeKind {
    ProbeKind::Tcp("127.0.0.1:1".to_owned())
}

#[test]
fn what_changed_decides_what_reacts() {
    let cases: [(&[&str], &str, &[&str]); 8] = [
        (&[], "", &["committed 2"]),
        (&["quiet"], "", &["committed 2"]),
        (&["hup"], "", &["signal {SIGHUP}"]),
        (&["hup", "usr1"], "", &["signal {SIGHUP, SIGUSR1}"]),
        (&["hup", "restart"], "", &["trial true", "restart 2"]),
        (&["hup"], "new", &["trial true", "restart 2"]),
        (&[], "new", &["trial true", "restart 2"]),
        (&["run", "run-too", "run-other"], "", &["run reload", "run notify"]),
    ];
    for (changed, env, expected) in cases {
        let (_, said) = Bench::second(rules(true), env, changed);
        assert_eq!(said, expected, "{changed:?} {env}");
    }
}

#[test]
fn commands_come_after_the_process_and_the_commit_after_all_of_them() {
    let (mut bench, said) = Bench::second(rules(true), "", &["hup", "run", "run-other"]);
    assert_eq!(said, ["signal {SIGHUP}"]);
    assert_eq!(bench.step(Event::ProcessSettled), ["run reload", "run notify"]);
    assert!(bench.acted(true).is_empty());
    assert_eq!(bench.acted(true), ["committed 2"]);
}

#[test]
fn signals_to_others_come_first_and_each_target_has_one() {
    use crate::config::{HttpCall, SignalTarget, SignalTo};
    let mut rules = rules(true);
    let url = "http://127.0.0.1/reload".to_owned();
    let call = HttpCall { method: "POST".to_owned(), url, timeout: PERIOD };
    let target = SignalTarget::Process("nginx".to_owned());
    let act = |act| Reaction::Act(Action { act, is_required: false });
    let to = act(Act::SignalTo(SignalTo { signal: Signal::SIGHUP, target }));
    let files =
        [("a", act(Act::Call(call.clone()))), ("b", act(Act::Call(call))), ("c", to.clone()), ("d", to)];
    rules.files.extend(files.map(|(path, reaction)| (PathBuf::from(path), reaction)));
    let (mut bench, said) = Bench::second(rules, "", &["a", "b", "c", "d", "hup"]);
    assert_eq!(said, ["signal {SIGHUP}"]);
    let acts = bench.step(Event::ProcessSettled);
    assert_eq!(acts, ["SIGHUP to Process(\"nginx\")", "POST http://127.0.0.1/reload"]);
    assert!(bench.acted(true).is_empty());
    assert_eq!(bench.acted(true), ["committed 2"]);
}

fn with_credential(number: u64, value: &str) -> Release {
    let terms = Terms {
        name: "db".to_owned(),
        units: vec!["shop.service".to_owned()],
        on_change: UnitReaction::Restart,
        secrets: Vec::new(),
    };
    let (contents, digest) =
        (Secret::new(value.as_bytes()), DigestKey::new([0; 32]).digest(value.as_bytes()));
    let credentials = vec![RenderedCredential { terms: Arc::new(terms), contents, digest }];
    Release { credentials, ..release(number, "") }
}

/// Units may hold what an earlier run gave them, so they are asked about the first release, too; on the way back they are asked again.
#[test]
fn units_are_asked_when_a_credential_changes_and_for_nothing_else() {
    let units = [UnitReaction::Restart, UnitReaction::Reload].into();
    let mut bench = Bench::new(Rules { units, ..rules(false) });
    let asked = ["units Restart", "units Reload"];
    assert_eq!(bench.step(Event::Rendered(with_credential(1, "one"))), ["stage 1"]);
    assert_eq!(bench.staged(false), ["publish"]);
    assert_eq!(bench.published(&[]), asked);
    assert!(bench.acted(true).is_empty());
    assert_eq!(bench.acted(false), ["committed 1"], "a unit that cannot be told holds up nothing");

    assert_eq!(bench.step(Event::Rendered(with_credential(2, "one"))).last().unwrap(), "stage 2");
    assert_eq!(bench.staged(false), ["publish"]);
    assert_eq!(bench.published(&[]), ["committed 2"]);

    assert_eq!(bench.step(Event::Rendered(with_credential(3, "two"))).last().unwrap(), "stage 3");
    assert_eq!(bench.staged(false), ["publish"]);
    assert_eq!(bench.published(&[]), asked);
}

/// They were restarted with what is taken back.
#[test]
fn on_the_way_back_units_are_asked_again() {
    let units = [UnitReaction::Restart].into();
    let probed = with_probe(ProbeKind::Tcp("127.0.0.1:1".to_owned()));
    let mut bench = Bench::new(Rules { units, has_process: false, ..probed });
    for (number, value) in [(1, "one"), (2, "two")] {
        drop(bench.step(Event::Rendered(with_credential(number, value))));
        assert_eq!(bench.staged(false), ["publish"]);
        assert_eq!(bench.published(&[]), ["units Restart"]);
        if number == 1 {
            assert_eq!(bench.acted(true), ["try 1"]);
            assert_eq!(bench.tried(1, true), ["committed 1"]);
        }
    }
    let mut said = bench.acted(true);
    for _ in 0..100 {
        said = match said.first().and_then(|word| word.strip_prefix("try ")) {
            Some(attempt) => bench.tried(attempt.parse().unwrap(), false),
            None if said.is_empty() => {
                bench.sleep();
                bench.step(Event::Due)
            }
            None => break,
        };
    }
    assert_eq!(said, ["restore 1"]);
    assert_eq!(bench.published(&[]), ["units Restart"]);
    assert_eq!(bench.acted(true), ["taken back 2"]);
}

/// A hold is an operator's order: nothing begins in it, however soon a value ends, and nothing spins.
#[test]
fn on_hold_nothing_begins_but_what_an_operator_wants() {
    let mut bench = Bench::started(rules(true));
    assert!(bench.step(Event::HoldAsked(true)).is_empty());
    let mut dying = release(2, "");
    dying.former_ends = [(SecretName::new("db"), bench.now + PERIOD)].into();
    assert!(bench.step(Event::Rendered(dying)).is_empty());
    assert_eq!(bench.rollout.deadline(), None);
    bench.now += PERIOD * 2;
    assert!(bench.step(Event::Due).is_empty());
    assert_eq!(bench.step(Event::HoldAsked(false)), ["stage 2"]);

    let mut bench = Bench::started(rules(true));
    drop(bench.step(Event::HoldAsked(true)));
    assert!(bench.rendered(2, "").is_empty());
    assert_eq!(bench.step(Event::RollbackAsked(BTreeSet::new())), ["dropped 2"]);
    assert_eq!(bench.rendered(3, ""), ["stage 3"], "a way back is no rollout that was to wait");
}

/// A way back that does not render is over: what comes next waits again.
#[test]
fn a_wish_that_does_not_render_frees_nothing_else_from_a_hold() {
    let mut bench = Bench::started(rules(true));
    drop(bench.step(Event::HoldAsked(true)));
    drop(bench.step(Event::RollbackAsked(BTreeSet::new())));
    assert!(bench.step(Event::NotRendered).is_empty());
    assert!(bench.rendered(3, "").is_empty());
}

#[test]
fn the_first_release_waits_for_no_hold() {
    let mut bench = Bench::new(rules(true));
    drop(bench.step(Event::HoldAsked(true)));
    assert_eq!(bench.rendered(1, ""), ["stage 1"]);
}

/// What a secret had before is not freed while somebody goes back to it.
#[test]
fn a_way_back_keeps_the_leases_of_before() {
    let (mut bench, _) = Bench::second(rules(true), "", &[]);
    let former = BTreeMap::from([(SecretName::new("db"), Former { ends: None, is_leased: true })]);
    assert_eq!(bench.rollout.dead(&former, bench.now), None, "committed, within its grace");
    drop(bench.step(Event::RollbackAsked([SecretName::new("db")].into())));
    assert!(bench.rollout.dead(&former, bench.now).is_some(), "it is no longer the one before");
    bench.now += GRACE;
    assert!(bench.step(Event::Due).iter().all(|said| !said.starts_with("free")));
}

#[test]
fn outside_its_window_a_rollout_waits_unless_something_ends() {
    let mut bench = Bench::new(rules(true));
    assert!(bench.step(Event::Window(false)).is_empty());
    assert_eq!(bench.rendered(1, ""), ["stage 1"], "the first one waits for nothing");
    let mut bench = Bench::started(rules(true));
    assert!(bench.step(Event::Window(false)).is_empty());
    assert!(bench.rendered(2, "").is_empty());
    assert_eq!(bench.rollout.deadline(), None);
    assert_eq!(bench.step(Event::Window(true)), ["stage 2"]);
    let mut bench = Bench::started(rules(true));
    assert!(bench.step(Event::Window(false)).is_empty());
    let mut dying = release(2, "");
    dying.former_ends = [(SecretName::new("db"), bench.now + PERIOD * 100)].into();
    assert!(bench.step(Event::Rendered(dying)).is_empty());
    assert_eq!(bench.sleep(), PERIOD * 80);
    assert_eq!(bench.step(Event::Due), ["stage 2"]);
}

#[test]
fn one_at_a_time_and_the_newest_of_those_that_wait() {
    let mut bench = Bench::started(rules(true));
    assert_eq!(bench.rendered(2, ""), ["stage 2"]);
    assert!(bench.rendered(3, "").is_empty());
    assert_eq!(bench.rendered(4, ""), ["dropped 3"]);
    assert_eq!(bench.staged(false), ["publish"]);
    assert_eq!(bench.published(&[]), ["committed 2", "free db below 2", "stage 4"]);
}

#[test]
fn the_old_values_are_freed_grace_after_the_commit_and_not_before() {
    let mut bench = Bench::started(rules(true));
    drop(bench.rendered(2, ""));
    drop(bench.staged(false));
    drop(bench.published(&[]));
    assert_eq!(bench.rollout.deadline(), Some(bench.now + GRACE));
    bench.now += GRACE / 2;
    assert!(bench.step(Event::Due).is_empty());
    bench.now += GRACE / 2;
    assert_eq!(bench.step(Event::Due), ["free db below 2"]);
    assert_eq!(bench.rollout.deadline(), None);
}

#[test]
fn a_third_set_of_a_secret_ends_the_first() {
    let mut bench = Bench::started(rules(true));
    drop(bench.rendered(2, ""));
    drop(bench.staged(true));
    assert_eq!(bench.published(&["quiet"]), ["committed 2"]);
    assert_eq!(bench.rendered(3, ""), ["free db below 2", "stage 3"]);
}

#[test]
fn a_superseded_generation_stays_for_slow_readers() {
    let mut bench = Bench::started(rules(true));
    drop(bench.rendered(2, ""));
    drop(bench.staged(false));
    let superseded = Some(Generation::FIRST);
    drop(bench.step(Event::Published { changed: BTreeSet::new(), superseded }));
    assert_eq!(bench.sleep(), READERS_HAVE);
    assert_eq!(bench.step(Event::Due), ["retire 1"]);
}

#[test]
fn what_cannot_be_staged_is_tried_again_with_the_newest_release() {
    let mut bench = Bench::started(rules(true));
    drop(bench.rendered(2, ""));
    assert!(bench.step(Event::NotStaged("no space".to_owned())).is_empty());
    assert_eq!(bench.rendered(3, ""), ["dropped 2"]);
    assert_eq!(bench.sleep(), FIRST_PAUSE);
    assert_eq!(bench.step(Event::Due), ["stage 3"]);
    assert!(bench.step(Event::NotStaged("no space".to_owned())).is_empty());
    assert_eq!(bench.sleep(), FIRST_PAUSE * 2);
}

#[test]
fn what_was_published_in_part_is_undone_and_tried_again() {
    let mut bench = Bench::started(rules(true));
    drop(bench.rendered(2, ""));
    drop(bench.staged(true));
    assert_eq!(bench.step(Event::NotPublished("no such directory".to_owned())), ["restore 1"]);
    assert!(bench.published(&[]).is_empty());
    assert_eq!(bench.sleep(), FIRST_PAUSE);
    assert_eq!(bench.step(Event::Due), ["stage 2"]);
}

#[test]
fn without_a_process_only_commands_react() {
    let mut bench = Bench::new(rules(false));
    drop(bench.rendered(1, ""));
    drop(bench.staged(true));
    assert_eq!(bench.published(&["run", "quiet"]), ["run reload"]);
    assert_eq!(bench.acted(true), ["committed 1"]);
}

#[test]
fn what_an_earlier_run_left_for_slow_readers_is_removed_in_its_time() {
    let now = Instant::now();
    let mut rollout = Rollout::new(rules(false), &[Generation::FIRST].into(), now);
    assert_eq!(rollout.deadline(), Some(now + READERS_HAVE));
    assert_eq!(words(&rollout.step(Event::Due, now + READERS_HAVE)), ["retire 1"]);
}

#[test]
fn every_check_has_to_pass_before_anything_is_seen() {
    let mut bench = Bench::started(Rules { checks: Vec::new(), ..rules(true) });
    bench.rollout.rules.checks = vec![command("one"), command("two")];
    assert_eq!(bench.rendered(2, ""), ["stage 2"]);
    assert_eq!(bench.staged(true), ["check one"]);
    assert_eq!(bench.step(Event::Checked(Ok(()))), ["check two"]);
    assert_eq!(bench.step(Event::Checked(Err("exit code 1".to_owned()))), ["discard", "taken back 2"]);
    assert!(bench.rendered(3, "").is_empty(), "there is a pause");
    assert_eq!(bench.sleep(), FIRST_PAUSE);
    assert_eq!(bench.step(Event::Due), ["stage 3"]);
    assert_eq!(bench.staged(false), ["publish"], "what changes nothing needs no check");
}

#[test]
fn a_first_release_that_fails_its_check_is_tried_again() {
    let mut bench = Bench::new(Rules { checks: vec![command("one")], ..rules(true) });
    drop(bench.rendered(1, ""));
    assert_eq!(bench.staged(true), ["check one"]);
    assert_eq!(bench.step(Event::Checked(Err("exit code 1".to_owned()))), ["discard"]);
    assert_eq!(bench.sleep(), FIRST_PAUSE);
    assert_eq!(bench.step(Event::Due), ["stage 1"]);
}

#[test]
fn a_process_that_is_well_in_time_makes_the_commit() {
    let (mut bench, said) = Bench::second(with_probe(http()), "", &["hup"]);
    assert_eq!(said, ["trial true", "signal {SIGHUP}"]);
    let asked = bench.step(Event::ProcessSettled);
    let [first] = asked.as_slice() else { panic!("{asked:?}") };
    let number: u64 = first.strip_prefix("try ").unwrap().parse().unwrap();
    assert!(bench.tried(number, false).is_empty());
    assert_eq!(bench.sleep(), PERIOD);
    assert_eq!(bench.step(Event::Due), [format!("try {}", number + 1)]);
    assert!(bench.tried(number, true).is_empty(), "that was the try before");
    assert_eq!(bench.tried(number + 1, true), ["trial false", "committed 2"]);
}

#[test]
fn a_process_that_is_not_well_in_time_goes_back() {
    let (mut bench, _) = Bench::second(with_probe(http()), "", &["hup", "run"]);
    drop(bench.step(Event::ProcessSettled));
    let asked = bench.acted(true);
    assert!(asked[0].starts_with("try "), "{asked:?}");
    assert!(bench.rendered(3, "").is_empty());
    bench.now += TIMEOUT;
    assert_eq!(bench.step(Event::Due), ["restore 1"]);
    assert_eq!(bench.published(&["hup", "run"]), ["signal {SIGHUP}", "trial false"]);
    assert_eq!(bench.step(Event::ProcessSettled), ["run reload"]);
    // The waiting release was made with the same value.
    assert_eq!(bench.acted(true), ["dropped 3", "taken back 2"]);
    assert_eq!(bench.rollout.live().unwrap().generation.number(), 1);
}

#[test]
fn a_process_that_ends_on_trial_is_started_with_what_was_live() {
    for settles in [true, false] {
        let (mut bench, said) = Bench::second(with_probe(http()), "new", &[]);
        assert_eq!(said, ["trial true", "restart 2"]);
        if settles {
            drop(bench.step(Event::ProcessSettled));
        }
        assert_eq!(bench.down(false), ["restore 1"]);
        assert_eq!(bench.published(&[]), ["restart 1", "trial false"]);
        assert_eq!(bench.step(Event::ProcessSettled), ["taken back 2"]);
    }
}

#[test]
fn a_process_that_has_to_stay_alive_is_well_when_it_did() {
    let alive = Duration::from_secs(3);
    let (mut bench, _) = Bench::second(with_probe(ProbeKind::Alive(alive)), "new", &[]);
    assert!(bench.step(Event::ProcessSettled).is_empty());
    assert_eq!(bench.sleep(), alive);
    assert_eq!(bench.step(Event::Due), ["trial false", "committed 2"]);
}

#[test]
fn there_is_no_way_back_to_what_is_dead() {
    let mut bench = Bench::started(with_probe(http()));
    let mut dying = release(2, "new");
    dying.former_ends = [(SecretName::new("db"), bench.now)].into();
    assert_eq!(bench.step(Event::Rendered(dying)), ["stage 2"]);
    drop(bench.staged(true));
    drop(bench.published(&[]));
    drop(bench.step(Event::ProcessSettled));
    assert!(bench.rendered(3, "new").is_empty());
    // The waiting release was made with the same values, to one of which the rollout may return.
    assert_eq!(bench.down(false), ["dropped 3", "forced 2", "trial false"]);
    assert_eq!(bench.rollout.live().unwrap().generation.number(), 2);
}

#[test]
fn a_first_release_that_the_process_is_not_well_with_stays() {
    let mut bench = Bench::new(with_probe(http()));
    drop(bench.rendered(1, ""));
    drop(bench.staged(true));
    assert_eq!(bench.published(&[]), ["trial true", "start 1"]);
    assert_eq!(bench.step(Event::ProcessSettled), ["try 1"]);
    bench.now += TIMEOUT;
    assert_eq!(bench.step(Event::Due), ["forced 1", "trial false"]);
}

#[test]
fn a_way_back_that_cannot_be_published_is_tried_until_it_can() {
    let (mut bench, _) = Bench::second(with_probe(http()), "", &["hup"]);
    assert_eq!(bench.down(false), ["restore 1"]);
    assert!(bench.step(Event::NotPublished("read-only".to_owned())).is_empty());
    assert!(bench.rendered(3, "").is_empty(), "nothing goes forward before it is back");
    assert_eq!(bench.sleep(), FIRST_PAUSE);
    assert_eq!(bench.step(Event::Due), ["restore 1"]);
    assert_eq!(bench.published(&["hup"]), ["restart 1", "trial false"]);
    assert_eq!(bench.step(Event::ProcessSettled), ["dropped 3", "taken back 2"]);
}

#[test]
fn what_would_end_in_a_pause_does_not_wait_for_it() {
    let mut bench = Bench::started(rules(true));
    bench.rollout.failures = 5;
    drop(bench.rendered(2, ""));
    assert!(bench.step(Event::NotStaged("no space".to_owned())).is_empty());
    let mut dying = release(3, "");
    dying.former_ends = [(SecretName::new("db"), bench.now + PERIOD * 10)].into();
    assert_eq!(bench.step(Event::Rendered(dying)), ["dropped 2"]);
    assert_eq!(bench.sleep(), PERIOD * 8);
    assert_eq!(bench.step(Event::Due), ["stage 3"]);
}

#[test]
fn with_overlap_the_commit_waits_until_the_former_process_is_gone() {
    let rules = Rules { overlaps: true, ..with_probe(ProbeKind::Notify) };
    let mut bench = Bench::new(rules);
    drop(bench.rendered(1, ""));
    drop(bench.staged(true));
    assert_eq!(bench.published(&["restart"]), ["trial true", "start 1"]);
    assert!(bench.step(Event::ProcessSettled).is_empty());
    assert_eq!(bench.step(Event::ProcessReady), ["hand over"]);
    assert_eq!(bench.step(Event::ProcessSettled), ["trial false", "committed 1"]);
    drop(bench.rendered(2, "new"));
    drop(bench.staged(true));
    assert_eq!(bench.published(&[]), ["trial true", "restart 2"]);
    assert!(bench.step(Event::ProcessSettled).is_empty());
    assert_eq!(bench.step(Event::ProcessReady), ["hand over"]);
    assert_eq!(bench.rendered(3, "newer"), [""; 0], "one at a time");
    assert_eq!(
        bench.step(Event::ProcessSettled),
        ["trial false", "committed 2", "free db below 2", "stage 3"]
    );
}

#[test]
fn who_is_asked_nothing_need_not_say_that_it_is_ready_and_who_says_nothing_is_not() {
    let (_, said) = Bench::second_after(with_probe(ProbeKind::Notify), "", &["quiet"]);
    assert_eq!(said, ["trial true", "trial false", "committed 2"]);
    let (mut bench, said) = Bench::second_after(with_probe(ProbeKind::Notify), "", &["hup"]);
    assert_eq!(said, ["trial true", "signal {SIGHUP}"]);
    assert!(bench.step(Event::ProcessSettled).is_empty());
    assert_eq!(bench.sleep(), TIMEOUT);
    assert_eq!(bench.step(Event::Due), ["restore 1"]);
}

#[test]
fn a_release_with_which_no_process_could_be_started_is_never_seen() {
    let mut bench = Bench::started(rules(true));
    drop(bench.rendered(2, "new"));
    assert_eq!(bench.step(Event::Staged { directory: None, changes: false }), ["rehearse 2"]);
    let refused = Event::Rehearsed(Err("a NUL byte".to_owned()));
    assert_eq!(bench.step(refused), ["discard", "taken back 2"]);
    assert_eq!(bench.rollout.live().unwrap().generation.number(), 1);
    // At the first start no process runs, so there is nothing to protect: the start itself reports the problem.
    let mut bench = Bench::new(rules(true));
    drop(bench.rendered(1, ""));
    assert_eq!(bench.step(Event::Staged { directory: None, changes: true }), ["publish"]);
}

#[test]
fn a_restart_is_on_trial_for_a_short_life_where_nothing_else_is_asked() {
    let (mut bench, _) = Bench::second(rules(true), "new", &[]);
    assert!(bench.step(Event::ProcessSettled).is_empty());
    assert_eq!(bench.sleep(), SHORT_LIFE);
    assert_eq!(bench.step(Event::Due), ["trial false", "committed 2"]);

    let (mut bench, _) = Bench::second(rules(true), "new", &[]);
    drop(bench.step(Event::ProcessSettled));
    assert_eq!(bench.down(false), ["restore 1"]);
    assert_eq!(bench.published(&[]), ["restart 1", "trial false"]);
    assert_eq!(bench.step(Event::ProcessSettled), ["taken back 2"]);
}

#[test]
fn who_ends_with_0_in_its_short_life_has_done_its_work() {
    let (mut bench, _) = Bench::second(rules(true), "new", &[]);
    drop(bench.step(Event::ProcessSettled));
    assert_eq!(bench.down(true), ["trial false", "committed 2"]);
    // The process had to stay alive, and did not.
    let (mut bench, _) = Bench::second(with_probe(ProbeKind::Alive(PERIOD)), "new", &[]);
    drop(bench.step(Event::ProcessSettled));
    assert_eq!(bench.down(true), ["restore 1"]);
}

#[test]
fn what_others_are_asked_to_do_is_done_before_the_commit_though_the_process_did_its_work() {
    let (mut bench, said) = Bench::second(rules(true), "new", &["run"]);
    assert_eq!(said, ["trial true", "restart 2"]);
    assert_eq!(bench.down(true), ["run reload"]);
    assert_eq!(bench.acted(true), ["trial false", "committed 2"]);
    let (mut bench, _) = Bench::second(rules(true), "new", &["run"]);
    assert_eq!(bench.step(Event::ProcessSettled), ["run reload"]);
    assert!(bench.down(true).is_empty());
    assert_eq!(bench.acted(true), ["trial false", "committed 2"]);
}

#[test]
fn a_short_life_leaves_half_of_its_time_to_what_was_replaced() {
    let mut bench = Bench::started(rules(true));
    let mut dying = release(2, "new");
    dying.former_ends = [(SecretName::new("db"), bench.now + SHORT_LIFE)].into();
    drop(bench.step(Event::Rendered(dying)));
    drop(bench.staged(false));
    drop(bench.published(&[]));
    drop(bench.step(Event::ProcessSettled));
    assert_eq!(bench.sleep(), SHORT_LIFE / 2);
}

#[test]
fn without_any_proof_only_a_start_that_is_refused_goes_back() {
    let asked_nothing = || Rules { proof: Proof::Nothing, ..rules(true) };
    let (mut bench, said) = Bench::second(asked_nothing(), "new", &[]);
    assert_eq!(said, ["trial true", "restart 2"]);
    assert_eq!(bench.step(Event::ProcessSettled), ["trial false", "committed 2"]);
    let (mut bench, _) = Bench::second(asked_nothing(), "new", &[]);
    assert_eq!(bench.down(false), ["restore 1"]);
}

#[test]
fn an_action_that_is_required_and_cannot_be_done_takes_the_release_back() {
    let required = Reaction::Act(Action { act: Act::Run(command("reload")), is_required: true });
    let mut rules = rules(true);
    rules.files.insert("must".into(), required);
    // An action that another file requires is required, even if a second file does not require it.
    let (mut bench, _) = Bench::second(rules, "", &["hup", "must", "run", "run-other"]);
    assert_eq!(bench.step(Event::ProcessSettled), ["run reload", "run notify"]);
    assert_eq!(bench.acted(false), ["restore 1"]);
    assert!(bench.acted(true).is_empty(), "what was going on is nobody's any more");
    assert_eq!(bench.published(&["hup", "must"]), ["signal {SIGHUP}"]);
    assert_eq!(bench.step(Event::ProcessSettled), ["run reload"]);
    assert_eq!(bench.acted(false), ["taken back 2"], "there is nothing further to go back to");

    let (mut bench, _) = Bench::second(self::rules(true), "", &["run"]);
    assert_eq!(bench.acted(false), ["committed 2"], "what is not required is only said");
}
