//! Helpers for lists and maps.
//!
//! *Invariant:* a map is walked in the order of its names.

use std::collections::HashSet;

use serde_json::Value;

use super::{Arguments, Complaint, values};
use crate::template::arguments::text;

/// What the steps lead to: names in maps, positions in lists.
pub(super) fn index(arguments: &Arguments<'_>) -> Result<Value, Complaint> {
    let mut found = arguments.value(0);
    for step in 1..arguments.count_of_values() {
        let key = arguments.text(step)?;
        found = values::item(found, &key)
            .ok_or_else(|| Complaint::new(values::absent_item(arguments, found, step)))?;
    }
    Ok(found.clone())
}

/// The names in a map.
pub(super) fn keys(arguments: &Arguments<'_>) -> Result<Value, Complaint> {
    Ok(arguments.map(0)?.keys().map(String::as_str).collect())
}

/// The values in a map.
pub(super) fn values(arguments: &Arguments<'_>) -> Result<Value, Complaint> {
    Ok(arguments.map(0)?.values().cloned().collect())
}

/// The first item of a list.
pub(super) fn first(arguments: &Arguments<'_>) -> Result<Value, Complaint> {
    some_item(arguments, arguments.list(0)?.first())
}

/// The last item of a list.
pub(super) fn last(arguments: &Arguments<'_>) -> Result<Value, Complaint> {
    some_item(arguments, arguments.list(0)?.last())
}

fn some_item(arguments: &Arguments<'_>, item: Option<&Value>) -> Result<Value, Complaint> {
    let (name, label) = (arguments.name(), arguments.label(0));
    item.cloned().ok_or_else(|| {
        Complaint::new(format_args!("{label} is an empty list, of which `{name}` can give nothing"))
    })
}

/// Texts in the order of their bytes, or numbers in that of their values.
///
/// The order is total, which sorting relies on: it panics where it finds that three items contradict each other. So every number is compared
/// by the same two keys. Whole numbers of one fraction are told apart by the second one; what has none comes before them. A number may have
/// a million digits, so it is read once and not at each comparison.
pub(super) fn sort(arguments: &Arguments<'_>) -> Result<Value, Complaint> {
    let mut items = arguments.list(0)?.to_vec();
    if items.iter().all(Value::is_string) {
        items.sort_by(|left, right| left.as_str().cmp(&right.as_str()));
        return Ok(items.into());
    }
    let keys: Option<Vec<_>> = items.iter().map(|item| Some((finite(item)?, whole(item)))).collect();
    let Some(keys) = keys else {
        let label = arguments.label(0);
        return Err(Complaint::new(format_args!(
            "`sort` takes a list of texts or one of numbers, and {label} is neither"
        )));
    };
    let mut numbers: Vec<_> = keys.into_iter().zip(items).collect();
    numbers.sort_by(|((one, whole), _), ((other, other_whole), _)| {
        one.total_cmp(other).then_with(|| whole.cmp(other_whole))
    });
    Ok(numbers.into_iter().map(|(_, number)| number).collect())
}

fn finite(number: &Value) -> Option<f64> {
    number.as_f64().filter(|number| number.is_finite())
}

fn whole(number: &Value) -> Option<i128> {
    number.as_number()?.as_str().parse().ok()
}

/// Each item once, where it stands first.
pub(super) fn uniq(arguments: &Arguments<'_>) -> Result<Value, Complaint> {
    let mut seen = HashSet::new();
    let items = arguments.list(0)?.iter();
    Ok(items.filter(|item| seen.insert(item.to_string())).cloned().collect())
}

/// Whether a text has another one in it, a list an item, or a map a name.
pub(super) fn contains(arguments: &Arguments<'_>) -> Result<Value, Complaint> {
    let wanted = arguments.text(1)?;
    let found = match arguments.value(0) {
        Value::Array(items) => items.iter().any(|item| text(item).is_some_and(|item| item == wanted)),
        Value::Object(fields) => fields.contains_key(wanted.as_ref()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            arguments.text(0)?.contains(wanted.as_ref())
        }
    };
    Ok(found.into())
}
