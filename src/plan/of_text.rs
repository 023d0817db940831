//! The plan of a text, for tests: there are no files, no variables and no users.

use std::io;
use std::path::Path;

use super::{Plan, Surroundings, compile};
use crate::config;

/// The plan, or the problems of the text, a line each.
pub(super) fn of_text(text: &str) -> Result<Plan, String> {
    let joined = |problems: Vec<String>| problems.join("\n");
    let config = config::parse(Path::new("s.toml"), text, &|_| None)
        .map_err(|problems| joined(problems.iter().map(ToString::to_string).collect()))?;
    let surroundings = Surroundings {
        read: &|_| Err(io::ErrorKind::NotFound.into()),
        user: &|_| None,
        group: &|_| None,
        person: &|_| None,
        own: (0, 0),
    };
    compile(&config, None, &surroundings)
        .map_err(|findings| joined(findings.iter().map(ToString::to_string).collect()))
}
