//! Constants as Go writes them: numbers, characters, and texts in quotes.
//!
//! *Invariant:* what is refused is refused by Go as well; a text whose bytes are no UTF-8 is refused too, since no template of Squire can
//! hold it.

use super::token::Word;

/// A number by Go's rules: `0x1F`, `0b1`, `0o17`, `017` and `1_000` are whole numbers, `1.5` and `1e3` are not.
pub(super) fn number(text: &str) -> Option<Word> {
    let (sign, digits) = match text.as_bytes().first()? {
        b'-' => (-1, text.get(1..)?),
        b'+' => (1, text.get(1..)?),
        _ => (1, text),
    };
    whole(digits, sign).map(Word::Int).or_else(|| {
        let plain: String = text.chars().filter(|&c| c != '_').collect();
        let written = plain.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
        (written && plain.parse::<f64>().is_ok_and(f64::is_finite)).then_some(Word::Float(plain))
    })
}

fn whole(digits: &str, sign: i64) -> Option<i64> {
    let lower = digits.to_ascii_lowercase();
    let (radix, digits) = match lower.get(..2) {
        Some("0x") => (16, lower.get(2..)?),
        Some("0b") => (2, lower.get(2..)?),
        Some("0o") => (8, lower.get(2..)?),
        _ if lower.len() > 1 && lower.starts_with('0') => (8, lower.get(1..)?),
        _ => (10, lower.as_str()),
    };
    let digits: String = digits.chars().filter(|&c| c != '_').collect();
    if digits.starts_with(['+', '-']) {
        return None;
    }
    let value = i128::from_str_radix(&digits, radix).ok()?;
    i64::try_from(i128::from(sign) * value).ok()
}

/// The character of a constant with its quotes: `'a'`, `'\n'`.
pub(super) fn character(quoted: &str) -> Option<i64> {
    let text = unescaped(quoted.strip_prefix('\'')?.strip_suffix('\'')?, '\'')?;
    let mut characters = text.chars();
    match (characters.next(), characters.next()) {
        (Some(one), None) => Some(i64::from(u32::from(one))),
        _ => None,
    }
}

/// The text of a constant with its quotes.
pub(super) fn text(quoted: &str) -> Option<String> {
    unescaped(quoted.strip_prefix('"')?.strip_suffix('"')?, '"')
}

/// Replaces the escapes of Go's `strconv.Unquote`.
fn unescaped(text: &str, quote: char) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        rest = rest.get(c.len_utf8()..)?;
        if c == '\\' {
            rest = escape(rest, quote, &mut bytes)?;
        } else if c == quote || c == '\n' {
            return None;
        } else {
            bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }
    String::from_utf8(bytes).ok()
}

/// Adds what stands for the escape that begins here, and gives what follows it.
fn escape<'t>(text: &'t str, quote: char, bytes: &mut Vec<u8>) -> Option<&'t str> {
    let kind = text.chars().next()?;
    let after = text.get(kind.len_utf8()..)?;
    let simple = match kind {
        'a' => 7,
        'b' => 8,
        'f' => 12,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 11,
        '\\' => b'\\',
        c if c == quote => u8::try_from(c).ok()?,
        'x' => return byte(after, 2, 16, bytes),
        '0'..='7' => return byte(text, 3, 8, bytes),
        'u' => return scalar(after, 4, bytes),
        'U' => return scalar(after, 8, bytes),
        _ => return None,
    };
    bytes.push(simple);
    Some(after)
}

fn byte<'t>(text: &'t str, digits: usize, radix: u32, bytes: &mut Vec<u8>) -> Option<&'t str> {
    bytes.push(u8::from_str_radix(text.get(..digits)?, radix).ok()?);
    text.get(digits..)
}

fn scalar<'t>(text: &'t str, digits: usize, bytes: &mut Vec<u8>) -> Option<&'t str> {
    let c = char::from_u32(u32::from_str_radix(text.get(..digits)?, 16).ok()?)?;
    bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
    text.get(digits..)
}
