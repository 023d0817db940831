use super::*;
use crate::secret::DigestKey;

const GRACE: Duration = Duration::from_secs(30);

fn rules(has_process: bool) -> Rules {
    let run = |program: &str| {
        Reaction::Run(RunCommand { command: vec![program.to_owned()], timeout: Duration::from_secs(1) })
    };
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
    Rules { files, env: Reaction::Restart, has_process, grace: GRACE }
}

fn release(number: u64, env: &str) -> Release {
    let revision = (0..number).fold(Revision::default(), |revision, _| revision.next());
    Release {
        generation: Generation::from_number(number).unwrap(),
        files: Vec::new(),
        env: BTreeMap::new(),
        env_digest: DigestKey::new([0; 32]).digest(env.as_bytes()),
        revisions: [(SecretName::new("db"), revision)].into(),
    }
}

fn published(changed: &[&str]) -> Event {
    Event::Published { changed: changed.iter().map(PathBuf::from).collect(), superseded: None }
}

/// Effects in words, without the reports.
fn words(effects: &[Effect]) -> Vec<String> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Publish(release) => Some(format!("publish {}", release.generation)),
            Effect::Start(release) => Some(format!("start {}", release.generation)),
            Effect::Restart(release) => Some(format!("restart {}", release.generation)),
            Effect::Signal(signals) => Some(format!("signal {signals:?}")),
            Effect::Run(command) => Some(format!("run {}", command.command[0])),
            Effect::Committed(generation) => Some(format!("committed {generation}")),
            Effect::Dropped(generation) => Some(format!("dropped {generation}")),
            Effect::Retire(generation) => Some(format!("retire {generation}")),
            Effect::Free(secret, below) => Some(format!("free {secret} below {below}")),
            Effect::Report(_) => None,
        })
        .collect()
}

/// A rollout whose first release is committed.
fn started(now: Instant) -> Rollout {
    let mut rollout = Rollout::new(rules(true), &BTreeSet::new(), now);
    assert_eq!(words(&rollout.step(Event::Rendered(release(1, "")), now)), ["publish 1"]);
    assert_eq!(words(&rollout.step(published(&["restart", "hup", "run"]), now)), ["start 1"]);
    assert_eq!(words(&rollout.step(Event::ProcessSettled, now)), ["committed 1"]);
    rollout
}

#[test]
fn what_changed_decides_what_reacts() {
    let cases: [(&[&str], &str, &[&str]); 8] = [
        (&[], "", &["committed 2"]),
        (&["quiet"], "", &["committed 2"]),
        (&["hup"], "", &["signal {SIGHUP}"]),
        (&["hup", "usr1"], "", &["signal {SIGHUP, SIGUSR1}"]),
        (&["hup", "restart"], "", &["restart 2"]),
        (&["hup"], "new", &["restart 2"]),
        (&[], "new", &["restart 2"]),
        (&["run", "run-too", "run-other"], "", &["run reload", "run notify"]),
    ];
    let now = Instant::now();
    for (changed, env, expected) in cases {
        let mut rollout = started(now);
        assert_eq!(words(&rollout.step(Event::Rendered(release(2, env)), now)), ["publish 2"]);
        assert_eq!(words(&rollout.step(published(changed), now)), expected, "{changed:?} {env}");
    }
}

#[test]
fn commands_come_after_the_process_and_the_commit_after_all_of_them() {
    let now = Instant::now();
    let mut rollout = started(now);
    assert_eq!(words(&rollout.step(Event::Rendered(release(2, "")), now)), ["publish 2"]);
    assert_eq!(words(&rollout.step(published(&["hup", "run", "run-other"]), now)), ["signal {SIGHUP}"]);
    assert_eq!(words(&rollout.step(Event::ProcessSettled, now)), ["run reload", "run notify"]);
    assert!(words(&rollout.step(Event::CommandEnded, now)).is_empty());
    assert_eq!(words(&rollout.step(Event::CommandEnded, now)), ["committed 2"]);
}

#[test]
fn one_at_a_time_and_the_newest_of_those_that_wait() {
    let now = Instant::now();
    let mut rollout = started(now);
    assert_eq!(words(&rollout.step(Event::Rendered(release(2, "")), now)), ["publish 2"]);
    assert!(words(&rollout.step(Event::Rendered(release(3, "")), now)).is_empty());
    assert_eq!(words(&rollout.step(Event::Rendered(release(4, "")), now)), ["dropped 3"]);
    assert_eq!(words(&rollout.step(published(&[]), now)), ["committed 2", "publish 4"]);
}

#[test]
fn the_old_values_are_freed_grace_after_the_commit_and_not_before() {
    let now = Instant::now();
    let mut rollout = started(now);
    // What was fetched before the first commit and replaced by then is freed too.
    assert_eq!(words(&rollout.step(Event::Due, now + GRACE)), ["free db below 1"]);
    let now = now + GRACE;
    drop(rollout.step(Event::Rendered(release(2, "")), now));
    drop(rollout.step(published(&[]), now));
    assert_eq!(rollout.deadline(), Some(now + GRACE));
    assert!(words(&rollout.step(Event::Due, now + GRACE / 2)).is_empty());
    assert_eq!(words(&rollout.step(Event::Due, now + GRACE)), ["free db below 2"]);
    assert_eq!(rollout.deadline(), None);
}

#[test]
fn a_superseded_generation_stays_for_slow_readers() {
    let now = Instant::now();
    let mut rollout = started(now);
    drop(rollout.step(Event::Rendered(release(2, "")), now));
    let superseded = Some(Generation::FIRST);
    drop(rollout.step(Event::Published { changed: BTreeSet::new(), superseded }, now));
    assert_eq!(rollout.deadline(), Some(now + READERS_HAVE));
    assert_eq!(words(&rollout.step(Event::Due, now + READERS_HAVE)), ["retire 1"]);
}

#[test]
fn a_failed_publication_is_tried_again_with_the_newest_release() {
    let now = Instant::now();
    let mut rollout = started(now);
    drop(rollout.step(Event::Rendered(release(2, "")), now));
    assert!(words(&rollout.step(Event::NotPublished("no space".to_owned()), now)).is_empty());
    assert_eq!(rollout.deadline(), Some(now + FIRST_PAUSE));
    assert_eq!(words(&rollout.step(Event::Rendered(release(3, "")), now)), ["dropped 2"]);
    let now = now + FIRST_PAUSE;
    assert_eq!(words(&rollout.step(Event::Due, now)), ["publish 3"]);
    assert!(words(&rollout.step(Event::NotPublished("no space".to_owned()), now)).is_empty());
    assert_eq!(rollout.deadline(), Some(now + FIRST_PAUSE * 2));
}

#[test]
fn without_a_process_only_commands_react() {
    let now = Instant::now();
    let mut rollout = Rollout::new(rules(false), &BTreeSet::new(), now);
    drop(rollout.step(Event::Rendered(release(1, "")), now));
    assert_eq!(words(&rollout.step(published(&["run", "quiet"]), now)), ["run reload"]);
    assert_eq!(words(&rollout.step(Event::CommandEnded, now)), ["committed 1"]);
}

#[test]
fn what_an_earlier_run_left_for_slow_readers_is_removed_in_its_time() {
    let now = Instant::now();
    let mut rollout = Rollout::new(rules(false), &[Generation::FIRST].into(), now);
    assert_eq!(rollout.deadline(), Some(now + READERS_HAVE));
    assert_eq!(words(&rollout.step(Event::Due, now + READERS_HAVE)), ["retire 1"]);
}
