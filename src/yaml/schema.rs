//! The core schema of YAML 1.2 (section 10.3.2): what a scalar without quotes stands for.
//!
//! *Invariant:* a number that JSON can write is kept digit by digit.

use saphyr_parser::{ScalarStyle, Tag};
use serde_json::{Number, Value};

/// The value of a scalar.
pub(super) fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Value {
    let is_text = tag.is_some_and(|tag| tag.is_yaml_core_schema() && tag.suffix == "str");
    if style == ScalarStyle::Plain && !is_text { plain(text) } else { Value::from(text) }
}

/// A key as text; nothing for null.
pub(super) fn name(key: Value) -> Option<String> {
    match key {
        Value::String(text) => Some(text),
        Value::Bool(_) | Value::Number(_) => Some(key.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        _ => number(text).map_or_else(|| Value::from(text), Value::Number),
    }
}

fn number(text: &str) -> Option<Number> {
    let other_base = |prefix: &str, base| {
        let digits = text.strip_prefix(prefix)?;
        let is_number = !digits.is_empty() && digits.chars().all(|digit| digit.is_digit(base));
        is_number.then(|| u64::from_str_radix(digits, base).ok()).flatten().map(Number::from)
    };
    other_base("0x", 16).or_else(|| other_base("0o", 8)).or_else(|| decimal(text))
}

/// `1`, `-1.50`, `+.5e3`, `007`, in the form of JSON.
fn decimal(text: &str) -> Option<Number> {
    if !text.starts_with(|first: char| first.is_ascii_digit() || "+-.".contains(first)) {
        return None;
    }
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let (mantissa, exponent) = match digits.find(['e', 'E']) {
        Some(at) => digits.split_at(at),
        None => (digits, ""),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let whole = whole.strip_prefix('0').map_or(whole, |rest| rest.trim_start_matches('0'));
    let whole = if whole.is_empty() { "0" } else { whole };
    let fraction = if fraction.is_empty() { String::new() } else { format!(".{fraction}") };
    format!("{sign}{whole}{fraction}{exponent}").parse().ok()
}
