//! `params`: TOML → JSON.
//!
//! *Invariant:* a value that JSON cannot express is a problem, never a different value.

use serde_json::{Map, Number};
use toml::de::DeValue;

use super::reader::{Table, Value, every};

/// A table as JSON, with each `${NAME}` expanded. Dates and times become text.
pub(super) fn params(value: &Value<'_>) -> Option<Map<String, serde_json::Value>> {
    fields(&value.table("a table such as { common_name = \"web.internal\" }")?)
}

fn fields(table: &Table<'_>) -> Option<Map<String, serde_json::Value>> {
    every(table.named().into_iter().map(|(name, value)| Some((name.to_owned(), json(&value)?))))
}

fn json(value: &Value<'_>) -> Option<serde_json::Value> {
    match value.written() {
        DeValue::String(_) => value.text().map(Into::into),
        DeValue::Integer(_) => integer(value),
        DeValue::Float(written) => float(value, written.as_str()),
        DeValue::Boolean(boolean) => Some((*boolean).into()),
        DeValue::Datetime(datetime) => Some(datetime.to_string().into()),
        DeValue::Array(_) => every(value.list("a list")?.iter().map(json)),
        DeValue::Table(_) => fields(&value.table("a table")?).map(Into::into),
    }
}

fn integer(value: &Value<'_>) -> Option<serde_json::Value> {
    let number = value.integer().and_then(Number::from_i128);
    if number.is_none() {
        value.report("is too large a number; write it in quotes");
    }
    number.map(Into::into)
}

fn float(value: &Value<'_>, written: &str) -> Option<serde_json::Value> {
    let number = serde_json::from_str::<Number>(&written.replace('_', "")).ok();
    if number.is_none() {
        value.report("is a number that JSON does not have; write it in quotes");
    }
    number.map(Into::into)
}
