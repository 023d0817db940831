//! A text → its words, with the trimming of `{{-` and `-}}`.
//!
//! *Invariant:* the rules are those of Go's `text/template/parse/lex.go`: a trim marker needs its space, trims blanks and line breaks of the
//! one text beside it, and a comment touches both delimiters.

use super::literal;
use super::token::{Token, Word};
use super::{Delimiters, SyntaxError};

/// What trims, and what `{{-` needs behind its minus.
const SPACE: [char; 4] = [' ', '\t', '\r', '\n'];
/// A minus and its space.
const MARKER: usize = 2;

/// The words of a text.
pub(super) fn tokens(text: &str, delimiters: &Delimiters) -> Result<Vec<Token>, SyntaxError> {
    let mut lexer = Lexer { text, delimiters, at: 0, parentheses: 0, found: Vec::new() };
    loop {
        match lexer.text()? {
            Next::Action => while lexer.word()? {},
            Next::Text => {}
            Next::End => return Ok(lexer.found),
        }
    }
}

/// What follows a text.
enum Next {
    Action,
    Text,
    End,
}

struct Lexer<'t> {
    text: &'t str,
    delimiters: &'t Delimiters,
    at: usize,
    parentheses: usize,
    found: Vec<Token>,
}

impl<'t> Lexer<'t> {
    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn fail<T>(&self, message: impl Into<String>) -> Result<T, SyntaxError> {
        Err(SyntaxError::new(self.at, message))
    }

    /// Adds a word that ends `length` bytes from here, and goes there.
    fn push(&mut self, length: usize, word: Word) {
        self.found.push(Token { span: self.at..self.at + length, word });
        self.at += length;
    }

    /// Reads text up to the next action, and its beginning or all of a comment.
    fn text(&mut self) -> Result<Next, SyntaxError> {
        let rest = self.rest();
        let Some(length) = rest.find(&self.delimiters.left) else {
            self.push_text(rest, rest.len());
            return Ok(Next::End);
        };
        let text = rest.get(..length).unwrap_or_default();
        let inside = rest.get(length + self.delimiters.left.len()..).unwrap_or_default();
        let trims = inside.strip_prefix('-').is_some_and(|after| after.starts_with(SPACE));
        self.push_text(if trims { text.trim_end_matches(SPACE) } else { text }, length);
        let marker = if trims { MARKER } else { 0 };
        if inside.get(marker..).is_some_and(|inside| inside.starts_with("/*")) {
            self.comment(self.delimiters.left.len() + marker)?;
            return Ok(Next::Text);
        }
        self.push(self.delimiters.left.len() + marker, Word::Left);
        self.parentheses = 0;
        Ok(Next::Action)
    }

    fn push_text(&mut self, text: &str, length: usize) {
        if !text.is_empty() {
            self.found.push(Token { span: self.at..self.at + length, word: Word::Text(text.to_owned()) });
        }
        self.at += length;
    }

    /// Reads a comment whose `/*` is `lead` bytes from here.
    fn comment(&mut self, lead: usize) -> Result<(), SyntaxError> {
        let inside = self.rest().get(lead + 2..).unwrap_or_default();
        let Some(length) = inside.find("*/") else {
            return self.fail("this comment is never closed: `*/` is missing");
        };
        let Some((end, trims)) = self.right(inside.get(length + 2..).unwrap_or_default()) else {
            return self.fail("a comment ends right before the end of its action: `*/}}` or `*/ -}}`");
        };
        self.push(
            lead + length + 4 + end,
            Word::Comment(inside.get(..length).unwrap_or_default().to_owned()),
        );
        self.trim(trims);
        Ok(())
    }

    /// The length of the right delimiter at the beginning of this, with its marker, and whether it trims.
    fn right(&self, text: &str) -> Option<(usize, bool)> {
        let right = &self.delimiters.right;
        let marked = text.strip_prefix(SPACE).and_then(|text| text.strip_prefix('-'));
        if marked.is_some_and(|text| text.starts_with(right.as_str())) {
            return Some((MARKER + right.len(), true));
        }
        text.starts_with(right.as_str()).then_some((right.len(), false))
    }

    fn trim(&mut self, trims: bool) {
        if trims {
            self.at += self.rest().len() - self.rest().trim_start_matches(SPACE).len();
        }
    }

    /// Reads one word of an action; false after its end.
    fn word(&mut self) -> Result<bool, SyntaxError> {
        let rest = self.rest();
        if let Some((length, trims)) = self.right(rest) {
            if self.parentheses > 0 {
                return self.fail("a `(` is never closed in this action");
            }
            self.push(length, Word::Right);
            self.trim(trims);
            return Ok(false);
        }
        let Some(first) = rest.chars().next() else {
            return self.fail(format!("this action is never closed: `{}` is missing", self.delimiters.right));
        };
        match first {
            ' ' | '\t' | '\r' | '\n' => self.space(),
            '=' => self.push(1, Word::Assign),
            ':' if rest.starts_with(":=") => self.push(2, Word::Declare),
            ':' => return self.fail("a `:` needs its `=`: `:=`"),
            '|' => self.push(1, Word::Pipe),
            ',' => self.push(1, Word::Comma),
            '(' => {
                self.parentheses += 1;
                self.push(1, Word::Open);
            }
            ')' if self.parentheses == 0 => return self.fail("this `)` closes nothing"),
            ')' => {
                self.parentheses -= 1;
                self.push(1, Word::Close);
            }
            '"' | '\'' => self.quoted(first)?,
            '`' => self.raw()?,
            '$' => self.variable()?,
            '.' if !rest.get(1..).unwrap_or_default().starts_with(|c: char| c.is_ascii_digit()) => {
                self.field()?;
            }
            '.' | '+' | '-' | '0'..='9' => self.number()?,
            c if is_name(c) => self.name()?,
            c => return self.fail(format!("`{}` has no meaning in an action", c.escape_default())),
        }
        Ok(true)
    }

    /// Reads spaces, but the last one where it belongs to `-}}`.
    fn space(&mut self) {
        let rest = self.rest();
        let mut length = rest.len() - rest.trim_start_matches(SPACE).len();
        let last = rest.get(length - 1..).unwrap_or_default();
        if matches!(self.right(last), Some((_, true))) {
            length -= 1;
        }
        self.push(length, Word::Space);
    }

    /// A constant text or character.
    fn quoted(&mut self, quote: char) -> Result<(), SyntaxError> {
        let what = if quote == '"' { "text" } else { "character" };
        let rest = self.rest();
        let mut escaped = false;
        let end = rest.char_indices().skip(1).find(|&(_, c)| {
            let ends = c == '\n' || (c == quote && !escaped);
            escaped = c == '\\' && !escaped;
            ends
        });
        let Some((end, _)) = end.filter(|&(_, c)| c == quote) else {
            return self
                .fail(format!("this {what} is never closed on its line: its second quote is missing"));
        };
        let constant = rest.get(..=end).unwrap_or_default();
        let word = if quote == '"' {
            literal::text(constant).map(Word::Quoted)
        } else {
            literal::character(constant).map(Word::Int)
        };
        match word {
            Some(word) => self.push(end + 1, word),
            None => return self.fail(format!("this {what} has an escape that Go does not know")),
        }
        Ok(())
    }

    /// A text in backquotes. Carriage returns are left out, as in Go.
    fn raw(&mut self) -> Result<(), SyntaxError> {
        let inside = self.rest().get(1..).unwrap_or_default();
        let Some(end) = inside.find('`') else {
            return self.fail("this text is never closed: its second backquote is missing");
        };
        let text: String = inside.get(..end).unwrap_or_default().chars().filter(|&c| c != '\r').collect();
        self.push(end + 2, Word::Quoted(text));
        Ok(())
    }

    fn variable(&mut self) -> Result<(), SyntaxError> {
        let length = 1 + name_length(self.rest().get(1..).unwrap_or_default());
        self.checked(length, Word::Variable(self.rest().get(..length).unwrap_or_default().to_owned()))
    }

    fn field(&mut self) -> Result<(), SyntaxError> {
        let name = self.rest().get(1..).unwrap_or_default();
        let length = name_length(name);
        let name = name.get(..length).unwrap_or_default().to_owned();
        self.checked(1 + length, if length == 0 { Word::Dot } else { Word::Field(name) })
    }

    fn name(&mut self) -> Result<(), SyntaxError> {
        let length = name_length(self.rest());
        self.checked(length, Word::of_name(self.rest().get(..length).unwrap_or_default()))
    }

    fn number(&mut self) -> Result<(), SyntaxError> {
        let rest = self.rest();
        let mut before = ' ';
        let part = |c: char| {
            let is =
                is_name(c) || c == '.' || ("+-".contains(c) && matches!(before, ' ' | 'e' | 'E' | 'p' | 'P'));
            before = c;
            !is
        };
        let length = rest.find(part).unwrap_or(rest.len());
        let written = rest.get(..length).unwrap_or_default();
        match literal::number(written) {
            Some(word) => {
                self.push(length, word);
                Ok(())
            }
            None => self.fail(format!("`{}` is no number", written.escape_default())),
        }
    }

    /// Adds a name, if what follows may follow one.
    fn checked(&mut self, length: usize, word: Word) -> Result<(), SyntaxError> {
        let after = self.rest().get(length..).unwrap_or_default();
        let ends = after.is_empty()
            || after.starts_with(SPACE)
            || after.starts_with(['.', ',', '|', ':', ')', '('])
            || after.starts_with(&self.delimiters.right);
        if let (false, Some(c)) = (ends, after.chars().next()) {
            self.at += length;
            return self.fail(format!("`{}` cannot follow a name", c.escape_default()));
        }
        self.push(length, word);
        Ok(())
    }
}

fn is_name(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

fn name_length(text: &str) -> usize {
    text.find(|c| !is_name(c)).unwrap_or(text.len())
}
