//! Helpers that read a text of another language into a value.
//!
//! *Invariant:* an error tells where the text is wrong, and nothing that is in it.

use serde_json::Value;

use super::{Arguments, Complaint};
use crate::secret::readable;
use crate::size;
use crate::yaml::{self, Node, Wrong};

/// JSON (RFC 8259).
pub(super) fn parse_json(arguments: &Arguments<'_>) -> Result<Value, Complaint> {
    let text = arguments.text(0)?;
    if size::values(text.as_bytes()) > yaml::NODES {
        let (name, label) = (arguments.name(), arguments.label(0));
        let most = yaml::NODES;
        return Err(Complaint::new(format_args!(
            "`{name}` takes at most {most} values, and {label} has more"
        )));
    }
    readable(&text)
        .and_then(|()| serde_json::from_str(&text))
        .map_err(|error| wrong(arguments, error.line(), error.column(), "is no JSON"))
}

/// One document of YAML.
pub(super) fn parse_yaml(arguments: &Arguments<'_>) -> Result<Value, Complaint> {
    let why = |Wrong { at, why }| wrong(arguments, at.line, at.column, why);
    let mut documents = yaml::documents(&arguments.text(0)?).map_err(why)?.into_iter();
    match (documents.next(), documents.next()) {
        (None, _) => Ok(Value::Null),
        (Some(only), None) => only.value().map_err(why),
        (_, Some(Node { at, .. })) => Err(wrong(arguments, at.line, at.column, "begins a second document")),
    }
}

fn wrong(arguments: &Arguments<'_>, line: usize, column: usize, why: &str) -> Complaint {
    let (name, label) = (arguments.name(), arguments.label(0));
    Complaint::new(format_args!("`{name}` cannot read {label}: its line {line}, column {column}, {why}"))
}
