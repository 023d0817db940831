//! Files with a token of a source: single files, each replaced by a rename, of which no manifest knows.
//!
//! *Invariant:* as for every absolute destination: what Squire did not put there is not replaced, and not removed.

use std::path::PathBuf;

use crate::config::OutputConfig;
use crate::names::Generation;
use crate::publish::destination::Destination;
use crate::publish::{PublishError, layout};
use crate::render::RenderedFile;

/// Looks whether they can be written, and removes what a killed run was writing. A token of that run stays until there is another.
///
/// # Errors
/// If there is a file that Squire did not write, or the directory is missing or not in memory.
pub fn prepare_tokens(output: &OutputConfig, paths: &[PathBuf]) -> Result<(), PublishError> {
    for path in paths {
        let destination = Destination::open(path, output.allow_disk)?;
        destination.claim()?;
        destination.clear_leftovers()?;
        if destination.is_there()? && !destination.is_ours() {
            return Err(PublishError::Foreign { path: path.clone() });
        }
    }
    Ok(())
}

/// Writes this file beside its path, and renames it over that.
///
/// # Errors
/// If it cannot; what was there stays.
pub fn replace(output: &OutputConfig, file: &RenderedFile) -> Result<(), PublishError> {
    let destination = Destination::open(&file.path, output.allow_disk)?;
    // No two tokens have the same digest, and it tells others nothing: no number is needed.
    let temporary = layout::temporary(&file.path, Generation::FIRST, &file.digest);
    destination.prepare(&temporary, file)?;
    let replaced = destination.replace(&temporary);
    if replaced.is_err() {
        destination.retract(&temporary).unwrap_or_default();
    }
    replaced
}

/// Removes them, as far as they are Squire's. Goes on after an error; returns what could not be removed.
#[must_use = "these files are still there"]
pub fn remove_tokens(output: &OutputConfig, paths: &[PathBuf]) -> Vec<PublishError> {
    let removed = paths.iter().map(|path| {
        let swept = Destination::at(path, output.allow_disk).and_then(|found| found.sweep_as_recorded());
        match swept {
            Ok(_) | Err(PublishError::NoParent { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    });
    removed.filter_map(Result::err).collect()
}
