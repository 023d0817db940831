//! The words of a text → its tree.
//!
//! *Invariant:* accepts what Go's `text/template/parse/parse.go` accepts, but for the names of functions: which there are is not known here.

use std::collections::BTreeMap;

use super::token::{Keyword, Token, Word};
use super::{Branch, Command, DEEPEST, Kind, Node, Pipe, SyntaxError, Term, Tree};

/// The tree of these words. `end` is the length of the text.
pub(super) fn parse(tokens: &[Token], end: usize) -> Result<Tree, SyntaxError> {
    let variables = vec!["$".to_owned()];
    let mut parser =
        Parser { tokens, end, next: 0, variables, ranges: 0, depth: 0, defined: BTreeMap::new() };
    let (body, ended) = parser.list(true)?;
    match ended {
        Ended::Text => Ok(Tree { body, defined: parser.defined }),
        Ended::Else | Ended::End => parser.fail_before("this closes nothing: no block is open here"),
    }
}

struct Parser<'t> {
    tokens: &'t [Token],
    end: usize,
    next: usize,
    /// Those that are known here, each with its `$`.
    variables: Vec<String>,
    /// How many loops are around this.
    ranges: usize,
    depth: usize,
    defined: BTreeMap<String, Vec<Node>>,
}

/// What ended a list of nodes.
enum Ended {
    /// The text.
    Text,
    /// `{{else`; what follows is unread.
    Else,
    /// `{{end}}`.
    End,
}

/// What a block is.
#[derive(Clone, Copy, PartialEq)]
enum Block {
    If,
    With,
    Range,
}

impl<'t> Parser<'t> {
    fn peek(&self) -> Option<&'t Word> {
        self.tokens.get(self.next).map(|token| &token.word)
    }

    fn take(&mut self) -> Option<&'t Word> {
        let word = self.peek();
        self.next += usize::from(word.is_some());
        word
    }

    /// The byte where the next word begins.
    fn at(&self) -> usize {
        self.tokens.get(self.next).map_or(self.end, |token| token.span.start)
    }

    /// The byte where the last word ended.
    fn behind(&self) -> usize {
        self.next.checked_sub(1).and_then(|last| self.tokens.get(last)).map_or(0, |token| token.span.end)
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(Word::Space)) {
            self.next += 1;
        }
    }

    fn fail<T>(&self, message: impl Into<String>) -> Result<T, SyntaxError> {
        Err(SyntaxError::new(self.at(), message))
    }

    /// An error at the word that was just read.
    fn fail_before<T>(&mut self, message: impl Into<String>) -> Result<T, SyntaxError> {
        self.next = self.next.saturating_sub(1);
        self.fail(message)
    }

    fn unexpected<T>(&self, place: &str) -> Result<T, SyntaxError> {
        match self.peek() {
            Some(word) => self.fail(format!("{} is unexpected in {place}", word.shown())),
            None => self.fail(format!("the text ends in {place}")),
        }
    }

    /// Nodes up to an `else`, an `end` or the end of the text.
    fn list(&mut self, outermost: bool) -> Result<(Vec<Node>, Ended), SyntaxError> {
        let mut nodes = Vec::new();
        loop {
            let start = self.at();
            let kind = match self.take() {
                None => return Ok((nodes, Ended::Text)),
                Some(Word::Text(text)) => Some(Kind::Text(text.clone())),
                Some(Word::Comment(text)) => Some(Kind::Comment(text.clone())),
                Some(_) => match self.action(outermost)? {
                    Action::Node(kind) => Some(kind),
                    Action::Nothing => None,
                    Action::Ended(ended) => return Ok((nodes, ended)),
                },
            };
            nodes.extend(kind.map(|kind| Node { span: start..self.behind(), kind }));
        }
    }

    /// What follows the beginning of an action.
    fn action(&mut self, outermost: bool) -> Result<Action, SyntaxError> {
        self.skip_space();
        let Some(Word::Keyword(keyword)) = self.peek() else {
            return Ok(Action::Node(Kind::Action(self.pipe("an action", &Word::Right, false)?)));
        };
        self.next += 1;
        Ok(match keyword {
            Keyword::If => Action::Node(Kind::If(self.branch(Block::If)?)),
            Keyword::With => Action::Node(Kind::With(self.branch(Block::With)?)),
            Keyword::Range => Action::Node(Kind::Range(self.branch(Block::Range)?)),
            Keyword::Break | Keyword::Continue if self.ranges == 0 => {
                return self.fail_before("`break` and `continue` stand in a `range`");
            }
            Keyword::Break => Action::Node(self.lone(Kind::Break)?),
            Keyword::Continue => Action::Node(self.lone(Kind::Continue)?),
            Keyword::Else => Action::Ended(Ended::Else),
            Keyword::End => {
                self.right("`end`")?;
                Action::Ended(Ended::End)
            }
            Keyword::Template => Action::Node(self.template()?),
            Keyword::Block => Action::Node(self.block()?),
            Keyword::Define if outermost => {
                let name = self.text("`define`")?;
                self.right("`define`")?;
                self.definition(name)?;
                Action::Nothing
            }
            Keyword::Define => return self.fail_before("`define` stands outside of blocks"),
        })
    }

    fn lone(&mut self, kind: Kind) -> Result<Kind, SyntaxError> {
        self.right("`break` or `continue`").map(|()| kind)
    }

    fn right(&mut self, place: &str) -> Result<(), SyntaxError> {
        self.skip_space();
        if matches!(self.peek(), Some(Word::Right)) {
            self.next += 1;
            return Ok(());
        }
        self.unexpected(place)
    }

    /// A name in quotes.
    fn text(&mut self, place: &str) -> Result<String, SyntaxError> {
        self.skip_space();
        match self.peek() {
            Some(Word::Quoted(name)) => {
                self.next += 1;
                Ok(name.clone())
            }
            _ => self.fail(format!("{place} needs a name in quotes")),
        }
    }

    fn template(&mut self) -> Result<Kind, SyntaxError> {
        let name = self.text("`template`")?;
        self.skip_space();
        if matches!(self.peek(), Some(Word::Right)) {
            self.next += 1;
            return Ok(Kind::Template { name, dot: None });
        }
        Ok(Kind::Template { name, dot: Some(self.pipe("`template`", &Word::Right, false)?) })
    }

    fn block(&mut self) -> Result<Kind, SyntaxError> {
        let name = self.text("`block`")?;
        let dot = self.pipe("`block`", &Word::Right, false)?;
        self.definition(name.clone())?;
        Ok(Kind::Template { name, dot: Some(dot) })
    }

    /// The body of `define` or `block`, which sees no variables from outside. A later one with the same name is the one that holds.
    fn definition(&mut self, name: String) -> Result<(), SyntaxError> {
        let variables = std::mem::replace(&mut self.variables, vec!["$".to_owned()]);
        let ranges = std::mem::take(&mut self.ranges);
        self.enter()?;
        let (body, ended) = self.list(false)?;
        if !matches!(ended, Ended::End) {
            return self.unexpected(&format!("the definition of `{}`", name.escape_default()));
        }
        self.depth -= 1;
        (self.variables, self.ranges) = (variables, ranges);
        let is_empty =
            body.iter().all(|node| matches!(&node.kind, Kind::Text(text) if text.trim().is_empty()));
        if !is_empty || !self.defined.contains_key(&name) {
            self.defined.insert(name, body);
        }
        Ok(())
    }

    fn enter(&mut self) -> Result<(), SyntaxError> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return self.fail(format!("blocks or parentheses are nested more than {DEEPEST} deep"));
        }
        Ok(())
    }

    /// A block, from behind its keyword to behind its `end`.
    fn branch(&mut self, block: Block) -> Result<Branch, SyntaxError> {
        let (known, place) = (self.variables.len(), block.place());
        self.enter()?;
        let pipe = self.pipe(place, &Word::Right, block == Block::Range)?;
        self.ranges += usize::from(block == Block::Range);
        let (body, ended) = self.list(false)?;
        self.ranges -= usize::from(block == Block::Range);
        let otherwise = match ended {
            Ended::End => Vec::new(),
            Ended::Else => self.otherwise(block)?,
            Ended::Text => return self.fail(format!("{place} is never closed: `end` is missing")),
        };
        self.variables.truncate(known);
        self.depth -= 1;
        Ok(Branch { pipe, body, otherwise })
    }

    /// What follows `{{else`.
    fn otherwise(&mut self, block: Block) -> Result<Vec<Node>, SyntaxError> {
        let start = self.at();
        self.skip_space();
        let chained = match (self.peek(), block) {
            (Some(Word::Keyword(Keyword::If)), Block::If) => Some(Block::If),
            (Some(Word::Keyword(Keyword::With)), Block::With) => Some(Block::With),
            _ => None,
        };
        if let Some(next) = chained {
            self.next += 1;
            let branch = self.branch(next)?;
            let kind = if next == Block::If { Kind::If(branch) } else { Kind::With(branch) };
            return Ok(vec![Node { span: start..self.behind(), kind }]);
        }
        self.right("`else`")?;
        match self.list(false)? {
            (nodes, Ended::End) => Ok(nodes),
            (_, Ended::Else) => self.fail_before("a block has one `else`, and this is its second"),
            (_, Ended::Text) => self.fail(format!("{} is never closed: `end` is missing", block.place())),
        }
    }

    /// Commands up to `stop`.
    fn pipe(&mut self, place: &str, stop: &Word, in_range: bool) -> Result<Pipe, SyntaxError> {
        self.skip_space();
        let start = self.at();
        let (variables, assigns) = self.declarations(place, in_range)?;
        let mut commands = Vec::new();
        loop {
            self.skip_space();
            let stopped = self.behind();
            match self.peek() {
                Some(word) if word == stop => {
                    self.next += 1;
                    let pipe = Pipe { span: start..stopped, variables, assigns, commands };
                    return self.checked(pipe, place);
                }
                Some(word) if begins_term(word) => commands.push(self.command()?),
                _ => return self.unexpected(place),
            }
        }
    }

    fn checked(&mut self, pipe: Pipe, place: &str) -> Result<Pipe, SyntaxError> {
        let calls = |command: &Command| {
            let constant = matches!(
                command.terms.first(),
                Some(Term::Bool(_) | Term::Dot | Term::Nil | Term::Int(_) | Term::Float(_) | Term::Text(_))
            );
            !constant
        };
        if pipe.commands.is_empty() {
            return self.fail_before(format!("{place} has no value"));
        }
        if !pipe.commands.iter().skip(1).all(calls) {
            return self.fail_before(format!("in {place} a value is given to something that is no function"));
        }
        Ok(pipe)
    }

    /// `$x :=`, `$x =`, and in a `range` `$k, $v :=`.
    fn declarations(&mut self, place: &str, in_range: bool) -> Result<(Vec<String>, bool), SyntaxError> {
        let mut variables = Vec::new();
        while let Some(Word::Variable(name)) = self.peek() {
            let before = self.next;
            self.next += 1;
            self.skip_space();
            match self.peek() {
                Some(word @ (Word::Assign | Word::Declare)) => {
                    self.next += 1;
                    let assigns = matches!(word, Word::Assign);
                    if assigns {
                        self.known(name)?;
                    }
                    variables.push(name.clone());
                    self.variables.extend(variables.iter().cloned());
                    return Ok((variables, assigns));
                }
                Some(Word::Comma) if in_range && variables.is_empty() => {
                    self.next += 1;
                    self.skip_space();
                    variables.push(name.clone());
                }
                Some(Word::Comma) => return self.fail(format!("there are too many variables in {place}")),
                _ if variables.is_empty() => {
                    self.next = before;
                    break;
                }
                _ => return self.unexpected("the variables of a `range`"),
            }
        }
        if variables.is_empty() {
            Ok((variables, false))
        } else {
            self.unexpected("the variables of a `range`")
        }
    }

    fn known(&mut self, name: &str) -> Result<(), SyntaxError> {
        if self.variables.iter().any(|known| known == name) {
            return Ok(());
        }
        self.fail_before(format!("there is no variable `{name}` here"))
    }

    /// A value or a call, and the `|` behind it.
    fn command(&mut self) -> Result<Command, SyntaxError> {
        let mut terms = Vec::new();
        loop {
            self.skip_space();
            if self.peek().is_some_and(begins_term) {
                terms.push(self.operand()?);
            }
            match self.peek() {
                Some(Word::Space) => {}
                Some(Word::Right | Word::Close) => break,
                Some(Word::Pipe) => {
                    self.next += 1;
                    break;
                }
                _ => return self.unexpected("a command"),
            }
        }
        if terms.is_empty() { self.fail("a command is missing here") } else { Ok(Command { terms }) }
    }

    /// A term with the fields behind it.
    fn operand(&mut self) -> Result<Term, SyntaxError> {
        let term = self.term()?;
        let mut fields = Vec::new();
        while let Some(Word::Field(name)) = self.peek() {
            fields.push(name.clone());
            self.next += 1;
        }
        if fields.is_empty() {
            return Ok(term);
        }
        match term {
            Term::Field(mut names) => {
                names.extend(fields);
                Ok(Term::Field(names))
            }
            Term::Variable(name, _) => Ok(Term::Variable(name, fields)),
            Term::Bool(_) | Term::Text(_) | Term::Int(_) | Term::Float(_) | Term::Nil | Term::Dot => {
                self.fail_before("a constant has no fields")
            }
            Term::Function(_) | Term::Pipe(_) | Term::Chain(..) => Ok(Term::Chain(Box::new(term), fields)),
        }
    }

    fn term(&mut self) -> Result<Term, SyntaxError> {
        Ok(match self.take() {
            Some(Word::Dot) => Term::Dot,
            Some(Word::Nil) => Term::Nil,
            Some(Word::Bool(is)) => Term::Bool(*is),
            Some(Word::Int(number)) => Term::Int(*number),
            Some(Word::Float(number)) => Term::Float(number.clone()),
            Some(Word::Quoted(text)) => Term::Text(text.clone()),
            Some(Word::Name(name)) => Term::Function(name.clone()),
            Some(Word::Field(name)) => Term::Field(vec![name.clone()]),
            Some(Word::Variable(name)) => {
                self.known(name)?;
                Term::Variable(name.clone(), Vec::new())
            }
            Some(Word::Open) => {
                self.enter()?;
                let pipe = self.pipe("parentheses", &Word::Close, false)?;
                self.depth -= 1;
                Term::Pipe(Box::new(pipe))
            }
            _ => {
                self.next = self.next.saturating_sub(1);
                return self.unexpected("a command");
            }
        })
    }
}

/// What an action was.
enum Action {
    Node(Kind),
    Nothing,
    Ended(Ended),
}

impl Block {
    fn place(self) -> &'static str {
        match self {
            Self::If => "an `if`",
            Self::With => "a `with`",
            Self::Range => "a `range`",
        }
    }
}

/// Whether a value may begin with this.
fn begins_term(word: &Word) -> bool {
    matches!(
        word,
        Word::Dot
            | Word::Nil
            | Word::Bool(_)
            | Word::Int(_)
            | Word::Float(_)
            | Word::Quoted(_)
            | Word::Name(_)
            | Word::Field(_)
            | Word::Variable(_)
            | Word::Open
    )
}
