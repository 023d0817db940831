//! What stands for a character that could not be written as it is.
//!
//! Each looks at the beginning of a text: how many bytes are one escape, and what it means; zero where there is none.

type Escape = fn(&[u8], &mut Vec<u8>) -> usize;

pub(super) const ALL: [Escape; 11] = [
    |text, meant| backslash(text, meant, Wide::Byte),
    |text, meant| backslash(text, meant, Wide::Character),
    quoted,
    percent,
    |text, meant| if text.starts_with(b"+") { is(1, b" ", meant) } else { percent(text, meant) },
    entity,
    shell,
    |text, meant| doubled(text, b'\'', meant),
    |text, meant| doubled(text, b'"', meant),
    |text, meant| doubled(text, b'%', meant),
    |text, meant| doubled(text, b'$', meant),
];

/// What `\xe9` is: a byte, as in C, or a character, as in JavaScript.
#[derive(Clone, Copy)]
enum Wide {
    Byte,
    Character,
}

fn is(length: usize, bytes: &[u8], meant: &mut Vec<u8>) -> usize {
    meant.extend_from_slice(bytes);
    length
}

fn character(length: usize, code: u32, meant: &mut Vec<u8>) -> usize {
    let c = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
    is(length, c.encode_utf8(&mut [0; 4]).as_bytes(), meant)
}

/// The number that all of these digits are.
fn number(digits: Option<&[u8]>, radix: u32) -> Option<u32> {
    let digits = digits.filter(|digits| digits.iter().all(u8::is_ascii_alphanumeric))?;
    u32::from_str_radix(str::from_utf8(digits).ok()?, radix).ok()
}

/// JSON and most languages, and a shell's `$'…'` and `printf %q`.
fn backslash(text: &[u8], meant: &mut Vec<u8>, wide: Wide) -> usize {
    let narrow = |length, code: u32, meant: &mut Vec<u8>| match (wide, u8::try_from(code)) {
        (Wide::Byte, Ok(byte)) => is(length, &[byte], meant),
        (Wide::Byte, Err(_)) | (Wide::Character, _) => character(length, code, meant),
    };
    let Some([b'\\', kind]) = text.first_chunk() else { return 0 };
    let digits = |length: usize| number(text.get(2..2 + length), 16);
    match kind {
        b'u' if text.get(2) == Some(&b'{') => {
            let length = text.iter().take(10).position(|byte| *byte == b'}').unwrap_or_default();
            number(text.get(3..length), 16).map_or(0, |code| character(length + 1, code, meant))
        }
        b'u' => unit(text).map_or(0, |first| utf16(text, first, meant)),
        b'U' => digits(8).map_or(0, |code| character(10, code, meant)),
        b'x' => digits(2).map_or(0, |code| narrow(4, code, meant)),
        b'0'..=b'7' => match number(text.get(1..4), 8) {
            Some(code) => narrow(4, code, meant),
            None if *kind == b'0' => is(2, b"\0", meant),
            None => is(2, &[*kind], meant),
        },
        b'n' => is(2, b"\n", meant),
        b'r' => is(2, b"\r", meant),
        b't' => is(2, b"\t", meant),
        b'b' => is(2, b"\x08", meant),
        b'f' => is(2, b"\x0c", meant),
        b'v' => is(2, b"\x0b", meant),
        b'a' => is(2, b"\x07", meant),
        b'e' | b'E' => is(2, b"\x1b", meant),
        // The line goes on.
        b'\n' => 2,
        other => is(2, &[*other], meant),
    }
}

/// The code of `\u00e9`.
fn unit(text: &[u8]) -> Option<u32> {
    text.strip_prefix(b"\\u").and_then(|digits| number(digits.get(..4), 16))
}

/// One character in one code, or in two.
fn utf16(text: &[u8], first: u32, meant: &mut Vec<u8>) -> usize {
    let second = text.get(6..).and_then(unit).filter(|second| (0xdc00..0xe000).contains(second));
    match second {
        Some(second) if (0xd800..0xdc00).contains(&first) => {
            character(12, 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00), meant)
        }
        _ => character(6, first, meant),
    }
}

/// Who puts a backslash before quotes, and not before backslashes.
fn quoted(text: &[u8], meant: &mut Vec<u8>) -> usize {
    match text.first_chunk() {
        Some([b'\\', quote @ (b'"' | b'\'' | b'`' | b'$' | b'/' | b' ')]) => is(2, &[*quote], meant),
        _ => 0,
    }
}

/// A URL; and JavaScript's `escape`.
fn percent(text: &[u8], meant: &mut Vec<u8>) -> usize {
    match text.first_chunk() {
        Some([b'%', b'u']) => number(text.get(2..6), 16).map_or(0, |code| character(6, code, meant)),
        Some([b'%', _]) => number(text.get(1..3), 16)
            .and_then(|code| u8::try_from(code).ok())
            .map_or(0, |byte| is(3, &[byte], meant)),
        _ => 0,
    }
}

/// HTML and XML.
fn entity(text: &[u8], meant: &mut Vec<u8>) -> usize {
    if !text.starts_with(b"&") {
        return 0;
    }
    let Some(length) = text.iter().take(12).position(|byte| *byte == b';').map(|at| at + 1) else { return 0 };
    match text.get(..length).unwrap_or_default() {
        b"&amp;" => is(length, b"&", meant),
        b"&lt;" => is(length, b"<", meant),
        b"&gt;" => is(length, b">", meant),
        b"&quot;" => is(length, b"\"", meant),
        b"&apos;" => is(length, b"'", meant),
        [b'&', b'#', b'x' | b'X', digits @ .., _] => {
            number(Some(digits), 16).map_or(0, |code| character(length, code, meant))
        }
        [b'&', b'#', digits @ .., _] => {
            number(Some(digits), 10).map_or(0, |code| character(length, code, meant))
        }
        _ => 0,
    }
}

/// A quote within a shell's quotes: they end, and begin again behind it.
fn shell(text: &[u8], meant: &mut Vec<u8>) -> usize {
    for quote in [r"'\''", r#"'"'"'"#] {
        if text.starts_with(quote.as_bytes()) {
            return is(quote.len(), b"'", meant);
        }
    }
    if text.starts_with(br#""'"'""#) { is(5, b"\"", meant) } else { 0 }
}

/// SQL, CSV, YAML and formats write twice what is special to them, each something else.
fn doubled(text: &[u8], special: u8, meant: &mut Vec<u8>) -> usize {
    if text.starts_with(&[special, special]) { is(2, &[special], meant) } else { 0 }
}
