//! The rights of credentials of AWS.
//!
//! *Invariant:* pure.

use std::collections::BTreeMap;

use super::{Line, Review, Verdict, absent};
use crate::policy::Rule;
use crate::policy::aws::{DESCRIBE, LIST, READ, READ_MANY};

/// What AWS answered.
#[derive(Clone, Debug, Default)]
pub struct AwsFacts {
    /// Whether each secret may be read, or why that is not known.
    pub reads: BTreeMap<String, Result<bool, String>>,
    /// Whether names may be listed; `None` if that was not asked.
    pub lists: Option<Result<bool, String>>,
    /// Whether many may be read at once; `None` if that was not asked.
    pub batch: Option<Result<bool, String>>,
    /// What is known of each secret; `None` if it may not be described.
    pub described: BTreeMap<String, Result<Option<Kept>, String>>,
    /// Whether the credentials end by themselves.
    pub has_end: bool,
}

/// What is known of a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept {
    /// It is there, encrypted with this key if it is not AWS's own.
    There(Option<String>),
    /// It is not, or not for long: why.
    Not(String),
}

/// Compares.
pub fn aws(rules: &[Rule], facts: &AwsFacts) -> Review {
    let mut review =
        Review { lines: rules.iter().map(|rule| line(rule, facts)).collect(), ..Review::default() };
    for (path, kept) in &facts.described {
        match kept {
            Ok(Some(Kept::There(Some(key)))) => review.notes.push(format!(
                "{path} is encrypted with the key {key}: whether the credentials have kms:Decrypt on it is not known without a read"
            )),
            Ok(None) => review.notes.push(format!("whether {path} is there is not known: it may not be described")),
            Ok(Some(_)) | Err(_) => {}
        }
    }
    review.notes.push(
        "what else the credentials may do is not known: AWS tells that only who may read its policies"
            .to_owned(),
    );
    if !facts.has_end {
        review.worries.push(
            "the credentials are a key without end: a role of the machine, the container or the pod gives credentials that end".to_owned(),
        );
    }
    review
}

fn line(rule: &Rule, facts: &AwsFacts) -> Line {
    let path = rule.paths.first().map(String::as_str).unwrap_or_default();
    let answered = match rule.capability {
        READ => facts.reads.get(path).cloned(),
        READ_MANY => facts.batch.clone(),
        LIST => facts.lists.clone(),
        DESCRIBE => {
            facts.described.get(path).map(|kept| kept.as_ref().map(Option::is_some).map_err(Clone::clone))
        }
        _ => None,
    };
    let gone = match facts.described.get(path) {
        Some(Ok(Some(Kept::Not(why)))) if rule.capability == READ => Some(why.clone()),
        _ => None,
    };
    let verdict = match (answered, gone) {
        (Some(Ok(true)), Some(why)) => Verdict::Missing(why),
        (Some(Ok(true)), None) => Verdict::Allowed,
        (Some(Ok(false)), _) => absent(rule, "AWS denies it".to_owned()),
        (Some(Err(why)), _) => Verdict::Unknown(why),
        (None, _) => Verdict::Unknown("it was not asked".to_owned()),
    };
    Line::new(path, rule, verdict)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Weight;

    fn review(read: Result<bool, String>, kept: Result<Option<Kept>, String>) -> Review {
        let rule = |capability, weight| Rule {
            paths: vec!["db".to_owned()],
            capability,
            why: "the secret x".to_owned(),
            weight,
        };
        let rules = [rule(READ, Weight::Needed), rule(DESCRIBE, Weight::Helps("later"))];
        let facts = AwsFacts {
            reads: BTreeMap::from([("db".to_owned(), read)]),
            described: BTreeMap::from([("db".to_owned(), kept)]),
            lists: None,
            batch: None,
            has_end: true,
        };
        aws(&rules, &facts)
    }

    #[test]
    fn a_right_is_one_thing_and_a_secret_that_is_there_another() {
        let there = || Ok(Some(Kept::There(None)));
        let gone = || Ok(Some(Kept::Not("it is not there".to_owned())));
        let unknown = || Err("cannot be reached".to_owned());
        for (read, kept, expected, lacks) in [
            (Ok(true), there(), ["allowed ", "allowed "], 0),
            (Ok(true), Ok(None), ["allowed ", "without "], 0),
            (Ok(true), gone(), ["MISSING ", "allowed "], 1),
            (Ok(false), there(), ["MISSING ", "allowed "], 1),
            (Err("cannot be reached".to_owned()), unknown(), ["UNKNOWN ", "UNKNOWN "], 2),
        ] {
            let review = review(read, kept);
            let lines: Vec<String> = review.lines.iter().map(ToString::to_string).collect();
            assert!(lines.iter().zip(expected).all(|(line, word)| line.starts_with(word)), "{lines:?}");
            assert_eq!(review.lacks(), lacks, "{lines:?}");
        }
    }

    #[test]
    fn a_key_of_kms_is_named_and_credentials_without_end_are_a_worry() {
        let found = review(Ok(true), Ok(Some(Kept::There(Some("arn:aws:kms:x:1:key/k".to_owned())))));
        assert!(found.notes[0].contains("arn:aws:kms:x:1:key/k"), "{found:?}");
        assert_eq!(found.worries, Vec::<String>::new());
        assert_eq!(aws(&[], &AwsFacts::default()).worries.len(), 1);
    }
}
