//! Helpers that write a value of any kind in a data format.
//!
//! *Invariant:* the text, when it is parsed, gives the same value.
#![expect(clippy::unnecessary_wraps, reason = "every helper has the same signature")]

use std::fmt::Write as _;

use serde_json::Value;

use super::{Arguments, Complaint};

/// On one line.
pub(super) fn json(arguments: &Arguments<'_>) -> Result<Value, Complaint> {
    Ok(arguments.value(0).to_string().into())
}

/// Over several lines, indented by two.
pub(super) fn json_pretty(arguments: &Arguments<'_>) -> Result<Value, Complaint> {
    Ok(format!("{:#}", arguments.value(0)).into())
}

/// A scalar on one line, for any indentation; maps and lists as a block from column 0. Text is always in quotes, so that no parser, of YAML
/// 1.1 or 1.2, takes it for a number, a date or a boolean.
pub(super) fn yaml(arguments: &Arguments<'_>) -> Result<Value, Complaint> {
    let mut block = String::new();
    write_yaml(arguments.value(0), 0, &mut block);
    Ok(block.trim_start().into())
}

/// Writes the part after a `:` or a `-`, beginning with the space.
fn write_yaml(value: &Value, depth: usize, block: &mut String) {
    let new_line = |block: &mut String| {
        block.push('\n');
        block.push_str(&"  ".repeat(depth));
    };
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (key, value) in fields {
                new_line(block);
                block.push_str(&yaml_key(key));
                block.push(':');
                write_yaml(value, depth + 1, block);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for item in items {
                new_line(block);
                block.push('-');
                write_yaml(item, depth + 1, block);
            }
        }
        scalar @ (Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Array(_)
        | Value::Object(_)) => {
            block.push(' ');
            block.push_str(&yaml_scalar(scalar));
        }
    }
}

/// JSON, with escapes for characters that YAML takes for a line break or does not allow.
fn yaml_scalar(scalar: &Value) -> String {
    let mut text = String::new();
    for c in scalar.to_string().chars() {
        match c {
            '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}' => {
                // Writing to a `String` cannot fail.
                write!(text, "\\u{:04x}", u32::from(c)).unwrap_or_default();
            }
            c => text.push(c),
        }
    }
    text
}

/// A key without quotes, if no parser can misunderstand it.
fn yaml_key(key: &str) -> String {
    const WORDS: [&str; 9] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null"];
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let plain = key.starts_with(|c: char| c.is_ascii_alphabetic())
        && key.chars().all(word)
        && !WORDS.contains(&key.to_ascii_lowercase().as_str());
    if plain { key.to_owned() } else { yaml_scalar(&Value::from(key)) }
}

/// The part after `key =`. A number stays as it is written.
pub(super) fn toml(arguments: &Arguments<'_>) -> Result<Value, Complaint> {
    let label = arguments.label(0);
    let mut line = String::new();
    match write_toml(arguments.value(0), &mut line) {
        Some(()) => Ok(line.into()),
        None => Err(Complaint::new(format_args!(
            "{label} has no TOML: TOML knows no null and no whole number beyond 9223372036854775807"
        ))),
    }
}

/// On one line; `None` for a value that TOML cannot express.
fn write_toml(value: &Value, line: &mut String) -> Option<()> {
    match value {
        Value::Null => return None,
        Value::Bool(is) => line.push_str(if *is { "true" } else { "false" }),
        Value::Number(number) => {
            let written = number.to_string();
            let is_whole = !written.contains(['.', 'e', 'E']);
            if is_whole && written.parse::<i64>().is_err() {
                return None;
            }
            line.push_str(&written);
        }
        Value::String(text) => line.push_str(&toml_text(text)),
        Value::Array(items) => {
            line.push('[');
            for (index, item) in items.iter().enumerate() {
                line.push_str(if index == 0 { "" } else { ", " });
                write_toml(item, line)?;
            }
            line.push(']');
        }
        Value::Object(fields) if fields.is_empty() => line.push_str("{}"),
        Value::Object(fields) => {
            line.push_str("{ ");
            for (index, (key, value)) in fields.iter().enumerate() {
                line.push_str(if index == 0 { "" } else { ", " });
                line.push_str(&toml_key(key));
                line.push_str(" = ");
                write_toml(value, line)?;
            }
            line.push_str(" }");
        }
    }
    Some(())
}

fn toml_text(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

fn toml_key(key: &str) -> String {
    let is_bare = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    if is_bare { key.to_owned() } else { yaml_scalar(&Value::from(key)) }
}
