//! The commands that a rotation may run: the agent or user that rotates has them in a file of its own.
//!
//! A policy names a hook, and never a command. A policy is in the store, where every role of the environment can write something, and the
//! agent that rotates may have more rights than those roles. So the commands, their paths and their variables are in a file that only the
//! executing user or root can write:
//!
//! ```toml
//! [hook.postgres]
//! paths = ["prod/app/*"]
//! set = ["/usr/local/bin/alter-role"]
//! test = ["/usr/local/bin/log-in"]
//! env = ["ADMIN_URL"]
//! ```
//!
//! *Invariant:* a hook was checked when it was read. A file that another user may write is not read.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use nix::fcntl::OFlag;
use serde::Deserialize;

use super::error::{StoreError, unfit};
use super::path::SecretPath;
use super::policy::{Policy, Step};
use crate::config::Limit;

/// A longer file is a mistake.
const LONGEST: u64 = 1 << 20;

/// The mode bits that let others than the owner write a file.
const OTHERS_WRITE: u32 = 0o022;

/// All hooks of this file, by their names.
#[derive(Clone, Debug, Default)]
pub struct Hooks {
    by_name: BTreeMap<String, Hook>,
    /// The limits that commands get back although Squire lowered them for itself.
    limits: Vec<Limit>,
}

/// The commands of the four steps, and the secrets they are for.
#[derive(Clone, Debug)]
pub(super) struct Hook {
    paths: GlobSet,
    written: Written,
}

/// A hook as it is written. Commands are lists of words; there is no shell.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    /// The secrets whose policies may name it.
    paths: Vec<String>,
    /// Writes the new value to stdout, if the generator is `command`; otherwise it may reject the new value.
    #[serde(default)]
    create: Vec<String>,
    /// Sets the new value in the systems that have to accept it.
    #[serde(default)]
    set: Vec<String>,
    /// Tests the new value.
    #[serde(default)]
    test: Vec<String>,
    /// Runs before the new value becomes current; the last step that can reject it.
    #[serde(default)]
    finish: Vec<String>,
    /// The variables of Squire's environment that the commands get.
    #[serde(default)]
    env: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Book {
    #[serde(default)]
    hook: BTreeMap<String, Written>,
}

impl Hooks {
    /// Reads a file of hooks.
    ///
    /// # Errors
    /// If another user may write the file, or it cannot be understood.
    pub fn load(file: &Path) -> Result<Self, StoreError> {
        let failed = |source| StoreError::Io { doing: "read the hooks in", file: file.to_owned(), source };
        // Opening a FIFO would block.
        let mut options = File::options();
        let opened = options.read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(file).map_err(failed)?;
        let what = opened.metadata().map_err(failed)?;
        let bad = |why: &str| Err(unfit(format!("the file of hooks {}", file.display()), why.to_owned()));
        if !what.is_file() {
            return bad("is no file");
        }
        if what.mode() & OTHERS_WRITE != 0 || ![0, nix::unistd::geteuid().as_raw()].contains(&what.uid()) {
            return bad(
                "may be written by somebody else, who could say what is executed: it has to belong to you or to root, \
                 with mode 0644 or less",
            );
        }
        let mut text = String::new();
        opened.take(LONGEST).read_to_string(&mut text).map_err(failed)?;
        Self::parse(&text).map_err(|why| unfit(format!("the file of hooks {}", file.display()), why))
    }

    /// Reads the text of such a file.
    ///
    /// # Errors
    /// What is wrong with it, as a predicate.
    pub fn parse(text: &str) -> Result<Self, String> {
        let book: Book = toml::from_str(text).map_err(|error| {
            let line =
                error.span().map(|span| text.get(..span.start).unwrap_or_default().lines().count().max(1));
            let place = line.map(|line| format!(" in line {line}")).unwrap_or_default();
            format!("cannot be understood{place}: {}", error.message())
        })?;
        let hooks = book.hook.into_iter().map(|(name, written)| {
            let hook = Hook::new(written).map_err(|why| format!("has a hook {name:?} {why}"))?;
            Ok((name, hook))
        });
        let by_name = hooks.collect::<Result<_, String>>()?;
        Ok(Self { by_name, limits: Vec::new() })
    }

    /// The same hooks, with these limits for their commands.
    #[must_use]
    pub fn giving_back(self, limits: &[Limit]) -> Self {
        Self { limits: limits.to_vec(), ..self }
    }

    pub(super) fn limits(&self) -> &[Limit] {
        &self.limits
    }

    /// The hook that the policy of this secret names; `None` if it names none.
    ///
    /// # Errors
    /// What is wrong, as a predicate: there is no such hook, or it is not for this secret.
    pub(super) fn of(&self, path: &SecretPath, policy: &Policy) -> Result<Option<&Hook>, String> {
        let Some(name) = &policy.hook else { return Ok(None) };
        match self.by_name.get(name) {
            Some(hook) if hook.paths.is_match(path.as_str()) => Ok(Some(hook)),
            Some(_) => {
                Err(format!("names the hook {name:?}, which is not for {path}: add it to the hook's `paths`"))
            }
            None => Err(format!(
                "names the hook {name:?}, which whoever rotates does not have: write [hook.{name}] into a file, and name \
                 that with --hooks or SQUIRE_STORE_HOOKS, or in an agent with `hooks`"
            )),
        }
    }
}

impl Hook {
    fn new(written: Written) -> Result<Self, String> {
        if written.paths.is_empty() {
            return Err("for no secret: write paths = [\"ENVIRONMENT/NAME\"]".to_owned());
        }
        let mut paths = GlobSetBuilder::new();
        for text in &written.paths {
            let glob = GlobBuilder::new(text).literal_separator(true).build();
            paths.add(
                glob.map_err(|error| format!("with a path {text:?} that is no pattern: {}", error.kind()))?,
            );
        }
        let paths = paths.build().map_err(|error| format!("with paths that cannot be used: {error}"))?;
        Ok(Self { paths, written })
    }

    /// The command of a step; empty if there is none.
    pub(super) fn of(&self, step: Step) -> &[String] {
        match step {
            Step::Create => &self.written.create,
            Step::Set => &self.written.set,
            Step::Test => &self.written.test,
            Step::Finish => &self.written.finish,
        }
    }

    /// The variables that its commands get.
    pub(super) fn env(&self) -> &[String] {
        &self.written.env
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::generator::Generator;
    use super::*;

    fn policy(hook: Option<&str>) -> Policy {
        Policy {
            every: None,
            generator: Generator::Uuid,
            field: None,
            windows: Vec::new(),
            grace: None,
            needs_approval: false,
            hook: hook.map(str::to_owned),
            timeout: Duration::from_secs(1),
        }
    }

    #[test]
    fn a_policy_gets_the_hook_that_it_names_and_that_is_for_its_secret() {
        let hooks = Hooks::parse(
            "[hook.pg]\npaths = [\"prod/app/*\"]\nset = [\"alter\", \"role\"]\nenv = [\"URL\"]\n",
        )
        .unwrap();
        let path = |text| SecretPath::parse(text).unwrap();
        let hook = hooks.of(&path("prod/app/db"), &policy(Some("pg"))).unwrap().unwrap();
        assert_eq!(
            (hook.of(Step::Set), hook.of(Step::Test), hook.env()),
            (&["alter".to_owned(), "role".to_owned()][..], &[][..], &["URL".to_owned()][..])
        );
        assert!(hooks.of(&path("dev/app/db"), &policy(None)).unwrap().is_none());
        for (at, name, reason) in [
            ("prod/app/deep/db", "pg", "is not for prod/app/deep/db"),
            ("dev/app/db", "pg", "is not for dev/app/db"),
            ("prod/app/db", "sh", "does not have"),
        ] {
            let why = hooks.of(&path(at), &policy(Some(name))).unwrap_err();
            assert!(why.contains(reason), "{why}");
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_its_place() {
        for (text, reason) in [
            ("[hook.pg]\nset = [\"x\"]\n", "paths"),
            ("[hook.pg]\npaths = []\n", "for no secret"),
            ("[hook.pg]\npaths = [\"[\"]\n", "no pattern"),
            ("[hook.pg]\npaths = [\"a/b\"]\nset = \"sh -c x\"\n", "line 3"),
            ("[hook.pg]\npaths = [\"a/b\"]\nsett = [\"x\"]\n", "sett"),
            ("[hooks.pg]\n", "hooks"),
        ] {
            let why = Hooks::parse(text).unwrap_err();
            assert!(why.contains(reason), "{text}: {why}");
        }
    }
}
