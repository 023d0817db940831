//! How a secret is to be rotated, and how that stands: what is written down with it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::generator::Generator;
use super::moment::Moment;

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
