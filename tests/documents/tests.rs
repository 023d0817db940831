//! Every test that a page names is there.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use super::listed;
use super::page::{pages, repository};

/// Every function and every module below `src` and `tests`.
fn names() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut directories = vec![PathBuf::from("src"), PathBuf::from("tests")];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(repository().join(&directory)).unwrap() {
            let path = directory.join(entry.unwrap().file_name());
            names.extend(path.file_stem().and_then(|stem| stem.to_str()).map(str::to_owned));
            if repository().join(&path).is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(repository().join(&path)).unwrap();
                let functions = text.split("fn ").skip(1).filter_map(|rest| rest.split(['(', '<']).next());
                names.extend(functions.map(str::to_owned));
            }
        }
    }
    names
}

/// Whether this looks like a test, or a module of tests, and not like a part of Rust's library.
fn is_a_test(path: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | ':' | '…');
    let last = path.rsplit("::").next().unwrap_or_default();
    path.contains("::")
        && path.chars().all(is_plain)
        && (path.starts_with("program::") || last.matches('_').count() > 2)
}

#[test]
fn every_test_that_a_page_names_is_there() {
    let names = names();
    let (mut missing, mut found) = (Vec::new(), 0);
    for page in pages() {
        let comments = page.blocks.iter().filter_map(|block| Some((block.comment.as_ref()?, &block.place)));
        let words = comments
            .flat_map(|(comment, place)| comment.split([' ', ',', ';', '\n']).map(move |word| (word, place)));
        let codes = page.codes.iter().map(|(code, place)| (code.as_str(), place));
        for (path, place) in codes.chain(words).filter(|(path, _)| is_a_test(path)) {
            let parts = path.split("::").filter(|part| !part.is_empty() && !part.contains('…'));
            found += 1;
            missing.extend(
                parts
                    .filter(|part| !names.contains(*part))
                    .map(|part| format!("{place}: {path}: there is no {part}")),
            );
        }
    }
    assert!(missing.is_empty(), "\n{}", listed(missing));
    assert!(found > 60, "only {found} tests are named");
}
