//! Masks secrets in output of other programs: the end of a check's output goes into the log.
//!
//! The adversary is a program in a hurry: it prints its configuration, its command line or the header that was refused. Programs write a
//! value in more ways than anybody can list, so the ways are not computed from the values. The text is read instead, as whoever it was
//! written for would read it (`reading`), and the values, and what was rendered from them, are looked for in each reading (`wanted`).
//!
//! *Invariant:* pure. No value that is given is left in the text, nor is any run of 24 bytes of a longer one, and mostly none of sixteen:
//! as it is, in other letters, folded over lines, or as JSON, HTML, a shell, a URL, hexadecimal or decimal digits, a dump of bytes or
//! base64 write it, in base64 also within a longer text, and up to three of these within each other.

use std::ops::Range;

use crate::plain::plain;
use crate::secret::Fields;

mod reading;
#[cfg(test)]
mod tests;
mod wanted;

/// Of more than this, in bytes, the last lines are shown: reading takes longer the more there is.
const LONGEST: usize = 4 << 10;

const MASK: &[u8] = b"***";

/// The text as a log may have it: readable, on one line, every value masked, and what was rendered: of a text each line, of what is no text
/// every stretch. Where that cannot be, nothing.
pub fn masked<'a>(
    text: &[u8],
    secrets: impl IntoIterator<Item = &'a Fields>,
    rendered: impl IntoIterator<Item = &'a [u8]>,
) -> String {
    let text = last_lines(text, LONGEST);
    if text.is_empty() {
        return String::new();
    }
    let wanted = wanted::Wanted::new(secrets, rendered);
    let mut spans = Vec::new();
    if reading::read(text, |reading| wanted.find(reading, &mut spans)).is_err() {
        return String::new();
    }
    let masked = without(text, spans);
    let masked = String::from_utf8_lossy(&masked);
    let lines: Vec<_> = masked.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    plain(&lines.join(" | ").replace('\t', " ")).into_owned()
}

/// The lines that have an end. What was killed while it wrote may leave the beginning of a value, which nobody knows for one.
pub fn finished_lines(text: &[u8]) -> &[u8] {
    let end = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    text.get(..end).unwrap_or_default()
}

/// At most so many bytes. Where the first line was cut, a part of a value could stand there unknown, so it is left out.
pub fn last_lines(text: &[u8], most: usize) -> &[u8] {
    let Some((before, kept)) = text.len().checked_sub(most).and_then(|cut| text.split_at_checked(cut)) else {
        return text;
    };
    if before.is_empty() {
        return kept;
    }
    let whole = kept.iter().position(|byte| *byte == b'\n').and_then(|at| kept.get(at + 1..));
    whole.unwrap_or_default()
}

/// Two in a row are shown as one: where one ends and the other begins is nobody's affair.
fn without(text: &[u8], mut spans: Vec<Range<usize>>) -> Vec<u8> {
    spans.sort_unstable_by_key(|span| span.start);
    let mut masked = Vec::with_capacity(text.len());
    let mut shown_to = 0;
    let mut is_masked = false;
    for span in spans {
        if !is_masked || span.start > shown_to {
            masked.extend_from_slice(text.get(shown_to..span.start).unwrap_or_default());
            masked.extend_from_slice(MASK);
        }
        is_masked = true;
        shown_to = shown_to.max(span.end);
    }
    masked.extend_from_slice(text.get(shown_to..).unwrap_or_default());
    masked
}
