//! `squire import --compare`: the agent renders its configuration, Squire renders what was imported of it, and what differs is said.
//!
//! *Invariant:* nothing that either of them would write, signal or start elsewhere is written, signalled or started; no credential is used
//! up; of what was rendered nothing is shown, but for what stands in the template too.

mod program;
mod report;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use super::load::{Comparable, complain, load_comparison};
use super::output::say;
use super::run::rendered;
use super::{FAILED, USAGE};
use crate::harden;
use crate::import::{self, Agent, Imported, Input, Subject, Trial};
use crate::mask::{finished_lines, masked};
use crate::ordered::Order as _;
use crate::secret::{Fields, Secret};
use program::{End, Private, run};
use report::{Compared, There, report, unknown};

/// How long the agent may take where nothing else is said.
pub(super) const USUAL_TIMEOUT: &str = "60s";

/// The agent that is compared with where none is named.
pub(super) const USUAL_PROGRAM: &str = "bao agent";

/// The same for a configuration of consul-template, which that one does not read.
const CONSUL_TEMPLATE: &str = "consul-template";

/// What makes it render once and end, beside what its configuration says.
fn once(agent: Agent) -> &'static [&'static str] {
    match agent {
        Agent::Vault => &[],
        Agent::ConsulTemplate => &["-once"],
    }
}

/// How many bytes of the agent's output are looked at.
const END_OF_OUTPUT: usize = 2 << 10;

/// What is compared, and with whom.
pub(super) struct Comparison<'a> {
    pub(super) inputs: &'a [Input],
    pub(super) imported: &'a Imported,
    /// Gives the text of a file that is named in one of the inputs.
    pub(super) open: &'a dyn Fn(&str) -> Option<String>,
    /// The words that start the agent.
    pub(super) program: &'a str,
    pub(super) timeout: Duration,
}

/// Why there is no comparison.
enum Stop {
    /// What is wrong with the request.
    Usage(Vec<String>),
    /// What did not work.
    Failed(String),
    /// It was said already.
    Code(u8),
}

/// Compares; returns the exit code: 0 if everything is the same.
pub(super) fn compare(comparison: &Comparison<'_>, agent: Agent) -> u8 {
    match perform(comparison, agent) {
        Ok(code) | Err(Stop::Code(code)) => code,
        Err(Stop::Usage(problems)) => {
            complain(&problems);
            USAGE
        }
        Err(Stop::Failed(problem)) => {
            complain(&[problem]);
            1
        }
    }
}

fn perform(comparison: &Comparison<'_>, agent: Agent) -> Result<u8, Stop> {
    // Secrets are in this process's memory, as in that of an agent.
    harden::seal();
    let program = match agent {
        Agent::ConsulTemplate if comparison.program == USUAL_PROGRAM => CONSUL_TEMPLATE,
        Agent::ConsulTemplate | Agent::Vault => comparison.program,
    };
    let mut words = shell_words::split(program).unwrap_or_default();
    if words.is_empty() {
        return Err(Stop::Usage(vec![format!("--compare {:?}: is no command", comparison.program)]));
    }
    words.extend(once(agent).iter().map(|word| (*word).to_owned()));
    let directory = Private::make().map_err(Stop::Failed)?;
    let trial = trial(comparison, agent, directory.name())?;
    let file = Path::new("the imported configuration");
    let ours = load_comparison(file, &comparison.imported.toml, comparison.timeout).map_err(Stop::Usage)?;
    let theirs = theirs(comparison, &words, trial, directory)?;
    if let End::Interrupted(signal) = theirs.end {
        return Err(Stop::Code(u8::try_from(128 + signal).unwrap_or(FAILED)));
    }
    let here = rendered(ours.setup).map_err(Stop::Code)?;
    let compared = compared(&ours.parts, &here, &theirs);
    let (text, is_same) = report(&compared);
    let failure = failure(name(&words), comparison.timeout, &theirs, &compared);
    complain_of(failure.as_deref());
    match say(&text) {
        0 => Ok(u8::from(!is_same || failure.is_some())),
        code => Ok(code),
    }
}

fn complain_of(failure: Option<&str>) {
    if let Some(failure) = failure {
        complain(&[failure.to_owned()]);
    }
}

/// What became of the agent.
struct Theirs {
    trial: Trial,
    /// What it rendered, by its number in the trial.
    rendered: BTreeMap<usize, Vec<u8>>,
    end: End,
    /// The end of what it printed.
    output: Vec<u8>,
}

/// What the agent is run with, if it can be.
fn trial(comparison: &Comparison<'_>, agent: Agent, directory: &str) -> Result<Trial, Stop> {
    let trial = import::trial(comparison.inputs, agent, directory, comparison.open);
    let trial = trial.map_err(|fault| Stop::Usage(vec![fault.to_string()]))?;
    if trial.is_wrapped {
        let why = match agent {
            Agent::Vault => WRAPPED,
            Agent::ConsulTemplate => WRAPPED_TOKEN,
        };
        return Err(Stop::Usage(vec![why.to_owned()]));
    }
    if trial.subjects.is_empty() {
        return Err(Stop::Usage(vec![NOTHING.to_owned()]));
    }
    Ok(trial)
}

/// Runs the agent in a directory that is gone when this returns.
fn theirs(
    comparison: &Comparison<'_>,
    words: &[String],
    trial: Trial,
    directory: Private,
) -> Result<Theirs, Stop> {
    if trial.is_app_role {
        complain(&["note: both log in once, so a secret-id with counted uses loses two of them".to_owned()]);
    }
    let end = directory
        .write("agent.json", &trial.json)
        .and_then(|configuration| run(words, &configuration, &directory, comparison.timeout))
        .map_err(|error| Stop::Failed(format!("cannot run {:?}: {error}", name(words))))?;
    let numbers = 0..trial.subjects.len();
    let rendered =
        numbers.filter_map(|number| Some((number, directory.read(&number.to_string())?))).ordered();
    let output = directory.read(program::OUTPUT).unwrap_or_default();
    // Before anything of ours begins.
    drop(directory);
    Ok(Theirs { trial, rendered, end, output })
}

const WRAPPED: &str = "the file of the secret-id holds a wrapping token, which only one of the two could unwrap: for the comparison, put a \
                       secret-id that is not wrapped into a file, and leave out secret_id_response_wrapping_path in a copy of the configuration";
const WRAPPED_TOKEN: &str = "`unwrap_token` uses its token up: for the comparison, name a token that is not wrapped in a copy of the configuration";
const NOTHING: &str = "there is no template in it, so there is nothing to compare";

/// The program alone: its arguments may hold what nobody should see.
fn name(words: &[String]) -> &str {
    words.first().map_or("", String::as_str)
}

/// Each file and variable that one of them has.
fn compared<'a>(
    parts: &'a [Comparable],
    here: &'a BTreeMap<String, Secret<str>>,
    theirs: &'a Theirs,
) -> Vec<Compared<'a>> {
    let number = |subject: &Subject| theirs.trial.subjects.iter().position(|there| there == subject);
    let there = |number: Option<usize>| match number {
        None => There::NotAsked,
        Some(number) => theirs.rendered.get(&number).map_or(There::Nothing, |text| There::Text(text)),
    };
    let both = parts.iter().map(|part| Compared {
        subject: &part.subject,
        here: here.get(&part.key).map(|text| text.expose().as_bytes()),
        there: there(number(&part.subject)),
        template: &part.template,
        made_for_each: &part.made_for_each,
    });
    let is_theirs_alone = |subject: &&Subject| !parts.iter().any(|part| part.subject == **subject);
    let theirs_alone = theirs.trial.subjects.iter().filter(is_theirs_alone).map(|subject| Compared {
        subject,
        here: None,
        there: there(number(subject)),
        template: "",
        made_for_each: &[],
    });
    both.chain(theirs_alone).collect()
}

/// What the agent said, if it did not end well. What either of them rendered is masked in it.
fn failure(program: &str, timeout: Duration, theirs: &Theirs, compared: &[Compared<'_>]) -> Option<String> {
    let why = match &theirs.end {
        End::Well | End::Interrupted(_) => return None,
        End::Badly(status) => format!("ended: {status}"),
        End::TooLate => format!(
            "did not end within {}, as an agent that tries a template again and again; give it longer with --timeout",
            humantime::format_duration(timeout)
        ),
    };
    // As values, of which a short one and a part of one are found too.
    let values: Fields =
        compared.iter().flat_map(unknown).map(|value| (value.clone(), value.into())).collect();
    let rendered = compared.iter().flat_map(Compared::texts);
    let from = theirs.output.len().saturating_sub(END_OF_OUTPUT);
    let output = theirs.output.get(from..).unwrap_or_default();
    let said = masked(finished_lines(output), [&values], rendered);
    Some(format!("{program:?} {why}; the end of its output: {said}"))
}
