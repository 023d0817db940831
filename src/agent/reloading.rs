//! A reload: from one configuration to the next, as a transaction like any rollout.
//!
//! ```text
//! loaded ─▶ diff ─▶ places examined ─▶ what is fresh is fetched ─▶ rendered ─▶ rolled out ─▶ kept: what went is given back after `grace`
//!    │        │             │                                          │            │
//!    └────────┴─────────────┴────── refused, with all problems ────────┴────────────┴─ back: the configuration before holds again
//! ```
//!
//! Until a release of the new configuration is committed, the one before is whole: its sources are kept, its leases live. Until there is
//! a value of everything that is new, it also rotates as ever, so that a secret that nobody may read yet holds up nothing.
//!
//! *Invariants:* pure. Configurations change only between rollouts. At most one is tried, and at most one waits; a newer one takes the
//! place of the one that waits. Each reload is decided exactly once.

pub(super) mod differences;
mod trial;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::{Agent, Effect};
use crate::config::Config;
use crate::fact::ReloadFact;
use crate::harden;
use crate::names::{Edition, Generation, Revision, SecretName, SourceName};
use crate::ordered::Order as _;
use crate::plan::diff::{Asked, Diff, diff};
use crate::plan::{Plan, Want};
use crate::session::{Lack, Outlook, Update};
use crate::snapshot::{self, Gatherer};
use crate::template::Engine;

/// A new configuration whose secrets do not come within this time says what it waits for.
const QUIET_FOR: Duration = Duration::from_secs(5);

/// A configuration with all that it refers to.
pub struct Setup {
    /// The configuration.
    pub config: Config,
    /// The secrets to fetch, the files to render, and the reactions.
    pub plan: Plan,
    /// The template engine.
    pub engine: Engine,
}

impl fmt::Debug for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Setup").finish_non_exhaustive()
    }
}

impl Setup {
    fn asked(&self) -> Asked<'_> {
        Asked { config: &self.config, plan: &self.plan }
    }

    /// Every place where the agent writes under this configuration.
    pub fn places(&self) -> BTreeSet<PathBuf> {
        let devices = harden::devices(&self.config).into_iter().map(ToOwned::to_owned);
        harden::places(&self.config, &self.plan).into_iter().chain(devices).ordered()
    }

    fn wanted(&self) -> BTreeSet<SecretName> {
        self.plan.wants.values().flatten().map(|want| want.name.clone()).ordered()
    }
}

/// What a reload changed: sources, secrets, files, variables and settings, by their names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// What is new.
    pub added: Vec<String>,
    /// What is no longer there.
    pub removed: Vec<String>,
    /// What is another.
    pub changed: Vec<String>,
}

/// How a reload went: what it changed, or every reason against it.
pub type Outcome = Result<Summary, Vec<String>>;

/// What the last reload came to, for whoever asks how the agent stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    /// What was asked for last holds.
    #[default]
    Current,
    /// It was refused: what was asked for before holds.
    Refused(Vec<String>),
    /// It waits for these secrets, for these reasons; what was asked for before holds meanwhile.
    Awaiting(Vec<SecretName>, Vec<String>),
}

/// One keeper: a source that changed has a former one for a while.
pub type KeeperId = (SourceName, Edition);

/// What the keepers are to do.
#[derive(Clone, Debug)]
pub enum Keeping {
    /// Start the keeper of a source that the reload of this number prepared.
    Start(u64, KeeperId, Vec<Want>),
    /// From now on these are wanted; what is new is of this edition.
    Want(KeeperId, Vec<Want>, Edition),
    /// Whether its page in the ledger is its own.
    Enrol(KeeperId, bool),
    /// Give back what it holds, and end; `true` if no later run goes on from there.
    Dismiss(KeeperId, bool),
}

/// The reloads of one agent.
#[derive(Debug)]
pub(super) struct Reloading {
    edition: Edition,
    /// The keepers of the configuration that holds.
    keepers: BTreeMap<SourceName, Edition>,
    /// Where the agent can write, if the kernel keeps it from writing elsewhere.
    confined: Option<BTreeSet<PathBuf>>,
    candidate: Option<Candidate>,
    trial: Option<Trial>,
    /// Came while another one was tried.
    waiting: Option<(u64, Arc<Setup>)>,
    farewells: Vec<(Instant, Farewell)>,
    /// Values of these editions are nobody's.
    abandoned: BTreeSet<Edition>,
    standing: Standing,
}

/// One reload.
#[derive(Debug)]
struct Change {
    /// Those that asked for it.
    numbers: Vec<u64>,
    edition: Edition,
    diff: Diff,
}

/// A configuration with the state that belongs to it.
#[derive(Debug)]
struct Basis {
    setup: Arc<Setup>,
    gatherer: Gatherer,
    keepers: BTreeMap<SourceName, Edition>,
}

/// A configuration that was accepted and is not tried yet.
#[derive(Debug)]
struct Candidate {
    change: Change,
    basis: Basis,
    /// Its places are fit, and its secrets are asked for.
    is_engaged: bool,
    lacks: BTreeMap<SecretName, String>,
    /// When to say what it waits for.
    tell_at: Option<Instant>,
}

/// A configuration that is being rolled out, with the one to go back to.
#[derive(Debug)]
struct Trial {
    change: Change,
    former: Basis,
    /// Its first generation.
    since: Generation,
    /// What went wrong.
    why: Vec<String>,
}

/// What ends after `grace`.
#[derive(Debug)]
struct Farewell {
    free: Vec<(SecretName, Revision)>,
    dismiss: Vec<(KeeperId, bool)>,
}

impl Reloading {
    /// Which keeper of a source holds.
    pub(super) fn edition_of(&self, source: &SourceName) -> Option<Edition> {
        self.keepers.get(source).copied()
    }

    pub(super) fn new(plan: &Plan, confined: Option<BTreeSet<PathBuf>>) -> Self {
        let edition = Edition::default();
        Self {
            edition,
            keepers: plan.wants.keys().map(|source| (source.clone(), edition)).ordered(),
            confined,
            candidate: None,
            trial: None,
            waiting: None,
            farewells: Vec::new(),
            abandoned: BTreeSet::new(),
            standing: Standing::Current,
        }
    }

    /// When [`Agent::proceed`] has something to do by itself.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let tell_at = self.candidate.as_ref().and_then(|candidate| candidate.tell_at);
        self.farewells.iter().map(|(at, _)| *at).chain(tell_at).min()
    }

    pub(super) fn is_trying(&self) -> bool {
        self.trial.is_some()
    }

    /// What a rollout on trial reports.
    pub(super) fn note(&mut self, why: &str) {
        if let Some(trial) = &mut self.trial {
            trial.why.push(why.to_owned());
        }
    }

    /// The user asks that what is held be tried again: also by the configuration before, if the one on trial is taken back.
    pub(super) fn hear_retry(&mut self, secrets: &[SecretName], now: Instant) {
        if let Some(trial) = &mut self.trial {
            trial.former.gatherer.hear_retry(secrets, now);
        }
    }

    /// The configuration that waits for its secrets.
    pub(super) fn candidate(&self) -> Option<&Setup> {
        self.candidate.as_ref().map(|candidate| &*candidate.basis.setup)
    }

    /// The configuration that a generation was made from.
    pub(super) fn former_of(&self, generation: Generation) -> Option<&Setup> {
        let trial = self.trial.as_ref().filter(|trial| generation < trial.since)?;
        Some(&trial.former.setup)
    }

    /// Values that only a configuration which does not hold now knows.
    pub(super) fn gatherers(&self) -> impl Iterator<Item = &Gatherer> {
        self.trial.iter().map(|trial| &trial.former.gatherer)
    }
}

impl Candidate {
    fn is_complete(&self) -> bool {
        self.is_engaged && self.basis.gatherer.missing().is_empty()
    }

    fn number(&self) -> u64 {
        self.change.numbers.first().copied().unwrap_or_default()
    }
}

impl Change {
    /// Whether a value is of this edition's making.
    fn has(&self, update: &Update) -> bool {
        self.diff.fresh.contains(&update.secret) && update.revision > Revision::before(self.edition)
    }

    /// Whether a value is of the making of those before.
    fn is_past(&self, update: &Update) -> bool {
        !self.diff.fresh.contains(&update.secret) || update.revision < Revision::before(self.edition)
    }

    /// Whether a value is for the new configuration.
    fn takes(&self, update: &Update) -> bool {
        !self.diff.fresh.contains(&update.secret) || self.has(update)
    }
}

impl Agent {
    /// What the last reload came to.
    pub fn standing(&self) -> &Standing {
        &self.reloading.standing
    }

    /// The keepers of the configuration that holds; those of another one are there for a while.
    pub fn keepers(&self) -> Vec<KeeperId> {
        self.reloading.keepers.iter().map(|(source, edition)| (source.clone(), *edition)).collect()
    }

    /// A value belongs to the configuration that asked for it; one that nobody asked for is nobody's. What an abandoned configuration asked
    /// for stays nobody's while the next one is on its way: it may be of another source, under a name that both have.
    pub(super) fn updated(&mut self, update: Update, now: Instant, effects: &mut Vec<Effect>) {
        let Reloading { candidate, trial, abandoned, .. } = &mut self.reloading;
        if abandoned.contains(&update.revision.edition()) {
            return effects.push(Effect::Reject(update.secret, update.revision));
        }
        let (change, other, is_on_trial) = match (candidate, trial) {
            (Some(candidate), _) => (&candidate.change, &mut candidate.basis.gatherer, false),
            (None, Some(trial)) => (&trial.change, &mut trial.former.gatherer, true),
            (None, None) => return self.take(update, now, effects),
        };
        let (for_new, for_old) = (change.takes(&update), change.is_past(&update));
        let (for_us, for_other) = if is_on_trial { (for_new, for_old) } else { (for_old, for_new) };
        let is_heard = for_other && other.wants(&update.secret);
        if is_heard {
            other.hear(update.clone(), now);
        }
        if for_us && self.gatherer.wants(&update.secret) {
            self.gather(snapshot::Event::Updated(update), now, effects);
        } else if !is_heard {
            effects.push(Effect::Reject(update.secret, update.revision));
        }
    }

    fn take(&mut self, update: Update, now: Instant, effects: &mut Vec<Effect>) {
        if self.gatherer.wants(&update.secret) {
            self.gather(snapshot::Event::Updated(update), now, effects);
        } else {
            effects.push(Effect::Reject(update.secret, update.revision));
        }
    }

    /// A configuration was read and compiled without a problem.
    pub(super) fn loaded(&mut self, number: u64, setup: Arc<Setup>, now: Instant, effects: &mut Vec<Effect>) {
        if self.reloading.is_trying() {
            let former = self.reloading.waiting.replace((number, setup));
            effects.extend(former.map(|(number, _)| overtaken(number)));
            return;
        }
        if let Some(candidate) = &mut self.reloading.candidate {
            if diff(candidate.basis.setup.asked(), setup.asked()).is_empty() {
                // It is on its way already: its secrets are not asked for anew.
                candidate.change.numbers.push(number);
                candidate.tell_at = candidate.tell_at.or(candidate.is_engaged.then_some(now));
                return;
            }
            let numbers = candidate.change.numbers.clone();
            self.withdraw(effects);
            effects.extend(numbers.into_iter().map(overtaken));
        }
        let diff = diff(self.setup.asked(), setup.asked());
        let problems = differences::refusals(&diff, &setup, self.reloading.confined.as_ref());
        if diff.is_empty() {
            self.reloading.standing = Standing::Current;
            effects.push(Effect::Report(ReloadFact::UpToDate.into()));
            effects.push(Effect::Decided { number, outcome: Ok(Summary::default()) });
            // A file that a template includes may be another.
            self.gather(snapshot::Event::RenderAsked, now, effects);
        } else if problems.is_empty() {
            self.accept(number, setup, diff, effects);
        } else {
            self.refuse(&[number], &problems, effects);
        }
    }

    /// A configuration could not be read, or has problems.
    pub(super) fn not_loaded(&mut self, number: u64, problems: &[String], effects: &mut Vec<Effect>) {
        self.refuse(&[number], problems, effects);
    }

    fn refuse(&mut self, numbers: &[u64], problems: &[String], effects: &mut Vec<Effect>) {
        let problems = problems.to_vec();
        let decided = |number: &u64| Effect::Decided { number: *number, outcome: Err(problems.clone()) };
        effects.extend(numbers.iter().map(decided));
        self.reloading.standing = Standing::Refused(problems.clone());
        effects.push(Effect::Report(ReloadFact::NotReloaded { problems }.into()));
    }

    /// First the places are looked at: nobody logs in for a file that cannot be written.
    fn accept(&mut self, number: u64, setup: Arc<Setup>, diff: Diff, effects: &mut Vec<Effect>) {
        let edition = self.reloading.edition.next();
        self.reloading.edition = edition;
        let settle = setup.config.rollout.settle;
        let gatherer = self.gatherer.successor(&setup.wanted(), &diff.fresh, settle);
        let keeper = |source: &SourceName| {
            let stays = self.reloading.keepers.get(source).filter(|_| !diff.sources.changed.contains(source));
            (source.clone(), stays.copied().unwrap_or(edition))
        };
        let keepers = setup.plan.wants.keys().map(keeper).ordered();
        effects.push(Effect::Examine { number, setup: Arc::clone(&setup) });
        self.reloading.candidate = Some(Candidate {
            change: Change { numbers: vec![number], edition, diff },
            basis: Basis { setup, gatherer, keepers },
            is_engaged: false,
            lacks: BTreeMap::new(),
            tell_at: None,
        });
    }

    /// The places of a candidate are fit, or not.
    pub(super) fn examined(
        &mut self,
        number: u64,
        result: Result<(), Vec<String>>,
        now: Instant,
        effects: &mut Vec<Effect>,
    ) {
        let Some(candidate) = &mut self.reloading.candidate else { return };
        if candidate.number() != number || candidate.is_engaged {
            return;
        }
        match result {
            Ok(()) => {
                candidate.is_engaged = true;
                candidate.tell_at = Some(now + QUIET_FOR);
                let (number, edition) = (candidate.number(), candidate.change.edition);
                let (old, new) = (&self.reloading.keepers, &candidate.basis.keepers);
                for (source, wants) in &candidate.basis.setup.plan.wants {
                    let keeper = new.get(source).map(|edition| (source.clone(), *edition));
                    let Some(keeper) = keeper else { continue };
                    if old.get(source) != Some(&keeper.1) {
                        effects.push(Effect::Keeping(Keeping::Start(number, keeper, wants.clone())));
                    } else if let Some(wants) = both(wants, self.setup.plan.wants.get(source)) {
                        effects.push(Effect::Keeping(Keeping::Want(keeper, wants, edition)));
                    }
                }
            }
            Err(problems) => {
                let numbers = candidate.change.numbers.clone();
                self.withdraw(effects);
                self.refuse(&numbers, &problems, effects);
            }
        }
    }

    /// Why a candidate has no value of a secret.
    pub(super) fn candidate_lacks(&mut self, lack: &Lack, now: Instant) {
        let Some(candidate) = &mut self.reloading.candidate else { return };
        for secret in &lack.secrets {
            if candidate.basis.gatherer.missing().contains(secret) {
                candidate.lacks.insert(secret.clone(), lack.why.clone());
                if lack.outlook == Outlook::Closed {
                    // Waiting alone does not change it.
                    candidate.tell_at = candidate.tell_at.map(|at| at.min(now));
                }
            }
        }
    }

    /// Goes on with whatever may go on, after each event.
    pub(super) fn proceed(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        self.say_farewell(now, effects);
        if self.reloading.is_trying() && self.rollout.has_failed() {
            self.take_configuration_back(now, effects);
        }
        if !self.reloading.is_trying()
            && let Some((number, setup)) = self.reloading.waiting.take()
        {
            self.loaded(number, setup, now, effects);
        }
        let may = !self.reloading.is_trying() && self.rollout.takes_rules();
        if may && self.reloading.candidate.as_ref().is_some_and(Candidate::is_complete) {
            self.try_candidate(now, effects);
        }
        self.tell_of_candidate(now, effects);
    }

    fn tell_of_candidate(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let Some(candidate) = &mut self.reloading.candidate else { return };
        if candidate.tell_at.is_none_or(|at| at > now) {
            return;
        }
        candidate.tell_at = None;
        let missing: Vec<SecretName> = candidate.basis.gatherer.missing().iter().cloned().collect();
        let lacks = missing.iter().filter_map(|secret| Some((secret, candidate.lacks.get(secret)?)));
        let errors: Vec<String> = lacks.map(|(secret, why)| format!("{secret}: {why}")).collect();
        let problems = differences::awaited(&missing, &errors);
        for number in std::mem::take(&mut candidate.change.numbers) {
            effects.push(Effect::Decided { number, outcome: Err(problems.clone()) });
        }
        self.reloading.standing = Standing::Awaiting(missing.clone(), errors.clone());
        effects.push(Effect::Report(ReloadFact::Awaited { missing, errors }.into()));
    }

    fn say_farewell(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let due: Vec<_> = self.reloading.farewells.extract_if(.., |(at, _)| *at <= now).collect();
        for (_, Farewell { free, dismiss }) in due {
            effects.extend(free.into_iter().map(|(secret, below)| Effect::Free(secret, below)));
            let dismissed = dismiss.into_iter().map(|(id, for_good)| Keeping::Dismiss(id, for_good));
            effects.extend(dismissed.map(Effect::Keeping));
        }
    }
}

/// What is wanted while nobody knows which of two configurations stays; nothing if that is what is wanted anyway.
fn both(new: &[Want], old: Option<&Vec<Want>>) -> Option<Vec<Want>> {
    let old = old.map(Vec::as_slice).unwrap_or_default();
    if old == new {
        return None;
    }
    let only_old = old.iter().filter(|want| !new.iter().any(|other| other.name == want.name));
    Some(new.iter().chain(only_old).cloned().collect())
}

fn overtaken(number: u64) -> Effect {
    let why = "a newer reload takes the place of this one".to_owned();
    Effect::Decided { number, outcome: Err(vec![why]) }
}

#[cfg(test)]
mod tests;
