//! Go's template language (`text/template` of Go 1.24), as consul-template, Vault Agent and OpenBao Agent use it: text → tree.
//!
//! *Invariant:* pure, total and bounded: every text gives a tree or one [`SyntaxError`], and nesting is at most [`DEEPEST`].

mod lex;
mod literal;
mod parse;
#[cfg(test)]
mod tests;
mod token;

use std::collections::BTreeMap;
use std::ops::Range;

/// The most blocks, and the most parentheses, that may stand within each other. Go has no such bound; nobody writes that many.
pub const DEEPEST: usize = 64;

/// What begins and ends an action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delimiters {
    /// `{{` by default.
    pub left: String,
    /// `}}` by default.
    pub right: String,
}

impl Delimiters {
    /// These two, where they are given and not empty, else Go's own.
    pub fn new(left: Option<&str>, right: Option<&str>) -> Self {
        let or = |given: Option<&str>, own: &str| {
            given.filter(|given| !given.is_empty()).unwrap_or(own).to_owned()
        };
        Self { left: or(left, "{{"), right: or(right, "}}") }
    }
}

impl Default for Delimiters {
    fn default() -> Self {
        Self::new(None, None)
    }
}

/// Why a text is no template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SyntaxError {
    /// The byte where it was seen.
    pub at: usize,
    /// What is wrong there, in one line.
    pub message: String,
}

impl SyntaxError {
    fn new(at: usize, message: impl Into<String>) -> Self {
        Self { at, message: message.into() }
    }
}

/// A template.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    /// What is rendered.
    pub body: Vec<Node>,
    /// The bodies of `define` and `block`, by name.
    pub defined: BTreeMap<String, Vec<Node>>,
}

/// A piece of a template. Two are equal where they mean the same, wherever they stand.
#[derive(Clone, Debug)]
pub struct Node {
    /// The bytes of the text that it was read from, a block with its `end`.
    pub span: Range<usize>,
    /// What it is.
    pub kind: Kind,
}

impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind
    }
}

impl Eq for Node {}

/// The kinds of pieces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Text to copy, trimmed already.
    Text(String),
    /// What stands between `/*` and `*/`.
    Comment(String),
    /// `{{pipeline}}`, which prints, or sets variables.
    Action(Pipe),
    /// `{{if pipeline}}`.
    If(Branch),
    /// `{{with pipeline}}`.
    With(Branch),
    /// `{{range pipeline}}`.
    Range(Branch),
    /// `{{break}}`.
    Break,
    /// `{{continue}}`.
    Continue,
    /// `{{template "name" pipeline}}`; a `block` is this and a definition.
    Template {
        /// What is called.
        name: String,
        /// Its dot.
        dot: Option<Pipe>,
    },
}

/// A block. `else if` is a block in the `else`, as in Go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Branch {
    /// What decides.
    pub pipe: Pipe,
    /// What is rendered then.
    pub body: Vec<Node>,
    /// And otherwise.
    pub otherwise: Vec<Node>,
}

/// Commands, each of which gets the value of the one before as its last argument.
#[derive(Clone, Debug)]
pub struct Pipe {
    /// The bytes that it was read from.
    pub span: Range<usize>,
    /// The variables that get the value, each with its `$`.
    pub variables: Vec<String>,
    /// Whether they are there already: `=` and not `:=`.
    pub assigns: bool,
    /// At least one, but for a `range $k, $v` without any.
    pub commands: Vec<Command>,
}

impl PartialEq for Pipe {
    fn eq(&self, other: &Self) -> bool {
        let of = |pipe: &Self| (pipe.variables.clone(), pipe.assigns, pipe.commands.clone());
        of(self) == of(other)
    }
}

impl Eq for Pipe {}

/// A value, or a function with its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// At least one.
    pub terms: Vec<Term>,
}

/// A single value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Term {
    /// `.`
    Dot,
    /// `nil`
    Nil,
    /// `true`, `false`
    Bool(bool),
    /// A whole number, or a character.
    Int(i64),
    /// Any other number, as it was written.
    Float(String),
    /// A text, without its quotes.
    Text(String),
    /// A function's name.
    Function(String),
    /// `.a.b`
    Field(Vec<String>),
    /// `$x.a.b`; the name has its `$`.
    Variable(String, Vec<String>),
    /// `(pipeline)`
    Pipe(Box<Pipe>),
    /// `(pipeline).a.b`, and `f.a`.
    Chain(Box<Term>, Vec<String>),
}

/// Reads a template.
pub fn parse(text: &str, delimiters: &Delimiters) -> Result<Tree, SyntaxError> {
    parse::parse(&lex::tokens(text, delimiters)?, text.len())
}
