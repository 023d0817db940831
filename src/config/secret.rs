//! `[secret.NAME]`: the named wants.
//!
//! *Invariant:* every name can be used as a variable in a template.

use std::collections::BTreeMap;

use super::reader::{Table, Value};
use super::source::Sources;
use super::source::aws::SECRET_ID;
use super::value::{Form, POSITIVE_DURATION, SERVER_PATH, SIZE, WORD};
use super::{EVERYWHERE, EngineKind, Place, SecretConfig, SourceConfig, listing, params, text, version};
use crate::names::{SecretName, SourceName};
use crate::ordered::Order as _;
use crate::size;

/// Words that mean something else in a template: Handlebars' own, and Squire's first helpers. Later ones are no such words, since a secret may
/// have their name already, and `{{pgpass.password}}` is none of their calls.
pub(crate) const TEMPLATE_WORDS: &[&str] = &[
    "this",
    "root",
    "true",
    "false",
    "null",
    "else",
    "if",
    "unless",
    "each",
    "with",
    "lookup",
    "log",
    "raw",
    "json",
    "json_pretty",
    "yaml",
    "toml",
    "shell",
    "url",
    "base64",
    "base64_decode",
    "indent",
    "trim",
    "upper",
    "lower",
    "replace",
    "split",
    "join",
    "default",
    "sha256",
    "env",
    "file",
    "eq",
    "ne",
    "gt",
    "gte",
    "lt",
    "lte",
    "and",
    "or",
    "not",
    "len",
    "only",
];

/// Reads `[secret]`.
pub(super) fn secrets(table: Option<Table<'_>>, sources: &Sources) -> BTreeMap<SecretName, SecretConfig> {
    let Some(table) = table else { return BTreeMap::new() };
    if sources.names.is_empty() && !table.is_empty() {
        table.report("secrets need a source to come from; add [source.vault]");
    }
    let secrets = table.named().into_iter().map(|(name, value)| {
        check_name(name, &value);
        let config = value.table("a table: [secret.NAME]").map(|table| secret(table, sources));
        (SecretName::new(name), config.unwrap_or_else(nothing))
    });
    secrets.ordered()
}

fn check_name(name: &str, value: &Value<'_>) {
    if TEMPLATE_WORDS.contains(&name) {
        value.report(format!(
            "`{name}` is a word of the template language; choose another name, such as `{name}_secret`"
        ));
    } else if !text::is_identifier(name) {
        value.report(
            "the name cannot be a variable in templates; \
             use letters, digits and `_`, not beginning with a digit, such as [secret.app_db]",
        );
    }
}

/// What stands for a secret that cannot be read at all: its name is known, so that templates may refer to it.
fn nothing() -> SecretConfig {
    let (source, refresh) = (SourceName::new(""), std::time::Duration::ZERO);
    let place = Place::default();
    SecretConfig {
        source,
        path: String::new(),
        params: None,
        version: None,
        kind: None,
        list: None,
        tags: BTreeMap::new(),
        refresh,
        max_size: size::USUAL,
        place,
    }
}

/// Reads one secret. What is wrong in it is reported and then stands empty: nobody fetches what has problems.
fn secret(mut table: Table<'_>, sources: &Sources) -> SecretConfig {
    let place = table.place().clone();
    let source = source(&mut table, sources);
    let of = source.as_ref().and_then(|source| sources.configs.get(source));
    // To AWS a slash at the beginning is part of the name.
    let form = if matches!(of, Some(SourceConfig::Aws(_))) { &SECRET_ID } else { &SERVER_PATH };
    let path = if listing::is_everywhere(&table, of) {
        Some(EVERYWHERE.to_owned())
    } else {
        table.require("path", "path = \"secret/app/db\"").and_then(|path| path.read(form))
    };
    let params = table.take("params");
    let version = version::version(&mut table, of, params.is_some());
    let kind = kind(&mut table, of);
    let list = listing::listing(&mut table, path.as_deref(), of, kind);
    let tags = listing::tags(&mut table, of, list);
    let params = params.and_then(|params| params::params(&params));
    let refresh = table.read("refresh", &POSITIVE_DURATION);
    let max_size = table.read("max_size", &SIZE);
    table.finish();
    let source = source.unwrap_or_else(|| SourceName::new(""));
    let refresh = refresh.unwrap_or_else(|| sources.refresh(source.as_str()));
    let max_size = max_size.unwrap_or_else(|| sources.max_size(source.as_str()));
    let path = path.unwrap_or_default();
    SecretConfig { source, path, params, version, kind, list, tags, refresh, max_size, place }
}

fn kind(table: &mut Table<'_>, of: Option<&SourceConfig>) -> Option<EngineKind> {
    let value = table.take("kind")?;
    match of {
        Some(SourceConfig::Store(_) | SourceConfig::Aws(_)) => {
            value.report("is about what is mounted in a Vault or OpenBao; remove it");
            None
        }
        Some(SourceConfig::Vault(_)) | None => value.read(&KIND),
    }
}

const KIND: Form<EngineKind> = Form {
    expected: "\"kv1\", \"kv2\" or \"other\"",
    shown: true,
    read: |text| match text {
        "kv1" => Ok(EngineKind::Kv1),
        "kv2" => Ok(EngineKind::Kv2),
        "other" => Ok(EngineKind::Other),
        _ => Err("is unknown; write \"kv1\", \"kv2\" or \"other\"".to_owned()),
    },
};

fn source(table: &mut Table<'_>, sources: &Sources) -> Option<SourceName> {
    let names = || sources.names.iter().map(String::as_str);
    let Some(value) = table.take("source") else {
        if let [only] = sources.names.as_slice() {
            return Some(SourceName::new(only));
        }
        if !sources.names.is_empty() {
            table.report(format!(
                "`source` is missing, and there are several to choose from: {}",
                text::listed(names())
            ));
        }
        return None;
    };
    let name = value.read(&WORD)?;
    if names().any(|known| known == name) {
        return Some(SourceName::new(name));
    }
    if let Some(near) = text::nearest(&name, names()) {
        value.report(format!("there is no such source; did you mean \"{near}\"?"));
    } else if sources.names.is_empty() {
        value.report("there is no such source; add its [source.…] table");
    } else {
        value.report(format!("there is no such source; the sources are: {}", text::listed(names())));
    }
    None
}
