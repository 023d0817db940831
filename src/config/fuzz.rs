//! Fuzzes configurations.

use std::path::Path;

use toml::{Table, Value};

use super::auth::CREDENTIAL_VARIABLES;
use super::*;
use crate::fuzz::{CANARY, Reader, examples};
use crate::plan::{self, Surroundings};

/// A document with all keys, with a canary in every place where a secret may have been written.
const SECRETS: &str = r#"
[source.vault]
addresses = ["https://app:canary-2b7e151628@vault.internal:8200"]
auth.approle = { role_id = "web", secret_id_file = "/run/secret-id" }
[secret.db]
path = "database/creds/app"
params = { password = "canary-2b7e151628", ttl = "1h" }
refresh = "30s"
[output]
dir = "/run/app"
[[file]]
path = "app.env"
inline = "PASSWORD=canary-2b7e151628 {{db.password}}"
on_change = "hup"
[process]
command = ["app"]
env = { TOKEN = "canary-2b7e151628", URL = "pg://{{db.username}}:canary-2b7e151628@db" }
[rollout]
grace = "2s"
window = ["Mon-Fri 02:00-04:00 UTC"]
probe = { http = "http://127.0.0.1:8080/ready", period = "1s", timeout = "10s" }
"#;

const WORDS: [&str; 24] = [
    "[source.vault]",
    "[secret.db]",
    "[[file]]",
    "[process]",
    "[rollout]",
    "[output]",
    "inline = \"",
    "env = {",
    "path = ",
    "30s",
    "99999999999999999999d",
    "0s",
    "\"0777\"",
    "auth.token.file = \"/t\"",
    "type = \"aws\"",
    "type = \"store\"",
    "on_change = ",
    "restart",
    "SIGRTMIN+1",
    "run = [\"a\"]",
    "{{db.password}}",
    "23:59-00:00",
    "unix:/run/a.sock",
    "probe = \"none\"",
];

/// Keys where a secret may be written: no problem may quote it.
fn is_secret(place: &[&str]) -> bool {
    match place {
        ["source", _, "address" | "addresses", ..] | ["secret", _, "params", ..] | ["process", "env", ..] => {
            true
        }
        [.., last] => *last == "inline",
        [] => false,
    }
}

/// Whether the canary is in this value, looking only at the keys for secrets.
fn hides(place: &mut Vec<String>, value: &Value) -> bool {
    let here: Vec<&str> = place.iter().map(String::as_str).collect();
    match value {
        Value::String(text) => !text.contains(CANARY) || is_secret(&here),
        Value::Table(table) => hides_all(place, table),
        Value::Array(items) => items.iter().all(|item| hides(place, item)),
        Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Datetime(_) => true,
    }
}

fn hides_all(place: &mut Vec<String>, table: &Table) -> bool {
    table.iter().all(|(key, value)| {
        place.push(key.clone());
        let hides = !key.contains(CANARY) && hides(place, value);
        place.pop();
        hides
    })
}

fn read(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let file = Path::new("squire.toml");
    let environment = |name: &str| match name {
        "HOST" => Some("db.internal".to_owned()),
        name => CREDENTIAL_VARIABLES.contains(&name).then(|| CANARY.to_owned()),
    };
    let (config, problems) = survey(file, &text, &environment);
    assert!(config.is_some() || !problems.is_empty(), "neither a configuration nor a problem");
    let lines = text.lines().count();
    for problem in &problems {
        let Place { file: named, line, .. } = &problem.place;
        assert_eq!(named, file, "{problem}");
        assert!((1..=lines + 1).contains(line) && !problem.message.is_empty(), "{problem}");
    }
    let names_credentials = CREDENTIAL_VARIABLES.iter().any(|name| text.contains(name));
    // Comments are not secret. In a text that is no TOML, nobody can tell what is secret.
    let hides = text.parse::<Table>().is_ok_and(|table| hides_all(&mut Vec::new(), &table));
    if hides && !names_credentials {
        let leak = problems.iter().find(|problem| problem.to_string().contains(CANARY));
        assert!(leak.is_none(), "tells a secret: {}", leak.map(ToString::to_string).unwrap_or_default());
    }
    if let Some(config) = config {
        let surroundings = Surroundings {
            read: &|_| Err(std::io::ErrorKind::NotFound.into()),
            user: &|_| None,
            group: &|_| Some(1000),
            person: &|_| None,
            own: (0, 0),
        };
        if let Err(findings) = plan::compile(&config, None, &surroundings) {
            assert!(!findings.is_empty());
        }
    }
}

#[test]
fn fuzz() {
    const PAGES: [&str; 3] = [
        include_str!("../../README.md"),
        include_str!("../../docs/configuration.md"),
        include_str!("../../docs/operations.md"),
    ];
    let written = PAGES.into_iter().flat_map(|page| examples(page, "toml"));
    let documents: Vec<_> = [SECRETS, super::tests::FULL].into_iter().chain(written).collect();
    Reader::of_texts(&documents, &WORDS, read).fuzz("a configuration");
}
