//! `version`, `version_stage`, `version_id`: the version of a secret that is pinned.

use super::reader::{Table, Value};
use super::value::WORD;
use super::{SourceConfig, Version};

/// Reads the pinned version of a secret. `kind` is the kind of its source, if that is known; `is_write` says whether it has `params`.
pub(super) fn version(table: &mut Table<'_>, kind: Option<&SourceConfig>, is_write: bool) -> Option<Version> {
    let said = [
        ("version", table.take("version")),
        ("version_stage", table.take("version_stage")),
        ("version_id", table.take("version_id")),
    ];
    let said: Vec<_> = said.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
    for (key, value) in &said {
        if is_write {
            value.report(
                "`params` is there too, which makes it a write; \
                 a version is only for reading, so keep one of the two",
            );
        }
        match (*key, kind) {
            ("version", Some(SourceConfig::Aws(_))) => {
                value.report("AWS does not number its versions; write version_stage or version_id");
            }
            ("version_stage" | "version_id", Some(SourceConfig::Vault(_) | SourceConfig::Store(_))) => {
                value.report("is of AWS Secrets Manager; here versions have numbers, such as version = 3");
            }
            _ => {}
        }
    }
    match &said[..] {
        [] => None,
        [("version", value)] => number(value).map(Version::Number),
        [("version_stage", value)] => value.read(&WORD).map(Version::Stage),
        [(_, value)] => value.read(&WORD).map(Version::Id),
        [_, (_, second), ..] => {
            second.report("another version is named too; keep one of the two");
            None
        }
    }
}

fn number(value: &Value<'_>) -> Option<u64> {
    let version = value.integer().and_then(|number| u64::try_from(number).ok()).filter(|number| *number >= 1);
    if version.is_none() {
        value.expected("a version number from 1 on, such as version = 3");
    }
    version
}
