//! How everything stands at one moment. The command, the API, the page, readiness and the gauges are views of this one value.
//!
//! A session says how its source and its secrets stand, the agent says how releases and process stand, and [`Status::new`] puts both
//! together. Written as JSON it is the answer of `GET /v1/status`; `docs/openapi.json` describes it.
//!
//! *Invariants:* pure. A status holds names, numbers, times and messages, never a value: no type in it can hold one.

mod moment;
mod readiness;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::names::{Generation, Revision, SecretName, SourceName, Trace};

pub use moment::{Clock, Moment};
pub use readiness::{Readiness, Unready};

/// How everything stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The version of Squire.
    pub version: String,
    /// The process id of Squire.
    pub pid: u32,
    /// When this was said.
    pub at: Moment,
    /// When this run began.
    pub since: Moment,
    /// Whether what it serves can be relied on, and if not, why.
    pub ready: Readiness,
    /// Generation numbers.
    pub generation: Generations,
    /// Since when rollouts are on hold by order of an operator.
    pub on_hold_since: Option<Moment>,
    /// Whether the configuration that was asked for last holds.
    pub configuration: ConfigurationStatus,
    /// Why no release is made of the newest values: they do not render, and the release before stays.
    pub unrendered: Vec<String>,
    /// The process, where there is one to run.
    pub process: Option<ProcessStatus>,
    /// Every source, by name.
    pub sources: Vec<SourceStatus>,
    /// Every secret, by name.
    pub secrets: Vec<SecretStatus>,
    /// The credentials that units of systemd may have, in the order of the configuration.
    pub credentials: Vec<UnitCredentialStatus>,
    /// The latest rollouts, newest first.
    pub rollouts: Vec<RolloutStatus>,
}

/// A credential that units of systemd may have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitCredentialStatus {
    /// As `LoadCredential=` of a unit has it.
    pub name: String,
    /// The patterns of the units that may have it.
    pub units: Vec<String>,
    /// The units that have its newest value.
    pub held_by: Vec<String>,
    /// The units that have one of before.
    pub outdated: Vec<String>,
}

/// The generation that is wanted, and the one that is live.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generations {
    /// The newest that was made: it is live, on its way, waiting, or it failed.
    pub wanted: Option<Generation>,
    /// The one that was committed last.
    pub live: Option<Generation>,
    /// Whether something is on its way: new values are gathered, or a rollout goes on.
    pub is_pending: bool,
}

/// What the last reload came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigurationStatus {
    /// Whether the one that was asked for last was refused, or waits for its secrets: the one before holds meanwhile.
    pub is_former: bool,
    /// Why.
    pub problems: Vec<String>,
}

/// How one source stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SourceStatus {
    /// `[source.NAME]`
    pub name: SourceName,
    /// `vault`, `store` or `aws`.
    pub kind: String,
    /// In one word.
    pub state: SourceState,
    /// The token, where there is one.
    pub token: Option<TokenStatus>,
    /// The credential of its logins, where there is one.
    pub credential: Option<CredentialStatus>,
    /// What the source, or its login, last failed with; nothing while all is well.
    pub trouble: Option<String>,
    /// The logins that failed, one after the other.
    pub login_failures: u32,
    /// Before this time nothing is asked, since the source could not be reached.
    pub not_before: Option<Moment>,
    /// The number of leases that are held, those that wait for their end included.
    pub leases: usize,
    /// The number of leases that clients of the proxy have, where there is a proxy to this source.
    pub client_leases: Option<usize>,
    /// The number of questions that are out.
    pub in_flight: usize,
    /// How the rotations stand that are planned there, where it tells.
    pub rotations: Option<Rotations>,
}

/// The rotations that a source plans by itself, of the secrets that Squire may see there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rotations {
    /// So many should have been made by now.
    pub overdue: usize,
    /// Of so many the last try failed.
    pub failing: usize,
    /// When the next one is due.
    pub next: Option<Moment>,
}

/// The state of a source, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceState {
    /// It has a token, and answers.
    LoggedIn,
    /// It has no token yet, and nothing failed so far.
    LoggingIn,
    /// The last login failed. A token may still be there.
    LoginFailing,
    /// It could not be reached several times in a row (the breaker is open): one question at a time looks for it.
    Unreachable,
    /// It did not say in time how it stands.
    Busy,
    /// It gives back what it has.
    Stopping,
}

/// The credential that a source logs in with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CredentialStatus {
    /// Where the next login has it from.
    pub from: CredentialPlace,
    /// Its file or variable, in the words of the log.
    pub written_in: String,
    /// How many more logins it is good for, where the server told.
    pub uses_left: Option<u64>,
    /// Its end, where the server told.
    pub ends: Option<Moment>,
}

/// Where a credential is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CredentialPlace {
    /// Where the configuration says it is.
    File,
    /// In Squire's memory, since a login may have used its file up.
    Memory,
    /// In the ledger, where an earlier run left it.
    Ledger,
}

impl CredentialPlace {
    /// The word as people read it.
    pub fn word(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Memory => "memory",
            Self::Ledger => "ledger",
        }
    }
}

/// The token of a source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenStatus {
    /// Its end; nothing where it lives for ever.
    pub ends: Option<Moment>,
    /// What is planned for it.
    pub next: Option<Next>,
    /// How many more questions may be put with it, where they are counted.
    pub uses_left: Option<u64>,
}

/// How one secret stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SecretStatus {
    /// `[secret.NAME]`
    pub name: SecretName,
    /// The source that it comes from.
    pub source: SourceName,
    /// Its path there.
    pub path: String,
    /// In one word.
    pub state: SecretState,
    /// The newest value that was fetched; 0 before the first.
    pub revision: Revision,
    /// The value that the live release has.
    pub live: Option<Revision>,
    /// Whether a new value was taken back, so that the last good one is used, whatever the state says first.
    pub is_held: bool,
    /// When the newest value came.
    pub changed: Option<Moment>,
    /// When the live value ends, or the newest while none is live; nothing where it has no end.
    pub ends: Option<Moment>,
    /// How its end is kept away.
    pub kept_by: KeptBy,
    /// What is planned for it.
    pub next: Option<Next>,
    /// Whether the question for a value is out.
    pub is_asked_for: bool,
    /// How often the source answered such a question, in whatever way.
    pub answers: u64,
    /// Why it was not fetched or renewed; nothing while all is well.
    pub trouble: Option<String>,
    /// The ends of its values that are not relied on any more; for [`Status::new`], which knows which value is live.
    #[serde(skip)]
    pub former: FormerEnds,
}

/// When values of a secret end that are not the newest: one of them may be live for long, as on hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FormerEnds {
    /// Of what is leased, by the number of the value.
    pub leased: BTreeMap<Revision, Moment>,
    /// Of every other value before the newest; nothing where such a value has no end.
    pub other: Option<Moment>,
}

/// The state of a secret, in one word. The first that fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecretState {
    /// Its value is past its end: what is published no longer works.
    Expired,
    /// The policy does not allow to read it.
    Denied,
    /// The source no longer has it, or never had it.
    Gone,
    /// A new value was taken back; the last good one is used.
    Held,
    /// There is no value yet.
    Awaited,
    /// It could not be read or renewed, and its value is still valid.
    Stale,
    /// The question for a newer value or a longer life is out.
    Renewing,
    /// All is well.
    Fresh,
}

impl SecretState {
    /// The word as people read it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Denied => "denied",
            Self::Gone => "gone",
            Self::Held => "held",
            Self::Awaited => "awaited",
            Self::Stale => "stale but valid",
            Self::Renewing => "renewing",
            Self::Fresh => "fresh",
        }
    }
}

/// What keeps a value valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeptBy {
    /// A lease, which is renewed.
    Lease,
    /// A successor before the end: a certificate, or a lease that cannot be renewed.
    Replacement,
    /// A look at the source now and then.
    Reading,
}

/// What is planned next, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Next {
    /// What.
    pub action: NextAction,
    /// When: in the past if it waits for its turn, or its question is out.
    pub at: Moment,
}

/// Something that is planned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NextAction {
    /// Fetch the value.
    Fetch,
    /// Ask for a longer life.
    Renew,
    /// Ask whether it still lives.
    LookUp,
    /// Log in anew.
    LogIn,
}

impl NextAction {
    /// The word as people read it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Fetch => "fetch",
            Self::Renew => "renew",
            Self::LookUp => "look up",
            Self::LogIn => "log in",
        }
    }
}

/// The process that Squire runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProcessStatus {
    /// Its process ids: none while it does not run, two while a successor is on trial.
    pub pids: Vec<i32>,
    /// Since when the newest of them runs.
    pub since: Option<Moment>,
    /// How often a process was started.
    pub starts: u64,
    /// How the last one ended.
    pub last_ending: Option<String>,
    /// When it is started again, while it rests after an end of its own.
    pub again_at: Option<Moment>,
}

/// One rollout, over or going on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RolloutStatus {
    /// Which release.
    pub generation: Generation,
    /// The id under which logs and audit know it.
    pub trace: Trace,
    /// The secrets that have another value in it than in the release before.
    pub secrets: Vec<SecretName>,
    /// When it began.
    pub began: Moment,
    /// When it was over; nothing while it goes on.
    pub ended: Option<Moment>,
    /// How it ended; nothing while it goes on.
    pub outcome: Option<Outcome>,
    /// Why it did not succeed.
    pub reason: Option<String>,
    /// Its steps, in their order.
    pub steps: Vec<StepStatus>,
}

/// How a rollout ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It is live, and the process is well with it.
    Committed,
    /// A check failed, or no process could have been started with it. Nobody saw it.
    NotPassed,
    /// It could not be written.
    NotPublished,
    /// The process was not well with it, and has the one before again.
    TakenBack,
    /// The process was not well with it, but has to keep it: what it replaced is dead, or there was nothing before.
    Forced,
}

impl Outcome {
    /// Every one.
    pub const ALL: [Self; 5] =
        [Self::Committed, Self::NotPassed, Self::NotPublished, Self::TakenBack, Self::Forced];

    /// Whether the release is live after it.
    pub fn is_live(self) -> bool {
        matches!(self, Self::Committed | Self::Forced)
    }

    /// The word as people read it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Committed => "committed",
            Self::NotPassed => "not passed",
            Self::NotPublished => "not published",
            Self::TakenBack => "taken back",
            Self::Forced => "forced",
        }
    }
}

/// One step of a rollout.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepStatus {
    /// Which.
    pub step: Step,
    /// When it began.
    pub began: Moment,
    /// How long it took, in seconds; nothing while it goes on.
    pub took_s: Option<f64>,
}

/// The steps of a rollout. A step that takes no time does not show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Written where nobody reads.
    Stage,
    /// Could a process be started with it?
    Rehearse,
    /// The checks.
    Check,
    /// Made visible.
    Publish,
    /// The process, and others, are told.
    React,
    /// The process proves that it is well.
    Try,
    /// The former process is stopped, after its successor proved that it is well.
    HandOver,
    /// Back to the release before.
    GoBack,
}

impl Step {
    /// The word as people read it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Stage => "stage",
            Self::Rehearse => "rehearse",
            Self::Check => "check",
            Self::Publish => "publish",
            Self::React => "react",
            Self::Try => "try",
            Self::HandOver => "hand over",
            Self::GoBack => "go back",
        }
    }
}

/// The word of a state, an outcome or a step in JSON, and so as a label of a metric.
pub fn label(state: &impl Serialize) -> String {
    let word = serde_json::to_value(state).ok();
    word.as_ref().and_then(serde_json::Value::as_str).unwrap_or_default().to_owned()
}

/// The part of a status that the agent knows.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the fields that are not said here are those of `Status`")]
pub struct AgentStatus {
    pub since: Moment,
    pub generation: Generations,
    pub on_hold_since: Option<Moment>,
    pub configuration: ConfigurationStatus,
    pub process: Option<ProcessStatus>,
    pub credentials: Vec<UnitCredentialStatus>,
    pub rollouts: Vec<RolloutStatus>,
    /// The secrets that no value came of yet.
    pub missing: BTreeSet<SecretName>,
    /// The secrets that are held at their last good value.
    pub held: BTreeSet<SecretName>,
    /// The values that the live release has.
    pub live: BTreeMap<SecretName, Revision>,
    /// Why there is no release yet.
    pub trouble: Vec<String>,
    pub unrendered: Vec<String>,
}

/// The part of a status that a session knows.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionStatus {
    /// Its source.
    pub source: SourceStatus,
    /// Its secrets; what the agent knows of them is not in it.
    pub secrets: Vec<SecretStatus>,
}

impl SessionStatus {
    /// Of a session that did not say in time how it stands.
    pub fn busy(name: SourceName) -> Self {
        let source = SourceStatus {
            name,
            kind: String::new(),
            state: SourceState::Busy,
            token: None,
            credential: None,
            trouble: None,
            login_failures: 0,
            not_before: None,
            leases: 0,
            client_leases: None,
            in_flight: 0,
            rotations: None,
        };
        Self { source, secrets: Vec::new() }
    }
}

impl Status {
    /// Puts the parts together.
    pub fn new(agent: AgentStatus, sessions: Vec<SessionStatus>, pid: u32, at: Moment) -> Self {
        let (mut sources, mut secrets) = (Vec::new(), Vec::new());
        for session in sessions {
            sources.push(session.source);
            secrets.extend(session.secrets.into_iter().map(|secret| known_to(&agent, secret, at)));
        }
        secrets.sort_by(|one, other| one.name.cmp(&other.name));
        let ready = Readiness::of(&agent, &secrets);
        let AgentStatus {
            since,
            generation,
            on_hold_since,
            configuration,
            unrendered,
            process,
            credentials,
            rollouts,
            ..
        } = agent;
        let version = env!("CARGO_PKG_VERSION").to_owned();
        Self {
            version,
            pid,
            at,
            since,
            ready,
            generation,
            on_hold_since,
            configuration,
            unrendered,
            process,
            sources,
            secrets,
            credentials,
            rollouts,
        }
    }
}

/// Adds what the agent knows of a secret. While a newer value waits for its release, what counts is the end of the one that is used.
fn known_to(agent: &AgentStatus, mut secret: SecretStatus, at: Moment) -> SecretStatus {
    secret.live = agent.live.get(&secret.name).copied();
    if let Some(live) = secret.live.filter(|live| *live < secret.revision) {
        secret.ends = secret.former.leased.get(&live).copied().or(secret.former.other);
        if secret.ends.is_some_and(|ends| ends <= at) {
            secret.state = SecretState::Expired;
        }
    }
    secret.is_held = agent.held.contains(&secret.name);
    if secret.is_held {
        secret.state = secret.state.min(SecretState::Held);
    }
    secret
}
