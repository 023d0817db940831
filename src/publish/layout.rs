//! What things are called on disk.
//!
//! *Invariant:* pure; every name of ours in `output.dir` begins with two dots, except the stable links.

use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

use crate::names::Generation;

/// The link that names the live generation.
pub(super) const DATA: &str = "..data";
/// The link that names the previous generation.
pub(super) const PREVIOUS: &str = "..data_prev";
/// The link that is about to become [`DATA`].
pub(super) const NEXT: &str = "..data_next";
/// Used where the kernel or the file system cannot exchange.
pub(super) const SPARE: &str = "..data_spare";

const GENERATION: &str = "..gen-";

/// The directory of a generation.
pub(super) fn directory(generation: Generation) -> String {
    format!("{GENERATION}{generation}")
}

/// The generation whose directory has this name, written just as [`directory`] writes it.
pub(super) fn generation(name: &Path) -> Option<Generation> {
    let digits = name.to_str()?.strip_prefix(GENERATION)?;
    let generation = Generation::from_number(digits.parse().ok()?)?;
    (directory(generation) == name.to_str()?).then_some(generation)
}

/// Whether this top-level name is one of our own, so that no file may have it.
pub(super) fn is_reserved(name: &Path) -> bool {
    name.as_os_str().as_encoded_bytes().starts_with(b"..")
}

/// The first component of a relative path: what is exposed for it.
pub(super) fn top_level(path: &Path) -> Option<PathBuf> {
    path.components().next().map(|component: Component<'_>| PathBuf::from(component.as_os_str()))
}

/// The directories that a relative path is in, without the generation's own.
pub(super) fn directories(path: &Path) -> impl Iterator<Item = &Path> {
    path.ancestors().skip(1).filter(|ancestor| !ancestor.as_os_str().is_empty())
}

/// Where the stable link of this top-level name points.
pub(super) fn stable_target(name: &Path) -> PathBuf {
    Path::new(DATA).join(name)
}

/// The file beside an absolute destination that is renamed over it.
pub(super) fn temporary(destination: &Path, generation: Generation) -> PathBuf {
    let mut name = temporary_prefix(destination);
    name.push(generation.to_string());
    destination.with_file_name(name)
}

/// Whether this name, in the directory of the destination, is one that [`temporary`] gives.
pub(super) fn is_temporary(destination: &Path, name: &Path) -> bool {
    let prefix = temporary_prefix(destination);
    let digits = name.as_os_str().as_encoded_bytes().strip_prefix(prefix.as_encoded_bytes());
    digits.is_some_and(|digits| !digits.is_empty() && digits.iter().all(u8::is_ascii_digit))
}

fn temporary_prefix(destination: &Path) -> OsString {
    let mut name = OsString::from(".");
    name.push(destination.file_name().unwrap_or_default());
    name.push(".squire-");
    name
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
        assert_eq!(temporary(destination, seven), Path::new("/etc/app/.db.json.squire-7"));
        let cases = [
            (".db.json.squire-7", true),
            (".db.json.squire-", false),
            (".db.json.squire-7x", false),
            (".other.squire-7", false),
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
