//! What the changes of one rollout ask for, together: one reaction a target, and a restart beats a signal.
//!
//! *Invariant:* pure.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use nix::sys::signal::Signal;

use crate::config::{HttpCall, Reaction, RunCommand, SignalTo};

/// What is asked of the process, and what comes after it.
#[derive(Debug, Default)]
pub(super) struct Reactions {
    pub(super) restart: bool,
    pub(super) signals: BTreeSet<Signal>,
    /// Each once: signals to others first, then commands and requests in the order of their files.
    pub(super) actions: Vec<Action>,
}

/// What follows the process's own reaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Signal a process that is not ours.
    SignalTo(SignalTo),
    /// Run a command.
    Run(RunCommand),
    /// Send a request.
    Call(HttpCall),
}

impl Reactions {
    /// Of the files that changed, and of the environment where that did.
    pub(super) fn gather(
        files: &BTreeMap<PathBuf, Reaction>,
        changed: &BTreeSet<PathBuf>,
        env: Option<&Reaction>,
    ) -> Self {
        let mut reactions = Self::default();
        for reaction in changed.iter().filter_map(|path| files.get(path)).chain(env) {
            match reaction {
                Reaction::Restart => reactions.restart = true,
                Reaction::Signal(signal) => _ = reactions.signals.insert(*signal),
                Reaction::SignalTo(to) => reactions.act(Action::SignalTo(to.clone())),
                Reaction::Run(command) => reactions.act(Action::Run(command.clone())),
                Reaction::Call(call) => reactions.act(Action::Call(call.clone())),
                Reaction::Nothing => {}
            }
        }
        reactions.actions.sort_by_key(|action| !matches!(action, Action::SignalTo(_)));
        reactions
    }

    fn act(&mut self, action: Action) {
        if !self.actions.contains(&action) {
            self.actions.push(action);
        }
    }
}
