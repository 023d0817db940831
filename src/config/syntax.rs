//! Turns the errors of the TOML parser into problems.
//!
//! *Invariant:* contains nothing of keys and values that were read.

use std::collections::BTreeSet;

use toml::Spanned;
use toml::de::{DeTable, DeValue, Error};

use super::Problem;
use super::foreign::recognized;
use super::reader::Reader;

/// What is wrong with the text, and how much of the rest can be trusted.
#[derive(Default)]
pub(super) struct Damage {
    /// One problem for each line; a second one on the same line is usually a consequence of the first.
    pub(super) problems: Vec<Problem>,
    /// Lines with a value that the parser had to make up.
    pub(super) lines: BTreeSet<usize>,
    /// Whether the rest of the document was read correctly. A broken value does not affect its neighbours. An open bracket does: keys that
    /// then seem to be missing may well be there.
    pub(super) is_contained: bool,
}

impl Damage {
    /// Sorts the parser's errors.
    pub(super) fn assess(
        text: &str,
        tree: &DeTable<'_>,
        mut errors: Vec<Error>,
        reader: &Reader<'_>,
    ) -> Self {
        let start = |error: &Error| error.span().map_or(text.len(), |span| span.start);
        errors.sort_by_key(start);
        if let Some((line, message)) = recognized(text).filter(|_| !errors.is_empty()) {
            let offset = text.lines().take(line - 1).map(|line| line.len() + 1).sum();
            let problems = vec![Problem::new(reader.place(offset, String::new()), message)];
            return Self { problems, ..Self::default() };
        }
        let mut damage = Self { is_contained: true, ..Self::default() };
        let mut seen = BTreeSet::new();
        for error in &errors {
            let place = reader.place(start(error), String::new());
            let line = text.lines().nth(place.line - 1).unwrap_or_default().trim();
            if error.message() != DUPLICATE {
                damage.is_contained &= is_plain_assignment(line);
                damage.lines.insert(place.line);
            }
            if seen.insert(place.line) {
                let written = error.span().and_then(|span| text.get(span)).unwrap_or_default();
                let message = explained(error.message(), line, written);
                let message = match opening(tree, start(error), reader) {
                    Some(opening) => format!("{message}; the value opens on line {opening}"),
                    None => message,
                };
                damage.problems.push(Problem::new(place, message));
            }
        }
        damage
    }
}

/// The parser's message for a key or table that exists already. It keeps the first one.
const DUPLICATE: &str = "duplicate key";

/// Whether the line assigns a single value that ends on the same line.
fn is_plain_assignment(line: &str) -> bool {
    let opens_more =
        |value: &str| ["[", "{", "\"\"\"", "'''"].iter().any(|bracket| value.starts_with(bracket));
    line.split_once('=').is_some_and(|(key, value)| {
        let is_key = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        let key = key.trim();
        !key.is_empty() && key.chars().all(is_key) && !opens_more(value.trim_start())
    })
}

/// The line where the list, table or text begins that goes on to this offset. A missing bracket is noticed far below the place where it is
/// missing.
fn opening(table: &DeTable<'_>, offset: usize, reader: &Reader<'_>) -> Option<usize> {
    let line = reader.line(offset);
    table.iter().find_map(|(_, value)| opening_of(value, offset, reader)).filter(|opening| *opening < line)
}

fn opening_of(value: &Spanned<DeValue<'_>>, offset: usize, reader: &Reader<'_>) -> Option<usize> {
    let span = value.span();
    if span.start < offset && offset <= span.end {
        return Some(reader.line(span.start));
    }
    match value.get_ref() {
        DeValue::Table(table) => table.iter().find_map(|(_, value)| opening_of(value, offset, reader)),
        DeValue::Array(items) => items.iter().find_map(|item| opening_of(item, offset, reader)),
        DeValue::String(_)
        | DeValue::Integer(_)
        | DeValue::Float(_)
        | DeValue::Boolean(_)
        | DeValue::Datetime(_) => None,
    }
}

/// The parser's message, with what to do for the most common mistakes.
fn explained(message: &str, line: &str, written: &str) -> String {
    if message == DUPLICATE && line.starts_with('[') {
        let line = line.split('#').next().unwrap_or(line).trim();
        return format!("the table {line} is there already; put its keys together in one place");
    }
    if message == DUPLICATE {
        return format!("the key `{written}` is there already in this table; keep one of the two");
    }
    if message.starts_with("string values must be quoted") && written.is_empty() {
        return "not TOML: the value is missing".to_owned();
    }
    if message.starts_with("string values must be quoted") {
        return "not TOML: text has to be in quotes".to_owned();
    }
    if message.starts_with("unexpected leading zero") {
        return "not TOML: a number cannot begin with 0; a mode is written in quotes, such as \"0400\""
            .to_owned();
    }
    format!("not TOML: {message}")
}
