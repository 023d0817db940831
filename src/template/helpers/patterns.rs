//! Helpers with regular expressions, in the language of the crate `regex`, which is close to Go's.
//!
//! *Invariant:* the time is bounded, whatever the text is, and no error contains an expression that could be a value.
//!
//! One search takes time that is linear in the text. Each further one may look to the end of the text again: `a.*z|a` does so at every `a`.
//! So their time together is measured, and a text cannot hold up its service for hours.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use regex::{Regex, RegexBuilder};
use serde_json::Value;

use super::{Arguments, Complaint, too_large};
use crate::template::OUTPUT_LIMIT;

/// What a compiled expression may take: 1 MiB. A greater one repeats a repetition.
const COMPILED: usize = 1 << 20;

/// The same for an expression that is a value, and how long the text for it may be: 64 KiB. The time of a search is the product of both, and
/// whoever wrote the template chose neither.
const OF_VALUE: usize = 1 << 16;

/// How long the searches of one call may compute. An ordinary text takes some milliseconds.
const LONGEST: Duration = Duration::from_secs(2);

/// Whether the expression finds something in the text.
pub(super) fn regex_match(arguments: &Arguments<'_>) -> Result<Value, Complaint> {
    Ok(expression(arguments)?.is_match(&arguments.text(0)?).into())
}

/// Everything that the expression finds, replaced; `$1` and `${name}` stand for its groups.
pub(super) fn regex_replace(arguments: &Arguments<'_>) -> Result<Value, Complaint> {
    let (text, expression, with) = (arguments.text(0)?, expression(arguments)?, arguments.text(2)?);
    let end = computed().saturating_add(LONGEST);
    let (mut result, mut rest) = (String::new(), 0);
    for found in expression.captures_iter(&text) {
        let whole = found.get_match();
        result.push_str(text.get(rest..whole.start()).unwrap_or_default());
        found.expand(&with, &mut result);
        rest = whole.end();
        if result.len() > OUTPUT_LIMIT {
            return Err(too_large("regex_replace"));
        }
        if computed() > end {
            let label = arguments.label(0);
            return Err(Complaint::new(format_args!(
                "`regex_replace` needs more than {} s for {label}: its expression looks at most of the text again for each \
                 match; write one that ends sooner",
                LONGEST.as_secs()
            )));
        }
    }
    result.push_str(text.get(rest..).unwrap_or_default());
    Ok(result.into())
}

/// How long this thread has computed: a machine that is busy with something else makes no text too long.
fn computed() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map(Duration::from).unwrap_or_default()
}

/// The second argument, for the text that is the first.
fn expression(arguments: &Arguments<'_>) -> Result<Regex, Complaint> {
    let (text, literal) = (arguments.some_text(1)?, arguments.literal(1));
    let most = if literal.is_some() { COMPILED } else { OF_VALUE };
    if literal.is_none() && arguments.text(0)?.len() > OF_VALUE {
        let (name, label) = (arguments.name(), arguments.label(0));
        return Err(Complaint::new(format_args!(
            "`{name}` takes a text of at most 64 KiB where the expression is a value too, and {label} is longer"
        )));
    }
    RegexBuilder::new(&text).size_limit(most).dfa_size_limit(COMPILED).build().map_err(|error| {
        let (name, label) = (arguments.name(), arguments.label(1));
        let why = match (literal, error) {
            (_, regex::Error::CompiledTooBig(_)) => "it is too large".to_owned(),
            // The library shows the expression with a mark under the fault; its last line says what is wrong.
            (Some(_), error) => error.to_string().lines().last().unwrap_or_default().trim().to_owned(),
            (None, _) => "its syntax is wrong".to_owned(),
        };
        Complaint::new(format_args!("`{name}` takes a regular expression, and {label} is none: {why}"))
    })
}
