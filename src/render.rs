//! Plan × Snapshot → Release: everything rendered, or an error; never some of it.
//!
//! *Invariant:* pure; a [`Release`] is whole by construction.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::config::Mode;
use crate::names::{Generation, Revision, SecretName};
use crate::secret::{Digest, Secret};

/// A generation rendered: every file and every environment value.
#[derive(Clone, Debug)]
pub struct Release {
    /// Which one.
    pub generation: Generation,
    /// Every file, in the order of the configuration; no path twice.
    pub files: Vec<RenderedFile>,
    /// Every rendered variable of the process.
    pub env: BTreeMap<String, Secret<str>>,
    /// Tells whether any variable changed.
    pub env_digest: Digest,
    /// Which value of each secret it was made from.
    pub revisions: BTreeMap<SecretName, Revision>,
}

/// One file of a release.
#[derive(Clone, Debug)]
pub struct RenderedFile {
    /// Relative and normalized: part of the generation directory. Absolute: replaced by one rename.
    pub path: PathBuf,
    /// What is in it.
    pub contents: Secret<[u8]>,
    /// Tells whether the contents changed.
    pub digest: Digest,
    /// Who may read it.
    pub attributes: Attributes,
}

/// Mode and owners of a file, resolved to numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attributes {
    /// Permission bits.
    pub mode: Mode,
    /// User id.
    pub owner: u32,
    /// Group id.
    pub group: u32,
}
