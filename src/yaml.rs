//! Reads YAML 1.2, with the place of each node: as a tree, and by the core schema as a value.
//!
//! *Invariant:* what is read is bounded, also where aliases multiply it, and no error contains what was read. Numbers stay as they were
//! written.

mod schema;

use std::collections::BTreeMap;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Tag};

/// The most nodes that a text may have, those counted again that an alias repeats.
const NODES: usize = 100_000;
/// How deep lists and maps may be nested: as deep as in JSON.
const DEPTH: usize = 127;
/// The most bytes of all scalars together: 8 MiB.
const BYTES: usize = 8 << 20;

/// A place in a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Spot {
    /// Counted from 1.
    pub(crate) line: usize,
    /// In characters, counted from 1.
    pub(crate) column: usize,
}

/// A value, and where it begins.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    pub(crate) at: Spot,
    pub(crate) is: Yaml,
}

/// What a value is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Yaml {
    /// Text as it is read, and whether it may stand for a number, a boolean or null: it has no quotes and no tag that says otherwise.
    Scalar(String, bool),
    /// Items in their order.
    List(Vec<Node>),
    /// Keys with their values, in the order in which they are written.
    Map(Vec<(Node, Node)>),
}

/// Why a text is not read. Says nothing of what is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wrong {
    pub(crate) at: Spot,
    /// As in "line 3: …".
    pub(crate) why: &'static str,
}

impl Spot {
    fn of(marker: &Marker) -> Self {
        Self { line: marker.line(), column: marker.col() + 1 }
    }

    fn wrong(self, why: &'static str) -> Wrong {
        Wrong { at: self, why }
    }
}

impl Node {
    /// How many nodes it has with itself, and the bytes of their scalars.
    fn size(&self) -> (usize, usize) {
        let sum = |sizes: &mut dyn Iterator<Item = (usize, usize)>| {
            sizes.fold((1, 0), |(nodes, bytes), (more, larger)| (nodes + more, bytes + larger))
        };
        match &self.is {
            Yaml::Scalar(text, _) => (1, text.len()),
            Yaml::List(items) => sum(&mut items.iter().map(Self::size)),
            Yaml::Map(pairs) => sum(&mut pairs.iter().flat_map(|(key, value)| [key.size(), value.size()])),
        }
    }
}

/// The documents of a text.
///
/// # Errors
/// The first place that is no YAML, or more than is read: an alias of nothing, more than 100,000 nodes, 127 levels or 8 MiB.
pub(crate) fn documents(text: &str) -> Result<Vec<Node>, Wrong> {
    let mut reading = Reading::default();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| Spot::of(error.marker()).wrong("is no YAML"))?;
        reading.take(event, Spot::of(&span.start))?;
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
    at: Spot,
    anchor: usize,
    items: Vec<Node>,
    is_map: bool,
}

impl Reading {
    fn take(&mut self, event: Event<'_>, at: Spot) -> Result<(), Wrong> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let is_text = tag.is_some_and(|tag| is_text(&tag));
                let is = Yaml::Scalar(text.into_owned(), style == ScalarStyle::Plain && !is_text);
                self.whole(Node { at, is }, anchor)?;
            }
            Event::SequenceStart(anchor, _) => self.begin(at, anchor, false)?,
            Event::MappingStart(anchor, _) => self.begin(at, anchor, true)?,
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some(Open { at, anchor, items, is_map }) = self.open.pop() {
                    let is = if is_map { Yaml::Map(pairs(items)) } else { Yaml::List(items) };
                    self.close(Node { at, is }, anchor);
                }
            }
            Event::Alias(anchor) => {
                let known = self.anchors.get(&anchor);
                let is = known
                    .ok_or_else(|| at.wrong("has an alias of what does not stand before it"))?
                    .is
                    .clone();
                self.whole(Node { at, is }, 0)?;
            }
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd => {}
        }
        Ok(())
    }

    fn begin(&mut self, at: Spot, anchor: usize, is_map: bool) -> Result<(), Wrong> {
        if self.open.len() >= DEPTH {
            return Err(at.wrong("is nested deeper than 127 levels"));
        }
        self.nodes = self.nodes.saturating_add(1);
        self.open.push(Open { at, anchor, items: Vec::new(), is_map });
        Ok(())
    }

    /// A node that comes at once.
    fn whole(&mut self, node: Node, anchor: usize) -> Result<(), Wrong> {
        let (nodes, bytes) = node.size();
        self.nodes = self.nodes.saturating_add(nodes);
        self.bytes = self.bytes.saturating_add(bytes);
        if self.nodes > NODES || self.bytes > BYTES {
            return Err(node.at.wrong("makes it more than 100,000 values, or 8 MiB"));
        }
        self.close(node, anchor);
        Ok(())
    }

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

/// `!!str`
fn is_text(tag: &Tag) -> bool {
    tag.is_yaml_core_schema() && tag.suffix == "str"
}

/// Keys and values in turn → pairs.
fn pairs(items: Vec<Node>) -> Vec<(Node, Node)> {
    let mut items = items.into_iter();
    std::iter::from_fn(|| Some((items.next()?, items.next()?))).collect()
}

#[cfg(test)]
mod tests;
