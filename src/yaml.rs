//! Reads YAML 1.2 by its core schema, with the place of each node.
//!
//! *Invariant:* what is read is bounded, also where aliases multiply it, and no error contains what was read. Numbers stay as they were
//! written.

mod schema;

use std::collections::BTreeMap;

use saphyr_parser::{Event, Parser, Span};
use serde_json::{Map, Value};

/// The most nodes that a text may have, those counted again that an alias repeats.
const NODES: usize = 100_000;
/// How deep lists and maps may be nested: as deep as in JSON.
const DEPTH: usize = 127;
/// The most bytes of all scalars together: 8 MiB.
const BYTES: usize = 8 << 20;

/// A value, and where it begins.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    /// Counted from 1.
    pub(crate) line: usize,
    /// In characters, counted from 1.
    pub(crate) column: usize,
    /// What it is.
    pub(crate) kind: Kind,
    /// How many nodes it has, with itself.
    nodes: usize,
    /// The bytes of its scalars.
    bytes: usize,
}

/// What a node is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Kind {
    /// Text, a number, a boolean or null.
    Scalar(Value),
    /// Items in their order.
    List(Vec<Node>),
    /// Entries in the order in which they are written.
    Map(Vec<(String, Node)>),
}

/// Why a text is not read. Says nothing of what is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wrong {
    /// Counted from 1.
    pub(crate) line: usize,
    /// In characters, counted from 1.
    pub(crate) column: usize,
    /// As in "line 3: …".
    pub(crate) why: &'static str,
}

impl Node {
    /// The value without its places.
    pub(crate) fn into_value(self) -> Value {
        match self.kind {
            Kind::Scalar(value) => value,
            Kind::List(items) => items.into_iter().map(Self::into_value).collect(),
            Kind::Map(entries) => {
                let entries = entries.into_iter().map(|(key, node)| (key, node.into_value()));
                Value::Object(entries.collect::<Map<_, _>>())
            }
        }
    }

    /// What a map has under this name.
    #[cfg(test)]
    pub(crate) fn get(&self, name: &str) -> Option<&Self> {
        match &self.kind {
            Kind::Map(entries) => entries.iter().find(|(key, _)| key == name).map(|(_, node)| node),
            Kind::Scalar(_) | Kind::List(_) => None,
        }
    }

    fn of(span: Span, kind: Kind) -> Self {
        let children: Vec<&Self> = match &kind {
            Kind::Scalar(_) => Vec::new(),
            Kind::List(items) => items.iter().collect(),
            Kind::Map(entries) => entries.iter().map(|(_, node)| node).collect(),
        };
        let nodes = 1 + children.iter().map(|child| child.nodes).sum::<usize>();
        let own = match &kind {
            Kind::Scalar(Value::String(text)) => text.len(),
            Kind::Scalar(_) | Kind::List(_) | Kind::Map(_) => 0,
        };
        let bytes = own + children.iter().map(|child| child.bytes).sum::<usize>();
        let (line, column) = (span.start.line(), span.start.col() + 1);
        Self { line, column, kind, nodes, bytes }
    }
}

/// The documents of a text.
///
/// # Errors
/// The first place that is no YAML, or not of the kind that is read here: a key that is no text, a name twice in one map, an alias of
/// nothing, more than 100,000 nodes, 127 levels or 8 MiB.
pub(crate) fn documents(text: &str) -> Result<Vec<Node>, Wrong> {
    let mut reading = Reading::default();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| {
            let (line, column) = (error.marker().line(), error.marker().col() + 1);
            Wrong { line, column, why: "is no YAML" }
        })?;
        reading.take(event, span)?;
    }
    Ok(reading.documents)
}

/// What is read so far.
#[derive(Default)]
struct Reading {
    documents: Vec<Node>,
    open: Vec<Open>,
    anchors: BTreeMap<usize, Node>,
    nodes: usize,
    bytes: usize,
}

/// A list or map whose end did not come yet.
struct Open {
    span: Span,
    anchor: usize,
    items: Vec<Node>,
    is_map: bool,
}

impl Reading {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Wrong> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let node = Node::of(span, Kind::Scalar(schema::scalar(&text, style, tag.as_deref())));
                self.count(&node, span)?;
                self.close(node, anchor);
            }
            Event::SequenceStart(anchor, _) => self.begin(span, anchor, false)?,
            Event::MappingStart(anchor, _) => self.begin(span, anchor, true)?,
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some(Open { span, anchor, items, is_map }) = self.open.pop() {
                    let kind = if is_map { Kind::Map(entries(items)?) } else { Kind::List(items) };
                    self.close(Node::of(span, kind), anchor);
                }
            }
            Event::Alias(anchor) => {
                let Some(mut node) = self.anchors.get(&anchor).cloned() else {
                    return Err(wrong(span, "has an alias of what does not stand before it"));
                };
                self.count(&node, span)?;
                (node.line, node.column) = (span.start.line(), span.start.col() + 1);
                self.close(node, 0);
            }
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd => {}
        }
        Ok(())
    }

    fn begin(&mut self, span: Span, anchor: usize, is_map: bool) -> Result<(), Wrong> {
        if self.open.len() >= DEPTH {
            return Err(wrong(span, "is nested deeper than 127 levels"));
        }
        self.open.push(Open { span, anchor, items: Vec::new(), is_map });
        Ok(())
    }

    fn count(&mut self, node: &Node, span: Span) -> Result<(), Wrong> {
        self.nodes = self.nodes.saturating_add(node.nodes);
        self.bytes = self.bytes.saturating_add(node.bytes);
        if self.nodes > NODES || self.bytes > BYTES {
            return Err(wrong(span, "makes it more than 100,000 values, or 8 MiB"));
        }
        Ok(())
    }

    /// A node is whole.
    fn close(&mut self, node: Node, anchor: usize) {
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        match self.open.last_mut() {
            Some(open) => open.items.push(node),
            None => self.documents.push(node),
        }
    }
}

/// Keys and values in turn → entries, with those of merged maps (`<<`) that have no entry of their own.
fn entries(items: Vec<Node>) -> Result<Vec<(String, Node)>, Wrong> {
    let mut entries: Vec<(String, Node)> = Vec::new();
    let mut merged = Vec::new();
    let mut items = items.into_iter();
    while let (Some(key), Some(value)) = (items.next(), items.next()) {
        let (line, column) = (key.line, key.column);
        let wrong = |why| Wrong { line, column, why };
        match (key.kind, value.kind) {
            (Kind::Scalar(Value::String(name)), Kind::Map(others)) if name == "<<" => merged.extend(others),
            (Kind::Scalar(name), kind) => {
                let name = schema::name(name).ok_or_else(|| wrong("has a key that is null"))?;
                if entries.iter().any(|(other, _)| *other == name) {
                    return Err(wrong("has a key a second time"));
                }
                entries.push((name, Node { kind, ..value }));
            }
            (Kind::List(_) | Kind::Map(_), _) => return Err(wrong("has a key that is a list or a map")),
        }
    }
    for (name, node) in merged {
        if !entries.iter().any(|(other, _)| *other == name) {
            entries.push((name, node));
        }
    }
    Ok(entries)
}

fn wrong(span: Span, why: &'static str) -> Wrong {
    Wrong { line: span.start.line(), column: span.start.col() + 1, why }
}

#[cfg(test)]
mod tests;
