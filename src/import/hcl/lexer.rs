//! Text → words, with escapes and heredocs resolved as HCL 1 does it.
//!
//! *Invariant:* a word's place is that of its first character. Inside `${…}` nothing is resolved: the agents do not, and the characters
//! are the user's.

use std::iter::Peekable;
use std::str::CharIndices;

use super::{Dialect, Flaw, Spot, flaw};

/// A word of the language.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Word {
    /// `vault`, also `true`.
    Name(String),
    /// Text, and the line of its first character.
    Text(String, usize),
    /// As it is written.
    Number(String),
    /// `{`
    Open,
    /// `}`
    Close,
    /// `[`
    OpenList,
    /// `]`
    CloseList,
    /// `=`, in JSON `:`.
    Assign,
    /// `,`
    Comma,
    /// A character that begins nothing.
    Other(char),
    /// The end of the text.
    End,
}

/// A word and where it stands.
pub(super) struct Token {
    pub(super) at: Spot,
    pub(super) word: Word,
}

/// Reads words from a text.
pub(super) struct Lexer<'t> {
    text: &'t str,
    chars: Peekable<CharIndices<'t>>,
    here: Spot,
    dialect: Dialect,
}

impl<'t> Lexer<'t> {
    pub(super) fn new(text: &'t str, dialect: Dialect) -> Self {
        Self { text, chars: text.char_indices().peekable(), here: Spot { line: 1, column: 1 }, dialect }
    }

    /// The next word.
    pub(super) fn next(&mut self) -> Result<Token, Flaw> {
        self.skip_space()?;
        let at = self.here;
        let Some(c) = self.peek() else { return Ok(Token { at, word: Word::End }) };
        let word = match c {
            '{' => self.single(Word::Open),
            '}' => self.single(Word::Close),
            '[' => self.single(Word::OpenList),
            ']' => self.single(Word::CloseList),
            ',' => self.single(Word::Comma),
            '=' if self.dialect != Dialect::Json => self.single(Word::Assign),
            ':' if self.dialect != Dialect::First => self.single(Word::Assign),
            '"' => self.quoted(at)?,
            '<' if self.dialect != Dialect::Json => self.heredoc(at)?,
            '0'..='9' | '-' | '+' => {
                Word::Number(self.run(|c| c.is_ascii_alphanumeric() || "+-.".contains(c)))
            }
            c if c.is_alphabetic() || c == '_' => {
                Word::Name(self.run(|c| c.is_alphanumeric() || "_-.".contains(c)))
            }
            c => self.single(Word::Other(c)),
        };
        Ok(Token { at, word })
    }

    /// Skips the next word if it is this one.
    pub(super) fn skip_if(&mut self, word: &Word) -> Result<bool, Flaw> {
        let (chars, here) = (self.chars.clone(), self.here);
        if self.next()?.word == *word {
            return Ok(true);
        }
        (self.chars, self.here) = (chars, here);
        Ok(false)
    }

    /// An expression of HCL 2 that is no plain value, as written, up to the end of its line, or to the comma or bracket behind it.
    pub(super) fn expression(&mut self) -> Result<Option<(Spot, String)>, Flaw> {
        self.skip_space()?;
        let (chars, here) = (self.chars.clone(), self.here);
        let start = self.offset();
        let name = self.run(|c| c.is_alphanumeric() || "_-.".contains(c));
        let is_plain = !name.starts_with(char::is_alphabetic) || matches!(name.as_str(), "true" | "false");
        if is_plain {
            (self.chars, self.here) = (chars, here);
            return Ok(None);
        }
        let mut depth = 0_usize;
        while let Some(c) = self.peek() {
            match c {
                '(' | '[' | '{' => depth += 1,
                ')' | ']' | '}' if depth > 0 => depth -= 1,
                ']' | '}' | ',' | '\n' if depth == 0 => break,
                _ => {}
            }
            self.bump();
        }
        let written = self.text.get(start..self.offset()).unwrap_or_default().trim_end();
        Ok(Some((here, written.to_owned())))
    }

    fn peek(&mut self) -> Option<char> {
        self.chars.peek().map(|(_, c)| *c)
    }

    fn offset(&mut self) -> usize {
        self.chars.peek().map_or(self.text.len(), |(at, _)| *at)
    }

    fn rest(&mut self) -> &'t str {
        let at = self.offset();
        self.text.get(at..).unwrap_or_default()
    }

    fn bump(&mut self) -> Option<char> {
        let (_, c) = self.chars.next()?;
        if c == '\n' {
            self.here = Spot { line: self.here.line + 1, column: 1 };
        } else {
            self.here.column += 1;
        }
        Some(c)
    }

    fn single(&mut self, word: Word) -> Word {
        self.bump();
        word
    }

    fn run(&mut self, belongs: impl Fn(char) -> bool) -> String {
        let mut run = String::new();
        while let Some(c) = self.peek().filter(|c| belongs(*c)) {
            run.push(c);
            self.bump();
        }
        run
    }

    /// White space, and comments where the language has them.
    fn skip_space(&mut self) -> Result<(), Flaw> {
        loop {
            while self.peek().is_some_and(char::is_whitespace) {
                self.bump();
            }
            let (at, rest) = (self.here, self.rest());
            if self.dialect == Dialect::Json {
                return Ok(());
            } else if rest.starts_with('#') || rest.starts_with("//") {
                while self.peek().is_some_and(|c| c != '\n') {
                    self.bump();
                }
            } else if rest.starts_with("/*") {
                let end = rest.find("*/").ok_or_else(|| flaw(at, "opens a comment that is never closed"))?;
                let end = self.offset() + end + 2;
                while self.offset() < end {
                    self.bump();
                }
            } else {
                return Ok(());
            }
        }
    }

    /// Text in double quotes.
    fn quoted(&mut self, at: Spot) -> Result<Word, Flaw> {
        const OPEN: &str = "opens a text that is not closed on its line; a longer one is a heredoc: <<EOF";
        self.bump();
        let mut text = String::new();
        // How many braces of a `${…}` are open.
        let mut braces = 0_usize;
        loop {
            let here = self.here;
            let c = self.bump().ok_or_else(|| flaw(at, OPEN))?;
            match c {
                '\n' if braces == 0 => return Err(flaw(at, OPEN)),
                '"' if braces == 0 => return Ok(Word::Text(text, at.line)),
                '\\' if braces == 0 => text.push(self.escaped(here)?),
                '$' if braces == 0 && self.dialect != Dialect::Json && self.peek() == Some('{') => {
                    braces = 1;
                    text.push('$');
                    text.extend(self.bump());
                }
                '{' if braces > 0 => {
                    braces += 1;
                    text.push(c);
                }
                '}' if braces > 0 => {
                    braces -= 1;
                    text.push(c);
                }
                '\\' => {
                    text.push(c);
                    text.extend(self.bump());
                }
                _ => text.push(c),
            }
        }
    }

    /// What follows a backslash: Go's escapes, in JSON JSON's.
    fn escaped(&mut self, at: Spot) -> Result<char, Flaw> {
        let c = self.bump().ok_or_else(|| flaw(at, "ends inside a text"))?;
        let is_json = self.dialect == Dialect::Json;
        match c {
            '"' | '\\' => Ok(c),
            '/' if is_json => Ok(c),
            'n' => Ok('\n'),
            'r' => Ok('\r'),
            't' => Ok('\t'),
            'b' => Ok('\u{8}'),
            'f' => Ok('\u{c}'),
            'a' if !is_json => Ok('\u{7}'),
            'v' if !is_json => Ok('\u{b}'),
            'x' if !is_json => self.code(at, 2, 16, None),
            'u' => self.unit(at),
            'U' if !is_json => self.code(at, 8, 16, None),
            '0'..='7' if !is_json => self.code(at, 2, 8, c.to_digit(8)),
            _ => Err(flaw(at, "has an escape that the language does not know; write `\\\\` for a backslash")),
        }
    }

    /// `\u` with four digits; in JSON two of them can be one character.
    fn unit(&mut self, at: Spot) -> Result<char, Flaw> {
        let first = self.digits(at, 4, 16, 0)?;
        if self.dialect == Dialect::Json
            && (0xd800..0xdc00).contains(&first)
            && self.rest().starts_with("\\u")
        {
            self.bump();
            self.bump();
            let second = self.digits(at, 4, 16, 0)?;
            let low = second.wrapping_sub(0xdc00);
            return char::from_u32(0x1_0000 + ((first - 0xd800) << 10) + (low & 0x3ff))
                .filter(|_| low < 0x400)
                .ok_or_else(|| flaw(at, NO_CHARACTER));
        }
        char::from_u32(first).ok_or_else(|| flaw(at, NO_CHARACTER))
    }

    fn code(&mut self, at: Spot, count: usize, radix: u32, first: Option<u32>) -> Result<char, Flaw> {
        let code = self.digits(at, count, radix, first.unwrap_or(0))?;
        char::from_u32(code).ok_or_else(|| flaw(at, NO_CHARACTER))
    }

    fn digits(&mut self, at: Spot, count: usize, radix: u32, first: u32) -> Result<u32, Flaw> {
        (0..count).try_fold(first, |code, _| {
            let digit = self.bump().and_then(|c| c.to_digit(radix));
            let digit = digit.ok_or_else(|| flaw(at, "has an escape with too few digits"))?;
            Ok(code.wrapping_mul(radix).wrapping_add(digit))
        })
    }

    /// `<<EOF` and `<<-EOF`. The marker's own indent stays at the end of the text in the plain form: so do the agents.
    fn heredoc(&mut self, at: Spot) -> Result<Word, Flaw> {
        let rest = self.rest();
        let (head, below) = rest.split_once('\n').unwrap_or((rest, ""));
        let marker = head.strip_prefix("<<").ok_or_else(|| flaw(at, super::UNQUOTED))?;
        let (name, strips) = match marker.strip_prefix('-') {
            Some(name) => (name, true),
            None => (marker, false),
        };
        if name.is_empty() || !name.chars().all(|c| c.is_alphanumeric() || c == '_') {
            return Err(flaw(at, "has a heredoc whose marker is no plain word at the end of its line"));
        }
        let is_first = self.dialect == Dialect::First;
        let mut length = 0;
        for line in below.split_inclusive('\n') {
            let indent = line.len() - line.trim_start_matches([' ', '\t']).len();
            let is_marker = line.trim_start_matches([' ', '\t']).trim_end_matches('\n') == name;
            // HCL 1 compares the lengths of line and marker, and counts the dash as part of the latter.
            let is_long_enough = !(is_first && strips && indent == 0);
            let is_ended = !is_first || line.ends_with('\n');
            if is_marker && is_long_enough && is_ended {
                let content = below.get(..length).unwrap_or_default();
                let indent = line.get(..indent).unwrap_or_default();
                let text = match (strips, self.dialect) {
                    (false, Dialect::First) => format!("{content}{indent}"),
                    (false, Dialect::Second | Dialect::Json) => content.to_owned(),
                    (true, Dialect::First) => stripped(content, indent),
                    (true, Dialect::Second | Dialect::Json) => without_common_indent(content),
                };
                let end = self.offset() + head.len() + 1 + length + line.trim_end_matches('\n').len();
                while self.offset() < end {
                    self.bump();
                }
                return Ok(Word::Text(text, at.line + 1));
            }
            length += line.len();
        }
        let why = if strips && is_first {
            "is not closed: the line of its marker has to be indented, and end with a line feed"
        } else {
            "is not closed: the marker has to stand alone on a line, without white space behind it, and end with a line feed"
        };
        Err(flaw(at, &format!("has a heredoc that {why}")))
    }
}

const NO_CHARACTER: &str = "has an escape that stands for no character";

/// Without this indent, if every line has it; a line without it, an empty one too, keeps all as it is.
fn stripped(content: &str, indent: &str) -> String {
    let lines = || content.split_inclusive('\n');
    if lines().all(|line| line.starts_with(indent)) {
        lines().filter_map(|line| line.strip_prefix(indent)).collect()
    } else {
        content.to_owned()
    }
}

/// HCL 2 strips what the lines have in common; a line of white space does not count.
fn without_common_indent(content: &str) -> String {
    let indent = |line: &str| line.len() - line.trim_start_matches(' ').len();
    let least = content.lines().filter(|line| !line.trim().is_empty()).map(indent).min().unwrap_or(0);
    content
        .split_inclusive('\n')
        .map(|line| line.get(least.min(indent(line))..).unwrap_or_default())
        .collect()
}
