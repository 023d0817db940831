//! A command that follows a change → the reaction that it means.
//!
//! `kill -HUP $(cat /run/nginx.pid)` is a signal by a file with a number, `pkill -HUP nginx` one by a name, `chmod 0640 FILE` is the
//! file's mode. What is none of these stays a command.
//!
//! *Invariant:* pure, and never narrower than it looks: a line with a word that is not understood as a whole stays as it is, in a shell.

mod words;

pub(super) use words::{Token, plain_words, tokens};

use super::foreign::Reaction;
use super::value;

/// What a command was for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Meant {
    /// What has to follow.
    pub(super) reaction: Option<Reaction>,
    /// `chmod` on the file.
    pub(super) mode: Option<String>,
    /// `chown` on the file.
    pub(super) owner: Option<String>,
    /// `chown` or `chgrp` on the file.
    pub(super) group: Option<String>,
    /// What a user has to know of how it was taken over.
    pub(super) told: Option<&'static str>,
}

/// A list of words, which the agents run without a shell; a list of one word is a line for a shell.
pub(super) fn of_list(list: &[String], destination: &str) -> Meant {
    match list {
        [] => Meant::default(),
        [line] => of_line(line, destination),
        [shell, flag, line] if is_shell(shell) && flag == "-c" => of_line(line, destination),
        _ => {
            let words: Vec<&str> = list.iter().map(String::as_str).collect();
            let signal = signal_of(&words);
            Meant { reaction: Some(signal.unwrap_or_else(|| run(list.to_vec()))), ..Meant::default() }
        }
    }
}

/// A line for a shell.
pub(super) fn of_line(line: &str, destination: &str) -> Meant {
    let line = line.trim();
    if line.is_empty() {
        return Meant::default();
    }
    let in_shell = || Meant {
        reaction: Some(run(vec!["sh".to_owned(), "-c".to_owned(), line.to_owned()])),
        told: Some("a command that needs a shell; it runs as Squire's own user, in an image that has `sh`"),
        ..Meant::default()
    };
    let Some(parts) = tokens(line).and_then(|tokens| chain(&tokens)) else { return in_shell() };
    let mut meant = Meant::default();
    let mut rest = Vec::new();
    for part in &parts {
        let words: Vec<&str> = part.iter().map(String::as_str).collect();
        if !on_the_file(&words, destination, &mut meant) {
            rest.push(part);
        }
    }
    match rest.as_slice() {
        [] => meant,
        [only] => match of_words(only, destination) {
            Some(inner) => Meant {
                reaction: inner.reaction,
                mode: inner.mode.or(meant.mode),
                owner: inner.owner.or(meant.owner),
                group: inner.group.or(meant.group),
                told: inner.told,
            },
            None => in_shell(),
        },
        [..] => in_shell(),
    }
}

/// One command of plain words; `None` if only a shell understands it.
fn of_words(part: &[String], destination: &str) -> Option<Meant> {
    let words: Vec<&str> = part.iter().map(String::as_str).collect();
    if let [shell, "-c", line] = words.as_slice()
        && is_shell(shell)
    {
        return Some(of_line(line, destination));
    }
    if let Some(reaction) = signal_of(&words) {
        return Some(Meant { reaction: Some(reaction), ..Meant::default() });
    }
    let is_plain = !part.iter().any(|word| word.contains(['$', '`', '*', '?', '~']));
    let is_program = words.first().is_some_and(|first| !BUILTINS.contains(first) && !first.contains('='));
    (is_plain && is_program).then(|| Meant { reaction: Some(run(part.to_vec())), ..Meant::default() })
}

/// A line that starts a program, as words: without a shell, and without the shell's `exec` before it. `None` if it needs a shell.
pub(super) fn program(line: &str) -> Option<Vec<String>> {
    let mut words = plain_words(line)?;
    if words.first().is_some_and(|word| word == "exec") {
        words.remove(0);
    }
    let is_program =
        |word: &String| !BUILTINS.contains(&word.as_str()) && !word.contains('=') && !word.starts_with('-');
    words.first().is_some_and(is_program).then_some(words)
}

/// Words that a shell does itself, or that mean something else there.
const BUILTINS: &[&str] = &[
    ".", "source", "exec", "eval", "cd", "export", "set", "unset", "trap", "if", "for", "while", "until",
    "case", "{", "!", ":", "wait", "umask", "ulimit", "command", "[[", "function", "time", "read", "shift",
    "return", "exit",
];

/// The commands of `a && b`, without what only silences: `|| true`, `> /dev/null`, `2>&1`. `None` for anything else.
fn chain(tokens: &[Token]) -> Option<Vec<Vec<String>>> {
    let mut tokens = tokens;
    while let Some(rest) = quieted(tokens) {
        tokens = rest;
    }
    let mut parts = vec![Vec::new()];
    for token in tokens {
        match token {
            Token::Word(word) => parts.last_mut()?.push(word.clone()),
            Token::Operator(operator) if operator == "&&" || operator == ";" => parts.push(Vec::new()),
            Token::Operator(_) => return None,
        }
    }
    // `a;` ends with an empty one.
    if parts.last().is_some_and(Vec::is_empty) && parts.len() > 1 {
        parts.pop();
    }
    parts.iter().all(|part| !part.is_empty()).then_some(parts)
}

/// The tokens without something at their end that changes nothing for Squire, which goes on when a reaction fails.
fn quieted(tokens: &[Token]) -> Option<&[Token]> {
    let text = |token: &Token| match token {
        Token::Word(word) => word.clone(),
        Token::Operator(operator) => operator.clone(),
    };
    let ends = |ending: &[&str]| {
        let at = tokens.len().checked_sub(ending.len())?;
        let (rest, tail) = tokens.split_at(at);
        (tail.iter().map(text).eq(ending.iter().map(ToString::to_string)) && !rest.is_empty()).then_some(rest)
    };
    [
        &["||", "true"][..],
        &["||", ":"],
        &["||", "/bin/true"],
        &["||", "exit", "0"],
        &[";", "true"],
        &[">", "/dev/null"],
        &["2>", "/dev/null"],
        &["&>", "/dev/null"],
        &["2>&1"],
    ]
    .into_iter()
    .find_map(ends)
}

/// `chmod` and `chown` of the rendered file itself.
fn on_the_file(words: &[&str], destination: &str, meant: &mut Meant) -> bool {
    let is_it = |path: &str| {
        !destination.is_empty() && path.trim_end_matches('/') == destination.trim_end_matches('/')
    };
    match words {
        ["chmod" | "/bin/chmod", mode, path] if is_it(path) => {
            let bits = value::quoted_mode(mode).and_then(|mode| value::mode(mode.bits));
            let is_known = bits.is_some();
            meant.mode = bits.or(meant.mode.take());
            is_known
        }
        ["chown" | "/bin/chown", who, path] if is_it(path) && !who.starts_with('-') => {
            let (owner, group) = who.split_once(':').unwrap_or((who, ""));
            meant.owner = Some(owner.to_owned()).filter(|owner| !owner.is_empty()).or(meant.owner.take());
            meant.group = Some(group.to_owned()).filter(|group| !group.is_empty()).or(meant.group.take());
            true
        }
        ["chgrp" | "/bin/chgrp", group, path] if is_it(path) && !group.starts_with('-') => {
            meant.group = Some((*group).to_owned());
            true
        }
        _ => false,
    }
}

/// A signal to another process, if the words ask for nothing else.
fn signal_of(words: &[&str]) -> Option<Reaction> {
    let (program, arguments) = words.split_first()?;
    match program.rsplit('/').next()? {
        "kill" => {
            let (signal, rest) = with_signal(arguments, &["-s", "-n"])?;
            let [target] = rest.as_slice() else { return None };
            let inner = substituted(target)?;
            let inner: Vec<&str> = inner.split_whitespace().collect();
            match inner.as_slice() {
                ["cat" | "<", file] => pid_file(signal, file),
                [one] if one.starts_with('<') => pid_file(signal, one.trim_start_matches('<')),
                ["pidof" | "pgrep", name] | ["pidof", "-s", name] | ["pgrep", "-x" | "-o" | "-n", name] => {
                    named(signal, name)
                }
                _ => None,
            }
        }
        "pkill" => {
            let (signal, rest) = with_signal(arguments, &["--signal", "-s"])?;
            let rest: Vec<&str> = rest.into_iter().filter(|word| *word != "-x").collect();
            let [name] = rest.as_slice() else { return None };
            named(signal, name)
        }
        "killall" => {
            let (signal, rest) = with_signal(arguments, &["-s", "--signal"])?;
            let rest: Vec<&str> =
                rest.into_iter().filter(|word| !matches!(*word, "-q" | "--quiet")).collect();
            let [name] = rest.as_slice() else { return None };
            named(signal, name)
        }
        _ => None,
    }
}

/// The signal that the words name, TERM if none, and the other words.
fn with_signal<'w>(words: &[&'w str], flags: &[&str]) -> Option<(String, Vec<&'w str>)> {
    let mut signal = "SIGTERM".to_owned();
    let mut rest = Vec::new();
    let mut words = words.iter().copied();
    while let Some(word) = words.next() {
        let inline = flags
            .iter()
            .filter(|flag| flag.starts_with("--"))
            .find_map(|flag| word.strip_prefix(flag)?.strip_prefix('='));
        if flags.contains(&word) {
            signal = value::signal(words.next()?)?;
        } else if let Some(name) = inline {
            signal = value::signal(name)?;
        } else if word == "--" {
            rest.extend(words.by_ref());
        } else if let Some(name) = word.strip_prefix('-').filter(|name| value::signal(name).is_some()) {
            signal = value::signal(name)?;
        } else if matches!(word, "-KILL" | "-9" | "-SIGKILL" | "-STOP" | "-0") {
            return None;
        } else {
            rest.push(word);
        }
    }
    Some((signal, rest))
}

/// What stands in `$(…)` or in backticks.
fn substituted(word: &str) -> Option<&str> {
    let inner = word.strip_prefix("$(").and_then(|rest| rest.strip_suffix(')'));
    let inner = inner.or_else(|| word.strip_prefix('`').and_then(|rest| rest.strip_suffix('`')))?;
    (!inner.contains(['$', '`', '(', '|', ';', '&'])).then_some(inner)
}

fn pid_file(signal: String, file: &str) -> Option<Reaction> {
    let file = file.trim_matches(['"', '\'']);
    let is_plain = file.starts_with('/')
        && !file.contains(['$', '*', '?', '"', '\''])
        && !file.split('/').any(|part| part == "..");
    is_plain.then(|| Reaction::PidFile { signal, pid_file: file.to_owned() })
}

fn named(signal: String, name: &str) -> Option<Reaction> {
    let name = name.trim_matches(['"', '\'']);
    let is_plain = !name.is_empty()
        && !name.starts_with('-')
        && name.chars().all(|c| c.is_alphanumeric() || "._-+".contains(c));
    is_plain.then(|| Reaction::Named { signal, process: name.to_owned() })
}

fn is_shell(word: &str) -> bool {
    matches!(word.rsplit('/').next(), Some("sh" | "bash" | "ash" | "dash"))
}

fn run(command: Vec<String>) -> Reaction {
    Reaction::Run { command, timeout: None }
}

#[cfg(test)]
mod tests;
