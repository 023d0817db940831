//! The command line of envconsul, with the program behind it.
//!
//! *Invariant:* a flag that is not known is a note; no value of a flag that could be a token is in one.

use std::collections::BTreeSet;

use super::super::block::Reading;
use super::super::foreign::{Auth, Foreign, Reaction};
use super::super::{Notes, Place, command, consul_template, value};
use super::{Names, PREFIX, Wanted, only_consul, variables};

/// Whether a text is a command line of envconsul.
pub(in super::super) fn is_command_line(text: &str) -> bool {
    let joined = joined(text);
    let words = command::plain_words(&joined)
        .or_else(|| Some(joined.split_whitespace().map(ToOwned::to_owned).collect()));
    words.is_some_and(|words| program_at(&words).is_some()) && !joined.contains('\n')
}

/// A line that is continued with a backslash as one, without what stands around it in a script: comments and `set -e`.
fn joined(text: &str) -> String {
    let whole = text.replace("\\\r\n", " ").replace("\\\n", " ");
    let says_nothing = |line: &&str| {
        let line = line.trim();
        !(line.is_empty() || line.starts_with('#') || line == "set" || line.starts_with("set -"))
    };
    let lines: Vec<&str> = whole.lines().filter(says_nothing).collect();
    lines.join("\n").trim().to_owned()
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
pub(in super::super) fn read_line(
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
    namespace: Option<String>,
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
            "once" if is_on => {
                let advice = "envconsul does not watch with it; Squire does, and its on_change is \"none\"";
                notes.told(place.clone(), "-once", advice);
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
            "vault-namespace" => self.namespace = Some(value),
            "vault-agent-token-file" => self.token_file = Some(value),
            "exec" => self.exec = Some(value),
            "exec-kill-signal" => {
                if value::signal(&value).is_none() {
                    let advice = "is no signal that a process can handle; Squire sends SIGTERM";
                    notes.left(place.clone(), "-exec-kill-signal", advice);
                }
                self.kill_signal = Some(value);
            }
            "exec-kill-timeout" => {
                if value::duration(&value).is_none() {
                    let advice = "is no duration; write one into process.stop_timeout";
                    notes.left(place.clone(), "-exec-kill-timeout", advice);
                }
                self.kill_timeout = Some(value);
            }
            "exec-splay" => {
                if value::duration(&value).is_none_or(|splay| splay != "0s") {
                    notes.left(place.clone(), "-exec-splay", consul_template::NO_SPLAY);
                }
            }
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
            _ => notes.left(place.clone(), format!("-{name}"), UNKNOWN),
        }
    }

    fn apply(&self, foreign: &mut Foreign) {
        if let Some(address) = &self.address {
            foreign.vault.address = Some(address.clone());
        }
        if let Some(namespace) = &self.namespace {
            foreign.vault.namespace = Some(namespace.clone());
        }
        if let Some(file) = &self.token_file {
            foreign.vault.auth = Some(Auth::Token { file: file.clone() });
        }
        let process = &mut foreign.process;
        process.env_clear |= self.on.contains("pristine") || self.on.contains("exec-env-pristine");
        if self.on.contains("once") {
            process.on_change = Some(Reaction::Nothing);
        }
        if let Some(signal) = self.kill_signal.as_deref().and_then(value::signal) {
            process.stop_signal = (signal != "SIGTERM").then_some(signal);
        }
        if let Some(timeout) = self.kill_timeout.as_deref().and_then(value::duration) {
            process.stop_timeout = Some(timeout);
        }
    }
}

/// What is said of a flag that is not read.
const UNKNOWN: &str = "is no flag that the import knows; it is left out";

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
