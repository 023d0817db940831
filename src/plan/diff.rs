//! What differs between two configurations: what a reload has to fetch, to publish and to give back, and what it cannot change.
//!
//! *Invariant:* pure. What has the same text, wherever it stands in the file, is the same. The tables are taken apart whole, so that a new
//! setting does not compile until it is decided whether a reload can change it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::{Plan, PlannedCredential, PlannedFile, PlannedProcess, PlannedWebhook, Setting, Want, of_source};
use crate::config::{
    AgentConfig, Config, EnvFrom, OutputConfig, Place, Proof, ProxyConfig, RolloutConfig, SourceConfig,
};
use crate::names::{SecretName, SourceName};
use crate::ordered::Order as _;

/// What was asked for: a configuration, and its plan.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The configuration.
    pub config: &'a Config,
    /// What it comes to.
    pub plan: &'a Plan,
}

/// The differences between two configurations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diff {
    /// Sources that a secret is fetched from; a changed one needs a new login.
    pub sources: Changes<SourceName>,
    /// Secrets that are used.
    pub secrets: Changes<SecretName>,
    /// The added secrets, and of the changed ones those that ask for another thing, or somebody else: these are fetched.
    pub fresh: BTreeSet<SecretName>,
    /// Files: their templates, owners, modes and reactions.
    pub files: Changes<PathBuf>,
    /// Variables of the process.
    pub variables: Changes<String>,
    /// Other settings, by their keys.
    pub settings: BTreeSet<&'static str>,
    /// The process has to be started anew for them: its command, its user, its limits.
    pub relaunches: bool,
    /// What only a restart of Squire can change, by its keys.
    pub fixed: BTreeSet<&'static str>,
}

/// What differs between two sets of named things.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes<T> {
    /// Only in the new one.
    pub added: BTreeSet<T>,
    /// Only in the old one.
    pub removed: BTreeSet<T>,
    /// In both, and not the same.
    pub changed: BTreeSet<T>,
}

impl<T> Default for Changes<T> {
    fn default() -> Self {
        Self { added: BTreeSet::new(), removed: BTreeSet::new(), changed: BTreeSet::new() }
    }
}

impl<T: Ord + Clone> Changes<T> {
    fn between<V>(old: &BTreeMap<T, V>, new: &BTreeMap<T, V>, is_same: impl Fn(&V, &V) -> bool) -> Self {
        let only = |one: &BTreeMap<T, V>, other: &BTreeMap<T, V>| {
            one.keys().filter(|name| !other.contains_key(*name)).cloned().ordered()
        };
        let differs = |(name, value): (&T, &V)| {
            old.get(name).filter(|before| !is_same(before, value)).map(|_| name.clone())
        };
        Self {
            added: only(new, old),
            removed: only(old, new),
            changed: new.iter().filter_map(differs).ordered(),
        }
    }
}

impl Diff {
    /// Whether the two ask for the same.
    pub fn is_empty(&self) -> bool {
        self == &Self::default()
    }
}

/// What differs between what runs and what is asked for now.
pub fn diff(old: Asked<'_>, new: Asked<'_>) -> Diff {
    // What stands in the others is in the plan, or is over once the first release is live.
    let Config {
        rollout,
        agent,
        audit,
        proxy,
        output: _,
        mount: _,
        sources: _,
        secrets: _,
        files: _,
        process: _,
        webhook: _,
        credentials: _,
        startup_timeout: _,
    } = old.config;
    let Plan { wants: _, files: _, env: _, env_from, process, tokens, process_token, webhook, .. } = old.plan;
    let Plan { credentials, unused: _, .. } = old.plan;
    let mut diff = Diff {
        sources: Changes::between(&used(old), &used(new), |old, new| is_same_source(old, new)),
        secrets: Changes::between(&wants(old.plan), &wants(new.plan), |old, new| old == new),
        files: Changes::between(&files(old.plan), &files(new.plan), |old, new| is_same_file(old, new)),
        variables: Changes::between(&variables(old.plan), &variables(new.plan), |old, new| old.is_like(new)),
        ..Diff::default()
    };
    diff.fresh = fresh(&diff, old.plan, new.plan);
    diff.compare_process(process.as_ref(), new.plan.process.as_ref());
    diff.note("process.env_from", is_same_from(env_from, &new.plan.env_from));
    diff.compare_rollout(rollout, &new.config.rollout);
    diff.compare_output(old.config, new.config);
    diff.compare_agent(agent, &new.config.agent);
    diff.fix("audit", *audit == new.config.audit);
    diff.fix("proxy", is_same_proxy(proxy.as_ref(), new.config.proxy.as_ref()));
    diff.fix("process.vault_token", *process_token == new.plan.process_token);
    diff.fix("source.token_file", *tokens == new.plan.tokens);
    diff.note("proxy.paths", has_same_paths(old.config, new.config));
    diff.note("credential", is_same_credentials(credentials, &new.plan.credentials));
    diff.note("webhook", is_same_webhook(webhook.as_ref(), new.plan.webhook.as_ref()));
    diff
}

/// The sources of the secrets that are used; nobody logs in to another.
fn used(asked: Asked<'_>) -> BTreeMap<SourceName, &SourceConfig> {
    let of = |name: &SourceName| Some((name.clone(), asked.config.sources.get(name)?));
    asked.plan.wants.keys().filter_map(of).ordered()
}

fn wants(plan: &Plan) -> BTreeMap<SecretName, &Want> {
    plan.wants.values().flatten().map(|want| (want.name.clone(), want)).ordered()
}

fn files(plan: &Plan) -> BTreeMap<PathBuf, &PlannedFile> {
    plan.files.iter().map(|file| (file.path.clone(), file)).ordered()
}

fn variables(plan: &Plan) -> BTreeMap<String, &crate::template::Template> {
    plan.env.iter().map(|(name, template)| (name.clone(), template)).ordered()
}

/// How often the secrets of a server are re-read is a setting of each secret, and no reason for a new login.
fn is_same_source(old: &SourceConfig, new: &SourceConfig) -> bool {
    match (old, new) {
        (SourceConfig::Vault(old), SourceConfig::Vault(new)) => {
            let mut as_before = new.clone();
            as_before.refresh = old.refresh;
            // They are compared by themselves.
            as_before.token_files.clone_from(&old.token_files);
            *old == as_before
        }
        (SourceConfig::Vault(_) | SourceConfig::Store(_) | SourceConfig::Aws(_), _) => old == new,
    }
}

fn is_same_file(old: &PlannedFile, new: &PlannedFile) -> bool {
    let PlannedFile { path, content, attributes, directory, on_change } = old;
    *path == new.path
        && content.is_like(&new.content)
        && *attributes == new.attributes
        && *directory == new.directory
        && *on_change == new.on_change
}

fn is_same_from(old: &[EnvFrom], new: &[EnvFrom]) -> bool {
    let placeless = |from: &EnvFrom| EnvFrom { place: Place::default(), ..from.clone() };
    old.iter().map(placeless).eq(new.iter().map(placeless))
}

/// Where it stands in the file changes nothing about it.
fn is_same_proxy(old: Option<&ProxyConfig>, new: Option<&ProxyConfig>) -> bool {
    let placeless = |proxy: &ProxyConfig| ProxyConfig { place: Place::default(), ..proxy.clone() };
    old.map(placeless) == new.map(placeless)
}

/// Without a list, clients of the proxy may ask for every secret of the source, also for those that nothing else uses.
fn has_same_paths(old: &Config, new: &Config) -> bool {
    let open = |config: &Config| {
        let proxy = config.proxy.as_ref().filter(|proxy| proxy.paths.is_none())?;
        Some(of_source(config, &proxy.source))
    };
    // A proxy that comes or goes needs another Squire.
    let (Some(old), Some(new)) = (open(old), open(new)) else { return true };
    let is_same = |old: &Want, new: &Want| {
        (&old.path, &old.version, old.kind, old.list) == (&new.path, &new.version, new.kind, new.list)
            && old.params.is_some() == new.params.is_some()
    };
    old.len() == new.len() && old.iter().zip(&new).all(|(old, new)| is_same(old, new))
}

fn is_same_credentials(old: &[PlannedCredential], new: &[PlannedCredential]) -> bool {
    old.len() == new.len() && old.iter().zip(new).all(|(old, new)| old.is_like(new))
}

fn is_same_webhook(old: Option<&PlannedWebhook>, new: Option<&PlannedWebhook>) -> bool {
    let (Some(old), Some(new)) = (old, new) else { return old.is_none() && new.is_none() };
    let PlannedWebhook { key, secrets, allow } = old;
    key.is_like(&new.key) && *secrets == new.secrets && *allow == new.allow
}

/// What has to be fetched.
fn fresh(diff: &Diff, old: &Plan, new: &Plan) -> BTreeSet<SecretName> {
    let (before, after) = (wants(old), wants(new));
    let is_fresh = |(name, want): &(&SecretName, &&Want)| {
        diff.sources.changed.contains(&want.source)
            || before.get(*name).is_none_or(|before| !before.asks_the_same(want))
    };
    after.iter().filter(is_fresh).map(|(name, _)| name.clone()).ordered()
}

impl Want {
    /// Whether both ask one source for one thing. How often it is re-read and what it may weigh is not asked for.
    pub fn asks_the_same(&self, other: &Self) -> bool {
        let Self { name, source, path, params, version, kind, list, tags, refresh: _, max_size: _ } = self;
        (name, source, path) == (&other.name, &other.source, &other.path)
            && (params, version) == (&other.params, &other.version)
            && (kind, list, tags) == (&other.kind, &other.list, &other.tags)
    }
}

impl Setting {
    /// Whether a process that was started with one stands as with the other. For the signal that it gets if Squire is killed it is not
    /// started anew.
    fn starts_like(&self, other: &Self) -> bool {
        Self { last_signal: other.last_signal, ..self.clone() } == *other
    }
}

impl Diff {
    /// A reload can change it.
    fn note(&mut self, key: &'static str, is_same: bool) {
        if !is_same {
            self.settings.insert(key);
        }
    }

    /// Only a restart can.
    fn fix(&mut self, key: &'static str, is_same: bool) {
        if !is_same {
            self.fixed.insert(key);
        }
    }

    /// Sockets are bound, and the main thread is told how long a stop takes, before anything is started.
    fn compare_process(&mut self, old: Option<&PlannedProcess>, new: Option<&PlannedProcess>) {
        let (Some(old), Some(new)) = (old, new) else {
            return self.fix("process.command", old.is_none() && new.is_none());
        };
        let PlannedProcess { command, on_change, stop_signal, stop_timeout, restart, .. } = old;
        let PlannedProcess { restart_mode, listen, setting, .. } = old;
        self.relaunches = *command != new.command || !setting.starts_like(&new.setting);
        self.note("process", !self.relaunches);
        self.note("process.on_change", *on_change == new.on_change);
        self.note("process.stop_signal", *stop_signal == new.stop_signal);
        self.note("process.restart", *restart == new.restart);
        self.fix("process.restart_mode", *restart_mode == new.restart_mode);
        self.fix("process.stop_timeout", *stop_timeout == new.stop_timeout);
        self.fix("process.listen", *listen == new.listen);
    }

    fn compare_rollout(&mut self, old: &RolloutConfig, new: &RolloutConfig) {
        let RolloutConfig { settle, grace, checks, proof, window } = old;
        self.note("rollout.settle", *settle == new.settle);
        self.note("rollout.grace", *grace == new.grace);
        self.note("rollout.check", *checks == new.checks);
        self.note("rollout.probe", placeless(proof) == placeless(&new.proof));
        self.note("rollout.window", *window == new.window);
    }

    fn compare_output(&mut self, old: &Config, new: &Config) {
        let OutputConfig { dir, dir_mode, allow_disk } = &old.output;
        self.note("output.dir_mode", *dir_mode == new.output.dir_mode);
        self.fix("output.dir", *dir == new.output.dir);
        self.fix("output.allow_disk", *allow_disk == new.output.allow_disk);
        self.fix("output.mount", old.mount == new.mount);
    }

    fn compare_agent(&mut self, old: &AgentConfig, new: &AgentConfig) {
        let AgentConfig { ledger, on_stop, confine, mlock, socket, listen, reload } = old;
        self.fix("agent.ledger", *ledger == new.ledger);
        self.fix("agent.on_stop", *on_stop == new.on_stop);
        self.fix("agent.confine", *confine == new.confine);
        self.fix("agent.mlock", *mlock == new.mlock);
        self.fix("agent.socket", *socket == new.socket);
        self.fix("agent.listen", *listen == new.listen);
        self.fix("agent.reload", *reload == new.reload);
    }
}

/// Where a probe stands in the file changes nothing about it.
fn placeless(proof: &Proof) -> Proof {
    let mut proof = proof.clone();
    if let Proof::Probe(probe) = &mut proof {
        probe.place = Place::default();
    }
    proof
}

#[cfg(test)]
mod tests;
