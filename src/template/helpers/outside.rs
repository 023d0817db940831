//! Helpers that read the environment and files.
//!
//! *Invariant:* an error contains the name or path only if the template has it literally, and of the cause only its kind.

use std::io;
use std::path::Path;

use serde_json::Value;

use super::{Arguments, Complaint, Surroundings};

/// An environment variable.
pub(super) fn env(
    arguments: &Arguments<'_>,
    surroundings: &Surroundings,
    absent_is_null: bool,
) -> Result<Value, Complaint> {
    let name = arguments.some_text(0)?;
    match (surroundings.env)(&name) {
        Some(value) => Ok(value.into()),
        None if absent_is_null => Ok(Value::Null),
        None => Err(Complaint::new(format_args!(
            "{} is not set; `default` gives a value to use then",
            arguments.literal(0).map_or_else(
                || "the environment variable".to_owned(),
                |name| format!("the environment variable `{name}`")
            )
        ))),
    }
}

/// The contents of a file.
pub(super) fn file(
    arguments: &Arguments<'_>,
    surroundings: &Surroundings,
    absent_is_null: bool,
) -> Result<Value, Complaint> {
    let path = arguments.some_text(0)?;
    match (surroundings.file)(Path::new(path.as_ref())) {
        Ok(contents) => Ok(contents.into()),
        Err(error) if absent_is_null && error.kind() == io::ErrorKind::NotFound => Ok(Value::Null),
        Err(error) => Err(Complaint::new(format_args!(
            "cannot read {}: {}",
            arguments.literal(0).map_or_else(|| "the file".to_owned(), |path| format!("`{path}`")),
            error
        ))),
    }
}
