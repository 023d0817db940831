//! The document as written → [`Config`].

use std::path::Path;

use super::{Config, Environment, Problem};

/// Reads the text of a configuration file. `file` is its name as the user gave it: it stands in every problem, and relative
/// paths of templates are beside it.
pub fn parse(_file: &Path, _text: &str, _environment: Environment<'_>) -> Result<Config, Vec<Problem>> {
    Err(Vec::new())
}
