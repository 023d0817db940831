//! The loop of the fake world: one clock, one queue of what is going to happen, and the checks.
//!
//! The servers, the disk and the ledger are there for as long as the world is; a [`Squire`] comes and goes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use squire::agent;
use squire::names::{Generation, SourceName};
use squire::render::Release;
use squire::session::{self, Answer, Holdings};
use squire::source::Errand;
use squire::supervise::host::{Report, Ticket};

use crate::process::{Disk, Process};
use crate::server::Server;
use crate::squire::Squire;
use crate::store::Store;
use crate::variant::{Fates, StoreUse, Variant, Weather};

/// What is going to happen at its time.
pub(crate) enum Happening {
    /// To the Squire that runs.
    Answered {
        source: SourceName,
        sent: Instant,
        answer: Answer,
    },
    Agent(agent::Event),
    Errand(Errand),
    /// A keeper wakes up to see what time it is.
    Woken(SourceName),
    /// The store says that something in it changed.
    StoreChanged,
    /// To the world, whoever runs.
    Store(Stir),
    Fate(Fate),
}

/// What happens to the store.
#[derive(Clone, Copy)]
pub(crate) enum Stir {
    Written,
    /// It is looked whether something is to be rotated.
    Looked,
}

/// What happens to Squire as a whole.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fate {
    Begin,
    Crash,
    Suspension,
    Refresh,
}

impl Happening {
    pub(crate) fn outlives_squire(&self) -> bool {
        matches!(self, Self::Store(_) | Self::Fate(_))
    }
}

/// What came to pass.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    /// How often something was published.
    pub rotations: u64,
    /// How often a release was taken back.
    pub taken_back: u64,
    pub crashes: u64,
    pub adoptions: u64,
    pub suspensions: u64,
    /// How often two processes ran at once.
    pub overlaps: u64,
    /// For how long a running process held a credential that was dead, but for the time after a suspension that may have killed it.
    pub dead_for: Duration,
    /// The longest time that it took to mend what a suspension had killed.
    pub mended_in: Duration,
}

pub(crate) struct World {
    pub(crate) weather: Weather,
    pub(crate) fates: Fates,
    pub(crate) variant: Variant,
    pub(crate) seed: u64,
    pub(crate) chance: fastrand::Rng,
    pub(crate) now: Instant,
    /// How long the machine was suspended: so much later it is for the servers.
    pub(crate) slept: Duration,
    pub(crate) woken_at: Option<Instant>,
    queue: BTreeMap<(Instant, u64), Happening>,
    queued: u64,
    turns_at_once: u32,
    pub(crate) server: Server,
    pub(crate) store: Store,
    pub(crate) ledger: BTreeMap<SourceName, Holdings>,
    pub(crate) squire: Option<Squire>,
    pub(crate) runs: u64,
    /// Nobody begins again.
    pub(crate) is_over: bool,
    pub(crate) disk: Disk,
    pub(crate) processes: Vec<Process>,
    /// Checks and tries that run.
    pub(crate) commands: BTreeSet<Ticket>,
    pub(crate) errands: BTreeSet<Ticket>,
    pub(crate) staged: Option<Arc<Release>>,
    pub(crate) generation: Option<Generation>,
    pub(crate) tally: Tally,
    begun_at: Instant,
    /// `WORLD_STORY` is the seed of this world.
    tells: bool,
}

impl World {
    pub(crate) fn new(seed: u64, weather: Weather) -> Self {
        Self::with(seed, weather, Fates::default(), Variant::of(seed))
    }

    pub(crate) fn with(seed: u64, weather: Weather, fates: Fates, variant: Variant) -> Self {
        let now = Instant::now();
        let mut world = Self {
            weather,
            fates,
            variant,
            seed,
            chance: fastrand::Rng::with_seed(seed ^ 0x5eed),
            now,
            slept: Duration::ZERO,
            woken_at: None,
            queue: BTreeMap::new(),
            queued: 0,
            turns_at_once: 0,
            server: Server::new(weather, variant.lives, seed, now),
            store: Store::new(seed, now),
            ledger: BTreeMap::new(),
            squire: None,
            runs: 0,
            is_over: false,
            disk: Disk::default(),
            processes: Vec::new(),
            commands: BTreeSet::new(),
            errands: BTreeSet::new(),
            staged: None,
            generation: None,
            tally: Tally::default(),
            begun_at: now,
            tells: std::env::var("WORLD_STORY").is_ok_and(|of| of == seed.to_string()),
        };
        world.schedule_fates();
        if variant.store != StoreUse::None {
            world.enqueue(Duration::from_secs(10), Happening::Store(Stir::Written));
            world.enqueue(Duration::from_secs(1), Happening::Store(Stir::Looked));
        }
        world.begin();
        world
    }

    /// The servers' clock.
    pub(crate) fn server_now(&self) -> Instant {
        self.now + self.slept
    }

    /// Lets this much time pass.
    pub(crate) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.turn(end) {}
        self.pass(end.saturating_duration_since(self.now));
    }

    /// Stops Squire as SIGTERM does, and waits for everything to be given back.
    pub(crate) fn stop(&mut self) {
        (self.is_over, self.fates) = (true, Fates::default());
        self.step_agent(agent::Event::Reported(Report::Signalled(Signal::SIGTERM)));
        let end = self.now + Duration::from_mins(2);
        while self.squire.is_some() && self.turn(end) {}
        assert!(self.squire.is_none(), "{}: SIGTERM did not end it", self.name());
        assert!(self.processes.is_empty(), "{}: a process is left", self.name());
        assert!(self.commands.is_empty() && self.errands.is_empty(), "{}: a command is left", self.name());
    }

    /// How a world is called in a failure.
    pub(crate) fn name(&self) -> String {
        let Variant { overlaps, store, .. } = self.variant;
        format!("seed {} ({:?}, overlaps: {overlaps}, store: {store:?})", self.seed, self.weather)
    }

    /// Prints what happens, where this world's story is asked for.
    #[expect(clippy::print_stdout, reason = "it is for whoever asked for it")]
    pub(crate) fn tell(&self, what: &dyn std::fmt::Debug) {
        if self.tells {
            let time = self.now.saturating_duration_since(self.begun_at).as_secs_f64();
            let text = format!("{what:?}");
            println!("{time:9.3} {}", text.chars().take(200).collect::<String>());
        }
    }

    /// What happens next, if it happens before the end.
    fn turn(&mut self, end: Instant) -> bool {
        let queued = self.queue.keys().next().map(|(at, _)| *at);
        let due = self.squire.as_ref().and_then(Squire::deadline);
        let Some(next) = due.into_iter().chain(queued).min().filter(|next| *next <= end) else {
            return false;
        };
        self.pass(next.saturating_duration_since(self.now));
        self.turn_sessions();
        self.turn_agent();
        while let Some(entry) = self.queue.first_entry().filter(|entry| entry.key().0 <= self.now) {
            let happening = entry.remove();
            self.happen(happening);
        }
        self.end_run();
        self.check();
        true
    }

    fn turn_sessions(&mut self) {
        for source in self.sources() {
            if self.is_due(&source) {
                self.step_session(&source, session::Event::Due);
                assert!(!self.is_due(&source), "{}: the session of {source} would spin", self.name());
            }
        }
    }

    fn turn_agent(&mut self) {
        let is_due = |world: &Self| {
            let deadline = world.squire.as_ref().and_then(|squire| squire.agent.deadline());
            deadline.is_some_and(|deadline| deadline <= world.now)
        };
        if is_due(self) {
            self.step_agent(agent::Event::Due);
            assert!(!is_due(self), "{}: the agent would spin", self.name());
        }
    }

    fn is_due(&self, source: &SourceName) -> bool {
        let line = self.squire.as_ref().and_then(|squire| squire.lines.get(source));
        line.and_then(|line| line.session.deadline()).is_some_and(|deadline| deadline <= self.now)
    }

    pub(crate) fn sources(&self) -> Vec<SourceName> {
        self.squire.iter().flat_map(|squire| squire.lines.keys().cloned()).collect()
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Answered { source, sent, answer } => self.answered(&source, sent, answer),
            Happening::Agent(event) => self.happen_to_agent(event),
            Happening::Errand(errand) => self.step_agent(agent::Event::Errand(errand)),
            Happening::Woken(source) => self.step_session(&source, session::Event::Due),
            Happening::StoreChanged => self.store_changed(),
            Happening::Store(stir) => self.stir_store(stir),
            Happening::Fate(fate) => self.meet(fate),
        }
    }

    fn pass(&mut self, time: Duration) {
        self.turns_at_once = if time.is_zero() { self.turns_at_once + 1 } else { 0 };
        assert!(self.turns_at_once < 100, "{}: it spins", self.name());
        self.count_dead(time);
        self.now += time;
    }

    pub(crate) fn delay(&mut self, milliseconds: std::ops::Range<u64>) -> Duration {
        Duration::from_millis(self.chance.u64(milliseconds))
    }

    /// Whether something that happens once in so many times happens now, where things may fail.
    pub(crate) fn fails(&mut self, once_in: u32) -> bool {
        self.weather.is_rough() && self.chance.u32(..once_in) == 0
    }

    pub(crate) fn enqueue(&mut self, after: Duration, happening: Happening) {
        self.queued += 1;
        self.queue.insert((self.now + after, self.queued), happening);
    }

    /// What was to happen to the Squire that ran.
    pub(crate) fn forget_plans(&mut self) {
        self.queue.retain(|_, happening| happening.outlives_squire());
    }
}
