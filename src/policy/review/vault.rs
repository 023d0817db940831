//! The rights of a token of HashiCorp Vault or OpenBao.
//!
//! Two questions show what is allowed beside the needs, since neither shows all: the server's list of all rights leaves out what a policy
//! gives by `+`, and a probe shows only what reaches a name that nobody has.
//!
//! *Invariant:* pure.

use std::collections::{BTreeMap, BTreeSet};

use super::{Line, Review, Verdict, absent, bounded};
use crate::ordered::Order as _;
use crate::policy::{Rule, Weight};
use crate::source::vault::{Acl, Held, Rights};

/// The name that nobody gives a secret.
const NOBODY: &str = "squire-check-nobody";

/// What the server answered. `None` is a question that the policies do not allow.
#[derive(Clone, Debug, Default)]
pub struct VaultFacts {
    /// The capabilities on each path of the rules and of [`probes`].
    pub rights: Option<Rights>,
    /// All that the token may do.
    pub acl: Option<Acl>,
    /// What the token says of itself.
    pub held: Option<Held>,
}

/// The rights of the policy `default` of both servers, which every token usually has.
const USUAL: &[&str] = &[
    "auth/token/lookup-self",
    "auth/token/renew-self",
    "auth/token/revoke-self",
    "cubbyhole/",
    "identity/oidc/provider/",
    "sys/capabilities-self",
    "sys/control-group/request",
    "sys/internal/ui/resultant-acl",
    "sys/leases/lookup",
    "sys/leases/renew",
    "sys/renew",
    "sys/tools/hash",
    "sys/tools/hash/",
    "sys/wrapping/lookup",
    "sys/wrapping/unwrap",
    "sys/wrapping/wrap",
];

/// Paths beside those of the secrets, each with the pattern that a policy must have that allows anything there.
pub fn probes(rules: &[Rule]) -> BTreeMap<String, String> {
    let mut probes = BTreeMap::from([(format!("{NOBODY}/{NOBODY}"), "*".to_owned())]);
    for path in secrets(rules).flat_map(|rule| &rule.paths) {
        let parts: Vec<&str> = path.split('/').collect();
        // Any name in a folder is what is needed there.
        let is_any = matches!(parts.last(), Some(&("+" | "*" | "")));
        for index in 1..parts.len() - usize::from(is_any) {
            let replaced = |with| [&parts[..index], &[with], &parts[index + 1..]].concat().join("/");
            probes.insert(replaced(NOBODY), replaced("*"));
        }
    }
    probes
}

/// The rules about secrets themselves.
fn secrets(rules: &[Rule]) -> impl Iterator<Item = &Rule> {
    let is_own = |path: &String| path.starts_with("auth/token/") || path.starts_with("sys/");
    rules.iter().filter(move |rule| rule.weight == Weight::Needed && !rule.paths.iter().any(is_own))
}

/// Compares.
pub fn vault(rules: &[Rule], facts: &VaultFacts) -> Review {
    let mut review = Review::default();
    for rule in rules {
        let line = line(rule, facts.rights.as_ref());
        let is_worth_it = rule.weight != Weight::Asks || line.verdict != Verdict::Allowed;
        if is_worth_it {
            review.lines.push(line);
        }
    }
    review.worries = worries(rules, facts);
    let mut note = |words: &str| review.notes.push(words.to_owned());
    if facts.rights.is_some() {
        note("that a path is allowed does not say that something is there: only a read tells");
    }
    if facts.acl.is_none() {
        note(
            "what else the token may do is not known: its policies do not allow read on sys/internal/ui/resultant-acl",
        );
    }
    if facts.held.is_none() {
        note(
            "what the token is bound to is not known: its policies do not allow read on auth/token/lookup-self",
        );
    }
    review
}

fn line(rule: &Rule, rights: Option<&Rights>) -> Line {
    let first = rule.paths.first().map(String::as_str).unwrap_or_default();
    let Some(rights) = rights else {
        // The question itself is what is not allowed, and so that much is known.
        let verdict = match rule.weight {
            Weight::Asks => Verdict::Missing("the policy `default` would allow it".to_owned()),
            Weight::Needed => Verdict::Unknown("the policies do not allow to ask".to_owned()),
            Weight::Helps(_) => {
                Verdict::Without("not known, since the policies do not allow to ask".to_owned())
            }
        };
        return Line::new(first, rule, verdict);
    };
    let allows = |path: &&String| rights.get(*path).is_some_and(|found| has(found, rule.capability));
    if let Some(path) = rule.paths.iter().find(allows) {
        return Line::new(path, rule, Verdict::Allowed);
    }
    let found: BTreeSet<&String> = rule.paths.iter().filter_map(|path| rights.get(path)).flatten().ordered();
    let found: Vec<&str> = found.into_iter().map(String::as_str).filter(|found| *found != "deny").collect();
    let known = match found.join(", ") {
        nothing if nothing.is_empty() => "nothing is allowed there".to_owned(),
        something => format!("allowed there: {something}"),
    };
    Line::new(&rule.paths.join(" or "), rule, absent(rule, known))
}

fn has(found: &BTreeSet<String>, capability: &str) -> bool {
    !found.contains("deny") && (found.contains(capability) || found.contains("root"))
}

fn is_something(found: &BTreeSet<String>) -> bool {
    !found.is_empty() && !found.contains("deny")
}

fn worries(rules: &[Rule], facts: &VaultFacts) -> Vec<String> {
    let mut worries = Vec::new();
    let of_root = |rights: &Rights| rights.values().any(|found| found.contains("root"));
    let is_root = facts.acl.as_ref().is_some_and(|acl| acl.is_root)
        || facts.held.as_ref().is_some_and(|held| held.policies.iter().any(|policy| policy == "root"))
        || facts.rights.as_ref().is_some_and(of_root);
    if is_root {
        worries.push("the token may do everything: it is a root token".to_owned());
    } else {
        worries.extend(facts.rights.iter().flat_map(|rights| excess(rules, rights)));
        worries.extend(facts.rights.iter().flat_map(|rights| reach(rules, rights)));
        worries.extend(facts.acl.iter().flat_map(|acl| beside(rules, acl)));
    }
    worries.extend(facts.held.iter().flat_map(of_token));
    worries
}

/// What is allowed on the very paths that are needed, and is not needed there.
fn excess(rules: &[Rule], rights: &Rights) -> Vec<String> {
    let mut needed: BTreeMap<&String, BTreeSet<&str>> = BTreeMap::new();
    for rule in rules {
        for path in &rule.paths {
            needed.entry(path).or_default().insert(rule.capability);
        }
    }
    let lines = needed.into_iter().filter_map(|(path, needed)| {
        let found = rights.get(path).filter(|found| is_something(found))?;
        let more: Vec<&str> =
            found.iter().map(String::as_str).filter(|found| !needed.contains(found)).collect();
        (!more.is_empty())
            .then(|| format!("{path}: also allows {}, which nothing here needs", more.join(", ")))
    });
    bounded(lines.collect())
}

/// Which names beside the needed ones a policy reaches. What reaches every name is said once.
fn reach(rules: &[Rule], rights: &Rights) -> Vec<String> {
    let probes = probes(rules);
    let found = |probe: &String| rights.get(probe).filter(|found| is_something(found));
    let everywhere = probes.iter().find(|(_, pattern)| *pattern == "*").and_then(|(probe, _)| found(probe));
    let lines = probes.iter().filter_map(|(probe, pattern)| {
        let found = found(probe).filter(|found| pattern == "*" || Some(*found) != everywhere)?;
        let found: Vec<&str> = found.iter().map(String::as_str).collect();
        let found = found.join(", ");
        Some(format!(
            "{pattern}: {found} is allowed for any name, and not only for what the configuration needs"
        ))
    });
    bounded(lines.collect())
}

/// What is allowed elsewhere.
fn beside(rules: &[Rule], acl: &Acl) -> Vec<String> {
    let needed: BTreeSet<&String> = rules.iter().flat_map(|rule| &rule.paths).ordered();
    let covers = |beginning: &str| needed.iter().any(|path| path.starts_with(beginning));
    // Templates of the policy `default` are filled in.
    let usual = |path: &str| USUAL.contains(&path) || path.starts_with("identity/entity/");
    let exact = acl
        .exact
        .iter()
        .filter(|(path, _)| !needed.contains(path))
        .map(|(path, found)| (path, path.clone(), found));
    // The reach beside what it covers was found by probes.
    let beginnings = acl
        .beginnings
        .iter()
        .filter(|(path, _)| !covers(path))
        .map(|(path, found)| (path, format!("{path}*"), found));
    let lines = exact.chain(beginnings).filter(|(path, _, found)| !usual(path) && is_something(found)).map(
        |(_, shown, found)| {
            let found: Vec<&str> = found.iter().map(String::as_str).collect();
            format!("{shown}: {} is allowed, and nothing here needs it", found.join(", "))
        },
    );
    bounded(lines.collect())
}

fn of_token(held: &Held) -> Vec<String> {
    let mut worries = Vec::new();
    if held.life.ttl.is_none() {
        worries.push("the token has no end".to_owned());
    } else if held.is_periodic {
        worries.push("the token is periodic: whoever has it can renew it for ever".to_owned());
    }
    if !held.is_bound {
        worries.push(
            "the token is bound to no address: whoever has it can use it from anywhere (token_bound_cidrs of the role binds it)"
                .to_owned(),
        );
    }
    worries
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::source::GrantLife;

    fn rule(path: &str, capability: &'static str, weight: Weight) -> Rule {
        Rule { paths: vec![path.to_owned()], capability, why: "the secret x".to_owned(), weight }
    }

    fn rights(of: &[(&str, &[&str])]) -> Rights {
        of.iter()
            .map(|(path, found)| ((*path).to_owned(), found.iter().map(|text| (*text).to_owned()).collect()))
            .collect()
    }

    fn rules() -> Vec<Rule> {
        vec![
            rule("secret/data/app/db", "read", Weight::Needed),
            rule("sys/leases/revoke", "update", Weight::Helps("it lives on")),
            rule("sys/capabilities-self", "update", Weight::Asks),
        ]
    }

    fn verdicts(review: &Review) -> Vec<String> {
        review.lines.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn each_right_is_allowed_missing_done_without_or_unknown() {
        let answered = |of: &[(&str, &[&str])]| {
            let review = vault(&rules(), &VaultFacts { rights: Some(rights(of)), ..VaultFacts::default() });
            (verdicts(&review), review.lacks())
        };
        let ask: (&str, &[&str]) = ("sys/capabilities-self", &["update"]);
        let (lines, lacks) =
            answered(&[("secret/data/app/db", &["read"]), ("sys/leases/revoke", &["update"]), ask]);
        let allowed = "allowed  read secret/data/app/db: the secret x";
        assert_eq!(
            (lines, lacks),
            (vec![allowed.to_owned(), "allowed  update sys/leases/revoke: the secret x".to_owned()], 0)
        );
        let (lines, lacks) =
            answered(&[("secret/data/app/db", &["list"]), ("sys/leases/revoke", &["deny"]), ask]);
        let missing = "MISSING  read secret/data/app/db: the secret x; allowed there: list";
        assert_eq!(
            (lines, lacks),
            (vec![missing.to_owned(), "without  update sys/leases/revoke: it lives on".to_owned()], 1)
        );
        // A denial wins over what stands beside it, and a path that is not in the answer is not allowed.
        let (lines, lacks) = answered(&[("secret/data/app/db", &["deny", "read"]), ask]);
        assert!(lines[0].starts_with("MISSING") && lacks == 1, "{lines:?}");
        let review = vault(&rules(), &VaultFacts::default());
        assert_eq!(review.lacks(), 2, "{review:#?}");
        assert!(verdicts(&review)[0].starts_with("UNKNOWN  read"), "{review:#?}");
        assert_eq!(review.notes.len(), 2);
    }

    #[test]
    fn any_name_in_a_folder_is_what_is_needed_and_no_worry() {
        let rules = [
            rule("secret/metadata/team/", "list", Weight::Needed),
            rule("secret/data/team/+", "read", Weight::Needed),
        ];
        let probed: Vec<String> = probes(&rules).into_values().collect();
        let patterns = ["secret/data/*/+", "secret/*/team/+", "*", "secret/metadata/*/", "secret/*/team/"];
        assert!(probed.iter().all(|pattern| patterns.contains(&pattern.as_str())), "{probed:?}");
        let of = rights(&[("secret/metadata/team/", &["list"]), ("secret/data/team/+", &["read"])]);
        let acl = Acl {
            exact: rights(&[("secret/metadata/team/", &["list"])]),
            beginnings: rights(&[("secret/data/team/", &["read"])]),
            is_root: false,
        };
        let review = vault(&rules, &VaultFacts { rights: Some(of), acl: Some(acl), held: None });
        assert_eq!((review.lacks(), &review.worries), (0, &Vec::new()), "{review:?}");
    }

    #[test]
    fn of_two_forms_one_is_enough() {
        let mut both = rule("secret/data/x", "read", Weight::Needed);
        both.paths.push("secret/x".to_owned());
        let review = |found| {
            vault(&[both.clone()], &VaultFacts { rights: Some(rights(found)), ..VaultFacts::default() })
        };
        assert_eq!(
            verdicts(&review(&[("secret/data/x", &["deny"]), ("secret/x", &["read"])]))[0],
            "allowed  read secret/x: the secret x"
        );
        let lines = verdicts(&review(&[]));
        assert_eq!(
            lines[0],
            "MISSING  read secret/data/x or secret/x: the secret x; nothing is allowed there"
        );
    }

    #[test]
    fn what_is_allowed_beyond_the_needs_is_a_worry() {
        let worries = |of: &[(&str, &[&str])], acl: Option<Acl>| {
            vault(&rules(), &VaultFacts { rights: Some(rights(of)), acl, held: None }).worries
        };
        assert_eq!(worries(&[("secret/data/app/db", &["read"])], Some(Acl::default())), Vec::<String>::new());
        let found = worries(&[("secret/data/app/db", &["delete", "read", "sudo"])], None);
        assert_eq!(found, ["secret/data/app/db: also allows delete, sudo, which nothing here needs"]);
        let found = worries(&[("secret/data/squire-check-nobody/db", &["read"])], None);
        assert_eq!(
            found,
            ["secret/data/*/db: read is allowed for any name, and not only for what the configuration needs"]
        );
        let everything = "squire-check-nobody/squire-check-nobody";
        assert!(worries(&[(everything, &["list"])], None)[0].starts_with("*: list"));
        assert_eq!(
            worries(&[(everything, &["root"])], None),
            ["the token may do everything: it is a root token"]
        );
        let acl = Acl {
            exact: rights(&[
                ("sys/mounts", &["read"]),
                ("auth/token/lookup-self", &["read"]),
                ("secret/data/app/db", &["read"]),
            ]),
            beginnings: rights(&[
                ("secret/data/", &["read"]),
                ("kv/", &["list"]),
                ("cubbyhole/", &["read"]),
                ("pki/", &["deny"]),
            ]),
            is_root: false,
        };
        let expected = [
            "sys/mounts: read is allowed, and nothing here needs it",
            "kv/*: list is allowed, and nothing here needs it",
        ];
        assert_eq!(worries(&[], Some(acl)), expected);
    }

    #[test]
    fn a_long_list_is_cut_and_says_so() {
        let names: Vec<String> = (0..30).map(|number| format!("kv/{number}")).collect();
        let read = BTreeSet::from(["read".to_owned()]);
        let acl =
            Acl { exact: names.into_iter().map(|name| (name, read.clone())).collect(), ..Acl::default() };
        let worries = vault(&rules(), &VaultFacts { acl: Some(acl), ..VaultFacts::default() }).worries;
        assert_eq!((worries.len(), worries.last().unwrap().as_str()), (11, "and 20 more of this kind"));
    }

    #[test]
    fn a_token_without_end_or_for_everywhere_is_a_worry() {
        let held = |ttl: Option<u64>, is_periodic, is_bound| Held {
            life: GrantLife { ttl: ttl.map(Duration::from_secs), renewable: true },
            policies: vec!["app".to_owned()],
            is_periodic,
            is_bound,
        };
        for (held, expected) in [
            (held(Some(60), false, true), &[][..]),
            (held(None, false, true), &["no end"]),
            (held(Some(60), true, true), &["periodic"]),
            (held(Some(60), false, false), &["no address"]),
            (held(None, true, false), &["no end", "no address"]),
        ] {
            let worries = of_token(&held);
            assert_eq!(worries.len(), expected.len(), "{worries:?}");
            assert!(worries.iter().zip(expected).all(|(worry, part)| worry.contains(part)), "{worries:?}");
        }
    }
}
