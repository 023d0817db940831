//! What is looked for: the values of secrets, and what was rendered from them.
//!
//! Each has a few of its bytes in an index, every eighth place of it, and each place of a text is looked up there. What agrees is compared
//! to both sides as far as it goes on agreeing. So a long value is also found where only a part of it was written, and the cost grows with
//! the text and with the values, not with both.
//!
//! *Invariant:* a value that stands whole in a reading is found, whatever stands beside or across it.

use std::borrow::Cow;
use std::iter::Peekable;
use std::ops::Range;

use serde_json::Value;

use super::reading::Reading;
use crate::secret::Fields;

/// Shorter ones are found in any text, and masking them would only tell where they are.
const SHORTEST: usize = 4;
/// A line of a key, a certificate or a rendered file that is shorter than this is no secret by itself.
const SHORTEST_LINE: usize = 8;
/// So much of a longer value is a secret, too; less is often a word that stands anywhere.
const STRETCH: usize = 16;
/// Between two places of a value that are in the index, and what is compared there: any [`STRETCH`] and a half has one.
const STEP: usize = 8;
/// Of a value that repeats itself, so many equal places are in the index.
const REPEATS: usize = 4;

/// Bytes that are not to be shown.
struct Needle<'a> {
    bytes: Cow<'a, [u8]>,
    /// So many of them are enough.
    least: usize,
}

/// A place in a needle that is looked for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Core {
    /// The bytes there, in small letters: eight, or four of what is shorter.
    key: u64,
    needle: usize,
    offset: usize,
}

pub(super) struct Wanted<'a> {
    needles: Vec<Needle<'a>>,
    /// In order.
    cores: Vec<Core>,
    /// Whether any core begins with these two bytes.
    begins: Vec<bool>,
}

impl<'a> Wanted<'a> {
    pub(super) fn new(
        secrets: impl IntoIterator<Item = &'a Fields>,
        rendered: impl IntoIterator<Item = &'a [u8]>,
    ) -> Self {
        let mut wanted = Self { needles: Vec::new(), cores: Vec::new(), begins: vec![false; 1 << u16::BITS] };
        for fields in secrets {
            fields.values().for_each(|value| wanted.gather(value));
        }
        rendered.into_iter().for_each(|part| wanted.gather_rendered(part));
        wanted.index();
        wanted
    }

    fn gather(&mut self, value: &'a Value) {
        match value {
            Value::String(text) => self.gather_text(text),
            Value::Number(number) => self.gather_owned(number.to_string()),
            Value::Array(items) => items.iter().for_each(|item| self.gather(item)),
            Value::Object(fields) => fields.values().for_each(|field| self.gather(field)),
            Value::Null | Value::Bool(_) => {}
        }
    }

    fn gather_text(&mut self, text: &'a str) {
        let core = text.trim();
        self.gather_stretches(core.as_bytes());
        if core.len() < text.len() && core.len() >= SHORTEST {
            self.gather_stretches(text.as_bytes());
        }
        if !core.is_ascii() {
            // Of ASCII the letters are compared without their case.
            self.gather_owned(core.to_uppercase());
            self.gather_owned(core.to_lowercase());
        }
        if core.contains('\n') {
            // A longer one is found as a stretch.
            let lines = core.lines().filter(|line| line.len() < STRETCH + STEP);
            lines.for_each(|line| self.gather_line(line));
        }
    }

    /// Of a text its lines; what is no text has none.
    fn gather_rendered(&mut self, part: &'a [u8]) {
        match str::from_utf8(part) {
            Ok(text) => text.lines().for_each(|line| self.gather_line(line)),
            Err(_) => self.gather_stretches(part),
        }
    }

    fn gather_line(&mut self, line: &'a str) {
        let bytes = line.trim().as_bytes();
        if bytes.len() >= SHORTEST_LINE {
            self.needles.push(Needle { bytes: bytes.into(), least: bytes.len() });
        }
    }

    fn gather_stretches(&mut self, bytes: &'a [u8]) {
        if bytes.len() >= SHORTEST {
            self.needles.push(Needle { bytes: bytes.into(), least: bytes.len().min(STRETCH) });
        }
    }

    fn gather_owned(&mut self, text: String) {
        if text.len() >= SHORTEST {
            let least = text.len().min(STRETCH);
            self.needles.push(Needle { bytes: text.into_bytes().into(), least });
        }
    }

    fn index(&mut self) {
        let mut cores: Vec<_> =
            self.needles.iter().enumerate().flat_map(|(at, needle)| needle.cores(at)).collect();
        cores.sort_unstable();
        let mut before = None;
        let mut times = 0;
        cores.retain(|core| {
            let same = (core.key, core.needle);
            times = if before == Some(same) { times + 1 } else { 0 };
            before = Some(same);
            times < REPEATS
        });
        self.cores = cores;
        for needle in &self.needles {
            for (_, bytes) in needle.places() {
                if let Some(begins) = begin(bytes).and_then(|at| self.begins.get_mut(at)) {
                    *begins = true;
                }
            }
        }
    }

    /// Where in the text something of it stands.
    pub(super) fn find(&self, reading: &Reading, spans: &mut Vec<Range<usize>>) {
        let text = reading.bytes();
        for at in 0..text.len() {
            let rest = text.get(at..).unwrap_or_default();
            if !begin(rest).and_then(|at| self.begins.get(at)).is_some_and(|begins| *begins) {
                continue;
            }
            for bytes in [rest.get(..SHORTEST), rest.get(..STEP)].into_iter().flatten() {
                let spans_here = self.candidates(key(bytes)).filter_map(|core| self.span(reading, at, *core));
                spans.extend(spans_here.filter_map(|span| reading.place(span)));
            }
        }
    }

    fn candidates(&self, key: u64) -> impl Iterator<Item = &Core> {
        let from = self.cores.partition_point(|core| core.key < key);
        self.cores.get(from..).unwrap_or_default().iter().take_while(move |core| core.key == key)
    }

    /// As far as text and value agree around this place of both.
    fn span(&self, reading: &Reading, at: usize, core: Core) -> Option<Range<usize>> {
        let Needle { bytes, least } = self.needles.get(core.needle)?;
        let (text_before, text_after) = reading.bytes().split_at_checked(at)?;
        let (before, after) = bytes.split_at_checked(core.offset)?;
        let (shown_before, met_before) =
            agreed(text_before.iter().rev(), before.iter().rev(), reading.is_unfolded());
        let (shown_after, met_after) = agreed(text_after.iter(), after.iter(), reading.is_unfolded());
        (met_before + met_after >= *least).then(|| at - shown_before..at + shown_after)
    }
}

impl Needle<'_> {
    /// What of it is in the index.
    fn places(&self) -> impl Iterator<Item = (usize, &[u8])> {
        let bytes: &[u8] = &self.bytes;
        let length = if bytes.len() < STEP { SHORTEST } else { STEP };
        let last = bytes.len().saturating_sub(length);
        // What is wanted whole is found by its beginning.
        let is_whole = self.least == bytes.len();
        let offsets = (0..last).step_by(STEP).chain([last]).take(if is_whole { 1 } else { usize::MAX });
        let places = offsets.filter_map(move |offset| Some((offset, bytes.get(offset..offset + length)?)));
        // Rows of blanks and dashes stand anywhere.
        places.filter(|(offset, bytes)| *offset == 0 || bytes.iter().any(|byte| Some(byte) != bytes.first()))
    }

    fn cores(&self, needle: usize) -> impl Iterator<Item = Core> {
        self.places().map(move |(offset, bytes)| Core { key: key(bytes), needle, offset })
    }
}

fn key(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |key, byte| key << 8 | u64::from(byte.to_ascii_lowercase()))
}

fn begin(bytes: &[u8]) -> Option<usize> {
    let [first, second, ..] = bytes else { return None };
    Some(usize::from(first.to_ascii_lowercase()) << 8 | usize::from(second.to_ascii_lowercase()))
}

/// How many bytes of a text, and of what is looked for, agree from here on. A line break in what is looked for may be written as another
/// one, as a blank, or not at all; one at the end hides nothing. Where lines were unfolded, nobody knows which blanks were there before.
fn agreed<'a>(
    text: impl Iterator<Item = &'a u8>,
    needle: impl Iterator<Item = &'a u8>,
    is_unfolded: bool,
) -> (usize, usize) {
    let (mut text, mut needle): (Peekable<_>, Peekable<_>) = (text.peekable(), needle.peekable());
    let (mut read, mut shown, mut met) = (0, 0, 0);
    while let Some(wanted) = needle.peek() {
        let is_break = matches!(**wanted, b'\n' | b'\r');
        let (in_text, in_needle) = match text.peek() {
            Some(byte) if byte.eq_ignore_ascii_case(wanted) => (true, true),
            Some(b' ' | b'\n') if is_break => (true, true),
            Some(b'\r') => (true, false),
            Some(b' ') if is_unfolded => (true, false),
            Some(_) | None if is_break || is_unfolded && **wanted == b' ' => (false, true),
            Some(_) | None => break,
        };
        if in_text {
            text.next();
            read += 1;
        }
        if in_needle {
            needle.next();
            met += 1;
        }
        if in_text && in_needle && !is_break {
            shown = read;
        }
    }
    (shown, met)
}
