//! Sends the metrics, on a task of its own, each time that `OTEL_METRIC_EXPORT_INTERVAL` is over, and once more at the end.
//!
//! A request is tried once: the next one has all that it had.

use std::time::{Duration, SystemTime};

use hyper::body::Bytes;
use prometheus_client::encoding::prometheus_protobuf::encode;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::collector::{Collector, Unsent};
use super::settings::Settings;
use super::{LAST, message, metrics};
use crate::admin::serve::Server;
use crate::fact::chain;
use crate::source::http::HttpError;

/// See the module.
pub struct Meter {
    /// Dropped at the end.
    going_on: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Meter {
    /// Starts the task, which sends what `server` would show to a scrape.
    pub fn start(settings: Settings, every: Duration, server: Server) -> Result<Self, HttpError> {
        let collector = Collector::new(settings)?;
        let (going_on, end) = oneshot::channel();
        let sending = Sending { collector, server, since: SystemTime::now(), is_failing: false };
        let task = tokio::spawn(sending.run(every, end));
        Ok(Self { going_on, task })
    }

    /// The end: once more, now or never.
    pub(super) async fn close(self) {
        let Self { going_on, mut task } = self;
        drop(going_on);
        if timeout(LAST, &mut task).await.is_err() {
            task.abort();
        }
    }
}

/// The task.
struct Sending {
    collector: Collector,
    server: Server,
    /// When counting began.
    since: SystemTime,
    is_failing: bool,
}

impl Sending {
    async fn run(mut self, every: Duration, mut end: oneshot::Receiver<()>) {
        loop {
            // Either arm may be dropped: the end stays the end.
            let is_end = tokio::select! {
                () = sleep(every) => false,
                _ = &mut end => true,
            };
            // What is sent when the end comes may take its time, and the end does not wait for it.
            let sent = self.send().await;
            self.settle(sent);
            if is_end {
                return;
            }
        }
    }

    async fn send(&self) -> Result<(), Unsent> {
        let measured = self.server.measured().await;
        let registries = measured.gauges.iter().chain([measured.counters.as_ref()]);
        // Made in memory: there is no error that is known.
        let families = registries.filter_map(|registry| encode(registry).ok()).flatten();
        let metrics = metrics::metrics(families, self.since, SystemTime::now());
        let body = message::metrics(self.collector.resource(), metrics);
        let answer = self.collector.send(Bytes::from(body)).await?;
        match message::rejected_points(&answer) {
            0 => Ok(()),
            count => Err(Unsent::Rejected { count, what: "points of metrics" }),
        }
    }

    /// Each change is said once.
    fn settle(&mut self, sent: Result<(), Unsent>) {
        match sent {
            Ok(()) => {
                if std::mem::take(&mut self.is_failing) {
                    tracing::info!("metrics can be exported again");
                }
            }
            Err(error) => {
                if !std::mem::replace(&mut self.is_failing, true) {
                    tracing::warn!(error = chain(&error), "metrics cannot be exported");
                }
            }
        }
    }
}
