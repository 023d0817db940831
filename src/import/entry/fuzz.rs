//! Fuzzes the import as a whole: whatever is cut out of real configurations or put into them.

use super::tests::cases;
use super::*;
use crate::fuzz::Reader;

const WORDS: [&str; 30] = [
    "template {",
    "auto_auth {",
    "method \"approle\" {",
    "config = {",
    "secret { path = \"a\" }",
    "exec { command = ",
    "destination = \"/run/x\"",
    "contents = <<-EOF\n",
    "\nEOF\n",
    "perms = 0644",
    "wait = \"2s:4s\"",
    "{{ with secret \"secret/data/a\" }}",
    "{{ end }}",
    "kill -HUP $(cat /run/a.pid)",
    "apiVersion: v1\n",
    "metadata:\n  annotations:\n",
    "vault.hashicorp.com/agent-inject: \"true\"\n",
    "vault.hashicorp.com/agent-inject-secret-a: \"b\"\n",
    "spec: {containers: [{name: a}]}\n",
    "job \"a\" {",
    "task \"a\" {",
    "env = true",
    "${NOMAD_SECRETS_DIR}/a",
    "envconsul -secret a ",
    "A=vault:a#b",
    "${vault:a#b}",
    "|\n",
    "&a ",
    "*a",
    "---\n",
];

const KINDS: [Kind; 9] = [
    Kind::Agent,
    Kind::ConsulTemplate,
    Kind::Envconsul,
    Kind::EnvconsulLine,
    Kind::ConsulTemplateLine,
    Kind::Template,
    Kind::Manifest,
    Kind::Nomad,
    Kind::BankVaults,
];

fn read(input: &[u8]) {
    let text = String::from_utf8_lossy(input).into_owned();
    let lines = text.lines().count();
    let inputs = [Input { name: "input".to_owned(), text }];
    for kind in KINDS.into_iter().map(Some).chain([None]) {
        match import(&inputs, kind, Files::Beside, &|_| None) {
            Ok(imported) => {
                let read = toml::from_str::<toml::Table>(&imported.toml);
                assert!(read.is_ok(), "no TOML: {:?}\n{}", read.err(), imported.toml);
                for note in imported.notes.all() {
                    assert!(note.place.line <= lines + 1 && !note.advice.is_empty(), "{note:?}");
                }
            }
            Err(fault) => assert!(fault.place.line <= lines + 1 && !fault.message.is_empty(), "{fault}"),
        }
    }
}

#[test]
fn fuzz() {
    let documents = cases().into_iter().map(|(_, original, _)| original.into_bytes()).collect();
    Reader { documents, words: &WORDS, read }.fuzz("another agent's configuration");
}
