//! `{{meta secret "key"}}`: what is known of a secret beside its fields.
//!
//! *Invariant:* which secrets a template may ask about is known before: the walk of its references lists them.

use handlebars::{
    Context, Handlebars, Helper as Call, HelperDef, PathAndJson, RenderContext, RenderError, ScopedJson,
};
use serde_json::Value;

use super::Complaint;
use crate::template::arguments::{derived, label, text};
use crate::template::{META, catalogue, missing};

/// The helper; it needs to know which secret its first value is, and not what is in it.
pub(super) struct Meta {
    /// A key that there is not gives null.
    pub(super) absent_is_null: bool,
}

impl HelperDef for Meta {
    fn call_inner<'reg: 'rc, 'rc>(
        &self,
        call: &Call<'rc>,
        _: &'reg Handlebars<'reg>,
        context: &'rc Context,
        render: &mut RenderContext<'reg, 'rc>,
    ) -> Result<ScopedJson<'rc>, RenderError> {
        if let Some(absent) = call.params().iter().find(|value| value.is_value_missing()) {
            return Err(Complaint::new(missing::explain(absent, context, render)).into());
        }
        let (Some(subject), Some(key)) = (call.param(0), call.param(1)) else {
            return Err(Complaint::new("`meta` takes a secret and a key").into());
        };
        let known = known(subject, context)?;
        let name = text(key.value()).ok_or_else(|| Complaint::new("the key of `meta` is text"))?;
        match known.and_then(|known| known.get(name.as_ref())) {
            Some(value) => Ok(derived(value.clone())),
            None if self.absent_is_null => Ok(derived(Value::Null)),
            None => Err(absent(subject, key, known).into()),
        }
    }
}

/// What is known of the secret; nothing of one that is not there.
fn known<'a>(
    subject: &PathAndJson<'_>,
    context: &'a Context,
) -> Result<Option<&'a serde_json::Map<String, Value>>, Complaint> {
    if let Some([secret]) = subject.context_path().map(Vec::as_slice) {
        return Ok(context.data().get(META).and_then(|all| all.get(secret)?.as_object()));
    }
    let subject = label(subject);
    Err(Complaint::new(format_args!("`meta` is about a secret, and {subject} is none")))
}

/// An error contains the key only if the template has it literally: the key could be a value.
fn absent(
    subject: &PathAndJson<'_>,
    key: &PathAndJson<'_>,
    known: Option<&serde_json::Map<String, Value>>,
) -> Complaint {
    let literal = key.try_get_constant_value().and_then(Value::as_str);
    let name = literal.map(|name| format!(" `{}`", catalogue::plain(name))).unwrap_or_default();
    let subject = label(subject);
    match known.filter(|known| !known.is_empty()) {
        Some(known) => {
            let known = catalogue::list(known.keys().map(String::as_str));
            Complaint::new(format_args!("nothing{name} is known of {subject}; known is {known}"))
        }
        None => Complaint::new(format_args!("nothing is known of {subject} beside its fields")),
    }
}
