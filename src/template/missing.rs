//! Says what is missing if a path of a template leads nowhere: which secret, which field, and which fields exist.
//!
//! *Invariant:* contains names of secrets and fields, and the kind of a value; never a value. What a helper made has no fields, only names
//! that stood in a value.

use handlebars::{Context, Path, PathAndJson, PathSeg, RenderContext, ScopedJson};
use serde_json::Value;

use super::catalogue;
use super::scope::{is_rooted, named};

/// Why a value is not there.
pub(super) fn explain<'rc>(
    value: &PathAndJson<'rc>,
    context: &'rc Context,
    render: &RenderContext<'_, 'rc>,
) -> String {
    let Some(raw) = value.relative_path() else {
        return "a value is missing".to_owned();
    };
    match Path::parse(raw) {
        Ok(Path::Relative((segments, _))) => explain_path(raw, &segments, context, render),
        Ok(Path::Local(_)) | Err(_) => format!("`{raw}` has no value here"),
    }
}

/// Follows the path as far as it goes.
fn explain_path<'rc>(
    raw: &str,
    segments: &[PathSeg],
    context: &'rc Context,
    render: &RenderContext<'_, 'rc>,
) -> String {
    let names: Vec<&str> = segments.iter().filter_map(named).collect();
    let up = segments.len() - names.len();
    let base = if is_rooted(raw) { "@root/".to_owned() } else { "../".repeat(up) };
    let mut last = None;
    // From the beginning: a path may be as long as the template, but it usually ends soon.
    for (index, name) in names.iter().enumerate() {
        let holder = match &names[..index] {
            [] => format!("{base}this"),
            before => before.iter().fold(base.clone(), |path, step| path + "[" + step + "]/"),
        };
        match render.evaluate(context, holder.trim_end_matches('/')) {
            Ok(found) if !found.is_missing() => last = Some((found, index, name)),
            _ => break,
        }
    }
    if let Some((found, index, name)) = last {
        return explain_step(&found, &names[..index], name);
    }
    format!("`{raw}` is not there")
}

/// There is no `name` in `holder`. `written` is the path to `holder` in the template.
fn explain_step(holder: &ScopedJson<'_>, written: &[&str], name: &str) -> String {
    let owner = match (holder.context_path(), written) {
        (Some(path), _) if path.is_empty() => return explain_secret(holder.as_json(), name),
        (Some(path), _) => format!("`{}`", catalogue::plain(&path.join("."))),
        (None, []) => "the value here".to_owned(),
        (None, written) => format!("`{}`", catalogue::plain(&written.join("."))),
    };
    let name = catalogue::plain(name);
    match holder.as_json() {
        Value::Object(fields) if fields.is_empty() => format!("{owner} has no field `{name}`; it has none"),
        Value::Object(_) if holder.context_path().is_none() => format!("{owner} has no field `{name}`"),
        Value::Object(fields) => {
            let known = catalogue::list(fields.keys().map(String::as_str));
            format!("{owner} has no field `{name}`; it has {known}")
        }
        Value::Array(_) => format!("{owner} is a list and has no item `{name}`"),
        scalar @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => {
            format!("{owner} is {} and has no field `{name}`", kind(scalar))
        }
    }
}

fn explain_secret(secrets: &Value, name: &str) -> String {
    let known = secrets.as_object().into_iter().flat_map(|secrets| secrets.keys().map(String::as_str));
    format!("there is no secret `{}`{}", catalogue::plain(name), catalogue::suggestion(name, known))
}

/// The kind of a value.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a map",
    }
}
