//! Each integration has its place on docs/integrations.md. That what a page shows is in the files, `tests/documents` compares.

use crate::setup::deployed;

#[test]
fn each_integration_has_its_place_on_the_page() {
    let page = std::fs::read_to_string(deployed("../docs/integrations.md")).unwrap();
    let mut found = 0;
    for entry in std::fs::read_dir(deployed("integrations")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(page.contains(&format!("\n`deploy/integrations/{name}/")), "{name} is not on the page");
        found += 1;
    }
    assert_eq!(found, 8);
}
