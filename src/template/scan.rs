//! Reads the tags of a template before the parser does, to limit its nesting and to report tags that are never closed.
//!
//! The parser is recursive, so a deep template would end it by a stack overflow. It reports an unclosed tag in the terms of its grammar.
//! This scanner follows that grammar: where tags, texts and comments begin and end. The few notations where the two might differ are
//! refused: quotes in brackets, lists of texts, quoted names of partials.
//!
//! *Invariant:* needs constant stack; a template that passes nests at most [`BLOCKS`] blocks and [`PARENTHESES`] sub-expressions.

use super::{Place, Problem, TEXT_LIMIT};

/// How deep blocks may be nested, including partials: each takes a few kilobytes of stack to parse and to render.
pub(super) const BLOCKS: usize = 64;
/// How deep sub-expressions may be nested in one tag.
pub(super) const PARENTHESES: usize = 32;
/// Tags times bytes: the parser counts lines from the start of the text for every tag, which takes it about half a second at
/// this limit. 4000 tags in 64 KiB pass.
const WORK: usize = 1 << 28;

/// Refuses a template that is too large, too deep, or never closed.
pub(super) fn check(text: &str) -> Result<(), Problem> {
    if text.len() > TEXT_LIMIT {
        return Err(Problem::new(Place::START, "the template is larger than 1 MiB"));
    }
    let mut scanner = Scanner { text, at: 0, blocks: Vec::new() };
    let mut tags = 0;
    while scanner.skip_text("{{") {
        tags += 1;
        if tags * text.len() > WORK {
            return Err(scanner.problem(scanner.at, "the template has too many tags for its size: split it"));
        }
        scanner.tag()?;
    }
    match scanner.blocks.last() {
        Some(block) => Err(scanner.problem(
            block.start,
            format!("`{{{{#{0}}}}}` is never closed: `{{{{/{0}}}}}` is missing", block.name),
        )),
        None => Ok(()),
    }
}

struct Scanner<'t> {
    text: &'t str,
    at: usize,
    blocks: Vec<Block<'t>>,
}

struct Block<'t> {
    name: &'t str,
    start: usize,
    /// Whether `{{/}}` without a name may close it.
    anonymous_close: bool,
}

impl<'t> Scanner<'t> {
    /// Moves to the next `stop` that is not escaped; false if there is none. One backslash escapes, more are text.
    fn skip_text(&mut self, stop: &str) -> bool {
        while self.at < self.text.len() {
            let rest = &self.text.as_bytes()[self.at..];
            let backslashes = rest.iter().take_while(|&&byte| byte == b'\\').count();
            let after = &rest[backslashes..];
            if backslashes == 0 && after.starts_with(stop.as_bytes()) {
                return true;
            }
            self.at += match backslashes {
                0 => 1,
                1 if after.starts_with(b"{{{{") => 5,
                1 if after.starts_with(b"{{") => 3,
                _ => backslashes,
            };
        }
        false
    }

    /// Reads the tag that begins here.
    fn tag(&mut self) -> Result<(), Problem> {
        if self.rest().starts_with("{{{{") {
            self.raw_block()
        } else if self.rest().starts_with("{{!") {
            self.comment()
        } else {
            self.plain_tag()
        }
    }

    /// `{{{{raw}}}} … {{{{/raw}}}}`
    fn raw_block(&mut self) -> Result<(), Problem> {
        let start = self.at;
        self.at += "{{{{".len();
        self.content(start, "}}}}")?;
        if !self.skip_text("{{{{") {
            return Err(self.problem(start, "this raw block is never closed: `{{{{/raw}}}}` is missing"));
        }
        let end = self.at;
        self.at += "{{{{".len();
        self.content(end, "}}}}")
    }

    /// `{{! … }}` or `{{!-- … --}}`
    fn comment(&mut self) -> Result<(), Problem> {
        let start = self.at;
        self.at += "{{!".len();
        self.skip_space();
        let long = self.rest().starts_with("--");
        let end = if long { "--}}" } else { "}}" };
        self.at += if long { "--".len() } else { 0 };
        let Some(length) = self.rest().find(end) else {
            return Err(self.problem(start, format!("this comment is never closed: `{end}` is missing")));
        };
        self.at += length + end.len();
        Ok(())
    }

    fn plain_tag(&mut self) -> Result<(), Problem> {
        let start = self.at;
        self.at += "{{".len();
        self.skip_space_and_tilde();
        match self.rest().as_bytes().first() {
            Some(b'{') => {
                self.at += 1;
                return self.content(start, "}}}");
            }
            Some(b'#') => self.open_block(start)?,
            Some(b'/') => self.close_block(start)?,
            Some(b'>') => self.partial_name()?,
            _ => self.inverse(start)?,
        }
        self.content(start, "}}")
    }

    fn open_block(&mut self, start: usize) -> Result<(), Problem> {
        self.at += "#".len();
        self.skip_space();
        let sigil = self.rest().as_bytes().first().copied();
        match sigil {
            Some(b'*') => self.at += 1,
            Some(b'>') => self.partial_name()?,
            _ => {}
        }
        let name = self.word();
        self.blocks.push(Block { name, start, anonymous_close: matches!(sigil, Some(b'*' | b'>')) });
        if self.blocks.len() > BLOCKS {
            return Err(self.problem(start, format!("blocks are nested more than {BLOCKS} deep")));
        }
        Ok(())
    }

    fn close_block(&mut self, start: usize) -> Result<(), Problem> {
        self.at += "/".len();
        let name = self.word();
        let Some(block) = self.blocks.pop() else {
            return Err(
                self.problem(start, format!("`{{{{/{name}}}}}` closes nothing: no block is open here"))
            );
        };
        if block.name == name || (name.is_empty() && block.anonymous_close) {
            return Ok(());
        }
        let Place { line, .. } = Place::of(self.text, block.start);
        let message = format!("`{{{{/{name}}}}}` cannot close `{{{{#{}}}}}` of line {line}", block.name);
        Err(self.problem(start, message))
    }

    fn partial_name(&mut self) -> Result<(), Problem> {
        self.at += ">".len();
        self.skip_space();
        if self.rest().starts_with(['\'', '[']) {
            return Err(self.problem(self.at, "the name of a partial is written without quotes and brackets"));
        }
        Ok(())
    }

    /// `{{else}}` and `{{^}}`, which need a block around them.
    fn inverse(&mut self, start: usize) -> Result<(), Problem> {
        let is_inverse = self.rest().starts_with('^') || self.word() == "else";
        if is_inverse && self.blocks.is_empty() {
            return Err(self.problem(start, "`{{else}}` stands outside of a block"));
        }
        Ok(())
    }

    /// Reads the inside of a tag, including its end.
    fn content(&mut self, start: usize, end: &str) -> Result<(), Problem> {
        let mut parentheses = 0_usize;
        while let Some(&byte) = self.text.as_bytes().get(self.at) {
            match byte {
                b'}' => return self.close_tag(start, end),
                b'"' | b'\'' => self.literal(byte)?,
                b'[' => self.brackets()?,
                b'{' => return Err(self.problem(self.at, "unexpected `{` in a tag")),
                b'(' => parentheses += 1,
                b')' => parentheses = parentheses.saturating_sub(1),
                _ => {}
            }
            if parentheses > PARENTHESES {
                let message = format!("parentheses are nested more than {PARENTHESES} deep");
                return Err(self.problem(start, message));
            }
            self.at += 1;
        }
        Err(self.problem(start, format!("this tag is never closed: `{end}` is missing")))
    }

    /// Three braces may be written `}}}` or `} ~}}`.
    fn close_tag(&mut self, start: usize, end: &str) -> Result<(), Problem> {
        let hint = if end == "}}}" {
            self.at += 1;
            self.skip_space_and_tilde();
            " (a `{` of the text needs a space before the tag)"
        } else {
            ""
        };
        let rest = if end == "}}}" { "}}" } else { end };
        if !self.rest().starts_with(rest) {
            let message = format!("this tag is not closed as it was opened: `{end}` is missing{hint}");
            return Err(self.problem(start, message));
        }
        self.at += rest.len();
        Ok(())
    }

    /// Moves to the closing quote.
    fn literal(&mut self, quote: u8) -> Result<(), Problem> {
        let start = self.at;
        self.at += 1;
        while let Some(&byte) = self.text.as_bytes().get(self.at) {
            match byte {
                b'\\' => self.at += 2,
                _ if byte == quote => return Ok(()),
                _ => self.at += 1,
            }
        }
        Err(self.problem(start, "this text is never closed: its second quote is missing"))
    }

    /// Moves to the closing bracket: of a field's name, or of a list of numbers.
    fn brackets(&mut self) -> Result<(), Problem> {
        let start = self.at;
        let Some(length) = self.rest().find(']') else {
            return Err(self.problem(start, "this bracket is never closed: `]` is missing"));
        };
        if self.rest()[1..length].contains(['"', '\'', '[', '{', '(']) {
            let message =
                "brackets hold the plain name of a field; for one with quotes or brackets use `lookup`";
            return Err(self.problem(start, message));
        }
        self.at += length;
        Ok(())
    }

    /// Reads the name at this position, and moves behind it.
    fn word(&mut self) -> &'t str {
        self.skip_space();
        let rest = self.rest();
        let ends = |c: char| c.is_ascii_whitespace() || "}~|('\"".contains(c);
        let word = &rest[..rest.find(ends).unwrap_or(rest.len())];
        self.at += if word.contains(['[', '{', ')']) { 0 } else { word.len() };
        word
    }

    fn skip_space(&mut self) {
        self.at = self.text.len() - self.rest().trim_start_matches([' ', '\t', '\r', '\n']).len();
    }

    fn skip_space_and_tilde(&mut self) {
        self.at = self.text.len() - self.rest().trim_start_matches([' ', '\t', '\r', '\n', '~']).len();
    }

    /// The unread rest. The scanner stops only at ASCII characters and at the end, so this never begins within a character.
    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn problem(&self, at: usize, message: impl Into<String>) -> Problem {
        Problem::new(Place::of(self.text, at), message)
    }
}
