//! Every fenced block of every page is tried, or says why not.

use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};

use serde::Deserialize as _;
use squire::store::Hooks;
use squire::template::Template;

use super::page::{Block, pages, repository};
use super::{configurations, listed, shell};

/// What the comment before a block says of it.
enum Said<'a> {
    Nothing,
    NotRun,
    Run,
    PartOf(&'a str),
    PrintedBy(&'a str),
    From(&'a str),
    Hooks,
}

fn said(block: &Block) -> Said<'_> {
    let Some(comment) = block.comment.as_deref() else { return Said::Nothing };
    let (word, rest) = comment.split_once(':').unwrap_or((comment, ""));
    match word {
        "run" if !rest.trim().is_empty() => Said::Run,
        "not run" if !rest.trim().is_empty() => Said::NotRun,
        "part of" => Said::PartOf(rest.trim()),
        "from" => Said::From(rest.trim()),
        "printed by" => Said::PrintedBy(rest.trim()),
        "a file of hooks" => Said::Hooks,
        _ => panic!(
            "{}: the comment before it says neither how it is tried nor why not: {comment}",
            block.place
        ),
    }
}

fn is_shell(block: &Block) -> bool {
    matches!(block.language.as_str(), "sh" | "bash" | "console")
}

/// Lines of a console that begin with a prompt are commands; the others are what was printed.
fn commands_of(block: &Block) -> String {
    if block.language != "console" {
        return block.text.clone();
    }
    listed(block.text.lines().filter_map(|line| line.strip_prefix("$ ")))
}

/// Tries a block; what is wrong with it.
fn mistake(block: &Block) -> Option<String> {
    let text = block.text.as_str();
    let parsed = |result: Result<(), String>| result.err();
    match (block.language.as_str(), said(block)) {
        ("", Said::Nothing) | (_, Said::NotRun) | ("sh" | "bash" | "console", Said::Run) => None,
        (_, Said::PartOf("squire policy")) => is_in_the_policy(text),
        (_, Said::From(file)) => is_from(file, text),
        ("text", Said::PrintedBy(script)) => is_printed_by(script, text),
        ("toml", Said::Hooks) => parsed(Hooks::parse(text).map(drop)),
        ("toml", Said::Nothing) => configurations::mistake(text),
        ("json", Said::Nothing) => parsed(
            serde_json::from_str::<serde_json::Value>(text).map(drop).map_err(|error| error.to_string()),
        ),
        ("yaml", Said::Nothing) => yaml(text).err(),
        ("handlebars", Said::Nothing) => {
            parsed(Template::compile(&block.place, text).map(drop).map_err(|error| error.to_string()))
        }
        (language, _) => Some(format!(
            "nothing tries it: say before it in a comment how, or why not (language {language:?})"
        )),
    }
}

/// Whether each line of this is in the file, in this order; `…` stands for lines that are left out.
fn is_from(file: &str, text: &str) -> Option<String> {
    let Ok(whole) = fs::read_to_string(repository().join(file)) else {
        return Some(format!("there is no file {file}"));
    };
    let mut lines = whole.lines().map(str::trim);
    let mut quoted = text.lines().map(str::trim).filter(|line| !line.is_empty() && *line != "…");
    let strange = quoted.find(|line| !lines.any(|there| there == *line));
    strange.map(|line| format!("{file} has no line {line:?} there"))
}

/// Each document of a text in YAML.
fn yaml(text: &str) -> Result<(), String> {
    let mut documents = serde_norway::Deserializer::from_str(text);
    let parsed = documents.try_for_each(|document| serde_norway::Value::deserialize(document).map(drop));
    parsed.map_err(|error| error.to_string())
}

/// Whether this script has each heading and each command of Squire in this. What is between them has other numbers each time.
fn is_printed_by(script: &str, text: &str) -> Option<String> {
    let script = fs::read_to_string(repository().join(script)).unwrap();
    let heads = text.lines().filter_map(|line| line.strip_prefix("== "));
    let commands = text.lines().filter_map(|line| line.trim_start().strip_prefix("$ squire store"));
    let strange = heads.chain(commands).find(|words| !script.contains(*words));
    strange.map(|words| format!("the script has no {words:?}"))
}

/// Whether `squire policy` prints each line of this for the first configuration.
fn is_in_the_policy(text: &str) -> Option<String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_squire"));
    command
        .args(["policy", "-c", "/dev/stdin"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .env_clear();
    let mut policy = command.spawn().unwrap();
    policy.stdin.take().unwrap().write_all(configurations::first().as_bytes()).unwrap();
    let printed = policy.wait_with_output().unwrap();
    let printed = String::from_utf8(printed.stdout).unwrap();
    let strange = text.lines().find(|line| !printed.lines().any(|there| there == *line));
    strange.map(|line| format!("`squire policy` prints no {line:?}, but\n{printed}"))
}

#[test]
fn every_example_works_or_says_why_it_is_not_tried() {
    let (mut mistakes, mut blocks, mut commands) = (Vec::new(), 0, 0);
    for page in pages() {
        for block in &page.blocks {
            blocks += 1;
            if is_shell(block) {
                commands += shell::check(&commands_of(block), &block.place);
            }
            mistakes.extend(mistake(block).map(|mistake| format!("{}: {mistake}", block.place)));
        }
    }
    assert!(mistakes.is_empty(), "\n{}", mistakes.join("\n"));
    assert!(blocks > 40 && commands > 30, "only {blocks} blocks with {commands} commands were found");
}

#[test]
fn commands_in_the_text_are_ones_that_the_command_line_knows() {
    let mut mistakes = Vec::new();
    for page in pages() {
        let ours =
            page.codes.iter().filter(|(code, _)| code.starts_with("squire ") && !code.contains("COMMAND"));
        mistakes.extend(
            ours.filter_map(|(code, place)| Some(format!("{place}: `{code}`: {}", shell::mistake(code)?))),
        );
    }
    assert!(mistakes.is_empty(), "\n{}", mistakes.join("\n"));
}

#[test]
fn a_quotation_keeps_the_order_of_its_file() {
    let quoted = |text: &str| is_from("clippy.toml", text);
    let text = fs::read_to_string(repository().join("clippy.toml")).unwrap();
    let lines: Vec<_> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let (first, last) = (lines[0], lines[lines.len() - 1]);
    assert_eq!(quoted(&format!("{first}\n…\n  {last}\n")), None);
    assert!(quoted(&format!("{last}\n{first}\n")).is_some(), "the lines changed places");
    assert!(is_from("nothing.toml", first).is_some());
}
