//! A text, read as who wrote it would have it read: without escapes, out of digits, unfolded, and each of these within another.
//!
//! *Invariant:* each byte of a reading knows where in the text it stands, and the work is bounded.

use std::collections::{HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::ops::Range;

mod digits;
mod escapes;

/// So many ways of writing are taken away, one after the other.
pub(super) const DEPTH: usize = 3;
/// All readings of one text together have no more bytes.
const MOST: usize = 2 << 20;

/// What stands for nothing, or for one blank, where a line was folded.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fold {
    /// A line break.
    Break,
    /// It and the blanks behind it, for nothing.
    Indented,
    /// It and the blanks around it, for one.
    Blank,
}

/// There is more to read than anybody wants to wait for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooMuch;

/// One way to read the text, or a part of it.
#[derive(Debug, Default)]
pub(super) struct Reading {
    bytes: Vec<u8>,
    /// Of each byte, where in the text it stands.
    places: Vec<Place>,
    /// Line breaks were taken out, so that words beside them stand together which do not belong together.
    is_unfolded: bool,
}

/// From here to there; small, since there is one for each byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Place {
    start: u32,
    end: u32,
}

/// Shows every reading of the text.
pub(super) fn read(text: &[u8], mut show: impl FnMut(&Reading)) -> Result<(), TooMuch> {
    let plain = Reading::of(text)?;
    let unfolded =
        [Fold::Break, Fold::Indented, Fold::Blank].into_iter().filter_map(|fold| plain.unfolded(fold));
    let mut waiting: VecDeque<_> = unfolded.map(|reading| (reading, 0)).collect();
    waiting.push_front((plain, 0));
    let mut seen = HashSet::new();
    let mut read = 0;
    while let Some((reading, depth)) = waiting.pop_front() {
        // Two ways often lead to the same.
        if !seen.insert(reading.fingerprint()) {
            continue;
        }
        read += reading.bytes.len();
        if read > MOST {
            return Err(TooMuch);
        }
        show(&reading);
        if depth < DEPTH {
            waiting.extend(reading.decoded().into_iter().map(|decoded| (decoded, depth + 1)));
        }
    }
    Ok(())
}

impl Reading {
    fn of(text: &[u8]) -> Result<Self, TooMuch> {
        let length = u32::try_from(text.len()).map_err(|_| TooMuch)?;
        let places = (0..length).map(|at| Place { start: at, end: at + 1 }).collect();
        Ok(Self { bytes: text.to_vec(), places, is_unfolded: false })
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn is_unfolded(&self) -> bool {
        self.is_unfolded
    }

    /// Where in the text these bytes stand.
    pub(super) fn place(&self, bytes: Range<usize>) -> Option<Range<usize>> {
        let place = self.joined(bytes)?;
        Some(usize::try_from(place.start).ok()?..usize::try_from(place.end).ok()?)
    }

    fn joined(&self, bytes: Range<usize>) -> Option<Place> {
        let places = self.places.get(bytes)?;
        Some(Place { start: places.first()?.start, end: places.last()?.end })
    }

    /// A byte that is written by these of another reading.
    fn push(&mut self, byte: u8, from: &Self, bytes: Range<usize>) {
        if let Some(place) = from.joined(bytes) {
            self.bytes.push(byte);
            self.places.push(place);
        }
    }

    fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (&self.bytes, self.places.first(), self.places.last(), self.is_unfolded).hash(&mut hasher);
        hasher.finish()
    }

    /// What one way of writing less makes of it, where that changes anything.
    fn decoded(&self) -> Vec<Self> {
        let mut decoded: Vec<_> = escapes::ALL.iter().filter_map(|escape| self.without(escape)).collect();
        if !self.is_unfolded {
            decoded.extend(digits::ALL.iter().flat_map(|digits| digits(self)));
        }
        decoded
    }

    /// `escape` says how many bytes at the beginning are one, and what they stand for.
    fn without(&self, escape: impl Fn(&[u8], &mut Vec<u8>) -> usize) -> Option<Self> {
        let mut decoded = Self { is_unfolded: self.is_unfolded, ..Self::default() };
        let mut meant = Vec::new();
        let (mut at, mut is_changed) = (0, false);
        while let (Some(rest), Some(place)) = (self.bytes.get(at..), self.places.get(at)) {
            let length = escape(rest, &mut meant);
            if length == 0 {
                decoded.bytes.extend(rest.first());
                decoded.places.push(*place);
                at += 1;
            } else {
                is_changed = true;
                meant.drain(..).for_each(|byte| decoded.push(byte, self, at..at + length));
                at += length;
            }
        }
        is_changed.then_some(decoded)
    }

    /// On one line.
    fn unfolded(&self, fold: Fold) -> Option<Self> {
        let unfolded = self.without(|rest, meant| {
            let is_blank = |byte: &&u8| matches!(byte, b' ' | b'\t');
            let before = if fold == Fold::Blank { rest.iter().take_while(is_blank).count() } else { 0 };
            let length = match rest.get(before..) {
                Some([b'\n', ..]) => 1,
                Some([b'\r', b'\n', ..]) => 2,
                _ => return 0,
            };
            if fold == Fold::Blank {
                meant.push(b' ');
            }
            let after = rest.iter().skip(before + length).take_while(is_blank).count();
            before + length + if fold == Fold::Break { 0 } else { after }
        })?;
        Some(Self { is_unfolded: true, ..unfolded })
    }
}
