//! The gauges: one for each number of the status that somebody may want to watch.
//!
//! A time is in seconds since 1970, and not how far away it is: it stays right between two scrapes, and `time() - …` is the age. A state is
//! a series with the value 1 and the state as its label; there is none for the states that are not.

use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::status::{
    Generations, Moment, Next, ProcessStatus, SecretStatus, SourceState, SourceStatus, Status, label,
};

/// Names of labels, and their values.
type Labels = Vec<(&'static str, String)>;

/// A registry that is filled.
pub(super) struct Gauges(Registry);

/// In whole numbers below 2^53 nothing is lost, and no counter here gets there.
#[expect(clippy::cast_precision_loss, reason = "said above")]
fn number(number: u64) -> f64 {
    number as f64
}

fn count(count: usize) -> f64 {
    number(u64::try_from(count).unwrap_or(u64::MAX))
}

fn flag(flag: bool) -> f64 {
    f64::from(u8::from(flag))
}

impl Gauges {
    pub(super) fn new(registry: Registry) -> Self {
        Self(registry)
    }

    pub(super) fn into_registry(self) -> Registry {
        self.0
    }

    /// A gauge without any series is not shown.
    fn add(&mut self, name: &str, help: &str, series: impl IntoIterator<Item = (Labels, f64)>) {
        let family: Family<Labels, Gauge<f64, AtomicU64>> = Family::default();
        for (labels, value) in series {
            family.get_or_create(&labels).set(value);
        }
        self.0.register(name, help, family);
    }

    fn one(&mut self, name: &str, help: &str, value: Option<f64>) {
        self.add(name, help, value.map(|value| (Vec::new(), value)));
    }

    /// What is said of all of it.
    pub(super) fn whole(&mut self, status: &Status) {
        let version = vec![("version", status.version.clone())];
        self.add("info", "The version of Squire", [(version, 1.0)]);
        let ready = Some(flag(status.ready.is_ready));
        self.one("ready", "Whether what Squire serves can be relied on", ready);
        let on_hold = Some(flag(status.on_hold_since.is_some()));
        self.one("rollouts_on_hold", "Whether an operator holds rollouts", on_hold);
        let former = "Whether the configuration before holds, since the one that was asked for was refused or waits for its secrets";
        self.one("configuration_former", former, Some(flag(status.configuration.is_former)));
        self.generations(status.generation);
        if let Some(process) = &status.process {
            self.child(process);
        }
    }

    fn generations(&mut self, generation: Generations) {
        let newest = generation.wanted.map(|generation| number(generation.number()));
        self.one("generation_wanted", "The newest generation that was made", newest);
        let live = generation.live.map(|generation| number(generation.number()));
        self.one("generation_live", "The generation that was committed last", live);
        let pending = "Whether new values are gathered, or a rollout goes on";
        self.one("generation_pending", pending, Some(flag(generation.is_pending)));
    }

    fn child(&mut self, process: &ProcessStatus) {
        let running = "The processes that run: none, one, or two while a successor is on trial";
        self.one("child_processes", running, Some(count(process.pids.len())));
        let since =
            "When the newest process was started, in seconds since 1970; time() less this is its uptime";
        self.one("child_start_time_seconds", since, process.since.map(Moment::unix_s));
    }

    /// What is said of each source.
    pub(super) fn sources(&mut self, sources: &[SourceStatus]) {
        let named = |source: &SourceStatus| vec![("source", source.name.to_string())];
        let mut each = |name, help, value: fn(&SourceStatus) -> Option<f64>| {
            let series = sources.iter().filter_map(|source| Some((named(source), value(source)?)));
            self.add(name, help, series);
        };
        each("breaker_open", "Whether the source could not be reached several times in a row", |source| {
            Some(flag(source.state == SourceState::Unreachable))
        });
        each("login_failures", "The logins that failed, one after the other", |source| {
            Some(f64::from(source.login_failures))
        });
        each("leases", "The leases that are held", |source| Some(count(source.leases)));
        let clients = "The leases that clients of the proxy have";
        each("client_leases", clients, |source| source.client_leases.map(count));
        each("questions", "The questions that are out", |source| Some(count(source.in_flight)));
        each("token_end_time_seconds", "When the token ends, in seconds since 1970", |source| {
            source.token.as_ref()?.ends.map(Moment::unix_s)
        });
        each("token_uses_left", "How many more questions may be put with the token", |source| {
            source.token.as_ref()?.uses_left.map(number)
        });
        each(
            "credential_end_time_seconds",
            "When the credential of the login ends, in seconds since 1970",
            |source| source.credential.as_ref()?.ends.map(Moment::unix_s),
        );
        each("credential_uses_left", "How many more logins the credential is good for", |source| {
            source.credential.as_ref()?.uses_left.map(number)
        });
        let overdue = "The rotations that the store plans, and that should have been made by now";
        each("store_rotations_overdue", overdue, |source| Some(count(source.rotations?.overdue)));
        let failing = "The rotations that the store plans, and whose last try failed";
        each("store_rotations_failing", failing, |source| Some(count(source.rotations?.failing)));
        let next = "When the store plans its next rotation, in seconds since 1970";
        each("store_rotation_next_time_seconds", next, |source| source.rotations?.next.map(Moment::unix_s));
        let states = sources.iter().map(|source| {
            let more = [("kind", source.kind.clone()), ("state", label(&source.state))];
            ([named(source), more.to_vec()].concat(), 1.0)
        });
        self.add("source_state", "The state of each source", states);
        let tokens = sources.iter().filter_map(|source| next_of(named(source), source.token.as_ref()?.next));
        self.add(
            "token_next_action_time_seconds",
            "When something is planned for the token, in seconds since 1970",
            tokens,
        );
    }

    /// What is said of each secret.
    pub(super) fn secrets(&mut self, secrets: &[SecretStatus]) {
        let named = |secret: &SecretStatus| {
            vec![("secret", secret.name.to_string()), ("source", secret.source.to_string())]
        };
        let mut each = |name, help, value: fn(&SecretStatus) -> Option<f64>| {
            let series = secrets.iter().filter_map(|secret| Some((named(secret), value(secret)?)));
            self.add(name, help, series);
        };
        let ends = "When the value that is relied on ends, in seconds since 1970; there is none for a value without end";
        each("secret_end_time_seconds", ends, |secret| secret.ends.map(Moment::unix_s));
        let changed = "When the newest value came, in seconds since 1970; time() less this is its age";
        each("secret_changed_time_seconds", changed, |secret| secret.changed.map(Moment::unix_s));
        let held = "Whether the secret is held at its last good value, since a new one was taken back";
        each("secret_held", held, |secret| Some(flag(secret.is_held)));
        let planned = "Whether something is planned for the secret, or on its way";
        each("secret_planned", planned, |secret| Some(flag(secret.next.is_some() || secret.is_asked_for)));
        let states = secrets.iter().map(|secret| {
            let more = [("state", label(&secret.state))];
            ([named(secret), more.to_vec()].concat(), 1.0)
        });
        self.add("secret_state", "The state of each secret", states);
        let next = secrets.iter().filter_map(|secret| next_of(named(secret), secret.next));
        self.add(
            "secret_next_action_time_seconds",
            "When something is planned for the secret, in seconds since 1970",
            next,
        );
    }
}

fn next_of(mut labels: Labels, next: Option<Next>) -> Option<(Labels, f64)> {
    let Next { action, at } = next?;
    labels.push(("action", label(&action)));
    Some((labels, at.unix_s()))
}
