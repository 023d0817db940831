//! The walk over the tree of a template: actions and blocks → text and tags.
//!
//! *Invariant:* every node is either translated, or a note and a comment with its source; so nothing of a template is lost.

use std::ops::Range;

use super::condition::{Condition, truth};
use super::hb::Hb;
use super::request::{self, Entry};
use super::value::{Const, Left, Origin, Piece, Value, Valued, left};
use super::write::{self, Token};
use super::{Text, fields, functions, loops};
use crate::import::go::{Branch, Command, Kind, Node, Pipe, Term, Tree};
use crate::import::wants::Mark;
use crate::import::{Notes, Place, Wants};

/// How deep blocks may be nested in what is written: Squire's own bound is higher by little.
const BLOCKS: usize = 30;
/// How many nodes are translated, since templates that call each other multiply.
const NODES: usize = 20_000;

/// The state of the walk.
pub(super) struct Translator<'a> {
    pub(super) text: &'a Text<'a>,
    pub(super) wants: &'a mut Wants,
    /// The folders that the loops around this go over.
    pub(super) entries: Vec<Entry>,
    pub(super) tree: &'a Tree,
    notes: &'a mut Notes,
    /// The variables, each with its `$`; a later one hides an earlier one.
    pub(super) scope: Vec<(String, Value)>,
    dot: Value,
    /// What the loops around this go over, and the names that each defines.
    pub(super) loops: Vec<(Hb, Vec<String>)>,
    /// How many blocks around this ask for something known only while rendering.
    pub(super) conditions: usize,
    pub(super) calls: usize,
    /// How many nodes there were.
    visited: usize,
    /// What was told already.
    told: Vec<&'static str>,
    /// Where the lines of the text begin.
    lines: Vec<usize>,
    /// What was wanted before this template.
    pub(super) before: Mark,
    /// The action that is being translated.
    pub(super) here: Range<usize>,
}

/// The tokens of a template.
pub(super) fn tokens(text: &Text<'_>, tree: &Tree, wants: &mut Wants, notes: &mut Notes) -> Vec<Token> {
    let nothing = Value::Const(Const::Nil);
    let before = wants.mark();
    let mut translator = Translator {
        text,
        wants,
        entries: Vec::new(),
        tree,
        notes,
        scope: vec![("$".to_owned(), nothing.clone())],
        dot: nothing,
        loops: Vec::new(),
        conditions: 0,
        calls: 0,
        visited: 0,
        told: Vec::new(),
        lines: text.lines(),
        before,
        here: 0..0,
    };
    translator.nodes(&tree.body)
}

impl Translator<'_> {
    pub(super) fn depth(&self) -> usize {
        self.loops.len()
    }

    /// Whether the loop at this depth goes over this.
    pub(super) fn walks(&self, level: usize, subject: &Hb) -> bool {
        level
            .checked_sub(1)
            .and_then(|index| self.loops.get(index))
            .is_some_and(|(known, _)| known == subject)
    }

    /// Tells something about how this is taken over, once for a template.
    pub(super) fn tell(&mut self, about: &'static str, advice: &str) {
        if !self.told.contains(&about) {
            self.told.push(about);
            self.notes.told(self.place(self.here.start), self.source(&self.here), advice);
        }
    }

    /// Tells that `.Data` as a whole is not the same for all engines.
    pub(super) fn tell_of_data(&mut self, value: &Value) {
        if matches!(value, Value::Data(_, Origin::Other)) {
            self.tell(
                "data",
                "these are the fields of the secret; of a secret of KV v2 the agent would give `data` and `metadata` here",
            );
        }
    }

    /// The place of a byte of the template in its file.
    fn place(&self, byte: usize) -> Place {
        let line = self.lines.partition_point(|start| *start <= byte).max(1);
        let start = self.lines.get(line - 1).copied().unwrap_or_default();
        let before = self.text.text.get(start..byte).unwrap_or_default();
        Place {
            file: self.text.origin.to_owned(),
            line: self.text.first_line.max(1) + line - 1,
            column: 1 + before.chars().count(),
        }
    }

    /// The line of a byte of the template in its file.
    pub(super) fn line(&self, byte: usize) -> usize {
        self.place(byte).line
    }

    /// What stands there, on one line.
    fn source(&self, span: &Range<usize>) -> String {
        write::one_line(self.text.text.get(span.clone()).unwrap_or_default())
    }

    pub(super) fn nodes(&mut self, nodes: &[Node]) -> Vec<Token> {
        nodes.iter().flat_map(|node| self.node(node)).collect()
    }

    fn node(&mut self, node: &Node) -> Vec<Token> {
        let wants = self.wants.mark();
        let (scope, dot) = (self.scope.len(), self.dot.clone());
        self.visited += 1;
        let (place, tokens) = match &node.kind {
            _ if self.visited > NODES => {
                (&node.span, left("the template is too large with all that it calls; split it"))
            }
            Kind::If(_) | Kind::With(_) | Kind::Range(_) if self.conditions >= BLOCKS => {
                (&node.span, left(format!("blocks are nested more than {BLOCKS} deep")))
            }
            Kind::Text(text) => return vec![Token::Text(text.clone())],
            Kind::Comment(text) => return vec![write::comment(text)],
            Kind::Action(pipe) => (&pipe.span, self.action(pipe)),
            Kind::If(branch) => (&branch.pipe.span, self.if_block(branch)),
            Kind::With(branch) => (&branch.pipe.span, self.with_block(branch)),
            Kind::Range(branch) => (&branch.pipe.span, self.range_block(branch)),
            Kind::Template { name, dot } => (&node.span, self.template(name, dot.as_ref())),
            Kind::Break | Kind::Continue => {
                (&node.span, left("Handlebars leaves no loop early; put the rest into an {{#if}}"))
            }
        };
        match tokens {
            Ok(tokens) => {
                if !matches!(node.kind, Kind::Action(_)) {
                    self.scope.truncate(scope);
                }
                tokens
            }
            Err(Left(advice)) => {
                self.wants.back_to(wants);
                self.dot = dot;
                self.scope.truncate(scope);
                self.leave(node, place, &advice)
            }
        }
    }

    /// Notes that this node was not translated, and keeps its source in a comment.
    fn leave(&mut self, node: &Node, place: &Range<usize>, advice: &str) -> Vec<Token> {
        let found = self.place(place.start);
        let line = found.line;
        self.notes.left(found, self.source(place), advice);
        if let Kind::Action(pipe) = &node.kind {
            for name in &pipe.variables {
                let value = Value::Unknown(format!("`{name}` was not taken over, see line {line}"));
                self.set(name, value, pipe.assigns);
            }
            return vec![write::left(&format!("line {line}: {}: {advice}", self.source(place)))];
        }
        let names = loops::assigned(std::slice::from_ref(node));
        self.forget(&names, line);
        let source = self.text.text.get(node.span.clone()).unwrap_or_default();
        vec![write::left(&format!("line {line}: {advice}\n{source}\n"))]
    }

    /// Marks variables as unknown.
    pub(super) fn forget(&mut self, names: &[String], line: usize) {
        for name in names {
            let why = format!(
                "`{name}` was set in a block whose course is known only while rendering, see line {line}"
            );
            self.set(name, Value::Unknown(why), true);
        }
    }

    /// Sets a variable: one that is there, or a new one.
    pub(super) fn set(&mut self, name: &str, value: Value, is_known: bool) {
        let known = self.scope.iter_mut().rev().find(|(known, _)| is_known && known == name);
        match known {
            Some((_, held)) => *held = value,
            None => self.scope.push((name.to_owned(), value)),
        }
    }

    fn action(&mut self, pipe: &Pipe) -> Result<Vec<Token>, Left> {
        self.here = pipe.span.clone();
        if let Some(written) = self.written(pipe) {
            return written.map(|()| Vec::new());
        }
        if let [Command { terms }] = pipe.commands.as_slice()
            && let [Term::Function(name), Term::Text(called), rest @ ..] = terms.as_slice()
            && name == "executeTemplate"
        {
            let dot = match rest {
                [] => Value::Const(Const::Nil),
                [dot, ..] => self.term(dot)?,
            };
            return self.called(called, dot);
        }
        let value = self.piped(pipe)?;
        if !pipe.variables.is_empty() {
            return Ok(Vec::new());
        }
        Ok(value.pieces()?.into_iter().flat_map(|piece| self.printed(piece)).collect())
    }

    pub(super) fn printed(&self, piece: Piece) -> Vec<Token> {
        match piece {
            Piece::Text(text) | Piece::Expr(Hb::Text(text)) => vec![Token::Text(text)],
            Piece::Expr(hb) => vec![Token::Print(hb.tag(self.depth()))],
            Piece::Once(level, first, later) => {
                let condition = Condition::Asked(Hb::At("first", level), false);
                self.printed(Piece::Either(condition, first, later))
            }
            Piece::Either(condition, first, later) => {
                let text = |text: String| if text.is_empty() { Vec::new() } else { vec![Token::Text(text)] };
                self.conditional(&condition, text(first), text(later), false)
            }
        }
    }

    /// The value of a pipeline, which its variables get.
    pub(super) fn piped(&mut self, pipe: &Pipe) -> Valued {
        let value = self.evaluated(pipe)?;
        for name in &pipe.variables {
            self.set(name, value.clone(), pipe.assigns);
        }
        Ok(value)
    }

    pub(super) fn evaluated(&mut self, pipe: &Pipe) -> Valued {
        let mut piped = None;
        for command in &pipe.commands {
            piped = Some(self.command(command, piped)?);
        }
        piped.map_or_else(|| left("there is no value here"), Ok)
    }

    pub(super) fn command(&mut self, command: &Command, piped: Option<Value>) -> Valued {
        match (command.terms.split_first(), piped) {
            (Some((Term::Function(name), arguments)), piped) => {
                let mut values =
                    arguments.iter().map(|term| self.term(term)).collect::<Result<Vec<_>, _>>()?;
                values.extend(piped);
                self.call(name, &values)
            }
            (Some((term, [])), None) => self.term(term),
            (Some((Term::Chain(inner, _), _)), _) => left(of_chain(inner)),
            _ => left("a value is given to something that is no function"),
        }
    }

    pub(super) fn term(&mut self, term: &Term) -> Valued {
        match term {
            Term::Dot => Ok(self.dot.clone()),
            Term::Nil => Ok(Value::Const(Const::Nil)),
            Term::Bool(is) => Ok(Value::bool(*is)),
            Term::Int(number) => Ok(Value::Const(Const::Int(*number))),
            Term::Float(number) => Ok(Value::Const(Const::Float(number.clone()))),
            Term::Text(text) => Ok(Value::text(text.clone())),
            Term::Function(name) => self.call(name, &[]),
            Term::Field(names) => fields::walk(self.dot.clone(), names),
            Term::Variable(name, names) => {
                let held =
                    self.scope.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.clone());
                fields::walk(
                    held.unwrap_or_else(|| Value::Unknown(format!("`{name}` has no value here"))),
                    names,
                )
            }
            Term::Pipe(pipe) => self.piped(pipe),
            Term::Chain(inner, names) => {
                let value = self.term(inner)?;
                fields::walk(value, names)
            }
        }
    }

    fn if_block(&mut self, branch: &Branch) -> Result<Vec<Token>, Left> {
        self.here = branch.pipe.span.clone();
        let value = self.piped(&branch.pipe)?;
        let dot = self.dot.clone();
        let condition = self.truth(&value)?;
        Ok(self.choice(&condition, branch, dot))
    }

    /// Whether Go's `if` takes this for true; a folder, if it is not empty.
    fn truth(&mut self, value: &Value) -> Result<Condition, Left> {
        if let Value::Listing(path) = value {
            return Ok(Condition::Asked(request::folder(path, self.wants), false));
        }
        truth(value)
    }

    fn with_block(&mut self, branch: &Branch) -> Result<Vec<Token>, Left> {
        self.here = branch.pipe.span.clone();
        let value = self.piped(&branch.pipe)?;
        let condition = self.truth(&value)?;
        if matches!(value, Value::Secret(..) | Value::Cert(_)) && !branch.otherwise.is_empty() {
            self.tell(
                "else",
                "this `else` is never rendered: the agent waits until the secret is \
                there, and so does Squire",
            );
        }
        Ok(self.choice(&condition, branch, value))
    }

    /// The branch that is taken, with this dot in the body; both, where that is not known.
    fn choice(&mut self, condition: &Condition, branch: &Branch, dot: Value) -> Vec<Token> {
        match condition {
            Condition::Known(true) => self.with_dot(dot, &branch.body),
            Condition::Known(false) => self.nodes(&branch.otherwise),
            Condition::Asked(..) => {
                let before = self.scope.clone();
                self.conditions += 1;
                let body = self.with_dot(dot, &branch.body);
                let after = std::mem::replace(&mut self.scope, before);
                let otherwise = self.nodes(&branch.otherwise);
                self.conditions -= 1;
                self.merge(condition, &after, branch.pipe.span.start);
                let chained =
                    matches!(branch.otherwise.as_slice(), [Node { kind: Kind::If(_) | Kind::With(_), .. }]);
                self.conditional(condition, body, otherwise, chained)
            }
        }
    }

    pub(super) fn with_dot(&mut self, dot: Value, nodes: &[Node]) -> Vec<Token> {
        let outer = std::mem::replace(&mut self.dot, dot);
        let tokens = self.nodes(nodes);
        self.dot = outer;
        tokens
    }

    /// The variables behind a block, of whose branches one left `others`: known, where both left the same.
    fn merge(&mut self, condition: &Condition, others: &[(String, Value)], at: usize) {
        let line = self.line(at);
        for ((name, value), (_, other)) in self.scope.iter_mut().zip(others) {
            match (&*value, other) {
                (Value::Once(_, _, later), Value::Const(other)) if later == other => {
                    *value = Value::Const(other.clone());
                }
                (Value::Const(held), Value::Once(_, _, later)) if held == later => {}
                (held, other) if held == other => {}
                (Value::Const(held), Value::Const(other)) => {
                    *value = Value::Either(condition.clone(), other.clone(), held.clone());
                }
                _ => {
                    *value = Value::Unknown(format!(
                        "`{name}` depends on the block of line {line}; write the value into both branches"
                    ));
                }
            }
        }
    }

    /// `{{#if …}}…{{else}}…{{/if}}`. `chained`: the `else` is an `if` of its own.
    fn conditional(
        &self,
        condition: &Condition,
        body: Vec<Token>,
        mut otherwise: Vec<Token>,
        chained: bool,
    ) -> Vec<Token> {
        if body.is_empty() && otherwise.is_empty() {
            return Vec::new();
        }
        let block = |inside: &str| Token::Block(inside.to_owned());
        let unless = if let Condition::Asked(Hb::Call("not", arguments), _) = condition
            && otherwise.is_empty()
        {
            arguments.first().map(|hb| (hb.argument(self.depth()), body.clone()))
        } else if body.is_empty() && !otherwise.is_empty() {
            Some((condition.written(self.depth()), otherwise.clone()))
        } else {
            None
        };
        if let Some((condition, body)) = unless {
            return [vec![block(&format!("#unless {condition}"))], body, vec![block("/unless")]].concat();
        }
        let mut tokens = vec![block(&format!("#if {}", condition.written(self.depth())))];
        tokens.extend(body);
        let next = match otherwise.first() {
            Some(Token::Block(inside)) if chained => {
                inside.strip_prefix("#if ").map(|condition| format!("else if {condition}"))
            }
            _ => None,
        };
        if let (Some(next), Some(first)) = (next, otherwise.first_mut()) {
            *first = Token::Block(next);
            otherwise.pop();
        } else if !otherwise.is_empty() {
            tokens.push(block("else"));
        }
        tokens.extend(otherwise);
        tokens.push(block("/if"));
        tokens
    }
}

/// What to do in place of a call of a method of what this gives: `scratch.Get`.
fn of_chain(inner: &Term) -> String {
    if let Term::Function(name) = inner {
        return functions::advice(name);
    }
    "a value is given to something that is no function".to_owned()
}
