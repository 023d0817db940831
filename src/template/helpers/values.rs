//! Helpers for values of any kind: the fallback, the look-up, and those that `prepare` puts around every value.
//!
//! *Invariant:* only text, numbers and booleans are ever printed.
#![expect(clippy::unnecessary_wraps, reason = "every helper has the same signature")]

use handlebars::{
    Context, Handlebars, Helper as Call, HelperDef, JsonTruthy, PathAndJson, RenderContext, RenderError,
    ScopedJson,
};
use serde_json::Value;

use super::{Arguments, Complaint};
use crate::template::arguments::{derived, label, text};
use crate::template::missing::{self, kind};
use crate::template::{catalogue, effort, prepare};

/// The value; the fallback for one that is missing, null or empty text.
pub(super) fn default(arguments: &Arguments<'_>) -> Result<Value, Complaint> {
    let value = arguments.value(0);
    let absent = value.is_null() || value.as_str() == Some("");
    Ok(arguments.value(usize::from(absent)).clone())
}

/// The one field of a secret that has one.
pub(super) fn only(arguments: &Arguments<'_>) -> Result<Value, Complaint> {
    let label = arguments.label(0);
    let value = arguments.value(0);
    let fields = value.as_object().ok_or_else(|| {
        Complaint::new(format_args!("{label} is {} and no secret, so it has no single field", kind(value)))
    })?;
    let mut values = fields.values();
    match (values.next(), values.next()) {
        (Some(value), None) => Ok(value.clone()),
        (None, _) => Err(Complaint::new(format_args!("{label} has no field at all"))),
        (Some(_), Some(_)) if !arguments.is_stored(0) => {
            Err(Complaint::new(format_args!("{label} has more than one field; say which one is meant")))
        }
        (Some(_), Some(_)) => {
            let known = catalogue::list(fields.keys().map(String::as_str));
            Err(Complaint::new(format_args!(
                "{label} has more than one field: {known}; say which one is meant"
            )))
        }
    }
}

/// The field or item that the second value names.
pub(super) fn lookup(arguments: &Arguments<'_>, absent_is_null: bool) -> Result<Value, Complaint> {
    let key = arguments.text(1)?;
    match item(arguments.value(0), &key) {
        Some(value) => Ok(value.clone()),
        None if absent_is_null => Ok(Value::Null),
        None => Err(Complaint::new(absent_item(arguments, arguments.value(0), 1))),
    }
}

/// What a map has under a name, or a list at a position.
pub(super) fn item<'v>(value: &'v Value, key: &str) -> Option<&'v Value> {
    match value {
        Value::Object(fields) => fields.get(key),
        Value::Array(items) => key.parse().ok().and_then(|index: usize| items.get(index)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

/// Why `value` has not what the argument at `step` names. It contains the name only if the template has it literally: it could be a value.
pub(super) fn absent_item(arguments: &Arguments<'_>, value: &Value, step: usize) -> String {
    let label = match (step, arguments.literal(step - 1)) {
        (2.., Some(name)) => format!("`{}`", catalogue::plain(name)).into(),
        (2.., None) => "the value".into(),
        (..=1, _) => arguments.label(0),
    };
    let key = arguments.literal(step).map(|key| format!(" `{}`", catalogue::plain(key))).unwrap_or_default();
    match value {
        Value::Object(fields) if fields.is_empty() => format!("{label} has no field{key}; it has none"),
        Value::Object(_) if !arguments.is_stored(0) => format!("{label} has no field{key}"),
        Value::Object(fields) => {
            let known = catalogue::list(fields.keys().map(String::as_str));
            format!("{label} has no field{key}; it has {known}")
        }
        Value::Array(_) => format!("{label} is a list and has no item{key}"),
        scalar @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => {
            format!("{label} is {} and has no field{key}", kind(scalar))
        }
    }
}

/// Registers the helpers that `prepare` puts around values.
pub(super) fn register(registry: &mut Handlebars<'static>) {
    registry.register_helper(prepare::PRINT, Box::new(Around { absence: Refuse, check: printed }));
    registry.register_helper(prepare::VALUE, Box::new(Around { absence: Refuse, check: passed }));
    registry.register_helper(prepare::OPTIONAL, Box::new(Around { absence: Accept, check: passed }));
    registry.register_helper(prepare::REQUIRE, Box::new(Around { absence: Refuse, check: nothing }));
    registry
        .register_helper(prepare::WALKABLE, Box::new(Around { absence: AcceptWithElse, check: walkable }));
    registry
        .register_helper(prepare::ENTERABLE, Box::new(Around { absence: AcceptWithElse, check: enterable }));
}

/// What to do if a value is missing.
#[derive(PartialEq)]
enum Missing {
    Refuse,
    Accept,
    /// Accept it if the block has an `else`.
    AcceptWithElse,
}

use Missing::{Accept, AcceptWithElse, Refuse};

/// A helper around the arguments of a call.
struct Around {
    absence: Missing,
    check: fn(&[PathAndJson<'_>]) -> Result<Value, Complaint>,
}

impl HelperDef for Around {
    fn call_inner<'reg: 'rc, 'rc>(
        &self,
        call: &Call<'rc>,
        _: &'reg Handlebars<'reg>,
        context: &'rc Context,
        render: &mut RenderContext<'reg, 'rc>,
    ) -> Result<ScopedJson<'rc>, RenderError> {
        if effort::is_spent() {
            return Err(Complaint::too_long().into());
        }
        let accepted = match self.absence {
            Refuse => false,
            Accept => true,
            AcceptWithElse => has_else(call.params()),
        };
        match call.params().iter().find(|value| value.is_value_missing()) {
            Some(absent) if !accepted => {
                Err(Complaint::new(missing::explain(absent, context, render)).into())
            }
            _ => Ok(derived((self.check)(call.params())?)),
        }
    }
}

fn printed(values: &[PathAndJson<'_>]) -> Result<Value, Complaint> {
    let Some(value) = values.first() else { return Ok(Value::Null) };
    match (text(value.value()), value.value()) {
        (Some(text), _) => Ok(text.into()),
        (None, Value::Object(_)) if value.context_path().is_none() => Err(Complaint::new(format_args!(
            "{} is a map: take a value out of it with `index`, or use `json`",
            label(value)
        ))),
        (None, Value::Object(fields)) => Err(Complaint::new(format_args!(
            "{} is a map: name one of its fields ({}), or use `json`",
            label(value),
            catalogue::list(fields.keys().map(String::as_str))
        ))),
        (None, Value::Array(_)) => {
            Err(Complaint::new(format_args!("{} is a list: use `join`, `json` or `#each`", label(value))))
        }
        (None, _) => {
            Err(Complaint::new(format_args!("{} is null; `default` gives a value to use then", label(value))))
        }
    }
}

fn passed(values: &[PathAndJson<'_>]) -> Result<Value, Complaint> {
    Ok(values.first().map(|value| value.value().clone()).unwrap_or_default())
}

fn nothing(_: &[PathAndJson<'_>]) -> Result<Value, Complaint> {
    Ok(Value::from(""))
}

fn walkable(values: &[PathAndJson<'_>]) -> Result<Value, Complaint> {
    match values.first().map(|value| (value, value.value())) {
        Some((_, Value::Array(_) | Value::Object(_))) | None => nothing(values),
        Some((_, Value::Null)) if has_else(values) => nothing(values),
        Some((value, other)) => Err(Complaint::new(format_args!(
            "{} is {}; `each` walks maps and lists",
            label(value),
            kind(other)
        ))),
    }
}

fn enterable(values: &[PathAndJson<'_>]) -> Result<Value, Complaint> {
    match values.first() {
        Some(value) if !has_else(values) && !value.value().is_truthy(false) => {
            Err(Complaint::new(format_args!(
                "{} is empty, null, false or 0; give `with` an `{{{{else}}}}` for that",
                label(value)
            )))
        }
        _ => nothing(values),
    }
}

/// The second argument of the guards of blocks.
fn has_else(values: &[PathAndJson<'_>]) -> bool {
    values.get(1).and_then(|value| value.value().as_bool()).unwrap_or_default()
}
