//! What a package has beside the program: completions that a shell takes, and a manual page for each command.

use std::collections::BTreeSet;
use std::process::{Command, Output};

fn squire(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_squire")).args(words).env_remove("SHELL").output().unwrap()
}

#[test]
fn bash_completes_commands_flags_and_files() {
    let directory = tempfile::tempdir().unwrap();
    let script = directory.path().join("squire.bash");
    std::fs::write(&script, squire(&["completions", "bash"]).stdout).unwrap();
    let complete = |words: &str, last: usize| {
        let program = format!(
            "source {}; COMP_WORDS=({words}); COMP_CWORD={last}; _squire squire \"${{COMP_WORDS[{last}]}}\" \"${{COMP_WORDS[{last}-1]}}\"; \
             printf '%s\\n' \"${{COMPREPLY[@]}}\"",
            script.display()
        );
        let output = Command::new("bash").args(["-eu", "-c", &program]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(complete("squire sta", 1), "status\n");
    assert_eq!(complete("squire store dest", 2), "destroy\n");
    assert!(complete("squire status --r", 2).contains("--ready\n"));
}

#[test]
fn every_shell_has_a_script_and_a_shell_that_nobody_names_is_asked_for() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = squire(&["completions", shell]);
        assert!(output.status.success() && output.stdout.len() > 1000, "{shell}");
    }
    let output = squire(&["completions"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("squire completions bash"));
}

/// The commands below one, from its own help.
fn below(words: &[&str]) -> Vec<String> {
    let help = String::from_utf8(squire(&[words, &["--help"]].concat()).stdout).unwrap();
    let lines = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let names = lines.take_while(|line| !line.is_empty()).filter_map(|line| line.strip_prefix("  "));
    names
        .filter_map(|line| line.split(' ').next())
        .filter(|name| !name.is_empty() && *name != "help")
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_command_has_its_page() {
    let directory = tempfile::tempdir().unwrap();
    let pages = directory.path().join("share/man1");
    assert!(squire(&["man", pages.to_str().unwrap()]).status.success());
    let written: BTreeSet<_> = std::fs::read_dir(&pages)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let commands = below(&[]);
    assert!(commands.len() > 10, "{commands:?}");
    let nested = commands
        .iter()
        .flat_map(|command| below(&[command]).into_iter().map(move |name| format!("{command}-{name}")));
    for command in commands.iter().cloned().chain(nested) {
        assert!(written.contains(&format!("squire-{command}.1")), "{command} in {written:?}");
    }
    let page = std::fs::read_to_string(pages.join("squire-run.1")).unwrap();
    assert!(page.contains(".TH") && page.contains("process to wrap"), "{page}");

    let taken = directory.path().join("file");
    std::fs::write(&taken, "").unwrap();
    let output = squire(&["man", taken.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot write the manual pages into"));
}
