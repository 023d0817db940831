//! As whoever can write the audit, and not its anchor: whatever is done to the lines is found, and where.

use std::time::SystemTime;

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::audit::line::{self, Entry};
use crate::chain::ChainKey;

fn chain() -> Chain {
    Chain { key: ChainKey::new([1; 32]), log: [2; 16] }
}

/// The text of so many lines, of which each fourth begins a run, and where the chain is after each.
fn written(count: usize) -> (Vec<Vec<u8>>, Vec<Point>) {
    let (mut tip, mut lines, mut points) = (Point::NONE, Vec::new(), Vec::new());
    for number in 0..count {
        let mut text = Vec::new();
        let entry = if number % 4 == 0 {
            Entry::head("resumed", None, SystemTime::UNIX_EPOCH)
        } else {
            Entry { what: "fetch".to_owned(), path: Some(format!("secret/{number}")), ..Entry::default() }
        };
        line::write(&chain(), &mut tip, entry, &mut text);
        lines.push(text);
        points.push(tip);
    }
    (lines, points)
}

fn verdict(text: &[u8], newest: Point) -> Verdict {
    verdict_of(text, Remembered { oldest: 1, newest, is_closed: false })
}

fn verdict_of(text: &[u8], remembered: Remembered) -> Verdict {
    let chain = chain();
    let mut verifier = Verifier::new(&chain, remembered);
    for (number, line) in (1..).zip(text.split_inclusive(|byte| *byte == b'\n')) {
        let spot = Spot { file: "a".to_owned(), line: number };
        match line.strip_suffix(b"\n") {
            Some(line) => drop(verifier.line(spot, line)),
            None => verifier.unfinished(spot, line),
        }
    }
    verifier.finish()
}

/// What was found, with the line that each finding names.
fn found(text: &[u8], newest: Point) -> Vec<(Option<usize>, Harm)> {
    let findings = verdict(text, newest).findings;
    findings.into_iter().map(|finding| (finding.spot.map(|spot| spot.line), finding.harm)).collect()
}

#[test]
fn what_squire_wrote_is_whole_also_where_the_anchor_is_behind() {
    let (lines, points) = written(9);
    let text = lines.concat();
    for known in [8, 6] {
        let verdict = verdict(&text, points[known]);
        assert_eq!((verdict.findings, verdict.lines, verdict.last), (Vec::new(), 9, points[8]));
        assert_eq!(verdict.after_anchor, 8 - known as u64);
    }
    let cut = &text[..text.len() - 30];
    let unfinished = verdict(cut, points[7]);
    assert_eq!((unfinished.findings, unfinished.unfinished), (Vec::new(), lines[8].len() - 30));
    // The oldest files are gone, as they should be.
    let rest = Remembered { oldest: 5, newest: points[8], is_closed: true };
    assert_eq!(verdict_of(&lines[4..].concat(), rest).findings, []);
}

#[test]
fn an_edit_a_cut_a_move_and_an_addition_are_found_at_their_place() {
    let (lines, points) = written(9);
    let newest = points[8];
    let edit = |number: usize, from: &str, to: &str| {
        let mut lines = lines.clone();
        let text = String::from_utf8(lines[number - 1].clone()).unwrap();
        lines[number - 1] = text.replacen(from, to, 1).into_bytes();
        lines.concat()
    };
    let without =
        |range: std::ops::Range<usize>| [&lines[..range.start], &lines[range.end..]].concat().concat();
    let swapped = |one: usize, other: usize| {
        let mut lines = lines.clone();
        lines.swap(one, other);
        lines.concat()
    };
    assert_eq!(found(&edit(3, "secret/2", "secret/7"), newest), [(Some(3), Harm::Changed(3))]);
    assert_eq!(found(&edit(3, "\"n\":3", "\"n\":7"), newest), [(Some(3), Harm::Changed(3))]);
    assert_eq!(found(&edit(3, "\"n\":3", "\"n\":1"), newest), [(Some(3), Harm::Changed(3))]);
    assert_eq!(found(&edit(3, "{", "["), newest), [(Some(3), Harm::Unreadable)]);
    assert_eq!(found(&edit(9, "resumed", "Resumed"), newest), [(Some(9), Harm::Changed(9))]);
    assert_eq!(found(&without(0..4), newest), [(Some(1), Harm::Missing(1, 4))]);
    assert_eq!(found(&without(0..2), newest), [(Some(1), Harm::Missing(1, 2))]);
    assert_eq!(found(&without(2..5), newest), [(Some(3), Harm::Missing(3, 5))]);
    assert_eq!(found(&without(6..9), newest), [(None, Harm::Missing(7, 9))]);
    assert_eq!(found(&without(0..9), newest), [(None, Harm::Missing(1, 9))]);
    let moved = [(Some(2), Harm::Missing(2, 2)), (Some(3), Harm::Misplaced(2))];
    assert_eq!(found(&swapped(1, 2), newest), moved);
    let twice = [&lines[..4], &lines[1..]].concat().concat();
    assert_eq!(found(&twice, newest)[0], (Some(5), Harm::Misplaced(2)));
    let added = [&lines[..3], &[b"{}\n".to_vec()], &lines[3..]].concat().concat();
    assert_eq!(found(&added, newest), [(Some(4), Harm::Unreadable)]);
}

#[test]
fn who_has_not_the_key_adds_nothing_and_nothing_follows_the_end() {
    let (lines, points) = written(3);
    let (mut text, mut tip) = (lines.concat(), points[2]);
    let forger = Chain { key: ChainKey::new([9; 32]), ..chain() };
    line::write(&forger, &mut tip, Entry::head("resumed", None, SystemTime::UNIX_EPOCH), &mut text);
    assert_eq!(found(&text, points[2]), [(Some(4), Harm::Changed(4))]);
    let closed = Remembered { oldest: 1, newest: points[1], is_closed: true };
    let harms: Vec<_> =
        verdict_of(&lines.concat(), closed).findings.iter().map(|finding| finding.harm).collect();
    assert_eq!(harms, [Harm::Continued(2)]);
    let other = Point { link: [7; 32], ..points[2] };
    assert_eq!(found(&lines.concat(), other), [(None, Harm::Forked(3))]);
}

#[test]
fn what_squire_found_itself_stays_visible() {
    let (mut lines, points) = written(4);
    let (mut text, mut tip) = (Vec::new(), points[3]);
    line::write(
        &chain(),
        &mut tip,
        Entry::head("resumed", Some("cut".to_owned()), SystemTime::UNIX_EPOCH),
        &mut text,
    );
    lines.truncate(2);
    lines.push(text);
    assert_eq!(found(&lines.concat(), tip), [(Some(3), Harm::Missing(3, 4)), (Some(3), Harm::Noted(5))]);
}

#[test]
fn whatever_one_byte_is_changed_into_is_found() {
    let (lines, points) = written(5);
    let text = lines.concat();
    for at in 0..text.len() {
        let line = text[..at].split(|byte| *byte == b'\n').count();
        for change in [1, 0x20, 0x80, text[at] ^ b'\n', text[at] ^ b'0'] {
            let mut edited = text.clone();
            edited[at] ^= change;
            let found = found(&edited, points[4]);
            let named = found.first().and_then(|(line, _)| *line);
            // A newline that is gone makes one line of two, and without the last one the line is not whole.
            let expected = change == 0 && found.is_empty()
                || named.is_some_and(|named| named == line || named == line + 1);
            assert!(expected, "byte {at} of line {line}: {found:?}");
        }
    }
}

/// What somebody does to the file.
#[derive(Clone, Debug)]
enum Attack {
    Flip(Index, u8),
    Insert(Index, Vec<u8>),
    CutBytes(Index, Index),
    CutLines(Index, Index),
    Swap(Index, Index),
    Repeat(Index, Index),
    Truncate(Index),
}

fn attack() -> impl Strategy<Value = Attack> {
    let index = any::<Index>;
    prop_oneof![
        (index(), 1_u8..).prop_map(|(at, with)| Attack::Flip(at, with)),
        (index(), prop::collection::vec(any::<u8>(), 1..40))
            .prop_map(|(at, bytes)| Attack::Insert(at, bytes)),
        (index(), index()).prop_map(|(from, to)| Attack::CutBytes(from, to)),
        (index(), index()).prop_map(|(from, to)| Attack::CutLines(from, to)),
        (index(), index()).prop_map(|(one, other)| Attack::Swap(one, other)),
        (index(), index()).prop_map(|(one, to)| Attack::Repeat(one, to)),
        index().prop_map(Attack::Truncate),
    ]
}

fn attacked(text: &[u8], attack: &Attack) -> Vec<u8> {
    let mut bytes = text.to_vec();
    let mut lines: Vec<Vec<u8>> = text.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    if bytes.is_empty() {
        return bytes;
    }
    match attack {
        Attack::Flip(at, with) => bytes[at.index(text.len())] ^= with,
        Attack::Insert(at, more) => {
            drop(bytes.splice(at.index(text.len())..at.index(text.len()), more.clone()));
        }
        Attack::CutBytes(one, other) => {
            let (one, other) = (one.index(text.len()), other.index(text.len()));
            drop(bytes.drain(one.min(other)..one.max(other)));
        }
        Attack::Truncate(at) => bytes.truncate(at.index(text.len())),
        Attack::CutLines(one, other) => {
            let (one, other) = (one.index(lines.len()), other.index(lines.len()));
            drop(lines.drain(one.min(other)..=one.max(other)));
            bytes = lines.concat();
        }
        Attack::Swap(one, other) => {
            let count = lines.len();
            lines.swap(one.index(count), other.index(count));
            bytes = lines.concat();
        }
        Attack::Repeat(one, to) => {
            let line = lines[one.index(lines.len())].clone();
            lines.insert(to.index(lines.len()), line);
            bytes = lines.concat();
        }
    }
    bytes
}

proptest! {
    #[test]
    fn whatever_is_done_to_the_lines_up_to_the_anchor_is_found(count in 1_usize..14, attacks in prop::collection::vec(attack(), 1..5)) {
        let (lines, points) = written(count);
        let text = lines.concat();
        let after = attacks.iter().fold(text.clone(), |text, attack| attacked(&text, attack));
        let findings = verdict(&after, points[count - 1]).findings;
        // Junk behind the last newline may be a line that was begun, and takes nothing away.
        let adds_a_beginning = after.starts_with(&text) && !after[text.len()..].contains(&b'\n');
        prop_assert_eq!(findings.is_empty(), after == text || adds_a_beginning, "{:?}", attacks);
    }

    #[test]
    fn whatever_stands_in_the_file_the_verifier_ends(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let (_, points) = written(3);
        prop_assert!(!verdict(&bytes, points[2]).findings.is_empty());
    }
}
