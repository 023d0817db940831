//! The loop of the fake world: one clock, one queue of what is going to happen, and the checks.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::unistd::Pid;
use squire::agent::{self, Agent, Mode, Patience, Task};
use squire::config;
use squire::names::Generation;
use squire::plan::{self, Surroundings};
use squire::render::Release;
use squire::secret::DigestKey;
use squire::session::{self, Answer, Ask, Session, Settings};
use squire::supervise::host::{Order, Report, Streams, Ticket};
use squire::supervise::{Ending, Refusal};
use squire::template::{self, Engine};

use crate::process::{Disk, Process};
use crate::server::Server;

/// What chance does to a world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weather {
    /// Everything works, in its time.
    Calm,
    /// Everything that can fail does now and then.
    Storm,
    /// The server refuses the login.
    WrongCredential,
}

const CONFIG: &str = r#"
[source.vault]
address = "http://127.0.0.1:8200"
auth.approle = { role_id = "web" }
[secret.db]
path = "database/creds/app"
[secret.other]
path = "database/creds/other"
[secret.kv]
path = "secret/app"
refresh = "5s"
[output]
dir = "/run/world"
[[file]]
path = "db"
inline = "{{db.username}}:{{db.password}}"
on_change = "SIGHUP"
[[file]]
path = "both"
inline = "{{other.username}}:{{other.password}} {{kv.value}}"
on_change = "none"
[process]
command = ["app"]
env = { DB = "{{other.username}}:{{other.password}}" }
[rollout]
grace = "2s"
check = [["check", "{dir}"]]
probe = { command = ["probe"], period = "200ms", timeout = "3s" }
"#;

/// What is going to happen at its time.
enum Happening {
    Answered { sent: Instant, answer: Answer },
    Agent(agent::Event),
}

pub(crate) struct World {
    weather: Weather,
    seed: u64,
    chance: fastrand::Rng,
    now: Instant,
    queue: BTreeMap<(Instant, u64), Happening>,
    queued: u64,
    session: Session,
    agent: Agent,
    server: Server,
    disk: Disk,
    process: Option<Process>,
    /// Checks and tries that run.
    commands: BTreeSet<Ticket>,
    staged: Option<Arc<Release>>,
    generation: Option<Generation>,
    taken_back: u64,
    rotations: u64,
    in_flight: usize,
    closed: bool,
    session_ended: bool,
    dead_for: Duration,
}

impl World {
    pub(crate) fn new(seed: u64, weather: Weather) -> Self {
        let now = Instant::now();
        let config =
            config::parse(Path::new("squire.toml"), CONFIG, &|_| None).expect("the configuration is good");
        let engine = Engine::new(template::Surroundings {
            env: Box::new(|_| None),
            file: Box::new(|_| Err(std::io::ErrorKind::NotFound.into())),
        });
        let surroundings = Surroundings {
            read: &|_| Err(std::io::ErrorKind::NotFound.into()),
            user: &|_| None,
            group: &|_| None,
            person: &|_| None,
            own: (0, 0),
        };
        let plan = plan::compile(&config, None, &surroundings).expect("the plan is good");
        let (source, wants) = plan.wants.iter().next().expect("there is one source");
        let look_up_every = Duration::from_secs(20);
        let settings =
            Settings { source: source.clone(), wants: wants.clone(), look_up_every, seed, adopt: None };
        let session = Session::new(settings, now);
        let task = Task {
            engine,
            key: DigestKey::new([2; 32]),
            mode: Mode::Run,
            on_stop: None,
            rollout: config.rollout.clone(),
            patience: Patience { timeout: None, ends_early: false },
            first: Generation::FIRST,
            superseded: std::collections::BTreeSet::new(),
            plan,
        };
        Self {
            weather,
            seed,
            chance: fastrand::Rng::with_seed(seed ^ 0x5eed),
            now,
            queue: BTreeMap::new(),
            queued: 0,
            session,
            agent: Agent::new(task, now),
            server: Server::new(weather, seed, now),
            disk: Disk::default(),
            process: None,
            commands: BTreeSet::new(),
            staged: None,
            generation: None,
            taken_back: 0,
            rotations: 0,
            in_flight: 0,
            closed: false,
            session_ended: false,
            dead_for: Duration::ZERO,
        }
    }

    /// How often something was published.
    pub(crate) fn rotations(&self) -> u64 {
        self.rotations
    }

    /// How often a release was taken back.
    pub(crate) fn taken_back(&self) -> u64 {
        self.taken_back
    }

    /// For how long a running process held a credential that was dead.
    pub(crate) fn dead_for(&self) -> Duration {
        self.dead_for
    }

    pub(crate) fn logins(&self) -> u32 {
        self.server.logins
    }

    pub(crate) fn living_leases(&self) -> usize {
        self.server.living_leases(self.now)
    }

    /// Lets this much time pass, or less if the agent ends.
    pub(crate) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        self.step_session(session::Event::Due);
        self.step_agent(agent::Event::Due);
        while !self.closed && self.turn(end) {}
    }

    /// Stops Squire as SIGTERM does, and waits for the session to give everything back.
    pub(crate) fn stop(&mut self) {
        self.step_agent(agent::Event::Reported(Report::Signalled(Signal::SIGTERM)));
        let end = self.now + Duration::from_mins(2);
        while !self.closed && self.turn(end) {}
        assert!(self.closed, "seed {}: SIGTERM did not end it", self.seed);
        self.step_session(session::Event::StopAsked);
        while !self.session_ended && self.turn(end) {}
        assert!(self.session_ended, "seed {}: the session did not end", self.seed);
    }

    /// What happens next, if it happens before the end.
    fn turn(&mut self, end: Instant) -> bool {
        let queued = self.queue.keys().next().map(|(at, _)| *at);
        let deadlines = [self.session.deadline(), self.agent.deadline()];
        let next = deadlines.into_iter().flatten().chain(queued).min();
        let Some(next) = next.filter(|next| *next <= end) else { return false };
        self.pass(next.saturating_duration_since(self.now));
        let due = |deadline: Option<Instant>, now| deadline.is_some_and(|deadline| deadline <= now);
        if due(self.session.deadline(), self.now) {
            self.step_session(session::Event::Due);
            let owed = due(self.session.deadline(), self.now);
            assert!(!owed, "seed {}: the session would spin", self.seed);
        }
        if !self.closed && due(self.agent.deadline(), self.now) {
            self.step_agent(agent::Event::Due);
            let owed = due(self.agent.deadline(), self.now);
            assert!(!owed, "seed {}: the agent would spin", self.seed);
        }
        while let Some(entry) = self.queue.first_entry().filter(|entry| entry.key().0 <= self.now) {
            match entry.remove() {
                Happening::Answered { sent, answer } => {
                    self.in_flight -= 1;
                    self.step_session(session::Event::Answered { sent, answer });
                }
                Happening::Agent(event) => self.happen(event),
            }
        }
        true
    }

    fn pass(&mut self, time: Duration) {
        let credentials = self.process.iter().flat_map(Process::credentials);
        if credentials.into_iter().any(|credential| !self.server.accepts(credential, self.now)) {
            self.dead_for += time;
        }
        self.now += time;
    }

    fn step_session(&mut self, event: session::Event) {
        for effect in self.session.step(event, self.now) {
            assert!(!self.session_ended, "seed {}: an effect after the end", self.seed);
            match effect {
                session::Effect::Ask(ask) => self.ask(&ask),
                session::Effect::Deliver(update) => {
                    let after = self.delay(0..3);
                    self.enqueue(after, Happening::Agent(agent::Event::Updated(update)));
                }
                session::Effect::Lack(lack) => {
                    let after = self.delay(0..5);
                    self.enqueue(after, Happening::Agent(agent::Event::Lacking(lack)));
                }
                session::Effect::Record(_) | session::Effect::Report(_) => {}
                session::Effect::Ended => self.session_ended = true,
            }
        }
    }

    fn ask(&mut self, ask: &Ask) {
        self.in_flight += 1;
        assert!(self.in_flight <= session::IN_FLIGHT, "seed {}: too many questions at once", self.seed);
        match ask {
            Ask::Renew(_, lease, _) => {
                let ends = self.server.ends(lease);
                assert!(
                    ends.is_none_or(|ends| ends >= self.now),
                    "seed {}: renewed after its end",
                    self.seed
                );
            }
            Ask::Revoke(_, lease) if !self.closed => {
                let used =
                    self.process.iter().flat_map(Process::credentials).any(|used| used == lease.as_str());
                assert!(!used, "seed {}: {lease} was revoked while the process used it", self.seed);
            }
            _ => {}
        }
        let sent = self.now;
        let answer = self.server.answer(ask, sent);
        let after = self.delay(1..if self.weather == Weather::Storm { 3000 } else { 80 });
        self.enqueue(after, Happening::Answered { sent, answer });
    }

    fn step_agent(&mut self, event: agent::Event) {
        for effect in self.agent.step(event, self.now) {
            assert!(!self.closed, "seed {}: an effect after the end", self.seed);
            match effect {
                agent::Effect::Stage(release) => self.stage(release),
                agent::Effect::Discard => self.staged = None,
                agent::Effect::Publish => {
                    let release = self.staged.take().expect("something is staged");
                    self.publish(&release, true);
                }
                agent::Effect::Restore(release) => {
                    self.taken_back += 1;
                    self.publish(&release, false);
                }
                agent::Effect::Try { .. } | agent::Effect::SignalTo { .. } | agent::Effect::Call { .. } => {
                    unreachable!("only commands are asked")
                }
                agent::Effect::Order(order) => self.order(order),
                agent::Effect::Free(secret, below) => {
                    self.step_session(session::Event::Released(secret, below));
                }
                agent::Effect::Reject(secret, revision) => {
                    self.step_session(session::Event::Rejected(secret, revision));
                }
                agent::Effect::Refresh => self.step_session(session::Event::RefreshAsked(Vec::new())),
                agent::Effect::Retire(_) | agent::Effect::Report(_) => {}
                agent::Effect::Close { .. } => self.closed = true,
            }
        }
    }

    fn stage(&mut self, release: Arc<Release>) {
        let after = self.delay(0..20);
        let event = if self.weather == Weather::Storm && self.chance.u32(..20) == 0 {
            agent::Event::NotStaged("by chance".to_owned())
        } else {
            let changes = self.disk.differs(&release);
            self.staged = Some(release);
            agent::Event::Staged { directory: Some("/run/world/staged".into()), changes }
        };
        self.enqueue(after, Happening::Agent(event));
    }

    fn publish(&mut self, release: &Release, is_new: bool) {
        assert_eq!(
            (release.files.len(), release.env.len()),
            (2, 1),
            "seed {}: a release is whole",
            self.seed
        );
        let after = self.delay(0..20);
        if self.weather == Weather::Storm && self.chance.u32(..10) == 0 {
            let event = agent::Event::NotPublished("by chance".to_owned());
            return self.enqueue(after, Happening::Agent(event));
        }
        if is_new {
            assert!(Some(release.generation) > self.generation, "seed {}: generations must grow", self.seed);
            self.generation = Some(release.generation);
        }
        let changed = self.disk.publish(release);
        self.check_consistency();
        self.rotations += 1;
        self.enqueue(after, Happening::Agent(agent::Event::Published { changed, superseded: None }));
    }

    /// A user name never stands beside the password of another lease.
    fn check_consistency(&self) {
        for text in self.disk.files.values() {
            let pair = text.split(' ').next().and_then(|pair| pair.split_once(':'));
            assert!(
                pair.is_some_and(|(user, password)| user == password),
                "seed {}: torn: {text}",
                self.seed
            );
        }
    }

    fn order(&mut self, order: Order) {
        let slow = if self.weather == Weather::Storm { 40_000 } else { 200 };
        match order {
            Order::Spawn { ticket, streams: Streams::Aside | Streams::Captured, .. } => {
                let fails = self.weather == Weather::Storm && self.chance.u32(..4) == 0;
                let after = self.delay(1..if fails { 2000 } else { 20 });
                self.commands.insert(ticket);
                self.exit(ticket, Ending::Code(u8::from(fails)), after);
            }
            Order::Rehearse { ticket, .. } => {
                let fails = self.weather == Weather::Storm && self.chance.u32(..10) == 0;
                let refusal = || Refusal::NotFound { program: "app".to_owned() };
                let result = if fails { Err(refusal()) } else { Ok(()) };
                let after = self.delay(1..20);
                let rehearsed = Report::Rehearsed { ticket, result };
                self.enqueue(after, Happening::Agent(agent::Event::Reported(rehearsed)));
            }
            Order::Kill { ticket } if self.commands.contains(&ticket) => {
                self.exit(ticket, Ending::Signal(9), Duration::from_millis(1));
            }
            Order::Spawn { ticket, launch, .. } => {
                assert!(self.process.is_none(), "seed {}: two processes at once", self.seed);
                assert!(self.generation.is_some(), "seed {}: started before the first release", self.seed);
                self.process = Some(Process::new(ticket, &launch));
                let pid = Pid::from_raw(1000);
                let after = self.delay(1..10);
                self.enqueue(
                    after,
                    Happening::Agent(agent::Event::Reported(Report::Started { ticket, pid })),
                );
                if self.weather == Weather::Storm && self.chance.u32(..50) == 0 {
                    let lives = self.delay(1_000..120_000);
                    self.exit(ticket, Ending::Code(1), lives);
                }
            }
            Order::Signal { ticket, signal: Signal::SIGTERM } => {
                let after = self.delay(1..slow);
                self.exit(ticket, Ending::Signal(15), after);
            }
            Order::Signal { signal: Signal::SIGHUP, .. } => {
                let disk = &self.disk;
                self.process.iter_mut().for_each(|process| process.read(disk));
            }
            Order::Kill { ticket } => self.exit(ticket, Ending::Signal(9), Duration::from_millis(1)),
            Order::Signal { .. } | Order::Disband { .. } | Order::End => {}
        }
    }

    fn exit(&mut self, ticket: Ticket, ending: Ending, after: Duration) {
        self.enqueue(after, Happening::Agent(agent::Event::Reported(Report::Exited { ticket, ending })));
    }

    /// What happens to the agent may happen to the process first. One that is gone already does not go again.
    fn happen(&mut self, event: agent::Event) {
        match &event {
            agent::Event::Reported(Report::Started { ticket, .. }) => match &mut self.process {
                Some(process) if process.ticket == *ticket => {
                    process.started = true;
                    process.read(&self.disk);
                }
                _ => return,
            },
            agent::Event::Reported(Report::Exited { ticket, .. }) if self.commands.remove(ticket) => {}
            agent::Event::Reported(Report::Exited { ticket, .. }) => {
                if self.process.as_ref().is_none_or(|process| process.ticket != *ticket) {
                    return;
                }
                self.process = None;
            }
            _ => {}
        }
        self.step_agent(event);
    }

    fn delay(&mut self, milliseconds: std::ops::Range<u64>) -> Duration {
        Duration::from_millis(self.chance.u64(milliseconds))
    }

    fn enqueue(&mut self, after: Duration, happening: Happening) {
        self.queued += 1;
        self.queue.insert((self.now + after, self.queued), happening);
    }
}
