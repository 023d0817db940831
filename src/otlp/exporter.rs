//! Sends traces to a collector, on a task of its own.
//!
//! *Invariants:* nobody waits for a collector, but for [`LAST`] at the end. What it does not take in time is dropped and counted. Nothing
//! that it answers is shown: it could say back the key that it was given.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderValue, USER_AGENT};
use hyper::{Method, Request, StatusCode};
use opentelemetry_proto::tonic::trace::v1::Span;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::settings::Settings;
use super::{Traces, message};
use crate::fact::{Told, chain};
use crate::source::http::{Connections, HttpError, Keys, Reach};

/// So many rollouts wait for the collector.
const QUEUE: usize = 64;

/// The end waits so long for the collector.
const LAST: Duration = Duration::from_millis(200);

/// The pauses between the tries of one rollout.
const PAUSES: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(4), Duration::from_secs(16)];

/// An answer is read so far.
const ANSWER: usize = 64 << 10;

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
            let body = Bytes::from(message::body(&self.collector.resource, spans));
            let lost = self.deliver(body, count).await;
            self.counts.settled(count, lost);
        }
    }

    /// How many of them were lost.
    async fn deliver(&mut self, body: Bytes, spans: u64) -> u64 {
        let mut pauses = PAUSES.into_iter();
        loop {
            match self.collector.send(body.clone()).await {
                Ok(rejected) => return self.delivered(spans, rejected),
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
            self.failed(&Unsent::Rejected { spans: rejected });
        } else if std::mem::take(&mut self.is_failing) {
            let lost = self.counts.lost.swap(0, Ordering::Relaxed);
            tracing::info!(lost, "traces can be exported again");
        }
        rejected
    }
}

/// The collector, and what every request to it has.
struct Collector {
    connections: Connections,
    request: Request<()>,
    timeout: Duration,
    resource: Vec<(String, String)>,
}

impl Collector {
    fn new(settings: Settings) -> Result<Self, HttpError> {
        let Settings { endpoint, headers, timeout, authorities, resource } = settings;
        let is_https = endpoint.scheme_str() == Some("https");
        let connections = Connections::new(Reach::collector(is_https, authorities), timeout)?;
        let mut request = Request::new(());
        *request.method_mut() = Method::POST;
        *request.uri_mut() = endpoint;
        *request.headers_mut() = headers;
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        let agent = HeaderValue::from_static(concat!("squire/", env!("CARGO_PKG_VERSION")));
        request.headers_mut().insert(USER_AGENT, agent);
        Ok(Self { connections, request, timeout, resource })
    }

    /// Sends once; returns how many spans the collector rejected.
    async fn send(&self, body: Bytes) -> Result<u64, Unsent> {
        let request = self.request.clone().map(|()| Full::new(body));
        let exchange = async {
            let answer = self.connections.request(request, self.timeout).await;
            let answer = answer.map_err(|error| Unsent::Unreached { why: error.words(Keys::Collector) })?;
            if !answer.status().is_success() {
                return Err(Unsent::Refused { status: answer.status() });
            }
            // What it took, it took, also if nobody can read what it says of it.
            let answer = Limited::new(answer.into_body(), ANSWER).collect().await;
            Ok(answer.map_or(0, |answer| message::rejected(&answer.to_bytes())))
        };
        timeout(self.timeout, exchange).await.unwrap_or(Err(Unsent::Late { after: self.timeout }))
    }
}

/// Why spans were not taken.
#[derive(Debug, thiserror::Error)]
enum Unsent {
    #[error("the collector cannot be reached: {why}")]
    Unreached { why: String },
    #[error("the collector did not answer within {after:?}")]
    Late { after: Duration },
    #[error("the collector answered {status}")]
    Refused { status: StatusCode },
    #[error("the collector rejected {spans} spans")]
    Rejected { spans: u64 },
}

impl Unsent {
    /// Whether another try may help, as the specification has it.
    fn may_pass(&self) -> bool {
        match self {
            Self::Unreached { .. } | Self::Late { .. } => true,
            Self::Refused { status } => matches!(status.as_u16(), 429 | 502..=504),
            Self::Rejected { .. } => false,
        }
    }
}
