//! The query of a request: the few keys that the API of secrets has.
//!
//! *Invariant:* pure. A key that would make another operation of a request (`list`, `scan`) is understood as the server understands it, or
//! refused; each key stands once.

use super::Refusal;

/// A query that may go on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Query {
    /// As it was sent; `None` if there was none.
    pub(super) text: Option<String>,
    /// It makes a list of a read.
    pub(super) lists: bool,
}

const KEYS: [&str; 7] = ["list", "version", "help", "after", "limit", "depth", "detailed"];

/// What the server takes for true.
const TRUE: [&str; 6] = ["1", "t", "T", "TRUE", "true", "True"];

impl Query {
    /// Reads a query. Keys are plain text: an encoded one is somebody's disguise.
    pub(super) fn read(text: &str) -> Result<Self, Refusal> {
        let mut seen = Vec::new();
        let mut lists = false;
        for part in text.split('&').filter(|part| !part.is_empty()) {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            if !KEYS.contains(&key) || seen.contains(&key) || !value.chars().all(is_plain) {
                return Err(Refusal::Query);
            }
            lists |= key == "list" && TRUE.contains(&value);
            seen.push(key);
        }
        Ok(Self { text: Some(text.to_owned()).filter(|text| !text.is_empty()), lists })
    }
}

/// A semicolon parts two keys for some readers.
fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '~' | '%' | '/' | '+')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_known_as_the_server_knows_it_and_other_keys_end_here() {
        for (text, lists) in [
            ("", false),
            ("list=true", true),
            ("list=1", true),
            ("list=T", true),
            ("list=false", false),
            ("list", false),
            ("version=3", false),
            ("version=3&list=true", true),
            ("list=true&after=a%20b&limit=5", true),
        ] {
            assert_eq!(Query::read(text).map(|query| query.lists), Ok(lists), "{text}");
        }
        for text in [
            "scan=true",
            "li%73t=true",
            "list=false&list=true",
            "a;list=true",
            "version=3;list=true",
            "List=true",
            "x",
        ] {
            assert_eq!(Query::read(text), Err(Refusal::Query), "{text}");
        }
    }

    #[test]
    fn the_refusal_names_each_key_that_is_passed_on() {
        let message = Refusal::Query.to_string();
        let words: Vec<&str> = message.split([' ', ',']).collect();
        for key in KEYS {
            assert!(words.contains(&key), "{message}: {key} is passed on");
        }
    }
}
