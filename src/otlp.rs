//! What a collector of OpenTelemetry gets by OTLP: each rollout as a trace, and the metrics that a scrape would get.
//!
//! *Invariants:* `traces`, `metrics`, `message` and `settings` are pure; `exporter`, `meter` and `collector` send. Nothing that is sent has
//! a value in it. Nobody waits for a collector, but for [`LAST`] at the end.

mod collector;
pub mod exporter;
mod message;
pub mod meter;
mod metrics;
pub mod settings;
mod traces;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue};

use crate::fact::Told;
use exporter::Exporter;
use meter::Meter;

/// The end waits so long for the collector.
const LAST: Duration = Duration::from_millis(200);

/// What is sent, as far as somebody asked for it.
#[derive(Default)]
pub struct Exports {
    /// Rollouts.
    pub traces: Option<Exporter>,
    /// Metrics.
    pub metrics: Option<Meter>,
}

impl Exports {
    /// Takes a fact; never waits.
    pub fn tell(&mut self, told: &Told) {
        if let Some(traces) = &mut self.traces {
            traces.tell(told);
        }
    }

    /// The end: what waits is sent now or never.
    pub async fn close(self) {
        let traces = async {
            if let Some(traces) = self.traces {
                traces.close().await;
            }
        };
        let metrics = async {
            if let Some(metrics) = self.metrics {
                metrics.close().await;
            }
        };
        tokio::join!(traces, metrics);
    }
}

fn nanos(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

fn text(text: impl Into<String>) -> AnyValue {
    AnyValue { value: Some(Value::StringValue(text.into())) }
}

fn list(values: impl Iterator<Item = AnyValue>) -> AnyValue {
    AnyValue { value: Some(Value::ArrayValue(ArrayValue { values: values.collect() })) }
}

fn attribute(key: &str, value: AnyValue) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(value), ..KeyValue::default() }
}
