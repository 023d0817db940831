//! Pages of a ledger that Squire did not write.

use super::tests::{identity, page, said};
use super::*;
use crate::fuzz::{CANARY, Reader};

const WORDS: [&str; 10] = [
    "\"token\":",
    "\"token_ttl\":null",
    "\"secs\":18446744073709551615",
    "\"nanos\":4294967295",
    "\"uses\":0",
    "\"leases\":[]",
    "\"fields\":{}",
    "\"meta\":{}",
    "\"want\":[",
    "squire\0\u{1}",
];

/// As bytes from a disk, and as what the key opens: then somebody with the key wrote it.
fn read(input: &[u8]) {
    let key = Key::new([7; KEY]);
    let quiet = |error: LedgerError| {
        let said = crate::fact::chain(&error);
        assert!(said.ends_with("it is ignored") && !said.contains(CANARY), "{said}");
    };
    if let Err(error) = Page::open(input, &key, &identity()) {
        quiet(error);
    }
    match layout::read(&Secret::new(input)) {
        Ok(page) => {
            let written = layout::write(&page);
            assert_eq!(
                said(&layout::read(&written).unwrap()),
                said(&page),
                "what is read and written again is the same"
            );
            let sealed = page.seal(&key, [9; NONCE], &identity()).unwrap();
            assert_eq!(said(&Page::open(&sealed, &key, &identity()).unwrap()), said(&page));
        }
        Err(error) => quiet(error),
    }
}

#[test]
fn fuzz() {
    let page = page();
    let key = Key::new([7; KEY]);
    let text = String::from_utf8(layout::write(&page).expose().to_vec()).unwrap();
    let documents = vec![
        text.replace("canary-5f1c", CANARY).into_bytes(),
        page.seal(&key, [9; NONCE], &identity()).unwrap(),
    ];
    Reader { documents, words: &WORDS, read }.fuzz("a page of the ledger");
}
