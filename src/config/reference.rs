//! Makes a configuration from the references in the variables of an environment, without a file.
//!
//! ```text
//! DB_PASSWORD = vault:secret/mysql#password
//! DB_URL      = postgres://${vault:database/creds/app#username}:${vault:database/creds/app#password}@db/app
//! ```
//!
//! Each path becomes one secret, however many variables refer to it, and each variable becomes a template. The result is the text of a
//! configuration; from there on everything is the same as with a file.
//!
//! *Invariant:* pure. Text that is no reference stays the same to the letter; no problem contains a variable's value.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use toml::{Table, Value};

use super::Version;

/// The kinds of sources that references can name, by the word before the colon.
const SCHEMES: [&str; 3] = ["vault", "aws", "store"];

/// The longest path; a longer text only looks like a reference.
const LONGEST: usize = 1024;

/// One secret that is referred to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Target {
    scheme: &'static str,
    path: String,
    version: Option<Version>,
}

/// A reference: a secret, and one of its fields; `None` if it has only one.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Reference {
    target: Target,
    field: Option<String>,
}

/// A part of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Reference(Reference),
}

/// The references of a set of texts.
#[derive(Debug, Default)]
pub struct References {
    targets: BTreeMap<Target, String>,
    variables: BTreeMap<String, String>,
}

impl References {
    /// Adds a variable with its references; a variable without references is passed to the process as it is.
    ///
    /// # Errors
    /// What is wrong with a reference, and the variable.
    pub fn variable(&mut self, name: &str, value: &str) -> Result<(), String> {
        let parts = parts(value).map_err(|why| format!("the environment variable {name} {why}"))?;
        if parts.iter().any(|part| matches!(part, Part::Reference(_))) {
            let template = self.template(&parts, literal);
            self.variables.insert(name.to_owned(), template);
        }
        Ok(())
    }

    /// Whether this text, or a part of it, refers to a secret.
    pub fn is_one(text: &str) -> bool {
        parts(text).is_ok_and(|parts| parts.iter().any(|part| matches!(part, Part::Reference(_))))
    }

    /// Adds a variable that the process gets with or without references.
    ///
    /// # Errors
    /// As [`Self::variable`].
    pub fn given(&mut self, name: &str, value: &str) -> Result<(), String> {
        let parts = parts(value).map_err(|why| format!("the variable {name} {why}"))?;
        let template = self.template(&parts, literal);
        self.variables.insert(name.to_owned(), template);
        Ok(())
    }

    /// Adds a template in which `${…}` refers to secrets; returns the template with these references replaced.
    ///
    /// # Errors
    /// What is wrong with a reference.
    pub fn in_template(&mut self, name: &str, text: &str) -> Result<(), String> {
        let parts = embedded(text).map_err(|why| format!("the template {why}"))?;
        let template = self.template(&parts, str::to_owned);
        self.variables.insert(name.to_owned(), template);
        Ok(())
    }

    /// Whether there are no references.
    pub fn is_empty(&self) -> bool {
        self.targets.is_empty()
    }

    /// The text of the configuration. `refresh` is how often static secrets are re-read, as a configuration writes it.
    pub fn document(&self, refresh: Option<&str>) -> String {
        let text = |text: &str| Value::String(text.to_owned());
        let mut sources = Table::new();
        let mut secrets = Table::new();
        for (target, name) in &self.targets {
            let mut source = Table::new();
            source.extend(refresh.map(|refresh| ("refresh".to_owned(), text(refresh))));
            sources.entry(target.scheme).or_insert(Value::Table(source));
            let mut secret = Table::new();
            secret.insert("source".to_owned(), text(target.scheme));
            secret.insert("path".to_owned(), text(&target.path));
            secret.extend(target.version.as_ref().map(pin));
            secrets.insert(name.clone(), Value::Table(secret));
        }
        let variables = self.variables.iter().map(|(name, template)| (name.clone(), text(template)));
        let env: Table = variables.collect();
        let process = Table::from_iter([("env".to_owned(), Value::Table(env))]);
        let document = [("source", sources), ("secret", secrets), ("process", process)];
        Table::from_iter(document.map(|(name, table)| (name.to_owned(), Value::Table(table)))).to_string()
    }

    fn template(&mut self, parts: &[Part], literal: impl Fn(&str) -> String) -> String {
        let mut template = String::new();
        for part in parts {
            match part {
                Part::Text(text) => template.push_str(&literal(text)),
                Part::Reference(Reference { target, field }) => {
                    let next = format!("ref_{}", self.targets.len() + 1);
                    let name = self.targets.entry(target.clone()).or_insert(next);
                    // Writing to a `String` cannot fail.
                    match field {
                        Some(field) => write!(template, "{{{{{}}}}}", field_of(name, field)).ok(),
                        None => write!(template, "{{{{only {name}}}}}").ok(),
                    };
                }
            }
        }
        template
    }
}

/// A version, as a configuration writes it.
fn pin(version: &Version) -> (String, Value) {
    let (key, value) = match version {
        // A greater number is no version of any server.
        Version::Number(number) => ("version", Value::Integer(i64::try_from(*number).unwrap_or(i64::MAX))),
        Version::Stage(stage) => ("version_stage", Value::String(stage.clone())),
        Version::Id(id) => ("version_id", Value::String(id.clone())),
    };
    (key.to_owned(), value)
}

/// The field of a secret, as a template writes it.
fn field_of(secret: &str, field: &str) -> String {
    match quote_for(field) {
        Some(quote) if field.contains(NOT_IN_BRACKETS) => format!("lookup {secret} {quote}{field}{quote}"),
        Some(_) | None => format!("{secret}.[{field}]"),
    }
}

/// Characters that end a name in a template.
const NOT_IN_BRACKETS: [char; 3] = ['"', '\'', '('];

/// Quotes that a field can be put in.
fn quote_for(field: &str) -> Option<char> {
    ['"', '\''].into_iter().find(|quote| !field.contains([*quote, '\\']))
}

/// A text that a template prints to the letter.
fn literal(text: &str) -> String {
    if text.contains(['{', '\\']) {
        // Braces and backslashes are special in a template, also directly before a tag.
        format!("{{{{base64_decode \"{}\"}}}}", BASE64.encode(text))
    } else {
        text.to_owned()
    }
}

/// Reads a value: a reference as a whole, or a text with references in it.
fn parts(value: &str) -> Result<Vec<Part>, String> {
    match whole(value) {
        Some(reference) => Ok(vec![Part::Reference(reference?)]),
        None => embedded(value),
    }
}

/// `vault:path#field`. A text with neither a slash nor a field is no reference: `vault:8200` is a host and a port.
fn whole(value: &str) -> Option<Result<Reference, String>> {
    let (scheme, rest) = scheme(value)?;
    (rest.contains(['/', '#']) && !rest.starts_with("//")).then(|| reference(scheme, rest))
}

fn scheme(text: &str) -> Option<(&'static str, &str)> {
    let (word, rest) = text.split_once(':')?;
    SCHEMES.into_iter().find(|scheme| *scheme == word).map(|scheme| (scheme, rest))
}

/// Every `${vault:…}` in a text. Other `${…}` are left alone.
fn embedded(text: &str) -> Result<Vec<Part>, String> {
    let (mut parts, mut plain, mut rest) = (Vec::new(), String::new(), text);
    while let Some(at) = rest.find("${") {
        let (before, after) = (&rest[..at], &rest[at + 2..]);
        plain.push_str(before);
        let Some((scheme, _)) = scheme(after) else {
            plain.push_str("${");
            rest = after;
            continue;
        };
        let (inner, behind) = after.split_once('}').ok_or("has a `${` without its `}`")?;
        if !plain.is_empty() {
            parts.push(Part::Text(std::mem::take(&mut plain)));
        }
        parts.push(Part::Reference(reference(scheme, &inner[scheme.len() + 1..])?));
        rest = behind;
    }
    plain.push_str(rest);
    if !plain.is_empty() {
        parts.push(Part::Text(plain));
    }
    Ok(parts)
}

/// `path`, `path#field`, `path?version=3#field`
fn reference(scheme: &'static str, text: &str) -> Result<Reference, String> {
    let pin = if scheme == "aws" { "version_stage=AWSPREVIOUS" } else { "version=3" };
    let malformed = |why: &str| {
        format!(
            "has a malformed reference: {why}; write for example `{scheme}:secret/app#password`, with `?{pin}` before the `#` to pin one"
        )
    };
    let (rest, field) = match text.split_once('#') {
        Some((rest, field)) => (rest, Some(field)),
        None => (text, None),
    };
    let (path, version) = match rest.split_once('?') {
        Some((path, query)) => {
            let version = version(scheme, query).map_err(malformed)?;
            (path, Some(version))
        }
        None => (rest, None),
    };
    if path.trim_matches('/').is_empty() {
        return Err(malformed("it names no path"));
    }
    if path.len() > LONGEST || !path.chars().all(is_of_path) {
        return Err(malformed("its path has characters that no path has, or is too long"));
    }
    if field.is_some_and(|field| {
        field.is_empty()
            || field.contains(|c: char| c.is_control() || matches!(c, '[' | ']' | '{' | '}' | '#'))
            || field.contains(NOT_IN_BRACKETS) && quote_for(field).is_none()
    }) {
        return Err(malformed(
            "the field after `#` is empty, or has `#`, brackets, braces or both kinds of quotes",
        ));
    }
    let path = path.to_owned();
    Ok(Reference { target: Target { scheme, path, version }, field: field.map(str::to_owned) })
}

/// `version=3`; for AWS `version_stage=AWSPREVIOUS` or `version_id=…`
fn version(scheme: &str, query: &str) -> Result<Version, &'static str> {
    let is_word = |word: &str| !word.is_empty() && word.chars().all(is_of_path);
    match (scheme, query.split_once('=')) {
        ("aws", Some(("version", _))) => Err("AWS does not number its versions"),
        ("aws", Some(("version_stage", stage))) if is_word(stage) => Ok(Version::Stage(stage.to_owned())),
        ("aws", Some(("version_id", id))) if is_word(id) => Ok(Version::Id(id.to_owned())),
        ("vault" | "store", Some(("version_stage" | "version_id", _))) => {
            Err("its versions have numbers; stages and ids are of AWS")
        }
        ("vault" | "store", Some(("version", number))) => {
            let number = number.parse().ok().filter(|number| *number > 0);
            number.map(Version::Number).ok_or("what follows `?version=` is no number from 1 on")
        }
        (_, _) => Err("what follows `?` is no version"),
    }
}

/// Whether a path may have this character: others are special in a template, or in the configuration that is made.
fn is_of_path(c: char) -> bool {
    !c.is_whitespace() && !c.is_control() && !matches!(c, '{' | '}' | '"')
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn document(variables: &[(&str, &str)]) -> Result<String, String> {
        let mut references = References::default();
        for (name, value) in variables {
            references.variable(name, value)?;
        }
        Ok(references.document(None))
    }

    #[test]
    fn each_path_is_one_secret_and_each_variable_a_template() {
        let variables = [
            ("PASSWORD", "vault:secret/data/mysql#password"),
            (
                "URL",
                "pg://${vault:database/creds/app#username}:${vault:database/creds/app#password}@db/{{x}}",
            ),
            ("OLD", "vault:secret/mysql?version=3#password"),
            ("ONLY", "store:app/token"),
            ("KEY", "aws:arn:aws:secretsmanager:eu-west-1:1:secret:prod/db#api key"),
            ("QUOTED", "store:app/token#app's (key)"),
            ("PREVIOUS", "aws:/prod/db?version_stage=AWSPREVIOUS#api key"),
            ("PATH", "/bin:/usr/bin"),
            ("VAULT_HOST", "vault:8200"),
            ("LINK", "vault://host/path"),
            ("SHELL_TEXT", "${HOME}/x"),
        ];
        insta::assert_snapshot!(document(&variables).unwrap(), @r#"
        [process.env]
        KEY = "{{ref_5.[api key]}}"
        OLD = "{{ref_3.[password]}}"
        ONLY = "{{only ref_4}}"
        PASSWORD = "{{ref_1.[password]}}"
        PREVIOUS = "{{ref_6.[api key]}}"
        QUOTED = """{{lookup ref_4 "app's (key)"}}"""
        URL = 'pg://{{ref_2.[username]}}:{{ref_2.[password]}}{{base64_decode "QGRiL3t7eH19"}}'

        [secret.ref_1]
        path = "secret/data/mysql"
        source = "vault"

        [secret.ref_2]
        path = "database/creds/app"
        source = "vault"

        [secret.ref_3]
        path = "secret/mysql"
        source = "vault"
        version = 3

        [secret.ref_4]
        path = "app/token"
        source = "store"

        [secret.ref_5]
        path = "arn:aws:secretsmanager:eu-west-1:1:secret:prod/db"
        source = "aws"

        [secret.ref_6]
        path = "/prod/db"
        source = "aws"
        version_stage = "AWSPREVIOUS"

        [source.aws]

        [source.store]

        [source.vault]
        "#);
    }

    #[test]
    fn what_is_malformed_names_the_variable_and_no_value() {
        for value in [
            "vault:secret/app#",
            "vault:#password",
            "vault:secret/app?version=x#password",
            "vault:secret/app?version=0#password",
            "vault:secret/a b#password",
            "vault:secret/app?version_id=1#password",
            "aws:secret/app?version=3#password",
            "aws:secret/app?version_stage=${STAGE}#password",
            "x${vault:secret/app#password",
            "x${vault:}",
            "${vault:secret/app#a[b}",
        ] {
            let error = document(&[("NAME", value)]).unwrap_err();
            assert!(error.starts_with("the environment variable NAME has a "), "{value}: {error}");
        }
    }

    proptest! {
        #[test]
        fn no_value_is_too_strange(value in "\\PC*|[$}{:#?/a-z]*|(vault|aws|store):[$}{:#?/a-z=]*") {
            drop(document(&[("NAME", &value)]));
        }

        #[test]
        fn text_stays_what_it_was(value in "[a{}\\\\\"#$ ]{0,20}") {
            let template = crate::template::Template::compile("test", &literal(&value)).unwrap();
            let engine = crate::template::Engine::new(crate::template::Surroundings {
                env: Box::new(|_| None),
                file: Box::new(|_| Err(std::io::ErrorKind::NotFound.into())),
            });
            let data = crate::template::Data::new(std::iter::empty());
            let rendered = engine.render(&template, &data).unwrap();
            prop_assert_eq!(rendered.expose(), value);
        }
    }
}
