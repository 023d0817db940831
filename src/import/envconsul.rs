//! envconsul: its configuration, and its command line, which is how most people use it.
//!
//! *Invariant:* as for consul-template. A whole secret as variables is a file of `export` lines that the process reads before it begins,
//! since `process.env` names each variable.

use std::collections::BTreeSet;

use super::block::Reading;
use super::foreign::{FieldsAsVariables, Foreign};
use super::hcl::{Block, Body, Fields};
use super::{Notes, Place, Request, command, consul_template, escaped, value};

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
    let (mut before, mut behind) = (String::new(), String::new());
    match wanted.format.as_deref().map(around_key) {
        None => {}
        Some(Some((head, tail))) => (before, behind) = (head.to_owned(), tail.to_owned()),
        Some(None) => {
            let advice =
                "only `{{ key }}` with text around it is taken over; name each variable in [process.env]";
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
        is_upper: names.upcase,
        only,
    });
}

/// The text before and behind `{{ key }}`.
fn around_key(format: &str) -> Option<(&str, &str)> {
    let (head, rest) = format.split_once("{{")?;
    let (inner, tail) = rest.split_once("}}")?;
    let is_plain = |text: &str| text.chars().all(|c| c.is_alphanumeric() || c == '_');
    (inner.trim() == "key" && is_plain(head) && is_plain(tail)).then_some((head, tail))
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
    if fields.has("splay") || fields.has("timeout") {
        for key in ["splay", "timeout"] {
            fields.take(key, notes);
        }
        let advice = "Squire spreads what it asks of a server, not the restarts of a fleet; keep machines apart by `rollout.window`";
        notes.told(fields.place_of("splay"), "splay", advice);
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

/// Whether a text is a command line of envconsul.
pub(super) fn is_command_line(text: &str) -> bool {
    let joined = joined(text);
    let words = command::plain_words(&joined)
        .or_else(|| Some(joined.split_whitespace().map(ToOwned::to_owned).collect()));
    words.is_some_and(|words| program_at(&words).is_some()) && !joined.contains('\n')
}

/// A line that is continued with a backslash as one.
fn joined(text: &str) -> String {
    text.trim().replace("\\\r\n", " ").replace("\\\n", " ")
}

/// Behind assignments, `exec`, `sudo` and `$`.
fn program_at(words: &[String]) -> Option<usize> {
    let at = words.iter().position(|word| {
        !matches!(word.as_str(), "exec" | "sudo" | "env" | "$")
            && !word.split('/').next().is_some_and(|word| word.contains('='))
    })?;
    words.get(at).filter(|word| word.rsplit('/').next() == Some("envconsul")).map(|_| at)
}

/// Reads `envconsul -secret=app/db -no-prefix -upcase -- app`. The text of a file that `-config` names is read before.
pub(super) fn read_line(
    text: &str,
    reading: &mut Reading<'_>,
    config: &mut dyn FnMut(&str, &mut Reading<'_>),
) {
    let place = Place { file: reading.file.to_owned(), line: 1, column: 1 };
    let start = reading.notes.count();
    let line = joined(text);
    let Some(words) = command::tokens(&line).and_then(|tokens| {
        tokens
            .into_iter()
            .map(|token| match token {
                command::Token::Word(word) => Some(word),
                command::Token::Operator(_) => None,
            })
            .collect::<Option<Vec<String>>>()
    }) else {
        reading.notes.left(
            place,
            "envconsul",
            "the line is more than one command; give the part that begins with envconsul",
        );
        return;
    };
    let arguments: Vec<String> = words.iter().skip(program_at(&words).unwrap_or(0) + 1).cloned().collect();
    let mut line = Line::default();
    let program = line.flags(&arguments, &place, reading.notes);
    for file in std::mem::take(&mut line.configs) {
        config(&file, reading);
    }
    if line.secrets.is_empty() && line.on.contains("prefix") && reading.foreign.process.env_from.is_empty() {
        only_consul(reading);
        return;
    }
    if line.on.contains("prefix") {
        reading.notes.left(place.clone(), "-prefix", PREFIX);
    }
    let names = Names { upcase: line.on.contains("upcase"), sanitize: line.on.contains("sanitize") };
    for path in &line.secrets {
        let wanted = Wanted {
            path: path.clone(),
            no_prefix: line.on.contains("no-prefix"),
            format: None,
            place: place.clone(),
        };
        variables(&wanted, names, None, reading);
    }
    line.apply(reading.foreign);
    let process = &mut reading.foreign.process;
    let program = if program.is_empty() { Vec::from_iter(line.exec.take()) } else { program };
    if !program.is_empty() {
        process.command = consul_template::program(&program);
    }
    process.remarks.push(start..reading.notes.count());
}

/// What the flags say.
#[derive(Debug, Default)]
struct Line {
    secrets: Vec<String>,
    configs: Vec<String>,
    /// The names of the switches that are on, and `prefix` if something is asked of Consul.
    on: BTreeSet<String>,
    exec: Option<String>,
    address: Option<String>,
    token_file: Option<String>,
    kill_signal: Option<String>,
    kill_timeout: Option<String>,
}

impl Line {
    /// Reads the flags, and gives what follows them: the program.
    fn flags(&mut self, arguments: &[String], place: &Place, notes: &mut Notes) -> Vec<String> {
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            if argument == "--" {
                return arguments.cloned().collect();
            }
            let Some(flag) = argument.strip_prefix("--").or_else(|| argument.strip_prefix('-')) else {
                return std::iter::once(argument).chain(arguments).cloned().collect();
            };
            let (name, inline) = match flag.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (flag, None),
            };
            if SWITCHES.contains(&name) {
                let is_on = inline.as_deref().is_none_or(|value| matches!(value, "true" | "1" | "t"));
                self.switch(name, is_on, place, notes);
            } else if let Some(value) = inline.or_else(|| arguments.next().cloned()) {
                self.value(name, value, place, notes);
            }
        }
        Vec::new()
    }

    fn switch(&mut self, name: &str, is_on: bool, place: &Place, notes: &mut Notes) {
        if is_on {
            self.on.insert(name.to_owned());
        } else {
            self.on.remove(name);
        }
        match name {
            "vault-unwrap-token" if is_on => {
                let advice = "Squire takes no wrapped token, only a wrapped secret-id: use an AppRole with unwrap = true";
                notes.left(place.clone(), "-vault-unwrap-token", advice);
            }
            "vault-ssl-verify" if !is_on => {
                notes.left(
                    place.clone(),
                    "-vault-ssl-verify=false",
                    "name the authority with ca_file, or write insecure_tls = true",
                );
            }
            _ => {}
        }
    }

    fn value(&mut self, name: &str, value: String, place: &Place, notes: &mut Notes) {
        match name {
            "secret" => self.secrets.push(value),
            "config" => self.configs.push(value),
            "prefix" => {
                self.on.insert("prefix".to_owned());
            }
            "kill-signal" | "reload-signal" => {
                notes.told(
                    place.clone(),
                    format!("-{name}"),
                    "Squire has signals of its own for itself; left out",
                );
            }
            "vault-addr" => self.address = Some(value),
            "vault-agent-token-file" => self.token_file = Some(value),
            "exec" => self.exec = Some(value),
            "exec-kill-signal" => self.kill_signal = Some(value),
            "exec-kill-timeout" => self.kill_timeout = Some(value),
            "vault-token" => {
                let advice = "a token is on the command line; put it into a file that only Squire reads and name that in auth.token.file, or set VAULT_TOKEN";
                notes.left(place.clone(), "-vault-token", advice);
            }
            "log-level" => notes.told(
                place.clone(),
                "-log-level",
                "the level of Squire's log is in the variable SQUIRE_LOG",
            ),
            _ if name.starts_with("consul") || name.starts_with("vault-retry") || name == "max-stale" => {}
            _ => notes.told(place.clone(), format!("-{name}"), "is no flag that the import knows; left out"),
        }
    }

    fn apply(&self, foreign: &mut Foreign) {
        if let Some(address) = &self.address {
            foreign.vault.address = Some(address.clone());
        }
        if let Some(file) = &self.token_file {
            foreign.vault.auth = Some(super::foreign::Auth::Token { file: file.clone() });
        }
        let process = &mut foreign.process;
        process.env_clear |= self.on.contains("pristine") || self.on.contains("exec-env-pristine");
        if self.on.contains("once") {
            process.on_change = Some(super::foreign::Reaction::Nothing);
        }
        if let Some(signal) = self.kill_signal.as_deref().and_then(value::signal) {
            process.stop_signal = (signal != "SIGTERM").then_some(signal);
        }
        if let Some(timeout) = self.kill_timeout.as_deref().and_then(value::duration) {
            process.stop_timeout = Some(timeout);
        }
    }
}

/// Flags that stand alone or with `=true`.
const SWITCHES: &[&str] = &[
    "no-prefix",
    "upcase",
    "sanitize",
    "pristine",
    "once",
    "vault-renew-token",
    "vault-unwrap-token",
    "vault-ssl",
    "vault-ssl-verify",
    "consul-ssl",
    "consul-ssl-verify",
    "consul-retry",
    "vault-retry",
    "syslog",
    "exec-env-pristine",
    "v",
    "version",
];
