//! The thread that writes the audit, and what happens while it cannot.
//!
//! It is a thread of its own, since a disk may hang: nobody who tells a fact waits for it. While the audit cannot be written, entries wait
//! here and are written when it can; the gate is closed meanwhile, if that was chosen.
//!
//! *Invariant:* what is not written is counted, and the count is written.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use super::file::{Log, Resumed};
use super::line::Entry;
use super::{AuditError, Gate};
use crate::config::{AuditConfig, OnFailure};
use crate::fact::audit::{Record, record};
use crate::fact::{AuditFact, Fact, Told, chain};
use crate::names::{Accessor, SourceName};

/// How long to wait before the next attempt.
const AGAIN_IN: Duration = Duration::from_secs(1);

/// How often it is said again that the audit cannot be written.
const SAY_EVERY: Duration = Duration::from_mins(1);

/// So many entries wait at most: a few megabytes.
const MOST_WAITING: usize = 10_000;

/// How long the end may wait for a disk that hangs.
const CLOSE_WITHIN: Duration = Duration::from_secs(2);

enum Order {
    Told(Box<Told>),
    Close(Sender<()>),
}

/// The audit, for those who have something to write.
#[derive(Debug)]
pub struct Audit {
    orders: Sender<Order>,
    gate: Gate,
    thread: JoinHandle<()>,
}

impl Audit {
    /// Opens the audit, and starts its thread. `end` is called once if the audit cannot be written and Squire is to stop then.
    ///
    /// # Errors
    /// When it cannot be opened and Squire is to stop then, and when there is no thread.
    pub fn start(config: AuditConfig, end: impl Fn() + Send + 'static) -> Result<Self, AuditError> {
        let gate = Gate::default();
        let mut writer = Writer::new(config, gate.clone(), Box::new(end));
        if let Err(error) = writer.flush() {
            if writer.config.on_failure == OnFailure::Stop {
                return Err(error);
            }
            writer.cannot(&error);
        }
        let file = writer.config.file.clone();
        let (orders, received) = channel();
        let started = thread::Builder::new().name("audit".to_owned()).spawn(move || writer.run(&received));
        let thread = started.map_err(|source: io::Error| AuditError::System {
            doing: "start the thread of",
            path: file,
            source,
        })?;
        Ok(Self { orders, gate, thread })
    }

    /// Whether a new secret may be fetched.
    pub fn gate(&self) -> Gate {
        self.gate.clone()
    }

    /// Writes what has to be written of this.
    pub fn tell(&self, told: Told) {
        // A thread that has ended panicked, which is said elsewhere.
        drop(self.orders.send(Order::Told(Box::new(told))));
    }

    /// Writes what was told, and ends the audit.
    pub fn close(self) {
        let (done, wait) = channel();
        drop(self.orders.send(Order::Close(done)));
        if let Err(RecvTimeoutError::Timeout) = wait.recv_timeout(CLOSE_WITHIN) {
            tracing::error!("the audit did not take its last lines in time");
        } else {
            drop(self.thread.join());
        }
    }
}

struct Writer {
    config: AuditConfig,
    gate: Gate,
    end: Box<dyn Fn() + Send>,
    log: Option<Log>,
    waiting: VecDeque<Entry>,
    lost: u64,
    accessors: BTreeMap<SourceName, Accessor>,
    /// Since when it cannot be written, and when that was said last.
    trouble: Option<Instant>,
}

impl Writer {
    fn new(config: AuditConfig, gate: Gate, end: Box<dyn Fn() + Send>) -> Self {
        let (log, waiting, trouble) = (None, VecDeque::new(), None);
        Self { config, gate, end, log, waiting, lost: 0, accessors: BTreeMap::new(), trouble }
    }

    fn run(mut self, orders: &Receiver<Order>) {
        loop {
            let first = if self.trouble.is_some() {
                orders.recv_timeout(AGAIN_IN)
            } else {
                orders.recv().map_err(RecvTimeoutError::from)
            };
            let mut closing = None;
            let more = match first {
                Ok(order) => Some(order),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return self.finish(),
            };
            // What comes together is written together.
            for order in more.into_iter().chain(std::iter::from_fn(|| orders.try_recv().ok())) {
                match order {
                    Order::Told(told) => self.take(*told),
                    Order::Close(done) => closing = Some(done),
                }
            }
            self.attempt();
            if let Some(done) = closing {
                self.finish();
                // Whoever waits no longer has said so.
                return done.send(()).unwrap_or_default();
            }
        }
    }

    fn take(&mut self, told: Told) {
        let Told { fact, at } = told;
        let Some(mut record) = record(&fact) else { return };
        self.name_token(&mut record);
        if self.waiting.len() >= MOST_WAITING {
            self.lost += 1;
            return;
        }
        self.waiting.push_back(Entry::of(record, at));
    }

    /// Only a login and a look tell what the server calls the token; it is the same until the next one.
    fn name_token(&mut self, record: &mut Record) {
        let Some(source) = &record.source else { return };
        match &record.accessor {
            Some(accessor) => drop(self.accessors.insert(source.clone(), accessor.clone())),
            None if record.what == "login" => drop(self.accessors.remove(source)),
            None => record.accessor = self.accessors.get(source).cloned(),
        }
    }

    fn attempt(&mut self) {
        if self.waiting.is_empty() && self.trouble.is_none() {
            return;
        }
        match self.flush() {
            Ok(()) => self.can_again(),
            Err(error) => self.cannot(&error),
        }
    }

    fn flush(&mut self) -> Result<(), AuditError> {
        if self.log.is_none() {
            let (log, resumed) = Log::open(&self.config)?;
            say(&resumed, &self.config);
            self.log = Some(log);
        }
        let Some(log) = &mut self.log else { return Ok(()) };
        if let Some(resumed) = log.append(&mut self.waiting)? {
            say(&resumed, &self.config);
        }
        if self.lost > 0 {
            let mut lost = VecDeque::from([Entry::lost(self.lost, SystemTime::now())]);
            log.append(&mut lost)?;
            self.lost = 0;
        }
        Ok(())
    }

    fn can_again(&mut self) {
        if self.trouble.take().is_some() {
            self.gate.set_closed(false);
            Fact::from(AuditFact::WrittenAgain { file: self.config.file.clone() }).tell();
        }
    }

    fn cannot(&mut self, error: &AuditError) {
        let now = Instant::now();
        let is_first = self.trouble.is_none();
        if self.trouble.is_none_or(|said| now.saturating_duration_since(said) >= SAY_EVERY) {
            self.trouble = Some(now);
            let (waiting, lost, then) = (self.waiting.len(), self.lost, self.consequence());
            Fact::from(AuditFact::NotWritten { error: chain(error), waiting, lost, then }).tell();
        }
        match self.config.on_failure {
            OnFailure::Refuse => self.gate.set_closed(true),
            OnFailure::Stop if is_first => (self.end)(),
            OnFailure::GoOn | OnFailure::Stop => {}
        }
    }

    fn consequence(&self) -> &'static str {
        match self.config.on_failure {
            OnFailure::Refuse => "leases are renewed, and nothing new is fetched until it can",
            OnFailure::GoOn => "going on without it",
            OnFailure::Stop => "stopping",
        }
    }

    fn finish(&mut self) {
        let Some(log) = self.log.take() else { return };
        match log.close() {
            Ok(tip) => tracing::info!(%tip, "the audit ends here"),
            Err(error) => tracing::warn!(error = chain(&error), "the end of the audit is not in its anchor"),
        }
    }
}

/// The log is one more place that remembers where the chain was.
fn say(resumed: &Resumed, config: &AuditConfig) {
    let Resumed { tip, found } = resumed;
    let file = config.file.display();
    tracing::info!(%file, %tip, "the audit goes on");
    if let Some(found) = found.clone() {
        Fact::from(AuditFact::NotAsLeft { file: config.file.clone(), found }).tell();
    }
}
