//! A Go template → a Handlebars template that renders the same bytes.
//!
//! The tree is evaluated without any secret: a [`value::Value`] says what an expression would be. What is known already is folded, `secret`
//! becomes a name, and the rest becomes tags.
//!
//! *Invariant:* always gives a text that Squire can compile. What could not be translated is a note, and a comment in that text.

mod calls;
mod condition;
mod fields;
mod functions;
mod hb;
mod loops;
mod printf;
mod range;
mod request;
#[cfg(test)]
mod tests;
mod value;
mod walk;
mod write;

pub use super::go::Delimiters;
use super::{Notes, Place, Wants, go};

/// A text in Go's template language, and where it comes from.
#[derive(Clone, Debug)]
pub struct Text<'a> {
    /// The file, and the part of it: `agent.hcl`, `pod.yaml: agent-inject-template-db`.
    pub origin: &'a str,
    /// The template.
    pub text: &'a str,
    /// The line of the file that the template begins in, counted from 1.
    pub first_line: usize,
    /// What begins and ends an action.
    pub delimiters: Delimiters,
    /// Whether a missing key ends the rendering, as it always does in Squire.
    pub error_on_missing_key: bool,
}

impl Text<'_> {
    /// Where its lines begin, in bytes.
    fn lines(&self) -> Vec<usize> {
        let ends = self.text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        std::iter::once(0).chain(ends.map(|(at, _)| at + 1)).collect()
    }

    /// The place of a byte of the template in its file.
    fn place(&self, byte: usize) -> Place {
        let before = self.text.get(..byte).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Place {
            file: self.origin.to_owned(),
            line: self.first_line.max(1) + before.matches('\n').count(),
            column: 1 + before.get(line_start..).unwrap_or_default().chars().count(),
        }
    }
}

/// Translates a template. Its secrets get names among the `wants`.
pub fn template(text: &Text<'_>, wants: &mut Wants, notes: &mut Notes) -> String {
    match go::parse(text.text, &text.delimiters) {
        Ok(tree) => write::text(&walk::tokens(text, &tree, wants, notes)),
        Err(error) => {
            let place = text.place(error.at);
            let shown = format!("line {}: {}:\n{}", place.line, error.message, text.text);
            let advice = format!(
                "{}; the agent refuses this template too. It stands in the output as a comment",
                error.message
            );
            notes.left(place, write::one_line(text.text.get(error.at..).unwrap_or_default()), advice);
            write::text(&[write::left(&shown)])
        }
    }
}
