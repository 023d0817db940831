//! Masks secrets in output of other programs: the end of a check's output goes into the log.
//!
//! The adversary is a program written in a hurry: it prints its configuration, its command line or the header that was refused. So values
//! are searched for in the forms in which programs write them, and so are the lines that were rendered from them.
//!
//! *Invariant:* pure. No given value is left in the text: neither as it is, nor in upper or lower case, nor as JSON, HTML, a shell, a URL,
//! hexadecimal digits or base64 would write it; in base64 also within a longer text.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::ops::Range;

use aho_corasick::{AhoCorasick, MatchKind};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use crate::plain::plain;
use crate::secret::{Fields, Secret};

/// Shorter values occur in any text, and masking them would only show where they are.
const SHORTEST: usize = 4;
/// A line of a key, a certificate or a rendered file that is shorter than this is not masked as a line.
const SHORTEST_LINE: usize = 8;

const MASK: &str = "***";

/// Characters that are not escaped in a URL: by RFC 3986, by Python's `quote`, by JavaScript's `encodeURIComponent`.
const URLS: [AsciiSet; 4] = [
    NON_ALPHANUMERIC.add(b'%'),
    NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~'),
    NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/'),
    NON_ALPHANUMERIC
        .remove(b'-')
        .remove(b'.')
        .remove(b'_')
        .remove(b'~')
        .remove(b'!')
        .remove(b'*')
        .remove(b'\'')
        .remove(b'(')
        .remove(b')'),
];

/// The text for the log: readable, on one line, with every value and every rendered line masked. If that is not possible, the text is
/// empty.
pub fn masked<'a>(
    text: &[u8],
    secrets: impl IntoIterator<Item = &'a Secret<Fields>>,
    rendered: impl IntoIterator<Item = &'a str>,
) -> String {
    let mut forms = Forms::default();
    for fields in secrets {
        fields.expose().values().for_each(|value| forms.gather(value));
    }
    rendered.into_iter().for_each(|line| forms.gather_line(line));
    let text = String::from_utf8_lossy(text);
    let Some(masked) = forms.mask(&text) else { return String::new() };
    let lines: Vec<_> = masked.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    plain(&lines.join(" | ").replace('\t', " ")).into_owned()
}

/// The texts to search for.
#[derive(Default)]
struct Forms {
    plain: BTreeSet<String>,
    /// Parts of base64 texts that encode a value and more.
    base64: BTreeSet<String>,
}

impl Forms {
    fn gather(&mut self, value: &Value) {
        match value {
            Value::String(text) => self.gather_text(text),
            Value::Number(number) => self.gather_text(&number.to_string()),
            Value::Array(items) => items.iter().for_each(|item| self.gather(item)),
            Value::Object(fields) => fields.values().for_each(|field| self.gather(field)),
            Value::Null | Value::Bool(_) => {}
        }
    }

    fn gather_text(&mut self, text: &str) {
        if text.trim().len() < SHORTEST {
            return;
        }
        for text in [text, text.trim()] {
            self.plain.extend(written(text));
            self.base64.extend(within_base64(text));
        }
        text.lines().for_each(|line| self.gather_line(line));
    }

    fn gather_line(&mut self, line: &str) {
        let line = line.trim();
        if line.len() >= SHORTEST_LINE {
            self.plain.extend([line.to_owned(), json(line)]);
        }
    }

    /// `None` if there are too many texts to search for.
    fn mask(&self, text: &str) -> Option<String> {
        let patterns = || self.plain.iter().chain(&self.base64);
        let mut builder = AhoCorasick::builder();
        let search = builder.match_kind(MatchKind::LeftmostLongest).ascii_case_insensitive(true);
        let search = search.build(patterns()).ok()?;
        let mut spans: Vec<Range<usize>> = Vec::new();
        let mut from = 0;
        while let Some(found) = search.find(aho_corasick::Input::new(text).range(from..)) {
            let is_part = found.pattern().as_usize() >= self.plain.len();
            let span = if is_part { whole_run(text, found.range()) } else { found.range() };
            from = span.end;
            match spans.last_mut() {
                // Two masks that touch become one, so that nobody sees where one value ends and the next begins.
                Some(last) if span.start <= last.end => last.end = span.end,
                _ => spans.push(span),
            }
        }
        Some(without(text, &spans))
    }
}

/// The forms in which a value is written, except base64.
fn written(text: &str) -> impl IntoIterator<Item = String> {
    let hex = text.bytes().fold(String::new(), |mut hex, byte| {
        // Writing to a `String` cannot fail.
        write!(hex, "{byte:02x}").unwrap_or_default();
        hex
    });
    let mut forms = vec![text.to_owned(), json(text), html(text, "&#39;"), html(text, "&#x27;"), hex];
    // In single quotes, and with backslashes.
    forms.push(text.replace('\'', r"'\''"));
    forms.push(text.chars().flat_map(escaped).collect());
    forms.extend(URLS.iter().map(|set| utf8_percent_encode(text, set).to_string()));
    forms.extend(URLS.iter().map(|set| utf8_percent_encode(text, set).to_string().replace("%20", "+")));
    forms
}

fn json(text: &str) -> String {
    let quoted = Value::from(text).to_string();
    quoted.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(&quoted).to_owned()
}

fn html(text: &str, quote: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', quote)
}

/// As `printf %q` of a shell writes it.
fn escaped(c: char) -> impl Iterator<Item = char> {
    let is_plain = c.is_alphanumeric() || "_-./:=@%+,".contains(c);
    (!is_plain).then_some('\\').into_iter().chain([c])
}

/// The base64 digits that every longer text with this value in it has in common: one form for each position modulo three, without the
/// digits that neighbours change.
fn within_base64(text: &str) -> impl Iterator<Item = String> {
    let encoded = |offset: usize| {
        let shifted = [vec![0; offset], text.as_bytes().to_vec()].concat();
        // With this many bytes before the value, the first `before` digits also depend on those bytes; and the last digit may depend on
        // what follows.
        let (before, whole) = ((offset * 8).div_ceil(6), shifted.len() * 8 / 6);
        [STANDARD_NO_PAD.encode(&shifted), URL_SAFE_NO_PAD.encode(&shifted)]
            .map(|encoded| encoded.get(before..whole).unwrap_or_default().to_owned())
    };
    (0..3).flat_map(encoded).filter(|part| part.len() >= SHORTEST)
}

/// All of the base64 text around this part, so that nobody sees where the value begins and ends.
fn whole_run(text: &str, part: Range<usize>) -> Range<usize> {
    let is_digit = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/-_=".contains(byte);
    let before = text.as_bytes()[..part.start].iter().rev().take_while(|byte| is_digit(byte)).count();
    let after = text.as_bytes()[part.end..].iter().take_while(|byte| is_digit(byte)).count();
    part.start - before..part.end + after
}

fn without(text: &str, spans: &[Range<usize>]) -> String {
    let mut masked = String::new();
    let mut from = 0;
    for span in spans {
        masked.push_str(text.get(from..span.start).unwrap_or_default());
        masked.push_str(MASK);
        from = span.end;
    }
    masked.push_str(text.get(from..).unwrap_or_default());
    masked
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
            ("hunter2", "hunter2hunter2", "***"),
            ("hunter2", "HUNTER2 Hunter2", "*** ***"),
            ("hunter2", "0x68756e74657232, 68756E74657232", "0x***, ***"),
            ("it's", r"PASSWORD='it'\''s'", "PASSWORD='***'"),
            ("a b$c!", r"export P=a\ b\$c\!", "export P=***"),
            ("<p&'\">", "<td>&lt;p&amp;&#39;&quot;&gt;</td>", "<td>***</td>"),
            ("a-b/c d", "GET /?p=a-b%2Fc+d and a-b/c%20d", "GET /?p=*** and ***"),
            // `user:password`, with the text that a header has before and after it, at each position modulo three.
            ("hunter2", "Authorization: Basic dTpodW50ZXIy", "Authorization: Basic ***"),
            ("hunter2", "Authorization: Basic dXM6aHVudGVyMg==", "Authorization: Basic ***"),
            ("hunter2", "Authorization: Basic dXNlOmh1bnRlcjI=", "Authorization: Basic ***"),
            ("hunter2", "token dXNlOmh1bnRlcjI6eHh4eHh4 refused", "token *** refused"),
            ("p\"w\n1", r#"{"p": "p\"w\n1"}"#, r#"{"p": "***"}"#),
            ("p/w 12", "postgres://app:p%2Fw%2012@db", "postgres://app:***@db"),
            ("hunter2", "aHVudGVyMg== aHVudGVyMg", "*** ***"),
            ("-----BEGIN-----\nMIIEvQIBADANBg\n", "in MIIEvQIBADANBg: bad key", "in ***: bad key"),
            ("abc", "abc is too short to be told from words", "abc is too short to be told from words"),
            ("hunter2", "one\n\n  two\u{7}\n", "one | two\\u{7}"),
        ];
        for (value, text, expected) in cases {
            assert_eq!(masked(text.as_bytes(), &[secret(value)], []), expected, "{text}");
        }
    }

    #[test]
    fn what_was_rendered_is_masked_line_by_line() {
        let rendered = ["db = postgres://app:x@db", "  sha = 1f2e3d4c5b6a", "short"];
        let said =
            b"line 2: sha = 1f2e3d4c5b6a: not allowed, short; {\"line\": \"db = postgres://app:x@db\"}";
        assert_eq!(masked(said, &[], rendered), "line 2: ***: not allowed, short; {\"line\": \"***\"}");
    }

    #[test]
    fn the_longer_of_two_values_is_masked_whole() {
        let secrets = [secret("hunter2"), secret("hunter2and3")];
        assert_eq!(masked(b"hunter2and3", &secrets, []), "***");
    }

    proptest! {
        #[test]
        fn no_value_remains(value in "[ -~]{4,20}", before in "[ -~]{0,20}", after in "[ -~]{0,20}") {
            prop_assume!(value.trim().len() >= SHORTEST && !MASK.contains(value.trim()));
            let text = format!("{before}\n{value}\n{after}");
            prop_assume!(!before.contains('*') && !after.contains('*') && !value.contains('*'));
            prop_assert!(!masked(text.as_bytes(), &[secret(&value)], []).contains(value.trim()));
        }

        /// Headers with several users and endings: no base64 text with a value in it is left.
        #[test]
        fn no_base64_of_more_than_a_value_remains(value in "[ -~]{5,20}", before in "[ -~]{0,9}", after in "[ -~]{0,9}") {
            prop_assume!(value.trim().len() >= 5);
            let header = STANDARD_NO_PAD.encode(format!("{before}{value}{after}"));
            let masked = masked(format!("Basic {header}, refused").as_bytes(), &[secret(&value)], []);
            prop_assert_eq!(masked, "Basic ***, refused");
        }
    }
}
