//! The search for leaks: no secret of a test may be in a place where Squire must not put it.
//!
//! *Invariant:* a finding is named by its form and place, and never printed.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use aho_corasick::AhoCorasick;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

/// Shorter values, such as a user's name, also occur by chance.
const SHORTEST: usize = 12;

/// Of longer values the beginning is searched for: it is unique, and so parts of them are found too.
const LONGEST: usize = 48;

/// The secrets that a test knows of. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct Canaries(Arc<Mutex<BTreeSet<String>>>);

impl Canaries {
    /// Adds a value to search for, if it is long enough to be told from ordinary text.
    pub(crate) fn add(&self, value: &str) {
        if value.len() >= SHORTEST {
            self.0.lock().unwrap().insert(value.chars().take(LONGEST).collect());
        }
    }

    /// Adds every text in a JSON value.
    pub(crate) fn add_all(&self, fields: &Value) {
        match fields {
            Value::String(text) => self.add(text),
            Value::Array(items) => items.iter().for_each(|item| self.add_all(item)),
            Value::Object(fields) => fields.values().for_each(|field| self.add_all(field)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// A matcher for every form of all values so far.
    pub(crate) fn hunt(&self) -> Hunt {
        let values = self.0.lock().unwrap();
        let (names, patterns): (Vec<_>, Vec<_>) = values.iter().flat_map(|value| forms(value)).unzip();
        Hunt { names, matcher: AhoCorasick::new(patterns).unwrap() }
    }
}

/// A fresh secret value that no other test has, with characters that encodings change.
pub(crate) fn fresh(what: &str) -> String {
    /// Without vowels, so that no random value contains a word that a test looks for: hexadecimal digits contain `bad` once in 190 times.
    const LETTERS: &[u8; 16] = b"bcdfghjkmnpqrstv";
    let random = std::process::id().wrapping_mul(2_654_435_761) ^ fastrand::u32(..);
    let digits = format!("{random:08x}{:016x}", fastrand::u64(..));
    let letter = |digit: char| char::from(LETTERS[digit.to_digit(16).unwrap() as usize]);
    format!("{what}/canary+{}", digits.chars().map(letter).collect::<String>())
}

/// A search that is going on.
pub(crate) struct Hunt {
    names: Vec<String>,
    matcher: AhoCorasick,
}

impl Hunt {
    /// The form of a secret, or of a text like a token, that is in this text.
    pub(crate) fn find(&self, text: &[u8]) -> Option<String> {
        let known = self.matcher.find(text).map(|found| self.names[found.pattern()].clone());
        known.or_else(|| has_token(text).then(|| "something shaped like a token".to_owned()))
    }

    /// The first leak into a file below this directory, without the excepted paths.
    pub(crate) fn find_below(&self, directory: &Path, except: &[PathBuf]) -> Option<String> {
        let Ok(entries) = std::fs::read_dir(directory) else { return None };
        entries.flatten().map(|entry| entry.path()).filter(|path| !except.contains(path)).find_map(|path| {
            if path.is_dir() && !path.is_symlink() {
                return self.find_below(&path, except);
            }
            // A pipe has no content, and reading it would wait for its other end.
            if !path.is_file() {
                return None;
            }
            let form = self.find(&std::fs::read(&path).ok()?)?;
            Some(format!("{form}, in {}", path.display()))
        })
    }
}

/// Every form to search for: (its name, its text).
fn forms(value: &str) -> Vec<(String, String)> {
    let json = Value::from(value).to_string();
    let mut forms = vec![
        ("plain".to_owned(), value.to_owned()),
        ("as JSON".to_owned(), json[1..json.len() - 1].to_owned()),
        ("URL-encoded".to_owned(), utf8_percent_encode(value, NON_ALPHANUMERIC).to_string()),
        ("as a list of bytes".to_owned(), format!("{:?}", value.as_bytes())),
    ];
    // Inside a longer text, base64 has three forms, by the value's position modulo 3.
    for offset in 0..3 {
        let shifted = [vec![0; offset], value.as_bytes().to_vec()].concat();
        let whole = shifted.len() / 3 * 3;
        let skip = if offset == 0 { 0 } else { 4 };
        for encoded in [STANDARD_NO_PAD.encode(&shifted[..whole]), URL_SAFE_NO_PAD.encode(&shifted[..whole])]
        {
            forms.push(("in base64".to_owned(), encoded[skip..].to_owned()));
        }
    }
    forms
}

/// Whether the text contains something like a token of the server: `s.` and at least 20 letters and digits.
fn has_token(text: &[u8]) -> bool {
    text.windows(2).enumerate().filter(|(_, pair)| pair == b"s.").any(|(at, _)| {
        let starts = at == 0 || !text[at - 1].is_ascii_alphanumeric() || text[..at].ends_with(b"hv");
        let length = text[at + 2..].iter().take_while(|byte| byte.is_ascii_alphanumeric()).count();
        starts && length >= 20
    })
}

#[test]
fn the_hunt_finds_a_secret_in_every_form_and_a_token_by_its_shape() {
    let canaries = Canaries::default();
    canaries.add_all(&serde_json::json!({"user": "ann", "deep": [{"password": "correct/horse+battery"}]}));
    let hunt = canaries.hunt();
    let basic = STANDARD_NO_PAD.encode("Authorization: correct/horse+battery staple");
    for (text, leaks) in [
        ("user ann logged in", false),
        ("…correct/horse+battery…", true),
        ("password=correct%2Fhorse%2Bbattery", true),
        (&format!("{:?}", b"correct/horse+battery"), true),
        (&basic, true),
        ("token s.AbCdEfGhIjKlMnOpQrStUvWx", true),
        ("token hvs.AbCdEfGhIjKlMnOpQrStUvWx", true),
        ("accessor of bytes.AbCdEfGhIjKlMnOpQrStUvWx", false),
    ] {
        assert_eq!(hunt.find(text.as_bytes()).is_some(), leaks, "{text}");
    }
}
