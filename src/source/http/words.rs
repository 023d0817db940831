//! The server's own error messages, made harmless to show.
//!
//! *Invariant:* only texts of `errors` are shown; at most 300 characters, all of them plain.

use serde::Deserialize;

use crate::plain::plain;

/// The largest number of characters that are shown.
const SHOWN: usize = 300;

#[derive(Deserialize)]
struct Errors {
    errors: Option<Vec<String>>,
}

/// The text of `errors` in a JSON body; `None` if there is none, or it is empty.
pub(crate) fn words(body: &[u8]) -> Option<String> {
    let errors = serde_json::from_slice::<Errors>(body).ok()?.errors?;
    let joined = errors.join("; ");
    let printable =
        joined.split(|c: char| c.is_control() || c.is_whitespace()).filter(|word| !word.is_empty());
    let line = plain(&printable.collect::<Vec<_>>().join(" ")).into_owned();
    match line.char_indices().nth(SHOWN) {
        _ if line.is_empty() => None,
        None => Some(line),
        Some((end, _)) => Some(format!("{}…", &line[..end])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_errors_are_shown_in_one_line() {
        let cases = [
            (r#"{"errors":["Vault is sealed"]}"#, Some("Vault is sealed")),
            (
                r#"{"errors":["1 error occurred:\n\t* no\u001b[31m\n\n","b"]}"#,
                Some("1 error occurred: * no [31m ; b"),
            ),
            (r#"{"errors":[]}"#, None),
            (r#"{"errors":null,"data":{"password":"hunter2"}}"#, None),
            (r#"{"errors":{"password":"hunter2"}}"#, None),
            ("<html>", None),
            ("", None),
        ];
        for (body, expected) in cases {
            assert_eq!(words(body.as_bytes()).as_deref(), expected, "{body}");
        }
    }

    #[test]
    fn long_words_are_cut_between_characters() {
        let body = format!(r#"{{"errors":["{}"]}}"#, "ä".repeat(1000));
        assert_eq!(words(body.as_bytes()).unwrap(), "ä".repeat(300) + "…");
    }
}
