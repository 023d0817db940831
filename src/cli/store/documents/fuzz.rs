//! Fuzzes documents to import.

use std::path::Path;

use serde_json::Value;

use super::{env, json, secrets};
use crate::fuzz::{CANARY, Reader};
use crate::secret::Fields;

const DOCUMENTS: [&str; 6] = [
    r#"{"db": {"username": "app", "password": "canary-2b7e151628", "port": 5432, "ratio": 1.10, "on": true, "none": null, "l": ["canary-2b7e151628"]}}"#,
    r#"{"squire_store_export": {"dev/app/db": {"password": "canary-2b7e151628", "n": 123456789012345678901234567890}, "dev/x": {"a": {"b": 1}}}}"#,
    r#"{"prod": {"app": {"db": {"password": "canary-2b7e151628"}, "api": {"key": "canary-2b7e151628"}}}}"#,
    "[dev.db]\npassword = \"canary-2b7e151628\"\nport = 5_432\nhex = 0xff\nbig = 123456789012345678901\nratio = 1e5\nat = 2026-01-02T03:04:05Z\nl = [1, \"canary-2b7e151628\"]\n",
    "PASSWORD='canary-2b7e151628'\nexport TOKEN=canary-2b7e151628\n",
    "[db]\npassword = 'canary-2b7e151628'\n[db.inner]\nx = inf\n",
];

const WORDS: [&str; 14] = [
    "\"squire_store_export\"",
    "{\"a\": {\"b\": \"c\"}}",
    "[a.b]",
    "nan",
    "+inf",
    "1_0.0_1",
    "0o17",
    "0b1",
    "-0",
    "+1e-400",
    "1979-05-27",
    "\"\"\"",
    "'''",
    "\"\" = 1",
];

/// Whether the canary is in a name, which is not secret.
fn is_named(fields: &Fields) -> bool {
    fields.iter().any(|(name, value)| {
        name.contains(CANARY) || matches!(value, Value::Object(inner) if is_named(inner))
    })
}

fn read(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    for file in ["x.json", "x.toml", ".env"] {
        match secrets(Path::new(file), &text) {
            Ok(found) => {
                assert!(!found.is_empty() || text.contains("squire_store_export"));
                assert_eq!(secrets(Path::new("own.json"), &json(&found)).as_ref(), Ok(&found), "{file}");
                if let Ok(written) = env(&found) {
                    let read = secrets(Path::new(".env"), &written);
                    assert!(read.is_ok() || found[0].1.is_empty(), "{written}");
                }
            }
            Err(why) => {
                let as_json = serde_json::from_str::<Fields>(&text).ok();
                let as_toml = toml::from_str::<Fields>(&text).ok();
                let is_named = as_json.iter().chain(&as_toml).any(is_named);
                assert!(is_named || !why.contains(CANARY), "{file}: tells a value: {why}");
            }
        }
    }
}

#[test]
fn fuzz() {
    Reader::of_texts(&DOCUMENTS, &WORDS, read).fuzz("a document to import");
}
