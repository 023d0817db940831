//! The words of the language.

use std::ops::Range;

/// A word, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    /// In bytes of the text.
    pub(super) span: Range<usize>,
    pub(super) word: Word,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Word {
    Text(String),
    Comment(String),
    Left,
    Right,
    Space,
    /// `=`
    Assign,
    /// `:=`
    Declare,
    /// `|`
    Pipe,
    Open,
    Close,
    Comma,
    Dot,
    /// Without its point.
    Field(String),
    /// With its `$`.
    Variable(String),
    Name(String),
    Bool(bool),
    Nil,
    Int(i64),
    Float(String),
    /// A constant text, without its quotes.
    Quoted(String),
    Keyword(Keyword),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keyword {
    Block,
    Break,
    Continue,
    Define,
    Else,
    End,
    If,
    Range,
    Template,
    With,
}

impl Keyword {
    /// The keyword of this name.
    fn of(name: &str) -> Option<Self> {
        Some(match name {
            "block" => Self::Block,
            "break" => Self::Break,
            "continue" => Self::Continue,
            "define" => Self::Define,
            "else" => Self::Else,
            "end" => Self::End,
            "if" => Self::If,
            "range" => Self::Range,
            "template" => Self::Template,
            "with" => Self::With,
            _ => return None,
        })
    }
}

impl Word {
    /// What a name is.
    pub(super) fn of_name(name: &str) -> Self {
        match name {
            "true" => Self::Bool(true),
            "false" => Self::Bool(false),
            "nil" => Self::Nil,
            _ => Keyword::of(name).map_or_else(|| Self::Name(name.to_owned()), Self::Keyword),
        }
    }

    /// What it is called in an error.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Text(_) => "text".to_owned(),
            Self::Comment(_) => "a comment".to_owned(),
            Self::Left => "the beginning of an action".to_owned(),
            Self::Right => "the end of the action".to_owned(),
            Self::Space => "a space".to_owned(),
            Self::Assign => "`=`".to_owned(),
            Self::Declare => "`:=`".to_owned(),
            Self::Pipe => "`|`".to_owned(),
            Self::Open => "`(`".to_owned(),
            Self::Close => "`)`".to_owned(),
            Self::Comma => "`,`".to_owned(),
            Self::Dot => "`.`".to_owned(),
            Self::Field(name) => format!("`.{name}`"),
            Self::Variable(name) | Self::Name(name) => format!("`{name}`"),
            Self::Bool(is) => format!("`{is}`"),
            Self::Nil => "`nil`".to_owned(),
            Self::Int(_) | Self::Float(_) => "a number".to_owned(),
            Self::Quoted(_) => "a constant text".to_owned(),
            Self::Keyword(keyword) => format!("`{}`", format!("{keyword:?}").to_lowercase()),
        }
    }
}
