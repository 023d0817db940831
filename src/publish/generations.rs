//! Which directories in the output are generations that Squire made: by number and inode, in a file beside them.
//!
//! The adversary may write to the output directory, as every container of a pod may, and renames to `..gen-9` what he cannot remove
//! himself. A name and an owner are no proof then, so only what was written down when it was made is read, shown or removed.
//!
//! *Invariant:* what cannot be read says nothing: no generation is then ours.

use std::collections::BTreeMap;
use std::path::Path;

use rustix::fs::FileType;

use super::directory::Directory;
use super::{PublishError, layout};
use crate::names::Generation;

/// A larger file is none of ours.
const LARGEST: u64 = 1024 * 1024;

/// The inode of each generation, by its number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Generations(BTreeMap<u64, u64>);

impl Generations {
    /// Those of this output directory.
    pub(super) fn read(directory: &Directory) -> Self {
        let written =
            directory.bytes(layout::GENERATIONS, LARGEST).filter(|_| directory.is_own(layout::GENERATIONS));
        let numbers = written.and_then(|(bytes, _)| serde_json::from_slice(&bytes).ok());
        Self(numbers.unwrap_or_default())
    }

    /// Notes one that was just made.
    pub(super) fn add(
        directory: &Directory,
        generation: Generation,
        made: &Directory,
    ) -> Result<(), PublishError> {
        let mut generations = Self::read(directory);
        // Those that are gone need no memory; after a crash nobody else forgets them.
        generations.0.retain(|number, inode| {
            let name = Generation::from_number(*number).map(layout::directory);
            name.is_some_and(|name| directory.stat(name).is_ok_and(|found| found.st_ino == *inode))
        });
        generations.0.insert(generation.number(), made.inode()?);
        generations.write(directory)
    }

    fn write(&self, directory: &Directory) -> Result<(), PublishError> {
        // Numbers can always be written.
        let bytes = serde_json::to_vec(&self.0).unwrap_or_default();
        directory.replace_private(Path::new(layout::GENERATIONS), &layout::unguessable()?, &bytes)
    }

    /// The directory of a generation that we made; `None` where there is none, or what has its name is another.
    pub(super) fn open(&self, directory: &Directory, generation: Generation) -> Option<Directory> {
        let name = layout::directory(generation);
        if directory.kind(&name).ok()?? != FileType::Directory {
            return None;
        }
        let open = directory.descend(&name).ok()?;
        (self.0.get(&generation.number()) == Some(&open.inode().ok()?)).then_some(open)
    }
}
