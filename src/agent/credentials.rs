//! Credentials of units: what is shown to them, who holds what, and whom a change concerns.
//!
//! *Invariant:* pure. Units get what readers of files see: the release that is published.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Agent, Counter, Effect, Purpose};
use crate::config::UnitReaction;
use crate::credential::held::{Given, Held};
use crate::credential::{Scope, Shown};
use crate::fact::CredentialFact;
use crate::rollout;
use crate::supervise::Launch;

/// The units that were told have restarted within this time, or it is not waited for them: a stop may take 90 seconds, and a start as long.
const TOLD_WITHIN: Duration = Duration::from_mins(4);

/// What the agent knows of credentials.
#[derive(Debug)]
pub(super) struct Credentials {
    scope: Scope,
    held: Held,
    shown: Option<Arc<Shown>>,
    /// The units that are being told, by the number of the action.
    telling: BTreeMap<u64, Telling>,
}

/// Units that are told of a change: all of them by one command, and if that fails, each of those that it did not reach by one of its own. So
/// one that fails, or is no longer on the machine, takes nothing from the others.
#[derive(Debug)]
struct Telling {
    reaction: UnitReaction,
    /// By the command that runs.
    now: Vec<String>,
    /// After it, one after the other.
    rest: Vec<String>,
    /// What the commands before said that failed.
    troubles: Vec<String>,
    /// All of it ends then.
    until: Instant,
}

impl Credentials {
    pub(super) fn new(Counter { scope, held }: Counter) -> Self {
        Self { scope, held, shown: None, telling: BTreeMap::new() }
    }

    /// The command that tells these units. While Squire itself is being started it does not wait for them: a unit that is ordered after Squire's
    /// would be waited for, and would wait.
    fn command(&self, reaction: UnitReaction, units: &[String], waits: bool) -> Vec<String> {
        let verb = match reaction {
            UnitReaction::Restart | UnitReaction::Nothing => "try-restart",
            UnitReaction::Reload => "try-reload-or-restart",
        };
        let user = matches!(self.scope, Scope::User(_)).then_some("--user");
        let at_once = (!waits).then_some("--no-block");
        let words = ["systemctl", "--no-ask-password"].into_iter().chain(user).chain(at_once);
        let units = units.iter().map(String::as_str);
        words.chain([verb, "--"]).chain(units).map(str::to_owned).collect()
    }

    /// Who holds each credential, by its name: the units, and whether they have what is shown.
    pub(super) fn stand(&self) -> Vec<crate::status::UnitCredentialStatus> {
        let Some(shown) = &self.shown else { return Vec::new() };
        let stand = |terms: &crate::plan::Terms| {
            let holders = self.held.holders(&terms.name, shown).into_iter();
            let holders = holders.filter(|(unit, _)| {
                shown.find(unit, &terms.name).is_some_and(|found| *found.terms == *terms)
            });
            let (held_by, outdated): (Vec<_>, Vec<_>) = holders.partition(|(_, is_newest)| *is_newest);
            let units = |units: Vec<(String, bool)>| units.into_iter().map(|(unit, _)| unit).collect();
            crate::status::UnitCredentialStatus {
                name: terms.name.clone(),
                units: terms.units.clone(),
                held_by: units(held_by),
                outdated: units(outdated),
            }
        };
        shown.terms().map(stand).collect()
    }
}

impl Agent {
    /// Shows what is published, and keeps for a later run who holds what.
    pub(super) fn show(&mut self, effects: &mut Vec<Effect>) {
        let Some(counter) = &mut self.counter else { return };
        if let Some(release) = self.rollout.shown()
            && counter.shown.as_ref().is_none_or(|shown| shown.generation != release.generation)
        {
            let shown = Shown::new(release.generation, &release.credentials, counter.held.key());
            let shown = Arc::new(shown);
            counter.shown = Some(Arc::clone(&shown));
            effects.push(Effect::Show(shown));
        }
        effects.extend(counter.held.write().map(Effect::KeepHolders));
    }

    /// A unit that got a value which is no longer shown is told at once.
    pub(super) fn given(&mut self, given: Given, now: Instant, effects: &mut Vec<Effect>) {
        let Some(counter) = &mut self.counter else { return };
        let Some(shown) = counter.shown.clone() else { return };
        let unit = given.wanted.unit.clone();
        if let Some(reaction) = counter.held.given(given, &shown) {
            let units = vec![unit];
            let command = counter.command(reaction, &units, self.rollout.live().is_some());
            effects.push(Effect::Report(CredentialFact::Outdated { units }.into()));
            self.run(Purpose::Errand, Launch::new(command, BTreeMap::new()), TOLD_WITHIN, now, effects);
        }
    }

    /// The units that hold another value than the one that is published now are restarted or reloaded, each once.
    pub(super) fn tell_units(
        &mut self,
        action: u64,
        reaction: UnitReaction,
        now: Instant,
        effects: &mut Vec<Effect>,
    ) {
        self.show(effects);
        let waits = self.rollout.live().is_some();
        let asked = self.counter.as_mut().and_then(|counter| {
            let units = counter.held.outdated(counter.shown.as_ref()?, reaction);
            let command = counter.command(reaction, &units, waits);
            (!units.is_empty()).then(|| {
                let (now, until) = (units.clone(), now + TOLD_WITHIN);
                let telling = Telling { reaction, now, rest: Vec::new(), troubles: Vec::new(), until };
                counter.telling.insert(action, telling);
                (command, units)
            })
        });
        let Some((command, units)) = asked else {
            return self.roll(rollout::Event::Acted(action, Ok(())), now, effects);
        };
        effects.push(Effect::Report(CredentialFact::Outdated { units }.into()));
        let launch = Launch::new(command, BTreeMap::new());
        self.run(Purpose::Reaction(action), launch, TOLD_WITHIN, now, effects);
    }

    /// A reaction ended; it may have been one that told units. `None` while there are others to tell.
    pub(super) fn units_told(
        &mut self,
        action: u64,
        told: Result<(), String>,
        now: Instant,
        effects: &mut Vec<Effect>,
    ) -> Option<Result<(), String>> {
        let waits = self.rollout.live().is_some();
        let Some(counter) = &mut self.counter else { return Some(told) };
        let Some(mut telling) = counter.telling.remove(&action) else { return Some(told) };
        let Some(shown) = &counter.shown else { return Some(told) };
        let reaction = telling.reaction;
        match (told, telling.now.as_slice()) {
            (Ok(()), units) => counter.held.told(units, shown, reaction),
            (Err(error), [unit]) => {
                counter.held.not_told(unit);
                telling.troubles.push(error);
            }
            // Those that were restarted have asked again.
            (Err(error), units) => {
                telling.rest = counter.held.outdated(shown, reaction);
                telling.rest.retain(|unit| units.contains(unit));
                telling.troubles.push(error);
            }
        }
        let left = telling.until.saturating_duration_since(now);
        match telling.rest.pop().filter(|_| !left.is_zero()) {
            Some(unit) => {
                telling.now = vec![unit];
                let command = counter.command(reaction, &telling.now, waits);
                counter.telling.insert(action, telling);
                self.run(
                    Purpose::Reaction(action),
                    Launch::new(command, BTreeMap::new()),
                    left,
                    now,
                    effects,
                );
                None
            }
            None if telling.troubles.is_empty() => Some(Ok(())),
            None => Some(Err(telling.troubles.join("; "))),
        }
    }
}
