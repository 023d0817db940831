//! Templates of other agents: `bao agent` renders them, and Squire renders what the import makes of them, of the same secrets.
//!
//! *Invariant:* the same bytes, for templates by hand and for random ones; nothing in them is left.
//!
//! Some random ones are others in each run. One that fails has its seed in its name, and `SQUIRE_SEED` begins with that one again;
//! `IMPORT_SEEDS` makes more of them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use nix::sys::signal::Signal;
use serde_json::{Map, Value, json};
use squire::import::{Delimiters, Notes, Request, Text, Wants, Weight, template};
use squire::names::SecretName;
use squire::secret::Packed;
use squire::template::{Data, Engine, Surroundings, Template};
use tempfile::TempDir;

use crate::support::{Bao, Daemon, SOON, bao_program, holds_within, on_tmpfs};

mod random;

/// How many random templates are the same in each run, and how many are not.
const FIXED: u64 = 100;
const FRESH: u64 = 50;
/// What the templates find in the environment.
const VARIABLES: [(&str, &str); 2] = [("IMPORT_TEST_SET", "set"), ("IMPORT_TEST_APP", "app")];

/// Templates by hand: a line `#### title`, then the text up to the next one.
const BY_HAND: [(&str, &str); 7] = [
    ("blocks", include_str!("import/blocks.ctmpl")),
    ("certificates", include_str!("import/certificates.ctmpl")),
    ("fields", include_str!("import/fields.ctmpl")),
    ("folders", include_str!("import/folders.ctmpl")),
    ("functions", include_str!("import/functions.ctmpl")),
    ("loops", include_str!("import/loops.ctmpl")),
    ("text", include_str!("import/text.ctmpl")),
];

/// A template, and what the agent rendered of it.
struct Case {
    title: String,
    text: String,
    rendered: String,
}

/// Everything that the agent rendered: once for all tests.
struct Rendered {
    bao: Bao,
    cases: Vec<Case>,
    directory: TempDir,
}

fn rendered() -> &'static Rendered {
    static RENDERED: OnceLock<Rendered> = OnceLock::new();
    RENDERED.get_or_init(|| {
        let bao = Bao::start();
        write_secrets(&bao);
        let directory = on_tmpfs("import");
        std::fs::write(directory.path().join("content"), "content\n").unwrap();
        let texts = by_hand(&directory)
            .into_iter()
            .chain(seeds().map(|seed| (format!("random {seed}"), random::template(seed))));
        let cases = run_agent(&bao, &directory, texts.collect());
        Rendered { bao, cases, directory }
    })
}

fn seeds() -> impl Iterator<Item = u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let first = number("SQUIRE_SEED").unwrap_or_else(|| fastrand::u64(..u64::MAX / 2));
    (0..FIXED).chain(first..first + number("IMPORT_SEEDS").unwrap_or(FRESH))
}

fn by_hand(directory: &TempDir) -> Vec<(String, String)> {
    let mut texts = Vec::new();
    for (file, text) in BY_HAND {
        for case in text.split("#### ").skip(1) {
            let (title, text) = case.split_once('\n').unwrap();
            let text = text.replace("@dir@", directory.path().to_str().unwrap());
            texts.push((format!("{file}: {title}"), text));
        }
    }
    texts
}

/// The secrets by path; a list is several versions of one.
fn write_secrets(bao: &Bao) {
    let secrets: Value = serde_json::from_str(include_str!("import/secrets.json")).unwrap();
    for (path, fields) in secrets.as_object().unwrap() {
        let versions = fields.as_array().cloned().unwrap_or_else(|| vec![fields.clone()]);
        for fields in versions {
            match path.strip_prefix("secret/") {
                Some(below) => bao.api().post(&format!("secret/data/{below}"), &json!({"data": fields})),
                None => bao.api().post(path, &fields),
            };
        }
    }
}

/// Lets one agent render all of them.
fn run_agent(bao: &Bao, directory: &TempDir, texts: Vec<(String, String)>) -> Vec<Case> {
    let place = |name: &str| directory.path().join(name);
    std::fs::write(place("token"), Bao::root_token()).unwrap();
    let mut configuration = format!(
        "exit_after_auth = true\nvault {{ address = \"{}\" }}\n\
         auto_auth {{ method \"token_file\" {{ config {{ token_file_path = \"{}\" }} }} }}\n",
        bao.address(),
        place("token").display()
    );
    for (number, (_, text)) in texts.iter().enumerate() {
        let (from, to) = (place(&format!("{number}.ctmpl")), place(&format!("{number}.out")));
        std::fs::write(&from, text).unwrap();
        let (from, to) = (from.display(), to.display());
        writeln!(configuration, "template {{\n source = \"{from}\"\n destination = \"{to}\"\n}}").unwrap();
    }
    std::fs::write(place("agent.hcl"), configuration).unwrap();
    let mut command = Command::new(bao_program());
    command.arg("agent").arg("-config").arg(place("agent.hcl")).stdin(Stdio::null());
    command.env("HOME", directory.path()).envs(VARIABLES);
    let mut agent = Daemon::start(&command, &place("log"), Signal::SIGTERM);
    let read = |number: usize| std::fs::read_to_string(place(&format!("{number}.out")));
    let log = || std::fs::read_to_string(place("log")).unwrap_or_default();
    // One that it cannot render holds it up: it tries again.
    assert!(holds_within(4 * SOON, || agent.ended().is_some()), "the agent does not end: {}", log());
    let cases = texts.into_iter().enumerate().map(|(number, (title, text))| {
        let rendered = read(number).unwrap_or_else(|error| panic!("{title}: {error}\n{text}\n{}", log()));
        Case { title, text, rendered }
    });
    cases.collect()
}

/// What Squire renders of it.
fn ours(case: &Case, all: &Rendered) -> String {
    let (mut wants, mut notes) = (Wants::default(), Notes::default());
    let text = Text {
        origin: &case.title,
        text: &case.text,
        first_line: 1,
        delimiters: Delimiters::default(),
        error_on_missing_key: false,
    };
    let output = template(&text, &mut wants, &mut notes);
    let left: Vec<_> = notes.all().iter().filter(|note| note.weight == Weight::Left).collect();
    assert!(left.is_empty(), "{}: {left:#?}\n{}", case.title, case.text);
    let compiled = Template::compile(&case.title, &output);
    let compiled = compiled.unwrap_or_else(|error| panic!("{error}\n{}\n{output}", case.text));
    let secrets =
        wants.all().map(|(name, request)| (SecretName::new(name), Packed::of(&fetched(request, all))));
    let secrets: BTreeMap<_, _> = secrets.collect();
    let env =
        |name: &str| VARIABLES.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
    let file = |path: &Path| std::fs::read_to_string(path);
    let engine = Engine::new(Surroundings { env: Box::new(env), file: Box::new(file) });
    let rendered = engine.render(&compiled, &Data::new(secrets.iter()));
    rendered.unwrap_or_else(|error| panic!("{error}\n{}\n{output}", case.text)).expose().to_owned()
}

/// The fields of what a template wants.
fn fetched(request: &Request, all: &Rendered) -> Map<String, Value> {
    let path = VARIABLES
        .iter()
        .fold(request.path.clone(), |path, (name, value)| path.replace(&format!("${{{name}}}"), value));
    if request.folder {
        let listed = path.replacen("secret/", "secret/metadata/", 1);
        let answer = all.bao.api().get(&format!("{listed}?list=true"));
        let names = answer["data"]["keys"].as_array().unwrap().iter().map(|name| name.as_str().unwrap());
        return names
            .map(|name| (name.to_owned(), Value::Object(read(&format!("{path}/{name}"), all))))
            .collect();
    }
    if !request.params.is_empty() {
        return all.bao.api().post(&path, &json!(request.params))["data"].as_object().unwrap().clone();
    }
    match request.version {
        Some(version) => read(&format!("{path}?version={version}"), all),
        None => read(&path, all),
    }
}

/// The fields at a path, with or without the `data/` of KV v2.
fn read(path: &str, all: &Rendered) -> Map<String, Value> {
    let below = path.strip_prefix("secret/").map(|below| below.strip_prefix("data/").unwrap_or(below));
    let answer = all.bao.api().get(&below.map_or(path.to_owned(), |below| format!("secret/data/{below}")));
    let data = if below.is_some() { &answer["data"]["data"] } else { &answer["data"] };
    data.as_object().unwrap().clone()
}

/// The text without what is in PEM: each certificate is another one.
fn comparable(text: &str) -> String {
    let mut inside = false;
    let mut kept = String::new();
    for line in text.split_inclusive('\n') {
        inside &= !line.starts_with("-----END");
        if !inside {
            kept.push_str(line);
        }
        inside |= line.contains("-----BEGIN");
    }
    kept
}

/// Compares those whose titles fit, and gives how many there are.
fn compare(fits: impl Fn(&str) -> bool) -> usize {
    let all = rendered();
    assert!(all.directory.path().is_dir());
    let cases: Vec<_> = all.cases.iter().filter(|case| fits(&case.title)).collect();
    for case in &cases {
        let (ours, theirs) = (ours(case, all), &case.rendered);
        assert_eq!(comparable(&ours), comparable(theirs), "{}\n{}", case.title, case.text);
    }
    cases.len()
}

#[test]
fn templates_by_hand_render_as_in_the_agent() {
    assert!(compare(|title| !title.starts_with("random")) >= 128);
}

#[test]
fn random_templates_render_as_in_the_agent() {
    assert!(compare(|title| title.starts_with("random")) as u64 > FIXED);
}
