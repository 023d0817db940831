//! Bytes that are written in digits. Where the first of them stands is not known, so each place that it can have is tried.

use std::ops::Range;

use super::Reading;

type Digits = fn(&Reading) -> Vec<Reading>;

pub(super) const ALL: [Digits; 4] = [base64, hexadecimal, decimal, dump];

/// Fewer digits are no secret.
const FEWEST: usize = 4;

/// What is made of bytes that stand one after the other, each in its place.
fn reading(of: &Reading, bytes: impl Iterator<Item = (u8, Range<usize>)>) -> Reading {
    let mut reading = Reading { is_unfolded: of.is_unfolded, ..Reading::default() };
    bytes.for_each(|(byte, place)| reading.push(byte, of, place));
    reading
}

/// Base64 of both alphabets, also broken into lines. The bytes of a line stand in all of it, so that nobody sees where a value begins.
fn base64(of: &Reading) -> Vec<Reading> {
    let mut readings = Vec::new();
    let mut rest = 0;
    while let Some((digits, end)) = run_of_base64(of.bytes(), rest) {
        rest = end;
        for first in 0..4 {
            let bytes = digits.get(first..).unwrap_or_default().chunks(4).flat_map(|group| {
                let bits = group.iter().fold(0, |bits, digit| bits << 6 | u32::from(digit.value));
                let [_, bytes @ ..] = (bits << (6 * (4 - group.len()))).to_be_bytes();
                // So many bytes are whole, and each has a part in two digits.
                bytes.into_iter().zip(group.windows(2)).map(|(byte, two)| {
                    let place = match two {
                        [one, other] => one.line.start..other.line.end,
                        _ => 0..0,
                    };
                    (byte, place)
                })
            });
            readings.push(reading(of, bytes));
        }
    }
    readings.retain(|reading| reading.bytes().len() >= FEWEST);
    readings
}

struct Digit {
    value: u8,
    /// The digits of its line, with what fills the last one up.
    line: Range<usize>,
}

/// The next run from here on, and where it ends.
fn run_of_base64(text: &[u8], from: usize) -> Option<(Vec<Digit>, usize)> {
    let is_digit = |byte: &u8| sextet(*byte).is_some();
    let mut at = from + text.get(from..)?.iter().position(is_digit)?;
    let mut digits = Vec::new();
    loop {
        let rest = text.get(at..).unwrap_or_default();
        let length = rest.iter().take_while(|byte| is_digit(byte)).count();
        let filled = rest.iter().skip(length).take_while(|byte| **byte == b'=').count();
        let line = at..at + length + filled;
        let values = rest.iter().take(length).filter_map(|byte| sextet(*byte));
        digits.extend(values.map(|value| Digit { value, line: line.clone() }));
        at = line.end;
        let next = text.get(at..).and_then(after_break).map(|length| at + length);
        match next.filter(|next| filled == 0 && text.get(*next).is_some_and(is_digit)) {
            Some(next) => at = next,
            None => return Some((digits, at)),
        }
    }
}

/// How long a line break is, with the blanks behind it.
fn after_break(text: &[u8]) -> Option<usize> {
    let length = if text.starts_with(b"\r\n") { 2 } else { usize::from(text.starts_with(b"\n")) };
    let blanks = text.iter().skip(length).take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    (length > 0).then_some(length + blanks)
}

fn sextet(byte: u8) -> Option<u8> {
    match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' | b'-' => Some(62),
        b'/' | b'_' => Some(63),
        _ => None,
    }
}

fn nibble(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// Pairs of hexadecimal digits, with or without something between them.
fn hexadecimal(of: &Reading) -> Vec<Reading> {
    let mut runs = vec![Vec::new()];
    let mut at = 0;
    while let Some(rest) = of.bytes().get(at..).filter(|rest| !rest.is_empty()) {
        match rest {
            [b'0', b'x' | b'X', digit, ..] | [b'\\', b'x', digit, ..] if nibble(*digit).is_some() => at += 1,
            [byte, ..] => match nibble(*byte) {
                Some(value) => runs.last_mut().into_iter().for_each(|run| run.push((value, at))),
                None if b" \t\r\n:,-".contains(byte) => {}
                None => runs.push(Vec::new()),
            },
            [] => {}
        }
        at += 1;
    }
    let long = runs.iter().filter(|run| run.len() >= 2 * FEWEST);
    let aligned = long.flat_map(|run| [run.get(..), run.get(1..)]).flatten();
    let pairs = |run: &[(u8, usize)]| {
        let pairs = run.chunks_exact(2).filter_map(|pair| match pair {
            [(high, start), (low, end)] => Some((high << 4 | low, *start..end + 1)),
            _ => None,
        });
        reading(of, pairs)
    };
    aligned.map(pairs).collect()
}

/// Lists of numbers, as who prints bytes and not their text gets them.
fn decimal(of: &Reading) -> Vec<Reading> {
    let mut runs = vec![Vec::new()];
    let mut at = 0;
    while let Some(rest) = of.bytes().get(at..).filter(|rest| !rest.is_empty()) {
        let length = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let number = rest.get(..length).and_then(|digits| str::from_utf8(digits).ok()?.parse::<u8>().ok());
        match (number, rest.first()) {
            (Some(number), _) => {
                runs.last_mut().into_iter().for_each(|run| run.push((number, at..at + length)));
            }
            (None, Some(b' ' | b'\t' | b'\r' | b'\n' | b',')) => {}
            (None, _) => runs.push(Vec::new()),
        }
        at += length.max(1);
    }
    runs.retain(|run| run.len() >= FEWEST);
    runs.into_iter().map(|run| reading(of, run.into_iter())).collect()
}

/// What `xxd`, `hexdump` and `od` print: an address, bytes, and perhaps the bytes again as they are, so that all of a line is masked. Some
/// print words of two bytes, and the second one first.
fn dump(of: &Reading) -> Vec<Reading> {
    let mut blocks = vec![Vec::new()];
    let mut start = 0;
    for line in of.bytes().split_inclusive(|byte| *byte == b'\n') {
        let place = start..start + line.trim_ascii_end().len();
        start += line.len();
        match dumped(line) {
            Some(bytes) => blocks.last_mut().into_iter().for_each(|block| {
                block.extend(bytes.iter().map(|byte| (*byte, place.clone())));
            }),
            None => blocks.push(Vec::new()),
        }
    }
    blocks.retain(|block| !block.is_empty());
    let swapped = |block: &[(u8, Range<usize>)]| {
        let pairs = block.chunks(2).flat_map(|pair| pair.iter().rev().cloned());
        reading(of, pairs)
    };
    blocks.iter().flat_map(|block| [reading(of, block.iter().cloned()), swapped(block)]).collect()
}

/// The bytes of a line.
fn dumped(line: &[u8]) -> Option<Vec<u8>> {
    let line = line.trim_ascii();
    let (address, mut rest) = line.split_at_checked(line.iter().position(|byte| *byte == b' ')?)?;
    let address = address.strip_suffix(b":").unwrap_or(address);
    let is_address = address.len() >= 6 && address.iter().all(|byte| nibble(*byte).is_some());
    let mut bytes = Vec::new();
    let mut group = 0;
    while let Some(digits) = rest.get(blanks(rest)..) {
        // Behind a gap the line stands again, but for the gap that `hexdump -C` has in the middle.
        let is_end = blanks(rest) > 1 && !bytes.is_empty() && (bytes.len(), group) != (8, 2);
        let length = digits.iter().take_while(|byte| nibble(**byte).is_some()).count();
        let is_group = length > 0 && length % 2 == 0 && (group == 0 || length <= group);
        if is_end || !is_group || digits.get(length).is_some_and(|byte| *byte != b' ') {
            break;
        }
        group = length;
        let pairs = digits.get(..length).unwrap_or_default().chunks_exact(2);
        bytes.extend(pairs.filter_map(|pair| Some(nibble(*pair.first()?)? << 4 | nibble(*pair.last()?)?)));
        rest = digits.get(length..).unwrap_or_default();
    }
    (is_address && !bytes.is_empty()).then_some(bytes)
}

fn blanks(text: &[u8]) -> usize {
    text.iter().take_while(|byte| **byte == b' ').count()
}
