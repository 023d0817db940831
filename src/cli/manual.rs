//! What a package has beside the program, made by the program itself, so that it is never of another version: manual pages, and the
//! completions of shells.

use std::fs;
use std::io;
use std::path::Path;

use clap::CommandFactory;
use clap_complete::Shell;

use super::load::complain;
use super::output::say;
use super::{Cli, USAGE};

/// The exit code where the pages cannot be written.
const NOT_WRITTEN: u8 = 1;

/// Prints the script by which a shell completes the words of `squire`.
pub(super) fn completions(shell: Option<Shell>) -> u8 {
    let Some(shell) = shell.or_else(Shell::from_env) else {
        complain(&[
            "which shell? SHELL does not say it; write squire completions bash, for example".to_owned()
        ]);
        return USAGE;
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "squire", &mut script);
    say(&String::from_utf8_lossy(&script))
}

/// Writes a manual page for each command into a directory, which is made if need be.
pub(super) fn man(directory: &Path) -> u8 {
    match write(directory) {
        Ok(()) => 0,
        Err(error) => {
            complain(&[format!("cannot write the manual pages into {}: {error}", directory.display())]);
            NOT_WRITTEN
        }
    }
}

fn write(directory: &Path) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    clap_mangen::generate_to(Cli::command(), directory)
}
