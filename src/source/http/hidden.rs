//! Takes what a request must not show again out of the answer to it.
//!
//! *Invariant:* pure. In the body of an answer no credential is left that was sent, neither as it is nor as JSON writes it, also where that
//! repeats a request as a text.

use crate::secret::Secret;

/// One that is shorter stands in any text.
const SHORTEST: usize = 4;

/// The body without any of these. What is no text is not shown to anybody.
pub(super) fn without(body: Vec<u8>, credentials: &[Secret<str>]) -> Vec<u8> {
    let long = credentials.iter().map(Secret::expose).filter(|text| text.len() >= SHORTEST);
    long.fold(body, |body, text| {
        let once = quoted(text);
        let twice = quoted(&once);
        [&twice, &once, text].into_iter().fold(body, replaced)
    })
}

/// As JSON writes it within its quotes.
fn quoted(text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default().to_owned()
}

fn replaced(body: Vec<u8>, wanted: &str) -> Vec<u8> {
    match str::from_utf8(&body) {
        Ok(text) if text.contains(wanted) => text.replace(wanted, "***").into_bytes(),
        Ok(_) | Err(_) => body,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sent_is_in_no_answer_that_is_shown() {
        let credentials = ["s.canary", "a\"b\\c", "é\u{1}xy", "abc", ""].map(Secret::new);
        for (body, expected) in [
            ("", ""),
            ("nothing", "nothing"),
            ("s.canary", "***"),
            ("no s.canarys.canary: s.canar", "no ******: s.canar"),
            (r#"{"errors":["bad a\"b\\c"]}"#, r#"{"errors":["bad ***"]}"#),
            (r#"{"errors":["{\"password\":\"a\\\"b\\\\c\"}"]}"#, r#"{"errors":["{\"password\":\"***\"}"]}"#),
            (r#"raw a"b\c"#, "raw ***"),
            (r#""é\u0001xy""#, r#""***""#),
            ("abc stays", "abc stays"),
        ] {
            let shown = without(body.as_bytes().to_vec(), &credentials);
            assert_eq!(String::from_utf8(shown).unwrap(), expected, "{body}");
        }
    }
}
