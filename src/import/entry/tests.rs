//! Golden cases: each shape that people write, with the whole configuration that it becomes.
//!
//! A case is a file in `golden/`: the original, a line of `=`, and then the result with its notes. `SQUIRE_BLESS=write` writes the results
//! anew; read them before you keep them.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::*;
use crate::import::Weight;
use crate::plan::{self, Surroundings};

const LINE: &str = "================================================================\n";

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/import/entry/golden")
}

/// The cases by name, with what they begin from and what they are to become.
pub(super) fn cases() -> Vec<(PathBuf, String, String)> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(golden())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .collect();
    paths.sort();
    let case = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).unwrap();
        let (original, expected) = text.split_once(LINE).unwrap_or((&text, ""));
        (path, original.to_owned(), expected.to_owned())
    };
    paths.into_iter().map(case).collect()
}

/// What templates name.
fn open(name: &str) -> Option<String> {
    match name {
        "app.ctmpl" | "/etc/agent/app.ctmpl" => {
            Some("{{ with secret \"secret/data/app\" }}{{ .Data.data.value }}{{ end }}\n".to_owned())
        }
        "service.ctmpl" => Some("{{ range service \"db\" }}{{ .Address }}{{ end }}\n".to_owned()),
        "long.ctmpl" => Some("line\n".repeat(20)),
        _ => None,
    }
}

fn imported(name: &str, text: &str) -> Result<Imported, Fault> {
    import(&[Input { name: name.to_owned(), text: text.to_owned() }], None, Files::Beside, &open)
}

/// The result in one text.
fn shown(result: &Result<Imported, Fault>) -> String {
    let imported = match result {
        Ok(imported) => imported,
        Err(fault) => return format!("{fault}\n"),
    };
    let mut shown = imported.toml.clone();
    for TemplateFile { name, text } in &imported.templates {
        write!(shown, "---- {name}\n{text}").unwrap();
    }
    if let Some(manifest) = &imported.manifest {
        write!(shown, "---- manifest\n{manifest}").unwrap();
    }
    for note in imported.notes.all() {
        let mark = if note.weight == Weight::Left { "left" } else { "told" };
        writeln!(shown, "---- {mark} {}:{} {}", note.place.line, note.place.column, note.construct).unwrap();
    }
    shown
}

#[test]
fn each_shape_becomes_what_is_written_down() {
    let is_writing = std::env::var_os("SQUIRE_BLESS").is_some();
    let mut wrong = String::new();
    for (path, original, expected) in cases() {
        let name = path.file_name().unwrap().to_str().unwrap();
        let now = shown(&imported(name, &original));
        if is_writing {
            std::fs::write(&path, format!("{original}{LINE}{now}")).unwrap();
        } else if now != expected {
            write!(wrong, "{name}:\n{now}\n").unwrap();
        }
    }
    assert!(wrong.is_empty(), "these are no longer what is written down:\n{wrong}");
}

#[test]
fn each_result_is_toml_and_no_note_is_lost() {
    for (path, original, _) in cases() {
        let name = path.file_name().unwrap().to_str().unwrap();
        let Ok(imported) = imported(name, &original) else { continue };
        toml::from_str::<toml::Table>(&imported.toml).unwrap_or_else(|error| panic!("{name}: {error}"));
        let flat = imported.toml.replace("\n#   ", " ");
        // Each credential in a case has these words.
        assert!(!shown(&Ok(imported)).contains("NOT-TO-BE-SHOWN"), "{name}");
        let imported = self::imported(name, &original).unwrap();
        for note in imported.notes.all() {
            let construct: Vec<&str> = note.construct.split_whitespace().collect();
            assert!(flat.contains(&construct.join(" ")), "{name}: {} is not in the text", note.construct);
        }
    }
}

/// A folder of an agent's configuration is one configuration; a part with templates only is the agent's too.
#[test]
fn several_files_are_one_configuration() {
    let inputs = [
        (
            "a.hcl",
            "vault { address = \"https://v:8200\" }\nauto_auth { method \"token_file\" { config { token_file_path = \"/run/t\" } } }",
        ),
        ("b.hcl", "template { contents = \"x\" destination = \"/run/x\" perms = \"0400\" new_key = 1 }"),
    ];
    let inputs = inputs.map(|(name, text)| Input { name: name.to_owned(), text: text.to_owned() });
    let imported = import(&inputs, None, Files::Beside, &open).unwrap();
    let read: toml::Table = toml::from_str(&imported.toml).unwrap();
    assert_eq!(read["source"]["vault"]["address"].as_str(), Some("https://v:8200"));
    assert_eq!(read["file"][0]["path"].as_str(), Some("/run/x"));
    let refused = imported.notes.all().iter().find(|note| note.construct == "new_key").unwrap();
    assert!(refused.advice.contains("the agent does not know this key in a template"), "{}", refused.advice);
}

/// Whoever says what a text is has looked: it may have the signs of another language in it.
#[test]
fn what_is_said_is_believed() {
    let input = [Input { name: "x".to_owned(), text: "{% if a %}".to_owned() }];
    assert!(import(&input, None, Files::Beside, &open).unwrap_err().to_string().contains("Ansible"));
    assert!(import(&input, Some(Kind::Template), Files::Beside, &open).is_ok());
}

/// Squire's own reader takes what the import writes; a server and a login that the original has from its environment are there.
#[test]
fn each_result_is_a_configuration_of_squire() {
    let environment = |name: &str| match name {
        "VAULT_ADDR" => Some("http://127.0.0.1:8200".to_owned()),
        "VAULT_TOKEN" => Some("a-token".to_owned()),
        "NOMAD_SECRETS_DIR" => Some("/secrets".to_owned()),
        "NOMAD_PORT_http" => Some("8080".to_owned()),
        "NOMAD_TASK_DIR" => Some("/local".to_owned()),
        _ => None,
    };
    for (path, original, _) in cases() {
        let name = path.file_name().unwrap().to_str().unwrap();
        let Ok(imported) = imported(name, &original) else { continue };
        let config = crate::config::parse(Path::new("squire.toml"), &imported.toml, &environment)
            .unwrap_or_else(|problems| panic!("{name}: {problems:?}\n{}", imported.toml));
        let read = |path: &Path| {
            let template = imported.templates.iter().find(|template| path.ends_with(&template.name));
            template.map(|template| template.text.clone()).ok_or_else(|| std::io::ErrorKind::NotFound.into())
        };
        let surroundings = Surroundings {
            read: &read,
            user: &|_| Some(1000),
            group: &|_| Some(1000),
            person: &|_| None,
            own: (0, 0),
        };
        let command = config.process.command.is_none().then(|| vec!["app".to_owned()]);
        if let Err(findings) = plan::compile(&config, command, &surroundings) {
            panic!("{name}: {findings:?}\n{}", imported.toml);
        }
    }
}

/// The example for Nomad is read with what a task has in its environment.
#[test]
fn the_configuration_of_the_example_for_nomad_is_read() {
    let environment = |name: &str| name.starts_with("NOMAD_").then(|| "/secrets".to_owned());
    let text = include_str!("../../../deploy/nomad/squire.toml");
    crate::config::parse(Path::new("squire.toml"), text, &environment).unwrap();
    // Nomad sets a variable only for a port that the job asks for.
    let job = include_str!("../../../deploy/nomad/shop.nomad.hcl");
    for rest in text.split("${NOMAD_PORT_").skip(1) {
        let port = rest.split('}').next().unwrap();
        assert!(job.contains(&format!("port \"{port}\"")), "the job has no port {port}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever is cut out of a real configuration, or put into it, gives a result or a fault, and the result is TOML.
    #[test]
    fn no_text_panics(at in any::<prop::sample::Index>(), length in 0_usize..40, put in "([a-z]{1,4}|[{}\"=\n '\\\\]|\\{\\{|\\}\\}|\\$\\{){0,4}") {
        for (path, original, _) in cases() {
            let mut chars: Vec<char> = original.chars().collect();
            let from = at.index(chars.len().max(1));
            let to = (from + length).min(chars.len());
            chars.splice(from.min(to)..to, put.chars());
            let text: String = chars.into_iter().collect();
            if let Ok(imported) = imported(path.file_name().unwrap().to_str().unwrap(), &text) {
                let read = toml::from_str::<toml::Table>(&imported.toml);
                prop_assert!(read.is_ok(), "{}\n{}", read.unwrap_err(), imported.toml);
            }
        }
    }
}
