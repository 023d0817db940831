//! The path of a secret: an environment, and a path in it.
//!
//! *Invariant:* pure. A [`SecretPath`] was checked, so no other module checks the text again.

use std::fmt;

/// A longer path is a mistake.
const LONGEST: usize = 512;
/// A longer name is a mistake.
const LONGEST_NAME: usize = 64;

/// The path of a secret: `prod/app/db`. The first segment is the environment.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SecretPath {
    text: String,
    environment: usize,
}

impl SecretPath {
    /// Reads a path.
    ///
    /// # Errors
    /// What is wrong with it, as a predicate.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > LONGEST {
            return Err(format!("is longer than {LONGEST} bytes"));
        }
        let Some((environment, _)) = text.split_once('/') else {
            return Err(
                "names no environment; begin with it, as in `dev/app/db`, where `dev` is the environment"
                    .to_owned(),
            );
        };
        environment_name(environment)?;
        if let Some(bad) = text.chars().find(|char| !is_plain(*char) && *char != '/') {
            return Err(format!("contains {bad:?}; letters, digits and `. _ - + ~ :` are possible"));
        }
        if text.split('/').any(|segment| matches!(segment, "" | "." | "..")) {
            return Err("has an empty segment, `.` or `..`; write `environment/name/…`".to_owned());
        }
        Ok(Self { text: text.to_owned(), environment: environment.len() })
    }

    /// The name of the environment.
    pub fn environment(&self) -> &str {
        self.text.get(..self.environment).unwrap_or_default()
    }

    /// The whole path.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for SecretPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Whether this can be the name of an environment, a role or a field of a generator.
///
/// # Errors
/// What is wrong with it, as a predicate.
pub(super) fn environment_name(text: &str) -> Result<(), String> {
    if text.is_empty() || text.len() > LONGEST_NAME {
        return Err(format!("has no name of 1 to {LONGEST_NAME} characters before the first `/`"));
    }
    word(text)
}

/// Whether this can be the name of a hook.
///
/// # Errors
/// What is wrong with it, as a predicate.
pub(super) fn word(text: &str) -> Result<(), String> {
    if text.is_empty() || text.len() > LONGEST_NAME {
        return Err(format!("has no name of 1 to {LONGEST_NAME} characters"));
    }
    let bad = |char: &char| !char.is_ascii_alphanumeric() && !matches!(char, '-' | '_');
    match text.chars().find(bad) {
        Some(bad) => Err(format!("has {bad:?} in a name; letters, digits, `-` and `_` are possible")),
        None => Ok(()),
    }
}

fn is_plain(char: char) -> bool {
    char.is_ascii_alphanumeric() || matches!(char, '.' | '_' | '-' | '+' | '~' | ':')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_segment_is_the_environment() {
        let path = SecretPath::parse("prod/app/db.main").unwrap();
        assert_eq!((path.environment(), path.as_str()), ("prod", "prod/app/db.main"));
    }

    #[test]
    fn what_is_no_path_is_refused_with_a_reason() {
        for (text, reason) in [
            ("", "no environment"),
            ("app", "no environment"),
            ("/app", "no name"),
            ("dev/", "empty segment"),
            ("dev//db", "empty segment"),
            ("dev/../db", "`..`"),
            ("dev/a b", "' '"),
            ("dev/*", "'*'"),
            ("dev/a#b", "'#'"),
            ("de.v/a", "'.'"),
            ("dev/ü", "'ü'"),
        ] {
            let error = SecretPath::parse(text).unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
        assert!(SecretPath::parse(&format!("dev/{}", "x".repeat(LONGEST))).is_err());
    }
}
