//! How a secret is to be rotated, and how that stands: what is written down with it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::generator::{self, Generator};
use super::moment::Moment;

/// What a secret's owner wants of its rotations.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// How often, counted from the current version; `None` only when somebody asks for it.
    pub every: Option<Duration>,
    /// How a new value is made.
    #[serde(deserialize_with = "generator::possible")]
    pub generator: Generator,
    /// The field for it; `None` is `password` where there is one, else the only field.
    pub field: Option<String>,
    /// The hours in which it may happen by itself, as `rollout.window` writes them; none is always.
    pub windows: Vec<String>,
    /// How long the version before can still be read; `None` as long as it is kept.
    pub grace: Option<Duration>,
    /// Somebody with the right to has to approve each.
    pub needs_approval: bool,
    /// The commands that are run, by the name that they have where whoever rotates keeps them (`hooks.rs`): a policy never says what is
    /// executed.
    pub hook: Option<String>,
    /// How long each command may take.
    pub timeout: Duration,
}

/// No command may take longer.
pub const LONGEST_TIMEOUT: Duration = Duration::from_hours(1);
/// Nothing is planned further ahead: a hundred years.
pub const LONGEST_INTERVAL: Duration = Duration::from_hours(24 * 36_525);

/// A step of a rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "they are those of AWS Secrets Manager")]
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
    /// That somebody approved the next one.
    pub approval: Option<Approval>,
}

/// That a rotation may begin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approval {
    /// By whom.
    pub by: String,
    /// For the version of this number: an approval is good for one.
    pub version: u64,
}

impl Rotation {
    /// Until when somebody is at it, if somebody is.
    pub fn claimed(&self, now: Moment) -> Option<Moment> {
        self.claimed_until.filter(|until| *until > now)
    }

    /// Whether there is nothing to say of it.
    pub fn is_idle(&self) -> bool {
        *self == Self::default()
    }
}
