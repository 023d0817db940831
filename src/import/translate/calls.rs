//! Templates that are called by name, and files that a template writes beside its own.

use super::hb::Hb;
use super::value::{Const, Left, Piece, Value, left};
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
        let mut values = arguments.iter().map(|term| self.term(term)).collect::<Result<Vec<_>, _>>()?;
        let mut piped = None;
        for command in before {
            piped = Some(self.command(command, piped)?);
        }
        values.extend(piped);
        let (path, content, flags) = match values.as_slice() {
            [path, _, _, _, content] => (path, content, ""),
            [path, _, _, _, flags, content] => match flags.as_text() {
                Some(flags) => (path, content, flags),
                None => return left("the flags of `writeToFile` have to be a constant"),
            },
            _ => return left("`writeToFile` takes a path, an owner, a group, a mode, flags and a text"),
        };
        let flags: Vec<&str> = flags.split(',').map(str::trim).filter(|flag| !flag.is_empty()).collect();
        if let Some(flag) = flags.iter().find(|flag| !matches!(**flag, "append" | "newline")) {
            return left(format!("`writeToFile` has no flag `{flag}`"));
        }
        let constant = |index: usize| values.get(index).and_then(Value::as_text).map(str::to_owned);
        let (Some(owner), Some(group), Some(mode)) = (constant(1), constant(2), constant(3)) else {
            return left("an owner, a group or a mode that is no constant; write a [[file]] for it");
        };
        if self.conditions > 0 {
            let (path, secret) = self.each_field(path, content, &flags)?;
            self.tell(
                "writeToFile",
                "a file for each field: `each` writes them, published with the others at once, and takes away those of fields that are gone",
            );
            self.wants.write(Written { path, mode, owner, group, each: Some(secret), ..Written::default() });
            return Ok(());
        }
        let Some(path) = path.as_text().map(str::to_owned) else {
            return left("a path that is known only while rendering; write a [[file]] for each");
        };
        let mut tokens: Vec<Token> =
            content.pieces()?.into_iter().flat_map(|piece| self.printed(piece)).collect();
        tokens.extend(flags.contains(&"newline").then(|| Token::Text("\n".to_owned())));
        let template = write::text(&tokens);
        self.tell(
            "writeToFile",
            "each `writeToFile` is a [[file]] of its own, published with the others at once",
        );
        if !flags.contains(&"append") {
            self.wants.write(Written { path, template, mode, owner, group, each: None });
        } else if !self.wants.append(self.before, &path, &template) {
            return left(
                "Squire appends only to what this template wrote before; write a [[file]] with the whole text",
            );
        }
        Ok(())
    }

    /// The directory and the secret, if this writes every field of a secret to a file of its name, whatever the fields are.
    fn each_field(&self, path: &Value, content: &Value, flags: &[&str]) -> Result<(String, String), Left> {
        const ADVICE: &str = "a file that is written in a block has no equivalent, unless it is every field of a secret as it is, in a file of the \
                              field's name; write a [[file]] for each, with its template";
        let refuse = || Left(ADVICE.to_owned());
        if self.conditions > self.depth() || !flags.is_empty() {
            return Err(refuse());
        }
        let pieces = path.pieces()?;
        let local = |name: &String| Hb::Local(name.clone(), Vec::new());
        let is_name = |piece: Option<&Piece>, name: &String| piece == Some(&Piece::Expr(local(name)));
        let (secret, directory) = match (self.loops.as_slice(), pieces.as_slice()) {
            // The fields of one secret.
            ([(Hb::Root(secret, steps), names)], [Piece::Text(directory), key])
                if steps.is_empty()
                    && !self
                        .entries
                        .iter()
                        .any(|entry| names.first().map(local).as_ref() == Some(&entry.fields)) =>
            {
                let [item, name] = names.as_slice() else { return Err(refuse()) };
                let is_whole = is_name(Some(key), name) && content.hb()? == local(item);
                (is_whole.then_some(secret), directory)
            }
            // Of each secret of a folder, in a directory of its name.
            (
                [(Hb::Root(secret, _), entry), (fields, names)],
                [Piece::Text(directory), folder, Piece::Text(slash), key],
            ) if slash == "/" => {
                let [item, name] = names.as_slice() else { return Err(refuse()) };
                let is_folder = entry.first().map(local).as_ref() == Some(fields)
                    && entry.get(1).is_some_and(|name| is_name(Some(folder), name));
                let is_whole = is_name(Some(key), name) && content.hb()? == local(item);
                ((is_folder && is_whole).then_some(secret), directory)
            }
            _ => return Err(refuse()),
        };
        match (secret, directory.strip_suffix('/')) {
            (Some(secret), Some(directory)) if directory.len() > 1 => {
                Ok((directory.to_owned(), secret.clone()))
            }
            _ => Err(refuse()),
        }
    }
}
