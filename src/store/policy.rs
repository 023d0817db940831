//! When a secret is rotated, and what stands against it.
//!
//! *Invariant:* pure; the time is an argument.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::generator::Generator;
use super::head::Head;
use super::moment::Moment;
use crate::config::Window;

/// After a failure it is tried again this much later, then twice as much …
const FIRST_REST: Duration = Duration::from_mins(1);
/// … up to this, and never more than a quarter of the interval.
const LONGEST_REST: Duration = Duration::from_hours(6);

/// What the store itself may take between the steps.
const BETWEEN_STEPS: Duration = Duration::from_secs(10);

/// What a secret's owner wants of its rotations.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// How often, counted from the current version; `None` only when somebody asks for it.
    pub every: Option<Duration>,
    /// How a new value is made.
    pub generator: Generator,
    /// The field for it; `None` is `password` where there is one, else the only field.
    pub field: Option<String>,
    /// The hours in which it may happen by itself, as `rollout.window` writes them; none is always.
    pub windows: Vec<String>,
    /// How long the version before can still be read; `None` as long as it is kept.
    pub grace: Option<Duration>,
    /// Somebody with the right to has to approve each.
    pub needs_approval: bool,
    /// What is run.
    pub hooks: Hooks,
    /// How long a hook may take.
    pub timeout: Duration,
}

/// The commands of the four steps, as words; no shell. One that fails ends the rotation, and the version that is current stays so.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hooks {
    /// Writes the new value to stdout, where the generator is `command`; may object to it otherwise.
    pub create: Vec<String>,
    /// Makes it known to whoever has to accept it.
    pub set: Vec<String>,
    /// Tries it.
    pub test: Vec<String>,
    /// Before it becomes current: the last to object.
    pub finish: Vec<String>,
}

/// A step of a rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "they are those of the hooks")]
pub enum Step {
    Create,
    Set,
    Test,
    Finish,
}

impl Step {
    /// Its word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Set => "set",
            Self::Test => "test",
            Self::Finish => "finish",
        }
    }
}

impl Hooks {
    /// The command of a step; empty if there is none.
    pub fn of(&self, step: Step) -> &[String] {
        match step {
            Step::Create => &self.create,
            Step::Set => &self.set,
            Step::Test => &self.test,
            Step::Finish => &self.finish,
        }
    }
}

/// How the rotations of a secret stand.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rotation {
    /// The version that is to become current.
    pub pending: Option<u64>,
    /// Somebody is at it, and until then nobody else.
    pub claimed_until: Option<Moment>,
    /// So many failed in a row.
    pub failures: u32,
    /// Why the last one did, in words without values.
    pub trouble: Option<String>,
    /// Not by itself before this.
    pub rests_until: Option<Moment>,
    /// Who approved the next one.
    pub approved_by: Option<String>,
}

impl Rotation {
    /// Whether there is nothing to say of it.
    pub fn is_idle(&self) -> bool {
        *self == Self::default()
    }
}

/// Why somebody wants it rotated.
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
    /// It is due, and its window is closed.
    Closed {
        /// When that opens.
        until: Moment,
    },
    /// It is due, and nobody approved it.
    Unapproved,
    /// It failed a moment ago.
    Resting {
        /// When it is tried again.
        until: Moment,
    },
    /// Somebody is at it.
    Claimed {
        /// For so long at most.
        until: Moment,
    },
}

impl Policy {
    /// How the secret with this head stands.
    pub fn standing(&self, head: &Head, how: How, now: Moment) -> Standing {
        let Rotation { claimed_until, rests_until, approved_by, .. } = &head.rotation;
        let later = |moment: &Option<Moment>| moment.filter(|until| *until > now);
        if let Some(until) = later(claimed_until) {
            return Standing::Claimed { until };
        }
        if how == How::Due
            && let Some(at) = Some(self.due(head)).filter(|at| at.is_none_or(|at| at > now))
        {
            return Standing::Later { at };
        }
        if self.needs_approval && approved_by.is_none() && how != How::Emergency {
            return Standing::Unapproved;
        }
        if how != How::Due {
            return Standing::Due;
        }
        if let Some(until) = later(rests_until) {
            return Standing::Resting { until };
        }
        match self.opens(now) {
            Some(until) => Standing::Closed { until },
            None => Standing::Due,
        }
    }

    /// When it is due by itself.
    pub fn due(&self, head: &Head) -> Option<Moment> {
        let current = head.version(head.current)?;
        self.every.map(|every| current.created.plus(every))
    }

    /// When its window opens, if that is closed.
    fn opens(&self, now: Moment) -> Option<Moment> {
        // It was read when the policy was made.
        let window = windows(&self.windows).ok().flatten()?;
        let opening = window.at(SystemTime::UNIX_EPOCH + Duration::from_millis(now.millis()));
        (!opening.is_open).then(|| now.plus(opening.lasts.unwrap_or(Duration::MAX)))
    }

    /// How long it rests after so many failures in a row.
    pub(super) fn rest(&self, failures: u32) -> Duration {
        let doubled = FIRST_REST.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1)));
        let most = self.every.map_or(LONGEST_REST, |every| LONGEST_REST.min(every / 4));
        doubled.min(most)
    }

    /// How long somebody who began may take.
    pub(super) fn claim(&self) -> Duration {
        self.timeout * 4 + BETWEEN_STEPS
    }
}

/// The hours that are meant; `None` is always.
pub(super) fn windows(spans: &[String]) -> Result<Option<Window>, String> {
    if spans.is_empty() { Ok(None) } else { Window::parse(spans).map(Some) }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            hooks: Hooks::default(),
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
        let approved = Rotation { approved_by: Some("owner".to_owned()), ..none.clone() };
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
    fn it_rests_longer_with_each_failure_and_never_past_the_next() {
        let policy = policy();
        let rests = [1, 2, 3, 4, 5, 60].map(|failures| policy.rest(failures).as_secs());
        assert_eq!(rests, [60, 120, 240, 480, 900, 900]);
        assert_eq!(Policy { every: None, ..policy }.rest(60), LONGEST_REST);
    }
}
