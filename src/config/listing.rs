//! `list`: the path is a folder, and what is in it is the secret.

use super::reader::{Table, Value};
use super::{EngineKind, Listing, SourceConfig};

/// Keys that mean one secret, which a folder is not.
const OF_ONE: [&str; 4] = ["params", "version", "version_stage", "version_id"];

/// Reads `list` of a secret at this path, of a source of this kind.
pub(super) fn listing(
    table: &mut Table<'_>,
    path: Option<&str>,
    of: Option<&SourceConfig>,
    kind: Option<EngineKind>,
) -> Option<Listing> {
    let value = table.take("list")?;
    let list = read(&value)?;
    if let Some(key) = OF_ONE.into_iter().find(|key| table.has(key)) {
        value.report(format!(
            "`{key}` is there too, which is about one secret; a folder has many, so keep one of the two"
        ));
    }
    if kind == Some(EngineKind::Other) {
        value.report("`kind` says that it is no KV, and nothing else can be listed; remove one of the two");
    }
    if matches!(of, Some(SourceConfig::Aws(_))) && path.is_some_and(|path| path.starts_with("arn:")) {
        value.report(
            "the path is an ARN, which is that of one secret; write the beginning of names, such as \"prod/team\"",
        );
    }
    Some(list)
}

fn read(value: &Value<'_>) -> Option<Listing> {
    const EXPECTED: &str = "true or false, or \"tree\"";
    match (value.written().as_bool(), value.written().as_str()) {
        (Some(is_folder), _) => is_folder.then_some(Listing::Level),
        (None, Some("tree")) => Some(Listing::Tree),
        (None, Some(other)) => {
            value.report(format!("{other:?} is none of true, false and \"tree\""));
            None
        }
        (None, None) => {
            value.expected(EXPECTED);
            None
        }
    }
}
