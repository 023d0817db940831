//! The rights of a role.
//!
//! A role has, for each right, globs of the paths that it may use. The first segment of a glob is the name of an environment and not a
//! pattern, because keys separate environments: a role gets only the keys of the environments that its globs begin with. Within an
//! environment the program checks rights and globs; between environments no check is needed, since the role has no key.
//!
//! *Invariant:* pure; the time is an argument.

use crate::ordered::Order as _;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use serde::{Deserialize, Serialize};

use super::moment::Moment;
use super::path::{SecretPath, environment_name};

/// The rights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Right {
    /// To read its values and its history, and to list it.
    Read,
    /// To put new values, to delete versions so that they can be undeleted, and to undelete them.
    Write,
    /// To rotate it by its own policy.
    Rotate,
    /// To destroy versions, to set the policy, to approve a rotation.
    Admin,
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Rotate => "rotate",
            Self::Admin => "admin",
        })
    }
}

/// A role as the owner described it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Role {
    /// Its name for people.
    pub name: String,
    /// The globs of each right.
    pub grants: BTreeMap<Right, Vec<String>>,
    /// When it was made.
    pub created: Moment,
    /// The time after which it may do nothing.
    pub expires: Option<Moment>,
    /// The number of log-ins that it may make; `None` for any number.
    pub uses: Option<u64>,
}

/// Why an existing role may do nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It has expired.
    Expired(Moment),
    /// It has used up its log-ins.
    UsedUp(u64),
}

impl Role {
    /// Whether it may log in, now and after this many log-ins.
    pub fn standing(&self, log_ins: u64, now: Moment) -> Result<(), Ended> {
        match (self.expires, self.uses) {
            (Some(expires), _) if expires <= now => Err(Ended::Expired(expires)),
            (_, Some(uses)) if log_ins >= uses => Err(Ended::UsedUp(uses)),
            (_, _) => Ok(()),
        }
    }

    /// Whether it has this right to any secret in this environment.
    pub(super) fn has_in(&self, right: Right, environment: &str) -> bool {
        let globs = self.grants.get(&right).into_iter().flatten();
        globs.filter_map(|glob| glob.split_once('/')).any(|(first, _)| first == environment)
    }

    /// Whether one of its globs can match anything in a folder, whose path ends with a slash; with `deep` also in folders in it.
    pub(super) fn reaches_below(&self, right: Right, folder: &str, deep: bool) -> bool {
        self.grants.get(&right).into_iter().flatten().any(|glob| reaches_below(glob, folder, deep))
    }

    /// The environments whose keys it needs.
    pub fn environments(&self) -> BTreeSet<&str> {
        self.grants.values().flatten().filter_map(|glob| Some(glob.split_once('/')?.0)).ordered()
    }
}

/// The compiled globs of a role.
#[derive(Clone, Debug)]
pub(super) struct Allowance(BTreeMap<Right, GlobSet>);

impl Allowance {
    /// Compiles the globs.
    ///
    /// # Errors
    /// Each glob that is not valid, with what is wrong with it as a predicate.
    pub(super) fn compile(grants: &BTreeMap<Right, Vec<String>>) -> Result<Self, Vec<(String, String)>> {
        let mut problems = Vec::new();
        let mut allowance = BTreeMap::new();
        for (right, globs) in grants {
            let mut set = GlobSetBuilder::new();
            for text in globs {
                match glob(text) {
                    Ok(glob) => drop(set.add(glob)),
                    Err(why) => problems.push((text.clone(), why)),
                }
            }
            match set.build() {
                Ok(set) => drop(allowance.insert(*right, set)),
                Err(error) => problems.push((globs.join(" "), format!("cannot be used: {error}"))),
            }
        }
        if problems.is_empty() { Ok(Self(allowance)) } else { Err(problems) }
    }

    /// Whether it has this right to that secret.
    pub(super) fn allows(&self, right: Right, path: &SecretPath) -> bool {
        self.allows_text(right, path.as_str())
    }

    /// The same, for a path from the audit.
    pub(super) fn allows_text(&self, right: Right, path: &str) -> bool {
        self.0.get(&right).is_some_and(|globs| globs.is_match(path))
    }
}

/// `*` stays within a segment, `**` does not.
fn glob(text: &str) -> Result<globset::Glob, String> {
    let Some((environment, _)) = text.split_once('/') else {
        return Err("has no `/`; write the environment and then a pattern, such as `prod/app/*`".to_owned());
    };
    environment_name(environment).map_err(|why| {
        format!("{why}: the first segment is an environment and cannot be a pattern, since it is separated by keys")
    })?;
    let glob = GlobBuilder::new(text).literal_separator(true).build();
    glob.map_err(|error| format!("is no pattern: {}", error.kind()))
}

/// Part for part. A brace may span several parts: then the glob counts as one that reaches it, since what it matches is asked later.
fn reaches_below(text: &str, folder: &str, deep: bool) -> bool {
    let mut parts = text.split('/');
    for part in folder.trim_end_matches('/').split('/') {
        match parts.next() {
            None => return false,
            Some("**") => return true,
            Some(pattern) if pattern.contains(['{', '}']) => return true,
            Some(pattern) => {
                let matches = |glob: globset::Glob| glob.compile_matcher().is_match(part);
                if !GlobBuilder::new(pattern).literal_separator(true).build().is_ok_and(matches) {
                    return false;
                }
            }
        }
    }
    let rest: Vec<&str> = parts.collect();
    !rest.is_empty() && (deep || rest.len() == 1 || rest.iter().any(|part| part.contains(['{', '*'])))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grants(right: Right, globs: &[&str]) -> BTreeMap<Right, Vec<String>> {
        BTreeMap::from([(right, globs.iter().map(|&glob| glob.to_owned()).collect())])
    }

    #[test]
    fn a_right_holds_for_what_its_globs_match_and_for_nothing_else() {
        let allowance =
            Allowance::compile(&grants(Right::Read, &["prod/app/*", "prod/web/**", "dev/{a,b}/x"])).unwrap();
        for (path, expected) in [
            ("prod/app/db", true),
            ("prod/app/db/replica", false),
            ("prod/web/db/replica", true),
            ("prod/other/db", false),
            ("dev/app/db", false),
            ("dev/b/x", true),
            ("prod2/app/db", false),
        ] {
            let path = SecretPath::parse(path).unwrap();
            assert_eq!(allowance.allows(Right::Read, &path), expected, "{path}");
            for other in [Right::Write, Right::Rotate, Right::Admin] {
                assert!(!allowance.allows(other, &path), "{other} {path}");
            }
        }
    }

    #[test]
    fn a_glob_reaches_a_folder_if_it_may_match_anything_in_it() {
        for (glob, folder, level, deep) in [
            ("prod/team/*", "prod/team/", true, true),
            ("prod/team/a", "prod/team/", true, true),
            ("prod/team", "prod/team/", false, false),
            ("prod/*", "prod/team/", false, false),
            ("prod/**", "prod/team/", true, true),
            ("prod/*/a", "prod/team/", true, true),
            ("prod/team/a/b", "prod/team/", false, true),
            ("prod/team/**/b", "prod/team/", true, true),
            ("prod/te?m/x", "prod/team/", true, true),
            ("prod/team2/*", "prod/team/", false, false),
            ("prod/{team,web}/x", "prod/team/", true, true),
            ("prod/x", "prod/", true, true),
            ("dev/**", "prod/team/", false, false),
        ] {
            let found = [false, true].map(|deep| reaches_below(glob, folder, deep));
            assert_eq!(found, [level, deep], "{glob} {folder}");
        }
    }

    #[test]
    fn an_environment_is_no_pattern() {
        for bad in ["*/app", "prod", "pr?d/*", "/app", "**", "prod/[a", "{dev,prod}/app"] {
            let problems = Allowance::compile(&grants(Right::Write, &["dev/*", bad])).unwrap_err();
            assert_eq!(problems.len(), 1, "{problems:?}");
            assert_eq!(problems[0].0, bad);
        }
    }

    #[test]
    fn time_and_uses_end_a_role() {
        let at = Moment::from_millis;
        let role = |expires, uses| Role {
            name: "web".to_owned(),
            grants: grants(Right::Read, &["prod/*", "dev/*"]),
            created: at(0),
            expires,
            uses,
        };
        for (expires, uses, used, expected) in [
            (None, None, u64::MAX, Ok(())),
            (Some(at(11)), Some(2), 1, Ok(())),
            (Some(at(10)), Some(2), 1, Err(Ended::Expired(at(10)))),
            (Some(at(11)), Some(2), 2, Err(Ended::UsedUp(2))),
        ] {
            assert_eq!(role(expires, uses).standing(used, at(10)), expected);
        }
        assert_eq!(role(None, None).environments(), BTreeSet::from(["dev", "prod"]));
    }
}
