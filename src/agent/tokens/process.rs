//! The token in the environment of the process.
//!
//! A running process cannot be given another environment: a new token waits for the next start, or asks for one.
//!
//! *Invariant:* pure. For one token the process is restarted once, or it is said once that the process has a former one.

use std::collections::BTreeMap;
use std::time::Instant;

use super::super::{Agent, Effect};
use super::{Newest, holder};
use crate::fact::{Fact, SourceFact};
use crate::names::{Edition, SourceName};
use crate::plan::{PlannedProcessToken, TOKEN_VARIABLES};
use crate::render::Release;
use crate::rollout::Ruling;
use crate::secret::Secret;
use crate::snapshot;

/// See the module.
#[derive(Debug)]
pub(super) struct ProcessToken {
    pub(super) source: SourceName,
    /// What it needs beside it.
    variables: BTreeMap<&'static str, String>,
    restarts: bool,
    pub(super) newest: Newest,
    /// What the process was started with last.
    pub(super) given: Option<Secret<str>>,
    /// The one for which something was done, or said.
    told: Option<Secret<str>>,
    /// The process is being started anew for it.
    is_restarting: bool,
}

impl ProcessToken {
    pub(super) fn new(planned: &PlannedProcessToken) -> Self {
        Self {
            source: planned.source.clone(),
            variables: planned.variables.clone(),
            restarts: planned.restarts,
            newest: Newest::default(),
            given: None,
            told: None,
            is_restarting: false,
        }
    }

    /// Whether the process has another token than that of the keeper of this edition, and nothing was done about it.
    fn is_outlived(&mut self, edition: Edition) -> bool {
        let (Some(newest), Some(given)) = (self.newest.of(edition), &self.given) else { return false };
        let is_newest = |token: &Secret<str>| token.expose() == newest.text.expose();
        if is_newest(given) || self.told.as_ref().is_some_and(is_newest) {
            return false;
        }
        self.told = Some(newest.text.clone());
        true
    }
}

impl Agent {
    /// The environment of whatever is started with this release: what it has, and the token of the keeper that holds.
    pub(in crate::agent) fn env_of(&self, release: &Release) -> BTreeMap<String, Secret<str>> {
        let mut env = release.env.clone();
        let Some(process) = &self.tokens.process else { return env };
        let Some(shown) = process.newest.of(holder(&self.reloading, &process.source)) else { return env };
        let beside = process.variables.iter();
        env.extend(beside.map(|(name, text)| ((*name).to_owned(), Secret::new(text.as_str()))));
        env.extend(TOKEN_VARIABLES.map(|name| (name.to_owned(), shown.text.clone())));
        env
    }

    /// The process is started, with that environment.
    pub(in crate::agent) fn give_token(&mut self) {
        let Some(process) = &mut self.tokens.process else { return };
        let shown = process.newest.of(holder(&self.reloading, &process.source));
        process.given = shown.map(|shown| shown.text.clone());
    }

    /// The process has a token that ends: it is started anew if that is asked for, by a rollout like any other, and else it is said.
    pub(super) fn renew_token_of_process(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        if self.reloading.is_trying() || self.rollout.live().is_none() {
            return;
        }
        let Some(process) = &mut self.tokens.process else { return };
        if !process.is_outlived(holder(&self.reloading, &process.source)) {
            return;
        }
        let restarts = process.restarts;
        process.is_restarting = restarts;
        let fact = if restarts { SourceFact::TokenRestarts } else { SourceFact::TokenOutlived };
        effects.push(Effect::Report(Fact::Source(process.source.clone(), fact)));
        if restarts {
            let rules = Box::new(self.rules_of(&self.setup));
            self.rule(rules, Ruling::Kept, true, now, effects);
            self.gather(snapshot::Event::RenderAsked, now, effects);
        }
    }

    /// A rollout is over, and with it the restart that was asked for.
    pub(in crate::agent) fn is_restarted(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let Some(process) = &mut self.tokens.process else { return };
        if std::mem::take(&mut process.is_restarting) {
            let rules = Box::new(self.rules_of(&self.setup));
            self.rule(rules, Ruling::Kept, false, now, effects);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::shown;
    use super::*;

    #[test]
    fn a_process_with_another_token_is_noticed_once() {
        let (source, variables) = (SourceName::new("vault"), BTreeMap::new());
        let mut process = ProcessToken::new(&PlannedProcessToken { source, variables, restarts: false });
        let edition = Edition::default();
        assert!(!process.is_outlived(edition), "there is none");
        process.newest.note(shown(edition, "a"));
        assert!(!process.is_outlived(edition), "nobody has one");
        process.given = Some(Secret::new("a"));
        assert!(!process.is_outlived(edition));
        process.newest.note(shown(edition, "b"));
        assert!(process.is_outlived(edition));
        assert!(!process.is_outlived(edition), "it was said");
        process.given = Some(Secret::new("b"));
        process.newest.note(shown(edition, "c"));
        assert!(process.is_outlived(edition));
    }
}
