//! `squire template`: prints the templates that come with Squire.

use std::fmt::Write as _;

use clap::{Args, Subcommand};

use super::USAGE;
use super::load::complain;
use super::output::say;
use crate::template::shipped::{SHIPPED, Shipped};

#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Asked {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print the name of each, and what reads what it renders to
    List,
    /// Print one, with its comment: what reads it, the fields that it needs, the mode of the file
    Show {
        /// Its name
        name: String,
        /// Print the tables of a configuration that belong to it instead: [[file]] and [secret.NAME]
        #[arg(long)]
        config: bool,
    },
}

const EXAMPLES: &str = "\
Examples:
  squire template list
  squire template show pgpass > pgpass.hbs
  squire template show pgpass --config >> squire.toml";

/// Prints; returns the exit code.
pub(super) fn perform(asked: &Asked) -> u8 {
    match &asked.command {
        Command::List => say(&list()),
        Command::Show { name, config } => match Shipped::find(name) {
            Ok(shipped) => say(if *config { shipped.configuration() } else { shipped.text }),
            Err(problem) => {
                complain(&[problem]);
                USAGE
            }
        },
    }
}

fn list() -> String {
    let width = SHIPPED.iter().map(|shipped| shipped.name.len()).max().unwrap_or_default();
    SHIPPED.iter().fold(String::new(), |mut lines, shipped| {
        // Writing to a `String` cannot fail.
        writeln!(lines, "{:width$}  {}", shipped.name, shipped.purpose()).unwrap_or_default();
        lines
    })
}
