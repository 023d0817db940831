//! What an expression of a template would be, as far as that is known without any secret.

use super::condition::Condition;
use super::hb::Hb;

/// What keeps an expression from being translated: what to do about it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Left(pub(super) String);

/// A value that is known, or how to come to it.
pub(super) type Valued = Result<Value, Left>;

/// An error with this advice.
pub(super) fn left<T>(advice: impl Into<String>) -> Result<T, Left> {
    Err(Left(advice.into()))
}

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    /// Known.
    Const(Const),
    /// What `secret` gives, at this expression.
    Secret(Hb, Origin),
    /// `.Data` of that, or `.Data.data`.
    Data(Hb, Origin),
    /// `.Data.metadata` of that.
    Metadata(Hb),
    /// What `pkiCert` gives.
    Cert(Hb),
    /// What `secrets` gives: the names in a folder. The path is a string of the configuration.
    Listing(String),
    /// An expression.
    Expr(Hb, Type),
    /// Text made of several pieces.
    Joined(Vec<Piece>),
    /// How often a loop at this depth ran before, plus a number.
    Counter(usize, i64),
    /// How many items something has, minus a number.
    Count(Hb, i64),
    /// One constant in the first round of the loop at this depth, another one later.
    Once(usize, Const, Const),
    /// One constant where this is true, another one where not.
    Either(Condition, Const, Const),
    /// `and` or `or` of these.
    Logic(Logic, Vec<Value>),
    /// Not known, and why.
    Unknown(String),
}

/// A constant.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Const {
    Nil,
    Bool(bool),
    Int(i64),
    Float(String),
    Text(String),
}

/// What the data of a secret is, as far as the template tells.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Origin {
    /// That of a path with `/data/` in it, as those of KV v2: the fields and the metadata.
    Versioned,
    /// The fields, or the same as above.
    Other,
    /// The fields.
    Fields,
}

/// The type of an expression's value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Type {
    /// Whatever a secret holds. To Go a number in it is a text; so 0 is not empty.
    Raw,
    Text,
    Int,
    Bool,
    List,
    Map,
    /// Whatever some text holds that was parsed.
    Any,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Logic {
    And,
    Or,
}

/// A piece of a text.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Piece {
    Text(String),
    Expr(Hb),
    /// As [`Value::Once`].
    Once(usize, String, String),
    /// As [`Value::Either`].
    Either(Condition, String, String),
}

impl Const {
    /// As Go prints it.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Nil => "<nil>".to_owned(),
            Self::Bool(is) => is.to_string(),
            Self::Int(number) => number.to_string(),
            Self::Float(number) => {
                number.parse::<f64>().map_or_else(|_| number.clone(), |number| number.to_string())
            }
            Self::Text(text) => text.clone(),
        }
    }

    /// Whether Go's `if` takes it for true.
    pub(super) fn is_true(&self) -> bool {
        match self {
            Self::Nil => false,
            Self::Bool(is) => *is,
            Self::Int(number) => *number != 0,
            Self::Float(number) => number.parse::<f64>().is_ok_and(|number| number != 0.0),
            Self::Text(text) => !text.is_empty(),
        }
    }

    fn hb(&self) -> Result<Hb, Left> {
        match self {
            Self::Nil => left("`nil` has no use here; remove it"),
            Self::Bool(is) => Ok(Hb::Bool(*is)),
            Self::Int(number) => Ok(Hb::Int(*number)),
            Self::Float(number) => Ok(Hb::Float(number.clone())),
            Self::Text(text) => Ok(Hb::Text(text.clone())),
        }
    }
}

impl Value {
    pub(super) fn text(text: impl Into<String>) -> Self {
        Self::Const(Const::Text(text.into()))
    }

    pub(super) fn bool(is: bool) -> Self {
        Self::Const(Const::Bool(is))
    }

    pub(super) fn call(name: &'static str, arguments: Vec<Hb>, kind: Type) -> Self {
        Self::Expr(Hb::Call(name, arguments), kind)
    }

    /// The constant text that it is.
    pub(super) fn as_text(&self) -> Option<&str> {
        if let Self::Const(Const::Text(text)) = self { Some(text) } else { None }
    }

    /// The pieces that it prints.
    pub(super) fn pieces(&self) -> Result<Vec<Piece>, Left> {
        let one = |hb: Hb| Ok(vec![Piece::Expr(hb)]);
        match self {
            Self::Const(Const::Nil) => left("Go prints `<no value>` for nothing; remove it"),
            Self::Const(constant) => Ok(vec![Piece::Text(constant.shown())]),
            Self::Joined(pieces) => Ok(pieces.clone()),
            Self::Once(level, first, later) => Ok(vec![Piece::Once(*level, first.shown(), later.shown())]),
            Self::Either(condition, one, other) => {
                Ok(vec![Piece::Either(condition.clone(), one.shown(), other.shown())])
            }
            Self::Expr(_, Type::List | Type::Map) => left(
                "Go prints a list or a map in a form of its own; choose one for it: `join`, `json`, \
                    `yaml`, or `{{#each}}`",
            ),
            Self::Secret(..) | Self::Data(..) | Self::Metadata(_) | Self::Cert(_) | Self::Listing(_) => {
                left("Go prints this as a map, in a form of its own; name a field, or write {{json …}}")
            }
            Self::Logic(Logic::Or, values) => one(fallback(values)?),
            Self::Expr(..) | Self::Counter(..) | Self::Count(..) | Self::Logic(..) | Self::Unknown(_) => {
                one(self.hb()?)
            }
        }
    }

    /// It as an expression.
    pub(super) fn hb(&self) -> Result<Hb, Left> {
        match self {
            Self::Const(constant) => constant.hb(),
            Self::Data(_, Origin::Versioned) => left(
                "this is the data of KV v2 and its metadata in one; Squire has them apart: `.Data.data` \
                    is meant, or {{meta …}}",
            ),
            Self::Data(hb, Origin::Other | Origin::Fields) | Self::Expr(hb, _) => Ok(hb.clone()),
            Self::Counter(level, 0) => Ok(Hb::At("index", *level)),
            Self::Counter(level, more) => Ok(Hb::Call("add", vec![Hb::At("index", *level), Hb::Int(*more)])),
            Self::Count(of, 0) => Ok(Hb::Call("len", vec![of.clone()])),
            Self::Count(of, less) => {
                Ok(Hb::Call("subtract", vec![Hb::Call("len", vec![of.clone()]), Hb::Int(*less)]))
            }
            Self::Joined(pieces) => joined(pieces),
            Self::Logic(Logic::Or, values) => fallback(values),
            Self::Logic(Logic::And, _) => {
                left("`and` as a value; in Squire it is a condition: {{#if (and …)}}")
            }
            Self::Once(..) | Self::Either(..) => {
                left("this depends on the round of the loop; use {{#if @first}}…{{else}}…{{/if}}")
            }
            Self::Secret(..) | Self::Metadata(_) | Self::Cert(_) => {
                left("this is a whole answer of the server; name a field of it")
            }
            Self::Listing(_) => left("the names in a folder can be walked by a `range`, and nothing else"),
            Self::Unknown(why) => left(why.clone()),
        }
    }

    /// The type, as far as a constant or an expression has one.
    pub(super) fn kind(&self) -> Type {
        match self {
            Self::Const(Const::Bool(_)) => Type::Bool,
            Self::Const(Const::Int(_)) | Self::Counter(..) | Self::Count(..) => Type::Int,
            Self::Const(Const::Text(_)) | Self::Joined(_) => Type::Text,
            Self::Expr(_, kind) => *kind,
            Self::Data(..) | Self::Metadata(_) | Self::Secret(..) | Self::Cert(_) => Type::Map,
            Self::Listing(_) => Type::List,
            Self::Const(Const::Nil | Const::Float(_))
            | Self::Once(..)
            | Self::Either(..)
            | Self::Logic(..)
            | Self::Unknown(_) => Type::Any,
        }
    }
}

/// `or a b` as a value: the first one that is not empty.
fn fallback(values: &[Value]) -> Result<Hb, Left> {
    let booleans = values.iter().all(|value| value.kind() == Type::Bool);
    let expressions = values.iter().map(Value::hb).collect::<Result<Vec<_>, _>>()?;
    if booleans {
        return Ok(Hb::Call("or", expressions));
    }
    let nested = |last: Hb, before: Hb| Hb::Call("default", vec![without_fallback(before), last]);
    let nested = expressions.into_iter().rev().reduce(nested);
    nested.map_or_else(|| left("`or` needs a value"), Ok)
}

/// `(env "A")` for `(default (env "A") "")`, where something else is the fallback.
pub(super) fn without_fallback(hb: Hb) -> Hb {
    if let Hb::Call("default", arguments) = &hb
        && let [inner, Hb::Text(empty)] = arguments.as_slice()
        && empty.is_empty()
    {
        return inner.clone();
    }
    hb
}

fn joined(pieces: &[Piece]) -> Result<Hb, Left> {
    let printed = pieces.iter().filter(|piece| !matches!(piece, Piece::Text(text) if text.is_empty()));
    let expressions = printed.map(|piece| match piece {
        Piece::Text(text) => Ok(Hb::Text(text.clone())),
        Piece::Expr(hb) => Ok(hb.clone()),
        Piece::Once(..) | Piece::Either(..) => {
            left("this depends on the round of the loop, or on a block before; write it out in both branches of an {{#if}}")
        }
    });
    let mut expressions = expressions.collect::<Result<Vec<_>, _>>()?;
    match expressions.len() {
        0 => Ok(Hb::text("")),
        1 => Ok(expressions.remove(0)),
        _ => Ok(Hb::Call("concat", expressions)),
    }
}
