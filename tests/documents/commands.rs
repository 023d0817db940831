//! docs/commands.md has a heading for each command and a line for each argument of the command line, and no other.

use std::collections::BTreeSet;
use std::path::Path;

use clap::{Arg, ArgAction, Command, CommandFactory};
use squire::cli::Cli;

use super::page::{Page, Row, codes as codes_in, only_code, page};
use super::shell;

/// The command line, as it is used.
fn command_line() -> Command {
    let mut command = Cli::command();
    command.build();
    command
}

/// An argument, as the page writes it.
fn written(argument: &Arg) -> String {
    let short = argument.get_short().map(|short| format!("-{short}, ")).unwrap_or_default();
    format!("{short}{argument}")
}

/// The line of an argument: in the section of its command, or among those of several commands, where it names this one.
fn line<'a>(page: &'a Page, command: &str, argument: &str) -> Option<&'a Row> {
    let rows =
        page.rows.iter().filter(|row| row.head == "argument" && only_code(&row.cells[0]) == Some(argument));
    let short = command.strip_prefix("squire ").unwrap_or(command);
    let mut fitting = rows.filter(|row| match row.cells.get(2) {
        Some(of) => of.split(", ").any(|of| of == short),
        None => page.above(row).codes.first().is_some_and(|code| code == command),
    });
    fitting.next()
}

/// Whether it is there without being asked for: `--help` and `--version`.
fn is_of_clap(argument: &Arg) -> bool {
    use ArgAction::{Help, HelpLong, HelpShort, Version};
    matches!(argument.get_action(), Help | HelpLong | HelpShort | Version)
}

/// What was found.
#[derive(Default)]
struct Comparison {
    /// The places of the lines that are right.
    right: BTreeSet<String>,
    wrong: Vec<String>,
}

impl Comparison {
    /// Compares a command and those below it with the page. What is inherited is said at the command that defines it.
    fn compare(&mut self, page: &Page, command: &Command, name: &str, inherited: &[&str]) {
        let has_heading =
            page.headings.iter().any(|heading| heading.codes.first().is_some_and(|code| code == name));
        if !has_heading && name != "squire" {
            self.wrong.push(format!("no heading `{name}`"));
        }
        let is_own =
            |argument: &&Arg| !is_of_clap(argument) && !inherited.contains(&argument.get_id().as_str());
        for argument in command.get_arguments().filter(is_own) {
            self.argument(page, argument, name);
        }
        let globals = command.get_arguments().filter(|argument| argument.is_global_set());
        let globals: Vec<_> = globals.map(|argument| argument.get_id().as_str()).collect();
        for inner in command.get_subcommands().filter(|inner| inner.get_name() != "help") {
            self.compare(page, inner, &format!("{name} {}", inner.get_name()), &globals);
        }
    }

    fn argument(&mut self, page: &Page, argument: &Arg, command: &str) {
        let text = written(argument);
        let Some(row) = line(page, command, &text) else {
            self.wrong.push(format!("{command}: no line for `{text}`"));
            return;
        };
        self.right.insert(row.place.clone());
        let variable = argument.get_env().map(|name| name.to_str().unwrap().to_owned());
        let defaults = argument.get_default_values().iter().map(|value| value.to_str().unwrap().to_owned());
        let defaults = defaults.filter(|_| argument.get_action().takes_values());
        for word in variable.into_iter().chain(defaults) {
            if !row.cells[1].contains(&word) {
                self.wrong.push(format!("{}: `{text}` does not say {word}", row.place));
            }
        }
    }
}

#[test]
fn every_command_and_argument_has_its_place_and_nothing_else_has() {
    let page = page(Path::new("docs/commands.md"));
    let mut found = Comparison::default();
    found.compare(&page, &command_line(), "squire", &[]);
    let Comparison { right, mut wrong } = found;
    let of_clap = ["-h, --help", "-V, --version"];
    for row in page.rows.iter().filter(|row| row.head == "argument" && !right.contains(&row.place)) {
        let argument = only_code(&row.cells[0]).unwrap_or(&row.cells[0]);
        if !of_clap.contains(&argument) {
            wrong.push(format!("{}: nobody knows `{argument}` there", row.place));
        }
    }
    for command in page.headings.iter().flat_map(|heading| &heading.codes) {
        let mut words = command.split(' ').skip(1);
        let known = words.try_fold(Cli::command(), |command, word| command.find_subcommand(word).cloned());
        if known.is_none() {
            wrong.push(format!("there is no `{command}`"));
        }
    }
    let codes = page.rows.iter().filter(|row| page.above(row).text == "Exit codes");
    let codes: Vec<_> = codes.flat_map(|row| codes_in(&row.cells[0])).collect();
    for command in command_line().get_subcommands().map(Command::get_name).filter(|name| *name != "help") {
        if !codes.iter().any(|code| code.split(' ').next() == Some(command)) {
            wrong.push(format!("no exit code of `{command}`"));
        }
    }
    assert!(wrong.is_empty(), "docs/commands.md:\n{}", wrong.join("\n"));
    assert!(right.len() > 80, "only {} lines", right.len());
}

#[test]
fn every_example_of_the_help_is_a_command_line() {
    let (mut commands, mut tried) = (vec![Cli::command()], 0);
    while let Some(command) = commands.pop() {
        commands.extend(command.get_subcommands().cloned());
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let lines = help.replace("\\\n", "");
        // An example and what is said about it are apart by several blanks.
        for line in lines.lines().filter_map(|line| line.strip_prefix("  ")) {
            let example = line.split("   ").next().unwrap();
            tried += shell::check(example, command.get_name());
        }
    }
    assert!(tried > 30, "only {tried} examples were tried");
}
