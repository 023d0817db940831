//! Performs the steps of a [`Publication`].
//!
//! Call in this order: [`prepare`] and [`survey`] at the start; for each release [`stage`], its checks, then [`publish`] or
//! [`discard`]; [`retire`] when slow readers of a superseded generation are done; [`sweep`] at the stop. All of it blocks.
//!
//! *Invariant:* after an error the release that was live is still live, and whole. Superseded generations are unlinked, never overwritten.

mod premises;
mod token;

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use rustix::fs::FileType;
use rustix::io::Errno;

use super::AbsoluteFile;
use super::destination::{self, Destination};
use super::directory::{Directory, Symlink, failed, split};
use super::generations::Generations;
use super::manifest::Leftover;
use super::survey::{exposed, is_exposed, named};
use super::{Manifest, Publication, PublishError, Step, layout};
use crate::config::OutputConfig;
use crate::memory;
use crate::names::Generation;
use crate::plan::{Attributes, FileGroup};
use crate::secret::DigestKey;

pub use super::survey::survey;
pub use premises::{Cleared, RosterPlaces, clear_former, examine, look};
pub use token::{prepare_tokens, remove_tokens, replace};

/// Makes `output.dir` and the directories above it if they are missing, with `dir_mode` whatever the umask. A directory that exists keeps
/// its mode.
///
/// # Errors
/// If it is on disk without permission for that, or is a symlink, or not a directory.
pub fn prepare(output: &OutputConfig) -> Result<(), PublishError> {
    let Some(dir) = &output.dir else { return Ok(()) };
    memory::require(dir, output.allow_disk)?;
    let owner = nix::unistd::geteuid().as_raw();
    make_directories(dir, output, Attributes { mode: output.dir_mode, owner, group: FileGroup::Inherited })?;
    Directory::open(dir, Symlink::Refused, output.allow_disk).map(drop)
}

/// Makes the missing directories of these files, if the configuration asks for that.
///
/// # Errors
/// If one would be on disk without permission for that.
pub fn prepare_directories<'a>(
    files: impl IntoIterator<Item = &'a AbsoluteFile>,
    output: &OutputConfig,
) -> Result<(), PublishError> {
    for file in files {
        if let (Some(wanted), Some(parent)) = (file.directory, file.path.parent()) {
            memory::require(parent, output.allow_disk)?;
            make_directories(parent, output, wanted)?;
        }
    }
    Ok(())
}

/// Performs the first half: afterwards all files are written, and none is visible. After a failure all of it is undone.
pub fn stage(output: &OutputConfig, key: &DigestKey, publication: &Publication) -> Result<(), PublishError> {
    let hands = Hands::new(output, key)?;
    hands.perform(&publication.stage)?;
    hands.settle().inspect_err(|_| hands.undo(&publication.stage))
}

/// Performs the second half. After a failure the links are put back and the staged files are discarded. Absolute files that were replaced
/// by then stay replaced: [`survey`] sees them, and planning the previous release puts the old ones back.
pub fn publish(
    output: &OutputConfig,
    key: &DigestKey,
    publication: &Publication,
) -> Result<(), PublishError> {
    let hands = Hands::new(output, key)?;
    hands.perform(&publication.publish).inspect_err(|_| hands.undo(&publication.stage))?;
    // It is visible now, and its files have been on disk since they were staged. Only a crash could lose the link, and a restart makes it
    // again.
    if let Err(error) = hands.settle() {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "published, but the disk may not know it yet"
        );
    }
    Ok(())
}

/// Both halves in one.
pub fn perform(
    output: &OutputConfig,
    key: &DigestKey,
    publication: &Publication,
) -> Result<(), PublishError> {
    stage(output, key, publication)?;
    publish(output, key, publication)
}

/// Removes a staged release that will not be published.
pub fn discard(
    output: &OutputConfig,
    key: &DigestKey,
    publication: &Publication,
) -> Result<(), PublishError> {
    let hands = Hands::new(output, key)?;
    hands.undo(&publication.stage);
    Ok(())
}

/// Unlinks a superseded generation.
///
/// # Errors
/// [`PublishError::InUse`] if it is live, or the previous one.
pub fn retire(output: &OutputConfig, generation: Generation) -> Result<(), PublishError> {
    open(output)?.map_or(Ok(()), |directory| remove_generation(&directory, generation))
}

/// A link or a file; or a directory that was to be a generation, and is empty before it is one. A full one is somebody else's.
fn clear_on_its_way(directory: &Directory, name: &Path) -> Result<(), PublishError> {
    if directory.kind(name)? != Some(FileType::Directory) {
        return directory.remove(name);
    }
    if directory.descend(name)?.names()?.is_empty() { directory.remove_empty(name) } else { Ok(()) }
}

/// However we came to think so: what a link of ours names is not removed. A link that somebody else put in its place names nothing of ours.
fn remove_generation(directory: &Directory, generation: Generation) -> Result<(), PublishError> {
    let name = layout::directory(generation);
    for link in [layout::DATA, layout::PREVIOUS] {
        match named(directory, link) {
            Ok(Some(named)) if named == generation => {
                return Err(PublishError::InUse { path: directory.path(name) });
            }
            Ok(_) | Err(PublishError::Foreign { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    match Generations::read(directory).open(directory, generation) {
        Some(open) => open.empty().and_then(|()| directory.remove_empty(name)),
        None => Ok(()),
    }
}

/// Removes everything that was published or staged: stable links, generations, temporary files at these absolute destinations, and files
/// that are still as Squire wrote them. Goes on after an error; returns what could not be removed.
#[must_use = "these files are still there"]
pub fn sweep(
    output: &OutputConfig,
    absolute: &[PathBuf],
    manifest: &Manifest,
    key: &DigestKey,
) -> Vec<PublishError> {
    let mut errors: Vec<_> = sweep_directory(output).unwrap_or_else(|error| vec![error]);
    for path in absolute {
        let ours = manifest.absolute.get(path).filter(|standing| standing.ours);
        let swept = Destination::at(path, output.allow_disk)
            .and_then(|found| found.sweep(ours.map(|standing| &standing.entry), key));
        errors.extend(swept.err());
    }
    errors
}

fn sweep_directory(output: &OutputConfig) -> Result<Vec<PublishError>, PublishError> {
    let Some(directory) = open(output)? else { return Ok(Vec::new()) };
    let names: Vec<_> = directory.names()?.into_iter().filter(|name| directory.is_own(name)).collect();
    let mut errors = Vec::new();
    // From outside in: a reader meets a missing name, not a link that leads nowhere.
    let links = [layout::DATA, layout::PREVIOUS].map(PathBuf::from);
    for link in exposed(&directory, &names)?.into_iter().chain(links) {
        if directory.target(&link)?.is_some() && directory.is_own(&link) {
            errors.extend(directory.remove(link).err());
        }
    }
    for generation in names.iter().filter_map(|name| layout::generation(name)) {
        errors.extend(remove_generation(&directory, generation).err());
    }
    let is_on_its_way = |name: &&PathBuf| layout::is_on_its_way(name);
    let on_their_way = names.iter().filter(is_on_its_way);
    errors.extend(on_their_way.filter_map(|name| clear_on_its_way(&directory, name).err()));
    if errors.is_empty() && directory.is_own(layout::GENERATIONS) {
        errors.extend(directory.remove(layout::GENERATIONS).err());
    }
    Ok(errors)
}

fn open(output: &OutputConfig) -> Result<Option<Directory>, PublishError> {
    let Some(dir) = &output.dir else { return Ok(None) };
    Directory::open(dir, Symlink::Refused, output.allow_disk)
}

/// Makes the missing directories of this path, the outermost first.
fn make_directories(path: &Path, output: &OutputConfig, wanted: Attributes) -> Result<(), PublishError> {
    let Some(parent) = path.parent() else { return Ok(()) };
    if path.symlink_metadata().is_ok() {
        return Ok(());
    }
    make_directories(parent, output, wanted)?;
    let Some(above) = Directory::open(parent, Symlink::Followed, output.allow_disk)? else { return Ok(()) };
    let (_, name) = split(path);
    above.make_for(name, wanted)
}

/// What the steps need.
struct Hands<'a> {
    output: &'a OutputConfig,
    key: &'a DigestKey,
    directory: Option<Directory>,
    /// The generation that is being built. By its descriptor, since who may write to the output directory could exchange what has its name.
    building: RefCell<Option<(Generation, Directory)>>,
}

impl<'a> Hands<'a> {
    fn new(output: &'a OutputConfig, key: &'a DigestKey) -> Result<Self, PublishError> {
        Ok(Self { output, key, directory: open(output)?, building: RefCell::default() })
    }

    /// Performs all steps in order; after an error the steps that were done are undone, the last one first.
    fn perform(&self, steps: &[Step]) -> Result<(), PublishError> {
        for (done, step) in steps.iter().enumerate() {
            tracing::trace!(%step, "publishing");
            self.act(step).inspect_err(|_| self.undo(&steps[..done]))?;
        }
        Ok(())
    }

    /// If it is on disk: waits until the directory is written.
    fn settle(&self) -> Result<(), PublishError> {
        self.directory.as_ref().map_or(Ok(()), Directory::settle)
    }

    fn act(&self, step: &Step) -> Result<(), PublishError> {
        match step {
            Step::Clear(leftover) => self.clear(leftover),
            Step::Claim(name) => self.claim(name),
            Step::MakeGeneration(generation) => self.make_generation(*generation),
            Step::MakeDirectory { generation, path } => {
                let (parent, name) = split(path);
                self.inside(*generation, parent)?.make(name).map(drop)
            }
            Step::Link { from, to, file } => {
                let (parent, name) = split(&file.path);
                let to = self.inside(*to, parent)?;
                let linked =
                    self.inside(*from, parent).is_ok_and(|from| to.link(&from, name, file, self.key));
                if linked { Ok(()) } else { to.write(name, file) }
            }
            Step::Write { generation, file } => {
                let (parent, name) = split(&file.path);
                self.inside(*generation, parent)?.write(name, file)
            }
            Step::Seal { generation, path, mode } => self.inside(*generation, path)?.seal(*mode),
            Step::Point(generation) => {
                self.directory()?.point(self.next(*generation), layout::directory(*generation))
            }
            Step::Prepare { file, temporary } => self.destination(&file.path)?.prepare(temporary, file),
            Step::Swap { from: None, to } => self.whole(*to)?.rename(self.next(*to), layout::DATA),
            Step::Swap { from: Some(_), to } => self.whole(*to)?.exchange(&self.next(*to), layout::DATA),
            Step::Exchange { to, .. } => self.whole(*to)?.exchange(layout::PREVIOUS, layout::DATA),
            Step::Expose(name) => self.expose(name),
            Step::Replace { path, temporary } => self.destination(path)?.replace(temporary),
            Step::Withdraw(name) => self.withdraw(name),
            Step::Delete { path, entry } => self.destination(path)?.give_up(entry, self.key),
            Step::Reserve(generation) => {
                self.directory()?.point(layout::PREVIOUS, layout::directory(*generation))
            }
            Step::Remember { to, .. } => self.directory()?.rename(self.next(*to), layout::PREVIOUS),
        }
    }

    fn make_generation(&self, generation: Generation) -> Result<(), PublishError> {
        let directory = self.directory()?;
        // Known for ours before it has its name: after a crash, what has the name of a generation and is not known is somebody else's.
        let name = layout::unguessable()?;
        let made = directory.make(&name)?;
        let known = Generations::add(directory, generation, &made);
        known
            .and_then(|()| directory.rename_to_new(&name, layout::directory(generation)))
            .inspect_err(|_| directory.remove_empty(&name).unwrap_or_default())?;
        let made = made.called(directory.path(layout::directory(generation)));
        *self.building.borrow_mut() = Some((generation, made));
        Ok(())
    }

    /// The output directory, in which this generation still is the one that we made.
    fn whole(&self, generation: Generation) -> Result<&Directory, PublishError> {
        let directory = self.directory()?;
        match Generations::read(directory).open(directory, generation) {
            Some(_) => Ok(directory),
            None => Err(PublishError::Foreign { path: directory.path(layout::directory(generation)) }),
        }
    }

    fn next(&self, generation: Generation) -> String {
        layout::next(generation, self.key)
    }

    /// Undoes what can be undone. Failures are logged: the error that led here is the one to return.
    fn undo(&self, done: &[Step]) {
        for step in done.iter().rev() {
            if let Err(error) = self.revert(step) {
                tracing::warn!(%step, error = &error as &dyn std::error::Error, "cannot take back a step");
            }
        }
    }

    fn revert(&self, step: &Step) -> Result<(), PublishError> {
        match step {
            Step::MakeGeneration(generation) => remove_generation(self.directory()?, *generation),
            Step::Point(generation) => self.directory()?.remove(self.next(*generation)),
            Step::Prepare { file, temporary } => {
                Destination::at(&file.path, self.output.allow_disk)?.retract(temporary)
            }
            Step::Swap { from: None, to } => self.directory()?.rename(layout::DATA, self.next(*to)),
            Step::Swap { from: Some(_), to } => self.directory()?.exchange(&self.next(*to), layout::DATA),
            Step::Exchange { .. } => self.directory()?.exchange(layout::PREVIOUS, layout::DATA),
            Step::Reserve(_) => self.directory()?.remove(layout::PREVIOUS),
            Step::Expose(name) => self.withdraw(name),
            Step::Withdraw(name) => self.expose(name),
            // These need no undoing: gone with their generation, only read something, or (absolute files) cannot be undone.
            Step::Clear(_)
            | Step::Claim(_)
            | Step::MakeDirectory { .. }
            | Step::Link { .. }
            | Step::Write { .. }
            | Step::Seal { .. }
            | Step::Replace { .. }
            | Step::Delete { .. }
            | Step::Remember { .. } => Ok(()),
        }
    }

    fn clear(&self, leftover: &Leftover) -> Result<(), PublishError> {
        match leftover {
            Leftover::Generation(generation) => remove_generation(self.directory()?, *generation),
            Leftover::Link(name) => clear_on_its_way(self.directory()?, name),
            Leftover::Temporary(path) => destination::clear(path, self.output.allow_disk),
        }
    }

    fn claim(&self, name: &Path) -> Result<(), PublishError> {
        let directory = self.directory()?;
        if layout::is_reserved(name) {
            return Err(PublishError::Reserved { path: directory.path(name) });
        }
        if directory.kind(name)?.is_none() || self.is_exposed(name)? {
            return Ok(());
        }
        Err(PublishError::Foreign { path: directory.path(name) })
    }

    fn expose(&self, name: &Path) -> Result<(), PublishError> {
        self.claim(name)?;
        if self.is_exposed(name)? {
            return Ok(());
        }
        self.directory()?.point(name, layout::stable_target(name))
    }

    fn withdraw(&self, name: &Path) -> Result<(), PublishError> {
        if self.is_exposed(name)? { self.directory()?.remove(name) } else { Ok(()) }
    }

    fn is_exposed(&self, name: &Path) -> Result<bool, PublishError> {
        is_exposed(self.directory()?, name)
    }

    fn directory(&self) -> Result<&Directory, PublishError> {
        self.directory.as_ref().ok_or_else(|| match &self.output.dir {
            Some(dir) => failed("open", dir.clone(), Errno::NOENT),
            None => PublishError::NoDirectory,
        })
    }

    fn inside(&self, generation: Generation, path: &Path) -> Result<Directory, PublishError> {
        if let Some((building, directory)) = &*self.building.borrow()
            && *building == generation
        {
            return directory.descend(path);
        }
        self.directory()?.descend(Path::new(&layout::directory(generation)).join(path))
    }

    fn destination(&self, path: &Path) -> Result<Destination, PublishError> {
        Destination::open(path, self.output.allow_disk)
    }
}

#[cfg(test)]
mod tests;
