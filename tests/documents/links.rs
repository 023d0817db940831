//! Every link leads to a file and a heading that are there.

use std::path::{Component, Path, PathBuf};

use super::page::{page, pages, read, repository};

/// Where a link from this page leads, in the repository, and the anchor there.
fn target<'a>(from: &Path, link: &'a str) -> (PathBuf, &'a str) {
    let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
    if file.is_empty() {
        return (from.to_owned(), anchor);
    }
    let mut path = from.parent().unwrap().to_owned();
    for part in Path::new(file).components() {
        if part == Component::ParentDir {
            assert!(path.pop(), "{link} leads out of the repository");
        } else {
            path.push(part);
        }
    }
    (path, anchor)
}

fn is_elsewhere(link: &str) -> bool {
    link.contains("://") || link.starts_with("mailto:")
}

#[test]
fn every_link_leads_to_a_file_and_a_heading() {
    let mut broken = Vec::new();
    let mut tried = 0;
    for page_of_links in pages() {
        for (link, place) in page_of_links.links.iter().filter(|(link, _)| !is_elsewhere(link)) {
            let (path, anchor) = target(&page_of_links.path, link);
            tried += 1;
            if !repository().join(&path).exists() {
                broken.push(format!("{place}: {link}: there is no {}", path.display()));
            } else if !anchor.is_empty() && !page(&path).anchors().iter().any(|there| there == anchor) {
                broken.push(format!("{place}: {link}: no heading of {} has this anchor", path.display()));
            }
        }
    }
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
    assert!(tried > 100, "only {tried} links were found");
}

#[test]
fn anchors_are_as_github_makes_them() {
    let text = "# A b\n## `[source.NAME]` with `type = \"vault\"`\n## What's *new*: 1.\n# A b\n```sh\n# no heading\n```\n";
    let anchors = read(Path::new("x.md"), text).anchors();
    assert_eq!(anchors, ["a-b", "sourcename-with-type--vault", "whats-new-1", "a-b-1"]);
    assert_eq!(target(Path::new("docs/a.md"), "../tests/b.md#c"), (PathBuf::from("tests/b.md"), "c"));
    assert_eq!(target(Path::new("docs/a.md"), "#c"), (PathBuf::from("docs/a.md"), "c"));
}
