//! Fuzzes files of variables.

use super::variables;
use crate::fuzz::{CANARY, Reader};

const DOCUMENTS: [&str; 3] = [
    "# of the database\nexport PASSWORD='canary-2b7e151628'\nURL=\"pg://app:canary-2b7e151628@db\"\r\nEMPTY=\n\nA = b # canary-2b7e151628\n",
    "\u{feff}TOKEN=canary-2b7e151628\nREF=${vault:secret/app#canary-2b7e151628}\n",
    "PASSWORD canary-2b7e151628\n-----BEGIN PRIVATE KEY-----\ncanary-2b7e151628\n",
];

const WORDS: [&str; 8] = ["export ", "NAME=", "=\"", "='", "#", "\u{85}", "\u{2028}", "\t"];

fn read(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    match variables("app.env", &text) {
        Ok(found) => {
            let lines: Vec<_> =
                found.iter().map(|(name, value)| format!("{name}={}", quoted(value))).collect();
            let written = lines.join("\n");
            assert_eq!(variables("app.env", &written), Ok(found), "{written}");
        }
        Err(problems) => {
            let lines = text.lines().count();
            assert!(!problems.is_empty());
            for problem in problems {
                let line = problem.strip_prefix("app.env:").and_then(|rest| rest.split_once(": "));
                let line = line.and_then(|(line, _)| line.parse::<usize>().ok());
                assert!(line.is_some_and(|line| (1..=lines).contains(&line)), "{problem}");
                assert!(!problem.contains(CANARY), "tells a value: {problem}");
            }
        }
    }
}

/// Quotes are removed once, and no character between them is special.
fn quoted(value: &str) -> String {
    format!("\"{value}\"")
}

#[test]
fn fuzz() {
    Reader::of_texts(&DOCUMENTS, &WORDS, read).fuzz("a file of variables");
}
