//! The documents say what is so: every link leads somewhere, every example works, and what a page lists is what the code knows.
//!
//! A fenced block is tried by its language:
//!
//! | language | what is done with it |
//! |---|---|
//! | `toml` | it has to be a configuration, whole or completed by the first one of the README, and has to compile to a plan |
//! | `json`, `yaml` | it is parsed |
//! | `handlebars` | it is compiled |
//! | `sh`, `bash`, `console` | the command line of Squire reads each `squire …`, and what says so is run |
//! | none | a drawing: nothing |
//!
//! A comment in front of a block says what is not usual with it. Blocks of shells, of printed text, and of languages that are not above need one:
//!
//! | comment | what it means |
//! |---|---|
//! | `<!-- run: NAME -->` | it is run, after the other blocks with this name on the page, in a private directory with a real `squire`; lines that follow in the comment prepare that |
//! | `<!-- not run: WHY -->` | it is not tried; the command line still reads each `squire …` |
//! | `<!-- from: FILE -->` | it is quoted from a file of the repository; `…` stands for lines that are left out. A paragraph `` `FILE`: `` means the same |
//! | `<!-- part of: squire policy -->` | this command prints it for the first configuration |
//! | `<!-- printed by: SCRIPT -->` | a script has its headings and commands |
//! | `<!-- a file of hooks -->` | it is read as one |
//!
//! *Invariant:* a page is found by itself: whoever adds one has to do nothing for it to be checked.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a failed step is a failed test")]

mod commands;
mod configurations;
mod examples;
mod explore;
mod helpers;
mod interface;
mod keys;
mod limits;
mod links;
mod page;
mod sessions;
mod shell;
mod tests;
mod variables;

/// What is wrong, one a line.
fn listed(problems: impl IntoIterator<Item = impl std::fmt::Display>) -> String {
    let lines: Vec<_> = problems.into_iter().map(|problem| problem.to_string()).collect();
    lines.join("\n")
}
