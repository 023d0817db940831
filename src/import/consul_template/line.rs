//! The command line of consul-template: as if its flags stood in a file.
//!
//! *Invariant:* a flag that is not known is a note; no value of a flag that could be a token is in one.

use super::super::block::Reading;
use super::super::hcl::{Body, Is, Item, Key, Spot, Value};
use super::super::{Notes, Place, command};

/// Where everything of a line stands.
const START: Spot = Spot { line: 1, column: 1 };

/// Flags without a value.
const SWITCHES: &[&str] = &[
    "once",
    "dry",
    "v",
    "version",
    "consul-retry",
    "consul-ssl",
    "consul-ssl-verify",
    "syslog",
    "vault-renew-token",
    "vault-retry",
    "vault-ssl",
    "vault-ssl-verify",
    "vault-unwrap-token",
];

/// Whether a text is a command line of consul-template.
pub(in super::super) fn is_command_line(text: &str) -> bool {
    let line = joined(text);
    !line.contains('\n') && arguments(&line).is_some()
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

/// What stands behind the program, and whatever is before that: assignments, `exec`, `sudo` and `$`.
fn arguments(line: &str) -> Option<Vec<String>> {
    let words = command::plain_words(line)
        .or_else(|| Some(line.split_whitespace().map(ToOwned::to_owned).collect()))?;
    let is_before = |word: &&String| {
        matches!(word.as_str(), "exec" | "sudo" | "env" | "$")
            || word.split('/').next().is_some_and(|word| word.contains('='))
    };
    let (before, rest) = words.split_at(words.iter().take_while(is_before).count());
    let (program, rest) = rest.split_first()?;
    let is_program = program.rsplit('/').next() == Some("consul-template");
    (is_program && before.len() < words.len()).then(|| rest.to_vec())
}

/// Reads `consul-template -template "in.ctmpl:out:reload" -once`. `config` reads the file that `-config` names.
pub(in super::super) fn read_line(
    text: &str,
    reading: &mut Reading<'_>,
    config: &mut dyn FnMut(&str, &mut Reading<'_>) -> Option<Body>,
) {
    let place = Place { file: reading.file.to_owned(), line: 1, column: 1 };
    let line = joined(text);
    let Some(arguments) = arguments(&line).filter(|_| command::plain_words(&line).is_some()) else {
        let advice = "the line is more than one command; give the part that begins with consul-template";
        reading.notes.left(place, "consul-template", advice);
        return;
    };
    let mut flags = Flags::default();
    flags.read(&arguments, &place, reading.notes);
    let mut body = Body { items: Vec::new(), end: START };
    for file in &flags.configs {
        body.items.extend(config(file, reading).unwrap_or_default().items);
    }
    // What stands on the line counts more than what stands in a file.
    for (name, fields) in [("vault", flags.vault), ("exec", flags.exec)] {
        match body.items.iter_mut().find(|item| item.keys.first().is_some_and(|key| key.name == name)) {
            Some(Item { value: Value { is: Is::Object(inner), .. }, .. }) => inner.items.extend(fields),
            Some(_) | None if fields.is_empty() => {}
            Some(_) | None => body.items.push(block(name, fields)),
        }
    }
    body.items.extend(flags.root);
    super::read(&body, reading);
}

/// What the flags say, as it would stand in a file.
#[derive(Default)]
struct Flags {
    configs: Vec<String>,
    vault: Vec<Item>,
    exec: Vec<Item>,
    root: Vec<Item>,
}

impl Flags {
    fn read(&mut self, arguments: &[String], place: &Place, notes: &mut Notes) {
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            let Some(flag) = argument.strip_prefix("--").or_else(|| argument.strip_prefix('-')) else {
                notes.left(
                    place.clone(),
                    "argument",
                    "is no flag, and consul-template refuses it; remove it",
                );
                continue;
            };
            let (name, inline) = match flag.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (flag, None),
            };
            if SWITCHES.contains(&name) {
                let is_on = inline.as_deref().is_none_or(|value| matches!(value, "true" | "1" | "t"));
                self.switch(name, is_on);
            } else if let Some(value) = inline.or_else(|| arguments.next().cloned()) {
                self.value(name, value, place, notes);
            }
        }
    }

    fn switch(&mut self, name: &str, is_on: bool) {
        let value = Is::Bool(is_on);
        match name {
            "once" => self.root.push(item("once", value)),
            "vault-renew-token" => self.vault.push(item("renew_token", value)),
            "vault-unwrap-token" => self.vault.push(item("unwrap_token", value)),
            "vault-ssl-verify" => self.vault.push(block("ssl", vec![item("verify", value)])),
            // Of Consul, or of its own log.
            _ => {}
        }
    }

    fn value(&mut self, name: &str, value: String, place: &Place, notes: &mut Notes) {
        let text = || Is::Text(value.clone(), 1);
        match name {
            "config" => self.configs.push(value),
            "template" => self.root.push(template(&value)),
            "exec" => self.exec.push(item("command", text())),
            "exec-kill-signal" => self.exec.push(item("kill_signal", text())),
            "exec-kill-timeout" => self.exec.push(item("kill_timeout", text())),
            "exec-reload-signal" => self.exec.push(item("reload_signal", text())),
            "exec-splay" => self.exec.push(item("splay", text())),
            "vault-addr" => self.vault.push(item("address", text())),
            "vault-namespace" => self.vault.push(item("namespace", text())),
            "vault-agent-token-file" => self.vault.push(item("vault_agent_token_file", text())),
            // Its value is left there.
            "vault-token" => self.vault.push(item("token", Is::Text(String::from("-"), 1))),
            "wait" => self.root.push(item("wait", text())),
            "log-level" | "pid-file" | "kill-signal" | "reload-signal" | "max-stale" => {
                self.root.push(item(&name.replace('-', "_"), text()));
            }
            _ if name.starts_with("consul") || name.starts_with("vault-retry") => {}
            _ => notes.left(
                place.clone(),
                format!("-{name}"),
                "is no flag that the import knows; it is left out",
            ),
        }
    }
}

/// `source:destination:command`, of which the last two may be missing.
fn template(text: &str) -> Item {
    let mut parts = text.splitn(3, ':');
    let keys = ["source", "destination", "command"].into_iter();
    let fields = keys.filter_map(|key| Some(item(key, Is::Text(parts.next()?.to_owned(), 1))));
    block("template", fields.collect())
}

fn block(name: &str, items: Vec<Item>) -> Item {
    item(name, Is::Object(Body { items, end: START }))
}

fn item(name: &str, is: Is) -> Item {
    Item { keys: vec![Key { name: name.to_owned(), at: START }], value: Value { at: START, is } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_known_by_its_program() {
        for (text, expected) in [
            ("consul-template -once", true),
            ("$ VAULT_ADDR=http://v exec /usr/bin/consul-template -config a.hcl", true),
            ("consul-template \\\n  -template \"a:b\"", true),
            ("consul-template", true),
            ("echo consul-template", false),
            ("consul-template -once\nls", false),
            ("", false),
        ] {
            assert_eq!(is_command_line(text), expected, "{text}");
        }
    }
}
