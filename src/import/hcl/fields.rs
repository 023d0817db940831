//! A block's fields by name, in every spelling that the agents take, and what nobody asked for.
//!
//! *Invariant:* each field is read, or is in [`Fields::rest`]; a wrong type is a note.

use std::collections::BTreeSet;

use super::super::{Notes, Place};
use super::{Body, Is, Item, Key, Spot, Value};

/// `name "label" { … }`, also when it was written as a value or in a list.
#[derive(Clone, Debug)]
pub(in super::super) struct Block<'b> {
    pub(in super::super) labels: Vec<&'b Key>,
    pub(in super::super) body: &'b Body,
    pub(in super::super) at: Spot,
}

impl Block<'_> {
    /// The blocks that this one means, each with a label: `method "approle" { … }` itself, and each in `method { approle { … } }`, which is
    /// how JSON writes it. `own` are the keys of the block, which are no labels.
    pub(in super::super) fn labelled(self, own: &[&str]) -> Vec<Self> {
        let is_label = |item: &Item| {
            item.keys.first().is_some_and(|key| !own.contains(&key.name.as_str()))
                && matches!(item.value.is, Is::Object(_) | Is::List(_))
        };
        if !self.labels.is_empty() || self.body.items.is_empty() || !self.body.items.iter().all(is_label) {
            return vec![self];
        }
        let inner = self.body.items.iter().flat_map(|item| blocks_of(item, 0));
        inner.collect()
    }
}

/// The blocks that an item is; the keys from `from` on are labels.
fn blocks_of(item: &Item, from: usize) -> Vec<Block<'_>> {
    let labels: Vec<&Key> = item.keys.iter().skip(from).collect();
    let at = item.keys.first().map_or(item.value.at, |key| key.at);
    let block = |body, at| Block { labels: labels.clone(), body, at };
    match &item.value.is {
        Is::Object(body) => vec![block(body, at)],
        Is::List(values) => values
            .iter()
            .filter_map(|value| match &value.is {
                Is::Object(body) => Some(block(body, value.at)),
                Is::Text(..) | Is::Number(_) | Is::Bool(_) | Is::List(_) | Is::Other(_) => None,
            })
            .collect(),
        Is::Text(..) | Is::Number(_) | Is::Bool(_) | Is::Other(_) => Vec::new(),
    }
}

/// A block that is being read.
pub(in super::super) struct Fields<'b> {
    file: &'b str,
    body: &'b Body,
    taken: BTreeSet<&'b str>,
}

impl<'b> Fields<'b> {
    /// Of the file with this name.
    pub(in super::super) fn new(file: &'b str, body: &'b Body) -> Self {
        Self { file, body, taken: BTreeSet::new() }
    }

    /// A spot as a place.
    pub(in super::super) fn place(&self, at: Spot) -> Place {
        Place { file: self.file.to_owned(), line: at.line, column: at.column }
    }

    /// Where a key stands last; the end of the block if it is not there.
    pub(in super::super) fn place_of(&self, key: &str) -> Place {
        let at = self.body.items.iter().rev().find_map(|item| item.keys.first().filter(|it| it.name == key));
        self.place(at.map_or(self.body.end, |key| key.at))
    }

    /// Whether the key is there.
    pub(in super::super) fn has(&self, key: &str) -> bool {
        self.body.items.iter().any(|item| item.keys.first().is_some_and(|it| it.name == key))
    }

    /// The value of `key = …`. The last one counts, as for the agents.
    pub(in super::super) fn take(&mut self, key: &str, notes: &mut Notes) -> Option<&'b Value> {
        let mut found = None;
        for item in &self.body.items {
            let [only] = item.keys.as_slice() else { continue };
            if only.name != key || matches!(&item.value.is, Is::Other(null) if null == "null") {
                continue;
            }
            self.taken.insert(&only.name);
            if found.replace(&item.value).is_some() {
                notes.told(self.place(only.at), key, "the key is given twice; the last one counts");
            }
        }
        found
    }

    /// The blocks of this name.
    pub(in super::super) fn blocks(&mut self, key: &str) -> Vec<Block<'b>> {
        let mut found = Vec::new();
        for item in &self.body.items {
            if let Some(first) = item.keys.first().filter(|first| first.name == key) {
                let blocks = blocks_of(item, 1);
                if !blocks.is_empty() {
                    self.taken.insert(&first.name);
                }
                found.extend(blocks);
            }
        }
        found
    }

    /// A block that may be there once. The agents refuse a second one.
    pub(in super::super) fn block(&mut self, key: &str, notes: &mut Notes) -> Option<Block<'b>> {
        let mut blocks = self.blocks(key).into_iter();
        let first = blocks.next();
        for more in blocks {
            notes.left(
                self.place(more.at),
                key,
                "a second block of this kind, which the agent refuses; keep one",
            );
        }
        first
    }

    /// Text. A number is text as it is written.
    pub(in super::super) fn text(&mut self, key: &str, notes: &mut Notes) -> Option<String> {
        let value = self.take(key, notes)?;
        let text = text_of(value);
        if text.is_none() {
            notes.left(self.place(value.at), key, "is no text, so nothing can be made of it");
        }
        text
    }

    /// Text that is not empty.
    pub(in super::super) fn word(&mut self, key: &str, notes: &mut Notes) -> Option<String> {
        self.text(key, notes).filter(|text| !text.is_empty())
    }

    /// `true`, `"true"`, `"1"` and their opposites.
    pub(in super::super) fn boolean(&mut self, key: &str, notes: &mut Notes) -> Option<bool> {
        let value = self.take(key, notes)?;
        let boolean = boolean_of(value);
        if boolean.is_none() {
            notes.left(self.place(value.at), key, "is neither true nor false, so nothing can be made of it");
        }
        boolean
    }

    /// A list of texts, or one text as a list of one.
    pub(in super::super) fn words(&mut self, key: &str, notes: &mut Notes) -> Option<Vec<String>> {
        let value = self.take(key, notes)?;
        let words = words_of(value);
        if words.is_none() {
            notes.left(self.place(value.at), key, "is no list of texts, so nothing can be made of it");
        }
        words
    }

    /// What was not asked for, each once.
    pub(in super::super) fn rest(&self) -> Vec<(&'b str, Place)> {
        let mut seen = BTreeSet::new();
        let is_null = |item: &&Item| matches!(&item.value.is, Is::Other(null) if null == "null");
        let items = self.body.items.iter().filter(|item| !is_null(item));
        let keys = items.filter_map(|item| item.keys.first());
        keys.filter(|key| !self.taken.contains(key.name.as_str()) && seen.insert(key.name.as_str()))
            .map(|key| (key.name.as_str(), self.place(key.at)))
            .collect()
    }
}

/// A value as text.
pub(in super::super) fn text_of(value: &Value) -> Option<String> {
    match &value.is {
        Is::Text(text, _) => Some(text.clone()),
        Is::Number(written) => Some(written.clone()),
        Is::Bool(boolean) => Some(boolean.to_string()),
        Is::List(_) | Is::Object(_) | Is::Other(_) => None,
    }
}

fn boolean_of(value: &Value) -> Option<bool> {
    match &value.is {
        Is::Bool(boolean) => Some(*boolean),
        Is::Text(text, _) | Is::Number(text) => match text.as_str() {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
            "0" | "f" | "F" | "false" | "FALSE" | "False" | "" => Some(false),
            _ => None,
        },
        Is::List(_) | Is::Object(_) | Is::Other(_) => None,
    }
}

/// A value as a list of texts.
fn words_of(value: &Value) -> Option<Vec<String>> {
    match &value.is {
        Is::Text(text, _) => Some(vec![text.clone()]),
        Is::List(values) => values.iter().map(text_of).collect(),
        Is::Number(_) | Is::Bool(_) | Is::Object(_) | Is::Other(_) => None,
    }
}
