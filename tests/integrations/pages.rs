//! What docs/integrations.md and docs/server.md show is what is in `deploy`, and nothing that is not.

use std::path::Path;

use crate::setup::deployed;

/// The examples of a page: each with the file that the line before it names.
fn examples(page: &str) -> Vec<(String, String)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(page);
    let text = std::fs::read_to_string(path).unwrap();
    let mut found = Vec::new();
    let mut lines = text.lines().peekable();
    let mut before = "";
    while let Some(line) = lines.next() {
        if line.starts_with("```") {
            let block: Vec<_> = lines.by_ref().take_while(|line| !line.starts_with("```")).collect();
            let file = before.split('`').nth(1).filter(|_| before.ends_with(':'));
            found.push((file.unwrap_or_default().to_owned(), block.join("\n")));
        } else if !line.is_empty() {
            before = line;
        }
    }
    found
}

#[track_caller]
fn check(page: &str, at_least: usize) {
    let examples = examples(page);
    let of_files: Vec<_> = examples.iter().filter(|(file, _)| file.starts_with("deploy/")).collect();
    assert!(of_files.len() >= at_least, "{page} shows {} files", of_files.len());
    for (file, block) in of_files {
        let text = std::fs::read_to_string(deployed("..").join(file))
            .unwrap_or_else(|error| panic!("{file}: {error}"));
        // An ellipsis stands for lines that are left out.
        for part in block.split("\n…\n") {
            assert!(text.contains(part), "{page}: this is not in {file}:\n{part}");
        }
    }
}

#[test]
fn the_examples_of_the_integrations_are_their_files() {
    check("integrations.md", 16);
}

#[test]
fn each_integration_has_its_place_on_the_page() {
    let page = std::fs::read_to_string(deployed("../docs/integrations.md")).unwrap();
    for entry in std::fs::read_dir(deployed("integrations")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(page.contains(&format!("deploy/integrations/{name}/")), "{name} is not on the page");
    }
}

#[test]
fn the_examples_of_the_server_side_are_its_files() {
    check("server.md", 2);
}
