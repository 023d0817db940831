//! Helpers for files of lines: options, passwords, tokens.
//!
//! *Invariant:* a text stays in its line and in its place there, or the helper refuses it.

use serde_json::Value;

use super::carry::{Ban, CONTROL, LINE_BREAK, NUL, OUTER_SPACE, SPACE, each, escaped};
use super::{Arguments, Complaint};

/// As it is, on one line.
pub(super) fn line(arguments: &Arguments<'_>) -> Result<Value, Complaint> {
    Ok(arguments.text_without(0, &[NUL, LINE_BREAK])?.into())
}

/// As it is, one word; without the characters of the second text either.
pub(super) fn word(arguments: &Arguments<'_>) -> Result<Value, Complaint> {
    let word = arguments.text_without(0, &[SPACE, CONTROL])?;
    if word.is_empty() {
        return Err(arguments.refuse(0, "nothing in it"));
    }
    if arguments.count_of_values() > 1
        && let Some(c) = arguments.text(1)?.chars().find(|c| word.contains(*c))
    {
        return Err(arguments.refuse(0, &format!("`{c}` in it")));
    }
    Ok(word.into())
}

/// The value of an INI file whose reader takes it as it is: Python's `RawConfigParser`, libpq's service file.
pub(super) fn ini(arguments: &Arguments<'_>) -> Result<Value, Complaint> {
    Ok(arguments.text_without(0, &[NUL, LINE_BREAK, OUTER_SPACE])?.into())
}

/// The value of an INI file for Python's `ConfigParser`, which interpolates `%`.
pub(super) fn configparser(arguments: &Arguments<'_>) -> Result<Value, Complaint> {
    Ok(arguments.text_without(0, &[NUL, LINE_BREAK, OUTER_SPACE])?.replace('%', "%%").into())
}

/// A field of libpq's password file. A `*` alone would be any value, and a `#` at the beginning a comment.
pub(super) fn pgpass(arguments: &Arguments<'_>) -> Result<Value, Complaint> {
    Ok(escaped(&arguments.text_without(0, &[NUL, LINE_BREAK])?, &['\\', ':', '*', '#']).into())
}

/// MySQL's programs read lines of 4095 bytes, and take the rest of a longer one for another line. Each byte may need two.
const TOO_LONG: Ban = Ban::new("more than 1900 bytes", |text| text.len() > 1900);

/// The value of an option in a `my.cnf`, for the programs of MySQL and MariaDB: in double quotes.
pub(super) fn my_cnf(arguments: &Arguments<'_>) -> Result<Value, Complaint> {
    let quoted = each(&arguments.text_without(0, &[NUL, TOO_LONG])?, |c, written| match c {
        '\n' => written.push_str("\\n"),
        '\r' => written.push_str("\\r"),
        '\t' => written.push_str("\\t"),
        '\\' | '"' => written.extend(['\\', c]),
        c => written.push(c),
    });
    Ok(format!("\"{quoted}\"").into())
}

/// A word of a `.netrc`: in double quotes where it needs them, since readers before curl 7.84 and Python 3.11 know none.
pub(super) fn netrc(arguments: &Arguments<'_>) -> Result<Value, Complaint> {
    let text = arguments.text_without(0, &[NUL, LINE_BREAK])?;
    let is_special = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '"' | '\\' | '#');
    if text.is_empty() || text.contains(is_special) {
        return Ok(format!("\"{}\"", escaped(&text, &['"', '\\'])).into());
    }
    Ok(text.into())
}

/// npm puts the value of a variable there.
const VARIABLE: Ban = Ban::new("`${`", |text| text.contains("${"));

/// A value of an `.npmrc`: a text of JSON, which npm trims after it has read it.
pub(super) fn npmrc(arguments: &Arguments<'_>) -> Result<Value, Complaint> {
    let text = arguments.text_without(0, &[NUL, OUTER_SPACE, VARIABLE])?;
    Ok(Value::from(text.as_ref()).to_string().into())
}

/// A value in the `sasl.jaas.config` of Kafka's clients, in its quotes. Where that is in a file of properties, `properties` is put around it.
pub(super) fn jaas(arguments: &Arguments<'_>) -> Result<Value, Complaint> {
    let quoted = each(&arguments.text_without(0, &[NUL])?, |c, written| match c {
        '\n' => written.push_str("\\n"),
        '\r' => written.push_str("\\r"),
        '\\' | '"' => written.extend(['\\', c]),
        c => written.push(c),
    });
    Ok(format!("\"{quoted}\"").into())
}
