//! `rollout.window`: the quiet hours in which rollouts may happen.
//!
//! *Invariant:* pure; the wall clock is an argument.

use std::time::{Duration, SystemTime};

/// The hours of a week, in UTC, in which rollouts may happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {}

/// Whether rollouts may happen, and how long that holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opening {
    /// They may.
    pub is_open: bool,
    /// Until then; `None` for ever.
    pub lasts: Option<Duration>,
}

impl Window {
    /// What holds at this time of the wall clock.
    pub fn at(&self, _now: SystemTime) -> Opening {
        Opening { is_open: true, lasts: None }
    }
}
