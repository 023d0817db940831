//! What to run, in which environment, and why it may be refused.
//!
//! *Invariant:* pure; a rendered value is only ever borrowed, and no refusal contains one.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

use nix::errno::Errno;

use super::FAILED;
use crate::secret::Secret;

/// Variables of Squire's own environment that start like this are meant for Squire and not for the child.
const KEPT_BACK: [&str; 3] = ["VAULT_", "BAO_", "SQUIRE_"];

/// What to run: one release's view of the process.
#[derive(Clone, Debug)]
pub struct Launch {
    /// Program and arguments. No shell.
    pub command: Vec<String>,
    /// The rendered variables only; see [`environment`].
    pub env: BTreeMap<String, Secret<str>>,
}

impl Launch {
    /// This program with these variables.
    pub fn new(command: Vec<String>, env: BTreeMap<String, Secret<str>>) -> Self {
        Self { command, env }
    }
}

/// The child's environment: Squire's own without what is meant for Squire, under the rendered variables.
pub fn environment<'a>(
    own: &'a [(OsString, OsString)],
    rendered: &'a BTreeMap<String, Secret<str>>,
) -> BTreeMap<&'a OsStr, &'a OsStr> {
    let kept_back =
        |name: &OsStr| KEPT_BACK.iter().any(|prefix| name.as_encoded_bytes().starts_with(prefix.as_bytes()));
    let own = own.iter().map(|(name, value)| (name.as_os_str(), value.as_os_str()));
    let rendered = rendered.iter().map(|(name, value)| (OsStr::new(name), OsStr::new(value.expose())));
    own.filter(|(name, _)| !kept_back(name)).chain(rendered).collect()
}

/// Why a process could not be started.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no such program.
    #[error("cannot find {program:?}: it is no file, and not on PATH")]
    NotFound {
        /// The first word of the command.
        program: String,
    },
    /// The program is there, but the kernel does not execute it.
    #[error("cannot execute {program:?}")]
    NotExecutable {
        /// The first word of the command.
        program: String,
        /// The kernel's answer.
        #[source]
        cause: Errno,
    },
    /// The program is a script or dynamically linked, and what has to interpret it is missing.
    #[error("cannot execute {program:?}: the interpreter that it names is not there")]
    NoInterpreter {
        /// The first word of the command.
        program: String,
    },
    /// A text that cannot be handed to a process.
    #[error(
        "cannot pass on {what}: it contains {character}, which ends a text there; remove it from the template or the secret"
    )]
    Unfit {
        /// Which argument or variable, by number or name.
        what: String,
        /// The character that must not be there.
        character: &'static str,
    },
    /// The system did not let Squire prepare the process.
    #[error("cannot start {program:?}: {doing} failed")]
    System {
        /// The first word of the command.
        program: String,
        /// What was being done.
        doing: &'static str,
        /// The kernel's answer.
        #[source]
        cause: Errno,
    },
}

impl Refusal {
    /// The exit code that stands for it: 127 not found, 126 cannot execute, 125 when Squire is to blame.
    pub fn status(&self) -> u8 {
        match self {
            Self::NotFound { .. } => 127,
            Self::NotExecutable { .. } | Self::NoInterpreter { .. } => 126,
            Self::Unfit { .. } | Self::System { .. } => FAILED,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_is_squires_own_without_what_is_meant_for_squire_under_the_rendered_variables() {
        let own = [
            ("PATH", "/bin"),
            ("VAULT_TOKEN", "kept back"),
            ("BAO_ADDR", "kept back"),
            ("SQUIRE_LOG", "kept back"),
            ("VAULT", "not a variable of ours"),
            ("MODE", "overridden"),
        ]
        .map(|(name, value)| (name.into(), value.into()));
        let rendered = [("MODE", "rendered"), ("VAULT_ADDR", "rendered on purpose")]
            .map(|(name, value)| (name.to_owned(), Secret::new(value)))
            .into();
        let expected = [
            ("MODE", "rendered"),
            ("PATH", "/bin"),
            ("VAULT", "not a variable of ours"),
            ("VAULT_ADDR", "rendered on purpose"),
        ]
        .map(|(name, value)| (OsStr::new(name), OsStr::new(value)));
        assert_eq!(environment(&own, &rendered), expected.into());
    }
}
