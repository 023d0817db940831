//! Reads what other agents run on, and writes what Squire needs for the same result.
//!
//! ```text
//! text ─read─▶ Foreign (files, variables, sources, reactions) ─┬─ document ─▶ squire.toml
//!                        └─ go ─▶ tree ─ translate ─▶ Handlebars ─┴─▶ *.hbs
//! ```
//!
//! [`trial`] is for the comparison of both: the agent's own configuration, so that it runs once and changes nothing.
//!
//! *Invariant:* pure. Nothing is dropped silently: what has no equivalent is a [`Note`], with its place and what to do. No note holds a
//! value that could be a secret.

mod agent;
mod bank_vaults;
mod block;
mod command;
mod consul_template;
mod document;
mod entry;
mod envconsul;
mod finish;
mod foreign;
pub mod go;
mod hcl;
mod kind;
mod manifest;
mod nomad;
mod translate;
mod trial;
mod value;
mod wants;
mod yaml;

pub use entry::{Fault, Files, Imported, Input, TemplateFile, import};
pub use kind::{Kind, Wrapping, kind};
pub use translate::{Delimiters, Text, template};
pub use trial::{Agent, Subject, Trial, trial};
pub use wants::{Request, Wants, Written};

use std::collections::BTreeSet;

/// A text as a string of Squire's configuration, where `${NAME}` would be a variable.
fn escaped(text: &str) -> String {
    text.replace("${", "$${")
}

/// Where something stands in what was imported.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The file as the user named it, and the part of it: `agent.hcl`, `pod.yaml: agent-inject-template-db`.
    pub file: String,
    /// Counted from 1.
    pub line: usize,
    /// In characters, counted from 1.
    pub column: usize,
}

/// Something that is not taken over to the letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Where it stands.
    pub place: Place,
    /// What was written, in one line: `service "db"`.
    pub construct: String,
    /// What Squire does in place of it, or what the user has to do.
    pub advice: String,
    /// Whether the result does less than the original.
    pub weight: Weight,
}

/// What a note means for the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// Taken over, and better known: a different default, a file mode that was written in the wrong base.
    Told,
    /// Not taken over: the result lacks it, and is marked there. `--strict` fails.
    Left,
}

/// The notes of an import, in the order in which they were made.
#[derive(Debug, Default)]
pub struct Notes(Vec<Note>, BTreeSet<&'static str>);

impl Notes {
    /// Says how something was taken over.
    pub fn told(&mut self, place: Place, construct: impl Into<String>, advice: impl Into<String>) {
        self.0.push(Note { place, construct: construct.into(), advice: advice.into(), weight: Weight::Told });
    }

    /// Says that something was not taken over.
    pub fn left(&mut self, place: Place, construct: impl Into<String>, advice: impl Into<String>) {
        self.0.push(Note { place, construct: construct.into(), advice: advice.into(), weight: Weight::Left });
    }

    /// As [`Self::told`], once for an import.
    pub fn told_once(&mut self, place: Place, construct: &'static str, advice: impl Into<String>) {
        if self.1.insert(construct) {
            self.told(place, construct, advice);
        }
    }

    /// How many there are: from here on are those that follow.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// All of them.
    pub fn all(&self) -> &[Note] {
        &self.0
    }

    /// Whether something was left.
    pub fn any_left(&self) -> bool {
        self.0.iter().any(|note| note.weight == Weight::Left)
    }
}
