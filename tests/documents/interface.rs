//! docs/operations.md names every path of the admin interface.

use std::fs;
use std::path::Path;

use super::page::{page, repository};

#[test]
fn every_path_of_the_interface_is_on_the_page_of_operations() {
    let description = fs::read_to_string(repository().join("docs/openapi.json")).unwrap();
    let description: serde_json::Value = serde_json::from_str(&description).unwrap();
    let page = page(Path::new("docs/operations.md"));
    let paths: Vec<_> = description["paths"].as_object().unwrap().keys().collect();
    assert!(paths.len() > 10, "only {paths:?}");
    let is_named =
        |path: &&&String| page.codes.iter().any(|(code, _)| code.rsplit(' ').next() == Some(path.as_str()));
    let missing: Vec<_> = paths.iter().filter(|path| !is_named(path)).collect();
    assert!(missing.is_empty(), "docs/operations.md does not name {missing:?}");
}
