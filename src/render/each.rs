//! One file for each field of a secret, as Docker and Kubernetes lay out theirs.
//!
//! *Invariant:* pure; each path is below the directory, and no name of a field leads out of it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::as_text;
use crate::ordered::Order as _;
use crate::plain::short;
use crate::secret::{Packed, Secret};

/// The longest name that a file may have on Linux, in bytes.
const LONGEST_NAME: usize = 255;

/// A path, and what is in the file.
type Contents = (PathBuf, Secret<[u8]>);

/// The files of a secret in this directory, with what is in them: text as it is, all else as JSON. Of a folder each secret is a directory.
///
/// # Errors
/// The field or the secret whose name cannot be the name of a file, and why.
pub(super) fn files(directory: &Path, fields: &Packed, is_folder: bool) -> Result<Vec<Contents>, String> {
    let mut files = Vec::new();
    for (name, value) in fields.expose() {
        match &value {
            Value::Object(fields) if is_folder => {
                let within = entry(directory, &name)?;
                for (field, value) in fields {
                    files.push(file(&within, field, value)?);
                }
            }
            Value::Object(_)
            | Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_) => files.push(file(directory, &name, &value)?),
        }
    }
    refuse_collisions(&files)?;
    Ok(files)
}

/// The directory of a secret in a folder, whose name has slashes where it is deeper.
fn entry(directory: &Path, name: &str) -> Result<PathBuf, String> {
    match name.split('/').find_map(why_not) {
        None => Ok(directory.join(name)),
        Some(why) => Err(format!(
            "the secret `{}` cannot be a directory: a part of its name {why}; leave it out of the folder",
            short(name)
        )),
    }
}

fn file(directory: &Path, name: &str, value: &Value) -> Result<Contents, String> {
    match why_not(name) {
        None => Ok((directory.join(name), as_text(value).into_bytes())),
        Some(why) => Err(format!(
            "the field `{}` cannot be a file: its name {why}; write a [[file]] with a template for it",
            short(name)
        )),
    }
}

/// In a tree, a field may have the name of a folder beside its secret.
fn refuse_collisions(files: &[Contents]) -> Result<(), String> {
    let paths: BTreeSet<&Path> = files.iter().map(|(path, _)| path.as_path()).ordered();
    let above =
        |path: &&Path| path.ancestors().skip(1).find(|above| paths.contains(above)).map(Path::to_owned);
    match paths.iter().find_map(above) {
        None => Ok(()),
        Some(path) => Err(format!(
            "`{}` would be both the file of a field and the directory of a secret",
            short(&path.to_string_lossy())
        )),
    }
}

/// Why it cannot be the name of a file.
fn why_not(name: &str) -> Option<&'static str> {
    match name {
        "" => Some("is empty"),
        "." | ".." => Some("means a directory"),
        _ if name.contains('/') => Some("has a slash"),
        _ if name.contains('\0') => Some("has a NUL character"),
        _ if name.len() > LONGEST_NAME => Some("has more than 255 bytes"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn files_of(fields: &Value) -> Result<Vec<(String, String)>, String> {
        files_in(fields, false)
    }

    fn files_in(fields: &Value, is_folder: bool) -> Result<Vec<(String, String)>, String> {
        let packed = Packed::of(fields.as_object().unwrap());
        let text = |bytes: &Secret<[u8]>| String::from_utf8(bytes.expose().to_vec()).unwrap();
        let shown =
            |(path, bytes): &(PathBuf, Secret<[u8]>)| (path.to_str().unwrap().to_owned(), text(bytes));
        files(Path::new("app"), &packed, is_folder).map(|files| files.iter().map(shown).collect())
    }

    #[test]
    fn each_field_is_a_file() {
        let fields = json!({"password": "p'\n", "port": 5432, "tls": true, "none": null, "hosts": ["a"], "a.b-c d": "", "..x": "é"});
        let expected = [
            ("app/..x", "é"),
            ("app/a.b-c d", ""),
            ("app/hosts", "[\"a\"]"),
            ("app/none", "null"),
            ("app/password", "p'\n"),
            ("app/port", "5432"),
            ("app/tls", "true"),
        ];
        let expected = expected.map(|(path, text)| (path.to_owned(), text.to_owned()));
        assert_eq!(files_of(&fields), Ok(expected.to_vec()));
        assert_eq!(files_of(&json!({})), Ok(Vec::new()));
    }

    #[test]
    fn a_name_that_leads_elsewhere_is_refused() {
        let long = "a".repeat(256);
        for (name, why) in [
            ("", "is empty"),
            (".", "means a directory"),
            ("..", "means a directory"),
            ("../x", "has a slash"),
            ("/etc/passwd", "has a slash"),
            ("a\0b", "has a NUL"),
            (&long, "has more than 255 bytes"),
        ] {
            let error = files_of(&json!({ name: "value-of-it" })).unwrap_err();
            assert!(error.contains(why) && !error.contains("value-of-it"), "{error}");
        }
        assert!(files_of(&json!({"a".repeat(255): ""})).is_ok());
    }

    #[test]
    fn each_secret_of_a_folder_is_a_directory() {
        let folder =
            json!({"ann": {"password": "x", "keys": {"a": 1}}, "team/bob": {"password": "y"}, "empty": {}});
        let expected =
            [("app/ann/keys", "{\"a\":1}"), ("app/ann/password", "x"), ("app/team/bob/password", "y")];
        let expected = expected.map(|(path, text)| (path.to_owned(), text.to_owned()));
        assert_eq!(files_in(&folder, true), Ok(expected.to_vec()));
        for (folder, why) in [
            (
                json!({"../up": {"a": "canary"}}),
                "the secret `../up` cannot be a directory: a part of its name means a directory",
            ),
            (json!({"a//b": {"a": "canary"}}), "is empty"),
            (json!({"/etc": {"a": "canary"}}), "is empty"),
            (json!({"ann": {"a/b": "canary"}}), "the field `a/b` cannot be a file: its name has a slash"),
            (
                json!({"ann": {"b": "canary"}, "ann/b": {"c": "canary"}}),
                "`app/ann/b` would be both the file of a field and the directory of a secret",
            ),
        ] {
            let error = files_in(&folder, true).unwrap_err();
            assert!(error.contains(why) && !error.contains("canary"), "{error}");
        }
    }

    #[test]
    fn a_name_that_is_refused_does_not_fill_the_log() {
        let name = format!("{}/\u{202e}", "n".repeat(100_000));
        let error = files_of(&json!({ name.as_str(): "canary" })).unwrap_err();
        assert!(error.len() < 300 && error.contains("has a slash"), "{error}");
        let error = files_in(&json!({ "n".repeat(100_000): {"a": "canary"} }), true).unwrap_err();
        assert!(error.len() < 300 && error.contains("more than 255 bytes"), "{error}");
    }

    proptest! {
        #[test]
        fn no_name_leads_out(name in any::<String>()) {
            if let Ok(files) = files_of(&json!({ name.as_str(): "" })) {
                prop_assert_eq!(Path::new(&files[0].0).parent(), Some(Path::new("app")));
                prop_assert_eq!(&files[0].0, &format!("app/{name}"));
            }
        }
    }
}
