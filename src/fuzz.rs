//! Fuzzes the readers of foreign text.
//!
//! Each reader has a test named `fuzz` beside it. A plain `cargo test` first tries the reader's real documents, and then mutations of them
//! for a short time. `tests/fuzz` builds the same tests with `--cfg fuzzing`: then libFuzzer makes the inputs from the same documents, and
//! keeps every input that reaches new code.
//!
//! *Invariant:* without `--cfg fuzzing` every run tries the same inputs; only their number depends on the time.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// The value of every secret in a document. No error may contain it.
pub(crate) const CANARY: &str = "canary-2b7e151628";

/// How long mutations are tried for one reader, if nothing else is set.
const SHORT: Duration = Duration::from_millis(400);
/// How long one input may take, in a debug build on a busy machine.
const LONGEST: Duration = Duration::from_secs(30);
/// The largest mutation, in bytes. Readers have limits of their own, which other tests reach.
const LARGEST: usize = 16 * 1024;

/// Texts that are inserted into every document: limits of numbers, brackets and texts.
const ODD: [&str; 40] = [
    "0",
    "-1",
    "1",
    "18446744073709551615",
    "18446744073709551616",
    "9223372036854775807",
    "-9223372036854775808",
    "1e400",
    "1.10",
    "0x10",
    "null",
    "true",
    "false",
    "\"",
    "'",
    "\\",
    "\\u0000",
    "{",
    "}",
    "[",
    "]",
    "(",
    ")",
    "=",
    ":",
    ",",
    "#",
    "$",
    "${",
    "{{",
    "}}",
    "\n",
    "\r\n",
    "\0",
    "\u{feff}",
    "\u{202e}",
    "\u{1b}[31m",
    "é",
    "\u{1f600}",
    " ",
];

/// A reader of foreign text.
pub(crate) struct Reader {
    /// Real documents.
    pub(crate) documents: Vec<Vec<u8>>,
    /// Words that have a meaning for the reader.
    pub(crate) words: &'static [&'static str],
    /// Reads the input, and panics if an invariant is violated.
    pub(crate) read: fn(&[u8]),
}

impl Reader {
    /// A reader of texts.
    pub(crate) fn of_texts(documents: &[&str], words: &'static [&'static str], read: fn(&[u8])) -> Self {
        let documents = documents.iter().map(|document| document.as_bytes().to_vec()).collect();
        Self { documents, words, read }
    }

    /// Fuzzes the reader. `name` is its name for people.
    pub(crate) fn fuzz(self, name: &str) {
        assert!(!self.documents.is_empty(), "{name}: there is nothing to begin with");
        if let Some(corpus) = std::env::var_os("SQUIRE_FUZZ_CORPUS") {
            return self.hand_over(Path::new(&corpus));
        }
        let seconds = std::env::var("SQUIRE_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok());
        let time = seconds.map_or(SHORT, Duration::from_secs);
        let began = Instant::now();
        let tried = self.try_for(time);
        println!("fuzz: {name}: {tried} inputs in {:.1} s", began.elapsed().as_secs_f64());
    }

    /// Tries documents and mutations on a thread of their own, so that an input that never ends is noticed and named.
    fn try_for(self, time: Duration) -> u64 {
        let now = Arc::new(Mutex::new(Vec::new()));
        let tried = Arc::new(AtomicU64::new(0));
        let (on_it, counted) = (Arc::clone(&now), Arc::clone(&tried));
        let worker = thread::spawn(move || {
            let ends = Instant::now() + time;
            let mut mutants = Mutants::new(&self.documents, self.words);
            let mut one = |input: Vec<u8>| {
                on_it.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&input);
                (self.read)(&input);
                counted.fetch_add(1, Ordering::Relaxed);
            };
            self.documents.iter().cloned().for_each(&mut one);
            while Instant::now() < ends {
                one(mutants.next());
            }
        });
        let (mut seen, mut since) = (0, Instant::now());
        while !worker.is_finished() {
            let tried = tried.load(Ordering::Relaxed);
            if tried != seen {
                (seen, since) = (tried, Instant::now());
            }
            assert!(since.elapsed() < LONGEST, "this input takes too long: {}", shown(&now));
            thread::sleep(Duration::from_millis(5));
        }
        assert!(worker.join().is_ok(), "with this input: {}", shown(&now));
        tried.load(Ordering::Relaxed)
    }

    /// Gives the documents to libFuzzer, which prints its own result and does not return.
    fn hand_over(self, corpus: &Path) {
        fs::create_dir_all(corpus).unwrap();
        for (number, document) in self.documents.iter().enumerate() {
            fs::write(corpus.join(format!("document-{number}")), document).unwrap();
        }
        let words = self.words.iter().chain(&ODD).filter(|word| !word.is_empty());
        let quoted = words.map(|word| {
            let bytes = word.bytes().map(|byte| format!("\\x{byte:02x}"));
            format!("\"{}\"\n", bytes.collect::<String>())
        });
        fs::write(corpus.with_extension("words"), quoted.collect::<String>()).unwrap();
        #[cfg(fuzzing)]
        {
            let read = self.read;
            bolero::check!().for_each(move |input: &[u8]| read(input));
        }
    }
}

fn shown(input: &Mutex<Vec<u8>>) -> String {
    input.lock().unwrap_or_else(PoisonError::into_inner).escape_ascii().to_string()
}

/// Documents with random changes.
struct Mutants<'a> {
    chance: fastrand::Rng,
    documents: &'a [Vec<u8>],
    words: &'static [&'static str],
}

impl<'a> Mutants<'a> {
    fn new(documents: &'a [Vec<u8>], words: &'static [&'static str]) -> Self {
        Self { chance: fastrand::Rng::with_seed(0x5a17), documents, words }
    }

    fn next(&mut self) -> Vec<u8> {
        let mut text = self.document().to_vec();
        for _ in 0..=self.chance.usize(..4) {
            self.change(&mut text);
        }
        text.truncate(LARGEST);
        text
    }

    fn document(&mut self) -> &'a [u8] {
        &self.documents[self.chance.usize(..self.documents.len())]
    }

    fn word(&mut self) -> &'static [u8] {
        let of_reader = !self.words.is_empty() && self.chance.bool();
        let words = if of_reader { self.words } else { &ODD[..] };
        words[self.chance.usize(..words.len())].as_bytes()
    }

    fn change(&mut self, text: &mut Vec<u8>) {
        match self.chance.u8(..10) {
            0 => {
                if let Some(byte) = self.chance.choice(text.iter_mut()) {
                    *byte ^= 1 << self.chance.u8(..8);
                }
            }
            1 => drop(text.drain(self.span(text.len(), 40))),
            2 => {
                let (span, at) = (self.span(text.len(), 200), self.at(text));
                let twice = text[span].to_vec();
                text.splice(at..at, twice);
            }
            3 | 4 => {
                let (at, word) = (self.at(text), self.word());
                text.splice(at..at, word.iter().copied());
            }
            // The value between two separators is replaced by another one.
            5 | 6 => {
                let (span, word) = (self.token(text), self.word());
                text.splice(span, word.iter().copied());
            }
            // Lines change places, are doubled, or are removed.
            7 => {
                let mut lines: Vec<_> =
                    text.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
                let (one, other) =
                    (self.chance.usize(..lines.len().max(1)), self.chance.usize(..lines.len().max(1)));
                match self.chance.u8(..3) {
                    _ if lines.is_empty() => {}
                    0 => lines.swap(one, other),
                    1 => lines.insert(one, lines[other].clone()),
                    _ => drop(lines.remove(one)),
                }
                *text = lines.concat();
            }
            8 => {
                let other = self.document();
                let (at, from) = (self.at(text), self.at(other));
                text.truncate(at);
                text.extend_from_slice(&other[from..]);
            }
            _ => {
                let (at, word, times) = (self.at(text), self.word(), 1 << self.chance.u8(..11));
                text.splice(at..at, word.repeat(times));
            }
        }
    }

    fn at(&mut self, text: &[u8]) -> usize {
        self.chance.usize(..=text.len())
    }

    fn span(&mut self, length: usize, most: usize) -> std::ops::Range<usize> {
        let start = self.chance.usize(..=length);
        start..(start + self.chance.usize(..=most)).min(length)
    }

    /// The words of a text: runs of letters and digits.
    fn token(&mut self, text: &[u8]) -> std::ops::Range<usize> {
        let at = self.at(text);
        let is_seam = |byte: &u8| !byte.is_ascii_alphanumeric() && !matches!(byte, b'.' | b'-' | b'_');
        let start = text[..at].iter().rposition(is_seam).map_or(0, |seam| seam + 1);
        let end = text[at..].iter().position(is_seam).map_or(text.len(), |length| at + length);
        start..end
    }
}

/// The `toml` examples of a document.
pub(crate) fn examples(markdown: &'static str, language: &str) -> Vec<&'static str> {
    let opening = format!("```{language}\n");
    let blocks = markdown.split(opening.as_str()).skip(1);
    blocks.filter_map(|rest| rest.split_once("```")).map(|(block, _)| block).collect()
}

#[test]
fn what_panics_or_never_ends_is_named() {
    let failed = |read: fn(&[u8])| {
        let reader = Reader::of_texts(&["seven"], &["eight"], read);
        let panic = thread::spawn(move || reader.try_for(SHORT)).join().unwrap_err();
        panic.downcast_ref::<String>().unwrap().clone()
    };
    let said = failed(|input| assert!(!input.windows(5).any(|word| word == b"eight"), "a planted fault"));
    assert!(said.starts_with("with this input: ") && said.contains("eight"), "{said}");
}
