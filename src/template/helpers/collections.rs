//! Helpers for lists and maps.
//!
//! *Invariant:* a map is walked in the order of its names.

use std::cmp::Ordering;
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
pub(super) fn sort(arguments: &Arguments<'_>) -> Result<Value, Complaint> {
    let mut items = arguments.list(0)?.to_vec();
    let texts = items.iter().all(Value::is_string);
    let numbers = items.iter().all(|item| item.as_f64().is_some_and(f64::is_finite));
    if !texts && !numbers {
        let label = arguments.label(0);
        return Err(Complaint::new(format_args!(
            "`sort` takes a list of texts or one of numbers, and {label} is neither"
        )));
    }
    items.sort_by(order);
    Ok(items.into())
}

/// A total order, which sorting relies on: it panics where it finds that three items contradict each other. So every number is compared by
/// the same two keys. Whole numbers of one fraction are told apart by the second one; what has none comes before them.
fn order(left: &Value, right: &Value) -> Ordering {
    match (left.as_f64(), right.as_f64()) {
        (Some(one), Some(other)) => one.total_cmp(&other).then_with(|| whole(left).cmp(&whole(right))),
        _ => left.as_str().cmp(&right.as_str()),
    }
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
