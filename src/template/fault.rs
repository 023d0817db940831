//! Turns every error of Handlebars into our own words.
//!
//! *Invariant:* only the text of a [`Complaint`], and names from the template, are passed on from an error.

use std::fmt::Display;
use std::io::ErrorKind;

use handlebars::{RenderError, RenderErrorReason, TemplateError, TemplateErrorReason};

use super::{Place, Problem, catalogue};

/// The complaint of one of our helpers; without values.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Complaint(String);

impl Complaint {
    pub(super) fn new(message: impl Display) -> Self {
        Self(message.to_string())
    }
}

/// It has computed as long as it may.
const TOO_LONG: &str = "the template computes for more than 10 s here: a list in it is too long for what is done with each of its items";

impl Complaint {
    pub(super) fn too_long() -> Self {
        Self::new(TOO_LONG)
    }
}

impl From<Complaint> for RenderError {
    fn from(complaint: Complaint) -> Self {
        RenderErrorReason::NestedError(Box::new(complaint)).into()
    }
}

/// Why a template does not render.
pub(super) fn problem(error: &RenderError) -> Problem {
    let place = match (error.line_no, error.column_no) {
        (Some(line), Some(column)) => Place { line, column },
        _ => Place::START,
    };
    Problem::new(place, message(error.reason()))
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the enum is Handlebars' own and may grow; what is not listed must not be passed on"
)]
fn message(reason: &RenderErrorReason) -> String {
    match reason {
        RenderErrorReason::NestedError(cause) => match cause.downcast_ref::<Complaint>() {
            Some(complaint) => complaint.to_string(),
            None => "it cannot be rendered".to_owned(),
        },
        RenderErrorReason::IOError(error) if error.kind() == ErrorKind::TimedOut => TOO_LONG.to_owned(),
        RenderErrorReason::IOError(_) => "the output is larger than 8 MiB".to_owned(),
        RenderErrorReason::InvalidJsonIndex(_) => {
            "a list has no fields: its items are numbers, as in `db.hosts.0`".to_owned()
        }
        RenderErrorReason::MissingVariable(_) => "there is nothing here to walk or to enter".to_owned(),
        RenderErrorReason::PartialNotFound(name) => {
            format!("there is no partial `{}` here", catalogue::plain(name))
        }
        _ => "it cannot be rendered".to_owned(),
    }
}

/// Why a text is not a template. After `scan`, only a single tag can be wrong.
pub(super) fn syntax_problem(error: &TemplateError, text: &str) -> Problem {
    let place = error.pos().map(|(line, column)| Place { line, column });
    if let TemplateErrorReason::InvalidParam(value) = error.reason() {
        let start = text.find(value.as_str()).unwrap_or_default();
        let message = format!("`{}` is not a value", catalogue::plain(value));
        return Problem::new(place.unwrap_or(Place::of(text, start)), message);
    }
    let expected = expected(&error.reason().to_string());
    Problem::new(place.unwrap_or(Place::START), format!("this tag is not complete{expected}"))
}

/// The parser's expectations, in words that a reader knows.
fn expected(reason: &str) -> String {
    const WORDS: [(&str, &str); 7] = [
        ("identifier", "a name"),
        ("path_id", "a name"),
        ("path_inline", "a name"),
        ("helper_parameter", "a value"),
        ("block_param", "`as |name|`"),
        ("helper_block_end", "the end of the block"),
        ("trailing_tilde_to_omit_whitespace", "`}}`"),
    ];
    let (_, expectations) =
        reason.split_once("; expected ").or(reason.split_once(": expected ")).unwrap_or_default();
    let rules: Vec<&str> = expectations.split([' ', ',']).collect();
    let mut words: Vec<&str> =
        WORDS.iter().filter(|(rule, _)| rules.contains(rule)).map(|(_, word)| *word).collect();
    words.dedup();
    if words.is_empty() { String::new() } else { format!(": expected {}", words.join(" or ")) }
}
