//! Conditions: what Go's `if` takes for true, and comparisons.
//!
//! *Invariant:* where Go and Handlebars judge a value differently, the expression says what Go means: a number 0 of a secret is a text to Go,
//! and so not empty.

use super::hb::Hb;
use super::value::{Const, Left, Logic, Piece, Type, Value, Valued, left, without_fallback};

/// A condition.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Condition {
    Known(bool),
    /// An expression, and whether a number 0 counts as true.
    Asked(Hb, bool),
}

impl Condition {
    /// It as an argument of `and`, `or` and `not`, where 0 always counts as false.
    fn hb(self) -> Hb {
        match self {
            Self::Known(is) => Hb::Bool(is),
            Self::Asked(hb, _) => hb,
        }
    }

    /// The condition for one of these where this is true, and for the other where not.
    fn choosing(self, one: bool, other: bool) -> Self {
        match (self, one, other) {
            (condition, true, false) => condition,
            (Self::Known(is), false, true) => Self::Known(!is),
            (Self::Asked(hb, zero), false, true) => Self::Asked(not(hb), zero),
            (_, same, _) => Self::Known(same),
        }
    }

    /// What stands behind `#if`, or behind `else if`.
    pub(super) fn written(&self, depth: usize) -> String {
        match self {
            Self::Known(is) => is.to_string(),
            Self::Asked(hb, false) => hb.argument(depth),
            Self::Asked(hb, true) => format!("{} includeZero=true", hb.argument(depth)),
        }
    }
}

fn asked(hb: Hb) -> Condition {
    Condition::Asked(hb, false)
}

fn not(hb: Hb) -> Hb {
    if let Hb::Call("not", arguments) = &hb
        && let [inner] = arguments.as_slice()
    {
        return inner.clone();
    }
    Hb::Call("not", vec![hb])
}

/// Whether Go's `if` takes this for true.
pub(super) fn truth(value: &Value) -> Result<Condition, Left> {
    Ok(match value {
        Value::Const(constant) => Condition::Known(constant.is_true()),
        Value::Secret(..) | Value::Cert(_) | Value::Metadata(_) => Condition::Known(true),
        Value::Counter(level, 0) => asked(not(Hb::At("first", *level))),
        Value::Counter(_, more) if *more > 0 => Condition::Known(true),
        Value::Once(level, first, later) => once(*level, first.is_true(), later.is_true()),
        Value::Either(condition, one, other) => condition.clone().choosing(one.is_true(), other.is_true()),
        Value::Logic(logic, values) => logical(*logic, values)?,
        Value::Joined(pieces) => {
            let has_text = |piece: &Piece| matches!(piece, Piece::Text(text) if !text.is_empty());
            let is_path =
                matches!(pieces.as_slice(), [Piece::Expr(Hb::Root(..) | Hb::Local(..) | Hb::At(..))]);
            if pieces.iter().any(has_text) {
                Condition::Known(true)
            } else {
                Condition::Asked(value.hb()?, is_path)
            }
        }
        Value::Expr(hb, kind) => {
            let of_secret = *kind == Type::Raw && matches!(hb, Hb::Root(..) | Hb::Local(..));
            Condition::Asked(without_fallback(hb.clone()), of_secret)
        }
        Value::Data(..) | Value::Listing(_) | Value::Counter(..) | Value::Count(..) | Value::Unknown(_) => {
            asked(value.hb()?)
        }
    })
}

fn once(level: usize, first: bool, later: bool) -> Condition {
    match (first, later) {
        (true, false) => asked(Hb::At("first", level)),
        (false, true) => asked(not(Hb::At("first", level))),
        (same, _) => Condition::Known(same),
    }
}

fn logical(logic: Logic, values: &[Value]) -> Result<Condition, Left> {
    let decides = logic == Logic::Or;
    let mut asked_for = Vec::new();
    for value in values {
        match truth(value)? {
            Condition::Known(is) if is == decides => return Ok(Condition::Known(decides)),
            Condition::Known(_) => {}
            condition @ Condition::Asked(..) => asked_for.push(condition),
        }
    }
    Ok(match asked_for.len() {
        0 => Condition::Known(!decides),
        1 => asked_for.remove(0),
        _ => {
            let name = if logic == Logic::And { "and" } else { "or" };
            asked(Hb::Call(name, asked_for.into_iter().map(Condition::hb).collect()))
        }
    })
}

/// `not x`
pub(super) fn negated(value: &Value) -> Valued {
    Ok(match truth(value)? {
        Condition::Known(is) => Value::bool(!is),
        Condition::Asked(hb, _) => Value::Expr(not(hb), Type::Bool),
    })
}

/// `and` and `or`; the first value that decides, if that is known.
pub(super) fn combined(logic: Logic, values: &[Value]) -> Valued {
    let decides = logic == Logic::Or;
    let mut open = Vec::new();
    for value in values {
        match truth(value)? {
            Condition::Known(is) if is == decides => {
                open.push(value.clone());
                break;
            }
            // One that decides nothing is the value only where it is the last.
            Condition::Known(_) => {}
            Condition::Asked(..) => open.push(value.clone()),
        }
    }
    let last = values.last().cloned().unwrap_or(Value::Const(Const::Nil));
    Ok(match open.len() {
        0 => last,
        1 if open.first() == Some(&last) => last,
        _ => {
            if open.last() != Some(&last)
                && !open.last().is_some_and(|value| matches!(truth(value), Ok(Condition::Known(_))))
            {
                open.push(last);
            }
            Value::Logic(logic, open)
        }
    })
}

/// Go's comparisons, each with its helper.
pub(super) fn compared(operator: &str, values: &[Value]) -> Valued {
    let [first, others @ ..] = values else { return left(format!("`{operator}` compares two values")) };
    match (operator, others) {
        ("eq", [other]) => pair("eq", first, other),
        ("eq", [_, ..]) => {
            let each = others.iter().map(|other| pair("eq", first, other)).collect::<Result<Vec<_>, _>>()?;
            combined(Logic::Or, &each)
        }
        ("ne", [other]) => pair("ne", first, other),
        ("lt", [other]) => pair("lt", first, other),
        ("le", [other]) => pair("lte", first, other),
        ("gt", [other]) => pair("gt", first, other),
        ("ge", [other]) => pair("gte", first, other),
        _ => left(format!("`{operator}` compares two values")),
    }
}

fn pair(helper: &'static str, a: &Value, b: &Value) -> Valued {
    match (a, b) {
        (Value::Const(a), Value::Const(b)) => constants(helper, a, b),
        (Value::Counter(level, more), Value::Const(Const::Int(number))) => {
            Ok(rounds(helper, *level, number.saturating_sub(*more)))
        }
        (Value::Const(Const::Int(_)), Value::Counter(..))
        | (Value::Const(_), Value::Once(..) | Value::Either(..)) => pair(turned(helper), b, a),
        (Value::Once(level, first, later), Value::Const(constant)) => {
            let (first, later) = (constants(helper, first, constant)?, constants(helper, later, constant)?);
            match (first, later) {
                (Value::Const(first), Value::Const(later)) => {
                    Ok(match once(*level, first.is_true(), later.is_true()) {
                        Condition::Known(is) => Value::bool(is),
                        Condition::Asked(hb, _) => Value::Expr(hb, Type::Bool),
                    })
                }
                _ => left("this comparison depends on the round of the loop; use @first"),
            }
        }
        (Value::Either(condition, one, other), Value::Const(constant)) => {
            let one = matches!(constants(helper, one, constant)?, Value::Const(is) if is.is_true());
            let other = matches!(constants(helper, other, constant)?, Value::Const(is) if is.is_true());
            Ok(Value::Either(condition.clone(), Const::Bool(one), Const::Bool(other)))
        }
        _ => expressions(helper, a, b),
    }
}

/// The operator for the values in the other order.
fn turned(helper: &'static str) -> &'static str {
    match helper {
        "lt" => "gt",
        "lte" => "gte",
        "gt" => "lt",
        "gte" => "lte",
        other => other,
    }
}

fn constants(helper: &str, a: &Const, b: &Const) -> Valued {
    let order = match (a, b) {
        (Const::Int(a), Const::Int(b)) => a.cmp(b),
        (Const::Text(a), Const::Text(b)) => a.cmp(b),
        (Const::Bool(a), Const::Bool(b)) if matches!(helper, "eq" | "ne") => a.cmp(b),
        _ => return left("Go cannot compare constants of these types"),
    };
    Ok(Value::bool(match helper {
        "eq" => order.is_eq(),
        "ne" => order.is_ne(),
        "lt" => order.is_lt(),
        "lte" => order.is_le(),
        "gt" => order.is_gt(),
        _ => order.is_ge(),
    }))
}

/// The number of a loop's round, from 0, compared with a number.
fn rounds(helper: &'static str, level: usize, number: i64) -> Value {
    let first = Hb::At("first", level);
    let condition = match (helper, number) {
        ("eq" | "lte", 0) | ("lt", 1) => first,
        ("ne" | "gt", 0) | ("gte", 1) => not(first),
        ("gt" | "gte" | "ne", number) if number < 0 => return Value::bool(true),
        ("lt" | "lte" | "eq", number) if number < 0 => return Value::bool(false),
        ("gte", 0) => return Value::bool(true),
        ("lt", 0) => return Value::bool(false),
        _ => Hb::Call(helper, vec![Hb::At("index", level), Hb::Int(number)]),
    };
    Value::Expr(condition, Type::Bool)
}

fn expressions(helper: &'static str, a: &Value, b: &Value) -> Valued {
    let equality = matches!(helper, "eq" | "ne");
    let (one, other) = (a.kind(), b.kind());
    // The key of a loop is compared with a number only where it is one.
    let numbers = matches!((one, other), (Type::Int, Type::Int | Type::Any) | (Type::Any, Type::Int));
    let texts = matches!((one, other), (Type::Text, Type::Text));
    if !(equality || numbers || texts) {
        return left(
            "which of these two is less depends on their types, which are not known here: Go orders \
                texts, even those of digits, as texts",
        );
    }
    let (value, text) = if a.as_text().is_some() { (b, a.as_text()) } else { (a, b.as_text()) };
    match text.filter(|text| is_number(text) && may_be_number(value)) {
        Some(text) => {
            let hb = value.hb()?;
            let as_text = Hb::Call("eq", vec![hb.clone(), Hb::text(text)]);
            let as_number = Hb::Call("eq", vec![hb, Hb::Float(text.to_owned())]);
            let either = Hb::Call("or", vec![as_text, as_number]);
            Ok(Value::Expr(if helper == "eq" { either } else { not(either) }, Type::Bool))
        }
        None => Ok(Value::call(helper, vec![a.hb()?, b.hb()?], Type::Bool)),
    }
}

/// Whether what is a text to Go may be a number to Handlebars: a number of a secret, or what `print` makes of one.
fn may_be_number(value: &Value) -> bool {
    matches!(value, Value::Expr(_, Type::Raw | Type::Any))
        || matches!(value, Value::Joined(pieces) if matches!(pieces.as_slice(), [Piece::Expr(_)]))
}

/// Whether a text is a number as JSON and Handlebars write it.
fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, part) = digits.split_once('.').map_or((digits, None), |(whole, part)| (whole, Some(part)));
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_digits(whole) && (whole == "0" || !whole.starts_with('0')) && part.is_none_or(is_digits)
}

/// A comparison of the number of a loop's round with the number of its items: `(expression, whether it is known)`.
pub(super) fn with_length(helper: &'static str, level: usize, more: i64, less: i64) -> Option<Value> {
    let last = Hb::At("last", level);
    let hb = match (helper, more.checked_add(less)?) {
        ("lt" | "ne", 1) => not(last),
        ("eq" | "gte", 1) => last,
        ("lt" | "lte" | "ne", 0) | ("lte", 1) => return Some(Value::bool(true)),
        ("gt" | "gte" | "eq", 0) | ("gt", 1) => return Some(Value::bool(false)),
        _ => return None,
    };
    Some(Value::Expr(hb, Type::Bool))
}
