//! The upper bounds of the histograms, in seconds: they cover what is usual, and end where it is bad in any case.

use prometheus_client::metrics::histogram::Histogram;

/// From a store in memory to the longest that a server is waited for.
pub(super) fn questions() -> Histogram {
    Histogram::new([0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0])
}

/// From a file that is renamed to a process that takes its time to be ready.
pub(super) fn steps() -> Histogram {
    Histogram::new([0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0])
}

/// From a change that is pushed to one that waits for a window of the night.
pub(super) fn ages() -> Histogram {
    Histogram::new([0.05, 0.25, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0, 86_400.0])
}
