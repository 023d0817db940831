//! What others wrote, without the secrets in it: the end of a check's output goes into the log.
//!
//! *Invariant:* pure. No value that is given is left in the text, as it is or as JSON, base64 or a URL would write it.

use std::collections::BTreeSet;

use aho_corasick::{AhoCorasick, MatchKind};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use crate::plain::plain;
use crate::secret::{Fields, Secret};

/// Shorter ones are found in any text, and masking them would only tell where they are.
const SHORTEST: usize = 4;
/// A line of a key or a certificate that is shorter than this is no secret by itself.
const SHORTEST_LINE: usize = 8;

const MASK: &str = "***";

/// The text as a log may have it: readable, on one line, every value masked. Where that cannot be, nothing.
pub fn masked<'a>(text: &[u8], secrets: impl IntoIterator<Item = &'a Secret<Fields>>) -> String {
    let mut forms = BTreeSet::new();
    for fields in secrets {
        fields.expose().values().for_each(|value| gather(value, &mut forms));
    }
    let text = String::from_utf8_lossy(text);
    let search = AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(&forms);
    let Ok(search) = search else { return String::new() };
    let masked = search.replace_all(&text, &vec![MASK; forms.len()]);
    let lines: Vec<_> = masked.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    plain(&lines.join(" | ").replace('\t', " ")).into_owned()
}

fn gather(value: &Value, forms: &mut BTreeSet<String>) {
    match value {
        Value::String(text) => gather_text(text, forms),
        Value::Number(number) => gather_text(&number.to_string(), forms),
        Value::Array(items) => items.iter().for_each(|item| gather(item, forms)),
        Value::Object(fields) => fields.values().for_each(|field| gather(field, forms)),
        Value::Null | Value::Bool(_) => {}
    }
}

fn gather_text(text: &str, forms: &mut BTreeSet<String>) {
    if text.trim().len() < SHORTEST {
        return;
    }
    let json = Value::from(text).to_string();
    forms.extend([
        text.to_owned(),
        text.trim().to_owned(),
        json.trim_matches('"').to_owned(),
        STANDARD.encode(text),
        STANDARD_NO_PAD.encode(text),
        URL_SAFE_NO_PAD.encode(text),
        utf8_percent_encode(text, NON_ALPHANUMERIC).to_string(),
    ]);
    forms.extend(text.lines().map(str::trim).filter(|line| line.len() >= SHORTEST_LINE).map(str::to_owned));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn secret(value: &str) -> Secret<Fields> {
        Secret::new(Fields::from_iter([("password".to_owned(), Value::from(value))]))
    }

    #[test]
    fn a_value_is_masked_in_every_form() {
        let cases = [
            ("hunter2", "login failed for hunter2!", "login failed for ***!"),
            ("hunter2", "hunter2hunter2", "******"),
            ("p\"w\n1", r#"{"p": "p\"w\n1"}"#, r#"{"p": "***"}"#),
            ("p/w 12", "postgres://app:p%2Fw%2012@db", "postgres://app:***@db"),
            ("hunter2", "aHVudGVyMg== aHVudGVyMg", "*** ***"),
            ("-----BEGIN-----\nMIIEvQIBADANBg\n", "in MIIEvQIBADANBg: bad key", "in ***: bad key"),
            ("abc", "abc is too short to be told from words", "abc is too short to be told from words"),
            ("hunter2", "one\n\n  two\u{7}\n", "one | two\\u{7}"),
        ];
        for (value, text, expected) in cases {
            assert_eq!(masked(text.as_bytes(), &[secret(value)]), expected, "{text}");
        }
    }

    #[test]
    fn the_longer_of_two_values_is_masked_whole() {
        let secrets = [secret("hunter2"), secret("hunter2and3")];
        assert_eq!(masked(b"hunter2and3", &secrets), "***");
    }

    proptest! {
        #[test]
        fn no_value_remains(value in "[ -~]{4,20}", before in "[ -~]{0,20}", after in "[ -~]{0,20}") {
            prop_assume!(value.trim().len() >= SHORTEST && !MASK.contains(value.trim()));
            let text = format!("{before}\n{value}\n{after}");
            prop_assume!(!before.contains('*') && !after.contains('*') && !value.contains('*'));
            prop_assert!(!masked(text.as_bytes(), &[secret(&value)]).contains(value.trim()));
        }
    }
}
