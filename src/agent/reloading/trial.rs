//! A new configuration is tried: its first release is rolled out. Then it is kept, or the one before holds again.
//!
//! *Invariant:* pure. Whatever the outcome, each keeper is told what is wanted of it, and what nobody wants is given back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Basis, Candidate, Change, Farewell, Keeping, Standing, Summary, Trial, differences};
use crate::agent::{Agent, Effect, rules, settings};
use crate::fact::ReloadFact;
use crate::names::{Edition, Generation, Revision};
use crate::render;
use crate::rollout::{self, Rules, Ruling};

impl Agent {
    /// There is a value of everything. If the first release does not render, nothing was touched.
    pub(super) fn try_candidate(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let Some(mut candidate) = self.reloading.candidate.take() else { return };
        self.catch_up(&mut candidate);
        let gatherer = &mut candidate.basis.gatherer;
        let snapshot = gatherer.begin();
        self.gatherer.go_on_from(gatherer.next());
        let setup = Arc::clone(&candidate.basis.setup);
        let release = match render::render(&setup.plan, &snapshot, &setup.engine, &self.key) {
            Ok(release) => release,
            Err(errors) => {
                let numbers = candidate.change.numbers.clone();
                self.reloading.candidate = Some(candidate);
                self.withdraw(effects);
                let problems: Vec<String> = errors.iter().map(ToString::to_string).collect();
                return self.refuse(&numbers, &problems, effects);
            }
        };
        self.render_errors.clear();
        let Candidate { change, basis, .. } = candidate;
        let rules = self.rules_of_trial(&basis, &change);
        self.rule(rules, Ruling::Tried, change.diff.relaunches, now, effects);
        let former = self.exchange(basis);
        self.enrol(&former, effects);
        if self.rollout.live().is_some() {
            let since = release.generation;
            self.reloading.trial = Some(Trial { change, former, since, why: Vec::new() });
        } else {
            // Nothing runs that could be worse off.
            self.keep(change, former, now, effects);
        }
        self.rendered(release, now, effects);
    }

    /// It may have waited for days. Meanwhile what stays was rolled out, taken back, held and rolled back, of which it knows nothing.
    fn catch_up(&self, candidate: &mut Candidate) {
        let Candidate { change, basis, .. } = candidate;
        let (wanted, fresh) = (basis.setup.wanted(), &change.diff.fresh);
        let present = self.gatherer.successor(&wanted, fresh, basis.setup.config.rollout.settle);
        basis.gatherer = present.with(&basis.gatherer, fresh);
    }

    /// A file that is no longer there is a change, and has the reaction that it had.
    fn rules_of_trial(&self, basis: &Basis, change: &Change) -> Box<Rules> {
        let mut rules = self.rules_of(&basis.setup);
        let of_former =
            self.setup.plan.files.iter().filter(|file| change.diff.files.removed.contains(&file.path));
        rules.files.extend(of_former.map(|file| (file.path.clone(), file.on_change.clone())));
        Box::new(rules)
    }

    pub(in crate::agent) fn rules_of(&self, setup: &super::Setup) -> Rules {
        rules(&setup.plan, self.mode, &setup.config.rollout)
    }

    pub(in crate::agent) fn rule(
        &mut self,
        rules: Box<Rules>,
        because: Ruling,
        relaunches: bool,
        now: Instant,
        effects: &mut Vec<Effect>,
    ) {
        self.roll(rollout::Event::Ruled { rules, because, relaunches }, now, effects);
    }

    fn exchange(&mut self, basis: Basis) -> Basis {
        let Basis { setup, gatherer, keepers } = basis;
        Basis {
            setup: std::mem::replace(&mut self.setup, setup),
            gatherer: std::mem::replace(&mut self.gatherer, gatherer),
            keepers: std::mem::replace(&mut self.reloading.keepers, keepers),
        }
    }

    /// The pages of the ledger are those of the configuration that holds now.
    fn enrol(&self, former: &Basis, effects: &mut Vec<Effect>) {
        for (source, edition) in &self.reloading.keepers {
            let before = former.keepers.get(source);
            if before == Some(edition) {
                continue;
            }
            let retired = before.map(|before| Keeping::Enrol((source.clone(), *before), false));
            let enrolled = Keeping::Enrol((source.clone(), *edition), true);
            effects.extend(retired.into_iter().chain([enrolled]).map(Effect::Keeping));
        }
    }

    /// A release of the configuration on trial is committed.
    pub(in crate::agent) fn configuration_is_good(
        &mut self,
        generation: Generation,
        now: Instant,
        effects: &mut Vec<Effect>,
    ) {
        let Some(trial) = self.reloading.trial.take_if(|trial| trial.since <= generation) else { return };
        self.keep(trial.change, trial.former, now, effects);
    }

    /// What only the configuration before used is given back, after `grace` if something used it.
    fn keep(&mut self, change: Change, former: Basis, now: Instant, effects: &mut Vec<Effect>) {
        let Change { numbers, edition, diff } = change;
        let rules = Box::new(self.rules_of(&self.setup));
        self.rule(rules, Ruling::Kept, false, now, effects);
        if let (Some(relay), Some(settings)) = (&mut self.relay, settings(&self.setup.plan, self.mode)) {
            relay.set(settings);
        }
        let grace =
            if self.rollout.live().is_some() { self.setup.config.rollout.grace } else { Duration::ZERO };
        let free = diff.secrets.removed.iter().map(|secret| (secret.clone(), Revision::before(edition)));
        let keepers = &self.reloading.keepers;
        let ended = former.keepers.iter().filter(|(source, edition)| keepers.get(*source) != Some(edition));
        let dismiss = ended.map(|(source, edition)| {
            // A credential that is kept for a later run is still needed if the source is.
            ((source.clone(), *edition), self.gives_back && !keepers.contains_key(source))
        });
        let farewell = Farewell { free: free.collect(), dismiss: dismiss.collect() };
        self.reloading.farewells.push((now + grace, farewell));
        self.want_only_ours(&former, edition, effects);
        self.gatherer.inherit(former.gatherer);
        effects.push(Effect::Settle(Arc::clone(&self.setup)));
        effects.push(Effect::Window(self.setup.config.rollout.window.clone()));
        let summary = differences::summary(&diff);
        let Summary { added, removed, changed } = summary.clone();
        effects.push(Effect::Report(ReloadFact::Reloaded { added, removed, changed }.into()));
        let decided = |number| Effect::Decided { number, outcome: Ok(summary.clone()) };
        effects.extend(numbers.into_iter().map(decided));
        self.reloading.standing = Standing::Current;
    }

    /// The rollout failed, and what was live is live again.
    pub(super) fn take_configuration_back(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let Some(trial) = self.reloading.trial.take() else { return };
        let Trial { change, former, why, .. } = trial;
        let rules = Box::new(self.rules_of(&former.setup));
        self.rule(rules, Ruling::TakenBack, false, now, effects);
        let next = self.gatherer.next();
        let failed = self.exchange(former);
        self.gatherer.go_on_from(next);
        self.render_errors.clear();
        self.guard.learn(self.rollout.live().and_then(|live| live.webhook_key.as_ref()), now);
        self.enrol(&failed, effects);
        self.abandon(&change, &failed, effects);
        let why = if why.is_empty() { vec!["its first release failed".to_owned()] } else { why };
        self.refuse(&change.numbers, &why, effects);
    }

    /// A candidate that will not be tried.
    pub(super) fn withdraw(&mut self, effects: &mut Vec<Effect>) {
        let Some(candidate) = self.reloading.candidate.take() else { return };
        let Candidate { change, basis, is_engaged, .. } = candidate;
        if is_engaged {
            self.abandon(&change, &basis, effects);
        } else {
            effects.push(Effect::Settle(Arc::clone(&self.setup)));
        }
    }

    /// What only a configuration used that does not hold is given back at once.
    fn abandon(&mut self, change: &Change, failed: &Basis, effects: &mut Vec<Effect>) {
        let fresh = failed.gatherer.revisions(&change.diff.fresh);
        effects.extend(fresh.map(|(secret, revision)| Effect::Reject(secret, revision)));
        self.reloading.abandoned.insert(change.edition);
        self.reloading.edition = self.reloading.edition.next();
        let edition = self.reloading.edition;
        self.want_only_ours(failed, edition, effects);
        let keepers = &self.reloading.keepers;
        let ended = failed.keepers.iter().filter(|(source, edition)| keepers.get(*source) != Some(edition));
        let ended = ended.map(|(source, edition)| Keeping::Dismiss((source.clone(), *edition), false));
        effects.extend(ended.map(Effect::Keeping));
        effects.push(Effect::Settle(Arc::clone(&self.setup)));
    }

    /// While two configurations were there, the keepers that both have were asked for the secrets of both.
    fn want_only_ours(&self, other: &Basis, edition: Edition, effects: &mut Vec<Effect>) {
        for (source, wants) in &self.setup.plan.wants {
            let keeper = self.reloading.keepers.get(source);
            let theirs = other.setup.plan.wants.get(source);
            if keeper == other.keepers.get(source)
                && theirs != Some(wants)
                && let Some(keeper) = keeper
            {
                let want = Keeping::Want((source.clone(), *keeper), wants.clone(), edition);
                effects.push(Effect::Keeping(want));
            }
        }
    }
}
