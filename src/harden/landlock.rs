//! Landlock: the agent's thread, and the threads that it starts, can write only below some directories.
//!
//! It protects against mistakes, and against a path that somebody exchanges meanwhile. It does not protect against an attacker's code in
//! this process, which could ask the main thread. Reading, executing, sockets and signals are not restricted.
//!
//! *Invariant:* the restriction cannot be removed, and it holds only for this thread and its descendants.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, AccessFs, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreated, RulesetCreatedAttr, RulesetError,
};

/// The first version that allows hard links between directories, which are needed to keep unchanged files.
const LEAST: ABI = ABI::V2;
/// The first version that restricts truncation too.
const BEST: ABI = ABI::V3;

/// The target of output that is thrown away.
const DEV_NULL: &str = "/dev/null";

/// Why the agent is not confined.
#[derive(Debug, thiserror::Error)]
pub enum ConfineError {
    /// The kernel has no Landlock, an old one, or it is switched off.
    #[error("the kernel does not offer it (Linux 5.19 or later, with landlock among its LSMs)")]
    Unavailable(#[source] RulesetError),
    /// A rule could not be made.
    #[error("no rule can be made for {}", path.display())]
    Rule {
        /// For this directory.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The restriction was refused.
    #[error("the kernel refuses it")]
    Refused(#[source] RulesetError),
}

/// From now on this thread can write only below these directories, to these devices if they exist, and to `/dev/null`. For a directory that
/// does not exist, the nearest existing one above it is used.
pub fn confine(places: &BTreeSet<PathBuf>, devices: &[&Path]) -> Result<(), ConfineError> {
    let ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_write(LEAST))
        .and_then(|ruleset| {
            ruleset.set_compatibility(CompatLevel::BestEffort).handle_access(AccessFs::from_write(BEST))
        })
        .and_then(Ruleset::create)
        .map_err(ConfineError::Unavailable)?;
    let ruleset = places
        .iter()
        .try_fold(ruleset, |ruleset, place| allow(ruleset, nearest(place), AccessFs::from_write(BEST)))?;
    let file = AccessFs::WriteFile | AccessFs::Truncate;
    let ruleset = allow(ruleset, Path::new(DEV_NULL), file)?;
    let mut devices = devices.iter().filter(|device| device.exists());
    let ruleset = devices.try_fold(ruleset, |ruleset, device| allow(ruleset, device, file))?;
    ruleset.restrict_self().map(drop).map_err(ConfineError::Refused)
}

fn nearest(place: &Path) -> &Path {
    place.ancestors().find(|ancestor| ancestor.exists()).unwrap_or(place)
}

fn allow(
    ruleset: RulesetCreated,
    path: &Path,
    access: BitFlags<AccessFs>,
) -> Result<RulesetCreated, ConfineError> {
    let rule = |why: String| ConfineError::Rule { path: path.to_owned(), why };
    let beneath = PathFd::new(path).map_err(|error| rule(error.to_string()))?;
    ruleset.add_rule(PathBeneath::new(beneath, access)).map_err(|error| rule(error.to_string()))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::thread;

    use super::*;

    #[test]
    fn a_confined_thread_writes_in_its_places_and_nowhere_else_and_others_as_before() {
        let (inside, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let places = [inside.path().join("not there yet")].into();
        let (mine, other) = (inside.path().to_owned(), outside.path().to_owned());
        let confined = thread::spawn(move || {
            confine(&places, &[Path::new("/dev/zero"), Path::new("/dev/not-there")]).unwrap();
            fs::create_dir(mine.join("not there yet")).unwrap();
            fs::write(mine.join("not there yet/file"), "x").unwrap();
            fs::create_dir(mine.join("next")).unwrap();
            fs::hard_link(mine.join("not there yet/file"), mine.join("next/file")).unwrap();
            fs::write(DEV_NULL, "x").unwrap();
            fs::write("/dev/zero", "x").unwrap();
            let refused = fs::OpenOptions::new().write(true).open("/dev/full");
            assert_eq!(refused.unwrap_err().kind(), std::io::ErrorKind::PermissionDenied);
            assert!(fs::read_to_string("/etc/passwd").is_ok(), "it reads everywhere");
            let refused = thread::spawn(move || fs::write(other.join("file"), "x")).join().unwrap();
            assert_eq!(refused.unwrap_err().kind(), std::io::ErrorKind::PermissionDenied);
        });
        confined.join().unwrap();
        fs::write(outside.path().join("file"), "x").unwrap();
    }
}
