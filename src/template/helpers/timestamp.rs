//! `{{timestamp}}`: when the newest of the secrets that the template refers to came.
//!
//! *Invariant:* not the time of day: it changes only with a value, or each rendering would look like a rotation.

use handlebars::{Context, Handlebars, Helper as Call, HelperDef, RenderContext, RenderError, ScopedJson};

use super::Complaint;
use crate::template::NEWEST;
use crate::template::arguments::derived;

/// The helper, which takes no value.
pub(super) struct Timestamp;

impl HelperDef for Timestamp {
    fn call_inner<'reg: 'rc, 'rc>(
        &self,
        _: &Call<'rc>,
        _: &'reg Handlebars<'reg>,
        context: &'rc Context,
        _: &mut RenderContext<'reg, 'rc>,
    ) -> Result<ScopedJson<'rc>, RenderError> {
        let newest = context.data().get(NEWEST).cloned();
        newest.map(derived).ok_or_else(|| {
            Complaint::new(
                "`timestamp` is when the newest secret of this template came, and the template refers to none",
            )
            .into()
        })
    }
}
