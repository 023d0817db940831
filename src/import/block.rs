//! The `template` block that the agents and consul-template share → a file.
//!
//! *Invariant:* a block gives a file, or a note that says why not.

use std::path::{Component, Path};

use super::foreign::{File, Foreign, Reaction};
use super::hcl::{Block, Fields, Is, Value};
use super::{Delimiters, Notes, Text, Wants, command, finish, value};

/// What the readers of the other languages share.
pub(super) struct Reading<'a> {
    /// The name of the file that is read.
    pub(super) file: &'a str,
    /// Gives the text of a file that is named in it.
    pub(super) open: &'a dyn Fn(&str) -> Option<String>,
    pub(super) notes: &'a mut Notes,
    pub(super) wants: &'a mut Wants,
    pub(super) foreign: &'a mut Foreign,
}

/// Which program's block it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tool {
    /// Vault Agent and OpenBao Agent.
    Agent,
    /// consul-template.
    ConsulTemplate,
}

/// What holds for templates that do not say it.
#[derive(Clone, Debug, Default)]
pub(super) struct Defaults {
    pub(super) left: Option<String>,
    pub(super) right: Option<String>,
}

/// The text of a template, and where it stands.
pub(super) struct Original {
    origin: String,
    text: String,
    first_line: usize,
}

/// Reads a `template` block.
pub(super) fn template(block: &Block<'_>, tool: Tool, defaults: &Defaults, reading: &mut Reading<'_>) {
    let start = reading.notes.count();
    let file = reading.file;
    let mut fields = Fields::new(file, block.body);
    let destination = fields.word("destination", reading.notes);
    let path = destination.as_deref().and_then(|path| plain_path(path, &fields, reading.notes));
    let before = reading.wants.mark();
    let original = original(&mut fields, reading);
    let translated = original.map(|original| translate(&original, &mut fields, defaults, reading));
    let mut made = File {
        place: fields.place_of("destination"),
        path: path.clone().unwrap_or_default(),
        template: translated,
        mode: permissions(&mut fields, "perms", reading.notes),
        owner: account(&mut fields, ["user", "uid"], reading.notes),
        group: account(&mut fields, ["group", "gid"], reading.notes),
        makes_dir: fields.boolean("create_dest_dirs", reading.notes).unwrap_or(true),
        ..File::default()
    };
    let timeout = fields.text("command_timeout", reading.notes);
    let line = fields.take("command", reading.notes).map(|value| (value, fields.place(value.at)));
    if let Some((command, place)) = line {
        react(command, place, timeout.as_deref(), &mut made, reading.notes);
    }
    if let Some(exec) = fields.block("exec", reading.notes) {
        template_exec(&exec, &mut made, reading);
    }
    waited(&mut fields, reading);
    lesser(&mut fields, tool, reading.notes);
    if destination.is_none() {
        reading.notes.left(
            fields.place(block.at),
            "template",
            "it has no destination, so it renders to nowhere; give it one",
        );
    }
    let written = reading.wants.take_written(before);
    if made.on_change.is_some() && !written.is_empty() {
        let advice = "the command follows a change of this file alone there, and so mostly of nothing; here it follows those that the template writes too";
        reading.notes.told(fields.place_of("destination"), "command", advice);
    }
    made.remarks = start..reading.notes.count();
    let (place, on_change) = (made.place.clone(), made.on_change.clone());
    if path.is_some() {
        reading.foreign.is_open_by_default = true;
        reading.foreign.files.push(made);
    }
    for file in written {
        reading.foreign.files.push(File { on_change: on_change.clone(), ..finish::file(file, &place) });
    }
}

/// The text of `contents`, or of the file that `source` names. What is said about a text that cannot be had says nothing.
pub(super) fn original(fields: &mut Fields<'_>, reading: &mut Reading<'_>) -> Option<Original> {
    let original = text_of(fields, reading);
    if original.is_none() {
        for key in ["left_delimiter", "right_delimiter", "error_on_missing_key"] {
            fields.take(key, reading.notes);
        }
    }
    original
}

fn text_of(fields: &mut Fields<'_>, reading: &mut Reading<'_>) -> Option<Original> {
    let source = fields.take("source", reading.notes);
    let contents = fields.take("contents", reading.notes);
    if let (Some(source), Some(_)) = (source, contents) {
        let advice = "`contents` is there too, which the agent refuses; `contents` is taken";
        reading.notes.told(fields.place(source.at), "source", advice);
    }
    match (contents, source) {
        (Some(Value { is: Is::Text(text, first_line), .. }), _) => {
            Some(Original { origin: reading.file.to_owned(), text: text.clone(), first_line: *first_line })
        }
        (None, Some(Value { is: Is::Text(name, _), at })) => {
            let text = (reading.open)(name);
            if text.is_none() {
                let advice =
                    "this file cannot be read; import where it is, or translate it with `squire import FILE`";
                reading.notes.left(fields.place(*at), format!("source = {name:?}"), advice);
            }
            Some(Original { origin: name.clone(), text: text?, first_line: 1 })
        }
        (Some(other), _) | (None, Some(other)) => {
            reading.notes.left(
                fields.place(other.at),
                "template",
                "its text is no text; write it in quotes or as a heredoc",
            );
            None
        }
        (None, None) => {
            let place = fields.place_of("contents");
            reading.notes.left(
                place,
                "template",
                "it has neither `source` nor `contents`, which the agent refuses",
            );
            None
        }
    }
}

/// A template in Squire's language.
pub(super) fn translate(
    original: &Original,
    fields: &mut Fields<'_>,
    defaults: &Defaults,
    reading: &mut Reading<'_>,
) -> String {
    let mut delimiters = Delimiters::default();
    if let Some(left) = fields.word("left_delimiter", reading.notes).or_else(|| defaults.left.clone()) {
        delimiters.left = left;
    }
    if let Some(right) = fields.word("right_delimiter", reading.notes).or_else(|| defaults.right.clone()) {
        delimiters.right = right;
    }
    let text = Text {
        origin: &original.origin,
        text: &original.text,
        first_line: original.first_line,
        delimiters,
        error_on_missing_key: fields.boolean("error_on_missing_key", reading.notes).unwrap_or(false),
    };
    translated(&text, reading)
}

/// A template in Squire's language, with what is true of each: a field that is missing is no text.
pub(super) fn translated(text: &Text<'_>, reading: &mut Reading<'_>) -> String {
    const KEY: &str = "error_on_missing_key";
    if !text.error_on_missing_key && text.text.contains(".Data") {
        let place = super::Place { file: text.origin.to_owned(), line: text.first_line.max(1), column: 1 };
        let advice = "where a field is missing, the agent writes `<no value>`, and Squire publishes nothing and says which field; \
                      for one that may be missing write {{default db.field \"\"}}";
        reading.notes.told_once(place, KEY, advice);
    }
    super::template(text, reading.wants, reading.notes)
}

/// A user or a group by name or number; a bare number with a zero before it is octal, and a negative one says nothing.
pub(super) fn account(fields: &mut Fields<'_>, keys: [&str; 2], notes: &mut Notes) -> Option<String> {
    let (key, value) = keys.into_iter().find_map(|key| Some((key, fields.take(key, notes)?)))?;
    let number = |written: &str| value::number(written);
    match &value.is {
        Is::Number(written) if number(written).is_some() => {
            number(written).filter(|number| *number >= 0).map(|number| number.to_string())
        }
        Is::Text(text, _) => Some(text.clone()).filter(|text| !text.is_empty() && !text.starts_with('-')),
        Is::Number(_) | Is::Bool(_) | Is::List(_) | Is::Object(_) | Is::Other(_) => {
            let advice = "is neither a name nor a number; write one of them";
            notes.left(fields.place(value.at), key, advice);
            None
        }
    }
}

/// `perms` or `mode`.
pub(super) fn permissions(fields: &mut Fields<'_>, key: &str, notes: &mut Notes) -> Option<String> {
    let value = fields.take(key, notes)?;
    let place = fields.place(value.at);
    let read = match &value.is {
        Is::Text(text, _) if text.is_empty() => return None,
        Is::Text(text, _) => value::quoted_mode(text),
        Is::Number(written) => value::bare_mode(written),
        Is::Bool(_) | Is::List(_) | Is::Object(_) | Is::Other(_) => None,
    };
    let Some(read) = read else {
        notes.left(place, key, "is no mode; write one such as \"0640\"");
        return None;
    };
    if let Some(meant) = read.meant {
        let advice = format!(
            "a mode without a 0 before it is a decimal number: the agent sets {:04o}; taken as the {meant:04o} that was meant",
            read.bits
        );
        notes.told(place, format!("{key} = {meant:o}"), advice);
        return value::mode(meant);
    }
    let mode = value::mode(read.bits);
    if mode.is_none() {
        let advice = "has a bit beside those of owner, group and others, which Squire does not set on a file";
        notes.left(place, format!("{key} = {:04o}", read.bits), advice);
        return value::mode(read.bits & 0o777);
    }
    mode
}

/// A path that Squire takes: without `..` and empty parts. `None` if it names nothing.
pub(super) fn plain_path(path: &str, fields: &Fields<'_>, notes: &mut Notes) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    let mut climbs = false;
    for part in Path::new(path).components() {
        match part {
            Component::Normal(name) => parts.extend(name.to_str()),
            Component::ParentDir => {
                climbs = true;
                parts.pop();
            }
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    let place = fields.place_of("destination");
    if climbs {
        let advice =
            "has `..`, which Squire does not take, since links can lead it elsewhere; check the path";
        notes.told(place.clone(), format!("destination = {path:?}"), advice);
    }
    if parts.is_empty()
        || path.chars().any(char::is_control)
        || parts.iter().any(|part| part.starts_with(".."))
    {
        notes.left(
            place,
            format!("destination = {path:?}"),
            "names no file that Squire can publish; choose another",
        );
        return None;
    }
    let joined = parts.join("/");
    Some(if path.starts_with('/') { format!("/{joined}") } else { joined })
}

/// What follows a change, from the value of `command`.
pub(super) fn react(
    written: &Value,
    place: super::Place,
    timeout: Option<&str>,
    file: &mut File,
    notes: &mut Notes,
) {
    let (meant, shown) = match &written.is {
        Is::Text(line, _) => (command::of_line(line, &file.path), line.clone()),
        Is::List(values) => {
            let words: Option<Vec<String>> = values.iter().map(super::hcl::text_of).collect();
            let words = words.unwrap_or_default();
            (command::of_list(&words, &file.path), words.join(" "))
        }
        Is::Number(_) | Is::Bool(_) | Is::Object(_) | Is::Other(_) => {
            notes.left(place, "command", "is no command, so nothing can be made of it");
            return;
        }
    };
    if let Some(told) = meant.told {
        notes.told(place, format!("command = {:?}", first_word(&shown)), told);
    }
    let timeout = timeout.and_then(value::duration).filter(|timeout| timeout != "30s" && timeout != "0s");
    file.on_change = match meant.reaction {
        Some(Reaction::Run { command, .. }) => Some(Reaction::Run { command, timeout }),
        other => other,
    };
    file.mode = meant.mode.or(file.mode.take());
    file.owner = meant.owner.or(file.owner.take());
    file.group = meant.group.or(file.group.take());
}

/// The first word of a command, for a note: the others may hold what nobody should see.
fn first_word(line: &str) -> String {
    const LONGEST: usize = 40;
    let word: String = line.split_whitespace().next().unwrap_or_default().chars().take(LONGEST).collect();
    if word.contains('=') { "…".to_owned() } else { format!("{word} …") }
}

/// `exec { command, timeout }` inside a template.
fn template_exec(exec: &Block<'_>, file: &mut File, reading: &mut Reading<'_>) {
    let mut fields = Fields::new(reading.file, exec.body);
    let notes = &mut *reading.notes;
    let timeout = fields.text("timeout", notes);
    let is_enabled = fields.boolean("enabled", notes).unwrap_or(true);
    if let Some(command) = fields.take("command", notes).filter(|_| is_enabled) {
        let place = fields.place(command.at);
        react(command, place, timeout.as_deref(), file, notes);
    }
    for (key, place) in fields.rest() {
        notes.told(
            place,
            format!("exec.{key}"),
            "says nothing for a command that only follows a change; left out",
        );
    }
}

/// `wait` of one template: Squire waits for all files together.
fn waited(fields: &mut Fields<'_>, reading: &mut Reading<'_>) {
    let Some((least, place)) = wait(fields, reading.notes) else { return };
    reading.notes.told(
        place,
        "wait",
        "Squire waits for all files together, so that they change at once: `rollout.settle`, the longest of them",
    );
    settle(least, reading.foreign);
}

/// The longest wait counts.
pub(super) fn settle(least: u64, foreign: &mut Foreign) {
    let so_far = foreign.settle.as_deref().and_then(value::milliseconds).unwrap_or(0);
    foreign.settle = Some(value::written(least.max(so_far)));
}

pub(super) const NO_LONGEST: &str = "Squire waits once from the first change, for `rollout.settle`, and not anew with each further one; \
                                     so there is no longest time";

/// `wait { min, max }`, or the old `"2s:4s"`: the shorter time in milliseconds.
pub(super) fn wait(fields: &mut Fields<'_>, notes: &mut Notes) -> Option<(u64, super::Place)> {
    let place = fields.place_of("wait");
    let written = match fields.block("wait", notes) {
        Some(block) => {
            let mut inner = Fields::new(&place.file, block.body);
            let is_enabled = inner.boolean("enabled", notes).unwrap_or(true);
            let least = inner.text("min", notes);
            if is_enabled && inner.take("max", notes).is_some() {
                notes.told(inner.place_of("max"), "wait.max", NO_LONGEST);
            }
            inner.take("max", notes);
            least.filter(|_| is_enabled)?
        }
        None => fields.word("wait", notes)?.split(':').next()?.to_owned(),
    };
    let least = value::milliseconds(&written);
    if least.is_none() {
        notes.left(
            place.clone(),
            format!("wait = {written:?}"),
            "is no duration; write one into `rollout.settle`",
        );
    }
    least.filter(|least| *least > 0).map(|least| (least, place))
}

/// What has no meaning in Squire, and what the agents refuse.
fn lesser(fields: &mut Fields<'_>, tool: Tool, notes: &mut Notes) {
    if fields.boolean("backup", notes) == Some(true) {
        let advice = "Squire writes no .bak file, which would be an old secret on the disk; a release that fails is taken back";
        notes.told(fields.place_of("backup"), "backup", advice);
    }
    if fields.word("sandbox_path", notes).is_some() {
        let advice = "Squire does not restrict `{{file}}` to a directory; see that the template names only files it may read";
        notes.left(fields.place_of("sandbox_path"), "sandbox_path", advice);
    }
    for key in ["function_denylist", "function_blacklist"] {
        if fields.words(key, notes).is_some_and(|list| !list.is_empty()) {
            let advice =
                "a template of Squire cannot start programs or write files, so there is nothing to forbid";
            notes.told(fields.place_of(key), key, advice);
        }
    }
    if fields.boolean("error_fatal", notes) == Some(true) && tool == Tool::ConsulTemplate {
        let advice = "an error ends consul-template; Squire keeps the files that are live, and says so";
        notes.told(fields.place_of("error_fatal"), "error_fatal", advice);
    }
    for (key, place) in fields.rest() {
        let advice = match tool {
            Tool::Agent => {
                "the agent does not know this key in a template and refuses the whole file for it; remove it"
            }
            Tool::ConsulTemplate => "consul-template does not know this key; it is left out",
        };
        notes.left(place, key, advice);
    }
}
