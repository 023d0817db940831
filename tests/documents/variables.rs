//! Every environment variable of Squire that the code names is on a page.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use super::page::{pages, repository};

const PREFIX: &str = "SQUIRE_";
/// Variables for the tests of Squire itself.
const OF_TESTS: [&str; 4] = ["SQUIRE_TEST_", "SQUIRE_EXPLORE", "SQUIRE_FUZZ_", "SQUIRE_BLESS"];

/// The variables in a text.
fn variables(text: &str) -> impl Iterator<Item = String> {
    text.split(PREFIX).skip(1).filter_map(|rest| {
        let name: String = rest.chars().take_while(|c| c.is_ascii_uppercase() || *c == '_').collect();
        (!name.is_empty()).then(|| format!("{PREFIX}{name}"))
    })
}

/// The text of every file below `src`.
fn code() -> Vec<String> {
    let (mut texts, mut directories) = (Vec::new(), vec![PathBuf::from("src")]);
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(repository().join(&directory)).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                directories.push(directory.join(entry.file_name()));
            } else {
                texts.push(fs::read_to_string(entry.path()).unwrap_or_default());
            }
        }
    }
    texts
}

#[test]
fn every_variable_of_squire_is_on_a_page() {
    let named: BTreeSet<String> = code().iter().flat_map(|text| variables(text)).collect();
    let ours = named.iter().filter(|name| !OF_TESTS.iter().any(|prefix| name.starts_with(prefix)));
    let ours: Vec<_> = ours.collect();
    assert!(ours.len() > 10, "only {ours:?}");
    let written: BTreeSet<String> =
        pages().iter().flat_map(|page| &page.codes).flat_map(|(code, _)| variables(code)).collect();
    let missing: Vec<_> = ours.into_iter().filter(|name| !written.contains(*name)).collect();
    assert!(missing.is_empty(), "the code knows these variables, and no page does: {missing:?}");
}
