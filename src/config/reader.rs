//! Walks a parsed document: returns typed values, remembers which keys were asked for, gathers problems.
//!
//! A wrong value is reported and then counts as absent, so that the walk goes on and finds the other problems.
//!
//! *Invariant:* every `None` for a key that exists, and every `None` of [`Table::require`], has added a [`Problem`].

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::value::{self, Form};
use super::{Environment, Place, Problem, text};

/// The state of the whole walk.
pub(super) struct Reader<'a> {
    file: &'a Path,
    /// The beginning of each line, as byte offsets.
    lines: Vec<usize>,
    environment: Environment<'a>,
    problems: RefCell<Vec<Problem>>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(file: &'a Path, text: &str, environment: Environment<'a>) -> Self {
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { file, lines, environment, problems: RefCell::default() }
    }

    pub(super) fn root(&'a self, entries: &'a DeTable<'a>) -> Table<'a> {
        Table::new(self, self.place(0, String::new()), entries)
    }

    pub(super) fn report(&self, place: Place, message: impl Into<String>) {
        self.problems.borrow_mut().push(Problem::new(place, message));
    }

    pub(super) fn place(&self, offset: usize, key: String) -> Place {
        Place { file: self.file.to_owned(), line: self.line(offset), key }
    }

    /// The line of a byte offset, counted from 1.
    pub(super) fn line(&self, offset: usize) -> usize {
        self.lines.partition_point(|start| *start <= offset)
    }

    pub(super) fn into_problems(self) -> Vec<Problem> {
        self.problems.into_inner()
    }
}

/// One table, while it is read.
pub(super) struct Table<'a> {
    reader: &'a Reader<'a>,
    place: Place,
    entries: &'a DeTable<'a>,
    known: Vec<&'static str>,
    refused: Vec<&'static str>,
}

impl<'a> Table<'a> {
    fn new(reader: &'a Reader<'a>, place: Place, entries: &'a DeTable<'a>) -> Self {
        Self { reader, place, entries, known: Vec::new(), refused: Vec::new() }
    }

    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    pub(super) fn report(&self, message: impl Into<String>) {
        self.reader.report(self.place.clone(), message);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether a key exists, whatever its value.
    pub(super) fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// The value of a key, which from now on counts as known.
    pub(super) fn take(&mut self, key: &'static str) -> Option<Value<'a>> {
        if !self.known.contains(&key) {
            self.known.push(key);
        }
        self.entries.get_key_value(key).map(|(key, value)| self.value(key, value))
    }

    /// [`Self::take`] for a required key. `example` is what to write.
    pub(super) fn require(&mut self, key: &'static str, example: &str) -> Option<Value<'a>> {
        let value = self.take(key);
        if value.is_none() {
            self.report(format!("`{key}` is missing; write {example}"));
        }
        value
    }

    /// Reports a key that is known but not allowed here.
    pub(super) fn refuse(&mut self, key: &'static str, why: &str) {
        self.refused.push(key);
        if let Some((key, value)) = self.entries.get_key_value(key) {
            self.value(key, value).report(why);
        }
    }

    /// The text of a key, read in this form.
    pub(super) fn read<T>(&mut self, key: &'static str, form: &Form<T>) -> Option<T> {
        self.take(key)?.read(form)
    }

    /// The path of a file to read; a relative one is relative to the configuration's directory.
    pub(super) fn path(&mut self, key: &'static str) -> Option<PathBuf> {
        self.take(key)?.path()
    }

    pub(super) fn boolean(&mut self, key: &'static str) -> Option<bool> {
        self.take(key)?.boolean()
    }

    /// The table of a key. `example` is what to write.
    pub(super) fn table(&mut self, key: &'static str, example: &str) -> Option<Table<'a>> {
        self.take(key)?.table(example)
    }

    /// The first of these environment variables that is set and not empty.
    pub(super) fn variable(&self, names: [&'static str; 2]) -> Option<(&'static str, String)> {
        let set =
            |name| (self.reader.environment)(name).filter(|text| !text.is_empty()).map(|text| (name, text));
        names.into_iter().find_map(set)
    }

    /// The environment for [`Self::variable`].
    pub(super) fn environment(&self) -> Environment<'a> {
        self.reader.environment
    }

    /// Every key with its value: for tables whose keys are names that the user chose.
    pub(super) fn named(&self) -> Vec<(&'a str, Value<'a>)> {
        self.entries.iter().map(|(key, value)| (key.get_ref().as_ref(), self.value(key, value))).collect()
    }

    /// Reports every key that nobody asked for.
    pub(super) fn finish(self) {
        self.finish_as("key");
    }

    /// [`Self::finish`] for a table whose keys have a name of their own in problems.
    pub(super) fn finish_as(self, noun: &str) {
        for (name, value) in self.named() {
            if !self.known.contains(&name) && !self.refused.contains(&name) {
                value.report(unknown_key(noun, name, &self.known));
            }
        }
    }

    fn value(&self, key: &'a Spanned<DeString<'a>>, value: &'a Spanned<DeValue<'a>>) -> Value<'a> {
        let name = text::key(key.get_ref());
        let key_path = if self.place.key.is_empty() { name } else { format!("{}.{name}", self.place.key) };
        Value {
            reader: self.reader,
            place: self.reader.place(key.span().start, key_path),
            written: value.get_ref(),
        }
    }
}

/// Keys of the document itself. If they are written after a `[table]`, they silently become keys of that table.
const TOP_LEVEL: [&str; 1] = ["startup_timeout"];

fn unknown_key(noun: &str, name: &str, known: &[&'static str]) -> String {
    if TOP_LEVEL.contains(&name) {
        return format!("unknown {noun}; `{name}` belongs at the top of the file, before the first [table]");
    }
    match text::nearest(name, known.iter().copied()) {
        Some(near) => format!("unknown {noun}; did you mean `{near}`?"),
        None => format!("unknown {noun}; known here: {}", text::listed(known.iter().copied())),
    }
}

/// One value and its place.
#[derive(Clone)]
pub(super) struct Value<'a> {
    reader: &'a Reader<'a>,
    place: Place,
    written: &'a DeValue<'a>,
}

impl<'a> Value<'a> {
    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    pub(super) fn report(&self, message: impl Into<String>) {
        self.reader.report(self.place.clone(), message);
    }

    /// The value as it is written.
    pub(super) fn written(&self) -> &'a DeValue<'a> {
        self.written
    }

    pub(super) fn is_text(&self) -> bool {
        self.written.is_str()
    }

    pub(super) fn is_table(&self) -> bool {
        self.written.is_table()
    }

    pub(super) fn is_list(&self) -> bool {
        self.written.is_array()
    }

    /// Reports that the value has the wrong type.
    pub(super) fn expected(&self, what: &str) {
        self.report(format!("expected {what}, found {}", described(self.written)));
    }

    /// Text with each `${NAME}` expanded.
    pub(super) fn text(&self) -> Option<String> {
        self.read(&value::TEXT)
    }

    /// Text as it is written: a Handlebars template.
    pub(super) fn verbatim(&self, expected: &str) -> Option<String> {
        let text = self.quoted(expected)?;
        self.without_nul(text).then(|| text.to_owned())
    }

    /// Text with each `${NAME}` expanded, read in this form.
    pub(super) fn read<T>(&self, form: &Form<T>) -> Option<T> {
        let written = self.quoted(form.expected)?;
        let text = text::expand(written, self.reader.environment).map_err(|why| self.report(why)).ok()?;
        if !self.without_nul(&text) {
            return None;
        }
        let report =
            |why| if form.shown { self.report(format!("{written:?} {why}")) } else { self.report(why) };
        (form.read)(&text).map_err(report).ok()
    }

    pub(super) fn path(&self) -> Option<PathBuf> {
        let path = self.read(&value::PATH)?;
        Some(self.reader.file.parent().map_or_else(|| path.clone(), |directory| directory.join(&path)))
    }

    pub(super) fn boolean(&self) -> Option<bool> {
        let boolean = self.written.as_bool();
        if boolean.is_none() {
            self.expected("true or false");
        }
        boolean
    }

    /// The number, if the value is one: in the range of an `i128`, so that the caller can name its own limits.
    pub(super) fn integer(&self) -> Option<i128> {
        let integer = self.written.as_integer()?;
        i128::from_str_radix(integer.as_str(), integer.radix()).ok()
    }

    pub(super) fn table(&self, expected: &str) -> Option<Table<'a>> {
        let entries = self.written.as_table();
        if entries.is_none() {
            self.expected(expected);
        }
        entries.map(|entries| Table::new(self.reader, self.place.clone(), entries))
    }

    pub(super) fn list(&self, expected: &str) -> Option<Vec<Value<'a>>> {
        let Some(items) = self.written.as_array() else {
            self.expected(expected);
            return None;
        };
        let item = |(index, item): (usize, &'a Spanned<DeValue<'a>>)| Value {
            reader: self.reader,
            place: self.reader.place(item.span().start, format!("{}[{index}]", self.place.key)),
            written: item.get_ref(),
        };
        Some(items.iter().enumerate().map(item).collect())
    }

    fn quoted(&self, expected: &str) -> Option<&'a str> {
        let text = self.written.as_str();
        if text.is_none() {
            self.expected(expected);
        }
        text
    }

    fn without_nul(&self, text: &str) -> bool {
        let clean = !text.contains('\0');
        if !clean {
            self.report("contains a NUL character, which neither paths nor arguments can carry; take it out");
        }
        clean
    }
}

/// All of them, or `None` if one is missing. Unlike collecting into an `Option`, it looks at every one, so that each reports its own
/// problem.
pub(super) fn every<T, C: FromIterator<T>>(items: impl Iterator<Item = Option<T>>) -> Option<C> {
    let items: Vec<Option<T>> = items.collect();
    items.into_iter().collect()
}

/// The kind of a value, in words. Numbers and booleans are shown, text is not.
fn described(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(_) => "text in quotes".to_owned(),
        DeValue::Integer(integer) => format!("the number {integer}"),
        DeValue::Float(float) => format!("the number {float}"),
        DeValue::Boolean(boolean) => format!("{boolean}"),
        DeValue::Datetime(_) => "a date or time".to_owned(),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}
