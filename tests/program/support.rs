//! What the tests of the whole program stand on: servers that end with the tests, and Squire itself under watch.
//!
//! *Invariant:* a test waits for a state with a deadline, and its failure shows the end of the log.

mod api;
mod bao;
mod canary;
mod daemon;
mod impostor;
mod postgres;
mod raft;
mod rig;
mod scratch;
mod squire;

use std::time::{Duration, Instant};

pub(crate) use api::Api;
pub(crate) use bao::{Bao, Tenant};
pub(crate) use canary::{Canaries, fresh};
pub(crate) use impostor::{Impostor, Manners};
pub(crate) use postgres::{Postgres, log_in};
pub(crate) use raft::Raft;
pub(crate) use rig::Rig;
pub(crate) use squire::Outcome;

/// Long enough for anything that is not meant to take time, on a machine that is busy with other tests.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// Asks every 20 ms until the condition holds; tells whether it did within the limit.
pub(crate) fn holds_within(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + limit;
    loop {
        if condition() {
            return true;
        }
        if Instant::now() >= end {
            return false;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Waits for a condition; panics with its description when it does not hold in time.
#[track_caller]
pub(crate) fn wait_until(limit: Duration, what: &str, condition: impl FnMut() -> bool) {
    assert!(holds_within(limit, condition), "waited {limit:?} in vain for: {what}");
}

/// Watches for a while that something stays true: for what must *not* happen there is no state to wait for.
#[track_caller]
pub(crate) fn stays_true(span: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    assert!(!holds_within(span, || !condition()), "no longer true: {what}");
}
