//! One run of Squire, from its start to its end or its death: the agent and a session for each source.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use squire::agent::{Agent, Mode, Patience, Setup, Task};
use squire::names::{Generation, SecretName, SourceName};
use squire::plan::{self, Plan, Surroundings};
use squire::secret::DigestKey;
use squire::session::{Holdings, Session, Settings};
use squire::template::{self, Engine};

use crate::variant::Variant;

pub(crate) struct Squire {
    pub agent: Agent,
    pub lines: BTreeMap<SourceName, Line>,
    /// Who has which secret.
    pub owners: BTreeMap<SecretName, SourceName>,
    /// The agent has ended.
    pub is_closed: bool,
    /// What is not given back by then stays.
    pub ends_by: Option<Instant>,
}

/// One source's session, as its keeper drives it.
pub(crate) struct Line {
    pub session: Session,
    pub in_flight: usize,
    /// How long the machine slept since the session was told of it last.
    pub slept: Duration,
    pub has_ended: bool,
}

impl Squire {
    /// A run that takes over what an earlier one wrote down.
    pub(crate) fn new(
        variant: &Variant,
        ledger: &BTreeMap<SourceName, Holdings>,
        first: Generation,
        seed: u64,
        now: Instant,
    ) -> Self {
        let config = variant.config();
        let plan = compiled(&config);
        let line = |(source, wants): (&SourceName, &Vec<plan::Want>)| {
            let adopt = ledger.get(source).cloned();
            let look_up_every = Duration::from_secs(20);
            let settings =
                Settings { source: source.clone(), wants: wants.clone(), look_up_every, seed, adopt };
            let session = Session::new(settings, now);
            (source.clone(), Line { session, in_flight: 0, slept: Duration::ZERO, has_ended: false })
        };
        let lines = plan.wants.iter().map(line).collect();
        let wants = plan.wants.values().flatten();
        let owners = wants.map(|want| (want.name.clone(), want.source.clone())).collect();
        let task = Task {
            setup: Arc::new(Setup { config, plan, engine: engine() }),
            confined: None,
            key: DigestKey::new([2; 32]),
            mode: Mode::Run,
            patience: Patience { timeout: None, ends_early: false },
            first,
            superseded: BTreeSet::new(),
            counter: None,
        };
        Self { agent: Agent::new(task, now), lines, owners, is_closed: false, ends_by: None }
    }

    /// When something of it is due.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let lines = self.lines.values().filter_map(|line| line.session.deadline());
        lines.chain(self.agent.deadline()).chain(self.ends_by).min()
    }
}

fn engine() -> Engine {
    Engine::new(template::Surroundings {
        env: Box::new(|_| None),
        file: Box::new(|_| Err(std::io::ErrorKind::NotFound.into())),
    })
}

fn compiled(config: &squire::config::Config) -> Plan {
    let surroundings = Surroundings {
        read: &|_| Err(std::io::ErrorKind::NotFound.into()),
        user: &|_| None,
        group: &|_| None,
        person: &|_| None,
        own: (0, 0),
    };
    plan::compile(config, None, &surroundings).expect("the plan is good")
}
