//! The rules, events and effects of a rollout.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::config::{Action, Proof, Reaction, RunCommand, UnitReaction};
use crate::fact::Fact;
use crate::names::{Generation, Revision, SecretName};
use crate::render::Release;

/// The reactions to changes, and the proof that a release needs.
#[derive(Clone, Debug)]
pub struct Rules {
    /// The reaction of each file.
    pub files: BTreeMap<PathBuf, Reaction>,
    /// The reaction to the environment.
    pub env: Reaction,
    /// What a change of a credential may ask of the units that hold one.
    pub units: BTreeSet<UnitReaction>,
    /// Whether there is a process to start.
    pub has_process: bool,
    /// How long after a commit the leases that only former generations used are freed.
    pub grace: Duration,
    /// The checks that a staged release has to pass.
    pub checks: Vec<RunCommand>,
    /// How the process proves that it is well.
    pub proof: Proof,
    /// With a restart, the old process runs on until its successor has proved that it is well.
    pub overlaps: bool,
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// A release was rendered.
    Rendered(Release),
    /// The newest values could not be rendered: if they were an operator's wish, there is no longer one.
    NotRendered,
    /// The release is staged, where no reader looks.
    Staged {
        /// Its relative files are here.
        directory: Option<PathBuf>,
        /// Whether any file differs from what is published.
        changes: bool,
    },
    /// The release could not be staged; no part of it is left.
    NotStaged(String),
    /// Whether a process could be started with the release.
    Rehearsed(Result<(), String>),
    /// A check ended.
    Checked(Result<(), String>),
    /// The release is visible: these files differ from before, and this generation is superseded.
    #[expect(missing_docs, reason = "said above")]
    Published { changed: BTreeSet<PathBuf>, superseded: Option<Generation> },
    /// The release could not be published, or only a part of it.
    NotPublished(String),
    /// The process has reacted.
    ProcessSettled,
    /// The process, on trial, ended, or could not be started: the reason, and whether it ended by itself with exit code 0.
    #[expect(missing_docs, reason = "said above")]
    ProcessDown { why: String, is_clean: bool },
    /// The process said that it is ready.
    ProcessReady,
    /// The action of this number was done, or failed.
    Acted(u64, Result<(), String>),
    /// The answer to the try of this number.
    Tried(u64, Result<(), String>),
    /// Whether rollouts are allowed now.
    Window(bool),
    /// An operator holds rollouts, or releases them.
    HoldAsked(bool),
    /// An operator goes back to the values that these secrets had before: what they were leased with is still needed, and the next rollout
    /// waits for nothing.
    RollbackAsked(BTreeSet<SecretName>),
    /// Other rules hold from now on. They change only at rest, or with the commit.
    #[expect(
        missing_docs,
        reason = "said above; with the first release of these rules the process is started anew, whatever they say"
    )]
    Ruled { rules: Box<Rules>, because: Ruling, relaunches: bool },
    /// The deadline came.
    Due,
}

/// Why other rules hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ruling {
    /// A new configuration is tried: its first release follows.
    Tried,
    /// It was good.
    Kept,
    /// It was not, and those of before hold again.
    TakenBack,
}

/// Effects, for others to perform.
#[derive(Clone, Debug)]
#[must_use = "an effect that is dropped leaves the rollout waiting"]
pub enum Effect {
    /// Stage this release: write it where no reader looks.
    Stage(Arc<Release>),
    /// Test whether a process could be started with this release; answered by [`Event::Rehearsed`].
    Rehearse(Arc<Release>),
    /// Run this command on the staged release.
    #[expect(missing_docs, reason = "the parts of what was staged")]
    Check { command: RunCommand, directory: Option<PathBuf>, release: Arc<Release> },
    /// Remove the staged files.
    Discard,
    /// Publish the staged release.
    Publish,
    /// Publish this release, which was live before.
    Restore(Arc<Release>),
    /// Start the process with this release.
    Start(Arc<Release>),
    /// Restart the process with this release.
    Restart(Arc<Release>),
    /// Send the process these signals.
    Signal(BTreeSet<Signal>),
    /// Perform this action; answered by [`Event::Acted`] with the same number.
    Act(u64, Action),
    /// Ask whether the process is well.
    Try(u64),
    /// Whether the process is on trial: if it ends on trial, [`Event::ProcessDown`] reports that.
    OnTrial(bool),
    /// The process is well, so the former one may be stopped; answered by [`Event::ProcessSettled`].
    HandOver,
    /// This generation is committed.
    Committed(Generation),
    /// This generation was taken back.
    TakenBack(Generation),
    /// This generation stays, although the process is not well with it: Squire cannot go back.
    Forced(Generation),
    /// A newer release replaced this generation before it was tried.
    Dropped(Generation),
    /// Remove this generation's files.
    Retire(Generation),
    /// No generation uses the revisions of this secret below this one any more.
    Free(SecretName, Revision),
    /// Log this fact.
    Report(Fact),
}
