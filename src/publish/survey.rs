//! Reads the published state from the disk: the manifest of a run that has just begun.
//!
//! *Invariant:* only reads. A file that it cannot read or does not recognize counts as not published, and is published anew.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, fstat};

use super::destination::Destination;
use super::directory::{Directory, Symlink, failed};
use super::generations::Generations;
use super::manifest::{Entry, Leftover, Manifest, Standing, Tree};
use super::{PublishError, layout};
use crate::config::{Mode, OutputConfig};
use crate::names::Generation;
use crate::secret::DigestKey;

/// Reads what is published in `output.dir`, and at these absolute destinations.
///
/// # Errors
/// If the output is on disk, if a link of Squire's names something that is not Squire's, or if a path cannot be a destination.
pub fn survey(
    output: &OutputConfig,
    absolute: &[PathBuf],
    key: &DigestKey,
) -> Result<Manifest, PublishError> {
    let mut manifest = Manifest::default();
    if let Some(dir) = &output.dir
        && let Some(directory) = Directory::open(dir, Symlink::Refused, output.allow_disk)?
    {
        manifest = survey_directory(&directory, key)?;
    }
    for path in absolute {
        let destination = Destination::open(path, output.allow_disk)?;
        manifest.leftovers.extend(destination.leftovers()?.into_iter().map(Leftover::Temporary));
        if let Some(entry) = destination.read(key) {
            manifest.absolute.insert(path.clone(), Standing { entry, ours: destination.is_ours() });
        }
    }
    Ok(manifest)
}

fn survey_directory(directory: &Directory, key: &DigestKey) -> Result<Manifest, PublishError> {
    let generations = Generations::read(directory);
    let names = directory.names()?;
    let is_ours = |generation: &Generation| generations.open(directory, *generation).is_some();
    let live = named(directory, layout::DATA)?
        .map(|generation| survey_tree(directory, generation, key))
        .transpose()?;
    // Before anything was live, the name was only reserved.
    let is_reserved = directory.kind(layout::DATA)?.is_none();
    let previous = named(directory, layout::PREVIOUS)?;
    let reserved = previous.filter(|_| is_reserved).map(|_| PathBuf::from(layout::PREVIOUS));
    let previous = previous
        .filter(|generation| !is_reserved && live.as_ref().is_none_or(|live| live.generation != *generation))
        .map(|generation| survey_tree(directory, generation, key))
        .transpose()?;
    let all = names.iter().filter_map(|name| layout::generation(name));
    let (ours, taken): (BTreeSet<_>, BTreeSet<_>) = all.partition(is_ours);
    let mut manifest = Manifest { live, previous, taken, ..Manifest::default() };
    manifest.exposed = exposed(directory, &names)?;

    let newest = manifest.highest();
    let is_named = |generation: &Generation| {
        manifest.live.iter().chain(&manifest.previous).any(|tree| tree.generation == *generation)
    };
    // Generations only grow: one above those that are named was never live.
    let (older, half_made): (BTreeSet<_>, BTreeSet<_>) = ours
        .into_iter()
        .filter(|generation| !is_named(generation))
        .partition(|generation| Some(*generation) < newest);
    manifest.superseded = older;
    let links = names.iter().filter(|name| layout::is_on_its_way(name) && directory.is_own(name));
    // Links first: what one of them names is not removed.
    manifest.leftovers.extend(links.chain(&reserved).cloned().map(Leftover::Link));
    manifest.leftovers.extend(half_made.into_iter().map(Leftover::Generation));
    Ok(manifest)
}

/// The generation that one of Squire's links names. `None` if there is no such link, or the generation is gone.
pub(super) fn named(directory: &Directory, link: &str) -> Result<Option<Generation>, PublishError> {
    let foreign = || PublishError::Foreign { path: directory.path(link) };
    let Some(target) = directory.target(link)?.filter(|_| directory.is_own(link)) else {
        return directory.kind(link)?.map_or(Ok(None), |_| Err(foreign()));
    };
    let generation = layout::generation(&target).ok_or_else(foreign)?;
    if directory.kind(&target)?.is_none() {
        return Ok(None);
    }
    match Generations::read(directory).open(directory, generation) {
        Some(_) => Ok(Some(generation)),
        None => Err(PublishError::Foreign { path: directory.path(target) }),
    }
}

/// The top-level names whose link is Squire's.
pub(super) fn exposed(directory: &Directory, names: &[PathBuf]) -> Result<BTreeSet<PathBuf>, PublishError> {
    let mut exposed = BTreeSet::new();
    for name in names {
        if is_exposed(directory, name)? {
            exposed.insert(name.clone());
        }
    }
    Ok(exposed)
}

/// Whether the stable link of this top-level name exists, and is Squire's.
pub(super) fn is_exposed(directory: &Directory, name: &Path) -> Result<bool, PublishError> {
    Ok(directory.target(name)? == Some(layout::stable_target(name)) && directory.is_own(name))
}

fn survey_tree(directory: &Directory, generation: Generation, key: &DigestKey) -> Result<Tree, PublishError> {
    let path = layout::directory(generation);
    let root = directory.descend(&path)?;
    let found = fstat(&root).map_err(|errno| failed("look at", directory.path(&path), errno))?;
    let mut files = BTreeMap::new();
    gather(&root, Path::new(""), key, &mut files)?;
    Ok(Tree { generation, mode: Mode::new(found.st_mode & 0o7777).without_setgid(), files })
}

fn gather(
    directory: &Directory,
    below: &Path,
    key: &DigestKey,
    files: &mut BTreeMap<PathBuf, Entry>,
) -> Result<(), PublishError> {
    for name in directory.names()? {
        let path = below.join(&name);
        if directory.kind(&name)? == Some(FileType::Directory) {
            gather(&directory.descend(&name)?, &path, key, files)?;
        } else if let Some(entry) = directory.read(&name, key) {
            files.insert(path, entry);
        }
    }
    Ok(())
}
