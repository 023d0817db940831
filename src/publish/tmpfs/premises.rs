//! Looks at the places before anything is published: their owners, and files that an earlier run left.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::config::OutputConfig;
use crate::links;
use crate::ordered::Order as _;
use crate::publish::destination::Destination;
use crate::publish::directory::{Directory, Symlink};
use crate::publish::record::Roster;
use crate::publish::trust::{Exposure, Found, Tenancy, judge};
use crate::publish::{AbsoluteFile, OutputLock, PublishError, layout};

/// A larger roster is not Squire's.
const LARGEST_ROSTER: u64 = 4 * 1024 * 1024;

/// Looks at the output directory and at the directories of absolute destinations: who, beside these users, could exchange what is
/// published there. Of one that is not there yet, the nearest above it that is.
///
/// # Errors
/// [`PublishError::Theirs`] if one belongs to another user.
pub fn examine(
    output: &OutputConfig,
    absolute: &[PathBuf],
    trusted: &BTreeSet<u32>,
) -> Result<Vec<Exposure>, PublishError> {
    let parents = absolute.iter().filter_map(|path| path.parent());
    let places: BTreeSet<&Path> = output.dir.as_deref().into_iter().chain(parents).ordered();
    let mut exposures = Vec::new();
    for place in places {
        let Some(real) = place.ancestors().find_map(|above| above.canonicalize().ok()) else { continue };
        refuse_their_links(place, trusted)?;
        // The nearest is enough to be named.
        let mut exposed = None;
        for above in real.ancestors() {
            // Some may be passed through and not be listed.
            let Ok(found) = std::fs::symlink_metadata(above) else { continue };
            let found = Found { owner: found.uid(), group: found.gid(), mode: found.mode() };
            match judge(found, trusted) {
                Tenancy::Ours | Tenancy::Sticky => {}
                Tenancy::Theirs(owner) => {
                    return Err(PublishError::Theirs { path: above.to_owned(), owner });
                }
                Tenancy::Shared(writer) => {
                    let exposure = Exposure { directory: above.to_owned(), writer };
                    exposed = exposed.or(Some(exposure));
                }
            }
        }
        exposures.extend(exposed);
    }
    exposures.dedup();
    Ok(exposures)
}

/// A link on the way that somebody else made leads wherever they like, now or later.
fn refuse_their_links(place: &Path, trusted: &BTreeSet<u32>) -> Result<(), PublishError> {
    for link in links::on_the_way(place).unwrap_or_default() {
        let Ok(found) = std::fs::symlink_metadata(&link) else { continue };
        if found.uid() != 0 && !trusted.contains(&found.uid()) {
            return Err(PublishError::Theirs { path: link, owner: found.uid() });
        }
    }
    Ok(())
}

/// Whether these destinations can be replaced: for `squire check`, which changes nothing. A destination whose directory Squire makes can be
/// replaced.
///
/// # Errors
/// All that stand against it.
pub fn look<'a>(files: impl IntoIterator<Item = &'a AbsoluteFile>, allow_disk: bool) -> Vec<PublishError> {
    let is_made =
        |file: &&AbsoluteFile| file.directory.is_none() || file.path.parent().is_some_and(Path::is_dir);
    let destinations = files.into_iter().filter(is_made);
    let looked = destinations.map(|file| Destination::open(&file.path, allow_disk)?.claim());
    looked.filter_map(Result::err).collect()
}

/// Where rosters are: this run's, and that of a run before, which may have had no ledger or another output.
#[derive(Clone, Debug)]
pub struct RosterPlaces(Vec<(PathBuf, &'static str)>);

impl RosterPlaces {
    /// With the ledger, which is nobody else's and outlives a change of the output; else in the output directory. Nowhere without both.
    pub fn new(ledger: Option<&Path>, output: Option<&Path>) -> Self {
        let ledger = ledger.map(|ledger| (ledger.to_owned(), layout::ROSTER_IN_LEDGER));
        let output = output.map(|output| (output.to_owned(), layout::ROSTER));
        Self(ledger.into_iter().chain(output).collect())
    }

    /// What runs left behind that were killed. A roster that we did not write, or that cannot be read, says nothing.
    pub fn read(&self) -> Vec<Roster> {
        let read = |(directory, name): &(PathBuf, &'static str)| {
            let directory = Directory::open(directory, Symlink::Refused, true).ok()??;
            let (bytes, _) = directory.bytes(name, LARGEST_ROSTER).filter(|_| directory.is_own(name))?;
            serde_json::from_slice(&bytes).ok()
        };
        self.0.iter().filter_map(read).collect()
    }

    /// Says where this run publishes, before it does, and forgets what those before said.
    ///
    /// # Errors
    /// Where it cannot be said. Squire goes on without: only a run that is killed, and a configuration that changes then, need it.
    pub fn write(&self, roster: &Roster) -> Result<(), PublishError> {
        let Some(((directory, name), others)) = self.0.split_first() else { return Ok(()) };
        let Some(directory) = Directory::open(directory, Symlink::Refused, true)? else { return Ok(()) };
        // Paths are text, since they were in a configuration.
        let bytes = serde_json::to_vec(roster).unwrap_or_default();
        let is_there = directory.bytes(name, LARGEST_ROSTER).is_some_and(|(written, _)| written == bytes);
        // On a full disk one that is as it should be is not written anew.
        if !is_there {
            directory.replace_private(Path::new(name), &layout::unguessable()?, &bytes)?;
        }
        others.iter().try_for_each(forget)
    }

    /// No file of this run is left, so the roster is removed.
    pub fn remove(&self) -> Result<(), PublishError> {
        self.0.iter().try_for_each(forget)
    }
}

fn forget((directory, name): &(PathBuf, &'static str)) -> Result<(), PublishError> {
    match Directory::open(directory, Symlink::Refused, true)? {
        Some(directory) if directory.is_own(name) => directory.remove(name),
        Some(_) | None => Ok(()),
    }
}

/// What came of clearing up after a run that was killed.
#[derive(Debug, Default)]
pub struct Cleared {
    /// What was removed.
    pub removed: Vec<PathBuf>,
    /// What could not be, and has to be remembered.
    pub left: Roster,
    /// Why not.
    pub errors: Vec<PublishError>,
}

/// Removes what a killed run left where this one does not publish. Gives the paths that it removed, and what it could not.
pub fn clear_former(former: &Roster, output: &OutputConfig, absolute: &[PathBuf]) -> Cleared {
    let mut cleared = Cleared::default();
    let is_former = |path: &&PathBuf| !absolute.contains(path);
    for path in former.absolute.iter().filter(is_former) {
        let swept = Destination::at(path, true).and_then(|found| found.sweep_as_recorded());
        cleared.note(path, swept, |left| &mut left.absolute);
    }
    for path in former.staged.iter().filter(is_former) {
        let swept = Destination::at(path, true).and_then(|found| found.clear_leftovers());
        cleared.note(path, swept, |left| &mut left.staged);
    }
    for dir in former.outputs.iter().filter(|dir| output.dir.as_ref() != Some(*dir)) {
        cleared.note(dir, clear_directory(dir), |left| &mut left.outputs);
    }
    cleared
}

impl Cleared {
    fn note(
        &mut self,
        path: &Path,
        swept: Result<bool, PublishError>,
        left: impl FnOnce(&mut Roster) -> &mut Vec<PathBuf>,
    ) {
        match swept {
            Ok(true) => self.removed.push(path.to_owned()),
            Ok(false) | Err(PublishError::NoParent { .. }) => {}
            Err(error) => {
                left(&mut self.left).push(path.to_owned());
                self.errors.push(error);
            }
        }
    }
}

/// Unless another Squire publishes there by now.
fn clear_directory(dir: &Path) -> Result<bool, PublishError> {
    let mode = crate::config::Mode::new(0o755);
    let output = OutputConfig { dir: Some(dir.to_owned()), dir_mode: mode, allow_disk: true };
    if Directory::open(dir, Symlink::Refused, true)?.is_none() {
        return Ok(false);
    }
    let _lock = match OutputLock::take(&output) {
        Err(PublishError::Shared { .. }) => return Ok(false),
        lock => lock?,
    };
    super::sweep_directory(&output)?.into_iter().next().map_or(Ok(true), Err)
}
