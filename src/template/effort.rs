//! How long a template computes.
//!
//! A value may be a list of many items, and each turn of a loop may take long: a bcrypt, or a look at all of another list. The agent's
//! thread renders, so what takes an hour would hold up every renewal for an hour.
//!
//! *Invariant:* after [`LONGEST`] the next helper, or the next text that is written, ends the rendering. One step between two of them is
//! bounded by its helper.

use std::cell::Cell;
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};

/// What one template may compute. An ordinary one takes some milliseconds.
pub(super) const LONGEST: Duration = Duration::from_secs(10);

/// When the rendering on this thread has to end.
#[derive(Clone, Copy)]
struct End {
    /// Not before this moment: to look at that clock costs less.
    moment: Instant,
    computed: Duration,
}

thread_local! {
    static END: Cell<Option<End>> = const { Cell::new(None) };
}

/// A rendering begins, which may take so long.
pub(super) fn begin(longest: Duration) {
    let moment = Instant::now().checked_add(longest);
    END.set(moment.map(|moment| End { moment, computed: computed().saturating_add(longest) }));
}

/// Whether the rendering has taken that long.
pub(super) fn is_spent() -> bool {
    END.get().is_some_and(|end| end.moment < Instant::now() && end.computed < computed())
}

/// How long this thread has computed: a machine that is busy with something else makes no text too long.
pub(super) fn computed() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map(Duration::from).unwrap_or_default()
}
