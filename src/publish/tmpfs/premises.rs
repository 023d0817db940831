//! Looks at the places before anything is published: whose they are, and what an earlier run left.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::config::OutputConfig;
use crate::publish::destination::Destination;
use crate::publish::directory::{Directory, Symlink};
use crate::publish::record::Roster;
use crate::publish::trust::{Exposure, Tenancy, Writer, judge};
use crate::publish::{OutputLock, PublishError, layout};

/// A larger roster is none of ours.
const LARGEST_ROSTER: u64 = 4 * 1024 * 1024;

/// Looks at the output directory and at the directories of absolute destinations: who, beside these users, could exchange what is
/// published there. Those that are not there yet are passed over.
///
/// # Errors
/// [`PublishError::Theirs`] where one belongs to somebody else.
pub fn examine(
    output: &OutputConfig,
    absolute: &[PathBuf],
    trusted: &BTreeSet<u32>,
) -> Result<Vec<Exposure>, PublishError> {
    let parents = absolute.iter().filter_map(|path| path.parent());
    let places: BTreeSet<&Path> = output.dir.as_deref().into_iter().chain(parents).collect();
    let mut exposures = Vec::new();
    for place in places {
        let Some(directory) = Directory::open(place, Symlink::Followed, true)? else { continue };
        match judge(directory.found()?, trusted) {
            Tenancy::Ours | Tenancy::Sticky => {}
            Tenancy::Theirs(owner) => return Err(PublishError::Theirs { path: place.to_owned(), owner }),
            Tenancy::Shared(writer) => {
                exposures.push(Exposure { directory: place.to_owned(), writer });
                continue;
            }
        }
        exposures.extend(exposed_above(place, trusted));
    }
    exposures.dedup();
    Ok(exposures)
}

/// The nearest directory above, by its real path, in which somebody could exchange what leads here.
fn exposed_above(place: &Path, trusted: &BTreeSet<u32>) -> Option<Exposure> {
    let real = place.canonicalize().ok()?;
    real.ancestors().skip(1).find_map(|above| {
        let directory = Directory::open(above, Symlink::Refused, true).ok()??;
        let writer = match judge(directory.found().ok()?, trusted) {
            Tenancy::Ours | Tenancy::Sticky => return None,
            Tenancy::Shared(writer) => writer,
            Tenancy::Theirs(owner) => Writer::User(owner),
        };
        Some(Exposure { directory: above.to_owned(), writer })
    })
}

/// Whether these destinations can be replaced: what `squire check` asks, which changes nothing. One whose directory Squire makes can.
///
/// # Errors
/// All that stand against it.
pub fn look(files: &[crate::publish::AbsoluteFile], allow_disk: bool) -> Vec<PublishError> {
    let is_made = |file: &&crate::publish::AbsoluteFile| {
        file.directory.is_none() || file.path.parent().is_some_and(Path::is_dir)
    };
    let destinations = files.iter().filter(is_made);
    let looked = destinations.map(|file| Destination::open(&file.path, allow_disk)?.claim());
    looked.filter_map(Result::err).collect()
}

/// Where this run's roster is.
#[derive(Clone, Debug)]
pub struct RosterPlace {
    directory: PathBuf,
    name: &'static str,
}

impl RosterPlace {
    /// With the ledger, which is nobody else's and outlives a change of the output; else in the output directory. Nowhere without both.
    pub fn new(ledger: Option<&Path>, output: Option<&Path>) -> Option<Self> {
        let in_ledger =
            ledger.map(|ledger| Self { directory: ledger.to_owned(), name: layout::ROSTER_IN_LEDGER });
        in_ledger.or_else(|| Some(Self { directory: output?.to_owned(), name: layout::ROSTER }))
    }

    /// What a run left behind that was killed. A roster that we did not write, or that cannot be read, says nothing.
    pub fn read(&self) -> Option<Roster> {
        let directory = Directory::open(&self.directory, Symlink::Refused, true).ok()??;
        let (bytes, _) =
            directory.bytes(self.name, LARGEST_ROSTER).filter(|_| directory.is_own(self.name))?;
        serde_json::from_slice(&bytes).ok()
    }

    /// Says where this run publishes, before it does.
    pub fn write(&self, roster: &Roster) -> Result<(), PublishError> {
        let Some(directory) = Directory::open(&self.directory, Symlink::Refused, true)? else {
            return Ok(());
        };
        // Paths can always be written, but for those that are no text; they are not in a configuration.
        let bytes = serde_json::to_vec(roster).unwrap_or_default();
        let next = PathBuf::from(format!("{}-next", self.name));
        directory.remove(&next)?;
        directory.replace_private(Path::new(self.name), &next, &bytes)
    }

    /// Nothing is left of this run.
    pub fn remove(&self) -> Result<(), PublishError> {
        match Directory::open(&self.directory, Symlink::Refused, true)? {
            Some(directory) => directory.remove(self.name),
            None => Ok(()),
        }
    }
}

/// Removes what a killed run left where this one does not publish. Gives the paths that it removed, and what it could not.
pub fn clear_former(
    former: &Roster,
    output: &OutputConfig,
    absolute: &[PathBuf],
) -> (Vec<PathBuf>, Vec<PublishError>) {
    let mut removed = Vec::new();
    let mut errors = Vec::new();
    for path in former.absolute.iter().filter(|path| !absolute.contains(path)) {
        match Destination::at(path, true).and_then(|found| found.sweep_as_recorded()) {
            Ok(true) => removed.push(path.clone()),
            Ok(false) | Err(PublishError::NoParent { .. }) => {}
            Err(error) => errors.push(error),
        }
    }
    let elsewhere = former.output.as_ref().filter(|dir| output.dir.as_ref() != Some(*dir));
    if let Some(dir) = elsewhere {
        match clear_directory(dir) {
            Ok(true) => removed.push(dir.clone()),
            Ok(false) => {}
            Err(error) => errors.push(error),
        }
    }
    (removed, errors)
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
