//! An agent with everything around it, without a clock, a server or a disk.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::unistd::Pid;

use super::written::Written;
use crate::agent::reloading::{KeeperId, Keeping};
use crate::agent::{Agent, Effect, Event, Instruction, Mode, Outcome, Patience, Setup, Standing, Task};
use crate::config::SourceConfig;
use crate::names::{Edition, Generation, Revision, SecretName};
use crate::plan::Want;
use crate::publish::{self, Manifest, Publication};
use crate::render::Release;
use crate::secret::{DigestKey, Fields, Meta, Packed};
use crate::session::Update;
use crate::supervise::host::{Order, Report, Ticket};
use crate::supervise::{Ending, Launch};

/// How processes are from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Process {
    IsWell,
    /// The next one ends at once.
    FailsOnce,
}

/// What everybody sees: the files with their contents, and the process with its environment.
pub(super) type State = (BTreeMap<PathBuf, String>, Vec<String>, BTreeMap<String, String>);

pub(super) struct Bench {
    agent: Agent,
    now: Instant,
    setups: BTreeMap<u64, Arc<Setup>>,
    queue: VecDeque<Event>,
    manifest: Manifest,
    staged: Option<(Publication, Arc<Release>)>,
    shown: Option<Arc<Release>>,
    keepers: BTreeMap<KeeperId, Keeper>,
    /// What the servers gave out and did not get back.
    held: BTreeSet<(KeeperId, SecretName, Revision)>,
    running: Option<(Ticket, Launch)>,
    pub(super) process: Process,
    /// Sources give no values.
    pub(super) is_mute: bool,
    /// Values are given without a lease, so that one which was taken back can be tried again.
    pub(super) is_static: bool,
    pub(super) starts: usize,
    pub(super) decided: Vec<(u64, Outcome)>,
}

struct Keeper {
    address: String,
    wants: BTreeMap<SecretName, (Want, Revision)>,
}

impl Bench {
    /// A run that is settled.
    pub(super) fn start(written: &Written) -> Self {
        let (now, setup) = (Instant::now(), written.setup());
        let task = Task {
            setup: Arc::clone(&setup),
            confined: None,
            key: DigestKey::new([7; 32]),
            mode: Mode::Run,
            patience: Patience { timeout: None, ends_early: false },
            first: Generation::FIRST,
            superseded: BTreeSet::new(),
            counter: None,
        };
        let mut bench = Self {
            agent: Agent::new(task, now),
            now,
            setups: BTreeMap::from([(0, setup)]),
            queue: VecDeque::from([Event::Due]),
            manifest: Manifest::default(),
            staged: None,
            shown: None,
            keepers: BTreeMap::new(),
            held: BTreeSet::new(),
            running: None,
            process: Process::IsWell,
            is_mute: false,
            is_static: false,
            starts: 0,
            decided: Vec::new(),
        };
        let wants = bench.setups[&0].plan.wants.clone();
        for (source, wants) in wants {
            bench.keep(0, &(source, Edition::default()), wants);
        }
        bench.settle();
        bench
    }

    /// Another configuration was read.
    pub(super) fn reload(&mut self, written: &Written) {
        let number = self.setups.len() as u64;
        self.setups.insert(number, written.setup());
        self.queue.push_back(Event::Loaded(number, Arc::clone(&self.setups[&number])));
    }

    /// An operator asks for this.
    pub(super) fn instruct(&mut self, instruction: Instruction) {
        for effect in self.agent.instruct(instruction, self.now).unwrap() {
            self.perform(effect);
        }
    }

    /// A secret gets a newer value.
    pub(super) fn rotate(&mut self, secret: &str) {
        for keeper in self.keepers.values_mut() {
            keeper
                .wants
                .entry(SecretName::new(secret))
                .and_modify(|(_, revision)| *revision = revision.next());
        }
        self.answer(secret);
    }

    /// A source that said nothing of a secret says its value.
    pub(super) fn answer(&mut self, secret: &str) {
        let name = SecretName::new(secret);
        for (id, keeper) in &self.keepers {
            let Some((want, revision)) = keeper.wants.get(&name) else { continue };
            let value = format!("{} {} {revision}", keeper.address, want.path);
            self.held.insert((id.clone(), name.clone(), *revision));
            self.queue.push_back(Event::Updated(update(name.clone(), *revision, &value, !self.is_static)));
        }
    }

    /// Sources that said nothing say all that they were asked for.
    pub(super) fn speak(&mut self) {
        self.is_mute = false;
        for (id, keeper) in &self.keepers {
            for (name, (want, revision)) in &keeper.wants {
                if self.held.insert((id.clone(), name.clone(), *revision)) {
                    let value = format!("{} {}", keeper.address, want.path);
                    self.queue.push_back(Event::Updated(update(
                        name.clone(),
                        *revision,
                        &value,
                        !self.is_static,
                    )));
                }
            }
        }
    }

    pub(super) fn live(&self, secret: &str) -> Revision {
        self.live_revisions()[&SecretName::new(secret)]
    }

    /// Until nothing happens any more.
    pub(super) fn settle(&mut self) {
        let end = self.now + Duration::from_mins(2);
        self.run(end, |_| false);
    }

    pub(super) fn run_until(&mut self, is_there: impl Fn(&Self) -> bool) {
        let end = self.now + Duration::from_mins(2);
        self.run(end, is_there);
    }

    fn run(&mut self, end: Instant, is_there: impl Fn(&Self) -> bool) {
        let mut steps = 0;
        while !is_there(self) {
            steps += 1;
            assert!(steps < 3000, "it never rests");
            let due = self.agent.deadline().filter(|due| *due <= end);
            match (self.queue.is_empty(), due) {
                (false, _) => self.go_on(1),
                (true, Some(due)) => {
                    self.now = self.now.max(due);
                    self.step(Event::Due);
                }
                (true, None) => return,
            }
        }
    }

    /// So many events.
    pub(super) fn go_on(&mut self, steps: usize) {
        for _ in 0..steps {
            let Some(event) = self.queue.pop_front() else { return };
            self.step(event);
        }
    }

    fn step(&mut self, event: Event) {
        for effect in self.agent.step(event, self.now) {
            self.perform(effect);
        }
        // What has no lease cannot be given back.
        let lives = |(secret, revision): (&SecretName, &Revision)| {
            self.is_static || self.held.iter().any(|(_, held, of)| held == secret && of == revision)
        };
        let live = self.agent.live().into_iter().flat_map(|release| &release.revisions);
        live.for_each(|used| assert!(lives(used), "{used:?} is in use and was given back"));
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Stage(release) => {
                let publication = self.planned(&release);
                let changes = !publication.changed.is_empty();
                self.staged = Some((publication, release));
                self.queue.push_back(Event::Staged { directory: None, changes });
            }
            Effect::Discard => self.staged = None,
            Effect::Publish => {
                let (publication, release) = self.staged.take().unwrap();
                self.publish(publication, release);
            }
            Effect::Restore(release) => self.publish(self.planned(&release), release),
            Effect::Order(order) => self.order(order),
            Effect::Free(secret, below) => {
                self.held.retain(|(_, held, revision)| *held != secret || *revision >= below);
            }
            Effect::Reject(secret, revision) => {
                self.held.retain(|(_, held, of)| *held != secret || *of != revision);
            }
            Effect::Examine { number, .. } => self.queue.push_back(Event::Examined(number, Ok(()))),
            Effect::Keeping(keeping) => self.keeping(keeping),
            Effect::Decided { number, outcome } => self.decided.push((number, outcome)),
            // A source has nothing newer, unless a test says so.
            Effect::Refresh(_)
            | Effect::Retire(_)
            | Effect::Report(_)
            | Effect::Settle(_)
            | Effect::Sink(_)
            | Effect::Window(_) => {}
            Effect::SignalTo { .. }
            | Effect::Call { .. }
            | Effect::Show(_)
            | Effect::KeepHolders(_)
            | Effect::Try { .. }
            | Effect::Reload
            | Effect::Close { .. } => panic!("nobody asked for {effect:?}"),
        }
    }

    fn planned(&self, release: &Release) -> Publication {
        publish::plan(&self.manifest, release, &self.setups[&0].config.output)
    }

    fn publish(&mut self, publication: Publication, release: Arc<Release>) {
        let Publication { changed, superseded, manifest, .. } = publication;
        self.manifest = manifest;
        self.shown = Some(release);
        self.queue.push_back(Event::Published { changed, superseded });
    }

    fn order(&mut self, order: Order) {
        let report = match order {
            Order::Spawn { ticket, launch, .. } => {
                assert!(self.running.is_none(), "two processes at once");
                self.starts += 1;
                self.running = Some((ticket, launch));
                let pid = Pid::from_raw(7);
                self.queue.push_back(Event::Reported(Report::Started { ticket, pid }));
                if self.process == Process::IsWell {
                    return;
                }
                (self.process, self.running) = (Process::IsWell, None);
                Report::Exited { ticket, ending: Ending::Code(1) }
            }
            Order::Rehearse { ticket, .. } => Report::Rehearsed { ticket, result: Ok(()) },
            Order::Signal { ticket, signal: Signal::SIGTERM } => {
                self.running = None;
                Report::Exited { ticket, ending: Ending::Signal(15) }
            }
            Order::Signal { .. } | Order::Kill { .. } | Order::Disband { .. } | Order::End => return,
        };
        self.queue.push_back(Event::Reported(report));
    }

    fn keeping(&mut self, keeping: Keeping) {
        match keeping {
            Keeping::Start(number, id, wants) => self.keep(number, &id, wants),
            Keeping::Want(id, wants, edition) => self.want(&id, wants, edition),
            Keeping::Enrol(id, _) => assert!(self.keepers.contains_key(&id), "{id:?} is nobody"),
            Keeping::Dismiss(id, _) => {
                self.held.retain(|(keeper, ..)| *keeper != id);
                assert!(self.keepers.remove(&id).is_some(), "{id:?} was dismissed before");
            }
        }
    }

    fn keep(&mut self, number: u64, id: &KeeperId, wants: Vec<Want>) {
        let SourceConfig::Vault(source) = &self.setups[&number].config.sources[&id.0] else { unreachable!() };
        let keeper = Keeper { address: source.addresses[0].clone(), wants: BTreeMap::new() };
        let before = self.keepers.insert(id.clone(), keeper);
        assert!(before.is_none(), "two keepers are {id:?}");
        self.want(id, wants, id.1);
    }

    /// As a session does: what stays is not touched, what is new is fetched.
    fn want(&mut self, id: &KeeperId, wants: Vec<Want>, edition: Edition) {
        let keeper = self.keepers.get_mut(id).unwrap();
        let mut former = std::mem::take(&mut keeper.wants);
        for want in wants {
            let name = want.name.clone();
            if let Some((_, revision)) =
                former.remove(&name).filter(|(before, _)| before.asks_the_same(&want))
            {
                keeper.wants.insert(name, (want, revision));
                continue;
            }
            let revision = Revision::before(edition).next();
            let value = format!("{} {}", keeper.address, want.path);
            keeper.wants.insert(name.clone(), (want, revision));
            if !self.is_mute {
                self.held.insert((id.clone(), name.clone(), revision));
                self.queue.push_back(Event::Updated(update(name, revision, &value, !self.is_static)));
            }
        }
    }

    /// What everybody sees.
    pub(super) fn state(&self) -> State {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let files = self.shown.iter().flat_map(|release| &release.files);
        let files = files.map(|file| (file.path.clone(), text(file.contents.expose())));
        let (_, launch) = self.running.as_ref().expect("a process runs");
        let env = launch.env.iter().map(|(name, value)| (name.clone(), value.expose().to_owned()));
        (files.collect(), launch.command.clone(), env.collect())
    }

    pub(super) fn live_revisions(&self) -> BTreeMap<SecretName, Revision> {
        self.agent.live().unwrap().revisions.clone()
    }

    pub(super) fn keepers(&self) -> BTreeSet<KeeperId> {
        self.keepers.keys().cloned().collect()
    }

    /// Whether a keeper has a value of this secret for the agent, who has not taken it yet.
    pub(super) fn is_on_its_way(&self, secret: &SecretName) -> bool {
        self.queue.iter().any(|event| matches!(event, Event::Updated(update) if update.secret == *secret))
    }

    pub(super) fn is_trying(&self) -> bool {
        self.agent.reloading.is_trying()
    }

    pub(super) fn is_waiting(&self) -> bool {
        matches!(self.agent.standing(), Standing::Awaiting(..))
    }

    /// Of the reloads so far these were good.
    pub(super) fn assert_decided(&self, expected: &[bool]) {
        let outcomes: Vec<_> = self.decided.iter().map(|(_, outcome)| outcome.is_ok()).collect();
        assert_eq!(outcomes, expected, "{:?}", self.decided);
    }

    /// On the servers there is what the live release uses, and nothing else.
    pub(super) fn assert_nothing_else_is_held(&self) {
        let held: Vec<_> =
            self.held.iter().map(|(_, secret, revision)| (secret.clone(), *revision)).collect();
        let mut live: Vec<_> = self.live_revisions().into_iter().collect();
        live.sort();
        let mut sorted = held;
        sorted.sort();
        assert_eq!(sorted, live, "held, and in use");
    }
}

fn update(secret: SecretName, revision: Revision, value: &str, is_leased: bool) -> Update {
    let fields = Packed::of(&Fields::from_iter([("value".to_owned(), value.into())]));
    let digest = DigestKey::new([7; 32]).digest_fields(&fields);
    Update {
        secret,
        revision,
        fields,
        meta: Meta::default(),
        digest,
        former_ends: None,
        again_at: None,
        is_leased,
    }
}
