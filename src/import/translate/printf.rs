//! `printf` and `print`: constants and expressions → pieces of text.

use super::hb::Hb;
use super::value::{Left, Piece, Type, Value, Valued, left};

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
    while let Some((text, verb)) = rest.split_once('%') {
        pieces.push(Piece::Text(text.to_owned()));
        let Some(kind) = verb.chars().next() else { return left("the format of `printf` ends with a `%`") };
        rest = verb.get(kind.len_utf8()..).unwrap_or_default();
        if kind == '%' {
            pieces.push(Piece::Text("%".to_owned()));
        } else if let Some(value) = values.next() {
            pieces.extend(converted(kind, value)?);
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

/// A value as a verb writes it.
fn converted(verb: char, value: &Value) -> Result<Vec<Piece>, Left> {
    let kind = value.kind();
    let fits = match verb {
        'v' => true,
        's' => matches!(kind, Type::Text | Type::Raw | Type::Any),
        'd' => kind == Type::Int,
        't' => kind == Type::Bool,
        'q' => return quoted(value),
        _ => {
            return left(format!(
                "`printf` with `%{verb}` has no equivalent in Squire; there are %s, %d, %v, %q and %t \
                    without a width"
            ));
        }
    };
    if fits {
        value.pieces()
    } else {
        left(format!(
            "`printf` has a `%{verb}` for a value of another type, for which Go writes an error into the text"
        ))
    }
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
