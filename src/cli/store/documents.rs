//! Secrets as documents: reads `.env`, JSON and TOML, writes JSON and `.env`.
//!
//! *Invariant:* pure; no error contains a value.

use std::path::Path;

use serde_json::{Map, Number, Value, json};
use toml::de::{DeTable, DeValue};

use crate::config::env_file;
use crate::secret::Fields;

/// The beginning of a document of Squire's own: its content is taken as it is.
const OWN: &str = "squire_store_export";

/// The secrets of a document, each with its path below the target; an empty path is the target itself.
pub(super) fn secrets(file: &Path, text: &str) -> Result<Vec<(String, Fields)>, String> {
    let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let kind = file.extension().and_then(|kind| kind.to_str()).unwrap_or_default();
    match kind {
        "json" => serde_json::from_str::<Map<_, _>>(text)
            .map_err(|error| format!("is no JSON object: line {}, column {}", error.line(), error.column()))
            .and_then(from_map),
        "toml" => DeTable::parse(text)
            .map_err(|error| {
                format!("is no TOML{}", error.span().map(|span| place(text, span.start)).unwrap_or_default())
            })
            .and_then(|table| plain_table(table.get_ref()).and_then(from_map)),
        _ if kind == "env" || name.starts_with(".env") => {
            let variables = env_file::variables(name, text).map_err(|problems| problems.join("; "))?;
            let fields: Fields = variables.into_iter().map(|(name, value)| (name, value.into())).collect();
            if fields.is_empty() {
                Err("has no variable".to_owned())
            } else {
                Ok(vec![(String::new(), fields)])
            }
        }
        _ => Err("has an unknown format: name it .env, .json or .toml".to_owned()),
    }
}

fn place(text: &str, at: usize) -> String {
    format!(": line {}", text.get(..at).unwrap_or_default().lines().count().max(1))
}

fn plain_table(table: &DeTable<'_>) -> Result<Map<String, Value>, String> {
    table.iter().map(|(key, value)| Ok((key.get_ref().to_string(), plain(value.get_ref())?))).collect()
}

/// Numbers stay as they are written.
fn plain(value: &DeValue<'_>) -> Result<Value, String> {
    let number = |text: &str| {
        let number = serde_json::from_str::<Number>(&text.replace('_', ""));
        number
            .map(Value::Number)
            .map_err(|_| "has a number that JSON does not have: write it in quotes".to_owned())
    };
    Ok(match value {
        DeValue::String(text) => text.as_ref().into(),
        DeValue::Integer(integer) if integer.radix() == 10 => {
            number(integer.as_str().trim_start_matches('+'))?
        }
        DeValue::Integer(integer) => {
            let value = u64::from_str_radix(integer.as_str(), integer.radix());
            value
                .map_err(|_| {
                    "has a number beyond 64 bits that is not decimal: write it in quotes".to_owned()
                })?
                .into()
        }
        DeValue::Float(float) => number(float.as_str().trim_start_matches('+'))?,
        DeValue::Boolean(is) => (*is).into(),
        DeValue::Datetime(time) => time.to_string().into(),
        DeValue::Array(items) => items.iter().map(|item| plain(item.get_ref())).collect::<Result<_, _>>()?,
        DeValue::Table(table) => Value::Object(plain_table(table)?),
    })
}

fn from_map(mut map: Map<String, Value>) -> Result<Vec<(String, Fields)>, String> {
    if let Some(Value::Object(own)) = map.remove(OWN) {
        let fields = |(path, fields)| match fields {
            Value::Object(fields) => Ok((path, fields)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                Err(format!("has no fields for {path}"))
            }
        };
        return own.into_iter().map(fields).collect();
    }
    let mut found = Vec::new();
    gather("", map, &mut found)?;
    if found.is_empty() { Err("has no secret".to_owned()) } else { Ok(found) }
}

/// An object of values is a secret, and an object of objects is a folder.
fn gather(at: &str, map: Map<String, Value>, found: &mut Vec<(String, Fields)>) -> Result<(), String> {
    let folders = map.values().filter(|value| value.is_object()).count();
    if folders == 0 {
        if !map.is_empty() {
            found.push((at.to_owned(), map));
        }
        return Ok(());
    }
    if let Some((name, _)) = map.iter().find(|(_, value)| !value.is_object()) {
        let place = if at.is_empty() { "at its beginning".to_owned() } else { format!("in {at:?}") };
        return Err(format!(
            "has values and objects beside each other {place}: {name:?} would be of no secret"
        ));
    }
    for (name, value) in map {
        if let Value::Object(inner) = value {
            let path = if at.is_empty() { name } else { format!("{at}/{name}") };
            gather(&path, inner, found)?;
        }
    }
    Ok(())
}

/// A document of Squire's own.
pub(super) fn json(secrets: &[(String, Fields)]) -> String {
    let secrets: Map<_, _> =
        secrets.iter().map(|(path, fields)| (path.clone(), Value::Object(fields.clone()))).collect();
    format!("{:#}\n", json!({ OWN: secrets }))
}

/// The fields of one secret as variables.
pub(super) fn env(secrets: &[(String, Fields)]) -> Result<String, String> {
    let [(_, fields)] = secrets else {
        return Err(format!("{} secrets are no list of variables: name one", secrets.len()));
    };
    let mut text = String::new();
    for (name, value) in fields {
        let written = match value {
            Value::String(text) => text.clone(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
                value.to_string()
            }
        };
        let quote = if written.contains('\'') { '"' } else { '\'' };
        let line = format!("{name}={quote}{written}{quote}");
        // A reader of the file has to get the same value.
        let read = env_file::variables("", &line).ok();
        if read.is_none_or(|read| read != [(name.clone(), written)]) {
            return Err(format!("the field {name} cannot be written as a variable: export it as JSON"));
        }
        text.push_str(&line);
        text.push('\n');
    }
    Ok(text)
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(name: &str, text: &str) -> Result<Value, String> {
        let found = secrets(Path::new(name), text)?;
        Ok(found
            .into_iter()
            .map(|(path, fields)| (path, Value::Object(fields)))
            .collect::<Map<_, _>>()
            .into())
    }

    #[test]
    fn each_kind_is_read() {
        for (name, text, expected) in [
            (".env", "A=1\nB='x y'\n", json!({"": {"A": "1", "B": "x y"}})),
            ("app.env", "A=1", json!({"": {"A": "1"}})),
            ("a.json", r#"{"user": "u", "port": 1}"#, json!({"": {"user": "u", "port": 1}})),
            (
                "a.json",
                r#"{"db": {"user": "u"}, "x": {"y": {"z": 1}}}"#,
                json!({"db": {"user": "u"}, "x/y": {"z": 1}}),
            ),
            (
                "a.toml",
                "[db]\nuser = 'u'\n[x.y]\nz = [1, 2]",
                json!({"db": {"user": "u"}, "x/y": {"z": [1, 2]}}),
            ),
        ] {
            assert_eq!(read(name, text), Ok(expected), "{name} {text}");
        }
    }

    #[test]
    fn what_cannot_be_read_says_where_and_no_value() {
        for (name, text, reason) in [
            ("a.json", "{\"a\": \"canary\"\nx", "line 2"),
            ("a.json", "[\"canary\"]", "no JSON object"),
            ("a.json", r#"{"a": "canary", "b": {"c": 1}}"#, "beside each other at its beginning: \"a\""),
            ("a.json", "{}", "has no secret"),
            ("a.toml", "a = 1\nb = canary", "no TOML: line 2"),
            (".env", "canary", "NAME=value"),
            ("a.yaml", "canary: 1", ".env, .json or .toml"),
        ] {
            let error = read(name, text).unwrap_err();
            assert!(error.contains(reason) && !error.contains("canary"), "{name}: {error}");
        }
    }

    proptest! {
        #[test]
        fn what_is_exported_comes_back(names in prop::collection::btree_map("[A-Z_]{1,5}", "\\PC{0,12}", 1..5)) {
            let fields: Fields = names.into_iter().map(|(name, value)| (name, value.into())).collect();
            let one = vec![("prod/app".to_owned(), fields.clone())];
            prop_assert_eq!(secrets(Path::new("x.json"), &json(&one)).unwrap(), one.clone());
            if let Ok(text) = env(&one) {
                prop_assert_eq!(secrets(Path::new(".env"), &text).unwrap(), vec![(String::new(), fields)]);
            }
        }
    }
}
