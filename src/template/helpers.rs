//! The helpers that templates call, and those that `prepare` puts around every value.
//!
//! *Invariant:* the result of a helper is at most [`OUTPUT_LIMIT`] long, so that nested calls cannot grow without end.

mod carry;
mod certificate;
mod collections;
mod credentials;
mod encode;
mod environment;
mod format;
mod lines;
mod meta;
mod numbers;
mod outside;
mod parse;
mod patterns;
mod text;
mod timestamp;
mod values;

use std::sync::Arc;

use handlebars::{Context, Handlebars, Helper as Call, HelperDef, RenderContext, RenderError, ScopedJson};
use serde_json::Value;

use super::arguments::{Arguments, derived};
use super::catalogue::{self, Absence, Helper};
use super::fault::Complaint;
use super::{OUTPUT_LIMIT, Surroundings, effort, missing, prepare};

pub(super) use encode::decoded;

/// The function of a helper.
type Function = fn(&Arguments<'_>) -> Result<Value, Complaint>;

/// Our helpers that need nothing but their arguments; the others are Handlebars' own or registered below.
const FUNCTIONS: [(&str, Function); 61] = [
    ("json", format::json),
    ("json_pretty", format::json_pretty),
    ("yaml", format::yaml),
    ("toml", format::toml),
    ("shell", encode::shell),
    ("url", encode::url),
    ("base64", encode::base64),
    ("base64_decode", encode::base64_decode),
    ("base64_url", encode::base64_url),
    ("base64_url_decode", encode::base64_url_decode),
    ("sha256", encode::sha256),
    ("hmac_sha256", encode::hmac_sha256),
    ("parse_json", parse::parse_json),
    ("parse_yaml", parse::parse_yaml),
    ("indent", text::indent),
    ("trim", text::trim),
    ("upper", text::upper),
    ("lower", text::lower),
    ("title", text::title),
    ("trim_prefix", text::trim_prefix),
    ("trim_suffix", text::trim_suffix),
    ("replace", text::replace),
    ("regex_replace", patterns::regex_replace),
    ("regex_match", patterns::regex_match),
    ("split", text::split),
    ("join", text::join),
    ("contains", collections::contains),
    ("index", collections::index),
    ("keys", collections::keys),
    ("values", collections::values),
    ("first", collections::first),
    ("last", collections::last),
    ("sort", collections::sort),
    ("uniq", collections::uniq),
    ("add", numbers::add),
    ("subtract", numbers::subtract),
    ("multiply", numbers::multiply),
    ("divide", numbers::divide),
    ("modulo", numbers::modulo),
    ("range", numbers::range),
    ("concat", text::concat),
    ("line", lines::line),
    ("word", lines::word),
    ("env_name", environment::env_name),
    ("compose_env", environment::compose_env),
    ("systemd_env", environment::systemd_env),
    ("properties", environment::properties),
    ("ini", lines::ini),
    ("configparser", lines::configparser),
    ("pgpass", lines::pgpass),
    ("my_cnf", lines::my_cnf),
    ("netrc", lines::netrc),
    ("npmrc", lines::npmrc),
    ("jaas", lines::jaas),
    ("basic_auth", credentials::basic_auth),
    ("bcrypt", credentials::bcrypt),
    ("pem", credentials::pem),
    ("certificate", certificate::certificate),
    ("chain", certificate::chain),
    ("default", values::default),
    ("only", values::only),
];

/// Gives the registry every helper of the catalogue, and no other.
pub(super) fn register(registry: &mut Handlebars<'static>, surroundings: Surroundings) {
    registry.unregister_helper("log");
    for (name, function) in FUNCTIONS {
        add(registry, name, name, function);
    }
    let surroundings = Arc::new(surroundings);
    for (name, lenient) in prepare::LENIENT {
        for (registered, absent_is_null) in [(name, false), (lenient, true)] {
            let surroundings = Arc::clone(&surroundings);
            match name {
                "env" => add(registry, name, registered, move |arguments| {
                    outside::env(arguments, &surroundings, absent_is_null)
                }),
                "file" => add(registry, name, registered, move |arguments| {
                    outside::file(arguments, &surroundings, absent_is_null)
                }),
                "meta" => registry.register_helper(registered, Box::new(meta::Meta { absent_is_null })),
                _ => add(registry, name, registered, move |arguments| {
                    values::lookup(arguments, absent_is_null)
                }),
            }
        }
    }
    registry.register_helper("timestamp", Box::new(timestamp::Timestamp));
    values::register(registry);
}

/// Registers a function under a name, with the usage and rules that `name` has in the catalogue.
fn add<F>(registry: &mut Handlebars<'static>, name: &str, registered: &str, function: F)
where
    F: Fn(&Arguments<'_>) -> Result<Value, Complaint> + Send + Sync + 'static,
{
    if let Some(helper) = catalogue::find(name) {
        registry.register_helper(registered, Box::new(Inline { helper, function }));
    }
}

/// A helper that returns a value.
struct Inline<F> {
    helper: &'static Helper,
    function: F,
}

impl<F> HelperDef for Inline<F>
where
    F: Fn(&Arguments<'_>) -> Result<Value, Complaint>,
{
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
        let first = usize::from(self.helper.absence == Absence::FirstNull);
        if let Some(absent) = call.params().iter().skip(first).find(|value| value.is_value_missing()) {
            return Err(Complaint::new(missing::explain(absent, context, render)).into());
        }
        let value = (self.function)(&Arguments::new(self.helper, call))?;
        if value.as_str().is_some_and(|text| text.len() > OUTPUT_LIMIT) {
            return Err(too_large(self.helper.name).into());
        }
        Ok(derived(value))
    }
}

/// The result of this helper would exceed [`OUTPUT_LIMIT`].
fn too_large(helper: &str) -> Complaint {
    Complaint::new(format_args!("what `{helper}` yields is larger than 8 MiB"))
}
