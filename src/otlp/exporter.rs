//! Sends traces, on a task of its own. What the collector does not take in time is dropped and counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hyper::body::Bytes;
use opentelemetry_proto::tonic::trace::v1::Span;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::collector::{Collector, Unsent};
use super::settings::Settings;
use super::traces::Traces;
use super::{LAST, message};
use crate::fact::{Told, chain};
use crate::source::http::HttpError;

/// So many rollouts wait for the collector.
const QUEUE: usize = 64;

/// The pauses between the tries of one rollout.
const PAUSES: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(4), Duration::from_secs(16)];

/// See the module.
pub struct Exporter {
    traces: Traces,
    queue: mpsc::Sender<Vec<Span>>,
    counts: Arc<Counts>,
    /// Dropped at the end.
    going_on: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

/// Of spans.
#[derive(Default)]
struct Counts {
    waiting: AtomicU64,
    /// Since it was said last.
    lost: AtomicU64,
}

impl Counts {
    fn made(&self, spans: u64) {
        self.waiting.fetch_add(spans, Ordering::Relaxed);
    }

    /// They wait no more: all are with the collector, but for these.
    fn settled(&self, spans: u64, lost: u64) {
        self.waiting.fetch_sub(spans, Ordering::Relaxed);
        self.lost.fetch_add(lost, Ordering::Relaxed);
    }
}

impl Exporter {
    /// Starts the task; it makes no connection before there is something to send.
    pub fn start(settings: Settings) -> Result<Self, HttpError> {
        let collector = Collector::new(settings)?;
        let (queue, queued) = mpsc::channel(QUEUE);
        let (going_on, end) = oneshot::channel();
        let counts = Arc::new(Counts::default());
        let (is_ending, is_failing) = (false, false);
        let sending = Sending { collector, end, counts: Arc::clone(&counts), is_ending, is_failing };
        let task = tokio::spawn(sending.run(queued));
        Ok(Self { traces: Traces::default(), queue, counts, going_on, task })
    }

    /// Takes a fact; never waits.
    pub fn tell(&mut self, told: &Told) {
        let Some(spans) = self.traces.hear(told) else { return };
        let count = count(&spans);
        self.counts.made(count);
        if self.queue.try_send(spans).is_err() {
            // Whoever empties the queue has said why.
            self.counts.settled(count, count);
        }
    }

    /// The end: what waits is sent now or never.
    pub async fn close(self) {
        let Self { traces: _, queue, counts, going_on, mut task } = self;
        drop((queue, going_on));
        if timeout(LAST, &mut task).await.is_err() {
            task.abort();
        }
        let spans = counts.waiting.load(Ordering::Relaxed) + counts.lost.load(Ordering::Relaxed);
        if spans > 0 {
            tracing::warn!(spans, "traces were not exported");
        }
    }
}

fn count(spans: &[Span]) -> u64 {
    spans.len().try_into().unwrap_or(u64::MAX)
}

/// The task.
struct Sending {
    collector: Collector,
    end: oneshot::Receiver<()>,
    counts: Arc<Counts>,
    is_ending: bool,
    is_failing: bool,
}

impl Sending {
    async fn run(mut self, mut queued: mpsc::Receiver<Vec<Span>>) {
        while let Some(spans) = queued.recv().await {
            let count = count(&spans);
            let body = Bytes::from(message::traces(self.collector.resource(), spans));
            let lost = self.deliver(body, count).await;
            self.counts.settled(count, lost);
        }
    }

    /// How many of them were lost.
    async fn deliver(&mut self, body: Bytes, spans: u64) -> u64 {
        let mut pauses = PAUSES.into_iter();
        loop {
            match self.collector.send(body.clone()).await {
                Ok(answer) => return self.delivered(spans, message::rejected_spans(&answer)),
                Err(error) => {
                    self.failed(&error);
                    let again = pauses.next().filter(|_| error.may_pass() && !self.is_ending);
                    let Some(pause) = again else { return spans };
                    // At the end there is one more try, at once. Either arm may be dropped: the end stays the end.
                    tokio::select! {
                        () = sleep(pause) => {}
                        _ = &mut self.end => self.is_ending = true,
                    }
                }
            }
        }
    }

    /// Once for each time that the collector fails, whatever it fails with.
    fn failed(&mut self, error: &Unsent) {
        if !std::mem::replace(&mut self.is_failing, true) {
            tracing::warn!(error = chain(error), "traces cannot be exported");
        }
    }

    fn delivered(&mut self, spans: u64, rejected: u64) -> u64 {
        let rejected = rejected.min(spans);
        tracing::debug!(spans = spans - rejected, "traces exported");
        if rejected > 0 {
            self.failed(&Unsent::Rejected { count: rejected, what: "spans" });
        } else if std::mem::take(&mut self.is_failing) {
            let lost = self.counts.lost.swap(0, Ordering::Relaxed);
            tracing::info!(lost, "traces can be exported again");
        }
        rejected
    }
}
