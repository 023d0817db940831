//! Fuzzes templates.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use serde_json::json;

use super::{data, engine};
use crate::fuzz::{CANARY, Reader};
use crate::template::{Data, Engine, OUTPUT_LIMIT, Template};

const DOCUMENTS: [&str; 8] = [
    "user={{db.username}}\npassword={{shell db.password}}\n{{#if db.tls}}sslmode=verify-full{{else}}sslmode=disable{{/if}}\n",
    "{{#each db.hosts as |host|}}{{host}}:{{../db.port}}{{#unless @last}},{{/unless}}{{/each}}",
    "{{#with web as |w|}}{{json w.key}}{{/with}}{{{{raw}}}}{{ as it is }}{{{{/raw}}}}",
    "{{#*inline \"one\"}}{{default d.key \"none\"}}{{/inline}}{{> one d=@root.web}}{{> one @root.db}}",
    "{{!-- a comment --}}{{~indent (yaml db) 4~}}{{base64_decode db.encoded}}{{toml web}}",
    "{{#each db.users as |user name|}}{{name}}={{url user.name}}\n{{else}}nobody{{/each}}{{sha256 db.password}}",
    "{{compose_env db.password}}{{systemd_env db.lines}}{{env_name db.canary}}{{properties db.password}}{{my_cnf db.lines}}{{pgpass db.password}}{{netrc db.username}}{{npmrc db.username}}{{jaas (ini db.username)}}{{basic_auth db.username (line db.password)}}{{pem db.hosts}}{{word db.username \":\"}}{{configparser db.username}}",
    "{{join (split db.lines \"\\n\") \",\"}}{{default (lookup db \"nothing\") (env \"SET\")}}{{file \"/etc/ca.pem\"}}",
];

const WORDS: [&str; 34] = [
    "{{#if ",
    "{{/if}}",
    "{{else}}",
    "{{#each ",
    "{{/each}}",
    "{{#with ",
    "{{/with}}",
    "{{> one}}",
    "{{#*inline \"one\"}}",
    "{{/inline}}",
    "{{{{raw}}}}",
    "{{{{/raw}}}}",
    "{{db.password}}",
    "{{db}}",
    "../",
    "@root.",
    "@index",
    "@last",
    " as |x|",
    "this",
    "(lookup db \"x\")",
    "(json db)",
    "{{!--",
    "--}}",
    "~",
    "db.[odd key]",
    "db.hosts.[0]",
    "db.users",
    "web.empty",
    "indent",
    "base64_decode",
    "json_pretty",
    "yaml",
    "toml",
];

static ENGINE: LazyLock<Engine> = LazyLock::new(engine);

static ALL: LazyLock<Data> = LazyLock::new(|| {
    data(json!({
        "db": {
            "username": CANARY, "password": format!("{CANARY}'\"$\n"), "port": 5432, "tls": true, "hosts": [CANARY, "b"], "odd key": CANARY,
            "users": {"x": {"name": CANARY}, "y": {"name": null}}, "encoded": "aGk=", "binary": "/w==", "lines": "one\ntwo\n",
        },
        "web": {"key": CANARY, "empty": {}},
    }))
});

fn read(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let lines = text.split('\n').count();
    let check = |error: crate::template::TemplateError| {
        assert!((1..=lines).contains(&error.line) && error.column > 0, "{error}");
        let said = error.to_string();
        assert!(said.starts_with("t:") && !said.contains('\n'), "{said:?}");
        // The template may contain the canary word itself; then it is not a leak.
        assert!(text.contains(CANARY) || !said.contains(CANARY), "tells a value: {said}");
    };
    let template = match Template::compile("t", &text) {
        Ok(template) => template,
        Err(error) => return check(error),
    };
    for reference in template.references() {
        assert!((1..=lines).contains(&reference.line) && reference.column > 0, "{reference:?}");
    }
    match ENGINE.render(&template, &ALL) {
        Ok(rendered) => assert!(rendered.expose().len() <= OUTPUT_LIMIT),
        Err(error) => check(error),
    }
}

#[test]
fn fuzz() {
    Reader::of_texts(&DOCUMENTS, &WORDS, read).fuzz("a template");
}

#[test]
fn a_path_that_leads_nowhere_is_explained_however_long_it_is() {
    let began = Instant::now();
    read(format!("{{{{db.users{}}}}}", ".x".repeat(2_000)).as_bytes());
    // When each step was looked up from the beginning, this took a minute.
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}
