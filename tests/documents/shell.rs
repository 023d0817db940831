//! Lines of a shell, as far as the commands of Squire in them are concerned.

use clap::Parser;
use clap::error::ErrorKind;
use squire::cli::Cli;

/// The commands of a script: what stands between the operators, without comments.
fn commands(script: &str) -> Vec<String> {
    let (mut commands, mut command, mut quote, mut before) = (Vec::new(), String::new(), None, '\n');
    let script = script.replace("\\\n", " ");
    let mut rest = script.chars().peekable();
    while let Some(char) = rest.next() {
        match (quote, char) {
            (None, '#') if before.is_whitespace() => while rest.next_if(|next| *next != '\n').is_some() {},
            (None, '|' | ';' | '&' | '\n' | '(' | ')' | '<' | '>') => {
                commands.push(std::mem::take(&mut command));
                // What is redirected is a word of its own, and no command.
                if matches!(char, '<' | '>') {
                    command.push_str("file ");
                }
            }
            (None, '\'' | '"') => {
                quote = Some(char);
                command.push(char);
            }
            (Some(open), _) if open == char => {
                quote = None;
                command.push(char);
            }
            _ => command.push(char),
        }
        before = char;
    }
    commands.push(command);
    commands
}

/// The words of a command from `squire` on, if it is one of Squire.
fn words(command: &str) -> Option<Vec<String>> {
    let words = shell_words::split(command).unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let is_assignment = |word: &&String| {
        word.split_once('=').is_some_and(|(name, _)| !name.starts_with('-') && !name.contains(' '))
    };
    let skipped = words
        .iter()
        .take_while(|word| is_assignment(word) || matches!(word.as_str(), "$" | "exec" | "command"))
        .count();
    let words = &words[skipped..];
    let name = words.first()?.rsplit('/').next()?;
    (name == "squire").then(|| words.to_vec())
}

/// Why the command line does not read these words; `None` if it does, or would with what the example leaves open.
fn refusal(words: &[String]) -> Option<String> {
    let error = Cli::try_parse_from(words).err()?;
    let is_open = words.iter().any(|word| word.contains(['…', '$']));
    let is_help = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    let is_left_open = error.kind() == ErrorKind::ValueValidation && is_open;
    (!is_help && !is_left_open).then(|| error.to_string())
}

/// Checks every command of Squire in a script; their number.
#[track_caller]
pub(super) fn check(script: &str, place: &str) -> usize {
    let ours: Vec<_> = commands(script).iter().filter_map(|command| words(command)).collect();
    for words in &ours {
        if let Some(why) = refusal(words) {
            panic!("{place}: {}: {why}", words.join(" "));
        }
    }
    ours.len()
}

/// Why this cannot be a part of a command line of Squire; what is missing in it is left out.
pub(super) fn mistake(code: &str) -> Option<String> {
    let words = shell_words::split(code).ok()?;
    let error = Cli::try_parse_from(&words).err()?;
    let is_mistake = matches!(error.kind(), ErrorKind::InvalidSubcommand | ErrorKind::UnknownArgument);
    is_mistake.then(|| error.to_string())
}

#[test]
fn commands_are_found_among_other_things() {
    let script = "A=1 squire run -c 'a b;c' -- ./app   # squire nothing\n$ squire store list \\\n  dev/ | jq . && ./squire hold\n\
                  echo squire\nsquire store put a/b < squire.txt\nx=$(squire store tip)\n";
    let found: Vec<_> = commands(script).iter().filter_map(|command| words(command)).collect();
    let found: Vec<_> = found.iter().map(|words| words.join(" ")).collect();
    let expected = [
        "squire run -c a b;c -- ./app",
        "squire store list dev/",
        "./squire hold",
        "squire store put a/b",
        "squire store tip",
    ];
    assert_eq!(found, expected);
    assert_eq!(check("squire store verify --since \"$(squire store tip)\"", "here"), 1);
    assert!(refusal(&["squire".to_owned(), "nothing".to_owned()]).is_some());
    assert!(mistake("squire store rol add").is_some() && mistake("squire store role add").is_none());
}
