//! A text of TOML that grows: tables, pairs, comments, and the quoting of each.
//!
//! *Invariant:* nothing that is put in can end a text, a comment or a line before its time, or make it look like another one.

use std::collections::BTreeSet;

use super::super::foreign::{Remarks, VARIABLE};
use super::super::{Note, Notes, Weight};
use crate::plain::is_seen;

/// A page of TOML.
pub(super) struct Page<'n> {
    text: String,
    notes: &'n Notes,
    /// The notes that stand on it.
    written: BTreeSet<usize>,
}

impl<'n> Page<'n> {
    pub(super) fn new(notes: &'n Notes) -> Self {
        Self { text: String::new(), notes, written: BTreeSet::new() }
    }

    /// The text below a head, in which every note stands that has no better place.
    pub(super) fn into_text(self, head: &[String]) -> String {
        let mut top = Page::new(self.notes);
        for line in head {
            top.comment(line);
        }
        for (at, note) in self.notes.all().iter().enumerate() {
            if !self.written.contains(&at) {
                top.comment(&remark(note));
            }
        }
        top.text + &self.text
    }

    /// An empty line.
    pub(super) fn blank(&mut self) {
        self.text.push('\n');
    }

    /// A comment, wrapped.
    pub(super) fn comment(&mut self, comment: &str) {
        for line in wrapped(&harmless(comment)) {
            self.text.extend(["# ", &line, "\n"]);
        }
    }

    /// An empty line and the head of a table.
    pub(super) fn table(&mut self, head: &str) {
        self.blank();
        self.text.push_str(head);
        self.blank();
    }

    /// `key = value`
    pub(super) fn pair(&mut self, key: &str, value: &str) {
        self.text.extend([key, " = ", value, "\n"]);
    }

    /// `key = "text"`, if there is one.
    pub(super) fn text(&mut self, key: &str, text: Option<&String>) {
        if let Some(text) = text {
            self.pair(key, &quoted(text));
        }
    }

    /// The notes of a part as comments.
    pub(super) fn remarks(&mut self, ranges: &[Remarks]) {
        for at in ranges.iter().cloned().flatten() {
            if let Some(note) = self.notes.all().get(at)
                && self.written.insert(at)
            {
                self.comment(&remark(note));
            }
        }
    }
}

/// What a note says, with what is left out marked.
fn remark(note: &Note) -> String {
    let mark = match note.weight {
        Weight::Told => "",
        Weight::Left => "LEFT OUT: ",
    };
    let place = if note.place.file.is_empty() {
        String::new()
    } else {
        format!("{}:{}: ", note.place.file, note.place.line)
    };
    format!("{mark}{place}{}: {}", note.construct, note.advice)
}

/// One line, without characters that a reader does not see.
fn harmless(text: &str) -> String {
    let flat: Vec<&str> = text.split_whitespace().collect();
    flat.join(" ").chars().map(|c| if is_seen(c) { c } else { '\u{fffd}' }).collect()
}

fn wrapped(text: &str) -> Vec<String> {
    const WIDTH: usize = 118;
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + word.chars().count() < WIDTH => {
                line.push(' ');
                line.push_str(word);
            }
            Some(_) => lines.push(format!("  {word}")),
            None => lines.push(word.to_owned()),
        }
    }
    lines
}

/// Text in double quotes. `${` is two characters for the agents, so it is `$${` here, except where Squire is to expand a variable.
pub(super) fn quoted(text: &str) -> String {
    let parts: Vec<String> = text.split(VARIABLE).map(|part| part.replace("${", "$${")).collect();
    as_it_is(&parts.join("${NOMAD_"))
}

/// A template, in which `${` means nothing: in the form that is read most easily.
pub(super) fn template_text(template: &str) -> String {
    let is_plain = template.chars().all(|c| is_seen(c) || c == '\n' || c == '\t');
    if is_plain && template.contains('\n') && !template.contains("'''") && !template.ends_with('\'') {
        return format!("'''\n{template}'''");
    }
    if is_plain && !template.contains(['\n', '\'']) && template.contains(['"', '\\']) {
        return format!("'{template}'");
    }
    as_it_is(template)
}

/// Text in double quotes in which Squire expands variables.
pub(super) fn as_it_is(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            c if !is_seen(c) => quoted.extend(["\\U", &format!("{:08X}", u32::from(c))]),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// A key as TOML has it.
pub(super) fn bare_or_quoted(key: &str) -> String {
    let is_bare = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    if is_bare { key.to_owned() } else { as_it_is(key) }
}

/// Text that a template renders to itself.
pub(in super::super) fn literal(text: &str) -> String {
    text.replace("{{", "\\{{")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_a_variable_of_nomad_is_one_of_squires() {
        assert_eq!(quoted("\u{1}${NOMAD_X}/${Y}"), "\"${NOMAD_X}/$${Y}\"");
        assert_eq!(quoted("\u{1}${HOME}"), "\"\\U00000001$${HOME}\"");
    }

    proptest! {
        #[test]
        fn every_text_comes_back_through_toml(text in "([a-z'\"\\\\ \n\t\r\u{0}]|'''|\\$\\{|é|\u{feff}|\u{202e}|\u{2028}|\u{e0001}){0,20}", key in "\\PC{0,8}") {
            let notes = Notes::default();
            let mut page = Page::new(&notes);
            page.comment(&text);
            page.pair(&bare_or_quoted(&key), &quoted(&text));
            page.pair("template_of_a_long_name", &template_text(&text));
            let made = page.into_text(&[]);
            prop_assert!(made.chars().all(|c| is_seen(c) || c == '\n' || c == '\t'), "{:?}", made);
            let table: toml::Table = toml::from_str(&made).unwrap();
            let doubled = text.replace("${", "$${");
            prop_assert_eq!(table[&key].as_str(), Some(doubled.as_str()));
            prop_assert_eq!(table["template_of_a_long_name"].as_str(), Some(text.as_str()));
        }
    }
}
