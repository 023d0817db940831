//! Values and refusals that AWS never gave.

use serde_json::json;

use super::{of_text, refused};
use crate::fuzz::{CANARY, Reader};
use crate::source::Fault;

const DOCUMENTS: [&str; 6] = [
    r#"{"username":"app","password":"canary-2b7e151628","port":5432,"ratio":1.10,"big":123456789012345678901234567890}"#,
    "canary-2b7e151628",
    r#"["canary-2b7e151628", 1]"#,
    "ResourceNotFoundException",
    "ThrottlingException",
    r#"{"a":{"b":[{"c":null}]},"a":2}"#,
];

fn read(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let fields = of_text(&text).expose();
    match serde_json::from_str::<crate::secret::Fields>(&text) {
        Ok(read) => assert_eq!(fields, read),
        Err(_) => assert_eq!(json!(fields), json!({ "value": text })),
    }
    let written = serde_json::to_string(&fields).unwrap();
    assert_eq!(of_text(&written).expose(), fields, "what is read and written again is the same");
    for status in [None, Some(400), Some(429), Some(500)] {
        let failure = refused(&text, "words", status, "app", "the right");
        let is_denied = matches!(failure.fault, Fault::Denied { .. });
        assert!(!is_denied || text.starts_with("AccessDenied") || text == "NotAuthorized", "{text}");
        let failure = refused("AccessDenied", &text, status, "app", "the right");
        assert!(!failure.fault.to_string().contains(CANARY), "a denial needs no words");
    }
}

#[test]
fn fuzz() {
    Reader::of_texts(&DOCUMENTS, &["\"value\"", "AccessDenied", "ExpiredToken", "1E5"], read)
        .fuzz("a value of AWS");
}
