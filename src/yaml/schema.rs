//! The core schema of YAML 1.2 (section 10.3.2): what a node stands for.
//!
//! *Invariant:* a number that JSON can write is kept digit by digit.

use serde_json::{Map, Number, Value};

use super::{Node, Wrong, Yaml};

impl Node {
    /// What it stands for. Maps that are merged (`<<`) give the entries that are not there otherwise.
    ///
    /// # Errors
    /// A key that is a list, a map or null, or that is there a second time.
    pub(crate) fn value(self) -> Result<Value, Wrong> {
        match self.is {
            Yaml::Scalar(text, is_plain) => Ok(if is_plain { plain(&text) } else { text.into() }),
            Yaml::List(items) => items.into_iter().map(Self::value).collect(),
            Yaml::Map(pairs) => map(pairs).map(Value::Object),
        }
    }
}

fn map(pairs: Vec<(Node, Node)>) -> Result<Map<String, Value>, Wrong> {
    let (mut entries, mut merged) = (Map::new(), Map::new());
    for (key, value) in pairs {
        let at = key.at;
        let takes_over = matches!(&key.is, Yaml::Scalar(name, true) if name == "<<");
        let value = value.value()?;
        match (key.value()?, value) {
            (_, Value::Object(others)) if takes_over => merged.extend(others),
            (Value::Array(_) | Value::Object(_), _) => {
                return Err(at.wrong("has a key that is a list or a map"));
            }
            (Value::Null, _) => return Err(at.wrong("has a key that is null")),
            (key @ (Value::String(_) | Value::Bool(_) | Value::Number(_)), value) => {
                let name = key.as_str().map_or_else(|| key.to_string(), str::to_owned);
                if entries.insert(name, value).is_some() {
                    return Err(at.wrong("has a key a second time"));
                }
            }
        }
    }
    for (name, value) in merged {
        entries.entry(name).or_insert(value);
    }
    Ok(entries)
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
