//! Fuzzes variables that look like references.

use std::path::Path;

use serde_json::{Value, json};

use super::{Part, References, parts};
use crate::config;
use crate::fuzz::{CANARY, Reader};
use crate::names::SecretName;
use crate::plan::{self, Surroundings};
use crate::secret::Packed;
use crate::template::{self, Data, Engine};

const DOCUMENTS: [&str; 8] = [
    "vault:secret/mysql#password",
    "vault:secret/mysql?version=3#password",
    "postgres://${vault:database/creds/app#username}:${vault:database/creds/app#password}@db/app?x=$1",
    "aws:arn:aws:secretsmanager:eu-west-1:1:secret:prod/db?version_stage=AWSPREVIOUS#api key",
    "store:dev/app/token",
    "canary-2b7e151628 ${HOME}/bin:$PATH \\{{x}}",
    "$$${vault:a/b#c}$${store:d/e#f}$",
    "canary-2b7e151628${vault:secret/app#a[canary-2b7e151628]}",
];

const WORDS: [&str; 17] = [
    "vault:",
    "aws:",
    "store:",
    "${vault:",
    "${store:a/b}",
    "${aws:a/b#c}",
    "#password",
    "?version=",
    "?version_id=",
    "$${",
    "$",
    "\\",
    "{{",
    "}}",
    "{{!",
    "secret/app",
    "}",
];

fn read(input: &[u8]) {
    let value = String::from_utf8_lossy(input);
    let mut references = References::default();
    if let Err(error) = references.given("VALUE", &value) {
        assert!(error.starts_with("the variable VALUE has a ") && !error.contains(CANARY), "{error}");
        return;
    }
    // An environment cannot carry such a character, and a file of variables with one is refused.
    if value.contains('\0') {
        return;
    }
    let document = references.document(None);
    let environment = |name: &str| match name {
        "VAULT_ADDR" => Some("https://vault.internal:8200".to_owned()),
        "SQUIRE_STORE" => Some("/var/lib/squire/app.store".to_owned()),
        "VAULT_TOKEN" | "SQUIRE_STORE_ROLE_ID" => Some("web".to_owned()),
        "SQUIRE_STORE_SECRET_ID_FILE" => Some("/run/secret-id".to_owned()),
        _ => None,
    };
    let config = config::parse(Path::new("environment"), &document, &environment);
    let config = match config {
        Ok(config) => config,
        // The configuration checks names of its source; nothing else can be wrong with the text that was made.
        Err(problems) => {
            let is_name = problems.iter().all(|problem| problem.place.key.rsplit('.').next() == Some("path"));
            assert!(is_name, "{problems:?} in what was made of it:\n{document}");
            return;
        }
    };
    let surroundings = Surroundings {
        read: &|_| Err(std::io::ErrorKind::NotFound.into()),
        user: &|_| None,
        group: &|_| None,
        person: &|_| None,
        own: (0, 0),
    };
    let plan = plan::compile(&config, Some(vec!["app".to_owned()]), &surroundings);
    let plan = plan.unwrap_or_else(|findings| panic!("{findings:?} in what was made of it:\n{document}"));
    // Every field exists, with its secret and its own name as value.
    let parts = parts(&value).unwrap();
    let name = |part: &Part| match part {
        Part::Reference(reference) => Some(references.targets[&reference.target].clone()),
        Part::Text(_) => None,
    };
    let field = |part: &Part| match part {
        Part::Reference(reference) => reference.field.clone().unwrap_or_default(),
        Part::Text(text) => text.clone(),
    };
    let mut secrets = serde_json::Map::new();
    for part in &parts {
        let (Some(name), field) = (name(part), field(part)) else { continue };
        let fields = secrets.entry(name.clone()).or_insert_with(|| json!({}));
        fields[&field] = Value::from(format!("<{name} {field}>"));
    }
    // `only` is for a secret with one field: if others are asked for too, it fails as it should.
    let is_clear = parts.iter().all(|part| match part {
        Part::Reference(reference) if reference.field.is_none() => {
            secrets[&references.targets[&reference.target]].as_object().unwrap().len() == 1
        }
        Part::Reference(_) | Part::Text(_) => true,
    });
    if !is_clear {
        return;
    }
    let secrets: Vec<_> = secrets
        .into_iter()
        .map(|(name, fields)| {
            let Value::Object(fields) = fields else { unreachable!("fields are an object") };
            (SecretName::new(name), Packed::of(&fields))
        })
        .collect();
    let data = Data::new(secrets.iter().map(|(name, fields)| (name, fields)));
    let engine = Engine::new(template::Surroundings {
        env: Box::new(|_| None),
        file: Box::new(|_| Err(std::io::ErrorKind::NotFound.into())),
    });
    let rendered = engine.render(&plan.env["VALUE"], &data);
    let rendered = rendered.unwrap_or_else(|error| panic!("{error} in what was made of it:\n{document}"));
    let expected = parts.iter().map(|part| match name(part) {
        Some(name) => format!("<{name} {}>", field(part)),
        None => field(part),
    });
    assert_eq!(rendered.expose(), expected.collect::<String>(), "{document}");
}

#[test]
fn fuzz() {
    Reader::of_texts(&DOCUMENTS, &WORDS, read).fuzz("a reference");
}
