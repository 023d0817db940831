//! Examples of configurations: whole ones, and parts that the first configuration of the README completes.

use std::io::ErrorKind;
use std::path::Path;

use squire::config::parse;
use squire::plan::{self, Person, Plan, Surroundings};
use toml::{Table, Value};

use super::listed;
use super::page::page;

/// The first configuration of the README.
pub(super) fn first() -> String {
    let readme = page(Path::new("README.md"));
    let block = readme.blocks.into_iter().find(|block| block.language == "toml");
    block.expect("the README has a configuration").text
}

/// A part, completed: a table of it is added to the one of the first configuration, everything else replaces what is there. Sources are
/// replaced as a whole, since a second one would leave open where a secret comes from.
fn completed(part: &Table) -> Table {
    let mut whole: Table = first().parse().unwrap();
    for (key, value) in part {
        if key == "source" {
            whole.insert(key.clone(), value.clone());
        } else {
            merge(&mut whole, key, value);
        }
    }
    whole
}

fn merge(into: &mut Table, key: &str, value: &Value) {
    match (into.get_mut(key), value) {
        (Some(Value::Table(there)), Value::Table(inner)) => {
            inner.iter().for_each(|(key, value)| merge(there, key, value));
        }
        _ => drop(into.insert(key.to_owned(), value.clone())),
    }
}

/// The plan of a configuration; every variable that it names is set, and `VAULT_ADDR`, every user is there, and templates in files are empty.
fn planned(text: &str) -> Result<Plan, String> {
    let environment = |name: &str| match name {
        "VAULT_ADDR" => Some("https://vault.internal:8200".to_owned()),
        name => text.contains(&format!("${{{name}}}")).then(|| "x".to_owned()),
    };
    let config = parse(Path::new("/etc/squire/squire.toml"), text, &environment);
    let config = config.map_err(listed)?;
    let read = |path: &Path| {
        let is_template = path.to_string_lossy().ends_with(".hbs");
        if is_template { Ok(String::new()) } else { Err(ErrorKind::NotFound.into()) }
    };
    let person = |_: &_| None::<Person>;
    let surroundings = Surroundings {
        read: &read,
        user: &|_| Some(1000),
        group: &|_| Some(1000),
        person: &person,
        own: (0, 0),
    };

    plan::compile(&config, None, &surroundings).map_err(listed)
}

/// Why an example is no configuration.
pub(super) fn mistake(text: &str) -> Option<String> {
    let part: Table = match text.parse() {
        Ok(part) => part,
        Err(error) => return Some(error.to_string()),
    };
    let alone = planned(text).err()?;
    let completed = planned(&completed(&part).to_string()).err()?;
    Some(format!("alone:\n{alone}\ncompleted by the first configuration:\n{completed}"))
}

#[test]
fn parts_are_completed_and_mistakes_are_found() {
    assert_eq!(mistake(&first()), None);
    assert_eq!(mistake("[rollout]\ngrace = \"1m\""), None);
    assert_eq!(mistake("[source.aws]\n[secret.db]\npath = \"prod/db\""), None);
    assert!(mistake("[rollout]\ngrase = \"1m\"").unwrap().contains("grace"));
    assert!(mistake("[[file]]\npath = \"a\"\ninline = \"{{nobody.x}}\"").unwrap().contains("nobody"));
    assert!(mistake("not TOML").is_some());
}
