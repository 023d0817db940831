//! Templates that are called by name, and files that a template writes beside its own.

use super::value::{Const, Left, Value, left};
use super::walk::Translator;
use super::write::{self, Token};
use crate::import::go::{Command, Pipe, Term};
use crate::import::wants::Written;

/// How deep templates may call each other: one that calls itself has no end here.
const CALLS: usize = 16;

impl Translator<'_> {
    pub(super) fn template(&mut self, name: &str, dot: Option<&Pipe>) -> Result<Vec<Token>, Left> {
        let dot = match dot {
            Some(pipe) => self.piped(pipe)?,
            None => Value::Const(Const::Nil),
        };
        self.called(name, dot)
    }

    /// The body of a template that is defined in this text, with this dot.
    pub(super) fn called(&mut self, name: &str, dot: Value) -> Result<Vec<Token>, Left> {
        let Some(body) = self.tree.defined.get(name) else {
            return left(format!("there is no `{name}` in this text; copy its definition into it"));
        };
        if self.calls == CALLS {
            return left(format!("`{name}` calls itself, or calls are nested more than {CALLS} deep"));
        }
        self.calls += 1;
        let scope = std::mem::replace(&mut self.scope, vec![("$".to_owned(), dot.clone())]);
        let tokens = self.with_dot(dot, body);
        self.scope = scope;
        self.calls -= 1;
        Ok(tokens)
    }

    /// `content | writeToFile path owner group mode`: a file of its own. Nothing if this is something else.
    pub(super) fn written(&mut self, pipe: &Pipe) -> Option<Result<(), Left>> {
        let (last, before) = pipe.commands.split_last()?;
        let (Term::Function(name), arguments) = last.terms.split_first()? else { return None };
        if name != "writeToFile" {
            return None;
        }
        Some(self.write_file(before, arguments))
    }

    fn write_file(&mut self, before: &[Command], arguments: &[Term]) -> Result<(), Left> {
        if self.conditions > 0 {
            return left(
                "a file that is written in a block has no equivalent yet; write a [[file]] for each, \
                    with its template",
            );
        }
        let mut values = arguments.iter().map(|term| self.term(term)).collect::<Result<Vec<_>, _>>()?;
        let mut piped = None;
        for command in before {
            piped = Some(self.command(command, piped)?);
        }
        values.extend(piped);
        let constant = |index: usize| values.get(index).and_then(Value::as_text).map(str::to_owned);
        let (Some(path), Some(owner), Some(group), Some(mode)) =
            (constant(0), constant(1), constant(2), constant(3))
        else {
            return left("a path, an owner or a mode that is no constant; write a [[file]] for it");
        };
        let (content, end) = match values.get(4..).unwrap_or_default() {
            [content] => (content, ""),
            [flags, content] if flags.as_text() == Some("newline") => (content, "\n"),
            [flags, content] if flags.as_text() == Some("") => (content, ""),
            _ => return left("Squire appends to no file; write a [[file]] with the whole text"),
        };
        let mut tokens: Vec<Token> =
            content.pieces()?.into_iter().flat_map(|piece| self.printed(piece)).collect();
        tokens.push(Token::Text(end.to_owned()));
        self.tell(
            "writeToFile",
            "each `writeToFile` is a [[file]] of its own, published with the others at once",
        );
        self.wants.write(Written { path, template: write::text(&tokens), mode, owner, group });
        Ok(())
    }
}
