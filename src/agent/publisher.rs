//! The publisher's thread: performs publications one after the other, away from the event loop.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};

use tokio::sync::mpsc::UnboundedSender;

use super::{Event, Setup, chain};
use crate::config::OutputConfig;
use crate::fact::{Fact, RolloutFact};
use crate::names::Generation;
use crate::ordered::Order as _;
use crate::plan::Plan;
use crate::publish::tmpfs::{self, Cleared, RosterPlaces};
use crate::publish::{self, AbsoluteFile, Exposure, Manifest, OutputLock, Publication, PublishError, Roster};
use crate::render::{Release, RenderedFile};
use crate::secret::DigestKey;

/// The jobs of the thread.
#[derive(Debug)]
pub(super) enum Job {
    /// Stage this release, where no reader looks; answered by an event.
    Stage(Arc<Release>),
    /// Write this token, in place of what is there; answered by an event.
    Sink(RenderedFile),
    /// Remove the staged files.
    Discard,
    /// Publish the staged release; answered by an event.
    Publish,
    /// Publish this release, which was live before; answered by an event.
    Restore(Arc<Release>),
    /// Remove this superseded generation.
    Retire(Generation),
    /// Look whether this configuration can be published, and prepare its places; answered by an event.
    Examine(u64, Arc<Setup>),
    /// Use only the places of this configuration.
    Settle(Arc<Setup>),
    /// Remove everything that was published.
    Sweep,
    /// Remove every file with a token: they are being given back.
    ForgetTokens,
}

/// The places to publish in, and the users to trust.
pub struct Premises {
    /// The output directory.
    output: OutputConfig,
    /// The destinations outside it.
    absolute: Vec<AbsoluteFile>,
    /// The files with tokens, which are no part of a release.
    tokens: Vec<AbsoluteFile>,
    /// Users who may own such a directory: Squire's user, and the owners of the files.
    trusted: BTreeSet<u32>,
    /// The directory of the ledger, if it could be opened.
    ledger: Option<PathBuf>,
    /// Everything is removed at the end. If this run is killed, the next one removes it.
    sweeps: bool,
}

impl Premises {
    /// The places of a plan.
    pub fn new(output: OutputConfig, plan: &Plan, ledger: Option<PathBuf>, sweeps: bool) -> Self {
        let own = nix::unistd::geteuid().as_raw();
        let process = plan.process.as_ref().and_then(|process| process.setting.person.as_ref());
        let files = plan.files.iter().map(|file| (file.directory, file.attributes));
        let tokens = plan.tokens.iter().map(|token| (token.directory, token.attributes));
        let attributes =
            files.chain(tokens).flat_map(|(directory, file)| directory.into_iter().chain([file]));
        let owners = attributes.map(|attributes| attributes.owner);
        let trusted = owners.chain(process.map(|person| person.user)).chain([own]).ordered();
        let tokens = plan.tokens.iter();
        let tokens =
            tokens.map(|token| AbsoluteFile { path: token.path.clone(), directory: token.directory });
        Self { output, absolute: absolute_files(plan), tokens: tokens.collect(), trusted, ledger, sweeps }
    }

    /// All that is outside of the output directory.
    fn alone(&self) -> impl Iterator<Item = &AbsoluteFile> {
        self.absolute.iter().chain(&self.tokens)
    }

    /// Who else could replace what is published.
    ///
    /// # Errors
    /// If a directory belongs to another user.
    pub fn examine(&self) -> Result<Vec<Exposure>, PublishError> {
        let absolute: Vec<PathBuf> = self.alone().map(|file| file.path.clone()).collect();
        tmpfs::examine(&self.output, &absolute, &self.trusted)
    }

    /// Every problem with publishing in these places, without changing anything.
    pub fn look(&self) -> Vec<PublishError> {
        let unfit = tmpfs::look(self.alone(), self.output.allow_disk);
        unfit.into_iter().chain(self.examine().err()).collect()
    }
}

/// The absolute destinations of a plan.
fn absolute_files(plan: &Plan) -> Vec<AbsoluteFile> {
    let absolute = plan.files.iter().filter(|file| file.path.is_absolute());
    absolute.map(|file| AbsoluteFile { path: file.path.clone(), directory: file.directory }).collect()
}

/// The published state, and the means to publish more.
pub struct Publisher {
    output: OutputConfig,
    key: DigestKey,
    absolute: Vec<PathBuf>,
    tokens: Vec<PathBuf>,
    manifest: Manifest,
    staged: Option<Publication>,
    rosters: RosterPlaces,
    /// What a killed run left, and could not be removed.
    left: Roster,
    sweeps: bool,
    /// Held for as long as we publish there: whoever else did would remove what is live.
    lock: Option<OutputLock>,
}

/// The channel to the publisher's thread.
pub(super) struct Desk {
    jobs: Sender<Job>,
    thread: JoinHandle<()>,
}

impl Desk {
    /// Sends a job; never blocks.
    pub(super) fn hand(&self, job: Job) {
        // The thread takes jobs until this desk is closed.
        drop(self.jobs.send(job));
    }

    /// Waits until all jobs are done; blocks.
    pub(super) fn close(self) {
        drop(self.jobs);
        drop(self.thread.join());
    }
}

impl Publisher {
    /// Prepares the places, and looks at their owners and at the files that an earlier run left there.
    ///
    /// # Errors
    /// If a place cannot be used or belongs to another user, or if there is a file that Squire did not write.
    pub fn new(premises: Premises, key: DigestKey) -> Result<Self, PublishError> {
        // Before anything is made in a place of somebody else.
        premises.examine()?;
        tmpfs::prepare(&premises.output)?;
        tmpfs::prepare_directories(premises.alone(), &premises.output)?;
        for exposure in premises.examine()? {
            Fact::from(RolloutFact::Exposed(exposure)).tell();
        }
        let Premises { output, absolute, tokens, ledger, sweeps, .. } = premises;
        let paths = |files: Vec<AbsoluteFile>| files.into_iter().map(|file| file.path).collect::<Vec<_>>();
        let (absolute, tokens) = (paths(absolute), paths(tokens));
        let lock = OutputLock::take(&output)?;
        let rosters = RosterPlaces::new(ledger.as_deref(), output.dir.as_deref());
        let left = clear_former(&rosters, &output, &[&absolute[..], &tokens].concat());
        tmpfs::prepare_tokens(&output, &tokens)?;
        let manifest = tmpfs::survey(&output, &absolute, &key)?;
        if let Some((path, _)) = manifest.absolute.iter().find(|(_, standing)| !standing.ours) {
            return Err(PublishError::Foreign { path: path.clone() });
        }
        let publisher =
            Self { output, key, absolute, tokens, manifest, staged: None, rosters, left, sweeps, lock };
        // For the next run, before there is anything to say of.
        publisher.enrol();
        Ok(publisher)
    }

    fn enrol(&self) {
        let absolute = [&self.absolute[..], &self.tokens].concat();
        let mut roster = Roster::new(self.output.dir.as_ref(), &absolute, self.sweeps);
        roster.extend(self.left.clone());
        if let Err(error) = self.rosters.write(&roster) {
            Fact::from(RolloutFact::NotEnrolled { error: chain(&error) }).tell();
        }
    }

    /// The lowest number for the next generation.
    pub fn next_generation(&self) -> Generation {
        self.manifest.highest().map_or(Generation::FIRST, Generation::next)
    }

    /// Generations that an earlier run left for its slow readers.
    pub fn superseded(&self) -> &BTreeSet<Generation> {
        &self.manifest.superseded
    }

    /// Starts the thread.
    pub(super) fn start(mut self, events: UnboundedSender<Event>) -> std::io::Result<Desk> {
        let (jobs, incoming) = mpsc::channel();
        let thread = thread::Builder::new().name("publisher".to_owned());
        let thread = thread.spawn(move || self.work(&incoming, &events))?;
        Ok(Desk { jobs, thread })
    }

    fn work(&mut self, jobs: &Receiver<Job>, events: &UnboundedSender<Event>) {
        for job in jobs {
            match job {
                // If the agent is gone, nobody needs the answer.
                Job::Stage(release) => drop(events.send(self.stage(&release))),
                Job::Publish => drop(events.send(self.publish())),
                Job::Restore(release) => drop(events.send(self.restore(&release))),
                Job::Sink(file) => drop(events.send(self.sink(&file))),
                Job::ForgetTokens => self.forget_tokens(),
                Job::Discard => self.discard(),
                Job::Retire(generation) => self.retire(generation),
                Job::Examine(number, setup) => {
                    drop(events.send(Event::Examined(number, self.examine(&setup))));
                }
                Job::Settle(setup) => self.settle(&setup),
                Job::Sweep => self.sweep(),
            }
        }
    }

    /// The places of another configuration are used beside the present ones, until it is kept or taken back.
    fn examine(&mut self, setup: &Setup) -> Result<(), Vec<String>> {
        let premises = Premises::new(setup.config.output.clone(), &setup.plan, None, false);
        let problems = premises.look();
        if !problems.is_empty() {
            return Err(problems.iter().map(|problem| chain(problem)).collect());
        }
        self.widen(premises).map_err(|error| vec![chain(&error)])
    }

    fn widen(&mut self, premises: Premises) -> Result<(), PublishError> {
        tmpfs::prepare_directories(premises.alone(), &premises.output)?;
        for exposure in premises.examine()? {
            Fact::from(RolloutFact::Exposed(exposure)).tell();
        }
        let paths = premises.absolute.into_iter().map(|file| file.path);
        let new: Vec<PathBuf> = paths.filter(|path| !self.absolute.contains(path)).collect();
        let only_absolute = OutputConfig { dir: None, ..premises.output.clone() };
        let found = tmpfs::survey(&only_absolute, &new, &self.key)?;
        if let Some((path, _)) = found.absolute.iter().find(|(_, standing)| !standing.ours) {
            return Err(PublishError::Foreign { path: path.clone() });
        }
        self.manifest.absolute.extend(found.absolute);
        self.manifest.leftovers.extend(found.leftovers);
        self.absolute.extend(new);
        self.output = premises.output;
        self.enrol();
        Ok(())
    }

    fn settle(&mut self, setup: &Setup) {
        let absolute = absolute_files(&setup.plan);
        self.absolute = absolute.into_iter().map(|file| file.path).collect();
        self.output = setup.config.output.clone();
        self.enrol();
    }

    fn stage(&mut self, release: &Release) -> Event {
        let publication = publish::plan(&self.manifest, release, &self.output);
        let staged = self.require_current();
        match staged.and_then(|()| tmpfs::stage(&self.output, &self.key, &publication)) {
            Ok(()) => {
                let changes = !publication.changed.is_empty();
                let directory = publication.directory(&self.output);
                self.staged = Some(publication);
                Event::Staged { directory, changes }
            }
            Err(error) => {
                self.look_again();
                Event::NotStaged(chain(&error))
            }
        }
    }

    /// A token has no stage: it is shown as soon as it is there.
    fn sink(&self, file: &RenderedFile) -> Event {
        let result = tmpfs::replace(&self.output, file).map_err(|error| chain(&error));
        Event::Sunk(file.path.clone(), result)
    }

    fn forget_tokens(&self) {
        for error in tmpfs::remove_tokens(&self.output, &self.tokens) {
            Fact::from(RolloutFact::NotSwept { error: chain(&error) }).tell();
        }
    }

    fn discard(&mut self) {
        let Some(publication) = self.staged.take() else { return };
        if let Err(error) = tmpfs::discard(&self.output, &self.key, &publication) {
            Fact::from(RolloutFact::NotDiscarded { error: chain(&error) }).tell();
        }
        self.look_again();
    }

    fn publish(&mut self) -> Event {
        let Some(publication) = self.staged.take() else {
            return Event::NotPublished("nothing is staged".to_owned());
        };
        let current = self.require_current();
        let result = current.and_then(|()| tmpfs::publish(&self.output, &self.key, &publication));
        self.published(publication, result)
    }

    fn require_current(&self) -> Result<(), PublishError> {
        self.lock.as_ref().map_or(Ok(()), |lock| lock.require_current(&self.output))
    }

    fn restore(&mut self, release: &Release) -> Event {
        let publication = publish::plan(&self.manifest, release, &self.output);
        let current = self.require_current();
        let result = current.and_then(|()| tmpfs::perform(&self.output, &self.key, &publication));
        self.published(publication, result)
    }

    fn published(&mut self, publication: Publication, result: Result<(), PublishError>) -> Event {
        match result {
            Ok(()) => {
                self.manifest = publication.manifest;
                Event::Published { changed: publication.changed, superseded: publication.superseded }
            }
            Err(error) => {
                self.look_again();
                Event::NotPublished(chain(&error))
            }
        }
    }

    fn retire(&mut self, generation: Generation) {
        match tmpfs::retire(&self.output, generation) {
            Ok(()) => _ = self.manifest.superseded.remove(&generation),
            Err(error) => Fact::from(RolloutFact::NotRetired { generation, error: chain(&error) }).tell(),
        }
    }

    fn sweep(&mut self) {
        self.discard();
        let mut errors = tmpfs::sweep(&self.output, &self.absolute, &self.manifest, &self.key);
        errors.extend(tmpfs::remove_tokens(&self.output, &self.tokens));
        // Where its directory was moved away, what is in it is not removed.
        errors.extend(self.require_current().err());
        if errors.is_empty() {
            errors.extend(self.rosters.remove().err());
        }
        let facts = errors.iter().map(|error| RolloutFact::NotSwept { error: chain(error) });
        facts.map(Fact::from).for_each(Fact::tell);
        if errors.is_empty() {
            Fact::from(RolloutFact::Swept).tell();
        }
    }

    /// After a failure only the disk knows the published state. If it cannot be read either, the last known state stays.
    fn look_again(&mut self) {
        match tmpfs::survey(&self.output, &self.absolute, &self.key) {
            Ok(manifest) => self.manifest = manifest,
            Err(error) => tracing::warn!(error = chain(&error), "output directory cannot be read"),
        }
    }
}

/// Removes what killed runs left where this one does not publish; gives what could not be removed.
fn clear_former(rosters: &RosterPlaces, output: &OutputConfig, absolute: &[PathBuf]) -> Roster {
    let mut left = Roster::default();
    for former in rosters.read() {
        let Cleared { removed, left: kept, errors } = tmpfs::clear_former(&former, output, absolute);
        if !removed.is_empty() {
            Fact::from(RolloutFact::FormerCleared { removed }).tell();
        }
        let facts = errors.iter().map(|error| RolloutFact::NotSwept { error: chain(error) });
        facts.map(Fact::from).for_each(Fact::tell);
        left.extend(kept);
    }
    left
}
