//! Names on disk.
//!
//! *Invariant:* pure; every name of Squire's own in `output.dir` begins with two dots, except the stable links.

use std::ffi::OsString;
use std::io;
use std::path::{Component, Path, PathBuf};

use crate::names::Generation;
use crate::secret::{Digest, DigestKey};

use super::PublishError;

/// The link that names the live generation.
pub(super) const DATA: &str = "..data";
/// The link that names the previous generation.
pub(super) const PREVIOUS: &str = "..data_prev";
/// What the name of the link begins with that is about to become [`DATA`]; see [`next`].
const NEXT: &str = "..data_next-";
/// Used where the kernel or the file system cannot exchange.
pub(super) const SPARE: &str = "..data_spare";

/// The lock file of the one Squire that publishes here.
pub(super) const LOCK: &str = "..lock";
/// Which generations are ours.
pub(super) const GENERATIONS: &str = "..generations";
/// What the name of a file begins with that is about to replace another one of ours.
const NEW: &str = "..new-";
/// Where this run publishes.
pub(super) const ROSTER: &str = "..published";
/// The same file in the directory of the ledger.
pub(super) const ROSTER_IN_LEDGER: &str = "published.json";

const GENERATION: &str = "..gen-";

/// The directory of a generation.
pub(super) fn directory(generation: Generation) -> String {
    format!("{GENERATION}{generation}")
}

/// The generation whose directory has this name, in exactly the form of [`directory`].
pub(super) fn generation(name: &Path) -> Option<Generation> {
    let digits = name.to_str()?.strip_prefix(GENERATION)?;
    let generation = Generation::from_number(digits.parse().ok()?)?;
    (directory(generation) == name.to_str()?).then_some(generation)
}

/// Whether this top-level name is one of Squire's own, which no file may have.
pub(super) fn is_reserved(name: &Path) -> bool {
    name.as_os_str().as_encoded_bytes().starts_with(b"..")
}

/// The link that is about to name this generation. Whoever may write here could take a name that they know, so nobody knows it before.
pub(super) fn next(generation: Generation, key: &DigestKey) -> String {
    format!("{NEXT}{:016x}", key.digest(format!("{NEXT}{generation}").as_bytes()).short())
}

/// A name for a new file, which nobody can take before us.
pub(super) fn unguessable() -> Result<PathBuf, PublishError> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|error| PublishError::System {
        doing: "find random bytes for",
        path: PathBuf::from(NEW),
        source: io::Error::other(error.to_string()),
    })?;
    Ok(PathBuf::from(format!("{NEW}{:016x}", u64::from_le_bytes(bytes))))
}

/// Whether a file or link of this name was on its way to another name.
pub(super) fn is_on_its_way(name: &Path) -> bool {
    let name = name.as_os_str().as_encoded_bytes();
    [NEXT, NEW, SPARE].iter().any(|beginning| name.starts_with(beginning.as_bytes()))
}

/// The first component of a relative path: what is exposed for it.
pub(super) fn top_level(path: &Path) -> Option<PathBuf> {
    path.components().next().map(|component: Component<'_>| PathBuf::from(component.as_os_str()))
}

/// The directories in a relative path, without the generation's own.
pub(super) fn directories(path: &Path) -> impl Iterator<Item = &Path> {
    path.ancestors().skip(1).filter(|ancestor| !ancestor.as_os_str().is_empty())
}

/// The target of the stable link with this top-level name.
pub(super) fn stable_target(name: &Path) -> PathBuf {
    Path::new(DATA).join(name)
}

/// The temporary file beside an absolute destination that is renamed over it. The digest has a random key, so no other user who may write
/// there can take the name first.
pub(super) fn temporary(destination: &Path, generation: Generation, digest: &Digest) -> PathBuf {
    let mut name = record(destination).into_os_string();
    name.push(format!("-{generation}-{:016x}", digest.short()));
    destination.with_file_name(name)
}

/// The record beside an absolute destination of the files that Squire put there.
pub(super) fn record(destination: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(destination.file_name().unwrap_or_default());
    name.push(".squire");
    PathBuf::from(name)
}

/// The next record, before it is renamed over the present one: it belongs to a temporary file.
pub(super) fn next_record(temporary: &Path) -> PathBuf {
    let mut name = temporary.as_os_str().to_owned();
    name.push("-record");
    PathBuf::from(name)
}

/// Whether this name, in the directory of the destination, is one that [`temporary`] or [`next_record`] makes.
pub(super) fn is_temporary(destination: &Path, name: &Path) -> bool {
    let prefix = record(destination);
    let Some(rest) = name.to_str().and_then(|name| name.strip_prefix(prefix.to_str()?)) else { return false };
    let rest = rest.strip_suffix("-record").unwrap_or(rest);
    let Some((generation, digits)) = rest.strip_prefix('-').and_then(|rest| rest.split_once('-')) else {
        return false;
    };
    let are = |text: &str, digit: fn(&u8) -> bool| !text.is_empty() && text.as_bytes().iter().all(digit);
    are(generation, u8::is_ascii_digit) && are(digits, u8::is_ascii_hexdigit)
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn only_a_name_that_we_would_write_is_a_generation() {
        let number = |name: &str| generation(Path::new(name)).map(Generation::number);
        let cases = [
            ("..gen-7", Some(7)),
            ("..gen-18446744073709551615", Some(u64::MAX)),
            ("..gen-0", None),
            ("..gen-07", None),
            ("..gen-+7", None),
            ("..gen-", None),
            ("..gen-18446744073709551616", None),
            ("gen-7", None),
            ("..data", None),
        ];
        for (name, expected) in cases {
            assert_eq!(number(name), expected, "{name}");
        }
    }

    #[test]
    fn a_temporary_file_belongs_to_one_destination() {
        let destination = Path::new("/etc/app/db.json");
        let seven = Generation::from_number(7).unwrap();
        let name = |key: u8| temporary(destination, seven, &DigestKey::new([key; 32]).digest(b"value"));
        assert!(name(1).to_str().unwrap().starts_with("/etc/app/.db.json.squire-7-"));
        assert_ne!(name(1), name(2), "another run has other names");
        assert!(is_temporary(destination, Path::new(name(1).file_name().unwrap())));
        let cases = [
            (".db.json.squire-7-0123456789abcdef", true),
            (".db.json.squire-7-0123456789abcdef-record", true),
            (".db.json.squire", false),
            (".db.json.squire-7", false),
            (".db.json.squire-7-", false),
            (".db.json.squire-7x-0", false),
            (".db.json.squire-7-backup", false),
            (".other.squire-7-0", false),
            ("db.json", false),
        ];
        for (name, expected) in cases {
            assert_eq!(is_temporary(destination, Path::new(name)), expected, "{name}");
        }
    }

    #[test]
    fn a_nested_path_is_exposed_by_its_first_component() {
        let path = Path::new("conf/d/db.json");
        assert_eq!(top_level(path).unwrap(), Path::new("conf"));
        assert_eq!(directories(path).collect::<Vec<_>>(), [Path::new("conf/d"), Path::new("conf")]);
        assert_eq!(stable_target(Path::new("conf")), Path::new("..data/conf"));
    }
}
