//! Finds every table and key of the configuration, by asking its reader.
//!
//! A key that nobody knows is an error that lists the known ones. So a table with such a key in it tells what may stand there, and each
//! known key is then tried as a table, as a list of tables, and as a table of names. What is found so cannot be out of date.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use squire::config::{Problem, survey};
use toml::{Table, Value};

/// A key that is known nowhere, and resembles none.
const NOBODY: &str = "qqqqqqqq";
/// What a person would choose; a name may be anything.
const NAME: &str = "NAME";

/// The way to a table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    Key(String),
    /// The first item of a list.
    Item,
}

pub(super) type Way = Vec<Step>;

/// The keys of a table.
pub(super) type Keys = BTreeSet<String>;

/// A document with this table at the end of the way.
pub(super) fn document(way: &[Step], table: Table) -> Table {
    let wrap = |inner: Value, step: &Step| match step {
        Step::Key(key) => Value::Table(Table::from_iter([(key.clone(), inner)])),
        Step::Item => Value::Array(vec![inner]),
    };
    let whole = way.iter().rev().fold(Value::Table(table), wrap);
    whole.as_table().unwrap().clone()
}

/// The path of a key in a problem.
fn path(way: &[Step], key: &str) -> String {
    let mut path = String::new();
    for step in way.iter().chain([&Step::Key(key.to_owned())]) {
        match step {
            Step::Key(key) if path.is_empty() => path.push_str(key),
            Step::Key(key) => path.extend([".", key]),
            Step::Item => path.push_str("[0]"),
        }
    }
    path
}

/// The problems of a document.
pub(super) fn problems(document: &Table) -> Vec<Problem> {
    survey(Path::new("squire.toml"), &document.to_string(), &|_| None).1
}

/// What is known in a table that has these keys already; `None` if there is no such table.
fn known(way: &[Step], table: &Table) -> Option<Keys> {
    let mut asked = table.clone();
    asked.insert(NOBODY.to_owned(), 0.into());
    let here = path(way, NOBODY);
    problems(&document(way, asked)).into_iter().find_map(|problem| {
        let (_, listed) = problem.message.split_once("; known here: ")?;
        (problem.place.key == here).then(|| listed.split(", ").map(str::to_owned).collect())
    })
}

/// Every key of a table, whether it is known alone or only beside another one.
fn keys(way: &[Step]) -> Option<Keys> {
    let alone = known(way, &Table::new())?;
    let beside = |key: &String| Table::from_iter([(key.clone(), Value::String(String::new()))]);
    let further = alone.iter().filter_map(|key| known(way, &beside(key))).flatten();
    Some(alone.iter().cloned().chain(further).collect())
}

/// The names that a table of tables may have: any, or those that its problems ask for.
fn names(way: &[Step]) -> Vec<String> {
    let one = Table::from_iter([(NAME.to_owned(), Value::Table(Table::new()))]);
    let mut names = vec![NAME.to_owned()];
    for problem in problems(&document(way, one)) {
        let quoted = problem.message.split('"').skip(1).step_by(2).filter(|word| !word.contains('='));
        names.extend(quoted.filter(|word| *word != NAME).map(str::to_owned));
    }
    names
}

/// Every table with its keys, by the way to it.
pub(super) fn tables() -> BTreeMap<Way, Keys> {
    let mut found = BTreeMap::new();
    let mut ways = vec![Way::new()];
    while let Some(way) = ways.pop() {
        let Some(keys) = keys(&way) else { continue };
        for key in &keys {
            let inner = [&way[..], &[Step::Key(key.clone())]].concat();
            let named = names(&inner).into_iter().map(|name| [&inner[..], &[Step::Key(name)]].concat());
            ways.extend(named);
            ways.push([&inner[..], &[Step::Item]].concat());
            ways.push(inner);
        }
        assert!(way.len() < 8, "there is no end of it: {way:?}");
        found.insert(way, keys);
    }
    found
}

/// The name of a table on the page: what is the same for several is there once.
pub(super) fn name(way: &[Step]) -> String {
    let keys = way.iter().filter_map(|step| match step {
        Step::Key(key) => Some(key.as_str()),
        Step::Item => None,
    });
    let keys: Vec<_> = keys.collect();
    match keys[..] {
        ["source", kind] => format!("source.{kind}"),
        ["source", _, ref inner @ ..] => format!("source.NAME.{}", inner.join(".")),
        ["file" | "process", "on_change"] => "on_change".to_owned(),
        ["process", "limits", _] => "process.limits.NAME".to_owned(),
        _ => keys.join("."),
    }
}

#[test]
fn the_search_finds_what_is_nested_and_what_needs_another_key() {
    let tables = tables();
    let of = |wanted: &str| tables.iter().find(|(way, _)| name(way) == wanted).unwrap().1;
    assert!(of("").contains("startup_timeout"));
    assert!(of("source.vault").contains("allow_redirects") && of("source.aws").contains("region"));
    assert!(of("source.NAME.auth.jwt").contains("jwt_file"));
    assert!(of("rollout.probe").contains("body"), "it is known only beside `http`");
    assert!(of("on_change").contains("pid_file"), "it is known only beside `signal`");
    assert!(of("process.limits.NAME").contains("soft"));
    assert!(tables.len() > 25, "only {} tables", tables.len());
}
