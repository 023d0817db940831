//! Combines the reactions to the changes of one rollout: one reaction for each target, and a restart wins over a signal.
//!
//! *Invariant:* pure.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use nix::sys::signal::Signal;

use crate::config::{Act, Action, Reaction, UnitReaction};

/// The reaction of the process, and the actions that follow it.
#[derive(Debug, Default)]
pub(super) struct Reactions {
    pub(super) restart: bool,
    pub(super) signals: BTreeSet<Signal>,
    /// Each one once: signals to other processes first, then commands and requests in the order of their files.
    pub(super) actions: Vec<Action>,
}

impl Reactions {
    /// The reactions of the files that changed, and of the environment if it changed.
    pub(super) fn gather(
        files: &BTreeMap<PathBuf, Reaction>,
        changed: &BTreeSet<PathBuf>,
        env: Option<&Reaction>,
    ) -> Self {
        let mut reactions = Self::default();
        // A file of which the rules know the directory: one for each field of a secret.
        let of = |path: &PathBuf| path.ancestors().find_map(|above| files.get(above));
        for reaction in changed.iter().filter_map(of).chain(env) {
            match reaction {
                Reaction::Restart => reactions.restart = true,
                Reaction::Signal(signal) => _ = reactions.signals.insert(*signal),
                Reaction::Act(action) => reactions.act(action),
                Reaction::Nothing => {}
            }
        }
        reactions.actions.sort_by_key(|action| !matches!(action.act, Act::SignalTo(_)));
        reactions
    }

    /// What is asked of the units that hold a credential that changed: which they are is known when it is done.
    pub(super) fn units(&mut self, asked: &BTreeSet<UnitReaction>) {
        let act = |reaction: &UnitReaction| Action { act: Act::Units(*reaction), is_required: false };
        self.actions.extend(asked.iter().map(act));
    }

    /// Adds an action once; it is required if any of the files says so.
    fn act(&mut self, action: &Action) {
        match self.actions.iter_mut().find(|known| known.act == action.act) {
            Some(known) => known.is_required |= action.is_required,
            None => self.actions.push(action.clone()),
        }
    }
}
