//! Each helper of the templates' language has its place in a table of helpers, and each that stands there is one.

use std::collections::BTreeSet;
use std::fs;

use squire::template::Template;

use super::page::{codes, pages, repository};

/// The names in the list of the code.
fn of_the_code() -> BTreeSet<String> {
    let list = fs::read_to_string(repository().join("src/template/catalogue.rs")).unwrap();
    let (list, _) = list.split_once("];").expect("the list has an end");
    let lines = list
        .lines()
        .filter(|line| ["inline(\"", "block(\"", "condition(\""].iter().any(|word| line.contains(word)));
    let names = lines.filter_map(|line| line.split('"').nth(1));
    names.map(str::to_owned).collect()
}

/// The helper that an example calls: `{{#each x}}`, `(eq a b)`, `ne`.
fn called(example: &str) -> Option<String> {
    let inner = example.trim_start_matches(['{', '(', '#']);
    let name: String =
        inner.chars().take_while(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || *c == '_').collect();
    (!name.is_empty()).then_some(name)
}

#[test]
fn every_helper_is_in_a_table_and_every_one_there_is_a_helper() {
    let mut written = BTreeSet::new();
    for row in pages().iter().flat_map(|page| &page.rows).filter(|row| row.head == "helper") {
        // A nested one stands in the arguments of another.
        for code in codes(&row.cells[0]) {
            written.extend(code.split(" (").filter_map(called));
        }
    }
    let known = of_the_code();
    assert!(known.len() > 30, "only {known:?}");
    let missing: Vec<_> = known.difference(&written).collect();
    assert!(missing.is_empty(), "helpers that no table has: {missing:?}");
    let is_unknown = |name: &&String| {
        let error = Template::compile("x", &format!("{{{{{name} 1}}}}")).err();
        error.is_some_and(|error| error.to_string().contains("there is no helper"))
    };
    let strange: Vec<_> = written.iter().filter(is_unknown).collect();
    assert!(strange.is_empty(), "a table has these, and there are no such helpers: {strange:?}");
}
