//! Reads YAML 1.2, with the place of each node: as a tree, and by the core schema as a value.
//!
//! *Invariant:* what is read is bounded, also where aliases multiply it, and no error contains what was read. Numbers stay as they were
//! written.

mod schema;

use std::collections::BTreeMap;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Tag};

/// The most nodes that a text may have, those counted again that an alias repeats.
pub(crate) const NODES: usize = 100_000;
/// How deep lists and maps may be nested: as deep as in JSON.
const DEPTH: usize = 127;
/// The most bytes of all scalars together: 8 MiB.
const BYTES: usize = 8 << 20;

/// The most characters that may separate values, wherever they stand: the parser looks far ahead for the end of a line like `[,,,,`, and
/// keeps some hundred bytes for each.
const SEPARATORS: usize = 400_000;

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

/// What counts against [`NODES`], [`BYTES`] and [`DEPTH`].
#[derive(Clone, Copy, Default)]
struct Size {
    nodes: usize,
    bytes: usize,
    levels: usize,
}

impl Size {
    fn and(self, other: Self) -> Self {
        Self {
            nodes: self.nodes.saturating_add(other.nodes),
            bytes: self.bytes.saturating_add(other.bytes),
            levels: self.levels.max(other.levels),
        }
    }

    /// Adds what came at this place.
    fn add(&mut self, more: Self, at: Spot) -> Result<(), Wrong> {
        *self = self.and(more);
        if self.nodes > NODES || self.bytes > BYTES {
            return Err(at.wrong("makes it more than 100,000 values, or 8 MiB"));
        }
        Ok(())
    }
}

impl Node {
    fn size(&self) -> Size {
        let children = match &self.is {
            Yaml::Scalar(text, _) => return Size { nodes: 1, bytes: text.len(), levels: 0 },
            Yaml::List(items) => items.iter().map(Self::size).fold(Size::default(), Size::and),
            Yaml::Map(pairs) => {
                let sizes = pairs.iter().flat_map(|(key, value)| [key.size(), value.size()]);
                sizes.fold(Size::default(), Size::and)
            }
        };
        Size { nodes: 1 + children.nodes, levels: 1 + children.levels, ..children }
    }
}

/// The documents of a text.
///
/// # Errors
/// The first place that is no YAML, or more than is read: an alias of nothing, more than 100,000 nodes, 127 levels or 8 MiB.
pub(crate) fn documents(text: &str) -> Result<Vec<Node>, Wrong> {
    if text.bytes().filter(|byte| b",:[{?".contains(byte)).nth(SEPARATORS).is_some() {
        return Err(
            Spot { line: 1, column: 1 }.wrong("begins a text with more than 400,000 separators of values")
        );
    }
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
    /// All that was written, and what aliases repeat.
    total: Size,
    /// The copies that anchors keep.
    kept: Size,
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
                let node = Node { at, is };
                self.total.add(node.size(), at)?;
                self.close(node, anchor)?;
            }
            Event::SequenceStart(anchor, _) => self.begin(at, anchor, false)?,
            Event::MappingStart(anchor, _) => self.begin(at, anchor, true)?,
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some(Open { at, anchor, items, is_map }) = self.open.pop() {
                    let is = if is_map { Yaml::Map(pairs(items)) } else { Yaml::List(items) };
                    self.close(Node { at, is }, anchor)?;
                }
            }
            Event::Alias(anchor) => {
                let known = self.anchors.get(&anchor);
                let known = known.ok_or_else(|| at.wrong("has an alias of what does not stand before it"))?;
                let (size, is) = (known.size(), &known.is);
                self.total.add(size, at)?;
                if self.open.len() + size.levels > DEPTH {
                    return Err(at.wrong(TOO_DEEP));
                }
                let node = Node { at, is: is.clone() };
                self.close(node, 0)?;
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
            return Err(at.wrong(TOO_DEEP));
        }
        self.total.add(Size { nodes: 1, ..Size::default() }, at)?;
        self.open.push(Open { at, anchor, items: Vec::new(), is_map });
        Ok(())
    }

    /// A node is whole. Anchors within each other keep what is innermost once each, so their copies are bounded too.
    fn close(&mut self, node: Node, anchor: usize) -> Result<(), Wrong> {
        if anchor != 0 {
            self.kept.add(node.size(), node.at)?;
            self.anchors.insert(anchor, node.clone());
        }
        match self.open.last_mut() {
            Some(open) => open.items.push(node),
            None => self.documents.push(node),
        }
        Ok(())
    }
}

const TOO_DEEP: &str = "is nested deeper than 127 levels";

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
