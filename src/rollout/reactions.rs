//! What the changes of one rollout ask for, together: one reaction a target, and a restart beats a signal.
//!
//! *Invariant:* pure.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use nix::sys::signal::Signal;

use crate::config::{Reaction, RunCommand};

/// What is asked of the process, and what comes after it.
#[derive(Debug, Default)]
pub(super) struct Reactions {
    pub(super) restart: bool,
    pub(super) signals: BTreeSet<Signal>,
    /// Each once, in the order of their files.
    pub(super) commands: Vec<RunCommand>,
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
                Reaction::Run(command) if !reactions.commands.contains(command) => {
                    reactions.commands.push(command.clone());
                }
                Reaction::Run(_) | Reaction::Nothing => {}
            }
        }
        reactions
    }
}
