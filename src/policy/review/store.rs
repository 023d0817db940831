//! The rights of a role of a store.
//!
//! *Invariant:* pure.

use super::{Line, Review, Verdict, absent, bounded};
use crate::policy::Rule;
use crate::policy::store::READ;
use crate::source::store::StoreRights;
use crate::store::{Right, Role};

/// Compares.
pub fn store(rules: &[Rule], rights: &StoreRights) -> Review {
    let mut review =
        Review { lines: rules.iter().map(|rule| line(rule, rights)).collect(), ..Review::default() };
    match &rights.role {
        None => review
            .worries
            .push("the store is opened as its owner, who may do everything: a role may do less".to_owned()),
        Some(role) => {
            review.worries.extend(of_role(role, rules));
            let counted =
                role.uses.map(|uses| format!("the role has {uses} log-ins in all, and this one counts"));
            review.notes.extend(counted);
        }
    }
    review
}

fn line(rule: &Rule, rights: &StoreRights) -> Line {
    let path = rule.paths.first().map(String::as_str).unwrap_or_default();
    let denied = || absent(rule, "the role has no such right".to_owned());
    let verdict = if rule.capability == READ {
        match rights.secrets.get(path) {
            Some((true, true)) => Verdict::Allowed,
            Some((true, false)) => Verdict::Missing(
                "the role may read it, and there is no such secret, or not this version".to_owned(),
            ),
            Some((false, _)) | None => denied(),
        }
    } else if rights.rotations.get(path) == Some(&true) {
        Verdict::Allowed
    } else {
        denied()
    };
    Line::new(path, rule, verdict)
}

fn of_role(role: &Role, rules: &[Rule]) -> Vec<String> {
    let mut lines = Vec::new();
    for (right, globs) in &role.grants {
        for glob in globs {
            let needs = |rule: &Rule| rule.capability == right.to_string() && rule.paths.contains(glob);
            let is_needed = rules.iter().any(needs);
            let why = match right {
                Right::Read if !is_needed => "is more than the secrets of the configuration",
                Right::Rotate if !is_needed => "is more than this configuration says that it rotates",
                Right::Write | Right::Admin => "is a right that no agent needs",
                Right::Read | Right::Rotate => continue,
            };
            lines.push(format!("{right} {glob}: {why}"));
        }
    }
    let mut worries = bounded(lines);
    if role.expires.is_none() {
        worries.push("the role has no end (--expires of `squire store role add`)".to_owned());
    }
    worries
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::SystemTime;

    use super::*;
    use crate::policy::Weight;

    fn review(grants: &[(Right, &str)], ends: bool, found: (bool, bool)) -> Review {
        let mut made = Role {
            name: "app".to_owned(),
            grants: BTreeMap::new(),
            created: SystemTime::UNIX_EPOCH.into(),
            expires: ends.then(|| SystemTime::UNIX_EPOCH.into()),
            uses: None,
        };
        for (right, glob) in grants {
            made.grants.entry(*right).or_default().push((*glob).to_owned());
        }
        let secrets = BTreeMap::from([("prod/db".to_owned(), found)]);
        let rights = StoreRights { role: Some(made), secrets, rotations: BTreeMap::new() };
        let rule = Rule {
            paths: vec!["prod/db".to_owned()],
            capability: READ,
            why: "the secret x".to_owned(),
            weight: Weight::Needed,
        };
        store(&[rule], &rights)
    }

    #[test]
    fn the_least_role_is_no_worry_and_every_other_right_is() {
        let least = review(&[(Right::Read, "prod/db")], true, (true, true));
        assert_eq!((least.lacks(), least.worries), (0, Vec::new()));
        let wide = review(
            &[(Right::Read, "prod/**"), (Right::Write, "prod/db"), (Right::Rotate, "prod/db")],
            false,
            (true, true),
        );
        assert_eq!(wide.worries.len(), 4, "{:?}", wide.worries);
    }

    #[test]
    fn a_secret_that_is_not_there_and_a_right_that_is_not_are_two_things() {
        let line = |found| review(&[], true, found).lines[0].to_string();
        assert!(line((true, false)).contains("there is no such secret"));
        assert!(line((false, false)).contains("no such right"));
    }
}
