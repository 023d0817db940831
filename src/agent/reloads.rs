//! Reads and compiles the configuration anew, away from the agent's thread, and answers whoever asked for it.
//!
//! Files may hang, and a compilation takes time, so a thread of its own does that; it is started with the first reload. Who asks while it is
//! at work waits for one more turn, and so does everybody who asks until then: ten reloads a second are two at most.
//!
//! *Invariant:* whoever asks is answered once: with what changed, or with every reason why nothing did.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::panic::{self, AssertUnwindSafe};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc as threads;
use std::thread;

use tokio::sync::{mpsc, oneshot};

use super::keepers::Keepers;
use super::{Event, Outcome, Setup};
use crate::fact::{Fact, ReloadFact};
use crate::names::{Edition, SourceName};
use crate::plan::Want;

/// A source that is ready to be kept.
pub type Prepared = Box<dyn FnOnce(&mut Keepers, Vec<Want>, Edition) + Send>;

/// A configuration that was read and compiled.
pub struct Loaded {
    /// The configuration.
    pub setup: Setup,
    /// The sources of all its secrets.
    pub sources: BTreeMap<SourceName, Prepared>,
}

/// The files that a configuration is in, each with a digest of what was read; `None` where it could not be read.
pub type Seen = BTreeMap<PathBuf, Option<blake3::Hash>>;

/// The files that decide what is rendered.
#[derive(Debug, Default)]
pub struct Files {
    /// Those of the configuration.
    pub configuration: Seen,
    /// Those that its templates include.
    pub included: BTreeSet<PathBuf>,
}

/// Reads the configuration: the result, or every problem as `squire check` says it, and the files that were read for it.
pub type Load = Box<dyn FnMut() -> (Result<Loaded, Vec<String>>, Seen) + Send>;

/// Who waits for the outcome of a reload.
pub type Answer = oneshot::Sender<Outcome>;

/// Asks for reloads, from anywhere in Squire.
#[derive(Clone, Debug)]
pub struct Asker(mpsc::UnboundedSender<Option<Answer>>);

impl Asker {
    /// Asks for a reload that nobody waits for.
    pub fn ask(&self) {
        // An agent that is gone reloads nothing.
        self.0.send(None).ok();
    }

    /// Asks for a reload, and waits for its outcome.
    ///
    /// # Errors
    /// Every reason why the configuration before still holds.
    pub async fn reload(&self) -> Outcome {
        let (answer, outcome) = oneshot::channel();
        self.0.send(Some(answer)).ok();
        outcome.await.unwrap_or_else(|_| Err(vec!["squire ends".to_owned()]))
    }
}

/// The reloads of one run.
pub struct Reloads {
    load: Option<Load>,
    thread: Option<threads::Sender<()>>,
    asks: mpsc::UnboundedReceiver<Option<Answer>>,
    asker: Asker,
    results: (mpsc::UnboundedSender<Read>, mpsc::UnboundedReceiver<Read>),
    /// The reload that is being read.
    reading: Option<u64>,
    number: u64,
    /// Who waits for a turn that has not begun.
    next: Vec<Answer>,
    is_asked_again: bool,
    answers: BTreeMap<u64, Vec<Answer>>,
    prepared: BTreeMap<u64, BTreeMap<SourceName, Prepared>>,
    files: mpsc::UnboundedSender<Files>,
    ready: VecDeque<Event>,
}

type Read = (Result<Loaded, Vec<String>>, Seen);

impl Reloads {
    /// Loads by `load`, and tells `files` which files it read.
    pub fn new(load: Option<Load>, files: mpsc::UnboundedSender<Files>) -> Self {
        let (asker, asks) = mpsc::unbounded_channel();
        Self {
            load,
            thread: None,
            asks,
            asker: Asker(asker),
            results: mpsc::unbounded_channel(),
            reading: None,
            number: 0,
            next: Vec::new(),
            is_asked_again: false,
            answers: BTreeMap::new(),
            prepared: BTreeMap::new(),
            files,
            ready: VecDeque::new(),
        }
    }

    /// For others to ask by.
    pub fn asker(&self) -> Asker {
        self.asker.clone()
    }

    /// What was read, once it was. Either arm may be dropped: what was asked for or read stays in its channel.
    pub(super) async fn next_event(&mut self) -> Event {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return event;
            }
            tokio::select! {
                Some(answer) = self.asks.recv() => self.ask(answer),
                Some((result, seen)) = self.results.1.recv() => self.read(result, seen),
            }
        }
    }

    /// Asks for a reload.
    pub(super) fn ask(&mut self, answer: Option<Answer>) {
        self.next.extend(answer);
        self.is_asked_again = true;
        self.begin();
    }

    /// Everybody who asked by now is answered by what is read from now on.
    fn begin(&mut self) {
        if self.reading.is_some() || !std::mem::take(&mut self.is_asked_again) {
            return;
        }
        self.number += 1;
        Fact::from(ReloadFact::Begun).tell();
        self.answers.insert(self.number, std::mem::take(&mut self.next));
        match self.thread() {
            Ok(thread) if thread.send(()).is_ok() => self.reading = Some(self.number),
            Ok(_) => self.not_read("the thread that reads the configuration has ended"),
            Err(error) => self.not_read(&format!("the configuration cannot be read: {error}")),
        }
    }

    fn not_read(&mut self, why: &str) {
        self.ready.push_back(Event::NotLoaded(self.number, vec![why.to_owned()]));
    }

    fn thread(&mut self) -> std::io::Result<&threads::Sender<()>> {
        if self.thread.is_none() {
            let Some(mut load) = self.load.take() else {
                return Err(std::io::Error::other("this run has none"));
            };
            let (orders, work) = threads::channel::<()>();
            let results = self.results.0.clone();
            let loader = thread::Builder::new().name("loader".to_owned());
            drop(loader.spawn(move || {
                for () in work {
                    // A bug there costs this reload; whoever asked has to be answered.
                    let read = panic::catch_unwind(AssertUnwindSafe(&mut load));
                    let failed = |_| (Err(vec!["squire failed to read it".to_owned()]), Seen::new());
                    // An agent that is gone needs no result.
                    results.send(read.unwrap_or_else(failed)).ok();
                }
            })?);
            self.thread = Some(orders);
        }
        self.thread.as_ref().ok_or_else(|| std::io::Error::other("it is gone"))
    }

    fn read(&mut self, result: Result<Loaded, Vec<String>>, seen: Seen) {
        let Some(number) = self.reading.take() else { return };
        let included = result.as_ref().map(|loaded| loaded.setup.plan.included()).unwrap_or_default();
        self.files.send(Files { configuration: seen, included }).ok();
        self.ready.push_back(match result {
            Ok(Loaded { setup, sources }) => {
                self.prepared.insert(number, sources);
                Event::Loaded(number, Arc::new(setup))
            }
            Err(problems) => Event::NotLoaded(number, problems),
        });
        self.begin();
    }

    /// The source of a reload that goes on.
    pub(super) fn take(&mut self, number: u64, source: &SourceName) -> Option<Prepared> {
        self.prepared.get_mut(&number)?.remove(source)
    }

    /// How a reload went.
    pub(super) fn decided(&mut self, number: u64, outcome: &Outcome) {
        self.prepared.remove(&number);
        for answer in self.answers.remove(&number).unwrap_or_default() {
            // Whoever asked may have gone.
            answer.send(outcome.clone()).ok();
        }
    }
}
