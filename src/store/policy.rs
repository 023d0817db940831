//! The policy of a secret's rotation, and the state of that rotation, as they are stored.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::generator::{self, Generator};
use super::moment::Moment;

/// The policy of rotation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// The interval, counted from the current version; `None` rotates only when somebody asks for it.
    pub every: Option<Duration>,
    /// How a new value is made.
    #[serde(deserialize_with = "generator::possible")]
    pub generator: Generator,
    /// The field for the value; `None` is `password` if there is one, else the only field.
    pub field: Option<String>,
    /// The hours in which it may be rotated automatically, in the form of `rollout.window`; none is always.
    pub windows: Vec<String>,
    /// How long the previous version stays readable; `None` for as long as it is kept.
    pub grace: Option<Duration>,
    /// Each rotation needs an approval.
    pub needs_approval: bool,
    /// The name of the hook with its commands, which are in a file of the agent or user that rotates (`hooks.rs`): a policy never contains
    /// a command.
    pub hook: Option<String>,
    /// How long each command may take.
    pub timeout: Duration,
}

/// The longest timeout of a command.
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
    /// Its word in JSON.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Set => "set",
            Self::Test => "test",
            Self::Finish => "finish",
        }
    }
}

/// The state of a secret's rotation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rotation {
    /// The version that is to become current.
    pub pending: Option<u64>,
    /// A rotation has claimed the secret until then.
    pub claimed_until: Option<Moment>,
    /// The number of failures in a row.
    pub failures: u32,
    /// Why the last one failed, without values.
    pub trouble: Option<String>,
    /// It is not tried automatically before this.
    pub rests_until: Option<Moment>,
    /// The approval of the next rotation.
    pub approval: Option<Approval>,
}

/// The approval of a rotation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approval {
    /// By whom.
    pub by: String,
    /// The version that is approved: an approval is good for one version.
    pub version: u64,
}

impl Rotation {
    /// Until when a rotation has claimed the secret, if one has.
    pub fn claimed(&self, now: Moment) -> Option<Moment> {
        self.claimed_until.filter(|until| *until > now)
    }

    /// Whether the state is empty.
    pub fn is_idle(&self) -> bool {
        *self == Self::default()
    }
}
