//! The thread that writes: performs publications one after the other, away from the event loop.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};

use tokio::sync::mpsc::UnboundedSender;

use super::{Event, chain};
use crate::config::OutputConfig;
use crate::fact::{Fact, RolloutFact};
use crate::names::Generation;
use crate::publish::{self, Manifest, OutputLock, Publication, PublishError, tmpfs};
use crate::render::Release;
use crate::secret::DigestKey;

/// What there is to write.
#[derive(Debug)]
pub(super) enum Job {
    /// Write this where nobody looks; answered by an event.
    Stage(Arc<Release>),
    /// Remove what is staged.
    Discard,
    /// Publish what is staged; answered by an event.
    Publish,
    /// Publish this, which was live before; answered by an event.
    Restore(Arc<Release>),
    /// Remove this superseded generation.
    Retire(Generation),
    /// Remove all that was published.
    Sweep,
}

/// What is published, and how to publish more.
pub struct Publisher {
    output: OutputConfig,
    key: DigestKey,
    absolute: Vec<PathBuf>,
    manifest: Manifest,
    staged: Option<Publication>,
    /// Held for as long as we publish there: whoever else did would remove what is live.
    _lock: Option<OutputLock>,
}

/// How jobs reach the publisher's thread.
pub(super) struct Desk {
    jobs: Sender<Job>,
    thread: JoinHandle<()>,
}

impl Desk {
    /// Hands over a job; never blocks.
    pub(super) fn hand(&self, job: Job) {
        // It takes jobs until this desk is closed.
        drop(self.jobs.send(job));
    }

    /// Waits until everything handed over is done; blocks.
    pub(super) fn close(self) {
        drop(self.jobs);
        drop(self.thread.join());
    }
}

impl Publisher {
    /// Prepares the output directory and looks at what an earlier run left there. `absolute` are the destinations outside it.
    pub fn new(output: OutputConfig, absolute: Vec<PathBuf>, key: DigestKey) -> Result<Self, PublishError> {
        tmpfs::prepare(&output)?;
        let lock = OutputLock::take(&output)?;
        let manifest = tmpfs::survey(&output, &absolute, &key)?;
        Ok(Self { output, key, absolute, manifest, staged: None, _lock: lock })
    }

    /// The number that the next generation has to have at least.
    pub fn next_generation(&self) -> Generation {
        self.manifest.highest().map_or(Generation::FIRST, Generation::next)
    }

    /// What an earlier run left for its slow readers.
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
                // An agent that is gone needs no answer.
                Job::Stage(release) => drop(events.send(self.stage(&release))),
                Job::Publish => drop(events.send(self.publish())),
                Job::Restore(release) => drop(events.send(self.restore(&release))),
                Job::Discard => self.discard(),
                Job::Retire(generation) => self.retire(generation),
                Job::Sweep => self.sweep(),
            }
        }
    }

    fn stage(&mut self, release: &Release) -> Event {
        let publication = publish::plan(&self.manifest, release, &self.output);
        match tmpfs::stage(&self.output, &self.key, &publication) {
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

    fn discard(&mut self) {
        let Some(publication) = self.staged.take() else { return };
        if let Err(error) = tmpfs::discard(&self.output, &self.key, &publication) {
            Fact::from(RolloutFact::NotDiscarded { error: chain(&error) }).log();
        }
        self.look_again();
    }

    fn publish(&mut self) -> Event {
        let Some(publication) = self.staged.take() else {
            return Event::NotPublished("nothing is staged".to_owned());
        };
        let result = tmpfs::publish(&self.output, &self.key, &publication);
        self.published(publication, result)
    }

    fn restore(&mut self, release: &Release) -> Event {
        let publication = publish::plan(&self.manifest, release, &self.output);
        let result = tmpfs::perform(&self.output, &self.key, &publication);
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
            Err(error) => Fact::from(RolloutFact::NotRetired { generation, error: chain(&error) }).log(),
        }
    }

    fn sweep(&mut self) {
        let errors = tmpfs::sweep(&self.output, &self.manifest, &self.key);
        let facts = errors.iter().map(|error| RolloutFact::NotSwept { error: chain(error) });
        facts.map(Fact::from).for_each(|fact| fact.log());
        if errors.is_empty() {
            Fact::from(RolloutFact::Swept).log();
        }
    }

    /// After a failure only the disk knows what is there. Where it cannot be asked either, what was known stays.
    fn look_again(&mut self) {
        match tmpfs::survey(&self.output, &self.absolute, &self.key) {
            Ok(manifest) => self.manifest = manifest,
            Err(error) => tracing::warn!(error = chain(&error), "output directory cannot be read"),
        }
    }
}
