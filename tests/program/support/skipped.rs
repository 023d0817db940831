//! What a test cannot do on this machine.

use std::fs::{OpenOptions, create_dir_all};
use std::io::Write;
use std::path::Path;

/// Says it in the output of the test, which is hidden where the test passes; and in `target/skipped`, which `tests/run` prints at its end.
pub(crate) fn skipped(why: &str) {
    eprintln!("skipped: {why}");
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("target");
    create_dir_all(&target).unwrap();
    let mut file = OpenOptions::new().create(true).append(true).open(target.join("skipped")).unwrap();
    // At once, since other tests write there too.
    file.write_all(format!("{why}\n").as_bytes()).unwrap();
}
