//! Helpers for files of environment variables, whose grammars look alike and are not: the same quotes mean three things to Docker Compose,
//! to systemd, and to a shell (`shell`).
//!
//! *Invariant:* no text can leave the quotes that it is put in, and nothing in it is expanded.

use std::fmt::Write as _;

use serde_json::Value;

use super::carry::{Ban, NUL, each, escaped};
use super::{Arguments, Complaint};

/// The value of a variable in a file for Docker Compose (`.env`, `env_file`): compose-go's grammar, in double quotes.
pub(super) fn compose_env(arguments: &Arguments<'_>) -> Result<Value, Complaint> {
    let text = arguments.text_without(0, &[NUL])?;
    let mut quoted = String::from("\"");
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            // Its older parsers take the quote after two backslashes for an escaped one. All know octal numbers.
            '\\' if matches!(rest.peek(), None | Some('"')) => quoted.push_str("\\0134"),
            '\\' => quoted.push_str("\\\\"),
            '"' => quoted.push_str("\\\""),
            '$' => quoted.push_str("$$"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    Ok(quoted.into())
}

/// systemd ignores the whole file for such a character.
const NONCHARACTER: Ban = Ban::new("a code point that is no character", |text| {
    text.contains(|c: char| matches!(c, '\u{fdd0}'..='\u{fdef}') || u32::from(c) & 0xfffe == 0xfffe)
});

/// The value of a variable in an `EnvironmentFile=` of systemd: in double quotes, where it knows a few escapes and keeps line breaks.
pub(super) fn systemd_env(arguments: &Arguments<'_>) -> Result<Value, Complaint> {
    let text = arguments.text_without(0, &[NUL, NONCHARACTER])?;
    Ok(format!("\"{}\"", escaped(&text, &['"', '\\', '`', '$'])).into())
}

/// The name of a variable, as it is: anything else in its place could be a line of its own.
pub(super) fn env_name(arguments: &Arguments<'_>) -> Result<Value, Complaint> {
    let text = arguments.text(0)?;
    let is_name = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if is_name {
        return Ok(text.into());
    }
    Err(arguments.refuse(0, "other characters than letters, digits and `_`"))
}

/// A text of `java.util.Properties`, for a key and for a value: ASCII, with everything escaped that can mean something in either place.
pub(super) fn properties(arguments: &Arguments<'_>) -> Result<Value, Complaint> {
    let written = each(&arguments.text(0)?, |c, written| match c {
        '\n' => written.push_str("\\n"),
        '\r' => written.push_str("\\r"),
        '\t' => written.push_str("\\t"),
        '\\' | ' ' | '=' | ':' | '#' | '!' => written.extend(['\\', c]),
        '!'..='~' => written.push(c),
        // Writing to a `String` cannot fail.
        c => c
            .encode_utf16(&mut [0; 2])
            .iter()
            .for_each(|unit| write!(written, "\\u{unit:04x}").unwrap_or_default()),
    });
    Ok(written.into())
}
