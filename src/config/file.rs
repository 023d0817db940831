//! The text of a configuration file → [`Config`].
//!
//! *Invariant:* [`parse`] gives either a whole configuration or at least one problem.

use std::path::Path;

use toml::de::DeTable;

use super::agent;
use super::audit;
use super::credential;
use super::output::{self, Output};
use super::process;
use super::proxy;
use super::reader::{Reader, Table};
use super::rollout;
use super::secret;
use super::source;
use super::syntax::Damage;
use super::value::POSITIVE_DURATION;
use super::webhook;
use super::{Config, Environment, Problem};

/// Reads the text of a configuration file. `file` is its name as the user gave it. The name is in every problem, and files that the
/// configuration names with a relative path (templates, credentials, certificates) are relative to its directory.
///
/// # Errors
///
/// Every problem, sorted by line. If the text is not even TOML, and the rest of it cannot be trusted, only that is reported.
pub fn parse(file: &Path, text: &str, environment: Environment<'_>) -> Result<Config, Vec<Problem>> {
    match survey(file, text, environment) {
        (Some(config), problems) if problems.is_empty() => Ok(config),
        (_, problems) => Err(problems),
    }
}

/// [`parse`] for a search for problems: beside them, it returns the part that could be read. If there is a problem, that part is only good
/// for finding more of them.
pub fn survey(file: &Path, text: &str, environment: Environment<'_>) -> (Option<Config>, Vec<Problem>) {
    let (tree, errors) = DeTable::parse_recoverable(text);
    let reader = Reader::new(file, text, environment);
    let damage = Damage::assess(text, tree.get_ref(), errors, &reader);
    let config = damage.is_contained.then(|| document(reader.root(tree.get_ref())));

    let mut problems = reader.into_problems();
    problems.retain(|problem| !damage.lines.contains(&problem.place.line));
    problems.extend(damage.problems);
    problems.sort_by_key(|problem| problem.place.line);
    (config, problems)
}

fn document(mut root: Table<'_>) -> Config {
    let startup_timeout = root.read("startup_timeout", &POSITIVE_DURATION);
    let sources =
        source::sources(root.table("source", "a table for each source, such as [source.vault]").as_ref());
    let secrets =
        secret::secrets(root.table("secret", "a table for each secret, such as [secret.db]"), &sources);
    let output = Output::read(root.table("output", "a table: [output]"));
    let files = output::files(root.take("file"), &output);
    let process = process::process(root.table("process", "a table: [process]"));
    let rollout = rollout::rollout(root.table("rollout", "a table: [rollout]"), output.config.dir.is_some());
    let agent = agent::agent(root.table("agent", "a table: [agent]"), output.config.dir.as_deref());
    let audit = audit::audit(
        root.table("audit", "a table: [audit]"),
        output.config.dir.as_deref(),
        agent.ledger.as_ref(),
    );
    let webhook = webhook::webhook(root.table("webhook", "a table: [webhook]"), &agent);
    let proxy = proxy::proxy(root.table("proxy", "a table: [proxy]"), &sources.configs);
    let credentials = credential::credentials(root.take("credential"));
    root.finish();
    Config {
        sources: sources.configs,
        secrets,
        output: output.config,
        mount: output.mount,
        files,
        process,
        rollout,
        agent,
        audit,
        webhook,
        proxy,
        credentials,
        startup_timeout,
    }
}
