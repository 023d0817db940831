//! Makes text from outside harmless on a terminal and in a log.
//!
//! A note, an error message of a command or of a server may hold characters that move the cursor, forge a line, or turn the direction of
//! writing. A character that a reader cannot see is written as its code: `\u{1b}`.
//!
//! *Invariant:* pure. No control, format or separator character is left, and letters of every language stay as they are.

use std::borrow::Cow;
use std::fmt::Write;

/// The text, harmless on one line.
pub fn plain(text: &str) -> Cow<'_, str> {
    replaced(text, |shown, c| write!(shown, "{}", c.escape_debug()))
}

/// A name from outside, harmless and shortened: whoever chooses it must not fill the log with it.
pub fn short(name: &str) -> String {
    const LONGEST: usize = 80;
    match name.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", plain(name.get(..end).unwrap_or_default())),
        None => plain(name).into_owned(),
    }
}

/// A JSON document with the same meaning, in bytes that have no effect on a terminal.
pub fn plain_json(document: &str) -> Cow<'_, str> {
    // Outside of strings, JSON has no such character. Inside strings, each may be written as a number.
    replaced(document, |shown, c| {
        c.encode_utf16(&mut [0; 2]).iter().try_for_each(|unit| write!(shown, "\\u{unit:04x}"))
    })
}

fn replaced(text: &str, replace: impl Fn(&mut String, char) -> std::fmt::Result) -> Cow<'_, str> {
    if text.chars().all(is_seen) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if is_seen(c) {
            shown.push(c);
        } else {
            // Writing to a `String` cannot fail.
            replace(&mut shown, c).ok();
        }
    }
    Cow::Owned(shown)
}

/// Whether a reader sees this character. The standard library writes as `\u{…}` every character that is no letter, mark, digit or sign:
/// controls, formats such as those for directions, separators other than the space, and unassigned characters.
pub fn is_seen(c: char) -> bool {
    !c.is_control() && (c.is_alphanumeric() || c.escape_debug().len() <= 2)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Characters of zero width, joiners and directions; separators; invisible signs; the byte order mark.
    const ACTING: [std::ops::RangeInclusive<char>; 4] =
        ['\u{200b}'..='\u{200f}', '\u{2028}'..='\u{202e}', '\u{2060}'..='\u{206f}', '\u{feff}'..='\u{feff}'];

    #[test]
    fn what_cannot_be_seen_is_written_as_what_it_is() {
        for (text, shown) in [
            ("Zürich 東京 ñ'\"\\", "Zürich 東京 ñ'\"\\"),
            ("a\nb\tc", "a\\nb\\tc"),
            ("\u{1b}[31m", "\\u{1b}[31m"),
            ("\u{9b}2J", "\\u{9b}2J"),
            ("x\u{202e}y\u{2066}z", "x\\u{202e}y\\u{2066}z"),
            ("a\u{200b}b\u{2028}c\u{feff}", "a\\u{200b}b\\u{2028}c\\u{feff}"),
        ] {
            assert_eq!(plain(text), shown);
        }
    }

    proptest! {
        #[test]
        fn nothing_that_acts_is_left(text in "\\PC{0,20}|.{0,20}|[\u{0}-\u{2fff}]{0,20}") {
            let shown = plain(&text);
            let acts = |c: char| c.is_control() || ACTING.iter().any(|range| range.contains(&c));
            prop_assert!(!shown.chars().any(acts));
            prop_assert_eq!(plain(&shown), shown.as_ref());
        }

        #[test]
        fn a_json_document_means_the_same(text in any::<String>(), other in "[\u{0}-\u{2fff}\u{e0000}-\u{e00ff}]{0,20}") {
            let value = serde_json::json!({ text: other });
            let document = value.to_string();
            let shown = plain_json(&document);
            prop_assert!(shown.chars().all(is_seen));
            prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), value);
        }
    }
}
