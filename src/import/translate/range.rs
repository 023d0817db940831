//! Loops: `range` → `{{#each … as |value key|}}`.
//!
//! *Invariant:* the names that a block defines hide no helper and no name of a loop around it.

use super::hb::Hb;
use super::loops;
use super::request::{self, Entry};
use super::value::{Const, Left, Type, Value, left};
use super::walk::Translator;
use super::write::Token;
use crate::import::go::Branch;
use crate::import::wants::is_word;

impl Translator<'_> {
    pub(super) fn range_block(&mut self, branch: &Branch) -> Result<Vec<Token>, Left> {
        self.here = branch.pipe.span.clone();
        if branch.pipe.assigns {
            return left("a loop that sets variables from outside has no equivalent; use `:=`");
        }
        let subject = self.evaluated(&branch.pipe)?;
        self.tell_of_data(&subject);
        let Some(body) = loops::without_continue(&branch.body) else {
            return left(
                "`break`, and `continue` in this place, have no equivalent; put the rest of the loop \
                    into an {{#if}}",
            );
        };
        let (hb, folder) = match &subject {
            Value::Listing(path) => (request::folder(path, self.wants), Some(path.clone())),
            Value::Expr(_, Type::Text | Type::Int | Type::Bool) | Value::Const(_) | Value::Joined(_) => {
                return left("Handlebars walks lists and maps only");
            }
            Value::Secret(..)
            | Value::Data(..)
            | Value::Metadata(_)
            | Value::Cert(_)
            | Value::Expr(_, Type::Raw | Type::List | Type::Map | Type::Any)
            | Value::Counter(..)
            | Value::Count(..)
            | Value::Once(..)
            | Value::Either(..)
            | Value::Logic(..)
            | Value::Unknown(_) => (subject.hb()?, None),
        };
        let header = hb.argument(self.depth());
        let (before, entries) = (self.scope.clone(), self.entries.len());
        let names = self.round(&branch.pipe.variables, hb, folder, subject.kind());
        let level = self.depth();
        for name in loops::assigned(&body) {
            let held = before.iter().rev().find(|(known, _)| *known == name);
            if let Some((_, value)) = held {
                let value = loops::in_rounds(&name, value, &body, level);
                self.set(&name, value, true);
            }
        }
        let dot = self.round_dot();
        self.conditions += 1;
        let inside = self.with_dot(dot, &body);
        self.loops.pop();
        self.entries.truncate(entries);
        self.scope = before;
        let otherwise = self.nodes(&branch.otherwise);
        self.conditions -= 1;
        let line = self.line(branch.pipe.span.start);
        self.forget_known(&loops::assigned(&branch.body), line);
        self.forget_known(&loops::assigned(&branch.otherwise), line);
        let block = |inside: String| vec![Token::Block(inside)];
        let or = if otherwise.is_empty() { Vec::new() } else { block("else".to_owned()) };
        let names = names.join(" ");
        Ok([block(format!("#each {header} as |{names}|")), inside, or, otherwise, block("/each".to_owned())]
            .concat())
    }

    /// As [`Self::forget`], for the variables that are there.
    fn forget_known(&mut self, names: &[String], line: usize) {
        let names: Vec<String> =
            names.iter().filter(|name| self.scope.iter().any(|(known, _)| known == *name)).cloned().collect();
        self.forget(&names, line);
    }

    /// Enters a loop: its variables get the value and the key of a round. Gives the names that the block defines.
    fn round(
        &mut self,
        variables: &[String],
        subject: Hb,
        folder: Option<String>,
        kind: Type,
    ) -> Vec<String> {
        let level = self.depth() + 1;
        let (key, value) = match variables {
            [key, value] => (Some(key), Some(value)),
            [value] => (None, Some(value)),
            _ => (None, None),
        };
        let own = |name: Option<&String>, or: &str| match name.map(|name| name.trim_start_matches('$')) {
            Some(name) if !name.is_empty() && name != "_" && name.is_ascii() => name.to_owned(),
            _ => or.to_owned(),
        };
        let names = if folder.is_some() {
            let entry = self.free("entry", &[]);
            let name = self.free(&own(value, "key"), std::slice::from_ref(&entry));
            vec![entry, name]
        } else {
            let item = self.free(&own(value, "item"), &[]);
            let key = key.map(|key| self.free(&own(Some(key), "key"), std::slice::from_ref(&item)));
            std::iter::once(item).chain(key).collect()
        };
        let local = |index: usize| Hb::Local(names.get(index).cloned().unwrap_or_default(), Vec::new());
        let (value_of, key_of) = if let Some(folder) = folder {
            self.entries.push(Entry { folder, name: local(1), fields: local(0) });
            (Value::Expr(local(1), Type::Text), Value::Counter(level, 0))
        } else {
            let item = match kind {
                Type::List => Type::Text,
                Type::Any => Type::Any,
                Type::Raw | Type::Text | Type::Int | Type::Bool | Type::Map => Type::Raw,
            };
            let key = match kind {
                Type::List => Value::Counter(level, 0),
                Type::Map => Value::Expr(local(1), Type::Text),
                Type::Raw | Type::Text | Type::Int | Type::Bool | Type::Any => {
                    Value::Expr(local(1), Type::Any)
                }
            };
            (Value::Expr(local(0), item), key)
        };
        self.scope.extend(key.map(|key| (key.clone(), key_of)));
        // Without a variable the value is under a name that no template can write.
        self.scope.push((value.cloned().unwrap_or_default(), value_of));
        self.loops.push((subject, names.clone()));
        names
    }

    /// The dot of the round that was just entered.
    fn round_dot(&self) -> Value {
        self.scope.last().map_or(Value::Const(Const::Nil), |(_, value)| value.clone())
    }

    /// A name that no loop around this defines, and that is no helper.
    fn free(&self, wanted: &str, taken: &[String]) -> String {
        let is_taken = |name: &String| {
            is_word(name) || taken.contains(name) || self.loops.iter().any(|(_, names)| names.contains(name))
        };
        let numbered = (2_usize..).map(|number| format!("{wanted}{number}"));
        std::iter::once(wanted.to_owned()).chain(numbered).find(|name| !is_taken(name)).unwrap_or_default()
    }
}
