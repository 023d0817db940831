//! What a source has to allow for a configuration: as the least policy to write, and compared with what it does allow.
//!
//! The agent asks for no more than what [`Rule`]s say, and a test takes each of them away to see what fails.
//!
//! *Invariant:* pure. What servers answered is an argument, and no secret is part of it. A path that a policy would take for a pattern is
//! refused: whoever may write a configuration must not widen the policy that somebody else makes from it.

pub mod aws;
pub mod review;
pub mod store;
pub mod vault;

use std::collections::BTreeMap;

use crate::config::SourceConfig;
use crate::names::SourceName;
use crate::plain::plain;
use crate::plan::Want;
use crate::source::vault::Mounted;

/// What is mounted where a secret is, by the secret's path, as far as a server told.
pub type Known = BTreeMap<String, Mounted>;

/// One right that the agent needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Where: one path, or the path for each kind of mount that there may be.
    pub paths: Vec<String>,
    /// What has to be allowed there, in the source's own word.
    pub capability: &'static str,
    /// What for.
    pub why: String,
    /// What happens without it.
    pub weight: Weight,
}

/// How much depends on a right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// A secret, its renewal, or its end.
    Needed,
    /// The agent goes on without it; this is what is worse then.
    Helps(&'static str),
    /// Only `squire check --online` uses it.
    Asks,
}

/// What the text of a policy is for.
#[derive(Clone, Copy, Debug)]
pub struct Heading<'a> {
    /// The configuration, as a person calls it.
    pub origin: &'a str,
    /// Which of its sources.
    pub source: &'a SourceName,
    /// The name that the policy or role is to get.
    pub name: &'a str,
}

/// A policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// In the source's own language, as it takes it.
    pub body: String,
    /// What a person should know who uses it.
    pub notes: Vec<String>,
}

/// The least policy for these secrets of a source, and for the paths that a proxy passes on there.
///
/// # Errors
/// Every path that the policy would take for a pattern, a sentence each.
pub fn text(
    heading: &Heading<'_>,
    source: &SourceConfig,
    (wants, proxied): (&[Want], &[String]),
    known: &Known,
) -> Result<Text, Vec<String>> {
    match source {
        SourceConfig::Vault(config) => vault::text(heading, config, (wants, proxied), known),
        SourceConfig::Aws(config) => Ok(aws::text(config, wants)),
        SourceConfig::Store(config) => store::text(heading, config, wants),
    }
}

/// `the secret a`, or `the secrets a, b and c`.
fn secrets(names: &[&str]) -> String {
    match names {
        [] => "nothing".to_owned(),
        [one] => format!("the secret {one}"),
        [first @ .., last] => format!("the secrets {} and {last}", first.join(", ")),
    }
}

/// The places of these secrets, each once, with the names of the secrets, in the order of the configuration.
fn by_place<'a>(
    wants: impl IntoIterator<Item = &'a Want>,
    place: impl Fn(&Want) -> String,
) -> Vec<(String, Vec<&'a str>)> {
    let mut places: Vec<(String, Vec<&str>)> = Vec::new();
    for want in wants {
        let here = place(want);
        match places.iter_mut().find(|(place, _)| *place == here) {
            Some((_, names)) => names.push(want.name.as_str()),
            None => places.push((here, vec![want.name.as_str()])),
        }
    }
    places
}

/// Lines of a comment, for every language in which `#` begins one.
fn comment(lines: &[String]) -> String {
    lines.iter().flat_map(|line| ["# ".into(), plain(line), "\n".into()]).collect()
}

/// One word of a POSIX shell, in quotes only where it needs them.
fn word(text: &str) -> String {
    let is_simple = |c: char| c.is_ascii_alphanumeric() || "/._-+:@=".contains(c);
    if !text.is_empty() && text.chars().all(is_simple) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::config;
    use crate::plan;

    /// The sources of a configuration, with the secrets that are wanted from each.
    pub(crate) fn wanted(text: &str) -> Vec<(SourceName, SourceConfig, Vec<Want>)> {
        let config = config::parse(std::path::Path::new("squire.toml"), text, &|_| None).unwrap();
        let all = config.secrets.keys().map(|name| format!("{{{{#each {name}}}}}{{{{/each}}}}"));
        let all = all.collect::<Vec<_>>().concat();
        let text = format!("{text}\n[process]\ncommand = [\"x\"]\nenv = {{ ALL = \"{all}\" }}\n");
        let config = config::parse(std::path::Path::new("squire.toml"), &text, &|_| None).unwrap();
        let nobody = |_: &_| None;
        let surroundings = plan::Surroundings {
            read: &|_| Ok(String::new()),
            user: &|_| None,
            group: &|_| None,
            person: &nobody,
            own: (0, 0),
        };
        let plan = plan::compile(&config, None, &surroundings).unwrap();
        plan.wants
            .into_iter()
            .map(|(name, wants)| (name.clone(), config.sources[&name].clone(), wants))
            .collect()
    }

    #[test]
    fn words_of_a_shell_are_quoted_where_it_would_read_something_else() {
        for (text, expected) in [
            ("/a/b.store", "/a/b.store"),
            ("a b", "'a b'"),
            ("$(x)", "'$(x)'"),
            ("it's", r"'it'\''s'"),
            ("", "''"),
        ] {
            assert_eq!(word(text), expected);
        }
    }
}
