//! Helpers with regular expressions, in the language of the crate `regex`, which is close to Go's.
//!
//! *Invariant:* the time is linear in the text, whatever the expression is, and no error contains an expression that could be a value.

use regex::{Regex, RegexBuilder};
use serde_json::Value;

use super::{Arguments, Complaint, too_large};
use crate::template::OUTPUT_LIMIT;

/// What a compiled expression may take: 1 MiB. A greater one repeats a repetition.
const COMPILED: usize = 1 << 20;

/// Whether the expression finds something in the text.
pub(super) fn regex_match(arguments: &Arguments<'_>) -> Result<Value, Complaint> {
    Ok(expression(arguments, 1)?.is_match(&arguments.text(0)?).into())
}

/// Everything that the expression finds, replaced; `$1` and `${name}` stand for its groups.
pub(super) fn regex_replace(arguments: &Arguments<'_>) -> Result<Value, Complaint> {
    let (text, expression, with) = (arguments.text(0)?, expression(arguments, 1)?, arguments.text(2)?);
    let (mut result, mut rest) = (String::new(), 0);
    for found in expression.captures_iter(&text) {
        let whole = found.get_match();
        result.push_str(text.get(rest..whole.start()).unwrap_or_default());
        found.expand(&with, &mut result);
        rest = whole.end();
        if result.len() > OUTPUT_LIMIT {
            return Err(too_large("regex_replace"));
        }
    }
    result.push_str(text.get(rest..).unwrap_or_default());
    Ok(result.into())
}

fn expression(arguments: &Arguments<'_>, index: usize) -> Result<Regex, Complaint> {
    let text = arguments.some_text(index)?;
    RegexBuilder::new(&text).size_limit(COMPILED).dfa_size_limit(COMPILED).build().map_err(|error| {
        let (name, label) = (arguments.name(), arguments.label(index));
        let why = match (arguments.literal(index), error) {
            (_, regex::Error::CompiledTooBig(_)) => "it is too large".to_owned(),
            // The library shows the expression with a mark under the fault; its last line says what is wrong.
            (Some(_), error) => error.to_string().lines().last().unwrap_or_default().trim().to_owned(),
            (None, _) => "its syntax is wrong".to_owned(),
        };
        Complaint::new(format_args!("`{name}` takes a regular expression, and {label} is none: {why}"))
    })
}
