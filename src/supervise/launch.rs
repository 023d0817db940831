//! What to run, in which environment, and why it may be refused.
//!
//! *Invariant:* pure; a rendered value is only ever borrowed, and no refusal contains one.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::sync::Arc;

use nix::errno::Errno;
use wildmatch::WildMatch;

use super::FAILED;
use crate::ordered::Order as _;
use crate::plan::{EnvRules, Setting};
use crate::secret::Secret;

/// Variables of Squire's own environment with these beginnings are for Squire and not for the child. The same holds for sockets that were
/// passed to Squire itself.
const KEPT_BACK: [&str; 6] = ["VAULT_", "BAO_", "SQUIRE_", "LISTEN_", "NOTIFY_SOCKET", "WATCHDOG_"];

/// What to run: the process with the values of one release.
#[derive(Clone, Debug)]
pub struct Launch {
    /// Program and arguments. No shell.
    pub command: Vec<String>,
    /// The rendered variables only; see [`environment`].
    pub env: BTreeMap<String, Secret<str>>,
    /// Its user, limits and directory.
    pub setting: Arc<Setting>,
}

impl Launch {
    /// This program with these variables, and Squire's own user, limits and directory.
    pub fn new(command: Vec<String>, env: BTreeMap<String, Secret<str>>) -> Self {
        Self { command, env, setting: Arc::default() }
    }

    /// The same with this user, limits and directory.
    #[must_use]
    pub fn on(self, setting: &Arc<Setting>) -> Self {
        Self { setting: Arc::clone(setting), ..self }
    }
}

/// The environment of a process: the variables of Squire's own that are passed on, those of the user, and over them the rendered variables.
pub fn environment<'a>(
    own: &'a [(OsString, OsString)],
    rendered: &'a BTreeMap<String, Secret<str>>,
    setting: &'a Setting,
) -> BTreeMap<&'a OsStr, &'a OsStr> {
    let EnvRules { clear, pass, deny, own: credentials } = &setting.env;
    let matches = |globs: &[String], name: &OsStr| {
        globs.iter().any(|glob| WildMatch::new(glob).matches(&name.to_string_lossy()))
    };
    let starts = |name: &OsStr, prefix: &str| name.as_encoded_bytes().starts_with(prefix.as_bytes());
    let is_passed = |name: &OsStr| {
        let is_kept_back = *clear
            || KEPT_BACK.iter().any(|prefix| starts(name, prefix))
            || credentials.iter().any(|own| name == *own);
        (!is_kept_back || matches(pass, name)) && !matches(deny, name)
    };
    let own = own.iter().map(|(name, value)| (name.as_os_str(), value.as_os_str()));
    let person = setting.person.as_ref().and_then(|person| person.name_and_home.as_ref());
    let person = person.into_iter().flat_map(|(name, home)| {
        [("HOME", home.as_os_str()), ("LOGNAME", OsStr::new(name)), ("USER", OsStr::new(name))]
    });
    let person = person.map(|(name, value)| (OsStr::new(name), value));
    let rendered = rendered.iter().map(|(name, value)| (OsStr::new(name), OsStr::new(value.expose())));
    own.filter(|(name, _)| is_passed(name)).chain(person).chain(rendered).ordered()
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
    /// The program is a script or dynamically linked, and its interpreter is missing.
    #[error("cannot execute {program:?}: the interpreter that it names is not there")]
    NoInterpreter {
        /// The first word of the command.
        program: String,
    },
    /// A text that cannot be passed to a process.
    #[error(
        "cannot pass on {what}: it contains {character}, which ends a text there; remove it from the template or the secret"
    )]
    Unfit {
        /// Which argument or variable, by number or name.
        what: String,
        /// The character that is not allowed.
        character: &'static str,
    },
    /// One text is longer than the kernel accepts.
    #[error(
        "cannot pass on {what}: it has {size} bytes, and the kernel takes {limit}; hand it over in a file, with [[file]]"
    )]
    TooLong {
        /// Which argument or variable, by number or name.
        what: String,
        /// Its length with its name and its end, in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// All texts together are longer than the kernel accepts.
    #[error(
        "cannot pass on the environment and the arguments: together they have {size} bytes, and the kernel takes {room} (a \
         quarter of the stack's limit, at most 6 MiB); hand over what is large in a file, with [[file]]"
    )]
    NoRoom {
        /// The length as the kernel counts it, in bytes.
        size: u64,
        /// The limit in bytes.
        room: u64,
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
    /// The exit code for it: 127 not found, 126 cannot execute, 125 if Squire is to blame.
    pub fn status(&self) -> u8 {
        match self {
            Self::NotFound { .. } => 127,
            Self::NotExecutable { .. }
            | Self::NoInterpreter { .. }
            | Self::TooLong { .. }
            | Self::NoRoom { .. } => 126,
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
        assert_eq!(environment(&own, &rendered, &Setting::default()), expected.into());
    }

    #[test]
    fn the_rules_say_what_is_passed_on() {
        let own = ["PATH", "LC_ALL", "LC_TIME", "TZ", "VAULT_ADDR", "VAULT_TOKEN", "AWS_SESSION_TOKEN"];
        let own = own.map(|name| (name.into(), "x".into()));
        let names = |clear, pass: &[&str], deny: &[&str]| {
            let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
            let env =
                EnvRules { clear, pass: words(pass), deny: words(deny), own: vec!["AWS_SESSION_TOKEN"] };
            let setting = Setting { env, ..Setting::default() };
            let rendered = BTreeMap::new();
            let names = environment(&own, &rendered, &setting).into_keys();
            names.map(|name| name.to_str().unwrap().to_owned()).collect::<Vec<_>>().join(" ")
        };
        let table: [(bool, &[&str], &[&str], &str); 7] = [
            (false, &["AWS_*"], &[], "AWS_SESSION_TOKEN LC_ALL LC_TIME PATH TZ"),
            (false, &[], &[], "LC_ALL LC_TIME PATH TZ"),
            (true, &[], &[], ""),
            (true, &["LC_*", "TZ"], &[], "LC_ALL LC_TIME TZ"),
            (false, &["VAULT_ADDR"], &[], "LC_ALL LC_TIME PATH TZ VAULT_ADDR"),
            (false, &[], &["LC_*"], "PATH TZ"),
            (false, &["VAULT_*"], &["*TOKEN"], "LC_ALL LC_TIME PATH TZ VAULT_ADDR"),
        ];
        for (clear, pass, deny, expected) in table {
            assert_eq!(names(clear, pass, deny), expected, "{clear} {pass:?} {deny:?}");
        }
    }
}
