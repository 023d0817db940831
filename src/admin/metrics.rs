//! The metrics: the counters of the facts, and the gauges, which are views of the status of this moment.
//!
//! *Invariants:* pure. A label is a name of the configuration or a state. Nothing is kept between two scrapes.

pub(super) mod figures;
mod gauges;

use std::fmt;

use prometheus_client::encoding::prometheus_text::encode;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use crate::fact::metrics::PREFIX;
use crate::status::Status;
use figures::Figures;
use gauges::Gauges;

/// All metrics, in the text form of Prometheus.
///
/// # Errors
/// None that is known: the text is made in memory.
pub(super) fn text(counters: &Registry, status: &Status, figures: &Figures) -> Result<String, fmt::Error> {
    let mut text = String::new();
    encode(&mut text, counters)?;
    for gauges in gauges(status, figures) {
        encode(&mut text, &gauges)?;
    }
    Ok(text)
}

/// What is no counter.
pub(super) fn gauges(status: &Status, figures: &Figures) -> [Registry; 2] {
    [of_squire(status), of_process(status, figures)]
}

fn of_squire(status: &Status) -> Registry {
    let mut gauges = Gauges::new(Registry::with_prefix(PREFIX));
    gauges.whole(status);
    gauges.sources(&status.sources);
    gauges.secrets(&status.secrets);
    gauges.into_registry()
}

/// The figures of Squire's own process have the names that all programs give them, without a prefix.
fn of_process(status: &Status, figures: &Figures) -> Registry {
    let mut registry = Registry::default();
    let cpu = ConstCounter::new(figures.cpu.as_secs_f64());
    registry.register("process_cpu_seconds", "The time that processors spent on Squire", cpu);
    let began = ConstGauge::new(status.since.unix_s());
    registry.register(
        "process_start_time_seconds",
        "When this run of Squire began, in seconds since 1970",
        began,
    );
    let figures = [
        ("process_resident_memory_bytes", "The memory of Squire that is in RAM", figures.resident),
        ("process_open_fds", "The file descriptors that Squire has open", figures.descriptors),
        ("process_max_fds", "The limit of open file descriptors", figures.most_descriptors),
    ];
    for (name, help, value) in figures {
        if let Some(value) = value {
            registry.register(name, help, ConstGauge::new(value));
        }
    }
    registry
}

#[cfg(test)]
mod tests;
