//! Performs the steps of a [`Publication`]: the hands of publishing.
//!
//! Call in this order: [`prepare`] and [`survey`] at the start; for each release [`stage`], its checks, then [`publish`] or
//! [`discard`]; [`retire`] when slow readers of a superseded generation are done; [`sweep`] at the stop. All of it blocks.
//!
//! *Invariant:* after an error what was live is live still, and whole. Superseded generations are unlinked, never overwritten.

mod premises;

use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::AbsoluteFile;
use super::destination::{self, Destination};
use super::directory::{Directory, Symlink, failed, split};
use super::manifest::Leftover;
use super::survey::{exposed, is_exposed, named};
use super::{Manifest, Publication, PublishError, Step, layout};
use crate::config::OutputConfig;
use crate::memory;
use crate::names::Generation;
use crate::plan::{Attributes, FileGroup};
use crate::secret::DigestKey;

pub use super::survey::survey;
pub use premises::{RosterPlace, clear_former, examine, look};

/// Makes `output.dir` if it is not there, with `dir_mode` whatever the umask; so with the directories above it. One that is
/// there already keeps its mode.
///
/// # Errors
/// Where it is on disk without leave, or is a symlink, or not a directory.
pub fn prepare(output: &OutputConfig) -> Result<(), PublishError> {
    let Some(dir) = &output.dir else { return Ok(()) };
    memory::require(dir, output.allow_disk)?;
    let owner = nix::unistd::geteuid().as_raw();
    make_directories(dir, output, Attributes { mode: output.dir_mode, owner, group: FileGroup::Inherited })?;
    Directory::open(dir, Symlink::Refused, output.allow_disk).map(drop)
}

/// Makes the directories of these files, where that was asked for and they are not there.
///
/// # Errors
/// Where one would be on disk without leave.
pub fn prepare_directories(files: &[AbsoluteFile], output: &OutputConfig) -> Result<(), PublishError> {
    for file in files {
        if let (Some(wanted), Some(parent)) = (file.directory, file.path.parent()) {
            memory::require(parent, output.allow_disk)?;
            make_directories(parent, output, wanted)?;
        }
    }
    Ok(())
}

/// Performs the first half: everything is on disk, nothing is visible. On failure all of it is taken back.
pub fn stage(output: &OutputConfig, key: &DigestKey, publication: &Publication) -> Result<(), PublishError> {
    let hands = Hands::new(output, key)?;
    hands.perform(&publication.stage)?;
    hands.settle().inspect_err(|_| hands.undo(&publication.stage))
}

/// Performs the second half. On failure the links are put back and what was staged is discarded; absolute files that were
/// replaced by then stay replaced: [`survey`] sees them, and to plan the release before puts them back.
pub fn publish(
    output: &OutputConfig,
    key: &DigestKey,
    publication: &Publication,
) -> Result<(), PublishError> {
    let hands = Hands::new(output, key)?;
    hands.perform(&publication.publish).inspect_err(|_| hands.undo(&publication.stage))?;
    // Visible by now, and whole on disk since it was staged: only a crash could lose the link, and a restart makes it again.
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

/// Takes back what was staged and is not going to be published.
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
/// [`PublishError::InUse`] where it is live, or the way back.
pub fn retire(output: &OutputConfig, generation: Generation) -> Result<(), PublishError> {
    open(output)?.map_or(Ok(()), |directory| remove_generation(&directory, generation))
}

/// However we came to think so: what a link of ours names is not removed.
fn remove_generation(directory: &Directory, generation: Generation) -> Result<(), PublishError> {
    let name = layout::directory(generation);
    for link in [layout::DATA, layout::PREVIOUS] {
        if named(directory, link)? == Some(generation) {
            return Err(PublishError::InUse { path: directory.path(name) });
        }
    }
    directory.remove_tree(name)
}

/// Removes everything that was published, and what was staged at these absolute destinations and never shown: stable links, generations,
/// and files that still are what we wrote. Goes on after an error; says what could not be removed.
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
    let links = [layout::DATA, layout::PREVIOUS, layout::NEXT, layout::SPARE].map(PathBuf::from);
    for link in exposed(&directory, &names)?.into_iter().chain(links) {
        if directory.target(&link)?.is_some() && directory.is_own(&link) {
            errors.extend(directory.remove(link).err());
        }
    }
    for name in names.iter().filter(|name| layout::generation(name).is_some()) {
        errors.extend(directory.remove_tree(name).err());
    }
    Ok(errors)
}

fn open(output: &OutputConfig) -> Result<Option<Directory>, PublishError> {
    let Some(dir) = &output.dir else { return Ok(None) };
    Directory::open(dir, Symlink::Refused, output.allow_disk)
}

/// Makes the directories of this path that are not there, the outermost first.
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

/// What performing steps needs.
struct Hands<'a> {
    output: &'a OutputConfig,
    key: &'a DigestKey,
    directory: Option<Directory>,
}

impl<'a> Hands<'a> {
    fn new(output: &'a OutputConfig, key: &'a DigestKey) -> Result<Self, PublishError> {
        Ok(Self { output, key, directory: open(output)? })
    }

    /// All steps in order; on an error those that were done are undone, the last one first.
    fn perform(&self, steps: &[Step]) -> Result<(), PublishError> {
        for (done, step) in steps.iter().enumerate() {
            tracing::trace!(%step, "publishing");
            self.act(step).inspect_err(|_| self.undo(&steps[..done]))?;
        }
        Ok(())
    }

    /// On disk: waits until the directory is as we made it.
    fn settle(&self) -> Result<(), PublishError> {
        self.directory.as_ref().map_or(Ok(()), Directory::settle)
    }

    fn act(&self, step: &Step) -> Result<(), PublishError> {
        match step {
            Step::Clear(leftover) => self.clear(leftover),
            Step::Claim(name) => self.claim(name),
            Step::MakeGeneration(generation) => self.directory()?.make(layout::directory(*generation)),
            Step::MakeDirectory { generation, path } => {
                let (parent, name) = split(path);
                self.inside(*generation, parent)?.make(name)
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
            Step::Point(generation) => self.directory()?.point(layout::NEXT, layout::directory(*generation)),
            Step::Prepare { file, temporary } => self.destination(&file.path)?.prepare(temporary, file),
            Step::Swap { from: None, .. } => self.directory()?.rename(layout::NEXT, layout::DATA),
            Step::Swap { from: Some(_), .. } => self.directory()?.exchange(layout::NEXT, layout::DATA),
            Step::Exchange { .. } => self.directory()?.exchange(layout::PREVIOUS, layout::DATA),
            Step::Expose(name) => self.expose(name),
            Step::Replace { path, temporary } => self.destination(path)?.replace(temporary),
            Step::Withdraw(name) => self.withdraw(name),
            Step::Delete { path, entry } => self.destination(path)?.give_up(entry, self.key),
            Step::Remember(_) => self.directory()?.rename(layout::NEXT, layout::PREVIOUS),
        }
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
            Step::Point(_) => self.directory()?.remove(layout::NEXT),
            Step::Prepare { file, temporary } => {
                Destination::at(&file.path, self.output.allow_disk)?.retract(temporary)
            }
            Step::Swap { from: None, .. } => self.directory()?.rename(layout::DATA, layout::NEXT),
            Step::Swap { from: Some(_), .. } | Step::Exchange { .. } => self.act(step),
            Step::Expose(name) => self.withdraw(name),
            Step::Withdraw(name) => self.expose(name),
            // Gone with their generation, or only looked, or (absolute files) beyond recall.
            Step::Clear(_)
            | Step::Claim(_)
            | Step::MakeDirectory { .. }
            | Step::Link { .. }
            | Step::Write { .. }
            | Step::Seal { .. }
            | Step::Replace { .. }
            | Step::Delete { .. }
            | Step::Remember(_) => Ok(()),
        }
    }

    fn clear(&self, leftover: &Leftover) -> Result<(), PublishError> {
        match leftover {
            Leftover::Generation(generation) => remove_generation(self.directory()?, *generation),
            Leftover::Link(name) => self.directory()?.remove(name),
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
        self.directory()?.descend(Path::new(&layout::directory(generation)).join(path))
    }

    fn destination(&self, path: &Path) -> Result<Destination, PublishError> {
        Destination::open(path, self.output.allow_disk)
    }
}

#[cfg(test)]
mod tests;
