//! What the metrics count of facts: counters and histograms. The gauges are views of the status (`admin/metrics.rs`).
//!
//! Every match is without a wildcard: a new fact does not compile until somebody has decided here whether it counts.
//!
//! *Invariants:* pure. A label is a name of the configuration, a kind or an outcome: never a path or a message, since nobody bounds their
//! number, and never a value.

mod buckets;
mod changes;

use std::borrow::Cow;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::{
    AuditFact, CredentialFact, Fact, ProcessFact, QuestionFact, ReloadFact, RolloutFact, SecretFact,
    SourceFact, Told, WebhookFact,
};
use crate::status::{Outcome, Step, label};
use buckets::{ages, questions, steps};
use changes::Changes;

/// The prefix of the name of every metric of Squire.
pub const PREFIX: &str = "squire";

type Counts<L> = Family<L, Counter>;
type Times<L> = Family<L, Histogram>;

/// A label set for each thing that is told apart; the names of its fields are those of the labels.
mod labels {
    use std::borrow::Cow;

    use super::EncodeLabelSet;

    /// By the source.
    #[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
    pub(super) struct Source {
        pub(super) source: String,
    }

    /// By the secret.
    #[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
    pub(super) struct Secret {
        pub(super) secret: String,
    }

    /// By what was asked.
    #[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
    pub(super) struct Kind {
        pub(super) source: String,
        pub(super) kind: &'static str,
    }

    /// By what was asked, and what came back.
    #[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
    pub(super) struct Operation {
        pub(super) source: String,
        pub(super) kind: &'static str,
        pub(super) outcome: &'static str,
    }

    /// By how it ended.
    #[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
    pub(super) struct Outcome {
        pub(super) outcome: Cow<'static, str>,
    }

    /// By the step of a rollout.
    #[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
    pub(super) struct Step {
        pub(super) step: String,
    }

    /// By why.
    #[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
    pub(super) struct Reason {
        pub(super) reason: &'static str,
    }
}

/// All that is counted.
#[derive(Debug)]
pub struct Counters {
    operations: Counts<labels::Operation>,
    operation_times: Times<labels::Kind>,
    breaker_openings: Counts<labels::Source>,
    token_deaths: Counts<labels::Source>,
    ledger_failures: Counts<labels::Source>,
    secret_changes: Counts<labels::Secret>,
    expirations: Counts<labels::Secret>,
    leases_lost: Counts<labels::Secret>,
    leases_not_revoked: Counts<labels::Secret>,
    rollouts: Counts<labels::Outcome>,
    rollout_time: Histogram,
    step_times: Times<labels::Step>,
    change_to_live: Histogram,
    changes: Changes,
    starts: Counter,
    start_failures: Counter,
    exits: Counter,
    kills: Counter,
    restarts: Counts<labels::Reason>,
    commands: Counts<labels::Outcome>,
    reactions: Counts<labels::Outcome>,
    reloads: Counts<labels::Outcome>,
    webhooks: Counts<labels::Outcome>,
    unit_credentials: Counts<labels::Outcome>,
    audit_breaks: Counter,
    audit_failing: Gauge,
}

/// A release that could not be rendered begins no rollout, and is counted with those that failed.
const NOT_RENDERED: &str = "not_rendered";

const DONE: &str = "done";
const FAILED: &str = "failed";
const ROTATION: &str = "rotation";
const ENDED: &str = "ended";

impl Counters {
    /// Counters that `registry` shows. What is rare and bad is there as 0 from the beginning: Prometheus sees no increase in a series that
    /// begins with 1.
    pub fn new(registry: &mut Registry) -> Self {
        let counters = Self {
            operations: Family::default(),
            operation_times: Family::new_with_constructor(questions),
            breaker_openings: Family::default(),
            token_deaths: Family::default(),
            ledger_failures: Family::default(),
            secret_changes: Family::default(),
            expirations: Family::default(),
            leases_lost: Family::default(),
            leases_not_revoked: Family::default(),
            rollouts: Family::default(),
            rollout_time: steps(),
            step_times: Family::new_with_constructor(steps),
            change_to_live: ages(),
            changes: Changes::default(),
            starts: Counter::default(),
            start_failures: Counter::default(),
            exits: Counter::default(),
            kills: Counter::default(),
            restarts: Family::default(),
            commands: Family::default(),
            reactions: Family::default(),
            reloads: Family::default(),
            webhooks: Family::default(),
            unit_credentials: Family::default(),
            audit_breaks: Counter::default(),
            audit_failing: Gauge::default(),
        };
        counters.begin();
        counters.register_what_sources_do(registry);
        counters.register_what_releases_do(registry);
        counters
    }

    fn begin(&self) {
        let outcomes = Outcome::ALL.map(|outcome| label(&outcome).into());
        for outcome in outcomes.into_iter().chain([NOT_RENDERED.into()]) {
            drop(self.rollouts.get_or_create(&labels::Outcome { outcome }));
        }
        for outcome in [DONE, FAILED].map(Cow::Borrowed) {
            drop(self.commands.get_or_create(&labels::Outcome { outcome: outcome.clone() }));
            drop(self.reloads.get_or_create(&labels::Outcome { outcome: outcome.clone() }));
            drop(self.webhooks.get_or_create(&labels::Outcome { outcome: outcome.clone() }));
            drop(self.unit_credentials.get_or_create(&labels::Outcome { outcome: outcome.clone() }));
            drop(self.reactions.get_or_create(&labels::Outcome { outcome }));
        }
        for reason in [ROTATION, ENDED] {
            drop(self.restarts.get_or_create(&labels::Reason { reason }));
        }
    }

    fn register_what_sources_do(&self, registry: &mut Registry) {
        let operations = "Questions to a source, by what was asked and what came back";
        registry.register("operations", operations, self.operations.clone());
        let times = "The time from a question to a source to its answer";
        registry.register("operation_duration_seconds", times, self.operation_times.clone());
        let openings = "How often a source could not be reached several times in a row";
        registry.register("breaker_openings", openings, self.breaker_openings.clone());
        let deaths = "Tokens that were dead before their end";
        registry.register("token_deaths", deaths, self.token_deaths.clone());
        let ledger = "What could not be read from the ledger, or written into it";
        registry.register("ledger_failures", ledger, self.ledger_failures.clone());
        let changes = "New values of a secret";
        registry.register("secret_changes", changes, self.secret_changes.clone());
        let expirations = "How often a value passed its end with nothing to replace it";
        registry.register("secret_expirations", expirations, self.expirations.clone());
        let lost = "Leases that were gone before their end";
        registry.register("leases_lost", lost, self.leases_lost.clone());
        let kept = "Leases that could not be given back, and live on to their end";
        registry.register("leases_not_revoked", kept, self.leases_not_revoked.clone());
    }

    fn register_what_releases_do(&self, registry: &mut Registry) {
        let rollouts = "Rollouts, by how they ended; not_rendered are releases for which none began";
        registry.register("rollouts", rollouts, self.rollouts.clone());
        let time = "The time from the beginning of a rollout to its end, whatever that was";
        registry.register("rollout_duration_seconds", time, self.rollout_time.clone());
        let steps = "The time that a step of a rollout took";
        registry.register("rollout_step_duration_seconds", steps, self.step_times.clone());
        let live = "The time from a change of a secret at its source to the release that has it; from when it came, \
                    if the source does not say when it was changed";
        registry.register("change_to_live_seconds", live, self.change_to_live.clone());
        registry.register("child_starts", "Processes that were started", self.starts.clone());
        let failures = "Processes that could not be started";
        registry.register("child_start_failures", failures, self.start_failures.clone());
        registry.register("child_exits", "Processes that ended, for whatever reason", self.exits.clone());
        registry.register(
            "child_kills",
            "Processes that did not stop in time and were killed",
            self.kills.clone(),
        );
        let restarts =
            "Restarts of the process: for a rotation, or because it ended by itself or could not be started";
        registry.register("child_restarts", restarts, self.restarts.clone());
        registry.register("commands", "Commands that Squire ran, by how they ended", self.commands.clone());
        let reactions = "Signals and requests to others, by whether they were done";
        registry.register("reactions", reactions, self.reactions.clone());
        let reloads = "Reloads of the configuration, by whether it was taken";
        registry.register("reloads", reloads, self.reloads.clone());
        let webhooks = "Webhooks, by whether they were accepted";
        registry.register("webhooks", webhooks, self.webhooks.clone());
        let credentials = "Questions of units for a credential, by whether it was given";
        registry.register("unit_credentials", credentials, self.unit_credentials.clone());
        let breaks = "How often the audit was not as Squire left it: cut, changed or replaced";
        registry.register("audit_breaks", breaks, self.audit_breaks.clone());
        let failing = "Whether the audit cannot be written";
        registry.register("audit_failing", failing, self.audit_failing.clone());
    }

    /// Counts a fact.
    pub fn tell(&mut self, told: &Told) {
        match &told.fact {
            Fact::Source(source, fact) => self.source(source.as_str(), fact),
            Fact::Question(source, fact) => self.question(source.as_str(), fact),
            Fact::Secret(secret, fact) => {
                self.changes.heard(secret, fact, told.at);
                self.secret(secret.as_str(), fact);
            }
            Fact::Rollout(_, fact) => self.rollout(fact, told),
            Fact::Process(fact) => self.process(fact),
            Fact::Reload(fact) => self.reload(fact),
            Fact::Audit(fact) => self.audit(fact),
            Fact::Webhook(fact) => self.webhook(fact),
            Fact::Credential(fact) => self.credential(fact),
        }
    }

    fn source(&self, source: &str, fact: &SourceFact) {
        let counter = match fact {
            SourceFact::Unreachable { .. } => &self.breaker_openings,
            SourceFact::TokenDead => &self.token_deaths,
            SourceFact::LedgerIgnored { .. }
            | SourceFact::LedgerNotWritten { .. }
            | SourceFact::CredentialNotKept { .. }
            | SourceFact::CredentialNotForgotten { .. } => &self.ledger_failures,
            // What was asked and answered is counted as a question.
            SourceFact::Adopted { .. }
            | SourceFact::NotAdopted { .. }
            | SourceFact::LoggedIn { .. }
            | SourceFact::CredentialAwaited { .. }
            | SourceFact::LoginFailed { .. }
            | SourceFact::TokenRenewed { .. }
            | SourceFact::TokenNotRenewed { .. }
            | SourceFact::TokenRevoked
            | SourceFact::TokenNotRevoked { .. }
            | SourceFact::Reachable
            | SourceFact::TokenWritten { .. }
            | SourceFact::TokenNotWritten { .. }
            | SourceFact::TokenNotWrapped { .. }
            | SourceFact::TokenOutlived
            | SourceFact::TokenRestarts => return,
        };
        counter.get_or_create(&labels::Source { source: source.to_owned() }).inc();
    }

    fn question(&self, source: &str, fact: &QuestionFact) {
        let (source, kind, outcome) = (source.to_owned(), fact.kind.word(), fact.outcome.word());
        let time = labels::Kind { source: source.clone(), kind };
        self.operation_times.get_or_create(&time).observe(fact.took.as_secs_f64());
        self.operations.get_or_create(&labels::Operation { source, kind, outcome }).inc();
    }

    fn secret(&self, secret: &str, fact: &SecretFact) {
        let counter = match fact {
            SecretFact::Fetched { .. } => &self.secret_changes,
            SecretFact::Expired { .. } => &self.expirations,
            SecretFact::Lost => &self.leases_lost,
            SecretFact::NotRevoked { .. } => &self.leases_not_revoked,
            SecretFact::Adopted { .. }
            | SecretFact::Same { .. }
            | SecretFact::NotFetched { .. }
            | SecretFact::Recovered
            | SecretFact::Renewed { .. }
            | SecretFact::NotRenewed { .. }
            | SecretFact::Ending { .. }
            | SecretFact::Revoked { .. } => return,
        };
        counter.get_or_create(&labels::Secret { secret: secret.to_owned() }).inc();
    }

    fn rollout(&mut self, fact: &RolloutFact, told: &Told) {
        match fact {
            RolloutFact::NotRendered { .. } => self.rolled(NOT_RENDERED.into()),
            RolloutFact::Over { outcome, took, steps, renewed, .. } => {
                self.rolled(label(outcome).into());
                self.rollout_time.observe(took.as_secs_f64());
                for (step, took) in steps {
                    self.stepped(*step, *took);
                }
                if outcome.is_live() {
                    for time in self.changes.live(renewed, told.at) {
                        self.change_to_live.observe(time.as_secs_f64());
                    }
                }
            }
            RolloutFact::Published { .. }
            | RolloutFact::NotPublished { .. }
            | RolloutFact::Committed { .. }
            | RolloutFact::NotPassed { .. }
            | RolloutFact::Unhealthy { .. }
            | RolloutFact::TakenBack { .. }
            | RolloutFact::NoWayBack { .. }
            | RolloutFact::Held { .. }
            | RolloutFact::AwaitsWindow { .. }
            | RolloutFact::BeforeWindow { .. }
            | RolloutFact::OnHold
            | RolloutFact::HoldEnded
            | RolloutFact::AwaitsRelease { .. }
            | RolloutFact::RollingBack { .. }
            | RolloutFact::NotDiscarded { .. }
            | RolloutFact::NotRetired { .. }
            | RolloutFact::TimedOut { .. }
            | RolloutFact::Waiting { .. }
            | RolloutFact::Hopeless { .. }
            | RolloutFact::Exposed(_)
            | RolloutFact::FormerCleared { .. }
            | RolloutFact::NotEnrolled { .. }
            | RolloutFact::Swept
            | RolloutFact::NotSwept { .. } => {}
        }
    }

    fn rolled(&self, outcome: Cow<'static, str>) {
        self.rollouts.get_or_create(&labels::Outcome { outcome }).inc();
    }

    fn stepped(&self, step: Step, took: Duration) {
        self.step_times.get_or_create(&labels::Step { step: label(&step) }).observe(took.as_secs_f64());
    }

    fn process(&self, fact: &ProcessFact) {
        let ended = |family: &Counts<labels::Outcome>, outcome: &'static str| {
            family.get_or_create(&labels::Outcome { outcome: outcome.into() }).inc()
        };
        let restarted = |reason| self.restarts.get_or_create(&labels::Reason { reason }).inc();
        match fact {
            ProcessFact::Started { .. } => self.starts.inc(),
            ProcessFact::NotStarted { .. } => self.start_failures.inc(),
            ProcessFact::Exited { .. } => self.exits.inc(),
            ProcessFact::Killed => self.kills.inc(),
            ProcessFact::Restarting => restarted(ROTATION),
            ProcessFact::Resting { .. } => restarted(ENDED),
            ProcessFact::CommandDone { .. } => ended(&self.commands, DONE),
            ProcessFact::CommandFailed { .. } => ended(&self.commands, FAILED),
            ProcessFact::ActionDone { .. } => ended(&self.reactions, DONE),
            ProcessFact::ActionFailed { .. } => ended(&self.reactions, FAILED),
            // Squire ends after it has given up, and nobody scrapes it any more.
            ProcessFact::GaveUp { .. }
            | ProcessFact::Ready
            | ProcessFact::Signalled { .. }
            | ProcessFact::Left { .. }
            | ProcessFact::CommandStarted { .. }
            | ProcessFact::Stopping { .. } => return,
        };
    }

    fn webhook(&self, fact: &WebhookFact) {
        let outcome = match fact {
            WebhookFact::Accepted { .. } => DONE,
            WebhookFact::Refused { .. } => FAILED,
        };
        self.webhooks.get_or_create(&labels::Outcome { outcome: outcome.into() }).inc();
    }

    fn credential(&self, fact: &CredentialFact) {
        let (outcome, times) = match fact {
            CredentialFact::Given { .. } => (DONE, 1),
            CredentialFact::Refused { .. } => (FAILED, 1),
            CredentialFact::Stranger { times, .. } => (FAILED, *times),
            CredentialFact::NotKept { .. } | CredentialFact::Outdated { .. } => return,
        };
        self.unit_credentials.get_or_create(&labels::Outcome { outcome: outcome.into() }).inc_by(times);
    }

    fn reload(&self, fact: &ReloadFact) {
        let outcome = match fact {
            ReloadFact::UpToDate | ReloadFact::Reloaded { .. } => DONE,
            ReloadFact::NotReloaded { .. } => FAILED,
            ReloadFact::Begun | ReloadFact::Awaited { .. } => return,
        };
        self.reloads.get_or_create(&labels::Outcome { outcome: outcome.into() }).inc();
    }

    fn audit(&self, fact: &AuditFact) {
        match fact {
            AuditFact::NotAsLeft { .. } => {
                self.audit_breaks.inc();
            }
            AuditFact::NotWritten { .. } => {
                self.audit_failing.set(1);
            }
            AuditFact::WrittenAgain { .. } => {
                self.audit_failing.set(0);
            }
        }
    }
}

#[cfg(test)]
mod tests;
