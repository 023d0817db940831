//! One file for each field of a secret, as Docker and Kubernetes lay out theirs.
//!
//! *Invariant:* pure; each path is below the directory, and no name of a field leads out of it.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::secret::{Packed, Secret};

/// The longest name that a file may have on Linux, in bytes.
const LONGEST_NAME: usize = 255;

/// The files of a secret in this directory, with what is in them: text as it is, all else as JSON.
///
/// # Errors
/// The field whose name cannot be the name of a file, and why.
pub(super) fn files(directory: &Path, fields: &Packed) -> Result<Vec<(PathBuf, Secret<[u8]>)>, String> {
    let mut files = Vec::new();
    for (name, value) in fields.expose() {
        fits(&name)?;
        files.push((directory.join(&name), contents(&value)));
    }
    Ok(files)
}

fn contents(value: &Value) -> Secret<[u8]> {
    match value {
        Value::String(text) => Secret::new(text.as_bytes()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            Secret::new(value.to_string().as_bytes())
        }
    }
}

/// Whether it can be the name of a file.
fn fits(name: &str) -> Result<(), String> {
    let why = match name {
        "" => "is empty",
        "." | ".." => "means a directory",
        _ if name.contains('/') => "has a slash",
        _ if name.contains('\0') => "has a NUL character",
        _ if name.len() > LONGEST_NAME => "has more than 255 bytes",
        _ => return Ok(()),
    };
    Err(format!(
        "the field `{}` cannot be a file: its name {why}; write a [[file]] with a template for it",
        crate::plain::plain(name)
    ))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn files_of(fields: &Value) -> Result<Vec<(String, String)>, String> {
        let packed = Packed::of(fields.as_object().unwrap());
        let text = |bytes: &Secret<[u8]>| String::from_utf8(bytes.expose().to_vec()).unwrap();
        let shown =
            |(path, bytes): &(PathBuf, Secret<[u8]>)| (path.to_str().unwrap().to_owned(), text(bytes));
        files(Path::new("app"), &packed).map(|files| files.iter().map(shown).collect())
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
