//! envconsul: its configuration, and its command line, which is how most people use it.
//!
//! *Invariant:* as for consul-template. A whole secret as variables is a file of `export` lines that the process reads before it begins,
//! since `process.env` names each variable.

mod line;

pub(super) use line::{is_command_line, read_line};

use super::block::Reading;
use super::foreign::FieldsAsVariables;
use super::hcl::{Block, Body, Fields};
use super::{Place, Request, consul_template, escaped};

/// What holds for every secret.
#[derive(Clone, Copy, Debug, Default)]
struct Names {
    upcase: bool,
    sanitize: bool,
}

/// Reads a whole configuration.
pub(super) fn read(body: &Body, reading: &mut Reading<'_>) {
    let mut fields = Fields::new(reading.file, body);
    let secrets = fields.blocks("secret");
    let prefixes = fields.blocks("prefix").len();
    if secrets.is_empty() && (prefixes > 0 || fields.has("prefix")) {
        only_consul(reading);
        return;
    }
    consul_template::vault(&mut fields, reading);
    let names = Names {
        upcase: fields.boolean("upcase", reading.notes).unwrap_or(false),
        sanitize: fields.boolean("sanitize", reading.notes).unwrap_or(false),
    };
    for secret in &secrets {
        self::secret(secret, names, reading);
    }
    if let Some(exec) = fields.block("exec", reading.notes) {
        consul_template::exec(&exec, None, reading);
    }
    lesser(&mut fields, prefixes, reading);
}

fn only_consul(reading: &mut Reading<'_>) {
    let place = Place { file: reading.file.to_owned(), line: 1, column: 1 };
    let advice = "it asks only Consul, which Squire does not; leave envconsul running for it";
    reading.notes.left(place, "envconsul", advice);
}

/// `secret { path, no_prefix, format, key }`
fn secret(block: &Block<'_>, names: Names, reading: &mut Reading<'_>) {
    let start = reading.notes.count();
    let mut fields = Fields::new(reading.file, block.body);
    let path =
        fields.word("path", reading.notes).or_else(|| block.labels.first().map(|label| label.name.clone()));
    let wanted = Wanted {
        path: path.unwrap_or_default(),
        no_prefix: fields.boolean("no_prefix", reading.notes).unwrap_or(false),
        format: fields.word("format", reading.notes),
        place: fields.place(block.at),
    };
    for key in fields.blocks("key") {
        let mut inner = Fields::new(reading.file, key.body);
        let name =
            inner.word("name", reading.notes).or_else(|| key.labels.first().map(|label| label.name.clone()));
        let format = inner.word("format", reading.notes);
        let wanted = Wanted { format: format.or_else(|| wanted.format.clone()), ..wanted.clone() };
        variables(&wanted, names, name, reading);
    }
    if fields.blocks("key").is_empty() {
        variables(&wanted, names, None, reading);
    }
    consul_template::unknown(&fields, "secret", reading.notes);
    reading.foreign.process.remarks.push(start..reading.notes.count());
}

#[derive(Clone, Debug)]
struct Wanted {
    path: String,
    no_prefix: bool,
    format: Option<String>,
    place: Place,
}

/// The fields of one secret as variables.
fn variables(wanted: &Wanted, names: Names, only: Option<String>, reading: &mut Reading<'_>) {
    let path = wanted.path.trim_matches('/').to_owned();
    if path.is_empty() {
        reading.notes.left(wanted.place.clone(), "secret", "it has no path; add one");
        return;
    }
    // envconsul's prefix is the path with `/` as `_`.
    let prefix = if wanted.no_prefix { String::new() } else { format!("{}_", path.replace('/', "_")) };
    let (mut before, mut behind, mut is_upper) = (String::new(), String::new(), names.upcase);
    match wanted.format.as_deref().map(around_key) {
        None => {}
        Some(Some((head, tail, upper))) => {
            (before, behind) = (head.to_owned(), tail.to_owned());
            is_upper |= upper;
        }
        Some(None) => {
            let advice = "only `{{ key }}` with text around it is taken over, and `toUpper` and `replaceKey` in it; name each variable in [process.env]";
            reading.notes.left(wanted.place.clone(), "secret.format", advice);
        }
    }
    let before = format!("{prefix}{before}");
    let cased = |text: String| if names.upcase { text.to_uppercase() } else { text };
    let secret = reading.wants.name(Request { path: escaped(&path), ..Request::default() });
    if !names.sanitize {
        let advice = "a shell knows no variable with a hyphen or a dot, so such characters become `_` here";
        reading.notes.told(wanted.place.clone(), format!("secret {path:?}"), advice);
    }
    reading.foreign.process.env_from.push(FieldsAsVariables {
        secret,
        before: cased(before),
        behind: cased(behind),
        is_upper,
        only,
    });
}

/// The text before and behind `{{ key }}`, and whether the key is written in capitals. What no variable could have becomes `_` anyway.
fn around_key(format: &str) -> Option<(&str, &str, bool)> {
    let (head, rest) = format.split_once("{{")?;
    let (inner, tail) = rest.split_once("}}")?;
    let is_plain = |text: &str| text.chars().all(|c| c.is_alphanumeric() || c == '_');
    let mut steps = inner.split('|').map(str::trim);
    let is_key = steps.next() == Some("key");
    let mut is_upper = false;
    for step in steps {
        match step.split_whitespace().collect::<Vec<_>>().as_slice() {
            ["toUpper"] => is_upper = true,
            ["replaceKey" | "replaceAll", "\"-\"" | "\".\"" | "\"/\"", "\"_\""] => {}
            _ => return None,
        }
    }
    // In capitals are the words around it too.
    let fits = !is_upper || !format!("{head}{tail}").contains(char::is_lowercase);
    (is_key && is_plain(head) && is_plain(tail) && fits).then_some((head, tail, is_upper))
}

fn lesser(fields: &mut Fields<'_>, prefixes: usize, reading: &mut Reading<'_>) {
    let notes = &mut *reading.notes;
    let has_prefix = prefixes > 0 || fields.take("prefix", notes).is_some();
    if has_prefix {
        notes.left(fields.place_of("prefix"), "prefix", PREFIX);
    }
    if fields.boolean("pristine", notes) == Some(true) {
        reading.foreign.process.env_clear = true;
    }
    if consul_template::duration(fields, "splay", notes).is_some_and(|splay| splay != "0s") {
        notes.left(fields.place_of("splay"), "splay", consul_template::NO_SPLAY);
    }
    if consul_template::duration(fields, "timeout", notes).is_some_and(|timeout| timeout != "0s") {
        let advice = "Squire has no such time; it waits for the process, and `startup_timeout` bounds the first release";
        notes.told(fields.place_of("timeout"), "timeout", advice);
    }
    if let Some((least, place)) = super::block::wait(fields, notes) {
        super::block::settle(least, reading.foreign);
        notes.told(place, "wait", "Squire waits this long for further changes: `rollout.settle`");
    }
    if fields.boolean("once", notes) == Some(true) {
        let advice = "envconsul does not watch with it; Squire does, and restarts the process unless on_change is \"none\"";
        notes.told(fields.place_of("once"), "once", advice);
        reading.foreign.process.on_change = Some(super::foreign::Reaction::Nothing);
    }
    consul_template::own_signals(fields, notes);
    consul_template::others(fields, notes);
    super::agent::common(fields, notes);
    consul_template::unknown(fields, "envconsul", notes);
}

const PREFIX: &str =
    "it asks Consul, which Squire does not; leave envconsul running for it, or put the values into a secret";
