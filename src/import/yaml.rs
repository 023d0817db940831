//! Trees of manifests: taken apart, changed, and written as YAML.
//!
//! *Invariant:* pure. What is written is read back as the same tree; comments are not kept.

use super::hcl::{Flaw, Spot};
use crate::plain::is_seen;
use crate::yaml::{self, Wrong};

pub(super) use crate::yaml::{Node, Yaml};

impl Node {
    /// Text in quotes.
    pub(super) fn text(text: &str) -> Self {
        Self { at: Spot::default(), is: Yaml::Scalar(text.to_owned(), false) }
    }

    /// What was written without quotes: a number, a boolean, or a name.
    pub(super) fn plain(text: &str) -> Self {
        Self { at: Spot::default(), is: Yaml::Scalar(text.to_owned(), true) }
    }

    /// A mapping.
    pub(super) fn map<'k>(pairs: impl IntoIterator<Item = (&'k str, Self)>) -> Self {
        let pairs = pairs.into_iter().map(|(key, value)| (Self::key(key), value));
        Self { at: Spot::default(), is: Yaml::Map(pairs.collect()) }
    }

    /// A list.
    pub(super) fn list(items: impl IntoIterator<Item = Self>) -> Self {
        Self { at: Spot::default(), is: Yaml::List(items.into_iter().collect()) }
    }

    fn key(key: &str) -> Self {
        let is_plain = key.starts_with(|c: char| c.is_ascii_alphabetic())
            && key.chars().all(|c| c.is_ascii_alphanumeric() || "._-/".contains(c))
            && !matches!(key, "true" | "false" | "null" | "yes" | "no" | "on" | "off" | "y" | "n");
        Self { at: Spot::default(), is: Yaml::Scalar(key.to_owned(), is_plain) }
    }

    /// The text of a scalar.
    pub(super) fn as_text(&self) -> Option<&str> {
        match &self.is {
            Yaml::Scalar(text, _) => Some(text),
            Yaml::List(_) | Yaml::Map(_) => None,
        }
    }

    /// The pairs of a mapping whose keys are text.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (&str, &Self)> {
        let pairs: &[(Self, Self)] = match &self.is {
            Yaml::Map(pairs) => pairs,
            Yaml::Scalar(..) | Yaml::List(_) => &[],
        };
        pairs.iter().filter_map(|(key, value)| Some((key.as_text()?, value)))
    }

    /// The items of a list.
    pub(super) fn items(&self) -> &[Self] {
        match &self.is {
            Yaml::List(items) => items,
            Yaml::Scalar(..) | Yaml::Map(_) => &[],
        }
    }

    /// The value below these keys.
    pub(super) fn get(&self, path: &[&str]) -> Option<&Self> {
        path.iter()
            .try_fold(self, |node, key| node.pairs().find(|(name, _)| name == key).map(|(_, value)| value))
    }

    /// The same, to change it.
    pub(super) fn get_mut(&mut self, path: &[&str]) -> Option<&mut Self> {
        path.iter().try_fold(self, |node, key| match &mut node.is {
            Yaml::Map(pairs) => {
                pairs.iter_mut().find(|(name, _)| name.as_text() == Some(key)).map(|(_, value)| value)
            }
            Yaml::Scalar(..) | Yaml::List(_) => None,
        })
    }

    /// The value of a key, which is made where it is not there. `None` if this is no mapping.
    pub(super) fn entry(&mut self, key: &str, made: Self) -> Option<&mut Self> {
        let Yaml::Map(pairs) = &mut self.is else { return None };
        let known = pairs.iter().position(|(name, _)| name.as_text() == Some(key));
        let at = known.unwrap_or(pairs.len());
        if known.is_none() {
            pairs.push((Self::key(key), made));
        }
        pairs.get_mut(at).map(|(_, value)| value)
    }

    /// Adds to a list.
    pub(super) fn push(&mut self, item: Self) {
        if let Yaml::List(items) = &mut self.is {
            items.push(item);
        }
    }
}

/// Reads every document of a text; empty ones are none.
pub(super) fn parse(text: &str) -> Result<Vec<Node>, Flaw> {
    let documents = yaml::documents(text);
    let documents = documents.map_err(|Wrong { at, why }| Flaw { at, message: why.to_owned() })?;
    let is_empty = |node: &Node| matches!(&node.is, Yaml::Scalar(text, true) if text.is_empty());
    Ok(documents.into_iter().filter(|node| !is_empty(node)).collect())
}

/// Documents as one text.
pub(super) fn write(documents: &[Node]) -> String {
    let mut text = String::new();
    for document in documents {
        text.push_str("---\n");
        block(document, 0, &mut text);
    }
    text
}

/// A value on lines of its own.
fn block(node: &Node, indent: usize, text: &mut String) {
    let margin = " ".repeat(indent);
    match &node.is {
        Yaml::Map(pairs) if !pairs.is_empty() => {
            for (key, value) in pairs {
                let key = match &key.is {
                    Yaml::Scalar(key, is_plain) => scalar(key, *is_plain),
                    Yaml::List(_) | Yaml::Map(_) => flow(key),
                };
                text.extend([&margin, key.as_str(), ":"]);
                below(value, indent + 2, text);
            }
        }
        Yaml::List(items) if !items.is_empty() => {
            for item in items {
                let mut inner = String::new();
                let is_nested = matches!(&item.is, Yaml::Map(pairs) if !pairs.is_empty());
                if is_nested {
                    block(item, indent + 2, &mut inner);
                    let first = inner.get(indent + 2..).unwrap_or_default();
                    text.extend([&margin, "- ", first]);
                } else {
                    text.extend([&margin, "-"]);
                    below(item, indent + 2, text);
                }
            }
        }
        Yaml::Scalar(..) | Yaml::List(_) | Yaml::Map(_) => {
            text.push_str(&margin);
            text.push_str(&flow(node));
            text.push('\n');
        }
    }
}

/// A value behind its key or dash.
fn below(value: &Node, indent: usize, text: &mut String) {
    match &value.is {
        Yaml::Map(pairs) if !pairs.is_empty() => {
            text.push('\n');
            block(value, indent, text);
        }
        Yaml::List(items) if !items.is_empty() => {
            text.push('\n');
            block(value, indent, text);
        }
        Yaml::Scalar(scalar, false) if is_literal(scalar) => {
            let (body, mark) = match scalar.strip_suffix('\n') {
                Some(body) => (body, "|"),
                None => (scalar.as_str(), "|-"),
            };
            text.extend([" ", mark, "\n"]);
            let margin = " ".repeat(indent);
            for line in body.split('\n') {
                if line.is_empty() {
                    text.push('\n');
                } else {
                    text.extend([&margin, line, "\n"]);
                }
            }
        }
        Yaml::Scalar(..) | Yaml::List(_) | Yaml::Map(_) => {
            text.push(' ');
            text.push_str(&flow(value));
            text.push('\n');
        }
    }
}

/// Whether a text can stand behind `|` and be read back as it is.
fn is_literal(text: &str) -> bool {
    let body = text.strip_suffix('\n').unwrap_or(text);
    body.contains('\n')
        && !body.ends_with('\n')
        && !body.starts_with(['\n', ' ', '\t'])
        && body.chars().all(|c| c == '\n' || c == '\t' || is_seen(c))
        && !body.lines().any(|line| !line.is_empty() && line.trim().is_empty())
}

/// A value on one line.
fn flow(node: &Node) -> String {
    match &node.is {
        Yaml::Scalar(text, is_plain) => scalar(text, *is_plain),
        Yaml::List(items) => format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", ")),
        Yaml::Map(pairs) => {
            let pairs: Vec<String> =
                pairs.iter().map(|(key, value)| format!("{}: {}", flow(key), flow(value))).collect();
            format!("{{{}}}", pairs.join(", "))
        }
    }
}

/// What was plain stays plain where it can; JSON's text is YAML's too.
fn scalar(text: &str, is_plain: bool) -> String {
    let is_simple = |c: char| c.is_ascii_alphanumeric() || "._-/+=@".contains(c);
    let is_word =
        text.chars().all(is_simple) && !text.starts_with(['-', '@', '=']) && text != "." && !text.is_empty();
    match (is_plain, text) {
        (true, "" | "~") => "null".to_owned(),
        (true, _) if is_word || text.parse::<f64>().is_ok() => text.to_owned(),
        _ => {
            let quoted = serde_json::Value::from(text).to_string();
            quoted.replace('\u{7f}', "\\x7f").replace('\u{85}', "\\x85").replace('\u{feff}', "\\ufeff")
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn places_are_those_of_the_text() {
        let documents = parse("a: |\n  x\n   y\nb: [1, \"two\"]\n---\nc: &d {e: f}\ng: *d\n").unwrap();
        let [first, second] = documents.as_slice() else { panic!() };
        let a = first.get(&["a"]).unwrap();
        assert_eq!((a.as_text(), a.at.line), (Some("x\n y\n"), 2));
        assert_eq!(second.get(&["g", "e"]).and_then(Node::as_text), Some("f"));
    }

    #[test]
    fn a_text_that_grows_without_end_is_refused() {
        let mut text = "a0: &a0 [x, x]\n".to_owned();
        for at in 1..30 {
            text.extend([format!("a{at}: &a{at} [*a{0}, *a{0}]\n", at - 1)]);
        }
        assert!(parse(&text).is_err());
        assert!(parse(&"[".repeat(10_000)).is_err());
        let aliases = |anchor: &str| format!("a: &a {anchor}\nb: [{}]\n", "*a, ".repeat(1000));
        assert!(parse(&aliases(&"x".repeat(100_000))).is_err(), "long scalars");
        assert!(parse(&aliases("{k: [1, 2]}")).is_ok());
    }

    fn node() -> impl Strategy<Value = Node> {
        let leaf = prop_oneof![
            "([a-z \n\t:#'\"{}|>-]|é|\u{85}){0,12}".prop_map(|text| Node::text(&text)),
            "[a-z][a-z0-9]{0,6}".prop_map(|text| Node::plain(&text)),
            any::<i32>().prop_map(|number| Node::plain(&number.to_string())),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Node::list),
                prop::collection::btree_map("[a-z/.: ]{1,8}", inner, 0..4)
                    .prop_map(|map| Node::map(map.iter().map(|(key, value)| (key.as_str(), value.clone())))),
            ]
        })
    }

    /// A tree with neither places nor the way in which scalars were written.
    fn bare(node: &Node) -> serde_json::Value {
        match &node.is {
            Yaml::Scalar(text, _) => text.as_str().into(),
            Yaml::List(items) => items.iter().map(bare).collect::<Vec<_>>().into(),
            Yaml::Map(pairs) => {
                let pairs = pairs
                    .iter()
                    .map(|(key, value)| (key.as_text().unwrap_or_default().to_owned(), bare(value)));
                serde_json::Value::Object(pairs.collect())
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(node in node()) {
            let text = write(std::slice::from_ref(&node));
            let read = parse(&text);
            prop_assert!(read.is_ok(), "{}\n{:?}", text, read);
            prop_assert_eq!(read.unwrap().first().map(bare), Some(bare(&node)), "{}", text);
        }

        #[test]
        fn no_text_panics(text in "([a-z]|[ \n:#'\"{}\\[\\]|>&*!%-]|\\t|é){0,60}") {
            if let Err(flaw) = parse(&text) {
                prop_assert!(flaw.at.column > 0);
            }
        }
    }
}
