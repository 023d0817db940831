//! Helpers with regular expressions, in the language of the crate `regex`, which is close to Go's.
//!
//! *Invariant:* time and memory are bounded, whatever the text is, and no error contains an expression that could be a value.
//!
//! One search takes time that is linear in the text, and in the expression: so the longer the text is, the smaller that has to be. Each
//! further search may look to the end of the text again: `a.*z|a` does so at every `a`. So their time together is measured, and a text
//! cannot hold up its service for hours.

use std::time::Duration;

use regex::{Captures, Regex, RegexBuilder, bytes};
use serde_json::Value;

use super::{Arguments, Complaint, too_large};
use crate::template::OUTPUT_LIMIT;
use crate::template::effort::computed;

/// What a compiled expression may take: 1 MiB. A greater one repeats a repetition.
const COMPILED: usize = 1 << 20;

/// The same for an expression that is a value, and how long the text for it may be: 64 KiB. The time of a search is the product of both, and
/// whoever wrote the template chose neither.
const OF_VALUE: usize = 1 << 16;

/// The product of both, where the expression is compiled as if each character were a byte: 64 KiB for a text of 16 KiB. The slowest search
/// takes some two seconds then. A class of Unicode is a large table and one step, so the usual size says little of the time.
const STEPS: usize = 1 << 30;
/// What an expression may take by that measure however long the text is: some dozens of words and classes.
const ALWAYS: usize = 4 << 10;
/// A class that only Unicode has cannot be measured so. Its table counts for that much less.
const TABLE: usize = 4;

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
        push(&mut result, text.get(rest..whole.start()).unwrap_or_default())?;
        expand(&found, &with, &mut result)?;
        rest = whole.end();
        if computed() > end {
            let label = arguments.label(0);
            return Err(Complaint::new(format_args!(
                "`regex_replace` needs more than {} s for {label}: its expression looks at most of the text again for each \
                 match; write one that ends sooner",
                LONGEST.as_secs()
            )));
        }
    }
    push(&mut result, text.get(rest..).unwrap_or_default())?;
    Ok(result.into())
}

fn push(result: &mut String, part: &str) -> Result<(), Complaint> {
    if result.len().saturating_add(part.len()) > OUTPUT_LIMIT {
        return Err(too_large("regex_replace"));
    }
    result.push_str(part);
    Ok(())
}

/// Writes what stands for one match, a piece at a time: each of many references may stand for all of the text.
fn expand(found: &Captures<'_>, with: &str, result: &mut String) -> Result<(), Complaint> {
    let mut rest = with;
    while let Some((piece, others)) =
        rest.split_at_checked(piece(rest)).filter(|(piece, _)| !piece.is_empty())
    {
        found.expand(piece, result);
        push(result, "")?;
        rest = others;
    }
    Ok(())
}

/// The length of the first piece, which has at most one reference, at its beginning: `$1 and ` or `${name}`. `$$` stands for a `$`.
fn piece(with: &str) -> usize {
    let reference = match with.as_bytes() {
        [b'$', b'$', ..] => 2,
        [b'$', b'{', ..] => with.find('}').map_or(2, |end| end + 1),
        [b'$', ..] => 1,
        _ => 0,
    };
    let behind = with.get(reference..).unwrap_or_default();
    reference + behind.find('$').unwrap_or(behind.len())
}

/// The second argument, for the text that is the first.
fn expression(arguments: &Arguments<'_>) -> Result<Regex, Complaint> {
    let (text, literal) = (arguments.some_text(1)?, arguments.literal(1));
    let length = arguments.text(0)?.len();
    let most = if literal.is_some() { COMPILED } else { OF_VALUE };
    if literal.is_none() && length > OF_VALUE {
        let (name, label) = (arguments.name(), arguments.label(0));
        return Err(Complaint::new(format_args!(
            "`{name}` takes a text of at most 64 KiB where the expression is a value too, and {label} is longer"
        )));
    }
    let complain = |why: &str| {
        let (name, label) = (arguments.name(), arguments.label(1));
        Complaint::new(format_args!("`{name}` takes a regular expression, and {label} is none: {why}"))
    };
    let built = RegexBuilder::new(&text).size_limit(most).dfa_size_limit(COMPILED).build();
    let expression = built.map_err(|error| match (literal, error) {
        (_, regex::Error::CompiledTooBig(_)) => complain("it is too large"),
        // The library shows the expression with a mark under the fault; its last line says what is wrong.
        (Some(_), error) => complain(error.to_string().lines().last().unwrap_or_default().trim()),
        (None, _) => complain("its syntax is wrong"),
    })?;
    if is_slow(&text, (STEPS / length.max(1)).max(ALWAYS)) {
        return Err(complain("it is too large for a text of this length"));
    }
    Ok(expression)
}

/// Whether an expression is larger than this, by what takes time.
fn is_slow(expression: &str, most: usize) -> bool {
    let in_bytes = bytes::RegexBuilder::new(expression).unicode(false).size_limit(most).build();
    match in_bytes {
        Ok(_) => false,
        Err(regex::Error::CompiledTooBig(_)) => true,
        Err(_) => {
            let built = RegexBuilder::new(expression).size_limit(most.saturating_mul(TABLE)).build();
            matches!(built, Err(regex::Error::CompiledTooBig(_)))
        }
    }
}
