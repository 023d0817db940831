//! When a secret is rotated, and what stops a rotation.
//!
//! *Invariant:* pure; the time is an argument.

use std::time::{Duration, SystemTime};

use super::head::Head;
use super::moment::Moment;
use super::policy::{LONGEST_TIMEOUT, Policy};
use crate::config::Window;

/// After a failure the rotation is tried again after this pause, then after twice as much …
const FIRST_REST: Duration = Duration::from_mins(1);
/// … up to this, and never more than a quarter of the interval.
const LONGEST_REST: Duration = Duration::from_hours(6);

/// The number of commands, each of which may take the policy's timeout.
const STEPS: u32 = 4;
/// The time that the store itself may take between the steps.
const BETWEEN_STEPS: Duration = Duration::from_secs(10);

/// Why a rotation is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// Because it is due.
    Due,
    /// Now, whatever its interval and its window.
    Asked,
    /// Now, and also without an approval.
    Emergency,
}

/// Whether it is rotated now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Yes.
    Due,
    /// Not yet; `None` is never by itself.
    Later {
        /// When it is due.
        at: Option<Moment>,
    },
    /// It is due, but its window is closed.
    Closed {
        /// When the window opens.
        until: Moment,
    },
    /// It is due, but not approved.
    Unapproved,
    /// It has just failed.
    Resting {
        /// When it is tried again.
        until: Moment,
    },
    /// Another rotation has claimed it.
    Claimed {
        /// How long at most.
        until: Moment,
    },
}

impl Policy {
    /// Whether the secret with this head is rotated now.
    pub fn standing(&self, head: &Head, how: How, now: Moment) -> Standing {
        if let Some(until) = head.rotation.claimed(now) {
            return Standing::Claimed { until };
        }
        if how == How::Due
            && let Some(at) = Some(self.due(head)).filter(|at| at.is_none_or(|at| at > now))
        {
            return Standing::Later { at };
        }
        if self.needs_approval && !head.is_approved() && how != How::Emergency {
            return Standing::Unapproved;
        }
        if how != How::Due {
            return Standing::Due;
        }
        if let Some(until) = head.rotation.rests_until.filter(|until| *until > now) {
            return Standing::Resting { until };
        }
        match self.opens(now) {
            Some(until) => Standing::Closed { until },
            None => Standing::Due,
        }
    }

    /// Since when it is due, if it is.
    pub fn overdue(&self, head: &Head, now: Moment) -> Option<Moment> {
        self.due(head).filter(|due| head.is_live() && *due <= now)
    }

    /// When it becomes due automatically.
    pub fn due(&self, head: &Head) -> Option<Moment> {
        let current = head.version(head.current)?;
        self.every.map(|every| current.created.plus(every))
    }

    /// When its window opens, if it is closed.
    fn opens(&self, now: Moment) -> Option<Moment> {
        // The window was checked when the policy was made.
        let window = windows(&self.windows).ok().flatten()?;
        let opening = window.at(SystemTime::UNIX_EPOCH + Duration::from_millis(now.millis()));
        (!opening.is_open).then(|| now.plus(opening.lasts.unwrap_or(Duration::MAX)))
    }

    /// The pause after this many failures in a row.
    pub(super) fn rest(&self, failures: u32) -> Duration {
        let doubled = FIRST_REST.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1)));
        let most = self.every.map_or(LONGEST_REST, |every| LONGEST_REST.min(every / 4));
        doubled.min(most)
    }

    /// How long one rotation may take.
    pub(super) fn claim(&self) -> Duration {
        self.timeout.min(LONGEST_TIMEOUT) * STEPS + BETWEEN_STEPS
    }
}

/// The hours of the window; `None` is always.
pub(super) fn windows(spans: &[String]) -> Result<Option<Window>, String> {
    if spans.is_empty() { Ok(None) } else { Window::parse(spans).map(Some) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::generator::Generator;
    use crate::store::policy::{Approval, Rotation};

    const MINUTE: Duration = Duration::from_mins(1);

    fn at(minutes: u64) -> Moment {
        Moment::from_millis(minutes * 60_000)
    }

    fn policy() -> Policy {
        Policy {
            every: Some(MINUTE * 60),
            generator: Generator::Uuid,
            field: None,
            windows: Vec::new(),
            grace: None,
            needs_approval: false,
            hook: None,
            timeout: MINUTE / 2,
        }
    }

    fn head(rotation: Rotation) -> Head {
        let mut head = Head::new("dev/app", "owner", at(0));
        head.add("owner", at(0));
        Head { rotation, ..head }
    }

    #[test]
    fn it_is_due_by_its_interval_and_waits_for_what_stands_against_it() {
        let (plain, none) = (policy(), Rotation::default());
        let approving = Policy { needs_approval: true, ..policy() };
        // 1 January 1970 was a Thursday.
        let nightly = Policy { windows: vec!["02:00-03:00 UTC".to_owned()], ..policy() };
        let unplanned = Policy { every: None, ..policy() };
        let approval = |version| Some(Approval { by: "owner".to_owned(), version });
        let approved = Rotation { approval: approval(2), ..none.clone() };
        let stale = Rotation { approval: approval(1), ..none.clone() };
        let resting = Rotation { rests_until: Some(at(70)), ..none.clone() };
        let claimed = Rotation { claimed_until: Some(at(61)), ..none.clone() };
        let due = Standing::Due;
        for (policy, rotation, minute, due_by_itself, asked, emergency) in [
            (&plain, &none, 59, Standing::Later { at: Some(at(60)) }, due, due),
            (&plain, &none, 60, due, due, due),
            (&unplanned, &none, 600, Standing::Later { at: None }, due, due),
            (&approving, &none, 59, Standing::Later { at: Some(at(60)) }, Standing::Unapproved, due),
            (&approving, &none, 60, Standing::Unapproved, Standing::Unapproved, due),
            (&approving, &approved, 60, due, due, due),
            (&approving, &stale, 60, Standing::Unapproved, Standing::Unapproved, due),
            (&nightly, &none, 60, Standing::Closed { until: at(120) }, due, due),
            (&nightly, &none, 121, due, due, due),
            (&plain, &resting, 69, Standing::Resting { until: at(70) }, due, due),
            (&plain, &resting, 70, due, due, due),
            (
                &plain,
                &claimed,
                60,
                Standing::Claimed { until: at(61) },
                Standing::Claimed { until: at(61) },
                Standing::Claimed { until: at(61) },
            ),
        ] {
            let head = head(rotation.clone());
            let found =
                [How::Due, How::Asked, How::Emergency].map(|how| policy.standing(&head, how, at(minute)));
            assert_eq!(found, [due_by_itself, asked, emergency], "{policy:?} {rotation:?} {minute}");
        }
    }

    #[test]
    fn no_number_is_too_large_for_it() {
        let policy = Policy {
            every: Some(Duration::MAX),
            grace: Some(Duration::MAX),
            timeout: Duration::MAX,
            ..policy()
        };
        assert_eq!(policy.claim(), LONGEST_TIMEOUT * 4 + BETWEEN_STEPS);
        let head = head(Rotation { failures: u32::MAX, ..Rotation::default() });
        assert_eq!(
            policy.standing(&head, How::Due, at(60)),
            Standing::Later { at: Some(Moment::from_millis(u64::MAX)) }
        );
        assert_eq!(policy.rest(u32::MAX), LONGEST_REST);
    }

    #[test]
    fn it_rests_longer_with_each_failure_and_never_past_the_next() {
        let policy = policy();
        let rests = [1, 2, 3, 4, 5, 60].map(|failures| policy.rest(failures).as_secs());
        assert_eq!(rests, [60, 120, 240, 480, 900, 900]);
        assert_eq!(Policy { every: None, ..policy }.rest(60), LONGEST_REST);
    }
}
