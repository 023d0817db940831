//! Helpers that change text, split it, and join it.
//!
//! *Invariant:* a result that would be too large is not computed.

use serde_json::Value;

use super::{Arguments, Complaint, too_large};
use crate::template::OUTPUT_LIMIT;
use crate::template::arguments::text;

/// The largest number of parts that a text may be split into.
const PARTS: usize = 100_000;

/// Indents every line except the first, which follows the tag's own indentation, and except empty ones.
pub(super) fn indent(arguments: &Arguments<'_>) -> Result<Value, Complaint> {
    let (text, width) = (arguments.text(0)?, arguments.count(1)?);
    let breaks = text.matches('\n').count();
    bounded("indent", width.checked_mul(breaks))?;
    let spaces = " ".repeat(if breaks == 0 { 0 } else { width });
    let mut indented = String::new();
    for (index, line) in text.split_inclusive('\n').enumerate() {
        if index > 0 && !matches!(line, "\n" | "\r\n") {
            indented.push_str(&spaces);
        }
        indented.push_str(line);
    }
    Ok(indented.into())
}

/// Without white space at both ends.
pub(super) fn trim(arguments: &Arguments<'_>) -> Result<Value, Complaint> {
    Ok(arguments.text(0)?.trim().into())
}

/// In upper case.
pub(super) fn upper(arguments: &Arguments<'_>) -> Result<Value, Complaint> {
    Ok(arguments.text(0)?.to_uppercase().into())
}

/// In lower case.
pub(super) fn lower(arguments: &Arguments<'_>) -> Result<Value, Complaint> {
    Ok(arguments.text(0)?.to_lowercase().into())
}

/// The first letter of each word in upper case, and the others as they are. An apostrophe, a point or a colon between letters is inside of a
/// word.
pub(super) fn title(arguments: &Arguments<'_>) -> Result<Value, Complaint> {
    let text = arguments.text(0)?;
    let mut titled = String::with_capacity(text.len());
    let (mut is_first, mut letters) = (true, text.chars().peekable());
    while let Some(letter) = letters.next() {
        if letter.is_alphabetic() && is_first {
            titled.extend(letter.to_uppercase());
        } else {
            titled.push(letter);
        }
        let next_is_letter = letters.peek().is_some_and(|next| next.is_alphanumeric());
        let is_inside = next_is_letter && matches!(letter, '\'' | '’' | '.' | ':' | '·');
        is_first = if letter.is_alphanumeric() || letter == '_' || is_inside {
            is_first && !letter.is_alphabetic()
        } else {
            true
        };
    }
    Ok(titled.into())
}

/// Without this at the beginning, if it is there.
pub(super) fn trim_prefix(arguments: &Arguments<'_>) -> Result<Value, Complaint> {
    let (text, prefix) = (arguments.text(0)?, arguments.text(1)?);
    Ok(text.strip_prefix(prefix.as_ref()).unwrap_or(&text).into())
}

/// Without this at the end, if it is there.
pub(super) fn trim_suffix(arguments: &Arguments<'_>) -> Result<Value, Complaint> {
    let (text, suffix) = (arguments.text(0)?, arguments.text(1)?);
    Ok(text.strip_suffix(suffix.as_ref()).unwrap_or(&text).into())
}

/// Every occurrence of one text replaced by another.
pub(super) fn replace(arguments: &Arguments<'_>) -> Result<Value, Complaint> {
    let (text, from, to) = (arguments.text(0)?, arguments.some_text(1)?, arguments.text(2)?);
    bounded("replace", text.matches(from.as_ref()).count().checked_mul(to.len()))?;
    Ok(text.replace(from.as_ref(), &to).into())
}

/// The parts between separators; none for an empty text, which has no parts.
pub(super) fn split(arguments: &Arguments<'_>) -> Result<Value, Complaint> {
    let (text, separator) = (arguments.text(0)?, arguments.some_text(1)?);
    if text.matches(separator.as_ref()).count() >= PARTS {
        return Err(Complaint::new(format_args!("`split` would yield more than {PARTS} parts")));
    }
    let parts = (!text.is_empty()).then(|| text.split(separator.as_ref()));
    Ok(parts.into_iter().flatten().collect())
}

/// The items with separators between them.
pub(super) fn join(arguments: &Arguments<'_>) -> Result<Value, Complaint> {
    let (items, separator) = (arguments.list(0)?, arguments.text(1)?);
    let items: Option<Vec<_>> = items.iter().map(text).collect();
    let Some(items) = items else {
        let label = arguments.label(0);
        return Err(Complaint::new(format_args!(
            "`join` takes a list of texts, and {label} has other items"
        )));
    };
    bounded("join", items.len().checked_mul(separator.len()))?;
    Ok(items.join(separator.as_ref()).into())
}

/// The texts one behind the other.
pub(super) fn concat(arguments: &Arguments<'_>) -> Result<Value, Complaint> {
    let mut whole = String::new();
    for index in 0..arguments.count_of_values() {
        let part = arguments.text(index)?;
        bounded("concat", whole.len().checked_add(part.len()))?;
        whole.push_str(&part);
    }
    Ok(whole.into())
}

/// Refuses an operation whose result would exceed the limit, before it begins.
fn bounded(helper: &str, size: Option<usize>) -> Result<(), Complaint> {
    match size {
        Some(size) if size <= OUTPUT_LIMIT => Ok(()),
        _ => Err(too_large(helper)),
    }
}
