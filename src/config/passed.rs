//! Credentials that systemd passes to a unit, as files in a directory that is the unit's alone.
//!
//! *Invariant:* pure: others look whether such a file exists.

use std::path::{Path, PathBuf};

use super::Environment;

/// The name of the credential that is the key of a store's owner.
pub const PASSED_KEY: &str = "squire-store-key";
/// The name of the credential that is the secret-id of a store's role.
pub const PASSED_SECRET_ID: &str = "squire-secret-id";

/// The path of the credential with this name, if this is a unit with credentials.
pub fn passed(environment: Environment<'_>, name: &str) -> Option<PathBuf> {
    let directory = environment("CREDENTIALS_DIRECTORY").filter(|directory| !directory.is_empty())?;
    Some(Path::new(&directory).join(name))
}
