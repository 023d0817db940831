//! The command line; the files in `cli/` perform its commands.
//!
//! *Invariant:* every command ends with an exit code that [`perform`] returns; nothing here ends the process.

mod admin;
mod ask;
mod audit;
mod check;
#[cfg(feature = "import")]
mod compare;
mod credentials;
#[cfg(feature = "import")]
mod import;
mod install;
mod load;
mod log;
mod manual;
mod otlp;
mod output;
mod policy;
mod prepare;
mod proxy;
mod run;
mod status;
mod store;
mod template;
mod visit;

use std::ffi::OsString;
use std::panic;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

use crate::harden;
use crate::supervise::FAILED;
use load::Origin;

/// The exit code for usage and configuration problems.
const USAGE: u8 = 2;

/// The exit code when the reader of the output closed the pipe: 128 and the number of SIGPIPE, as for every program that SIGPIPE ends.
const NOBODY_READS: u8 = 141;

/// The command line.
#[derive(Debug, Parser)]
#[command(name = "squire", version, about, max_term_width = 100, after_help = EXAMPLES)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Keep secrets right for as long as a process needs them
    #[command(after_help = RUN_EXAMPLES)]
    Run {
        #[command(flatten)]
        file: ConfigFile,
        /// Without a configuration: variables for the process, of which some refer to secrets
        #[arg(long, value_name = "FILE", conflicts_with = "config")]
        env_file: Vec<PathBuf>,
        /// The process to wrap, instead of the configuration's `process.command`
        #[arg(last = true, value_name = "COMMAND")]
        process: Vec<String>,
    },
    /// Give units of systemd the credentials that they load, and tell them when one changes
    #[command(after_help = CREDENTIALS_EXAMPLES)]
    ServeCredentials {
        #[command(flatten)]
        file: ConfigFile,
        #[command(flatten)]
        asked: credentials::Asked,
    },
    /// Publish one release, then exit: for init containers and CI
    #[command(after_help = RENDER_EXAMPLES)]
    Render {
        #[command(flatten)]
        file: ConfigFile,
        /// Render this template to stdout instead of publishing files
        #[arg(long, value_name = "FILE")]
        template: Option<PathBuf>,
    },
    /// Find every problem of a configuration and its templates; with --online also what its servers do not allow
    #[command(after_help = CHECK_EXAMPLES)]
    Check {
        #[command(flatten)]
        file: ConfigFile,
        #[command(flatten)]
        asked: check::CheckAsked,
        /// The process that `run` would wrap
        #[arg(last = true, value_name = "COMMAND")]
        process: Vec<String>,
    },
    #[command(flatten)]
    Ask(ask::Ask),
    /// Print the least policy that a configuration needs, in the language of each source
    #[command(after_help = POLICY_EXAMPLES)]
    Policy {
        #[command(flatten)]
        file: ConfigFile,
        #[command(flatten)]
        asked: policy::PolicyAsked,
    },
    /// The templates that come with Squire: .env files, .pgpass, Kafka, nginx, kubeconfig and more
    Template(template::Asked),
    /// Take over what Vault Agent, OpenBao Agent, consul-template, envconsul or an injector runs on
    #[cfg(feature = "import")]
    Import(import::Asked),
    /// Copy this program to a file, for an init container that brings it into another image
    #[command(after_help = INSTALL_EXAMPLES)]
    Install {
        /// The file, or a directory that is there
        #[arg(value_name = "PATH")]
        to: PathBuf,
    },
    /// Check the audit of what was done with secrets, and ask it
    Audit(audit::Asked),
    /// Keep secrets in an encrypted file of this machine
    Store(Box<store::Asked>),
    /// Print the completions of a shell
    #[command(after_help = COMPLETIONS_EXAMPLES)]
    Completions {
        /// The shell [default: what the variable SHELL says]
        shell: Option<Shell>,
    },
    /// Write the manual pages of all commands into a directory
    Man {
        /// The directory; it is made if need be
        #[arg(value_name = "DIR")]
        directory: PathBuf,
    },
}

#[derive(Args, Debug)]
struct ConfigFile {
    /// The configuration [default: squire.toml, if it is there; else what the environment refers to]
    #[arg(short, long, value_name = "FILE", env = "SQUIRE_CONFIG")]
    config: Option<PathBuf>,
}

/// The configuration file that is used if none is named.
const USUAL: &str = "squire.toml";

impl ConfigFile {
    /// Where the configuration comes from.
    fn origin(&self, env_files: Vec<PathBuf>) -> Origin {
        match self.config.clone() {
            Some(file) => Origin::File(file),
            None if env_files.is_empty() && Path::new(USUAL).exists() => Origin::File(USUAL.into()),
            None => Origin::Environment(env_files),
        }
    }
}

const EXAMPLES: &str = "\
Examples:
  squire check -c squire.toml               find every problem before anything starts
  squire check -c squire.toml --online      and what the servers do not allow
  squire policy -c squire.toml              print the least policy that it needs
  squire run -c squire.toml -- ./app        wrap a process and rotate its secrets
  squire render -c squire.toml              write the files once and exit
  squire status -c squire.toml              how the squire of this configuration stands
  squire template list                      the templates that come with Squire

Environment:
  SQUIRE_CONFIG       the configuration, where -c is not given
  SQUIRE_REFRESH      without a configuration: how often static secrets are re-read (5m)
  VAULT_ADDR, …       the server and the login, where the configuration does not say:
                      VAULT_ROLE_ID and VAULT_SECRET_ID, or VAULT_TOKEN, each also with _FILE;
                      VAULT_NAMESPACE, VAULT_CACERT; and all of them with BAO_
  HTTPS_PROXY, …      HTTP_PROXY and NO_PROXY: the way there, where the configuration does not say it
  AWS_REGION, …       region and credentials of AWS, as every tool of AWS takes them
  SQUIRE_SOCKET       the socket of a squire that runs, where the configuration does not say it
  SQUIRE_LOG          what is logged: off, error, warn, info (default) or debug, or per module;
                      trace is the same as debug in a release
  SQUIRE_LOG_FORMAT   text or json; text on a terminal, else json

Exit status: that of the process; 128+n if signal n ended it; 127 if it cannot be found, 126 if it
cannot be executed, 125 if Squire itself failed; 2 for usage and configuration problems; 1 if
`render` failed.";

const RUN_EXAMPLES: &str = "\
Examples:
  squire run -- /usr/local/bin/app --port 8080
  squire run -c /etc/squire/squire.toml
  DB_PASSWORD='vault:secret/app#password' squire run -- ./app
  squire run --env-file app.env -- ./app
  SQUIRE_LOG=debug squire run -c squire.toml -- env";

const CREDENTIALS_EXAMPLES: &str = "\
Examples:
  squire serve-credentials -c /etc/squire/credentials.toml
  squire serve-credentials -c credentials.toml --listen /run/squire/credentials.sock
  squire serve-credentials -c credentials.toml --user --listen \"$XDG_RUNTIME_DIR/squire.sock\"

A unit has then LoadCredential=db-password:/run/squire/credentials.sock, and its program reads the
file $CREDENTIALS_DIRECTORY/db-password. Which unit may have which credential is in [[credential]].
A unit that may not have it, or that waits for longer than a minute for the first values, fails.";

const RENDER_EXAMPLES: &str = "\
Examples:
  squire render -c /etc/squire/squire.toml
  squire render -c squire.toml --template report.hbs > report.txt
  echo 'password=${vault:secret/app#password}' | squire render --template /dev/stdin

What was leased stays leased: it ends with its lease or its token. Without `startup_timeout` in the
configuration, it gives up after 60 seconds, and sooner where waiting is of no use.";

const CHECK_EXAMPLES: &str = "\
Examples:
  squire check -c squire.toml
  squire check -c squire.toml -- /usr/local/bin/app
  squire check -c squire.toml --online                       also ask what the servers allow
  squire check -c squire.toml --online --token-file token    the same, with this token

With --online it logs in as `run` would, asks about each path without reading a secret, and gives
its token back. A login with a secret-id counts as one of its uses. One that would use up the file
of the secret-id (`unwrap`, `delete_secret_id`) is not done: give a token with the same policies.

Exit status: 0 if all is well, 1 if something is missing or a server cannot be asked, 2 if the
configuration has problems.";

const INSTALL_EXAMPLES: &str = "\
Examples:
  squire install /squire-bin      as /squire-bin/squire, where the app's container finds it

It is for everybody to execute (0555), and appears whole. What is there already is replaced.";

const POLICY_EXAMPLES: &str = "\
Examples:
  squire policy -c squire.toml
  squire policy -c squire.toml --source vault | bao policy write app -
  squire policy -c squire.toml --online --token-file ~/.vault-token
  squire policy -c squire.toml --source aws > policy.json

HCL for a Vault or OpenBao, JSON for AWS IAM, for a store the command that makes the role. With
one source stdout has nothing else; what a person should know is on stderr. What is mounted where
is not known without asking, so a secret without `kind` has a line for KV v2 and one for all else.
--online asks; the role itself can do so only once it has a policy, an operator's token can now.";

const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  squire completions bash > /etc/bash_completion.d/squire
  squire completions zsh > /usr/local/share/zsh/site-functions/_squire
  squire completions fish > ~/.config/fish/completions/squire.fish";

/// Does what the command line asks for; returns the exit code of the program.
pub fn perform(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    harden::shield();
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // If this text cannot be written, nobody reads it.
            drop(error.print());
            return ExitCode::from(if error.use_stderr() { USAGE } else { 0 });
        }
    };
    let log = log::start();
    // A panic ends with Squire's own exit code, never with 101, the code that Rust gives it.
    let code = panic::catch_unwind(|| command(cli.command)).unwrap_or(FAILED);
    log.iter().for_each(log::Queue::finish);
    ExitCode::from(code)
}

fn command(command: Command) -> u8 {
    match command {
        Command::Run { file, env_file, process } => run::run(&file.origin(env_file), given(process)),
        Command::ServeCredentials { file, asked } => {
            run::serve_credentials(&file.origin(Vec::new()), asked.wanted())
        }
        Command::Render { file, template } => run::render(&file.origin(Vec::new()), template.as_deref()),
        Command::Ask(asked) => ask::perform(asked),
        Command::Template(asked) => template::perform(&asked),
        #[cfg(feature = "import")]
        Command::Import(asked) => import::perform(&asked),
        Command::Install { to } => install::install(&to),
        Command::Audit(asked) => audit::perform(&asked),
        Command::Store(asked) => store::perform(&asked),
        Command::Check { file, asked, process } => {
            check::check(&file.origin(Vec::new()), given(process), &asked)
        }
        Command::Policy { file, asked } => policy::policy(&file.origin(Vec::new()), &asked),
        Command::Completions { shell } => manual::completions(shell),
        Command::Man { directory } => manual::man(&directory),
    }
}

fn given(process: Vec<String>) -> Option<Vec<String>> {
    (!process.is_empty()).then_some(process)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
