//! Notices that the machine was suspended, which the clock of the program does not count.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// Less than this is the noise between reading two clocks.
const NOISE: Duration = Duration::from_millis(500);

/// Remembers how long the machine has been suspended since it was started.
pub(super) struct Suspensions {
    until_now: Duration,
}

impl Suspensions {
    pub(super) fn new() -> Self {
        Self { until_now: suspended() }
    }

    /// How long it was suspended since the last look, if it was.
    pub(super) fn since(&mut self) -> Option<Duration> {
        let suspended = suspended();
        let more = suspended.checked_sub(self.until_now).filter(|more| *more > NOISE)?;
        self.until_now = suspended;
        Some(more)
    }
}

/// One clock counts suspensions, the other does not.
fn suspended() -> Duration {
    let read = |clock| clock_gettime(clock).map(Duration::from).unwrap_or_default();
    read(ClockId::CLOCK_BOOTTIME).saturating_sub(read(ClockId::CLOCK_MONOTONIC))
}
