//! The configuration language of the agents → blocks with their places: HCL in its first version, and its JSON form.
//!
//! There is a reader of our own because the agents read version 1, and the crates read version 2: there, `${…}` in a template is an
//! expression, `<<-` strips differently, and `0644` is decimal. [`Dialect::Second`] is for Nomad, whose jobs are in version 2; it takes
//! expressions as they are written.
//!
//! *Invariant:* pure; any text gives a tree or one [`Flaw`] with its place. Nesting is bounded.

mod fields;
mod lexer;

pub(super) use crate::yaml::Spot;
pub(super) use fields::{Block, Fields, text_of};
use lexer::{Lexer, Word};

/// How deep blocks and lists may be nested; no configuration comes near.
const DEEPEST: usize = 64;

/// Which language.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// HCL 1, of Vault Agent, OpenBao Agent, consul-template and envconsul.
    First,
    /// HCL 2, of Nomad.
    Second,
    /// JSON.
    Json,
}

impl Dialect {
    /// As HCL 1 itself tells them apart: a text that begins with a brace is JSON.
    pub(super) fn of(text: &str) -> Self {
        if text.trim_start().starts_with('{') { Self::Json } else { Self::First }
    }
}

/// Why a text cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Flaw {
    pub(super) at: Spot,
    pub(super) message: String,
}

/// What stands between two braces, in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Body {
    pub(super) items: Vec<Item>,
    /// Where it ends.
    pub(super) end: Spot,
}

/// `key = value`, or `key "label" { … }`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Item {
    /// The key, then the labels.
    pub(super) keys: Vec<Key>,
    pub(super) value: Value,
}

/// A key or a label.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Key {
    pub(super) name: String,
    pub(super) at: Spot,
}

/// A value with its place.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Value {
    pub(super) at: Spot,
    pub(super) is: Is,
}

/// What a value is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Is {
    /// Text, and the line on which its first character stands (in a heredoc the one below the marker).
    Text(String, usize),
    /// A number as it is written: `0644` is octal.
    Number(String),
    /// `true` or `false`.
    Bool(bool),
    /// `[…]`
    List(Vec<Value>),
    /// `{…}`
    Object(Body),
    /// An expression of version 2, as it is written; or JSON's `null`.
    Other(String),
}

/// Reads a whole text.
pub(super) fn parse(text: &str, dialect: Dialect) -> Result<Body, Flaw> {
    // As the agents do, before anything else.
    let text = text.replace("\r\n", "\n");
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let mut parser = Parser { lexer: Lexer::new(text, dialect), dialect, depth: 0 };
    let body = if dialect == Dialect::Json {
        let open = parser.lexer.next()?;
        if open.word != Word::Open {
            return Err(Flaw { at: open.at, message: "has to begin with `{`".to_owned() });
        }
        let body = parser.body(false)?;
        let end = parser.lexer.next()?;
        if end.word != Word::End {
            return Err(Flaw { at: end.at, message: "goes on behind its last `}`".to_owned() });
        }
        body
    } else {
        parser.body(true)?
    };
    Ok(body)
}

struct Parser<'t> {
    lexer: Lexer<'t>,
    dialect: Dialect,
    depth: usize,
}

impl Parser<'_> {
    /// Items up to the closing brace, or at the root up to the end.
    fn body(&mut self, is_root: bool) -> Result<Body, Flaw> {
        let mut items = Vec::new();
        loop {
            let token = self.lexer.next()?;
            match token.word {
                Word::End if is_root => return Ok(Body { items, end: token.at }),
                Word::Close if !is_root => return Ok(Body { items, end: token.at }),
                Word::Comma if !items.is_empty() => {}
                Word::Name(name) | Word::Text(name, _) => {
                    items.push(self.item(Key { name, at: token.at })?);
                }
                Word::End => return Err(flaw(token.at, "ends inside a block; a `}` is missing")),
                Word::Close => return Err(flaw(token.at, "has a `}` too many")),
                Word::Comma
                | Word::Number(_)
                | Word::Open
                | Word::Assign
                | Word::OpenList
                | Word::CloseList => {
                    return Err(flaw(token.at, "has no key here; write `key = value` or `key { … }`"));
                }
                Word::Other(_) => return Err(flaw(token.at, UNQUOTED)),
            }
        }
    }

    /// What follows a first key.
    fn item(&mut self, key: Key) -> Result<Item, Flaw> {
        let mut keys = vec![key];
        loop {
            let token = self.lexer.next()?;
            match token.word {
                Word::Name(name) | Word::Text(name, _) => keys.push(Key { name, at: token.at }),
                Word::Assign => {
                    let value = self.value()?;
                    return Ok(Item { keys, value });
                }
                Word::Open => {
                    let value = self.object(token.at)?;
                    return Ok(Item { keys, value });
                }
                Word::End
                | Word::Close
                | Word::Comma
                | Word::Number(_)
                | Word::OpenList
                | Word::CloseList
                | Word::Other(_) => {
                    return Err(flaw(token.at, "lacks `=` or `{` after a key"));
                }
            }
        }
    }

    fn object(&mut self, at: Spot) -> Result<Value, Flaw> {
        self.deeper(at)?;
        let body = self.body(false)?;
        self.depth -= 1;
        Ok(Value { at, is: Is::Object(body) })
    }

    fn deeper(&mut self, at: Spot) -> Result<(), Flaw> {
        self.depth += 1;
        if self.depth > DEEPEST { Err(flaw(at, "is nested too deep")) } else { Ok(()) }
    }

    fn value(&mut self) -> Result<Value, Flaw> {
        if self.dialect == Dialect::Second
            && let Some((at, written)) = self.lexer.expression()?
        {
            return Ok(Value { at, is: Is::Other(written) });
        }
        let token = self.lexer.next()?;
        let is = match token.word {
            Word::Text(text, first_line) => Is::Text(text, first_line),
            Word::Number(written) => Is::Number(written),
            Word::Name(name) if name == "true" || name == "false" => Is::Bool(name == "true"),
            Word::Name(name) if name == "null" && self.dialect == Dialect::Json => Is::Other(name),
            Word::Name(_) | Word::Other(_) => return Err(flaw(token.at, UNQUOTED)),
            Word::Open => return self.object(token.at),
            Word::OpenList => return self.list(token.at),
            Word::Close | Word::CloseList | Word::Comma | Word::Assign | Word::End => {
                return Err(flaw(token.at, "lacks a value here"));
            }
        };
        Ok(Value { at: token.at, is })
    }

    fn list(&mut self, at: Spot) -> Result<Value, Flaw> {
        self.deeper(at)?;
        let mut values = Vec::new();
        loop {
            if self.lexer.skip_if(&Word::CloseList)? {
                break;
            }
            values.push(self.value()?);
            let token = self.lexer.next()?;
            match token.word {
                Word::Comma => {}
                Word::CloseList => break,
                Word::End
                | Word::Name(_)
                | Word::Text(..)
                | Word::Number(_)
                | Word::Open
                | Word::Close
                | Word::OpenList
                | Word::Assign
                | Word::Other(_) => return Err(flaw(token.at, "lacks a `,` or a `]` in a list")),
            }
        }
        self.depth -= 1;
        Ok(Value { at, is: Is::List(values) })
    }
}

const UNQUOTED: &str = "is no value of this language; text has to be in double quotes";

fn flaw(at: Spot, message: &str) -> Flaw {
    Flaw { at, message: message.to_owned() }
}

#[cfg(test)]
mod tests;
