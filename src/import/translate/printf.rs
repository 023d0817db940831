//! `printf` and `print`: constants and expressions → pieces of text.

use super::hb::Hb;
use super::value::{Const, Left, Piece, Type, Value, Valued, left};

/// The value of these pieces: a constant, if all of them are.
pub(super) fn joined(pieces: Vec<Piece>) -> Value {
    let mut merged: Vec<Piece> = Vec::new();
    for piece in pieces {
        match (merged.last_mut(), piece) {
            (_, Piece::Text(text)) if text.is_empty() => {}
            (Some(Piece::Text(before)), Piece::Text(more)) => before.push_str(&more),
            (_, piece) => merged.push(piece),
        }
    }
    match merged.as_slice() {
        [] => Value::text(""),
        [Piece::Text(text)] => Value::text(text.clone()),
        _ => Value::Joined(merged),
    }
}

/// `printf format values…`
pub(super) fn formatted(values: &[Value]) -> Valued {
    let [format, values @ ..] = values else { return left("`printf` needs a format") };
    let Some(format) = format.as_text() else { return left("the format of `printf` has to be a constant") };
    let mut pieces = Vec::new();
    let mut values = values.iter();
    let mut rest = format;
    while let Some((text, behind)) = rest.split_once('%') {
        pieces.push(Piece::Text(text.to_owned()));
        let (verb, after) = Verb::read(behind)?;
        rest = after;
        if verb.kind == '%' {
            pieces.push(Piece::Text("%".to_owned()));
        } else if let Some(value) = values.next() {
            pieces.extend(verb.converted(value)?);
        } else {
            return left("`printf` has fewer values than its format asks for");
        }
    }
    pieces.push(Piece::Text(rest.to_owned()));
    if values.next().is_some() {
        return left("`printf` has more values than its format asks for");
    }
    Ok(joined(pieces))
}

/// The widest field that is filled here.
const WIDEST: usize = 1000;

/// `%-08.2f`: what stands between the `%` and its letter, and the letter.
#[derive(Debug, Default)]
struct Verb {
    is_left: bool,
    has_zeros: bool,
    has_sign: bool,
    width: usize,
    precision: Option<usize>,
    kind: char,
}

impl Verb {
    /// The verb at the beginning of a text, and what follows it.
    fn read(text: &str) -> Result<(Self, &str), Left> {
        let mut verb = Self::default();
        let flags = text.len() - text.trim_start_matches(['-', '0', '+', '#', ' ']).len();
        let (flags, text) = text.split_at(flags);
        if flags.contains([' ', '#']) {
            return left(
                "`printf` with a space or a `#` behind the `%` has no equivalent in Squire; write the text out",
            );
        }
        verb.is_left = flags.contains('-');
        // Go fills no zeros in on the right.
        verb.has_zeros = flags.contains('0') && !verb.is_left;
        verb.has_sign = flags.contains('+');
        let (width, text) = number(text);
        verb.width = width.unwrap_or(0);
        let text = match text.strip_prefix('.') {
            Some(behind) => {
                let (precision, text) = number(behind);
                verb.precision = Some(precision.unwrap_or(0));
                text
            }
            None => text,
        };
        if verb.width > WIDEST || verb.precision.is_some_and(|precision| precision > WIDEST) {
            return left("the width of `printf` is too large");
        }
        let Some(kind) = text.chars().next() else { return left("the format of `printf` ends with a `%`") };
        verb.kind = kind;
        Ok((verb, text.get(kind.len_utf8()..).unwrap_or_default()))
    }

    /// Whether it is nothing but the letter. A sign says nothing about text.
    fn is_plain(&self) -> bool {
        self.width == 0 && self.precision.is_none()
    }

    /// A value as this verb writes it.
    fn converted(&self, value: &Value) -> Result<Vec<Piece>, Left> {
        if let Value::Const(constant) = value
            && let Some(text) = self.of_constant(constant)
        {
            return Ok(vec![Piece::Text(self.filled(text))]);
        }
        let kind = value.kind();
        let fits = match self.kind {
            'v' => !self.has_sign || kind != Type::Int,
            's' => matches!(kind, Type::Text | Type::Raw | Type::Any),
            'd' => kind == Type::Int && !self.has_sign,
            't' => kind == Type::Bool,
            'q' if self.is_plain() => return quoted(value),
            'q' | 'x' | 'X' | 'f' | 'F' | 'e' | 'E' | 'g' | 'G' | 'c' | 'b' | 'o' | 'U' => false,
            other => return left(format!("Go has no `%{other}` that could be written here")),
        };
        if fits && self.is_plain() {
            return value.pieces();
        }
        let known = matches!(self.kind, 's' | 'v' | 'd' | 't' | 'q');
        let type_is_wrong =
            matches!(self.kind, 's' | 'd' | 't') && !fits && !(self.kind == 'd' && kind == Type::Int);
        if type_is_wrong {
            return left(format!(
                "`printf` has a `%{}` for a value of another type, for which Go writes an error into the text",
                self.kind
            ));
        }
        left(if known {
            "a width, a precision or a sign of `printf` has no equivalent for a value that is known only while rendering; there are %s, %d, %v, %q \
             and %t without one"
                .to_owned()
        } else {
            format!(
                "`printf` with `%{}` has no equivalent for a value that is known only while rendering; there are %s, %d, %v, %q and %t",
                self.kind
            )
        })
    }

    /// A constant, before it is filled up to the width; nothing where this is not known to the letter.
    fn of_constant(&self, constant: &Const) -> Option<String> {
        let signed = |text: String, is_negative: bool| {
            if self.has_sign && !is_negative { format!("+{text}") } else { text }
        };
        match (self.kind, constant) {
            ('s' | 'v', Const::Text(text)) => Some(match self.precision {
                Some(longest) => text.chars().take(longest).collect(),
                None => text.clone(),
            }),
            ('d' | 'v', Const::Int(number)) if self.precision.is_none() => {
                Some(signed(number.to_string(), *number < 0))
            }
            ('x', Const::Int(number)) if *number >= 0 && self.precision.is_none() => {
                Some(signed(format!("{number:x}"), false))
            }
            ('X', Const::Int(number)) if *number >= 0 && self.precision.is_none() => {
                Some(signed(format!("{number:X}"), false))
            }
            ('o', Const::Int(number)) if *number >= 0 && self.precision.is_none() => {
                Some(signed(format!("{number:o}"), false))
            }
            ('x', Const::Text(text)) if self.precision.is_none() => {
                let digit = |digit: u8| char::from_digit(u32::from(digit), 16).unwrap_or_default();
                Some(text.bytes().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect())
            }
            ('t' | 'v', Const::Bool(is)) if self.precision.is_none() => Some(is.to_string()),
            ('f' | 'F', Const::Float(written)) => {
                let number: f64 = written.parse().ok()?;
                Some(signed(format!("{number:.*}", self.precision.unwrap_or(6)), number < 0.0))
            }
            ('e', Const::Float(written)) => {
                let number: f64 = written.parse().ok()?;
                let text = format!("{number:.*e}", self.precision.unwrap_or(6));
                let (mantissa, exponent) = text.split_once('e')?;
                let exponent: i32 = exponent.parse().ok()?;
                let sign = if exponent < 0 { '-' } else { '+' };
                Some(signed(format!("{mantissa}e{sign}{:02}", exponent.abs()), number < 0.0))
            }
            _ => None,
        }
    }

    /// Filled up to the width.
    fn filled(&self, text: String) -> String {
        let missing = self.width.saturating_sub(text.chars().count());
        if self.is_left {
            return text + &" ".repeat(missing);
        }
        if !self.has_zeros {
            return " ".repeat(missing) + &text;
        }
        let is_number = matches!(self.kind, 'd' | 'x' | 'X' | 'o' | 'f' | 'F' | 'e' | 'v');
        let (sign, digits) = text.split_at(usize::from(is_number && text.starts_with(['-', '+'])));
        format!("{sign}{}{digits}", "0".repeat(missing))
    }
}

/// The number at the beginning, and the rest.
fn number(text: &str) -> (Option<usize>, &str) {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, rest) = text.split_at(digits);
    // One that is too large for a number is too large for a width.
    let number = (!number.is_empty()).then(|| number.parse().unwrap_or(usize::MAX));
    (number, rest)
}

/// In quotes. Go's escapes are those of JSON for all text without control characters.
fn quoted(value: &Value) -> Result<Vec<Piece>, Left> {
    let is_plain = |text: &str| !text.contains(|c: char| c.is_control() && !"\n\r\t".contains(c));
    if let Some(text) = value.as_text().filter(|text| is_plain(text)) {
        return Ok(vec![Piece::Text(serde_json::Value::from(text).to_string())]);
    }
    if value.as_text().is_none() && matches!(value.kind(), Type::Text | Type::Raw) {
        return Ok(vec![Piece::Expr(Hb::Call("json", vec![value.hb()?]))]);
    }
    left("`printf` with `%q` of this value has no equivalent in Squire; {{json …}} writes a text in quotes")
}

/// `print values…`: a space stands between two that are both no text.
pub(super) fn printed(values: &[Value]) -> Valued {
    let mut pieces = Vec::new();
    let mut before: Option<bool> = None;
    for value in values {
        let is_text = matches!(value.kind(), Type::Text | Type::Raw | Type::Any);
        if before == Some(false) && !is_text {
            pieces.push(Piece::Text(" ".to_owned()));
        }
        before = Some(is_text);
        pieces.extend(value.pieces()?);
    }
    Ok(joined(pieces))
}

/// `println values…`
pub(super) fn line(values: &[Value]) -> Valued {
    let mut pieces = Vec::new();
    for (index, value) in values.iter().enumerate() {
        pieces.extend((index > 0).then(|| Piece::Text(" ".to_owned())));
        pieces.extend(value.pieces()?);
    }
    pieces.push(Piece::Text("\n".to_owned()));
    Ok(joined(pieces))
}
