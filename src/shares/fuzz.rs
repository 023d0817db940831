//! Shares that were copied by hand, or were never dealt.

use rand::SeedableRng as _;
use rand::rngs::StdRng;

use super::{Share, checksum, combine, split};
use crate::fuzz::{CANARY, Reader};

const WORDS: [&str; 8] =
    ["2-of-3", "255-of-255", "1-of-1", "squire-share", ":", "canary-2b7e151628", "ffffffff", "0"];

/// As it stands, and with the checksum that fits it.
fn read(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let fitting = text.trim().rsplit_once(':').map(|(before, _)| {
        let before: String =
            before.chars().filter(|c| !c.is_whitespace()).map(|c| c.to_ascii_lowercase()).collect();
        format!("{before}:{}", checksum(&before))
    });
    for line in [Some(text.clone().into_owned()), fitting].into_iter().flatten() {
        match Share::parse(&line) {
            Ok(share) => {
                let written = share.line();
                let again = Share::parse(written.expose()).unwrap();
                assert_eq!(
                    again.line().expose(),
                    written.expose(),
                    "what is read and written again is the same"
                );
                drop(combine(&[share, again]));
            }
            Err(why) => assert!(!why.to_string().contains(CANARY), "{why}"),
        }
    }
}

#[test]
fn fuzz() {
    let shares = split(&"ab".repeat(32), "2-of-3".parse().unwrap(), &mut StdRng::seed_from_u64(1)).unwrap();
    let documents = shares.iter().map(|share| share.line().expose().as_bytes().to_vec()).collect();
    Reader { documents, words: &WORDS, read }.fuzz("a share of a key");
}
