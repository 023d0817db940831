//! What a rollout goes by, what it is told, and what it answers.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::config::{Action, Proof, Reaction, RunCommand};
use crate::fact::Fact;
use crate::names::{Generation, Revision, SecretName};
use crate::render::Release;

/// What reacts on what, and what a release has to prove.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Of each file.
    pub files: BTreeMap<PathBuf, Reaction>,
    /// Of the environment.
    pub env: Reaction,
    /// Whether there is a process to start.
    pub has_process: bool,
    /// How long what only the former generation used lives after a commit.
    pub grace: Duration,
    /// What a staged release has to pass.
    pub checks: Vec<RunCommand>,
    /// How the process proves that it is well.
    pub proof: Proof,
    /// What is restarted runs on until its successor has proven itself.
    pub overlaps: bool,
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// A release is whole.
    Rendered(Release),
    /// The release is on disk, where nobody looks.
    Staged {
        /// Its relative files are here.
        directory: Option<PathBuf>,
        /// Whether any file differs from what is published.
        changes: bool,
    },
    /// The release could not be staged; nothing is left of it.
    NotStaged(String),
    /// Whether a process could be started with the release.
    Rehearsed(Result<(), String>),
    /// A check ended.
    Checked(Result<(), String>),
    /// The release is what readers see: these files differ from before, and this generation is superseded for good.
    #[expect(missing_docs, reason = "said above")]
    Published { changed: BTreeSet<PathBuf>, superseded: Option<Generation> },
    /// The release could not be published, or only in part.
    NotPublished(String),
    /// The process did what it was asked.
    ProcessSettled,
    /// The process, on trial, ended, or could not be started: why, and whether it ended by itself with the exit code 0.
    #[expect(missing_docs, reason = "said above")]
    ProcessDown { why: String, is_clean: bool },
    /// The process said that it is ready.
    ProcessReady,
    /// The action of this number was done, or could not be.
    Acted(u64, Result<(), String>),
    /// The try of this number was answered.
    Tried(u64, Result<(), String>),
    /// Whether it is a time for rollouts.
    Window(bool),
    /// The deadline came.
    Due,
}

/// What to do.
#[derive(Clone, Debug)]
#[must_use = "an effect that is dropped leaves the rollout waiting"]
pub enum Effect {
    /// Write this release where nobody looks.
    Stage(Arc<Release>),
    /// Find out whether a process could be started with this release; answered by [`Event::Rehearsed`].
    Rehearse(Arc<Release>),
    /// Run this command on what is staged.
    #[expect(missing_docs, reason = "the parts of what was staged")]
    Check { command: RunCommand, directory: Option<PathBuf>, release: Arc<Release> },
    /// Remove what is staged.
    Discard,
    /// Put what is staged where its readers find it.
    Publish,
    /// Put this release, which was live before, where its readers find it.
    Restore(Arc<Release>),
    /// Start the process with this release.
    Start(Arc<Release>),
    /// Restart the process with this release.
    Restart(Arc<Release>),
    /// Send the process these signals.
    Signal(BTreeSet<Signal>),
    /// Do this; answered by [`Event::Acted`] with the same number.
    Act(u64, Action),
    /// Ask whether the process is well.
    Try(u64),
    /// Whether the process has yet to prove that it is well: if it ends, that is for [`Event::ProcessDown`].
    OnTrial(bool),
    /// The process is well: what it takes the place of may end; answered by [`Event::ProcessSettled`].
    HandOver,
    /// This generation is the good one now.
    Committed(Generation),
    /// This generation was taken back.
    TakenBack(Generation),
    /// The process has to live with this generation, though it is not well: there is nothing to go back to.
    Forced(Generation),
    /// A newer one took this generation's place before it was tried.
    Dropped(Generation),
    /// Remove this generation's files.
    Retire(Generation),
    /// Nothing uses the revisions of this secret below this one any more.
    Free(SecretName, Revision),
    /// Say what happened.
    Report(Fact),
}
