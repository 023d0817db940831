//! The import as a whole: texts in, one configuration of Squire out.
//!
//! *Invariant:* pure; what a text names is asked of the caller. Either there is a result, with a note for everything that differs, or a
//! [`Fault`] that says where reading ended.

use std::fmt;

use super::block::Reading;
use super::foreign::{File, Foreign};
use super::hcl::{Body, Dialect, Flaw, parse};
use super::kind::{self, Kind};
use super::manifest::{self, Manifest};
use super::{
    Delimiters, Notes, Place, Text, Wants, agent, bank_vaults, consul_template, document, envconsul, finish,
    nomad,
};

/// A text to import.
#[derive(Clone, Debug)]
pub struct Input {
    /// As the user named it; `-` for standard input.
    pub name: String,
    /// What is in it.
    pub text: String,
}

/// A template that is too long to stand in the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateFile {
    /// Beside the configuration: `nginx.conf.hbs`.
    pub name: String,
    /// In Squire's language.
    pub text: String,
}

/// Where long templates go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Files {
    /// Into the configuration, as the short ones.
    Inside,
    /// Into files beside it.
    Beside,
}

/// What an import gives.
#[derive(Debug)]
pub struct Imported {
    /// The text of `squire.toml`.
    pub toml: String,
    /// The templates that it names.
    pub templates: Vec<TemplateFile>,
    /// Whether the original runs once and ends: `squire render` does that.
    pub is_once: bool,
    /// For a manifest: all documents, with Squire in the pod and a `ConfigMap` that holds the configuration.
    pub manifest: Option<String>,
    /// Everything that differs.
    pub notes: Notes,
}

/// Why nothing could be imported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where reading ended.
    pub place: Place,
    /// What is wrong, and what to do.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place { file, line, column } = &self.place;
        write!(f, "{file}:{line}:{column}: {}", self.message)
    }
}

impl std::error::Error for Fault {}

/// Reads the texts, each as `kind` or as what it shows itself to be, and writes one configuration. `open` gives the text of a file that is
/// named in them, as it is written there; `files` says where long templates go.
///
/// # Errors
///
/// If a text is none of the known kinds, is still wrapped in another language, or cannot be read.
pub fn import(
    inputs: &[Input],
    kind: Option<Kind>,
    files: Files,
    open: &dyn Fn(&str) -> Option<String>,
) -> Result<Imported, Fault> {
    let (mut notes, mut wants, mut foreign) = (Notes::default(), Wants::default(), Foreign::default());
    let mut manifest = None;
    let kinds: Vec<Option<Kind>> =
        inputs.iter().map(|input| kind.or_else(|| kind::kind(&input.name, &input.text))).collect();
    // A folder of an agent's configuration: a part with nothing but templates looks like consul-template's.
    let is_agent = kinds.contains(&Some(Kind::Agent));
    for (input, found) in inputs.iter().zip(kinds) {
        let found = if is_agent && found == Some(Kind::ConsulTemplate) { Some(Kind::Agent) } else { found };
        let mut reading =
            Reading { file: &input.name, open, notes: &mut notes, wants: &mut wants, foreign: &mut foreign };
        manifest = one(input, found, kind.is_some(), &mut reading)?.or(manifest);
    }
    let name = inputs.first().map(|input| input.name.clone()).unwrap_or_default();
    let start = Place { file: name, line: 1, column: 1 };
    finish::written(&wants, &start, &mut foreign);
    finish::finish(&mut foreign, &start, &mut notes);
    let names: Vec<&str> = inputs.iter().map(|input| input.name.as_str()).collect();
    let (toml, templates) = document::document(&foreign, &wants, &notes, &names, files);
    let manifest = manifest.and_then(|manifest| manifest.written(&toml, &templates));
    Ok(Imported { toml, templates, is_once: foreign.is_once, manifest, notes })
}

fn one(
    input: &Input,
    kind: Option<Kind>,
    is_said: bool,
    reading: &mut Reading<'_>,
) -> Result<Option<Manifest>, Fault> {
    let fault = |line, column, message: &str| Fault {
        place: Place { file: input.name.clone(), line, column },
        message: message.to_owned(),
    };
    if !is_said && let Some((line, wrapping)) = kind::wrapping(&input.name, &input.text) {
        return Err(fault(line, 1, wrapping.way_out()));
    }
    let Some(kind) = kind else {
        return Err(fault(1, 1, UNKNOWN));
    };
    let read = |dialect| {
        parse(&input.text, dialect).map_err(|Flaw { at, message }| fault(at.line, at.column, &message))
    };
    match kind {
        Kind::Agent => agent::read(&read(Dialect::of(&input.text))?, reading),
        Kind::ConsulTemplate => consul_template::read(&read(Dialect::of(&input.text))?, reading),
        Kind::Envconsul => envconsul::read(&read(Dialect::of(&input.text))?, reading),
        Kind::EnvconsulLine => envconsul::read_line(&input.text, reading, &mut named_configuration),
        Kind::ConsulTemplateLine => {
            consul_template::read_line(&input.text, reading, &mut |name, reading| named(name, reading));
        }
        Kind::BankVaults => bank_vaults::read(&input.text, reading),
        Kind::Template => template(input, reading),
        Kind::Manifest => {
            let read = manifest::read(&input.text, reading);
            return read.map(Some).map_err(|Flaw { at, message }| fault(at.line, at.column, &message));
        }
        Kind::Nomad => {
            let dialect = nomad::dialect(&input.text);
            nomad::read(&read(dialect)?, dialect, reading);
        }
    }
    Ok(None)
}

/// The file that `envconsul -config` names.
fn named_configuration(name: &str, reading: &mut Reading<'_>) {
    if let Some(body) = named(name, reading) {
        envconsul::read(&body, reading);
    }
}

/// The file that `-config` names on a command line; a note if it cannot be read.
fn named(name: &str, reading: &mut Reading<'_>) -> Option<Body> {
    let text = (reading.open)(name);
    let body: Option<Body> = text.and_then(|text| parse(&text, Dialect::of(&text)).ok());
    if body.is_none() {
        let place = Place { file: reading.file.to_owned(), line: 1, column: 1 };
        let advice = "this file cannot be read; import it beside the line";
        reading.notes.left(place, format!("-config {name:?}"), advice);
    }
    body
}

/// A template alone: a file of the same name, without the ending.
fn template(input: &Input, reading: &mut Reading<'_>) {
    let start = reading.notes.count();
    let name = input.name.rsplit('/').next().unwrap_or_default();
    let name = match name.rsplit_once('.') {
        Some((stem, _)) if !stem.is_empty() => stem,
        _ if name.is_empty() || name == "-" => "rendered",
        _ => name,
    };
    let text = Text {
        origin: &input.name,
        text: &input.text,
        first_line: 1,
        delimiters: Delimiters::default(),
        error_on_missing_key: false,
    };
    let template = super::block::translated(&text, reading);
    let remarks = start..reading.notes.count();
    let place = Place { file: input.name.clone(), line: 1, column: 1 };
    let file = File {
        place,
        path: name.trim_start_matches('.').to_owned(),
        template: Some(template),
        remarks,
        ..File::default()
    };
    reading.foreign.files.push(file);
}

const UNKNOWN: &str = "this is no configuration that can be imported: of Vault Agent, OpenBao Agent, consul-template or envconsul, no template \
                       of theirs, no manifest of Kubernetes and no job of Nomad; say which it is, or name the file as they do (agent.hcl, x.ctmpl)";

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;
