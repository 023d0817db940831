//! `list`: the path is a folder, and what is in it is the secret.

use std::collections::BTreeMap;

use super::reader::{Table, Value, every};
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

/// Whether the secret is chosen by tags alone.
pub(super) fn is_everywhere(table: &Table<'_>, of: Option<&SourceConfig>) -> bool {
    matches!(of, Some(SourceConfig::Aws(_))) && table.has("tags") && !table.has("path")
}

/// Reads `tags` of a secret: only what has all of them is in the folder.
pub(super) fn tags(
    table: &mut Table<'_>,
    of: Option<&SourceConfig>,
    list: Option<Listing>,
) -> BTreeMap<String, String> {
    let Some(value) = table.take("tags") else { return BTreeMap::new() };
    let Some(tags) = value.table("a table such as { team = \"shop\" }") else { return BTreeMap::new() };
    match of {
        Some(SourceConfig::Vault(_) | SourceConfig::Store(_)) => {
            value.report("only secrets of AWS have tags; remove it");
        }
        Some(SourceConfig::Aws(_)) | None if list.is_none() => {
            value.report("chooses among the secrets of a folder; write list = true beside it");
        }
        Some(SourceConfig::Aws(_)) | None => {}
    }
    let tags = tags.named();
    if tags.is_empty() {
        value.report("chooses nothing; write a tag such as { team = \"shop\" }, or remove it");
    }
    let tag = |(key, value): (&str, Value<'_>)| {
        let text = value.text()?;
        if key.is_empty() || key.chars().count() > LONGEST_KEY || text.chars().count() > LONGEST_VALUE {
            value.report(format!(
                "AWS has no such tag: its name has 1 to {LONGEST_KEY} characters, its value up to {LONGEST_VALUE}"
            ));
        }
        Some((key.to_owned(), text))
    };
    every(tags.into_iter().map(tag)).unwrap_or_default()
}

/// What a tag of AWS may have: <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_Tag.html>
const LONGEST_KEY: usize = 128;
const LONGEST_VALUE: usize = 256;

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
