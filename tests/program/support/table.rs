//! The table of faults: each test that causes a fault measures the recovery and writes a row, which `tests/faults` gathers.
//!
//! *Invariant:* a row is written only when everything that it says has been checked.

use std::path::Path;
use std::time::{Duration, Instant};

use super::{SOON, Squire};

/// Waits for a state, and returns how long after `since` it came; panics if that was later than the limit.
///
/// It waits longer than the limit, so that the message can say how late the state came.
#[track_caller]
pub(crate) fn recovered(
    squire: &mut Squire<'_>,
    since: Instant,
    bound: Duration,
    what: &str,
    condition: impl FnMut() -> bool,
) -> Duration {
    squire.wait_at_most(bound + SOON, what, condition);
    let took = since.elapsed();
    assert!(took <= bound, "took {took:?}, more than {bound:?}: {what}");
    took
}

/// Writes a row: the fault, the time of the recovery, and the observations during it and after it.
pub(crate) fn record(fault: &str, recovery: Option<Duration>, during: &str, after: &str) {
    let recovery = recovery.map_or("–".to_owned(), |took| format!("{:.2} s", took.as_secs_f64()));
    let row = format!("FAULT | {fault} | {recovery} | {during} | {after}\n");
    eprint!("{row}");
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/faults");
    std::fs::create_dir_all(&directory).unwrap();
    let name: String = fault.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    std::fs::write(directory.join(name), row).unwrap();
}
