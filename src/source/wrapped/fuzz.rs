//! Fuzzes files of credentials.

use super::{Written, parse};
use crate::fuzz::{CANARY, Reader};

const DOCUMENTS: [&str; 4] = [
    "canary-2b7e151628\n",
    r#"{ "squire_credential": 1, "tpm": { "device": "/dev/tpmrm0", "public": "AAEC", "private": "canary-2b7e151628==" } }"#,
    r#"{ "squire_credential": 1, "tpm": { "device": "/dev/tpmrm0", "public": "AAEC", "private": "AwQF" } }"#,
    r#"{ "squire_credential": 1, "transit": { "address": "https://a:8200", "namespace": "team", "mount": "transit", "key": "store", "ciphertext": "vault:v1:canary-2b7e151628" } }"#,
];

const WORDS: [&str; 7] = [
    "\"squire_credential\": 2",
    "\"transit\": {",
    "\"tpm\": {",
    "\"namespace\": null",
    "====",
    "{ \"squire_credential\"",
    "\u{feff}",
];

fn read(input: &[u8]) {
    match parse(input) {
        Ok(Written::Plain(secret)) => assert!(!secret.expose().is_empty()),
        Ok(Written::Wrapped(wrapped)) => match parse(wrapped.document().as_bytes()) {
            Ok(Written::Wrapped(again)) => assert_eq!(again, wrapped),
            // With indentation it may be too long; that error is allowed.
            Ok(Written::Plain(_)) | Err(_) => assert!(wrapped.document().len() > super::LONGEST_DOCUMENT),
        },
        Err(why) => assert!(!why.contains(CANARY) && !why.is_empty(), "{why}"),
    }
}

#[test]
fn fuzz() {
    Reader::of_texts(&DOCUMENTS, &WORDS, read).fuzz("the file of a credential");
}
