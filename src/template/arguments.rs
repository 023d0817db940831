//! The arguments of a helper's call, each asked for by its type.
//!
//! *Invariant:* a complaint quotes the path from the template and the usage, never a value that a path led to.

use std::borrow::Cow;

use handlebars::{Helper as Call, PathAndJson, ScopedJson};
use serde_json::{Map, Value};

use super::catalogue::{self, Helper};
use super::fault::Complaint;
use super::missing::kind;

/// The arguments of one call.
pub(super) struct Arguments<'a> {
    helper: &'static Helper,
    values: &'a [PathAndJson<'a>],
}

impl<'a> Arguments<'a> {
    pub(super) fn new(helper: &'static Helper, call: &'a Call<'a>) -> Self {
        Self { helper, values: call.params() }
    }

    /// The name of the helper.
    pub(super) fn name(&self) -> &'static str {
        self.helper.name
    }

    /// How many arguments there are.
    pub(super) fn count_of_values(&self) -> usize {
        self.values.len()
    }

    /// A value of any kind.
    pub(super) fn value(&self, index: usize) -> &'a Value {
        self.values.get(index).map_or(&Value::Null, PathAndJson::value)
    }

    /// Text; numbers and booleans count as their text.
    pub(super) fn text(&self, index: usize) -> Result<Cow<'a, str>, Complaint> {
        text(self.value(index)).ok_or_else(|| self.mismatch(index, "text"))
    }

    /// Text that is not empty.
    pub(super) fn some_text(&self, index: usize) -> Result<Cow<'a, str>, Complaint> {
        self.text(index).and_then(|text| {
            if text.is_empty() { Err(self.mismatch(index, "text that is not empty")) } else { Ok(text) }
        })
    }

    pub(super) fn list(&self, index: usize) -> Result<&'a [Value], Complaint> {
        let list = self.value(index).as_array().map(Vec::as_slice);
        list.ok_or_else(|| self.mismatch(index, "a list"))
    }

    pub(super) fn count(&self, index: usize) -> Result<usize, Complaint> {
        let count = self.value(index).as_u64().and_then(|count| usize::try_from(count).ok());
        count.ok_or_else(|| self.mismatch(index, "a whole number"))
    }

    /// A whole number, also one in a text.
    pub(super) fn whole(&self, index: usize) -> Result<i64, Complaint> {
        let number = text(self.value(index)).and_then(|text| text.parse().ok());
        number.ok_or_else(|| self.mismatch(index, "a whole number of at most 64 bits"))
    }

    pub(super) fn map(&self, index: usize) -> Result<&'a Map<String, Value>, Complaint> {
        self.value(index).as_object().ok_or_else(|| self.mismatch(index, "a map"))
    }

    /// The argument as the template writes it: ready for a sentence.
    pub(super) fn label(&self, index: usize) -> Cow<'static, str> {
        self.values.get(index).map_or(Cow::Borrowed("the value"), label)
    }

    /// The literal text in the template; nothing for a path.
    pub(super) fn literal(&self, index: usize) -> Option<&'a str> {
        self.values.get(index)?.try_get_constant_value()?.as_str()
    }

    /// Whether it is a part of a secret as it is held, and no text that a helper has read: names in that are a part of its value.
    pub(super) fn is_stored(&self, index: usize) -> bool {
        self.values.get(index).is_some_and(|value| value.context_path().is_some())
    }

    fn mismatch(&self, index: usize, wanted: &str) -> Complaint {
        let (name, usage) = (self.helper.name, self.helper.usage);
        let (label, found) = (self.label(index), kind(self.value(index)));
        let found = if found == wanted { "not" } else { found };
        let found = if wanted.starts_with("text ") && found == "text" { "empty" } else { found };
        Complaint::new(format_args!("`{name}` takes {wanted}, and {label} is {found}; usage: {usage}"))
    }
}

/// The text of a value; nothing for null, lists and maps.
pub(super) fn text(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) => Some(Cow::Borrowed(text)),
        Value::Number(number) => Some(Cow::Owned(number.to_string())),
        Value::Bool(boolean) => Some(Cow::Borrowed(if *boolean { "true" } else { "false" })),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// The argument as the template writes it: ready for a sentence.
pub(super) fn label(value: &PathAndJson<'_>) -> Cow<'static, str> {
    match value.context_path().map(|path| path.join(".")).as_ref().or(value.relative_path()) {
        Some(path) => Cow::Owned(format!("`{}`", catalogue::plain(path))),
        None => Cow::Borrowed("the value"),
    }
}

/// The result of a helper.
pub(super) fn derived(value: impl Into<Value>) -> ScopedJson<'static> {
    ScopedJson::Derived(value.into())
}
