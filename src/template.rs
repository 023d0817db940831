//! Compiles Handlebars templates, lists the secrets they refer to, and renders them.
//!
//! A text passes three gates before it is a [`Template`]: `scan` bounds its nesting and finds what is never closed, Handlebars
//! parses it, and `references` walks it. `prepare` then makes one of our helpers decide everything that is printed.
//!
//! *Invariant:* pure; and a template can touch only the secrets that [`Template::references`] lists. No error tells a value.

mod arguments;
mod catalogue;
mod effort;
mod fault;
mod foreign;
mod helpers;
mod missing;
mod prepare;
mod references;
mod scan;
mod scope;
pub mod shipped;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use handlebars::{Context, Handlebars, Output, RenderContext, Renderable, Template as Tree};
use serde_json::{Map, Value};

use references::Needs;

use crate::names::SecretName;
use crate::ordered::Order as _;
use crate::secret::{Meta, Packed, Secret};

/// The most bytes that a template may have: 1 MiB.
pub const TEXT_LIMIT: usize = 1 << 20;
/// The most bytes that a template may render to, and that any step on the way may yield: 8 MiB.
pub const OUTPUT_LIMIT: usize = 8 << 20;

/// What templates ask of the machine they are rendered on; arguments, so that rendering itself touches nothing.
pub struct Surroundings {
    /// `{{env "NAME"}}`: the value of an environment variable, if it is set.
    pub env: ReadEnv,
    /// `{{file "/path"}}`: the contents of a file. It is up to this function to bound how much it reads.
    pub file: ReadFile,
}

/// How an environment variable is asked for.
pub type ReadEnv = Box<dyn Fn(&str) -> Option<String> + Send + Sync>;
/// How a file is read.
pub type ReadFile = Box<dyn Fn(&Path) -> io::Result<String> + Send + Sync>;

/// Handlebars with our rules: strict, without escaping, with our helpers. Built once.
pub struct Engine {
    registry: Handlebars<'static>,
    /// What one template may compute.
    longest: Duration,
}

impl Engine {
    /// An engine that asks these surroundings.
    pub fn new(surroundings: Surroundings) -> Self {
        let mut registry = Handlebars::new();
        registry.set_strict_mode(true);
        registry.register_escape_fn(handlebars::no_escape);
        helpers::register(&mut registry, surroundings);
        Self { registry, longest: effort::LONGEST }
    }

    /// Renders a template. The error names the place in the template and what is missing there, never a value.
    pub fn render(&self, template: &Template, data: &Data) -> Result<Secret<str>, TemplateError> {
        self.render_in(&data.narrowed_to(&template.references), template)
    }

    fn render_in(&self, context: &Context, template: &Template) -> Result<Secret<str>, TemplateError> {
        let mut output = BoundedOutput::default();
        effort::begin(self.longest);
        template
            .tree
            .render(&self.registry, context, &mut RenderContext::new(None), &mut output)
            .map_err(|error| fault::problem(&error).in_template(&template.origin))?;
        Ok(Secret::new(output.text))
    }

    /// Renders a template whose text is base64, and gives the bytes that it stands for.
    pub fn render_base64(&self, template: &Template, data: &Data) -> Result<Secret<[u8]>, TemplateError> {
        let text = self.render(template, data)?;
        let no_base64 = || {
            let message = "what is rendered here is not base64; a file of text is `inline` or `template`";
            Problem::new(Place::START, message).in_template(&template.origin)
        };
        helpers::decoded(text.expose()).map(|bytes| Secret::new(bytes.as_slice())).ok_or_else(no_base64)
    }
}

/// A template that can be rendered: every helper and partial in it is known, and its nesting is bounded.
pub struct Template {
    origin: String,
    text: blake3::Hash,
    tree: Tree,
    references: Vec<Reference>,
    included: BTreeSet<PathBuf>,
    /// The lines without any tag.
    fixed_lines: BTreeSet<String>,
}

impl Template {
    /// Compiles a text. `origin` is what the user calls it: a file name, or a key of the configuration.
    pub fn compile(origin: &str, text: &str) -> Result<Self, TemplateError> {
        let problem = |problem| foreign::go_template(text).unwrap_or(problem).in_template(origin);
        Self::compile_text(origin, text).map_err(problem)
    }

    fn compile_text(origin: &str, text: &str) -> Result<Self, Problem> {
        scan::check(text)?;
        let mut tree = Tree::compile(text).map_err(|error| fault::syntax_problem(&error, text))?;
        let Needs { references, included } = references::find(&tree)?;
        prepare::rewrite(&mut tree);
        let fixed_lines = text.lines().map(str::trim).filter(|line| !line.contains("{{"));
        let fixed_lines = fixed_lines.map(str::to_owned).ordered();
        let digest = blake3::hash(text.as_bytes());
        Ok(Self { origin: origin.to_owned(), text: digest, tree, references, included, fixed_lines })
    }

    /// The lines of what it rendered that do not stand so in the template: nothing where it refers to no secret.
    pub fn computed_lines<'a>(&'a self, rendered: &'a str) -> impl Iterator<Item = &'a str> {
        let lines = rendered.lines().filter(|_| !self.references.is_empty());
        lines.filter(|line| !self.fixed_lines.contains(line.trim()))
    }

    /// Whether it renders the same: its text is the same, wherever that stands.
    pub fn is_like(&self, other: &Self) -> bool {
        self.text == other.text
    }

    /// The error for something that it rendered and that is not fit for its use.
    pub fn refuse(&self, message: String) -> TemplateError {
        Problem::new(Place::START, message).in_template(&self.origin)
    }

    /// The files that the template includes, as far as it names them literally. If one changes, it renders another text of the same secrets.
    pub fn included(&self) -> &BTreeSet<PathBuf> {
        &self.included
    }

    /// Every place where the template refers to a secret, in the order of the places. One inside of a partial is listed for
    /// each secret that it can mean.
    pub fn references(&self) -> &[Reference] {
        &self.references
    }
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Template").field("origin", &self.origin).finish_non_exhaustive()
    }
}

/// A place in a template that refers to a secret.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reference {
    /// Where the tag stands, counted from 1.
    pub line: usize,
    /// In characters, counted from 1.
    pub column: usize,
    /// The name of the secret.
    pub secret: String,
    /// The field of it, where the template names one: `{{#each db}}` does not.
    pub field: Option<String>,
    /// It is not about its fields but about what is known of it beside them.
    pub meta: bool,
}

/// The secrets of one generation, shared by all templates.
pub struct Data {
    secrets: BTreeMap<String, Packed>,
    /// What is known of each beside its fields.
    metas: BTreeMap<String, Meta>,
}

/// The place of what is known of secrets in what Handlebars sees. No secret has such a name, so no path leads there.
const META: &str = "@meta";
/// The place of the time when the newest of them came.
const NEWEST: &str = "@newest";

impl Data {
    /// The fields of every secret, under its name.
    pub fn new<'a>(secrets: impl Iterator<Item = (&'a SecretName, &'a Packed)>) -> Self {
        let secrets = secrets.map(|(name, fields)| (name.as_str().to_owned(), fields.clone()));
        Self { secrets: secrets.ordered(), metas: BTreeMap::new() }
    }

    /// The same, with what is known of each beside its fields.
    #[must_use]
    pub fn with_meta<'a>(self, metas: impl Iterator<Item = (&'a SecretName, &'a Meta)>) -> Self {
        let metas = metas.map(|(name, meta)| (name.as_str().to_owned(), meta.clone())).ordered();
        Self { metas, ..self }
    }

    /// A template sees only what it refers to: a tree takes many times as much memory as what is packed, and Handlebars copies all of it for
    /// each call of a partial. All else is null, since an error lists the names that there are.
    fn narrowed_to(&self, references: &[Reference]) -> Context {
        let mut wanted: BTreeMap<&str, Option<BTreeSet<&str>>> = BTreeMap::new();
        for Reference { secret, field, .. } in references.iter().filter(|reference| !reference.meta) {
            let fields = wanted.entry(secret).or_insert_with(|| Some(BTreeSet::new()));
            match field {
                Some(field) => fields.iter_mut().for_each(|fields| fields.extend([field.as_str()])),
                None => *fields = None,
            }
        }
        let seen = |(name, packed): (&String, &Packed)| {
            let seen = match wanted.get(name.as_str()) {
                None => Value::Null,
                Some(None) => Value::Object(packed.expose()),
                Some(Some(fields)) => Value::Object(packed.expose_only(fields)),
            };
            (name.clone(), seen)
        };
        let mut all: Map<String, Value> = self.secrets.iter().map(seen).collect();
        let asked = references.iter().filter(|reference| reference.meta).map(|reference| &reference.secret);
        let asked: BTreeSet<&String> = asked.ordered();
        if !asked.is_empty() {
            let known = |name: &String| Some((name.clone(), Value::Object(self.metas.get(name)?.expose())));
            all.insert(META.to_owned(), Value::Object(asked.into_iter().filter_map(known).collect()));
        }
        // What is known of a secret comes with its value.
        let arrived = |reference: &Reference| self.metas.get(&reference.secret)?.arrived();
        if let Some(newest) = references.iter().filter_map(arrived).max() {
            all.insert(NEWEST.to_owned(), Value::from(newest));
        }
        Context::from(Value::Object(all))
    }
}

impl fmt::Debug for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Data(…)")
    }
}

/// A template that cannot be compiled or rendered, and where. Tells names of secrets and fields, never a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{origin}:{line}:{column}: {message}")]
pub struct TemplateError {
    /// What the user calls the template.
    pub origin: String,
    /// Where the tag stands, counted from 1.
    pub line: usize,
    /// In characters, counted from 1.
    pub column: usize,
    /// What is wrong, and the way out; one line.
    pub message: String,
}

/// A place in a template: line and column, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    line: usize,
    column: usize,
}

impl Place {
    const START: Self = Self { line: 1, column: 1 };

    /// The place of a byte of the text.
    fn of(text: &str, byte: usize) -> Self {
        let before = &text.as_bytes()[..byte.min(text.len())];
        let line_start = before.iter().rposition(|&byte| byte == b'\n').map_or(0, |newline| newline + 1);
        let is_character = |byte: &&u8| **byte & 0xC0 != 0x80;
        Self {
            line: before.split(|&byte| byte == b'\n').count(),
            column: 1 + before[line_start..].iter().filter(is_character).count(),
        }
    }
}

/// What is wrong with a template whose name is not known yet.
#[derive(Debug)]
struct Problem {
    place: Place,
    message: String,
}

impl Problem {
    fn new(place: Place, message: impl Into<String>) -> Self {
        Self { place, message: message.into() }
    }

    fn in_template(self, origin: &str) -> TemplateError {
        let Place { line, column } = self.place;
        TemplateError { origin: origin.to_owned(), line, column, message: self.message }
    }
}

/// The text being rendered, up to [`OUTPUT_LIMIT`].
#[derive(Default)]
struct BoundedOutput {
    text: String,
}

impl Output for BoundedOutput {
    fn write(&mut self, segment: &str) -> io::Result<()> {
        if effort::is_spent() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        if self.text.len() + segment.len() > OUTPUT_LIMIT {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.text.push_str(segment);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
