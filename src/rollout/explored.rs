//! Explores every state of a rollout together with the gatherer of its values: every order of answers, with a few faults among them.
//!
//! Beside the two machines there are simple models of what they act on: a disk, a process, and whoever answers the probe. The invariants of
//! ARCHITECTURE.md are checked with every effect.

use std::collections::VecDeque;
use std::fmt::Debug;

use super::*;
use crate::config::{Act, Place, ProbeConfig, ProbeKind, Proof, Reaction};
use crate::explore::{Told, World, explore};
use crate::secret::{DigestKey, Fields, Meta, Packed};
use crate::session::Update;
use crate::snapshot::{self, Gatherer, Snapshot};

const GRACE: Duration = Duration::from_secs(30);
const SETTLE: Duration = Duration::from_millis(100);
/// How long a value that will end is still valid.
const DYING: Duration = Duration::from_secs(20);
/// These machines do not distinguish instants that are further back than this.
const MEMORY: Duration = Duration::from_mins(1);

/// Two secrets, a rollout of them, and everything that it acts on.
#[derive(Clone, Debug)]
struct Transaction {
    gatherer: Gatherer,
    rollout: Rollout,
    now: Instant,
    /// The numbers of faults and of new values that may still come.
    faults: u8,
    values: u8,
    /// The number of orders that an operator may still give.
    orders: u8,
    newest: BTreeMap<SecretName, Revision>,
    /// A template cannot be rendered with these values.
    odd: BTreeSet<(SecretName, Revision)>,
    /// These values have ended.
    given_back: BTreeSet<(SecretName, Revision)>,
    freed_below: BTreeMap<SecretName, Revision>,
    rendered: Option<Generation>,
    committed: Option<Generation>,
    /// The time from which each value is valid.
    good_since: BTreeMap<(SecretName, Revision), Instant>,
    disk: Disk,
    asked: Asked,
    process: Process,
}

#[derive(Clone, Debug, Default)]
struct Disk {
    staged: Option<Arc<Release>>,
    shown: Option<Arc<Release>>,
    is_staging: bool,
    publishes: Option<Arc<Release>>,
}

/// The questions that are open, and the last answers.
#[derive(Clone, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "they are not of one another")]
struct Asked {
    rehearsal: bool,
    check: bool,
    actions: BTreeSet<u64>,
    attempt: Option<u64>,
    /// The state of the release that is on its way.
    was_rehearsed: bool,
    was_checked: bool,
    is_well: bool,
    /// It changed something to which the process, or another program, has to react.
    needs_proof: bool,
}

#[derive(Clone, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "they are not of one another")]
struct Process {
    is_busy: bool,
    is_up: bool,
    on_trial: bool,
    /// It ended with 0 during a short trial.
    is_done: bool,
    /// It got a signal, and reads the published values.
    reads: bool,
    restarted: bool,
    settled_at: Option<Instant>,
    runs: Option<Arc<Release>>,
    /// It runs beside its successor.
    former: Option<Arc<Release>>,
}

fn named(name: &str) -> SecretName {
    SecretName::new(name)
}

fn rules(proof: Proof) -> Rules {
    let run = RunCommand { command: vec!["reload".to_owned()], timeout: Duration::from_secs(1) };
    let act = Reaction::Act(Action { act: Act::Run(run.clone()), is_required: true });
    Rules {
        files: [("b".into(), Reaction::Signal(nix::sys::signal::Signal::SIGHUP)), ("too".into(), act)].into(),
        env: Reaction::Restart,
        units: BTreeSet::new(),
        has_process: true,
        grace: GRACE,
        checks: vec![run],
        proof,
        overlaps: false,
    }
}

fn probe(kind: ProbeKind) -> Proof {
    Proof::Probe(ProbeConfig {
        kind,
        period: Duration::from_secs(1),
        timeout: Duration::from_secs(5),
        attempt_timeout: Duration::from_secs(1),
        successes: 1,
        failures: Some(2),
        place: Place::default(),
    })
}

impl Transaction {
    /// The first values have come.
    fn new(rules: Rules, values: u8, faults: u8) -> Self {
        let now = Instant::now();
        let wanted = [named("a"), named("b")].into();
        let mut world = Self {
            gatherer: Gatherer::new(wanted, SETTLE, Generation::FIRST, now),
            rollout: Rollout::new(rules, &BTreeSet::new(), now),
            now,
            faults,
            values: values + 2,
            orders: 0,
            newest: BTreeMap::new(),
            odd: BTreeSet::new(),
            given_back: BTreeSet::new(),
            freed_below: BTreeMap::new(),
            rendered: None,
            committed: None,
            good_since: BTreeMap::new(),
            disk: Disk::default(),
            asked: Asked::default(),
            process: Process::default(),
        };
        world.value("a", None).unwrap();
        world.value("b", None).unwrap();
        world
    }

    fn value(&mut self, name: &str, former_ends: Option<Instant>) -> Result<(), String> {
        self.values -= 1;
        let secret = named(name);
        let revision = self.newest.get(&secret).copied().unwrap_or_default().next();
        self.newest.insert(secret.clone(), revision);
        let digest = DigestKey::new([0; 32]).digest(revision.to_string().as_bytes());
        let update = Update {
            secret,
            revision,
            fields: Packed::of(&Fields::new()),
            meta: Meta::default(),
            digest,
            former_ends,
            is_leased: true,
            again_at: None,
        };
        self.gather(snapshot::Event::Updated(update))
    }

    fn gather(&mut self, event: snapshot::Event) -> Result<(), String> {
        for effect in self.gatherer.step(event, self.now) {
            match effect {
                snapshot::Effect::Render(snapshot) => self.render(&snapshot)?,
                snapshot::Effect::Reject(secret, revision) => self.give_back(secret, revision)?,
                snapshot::Effect::Hold(_) => {}
            }
        }
        Ok(())
    }

    fn render(&mut self, snapshot: &Snapshot) -> Result<(), String> {
        let generation = snapshot.generation;
        check(snapshot.values.len() == 2, "a snapshot is not whole")?;
        check(self.rendered < Some(generation), "generations do not grow")?;
        self.rendered = Some(generation);
        let revisions: BTreeMap<_, _> =
            snapshot.values.iter().map(|(name, value)| (name.clone(), value.revision)).collect();
        self.lives(&revisions, "rendered")?;
        if revisions.iter().any(|(name, revision)| self.odd.contains(&(name.clone(), *revision))) {
            return self.gather(snapshot::Event::Dropped(generation));
        }
        let ends =
            snapshot.values.iter().filter_map(|(name, value)| Some((name.clone(), value.former_ends?)));
        let release = Release {
            generation,
            files: Vec::new(),
            env: BTreeMap::new(),
            env_digest: DigestKey::new([0; 32]).digest(revisions[&named("a")].to_string().as_bytes()),
            former_ends: ends.collect(),
            webhook_key: None,
            credentials: Vec::new(),
            revisions,
        };
        self.roll(Event::Rendered(release))
    }

    /// Checks that no value in use was given back.
    fn lives(&self, revisions: &BTreeMap<SecretName, Revision>, how: &str) -> Result<(), String> {
        for (secret, revision) in revisions {
            let is_gone = self.given_back.contains(&(secret.clone(), *revision))
                || self.freed_below.get(secret).is_some_and(|below| revision < below);
            check(!is_gone, &format!("{secret}{revision} was given back, and is {how}"))?;
        }
        Ok(())
    }

    /// The values of readers and processes, and of the release to go back to.
    fn used(&self) -> impl Iterator<Item = &Release> {
        let live = self.rollout.live();
        let others = [
            &self.disk.shown,
            &self.disk.staged,
            &self.disk.publishes,
            &self.process.runs,
            &self.process.former,
        ];
        live.into_iter().chain(others.into_iter().flatten().map(Arc::as_ref))
    }

    fn give_back(&mut self, secret: SecretName, revision: Revision) -> Result<(), String> {
        let is_used = self.used().any(|release| release.revisions.get(&secret) == Some(&revision));
        check(!is_used, &format!("{secret}{revision} is rejected while it is used"))?;
        self.given_back.insert((secret, revision));
        Ok(())
    }

    fn free(&mut self, secret: SecretName, below: Revision) -> Result<(), String> {
        let is_used =
            self.used().any(|release| release.revisions.get(&secret).is_some_and(|used| *used < below));
        check(!is_used, &format!("{secret} below {below} is freed while it is used"))?;
        let since = self.good_since.get(&(secret.clone(), below));
        let in_time = since.is_some_and(|since| *since + GRACE <= self.now);
        let makes_room = matches!(self.rollout.phase, Phase::Staging(_));
        check(in_time || makes_room, &format!("{secret} below {below} is freed before its time"))?;
        self.freed_below.insert(secret, below);
        Ok(())
    }

    fn roll(&mut self, event: Event) -> Result<(), String> {
        let mut effects: VecDeque<_> = self.rollout.step(event, self.now).into();
        while let Some(effect) = effects.pop_front() {
            self.perform(effect)?;
        }
        Ok(())
    }

    fn perform(&mut self, effect: Effect) -> Result<(), String> {
        let is_idle = !self.disk.is_staging && self.disk.publishes.is_none();
        match effect {
            Effect::Stage(release) => {
                check(
                    is_idle && !self.asked.check && !self.asked.rehearsal,
                    "two things at once are staged",
                )?;
                check(
                    self.disk.shown.as_ref().is_none_or(|shown| shown.generation < release.generation),
                    "an older release is staged",
                )?;
                self.lives(&release.revisions, "staged")?;
                (self.disk.is_staging, self.disk.staged, self.asked) =
                    (true, Some(release), Asked::default());
            }
            Effect::Rehearse(_) => self.asked.rehearsal = true,
            Effect::Check { release, .. } => {
                check(
                    self.disk.staged.as_ref().is_some_and(|staged| staged.generation == release.generation),
                    "what is checked is not staged",
                )?;
                self.asked.check = true;
            }
            Effect::Discard => check(self.disk.staged.take().is_some(), "nothing is discarded")?,
            Effect::Publish => {
                let staged = self.disk.staged.take().ok_or("nothing is published")?;
                check(is_idle, "two things at once are published")?;
                let changes = self.differs(&staged);
                check(!changes || self.asked.was_checked, "a release is published unchecked")?;
                check(
                    !changes || self.asked.was_rehearsed || self.rollout.live().is_none(),
                    "a release is published unrehearsed",
                )?;
                self.disk.publishes = Some(staged);
            }
            Effect::Restore(release) => {
                let is_live = self.rollout.live().is_some_and(|live| live.generation == release.generation);
                check(is_idle && is_live, "what is restored was not live")?;
                self.lives(&release.revisions, "restored")?;
                self.asked = Asked::default();
                self.disk.publishes = Some(release);
            }
            Effect::Start(release) | Effect::Restart(release) => self.launch(release)?,
            Effect::Signal(_) => {
                (self.process.is_busy, self.process.reads) = (true, true);
            }
            Effect::Act(action, _) => {
                check(self.asked.actions.insert(action), "an action has the number of another")?;
            }
            Effect::Try(attempt) => {
                check(self.process.is_up, "nobody is tried")?;
                self.asked.attempt = Some(attempt);
            }
            Effect::OnTrial(on_trial) => {
                self.process.on_trial = on_trial;
                if !on_trial && !self.process.is_up && self.process.restarted {
                    // A process that ends and is no longer on trial is started again, with the visible values.
                    (self.process.is_busy, self.process.is_up) = (true, true);
                    self.process.runs.clone_from(&self.disk.shown);
                }
            }
            Effect::HandOver => self.process.is_busy = true,
            Effect::Committed(generation) => self.commit(generation)?,
            Effect::TakenBack(generation) => self.taken_back(generation)?,
            Effect::Forced(generation) => {
                check(
                    self.disk.shown.as_ref().is_some_and(|shown| shown.generation == generation),
                    "what is forced is not seen",
                )?;
                self.gather(snapshot::Event::Forced(generation))?;
            }
            Effect::Dropped(generation) => self.gather(snapshot::Event::Dropped(generation))?,
            Effect::Retire(generation) => {
                check(
                    self.used().all(|release| release.generation != generation),
                    "files that are used are removed",
                )?;
            }
            Effect::Free(secret, below) => self.free(secret, below)?,
            Effect::Report(_) => {}
        }
        Ok(())
    }

    fn launch(&mut self, release: Arc<Release>) -> Result<(), String> {
        let is_shown = self.disk.shown.as_ref().is_some_and(|shown| shown.generation == release.generation);
        check(is_shown, "a process is started with what nobody sees")?;
        self.lives(&release.revisions, "started with")?;
        let process = &mut self.process;
        if self.rollout.rules.overlaps {
            let former = process.former.take();
            match former {
                // The way back: the previous process runs on.
                Some(former) if former.env_digest == release.env_digest => process.runs = Some(former),
                former => {
                    process.former = former.or_else(|| process.runs.take().filter(|_| process.is_up));
                    process.runs = Some(release);
                }
            }
        } else {
            process.runs = Some(release);
        }
        (process.is_busy, process.is_up, process.restarted, process.is_done) = (true, true, true, false);
        Ok(())
    }

    fn differs(&self, release: &Release) -> bool {
        self.disk.shown.as_ref().is_none_or(|shown| shown.revisions != release.revisions)
    }

    fn commit(&mut self, generation: Generation) -> Result<(), String> {
        let Process { is_busy, is_up, is_done, restarted, settled_at, .. } = self.process;
        check(
            self.disk.shown.as_ref().is_some_and(|shown| shown.generation == generation),
            "what is committed is not seen",
        )?;
        check(self.committed.is_none_or(|before| before < generation), "an older release is committed")?;
        check(
            !self.asked.needs_proof || is_done || is_up && !is_busy,
            "a release is committed without its process",
        )?;
        check(self.asked.actions.is_empty(), "a release is committed before what it asks for is done")?;
        let lived = settled_at.map(|at| self.now.saturating_duration_since(at)).unwrap_or_default();
        let is_proven = match &self.rollout.rules.proof {
            _ if !self.asked.needs_proof => true,
            Proof::Probe(_) => self.asked.is_well,
            // If the previous values will end, half of that time is enough.
            Proof::ShortLife => {
                let has_time = self.disk.shown.as_ref().is_some_and(|shown| shown.former_ends.is_empty());
                !restarted || is_done || !has_time || lived >= SHORT_LIFE || self.committed.is_none()
            }
            Proof::Nothing => true,
        };
        check(is_proven, "a release is committed without proof")?;
        self.committed = Some(generation);
        for (secret, revision) in self.disk.shown.iter().flat_map(|shown| &shown.revisions) {
            self.good_since.entry((secret.clone(), *revision)).or_insert(self.now);
        }
        self.process.former = None;
        self.gather(snapshot::Event::Accepted(generation))
    }

    fn taken_back(&mut self, generation: Generation) -> Result<(), String> {
        let live = self.rollout.live().ok_or("there was nothing to go back to")?;
        let shown = self.disk.shown.as_ref().ok_or("nothing is seen")?;
        check(shown.generation == live.generation, "what was taken back is still seen")?;
        let runs = self.process.runs.as_ref().filter(|_| self.process.is_up);
        check(
            runs.is_some_and(|runs| runs.env_digest == live.env_digest),
            "the process does not run with what was gone back to",
        )?;
        self.gather(snapshot::Event::TakenBack(generation))
    }

    fn published(&mut self) -> Result<(), String> {
        let release = self.disk.publishes.take().ok_or("nothing was published")?;
        let before = self.disk.shown.replace(Arc::clone(&release));
        let of = |release: &Release| release.revisions[&named("b")];
        let is_first = before.is_none();
        let file_changed = before.as_ref().is_none_or(|before| of(before) != of(&release));
        let changed: BTreeSet<PathBuf> =
            if file_changed { ["b".into(), "too".into()].into() } else { BTreeSet::new() };
        let env_changed = before.as_ref().is_some_and(|before| before.env_digest != release.env_digest);
        self.asked.needs_proof = is_first || file_changed || env_changed;
        self.process.restarted = false;
        let superseded = before.map(|before| before.generation);
        // Only a commit may supersede a generation that Squire can go back to.
        let superseded = superseded.filter(|_| self.rollout.live().is_none());
        self.roll(Event::Published { changed, superseded })
    }

    /// Whether the agent would follow the order to go back.
    fn may_roll_back(&self) -> bool {
        let former = self.gatherer.former();
        let is_dead = self.rollout.dead(&former, self.now).is_some();
        !self.rollout.is_under_way() && !former.is_empty() && !is_dead
    }

    fn order(&mut self, order: &str) -> Result<(), String> {
        self.orders -= 1;
        if order == "roll back" {
            let former = self.gatherer.former().into_keys().collect();
            self.roll(Event::RollbackAsked(former))?;
            return self.gather(snapshot::Event::RollbackAsked);
        }
        self.roll(Event::HoldAsked(order == "hold"))
    }

    fn wait(&mut self) -> Result<(), String> {
        let deadline = self.deadline().ok_or("there is nothing to wait for")?;
        self.now = self.now.max(deadline);
        self.gather(snapshot::Event::Due)?;
        self.roll(Event::Due)?;
        check(self.deadline().is_none_or(|deadline| deadline > self.now), "it would spin")
    }

    fn deadline(&self) -> Option<Instant> {
        [self.gatherer.deadline(), self.rollout.deadline()].into_iter().flatten().min()
    }

    /// The answer to every request, if all is well.
    fn answers(&self) -> Vec<&'static str> {
        let (disk, asked, process) = (&self.disk, &self.asked, &self.process);
        let trying = matches!(self.rollout.phase, Phase::Trying(..));
        let awaits_word =
            matches!(&self.rollout.rules.proof, Proof::Probe(probe) if probe.kind == ProbeKind::Notify);
        [
            (disk.is_staging, "staged"),
            (asked.rehearsal, "rehearsed"),
            (asked.check, "checked"),
            (disk.publishes.is_some() && !matches!(self.rollout.phase, Phase::Stuck(..)), "published"),
            (process.is_busy, "settled"),
            (!asked.actions.is_empty(), "acted"),
            (asked.attempt.is_some(), "tried"),
            (trying && awaits_word && process.is_up, "ready"),
        ]
        .into_iter()
        .filter_map(|(is, word)| is.then_some(word))
        .collect()
    }
}

impl World for Transaction {
    fn possible(&self) -> Vec<String> {
        let mut events: Vec<&str> = self.answers();
        let failures: Vec<_> = events
            .iter()
            .filter_map(|event| match *event {
                "staged" => Some("not staged"),
                "rehearsed" => Some("not rehearsed"),
                "checked" => Some("not checked"),
                "published" => Some("not published"),
                "acted" => Some("not acted"),
                "tried" => Some("not tried"),
                _ => None,
            })
            .collect();
        if self.faults > 0 {
            events.extend(failures);
            if self.process.on_trial && self.process.is_up {
                events.push("down");
            }
        }
        if self.process.on_trial && self.process.is_up && !self.process.is_busy {
            events.push("done");
        }
        if self.values > 0 {
            events.extend([
                "a",
                "a, the one before dies",
                "a, the one before is dead",
                "b",
                "b, which is odd",
            ]);
        }
        if self.deadline().is_some() {
            events.push("wait");
        }
        if self.orders > 0 {
            events.push(if self.rollout.on_hold { "release" } else { "hold" });
            events.extend(self.may_roll_back().then_some("roll back"));
        }
        events.into_iter().map(str::to_owned).collect()
    }

    fn happen(&mut self, event: &str) -> Result<(), String> {
        let refused = || Err("no".to_owned());
        if event.starts_with("not ") || event == "down" {
            self.faults -= 1;
        }
        match event {
            "a" => self.value("a", None),
            "a, the one before dies" => self.value("a", Some(self.now + DYING)),
            "a, the one before is dead" => self.value("a", Some(self.now)),
            "b" => self.value("b", None),
            "b, which is odd" => {
                let revision = self.newest[&named("b")].next();
                self.odd.insert((named("b"), revision));
                self.value("b", None)
            }
            "staged" => {
                self.disk.is_staging = false;
                let changes = self.disk.staged.as_ref().is_some_and(|staged| {
                    let of = |release: &Release| release.revisions[&named("b")];
                    self.disk.shown.as_ref().is_none_or(|shown| of(shown) != of(staged))
                });
                self.roll(Event::Staged { directory: None, changes })
            }
            "not staged" => {
                (self.disk.is_staging, self.disk.staged) = (false, None);
                self.roll(Event::NotStaged("no space".to_owned()))
            }
            "rehearsed" | "not rehearsed" => {
                self.asked.rehearsal = false;
                self.asked.was_rehearsed = event == "rehearsed";
                self.roll(Event::Rehearsed(if self.asked.was_rehearsed { Ok(()) } else { refused() }))
            }
            "checked" | "not checked" => {
                self.asked.check = false;
                self.asked.was_checked = event == "checked";
                self.roll(Event::Checked(if self.asked.was_checked { Ok(()) } else { refused() }))
            }
            "published" => self.published(),
            "not published" => {
                self.disk.publishes = None;
                self.roll(Event::NotPublished("read-only".to_owned()))
            }
            "settled" => {
                (self.process.is_busy, self.process.settled_at) = (false, Some(self.now));
                if std::mem::take(&mut self.process.reads) {
                    self.process.runs.clone_from(&self.disk.shown);
                }
                self.roll(Event::ProcessSettled)
            }
            "down" | "done" => {
                let is_clean = event == "done";
                let process = &mut self.process;
                (process.is_busy, process.is_up) = (false, false);
                process.is_done = is_clean && self.rollout.rules.proof == Proof::ShortLife;
                process.runs = None;
                self.asked.attempt = None;
                self.roll(Event::ProcessDown { why: "it ended".to_owned(), is_clean })
            }
            "ready" => {
                self.asked.is_well = true;
                self.roll(Event::ProcessReady)
            }
            "acted" | "not acted" => {
                let action = self.asked.actions.pop_first().ok_or("nothing is done")?;
                self.roll(Event::Acted(action, if event == "acted" { Ok(()) } else { refused() }))
            }
            "tried" | "not tried" => {
                let attempt = self.asked.attempt.take().ok_or("nobody was tried")?;
                self.asked.is_well |= event == "tried";
                self.roll(Event::Tried(attempt, if event == "tried" { Ok(()) } else { refused() }))
            }
            "wait" => self.wait(),
            "hold" | "release" | "roll back" => self.order(event),
            other => Err(format!("what is {other:?}?")),
        }
    }

    fn told(&self) -> String {
        let Self { gatherer, rollout, disk, asked, process, .. } = self;
        let Rollout {
            phase, waiting, live, shown, process: seen, failures, failed_at, held_up, chores, ..
        } = rollout;
        let machines = (gatherer, phase, waiting, live, shown, seen, failures, failed_at, held_up, chores);
        let past =
            (&self.newest, &self.odd, &self.given_back, &self.freed_below, &self.good_since, self.committed);
        let orders = (self.orders, rollout.on_hold, rollout.is_wished);
        let what = (machines, disk, asked, process, past, self.faults, self.values, rollout.is_open, orders);
        Told { what: &what, now: self.now, memory: MEMORY }.to_string()
    }

    fn next_if_all_is_well(&self) -> Option<String> {
        let answer = self.answers().first().copied();
        answer.or_else(|| self.deadline().map(|_| "wait")).map(str::to_owned)
    }

    fn rests(&self) -> Result<(), String> {
        let live = self.rollout.live().ok_or("there is no release in the end")?;
        let is_one = |release: &Option<Arc<Release>>| {
            release.as_ref().is_some_and(|release| release.generation == live.generation)
        };
        check(self.rollout.waiting.is_none() || self.rollout.on_hold, "a release waits for ever")?;
        check(is_one(&self.disk.shown), "readers see another release than the live one")?;
        check(!self.process.on_trial, "the trial never ends")?;
        check(self.process.is_up || self.process.is_done, "there is no process in the end")?;
        self.lives(&live.revisions, "live")?;
        for (secret, newest) in &self.newest {
            let is_given_back = self.given_back.contains(&(secret.clone(), *newest));
            let is_odd = self.newest.iter().any(|(name, newest)| self.odd.contains(&(name.clone(), *newest)));
            let is_live = live.revisions.get(secret) == Some(newest);
            check(
                is_live || is_given_back || is_odd || self.rollout.on_hold,
                &format!("{secret}{newest} never comes to the process"),
            )?;
        }
        Ok(())
    }
}

fn check(holds: bool, wrong: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(wrong.to_owned()) }
}

fn go_everywhere(name: &str, rules: Rules) {
    let seen = explore(name, Transaction::new(rules, 2, 2), 2_500);
    let seen = seen.unwrap_or_else(|wrong| panic!("{name}: {wrong}"));
    assert!(seen.is_all || seen.worlds >= 2_500, "{seen:?}");
}

#[test]
fn with_a_short_life() {
    go_everywhere("a rollout with a short life", rules(Proof::ShortLife));
}

#[test]
fn with_a_probe() {
    let command = RunCommand { command: vec!["probe".to_owned()], timeout: Duration::from_secs(1) };
    go_everywhere("a rollout with a probe", rules(probe(ProbeKind::Command(command.command))));
}

#[test]
fn with_two_processes_at_once() {
    let rules = Rules { overlaps: true, ..rules(probe(ProbeKind::Notify)) };
    go_everywhere("a rollout with overlap", rules);
}

#[test]
fn without_proof() {
    go_everywhere("a rollout without proof", rules(Proof::Nothing));
}

/// An operator holds rollouts, releases them and goes back to what was before, at every moment.
#[test]
fn with_orders() {
    let name = "a rollout with orders";
    let mut world = Transaction::new(rules(Proof::ShortLife), 1, 1);
    world.orders = 2;
    let seen = explore(name, world, 4_000).unwrap_or_else(|wrong| panic!("{name}: {wrong}"));
    assert!(seen.is_all || seen.worlds >= 4_000, "{seen:?}");
}
