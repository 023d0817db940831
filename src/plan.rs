//! Config + templates → what to want, what to render, who reacts.
//!
//! Everything that can be found wrong without a server is found here, all of it in one go.
//!
//! *Invariant:* pure: files, users and groups are looked up through the [`Surroundings`] that the caller passes. A [`Plan`]
//! refers to no secret that is not wanted, and reacts on no process that there is not.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::{
    Account, Config, EnvConfig, FileConfig, Mode, ProbeConfig, ProbeKind, Problem, ProcessConfig, Reaction,
    RestartConfig, SecretConfig, TemplateSource,
};
use crate::names::{SecretName, SourceName};
use crate::secret::Fields;
use crate::template::{Template, TemplateError};

use nix::sys::signal::Signal;

/// What there is to do.
#[derive(Debug)]
pub struct Plan {
    /// What to want of each source. Only what something refers to is wanted.
    pub wants: BTreeMap<SourceName, Vec<Want>>,
    /// Every file, in the order of the configuration.
    pub files: Vec<PlannedFile>,
    /// Every variable of the process.
    pub env: BTreeMap<String, Template>,
    /// The process, if there is one.
    pub process: Option<PlannedProcess>,
    /// Secrets in the configuration that nothing refers to.
    pub unused: Vec<SecretName>,
}

/// What to ask a source for.
#[derive(Clone, Debug, PartialEq)]
pub struct Want {
    /// Its name in templates.
    pub name: SecretName,
    /// Who has it.
    pub source: SourceName,
    /// Where it is there.
    pub path: String,
    /// Makes it a write.
    pub params: Option<Fields>,
    /// Pins a version of a versioned secret.
    pub version: Option<u64>,
    /// How often it is re-read if it has no lease.
    pub refresh: Duration,
}

/// A file to render.
#[derive(Debug)]
pub struct PlannedFile {
    /// Relative and normalized: part of the generation. Absolute: replaced by one rename.
    pub path: PathBuf,
    /// What is in it.
    pub template: Template,
    /// Who may read it.
    pub attributes: Attributes,
    /// What a change of it asks for.
    pub on_change: Reaction,
}

/// Mode and owners of a file, resolved to numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attributes {
    /// Permission bits.
    pub mode: Mode,
    /// User id.
    pub owner: u32,
    /// Group id.
    pub group: u32,
}

/// The process to supervise.
#[derive(Clone, Debug)]
pub struct PlannedProcess {
    /// Program and arguments.
    pub command: Vec<String>,
    /// What a change of the environment asks for.
    pub on_change: Reaction,
    /// How it is asked to stop.
    pub stop_signal: Signal,
    /// How long it may take for that.
    pub stop_timeout: Duration,
    /// What follows when it exits by itself.
    pub restart: RestartConfig,
}

/// What the plan has to ask the machine.
pub struct Surroundings<'a> {
    /// Reads a template.
    pub read: &'a dyn Fn(&Path) -> io::Result<String>,
    /// The number of a user.
    pub user: &'a dyn Fn(&str) -> Option<u32>,
    /// The number of a group.
    pub group: &'a dyn Fn(&str) -> Option<u32>,
    /// Squire's own user and group.
    pub own: (u32, u32),
}

/// Something that is wrong, in the configuration or in a template.
#[derive(Clone, Debug, PartialEq)]
pub enum Finding {
    /// In the configuration.
    Config(Problem),
    /// In a template.
    Template(TemplateError),
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(problem) => problem.fmt(f),
            Self::Template(error) => error.fmt(f),
        }
    }
}

/// Makes the plan, or says everything that stands against it. `command` is what the command line gave after `--`; it wins over
/// the configuration's.
pub fn compile(
    config: &Config,
    command: Option<Vec<String>>,
    surroundings: &Surroundings<'_>,
) -> Result<Plan, Vec<Finding>> {
    let mut compiler = Compiler { config, surroundings, findings: Vec::new(), used: BTreeSet::new() };
    let process = planned_process(&config.process, command);
    let files = config.files.iter().filter_map(|file| compiler.file(file, process.is_some())).collect();
    let env = config.process.env.iter().filter_map(|(name, env)| compiler.variable(name, env)).collect();
    if process.is_none() {
        compiler.refuse_env_without_process(&config.process);
        compiler.refuse_life_without_process(config.rollout.probe.as_ref());
    }
    let Compiler { findings, used, .. } = compiler;
    if !findings.is_empty() {
        return Err(findings);
    }
    let (used, unused): (Vec<_>, Vec<_>) =
        config.secrets.iter().partition(|(name, _)| used.contains(name.as_str()));
    let mut wants: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (name, secret) in used {
        wants.entry(secret.source.clone()).or_default().push(want(name, secret));
    }
    Ok(Plan {
        wants,
        files,
        env,
        process,
        unused: unused.into_iter().map(|(name, _)| name.clone()).collect(),
    })
}

fn planned_process(config: &ProcessConfig, command: Option<Vec<String>>) -> Option<PlannedProcess> {
    let command = command.or_else(|| config.command.clone())?;
    Some(PlannedProcess {
        command,
        on_change: config.on_change.clone(),
        stop_signal: config.stop_signal,
        stop_timeout: config.stop_timeout,
        restart: config.restart,
    })
}

fn want(name: &SecretName, secret: &SecretConfig) -> Want {
    Want {
        name: name.clone(),
        source: secret.source.clone(),
        path: secret.path.clone(),
        params: secret.params.clone(),
        version: secret.version,
        refresh: secret.refresh,
    }
}

/// Compiles part after part and gathers what is wrong.
struct Compiler<'a> {
    config: &'a Config,
    surroundings: &'a Surroundings<'a>,
    findings: Vec<Finding>,
    used: BTreeSet<String>,
}

impl Compiler<'_> {
    /// Every part is looked at, so that one that is wrong does not hide another.
    fn file(&mut self, file: &FileConfig, has_process: bool) -> Option<PlannedFile> {
        let template = self.template(file);
        let attributes = self.attributes(file);
        let on_change = self.reaction(file, has_process);
        Some(PlannedFile {
            path: file.path.clone(),
            template: template?,
            attributes: attributes?,
            on_change: on_change?,
        })
    }

    fn template(&mut self, file: &FileConfig) -> Option<Template> {
        match &file.template {
            TemplateSource::Inline(text) => {
                let origin =
                    format!("{}:{}: {}.inline", file.place.file.display(), file.place.line, file.place.key);
                self.compiled(&origin, text)
            }
            TemplateSource::File(path) => match (self.surroundings.read)(path) {
                Ok(text) => self.compiled(&path.display().to_string(), &text),
                Err(error) => {
                    self.problem(file, format!("cannot read template {}: {error}", path.display()));
                    None
                }
            },
        }
    }

    fn variable(&mut self, name: &str, env: &EnvConfig) -> Option<(String, Template)> {
        let origin = format!("{}:{}: {}", env.place.file.display(), env.place.line, env.place.key);
        Some((name.to_owned(), self.compiled(&origin, &env.template)?))
    }

    fn compiled(&mut self, origin: &str, text: &str) -> Option<Template> {
        let template = match Template::compile(origin, text) {
            Ok(template) => template,
            Err(error) => {
                self.findings.push(Finding::Template(error));
                return None;
            }
        };
        for reference in template.references() {
            self.used.insert(reference.secret.clone());
            if !self.config.secrets.contains_key(reference.secret.as_str()) {
                self.findings.push(Finding::Template(TemplateError {
                    origin: origin.to_owned(),
                    line: reference.line,
                    column: reference.column,
                    message: unknown_secret(&reference.secret, self.config),
                }));
            }
        }
        Some(template)
    }

    fn attributes(&mut self, file: &FileConfig) -> Option<Attributes> {
        let (own_user, own_group) = self.surroundings.own;
        let owner = self.account(file, file.owner.as_ref(), own_user, "user", self.surroundings.user);
        let group = self.account(file, file.group.as_ref(), own_group, "group", self.surroundings.group);
        Some(Attributes { mode: file.mode, owner: owner?, group: group? })
    }

    fn account(
        &mut self,
        file: &FileConfig,
        account: Option<&Account>,
        own: u32,
        kind: &str,
        look_up: &dyn Fn(&str) -> Option<u32>,
    ) -> Option<u32> {
        match account {
            None => Some(own),
            Some(Account::Id(id)) => Some(*id),
            Some(Account::Name(name)) => {
                let id = look_up(name);
                if id.is_none() {
                    self.problem(file, format!("there is no {kind} `{name}` on this machine"));
                }
                id
            }
        }
    }

    /// Without a process there is nothing to restart or to signal: what is said so is refused, what is not said is nothing.
    fn reaction(&mut self, file: &FileConfig, has_process: bool) -> Option<Reaction> {
        let inherited =
            || if has_process { self.config.process.on_change.clone() } else { Reaction::Nothing };
        let reaction = file.on_change.clone().unwrap_or_else(inherited);
        match reaction {
            Reaction::Restart | Reaction::Signal(_) if !has_process => {
                let way_out = "there is no process to react: set process.command, give a command after `--`, or use \
                               `on_change = { run = [\"…\"] }`";
                self.problem(file, way_out.to_owned());
                None
            }
            Reaction::Restart | Reaction::Signal(_) | Reaction::Run(_) | Reaction::Nothing => Some(reaction),
        }
    }

    fn refuse_env_without_process(&mut self, process: &ProcessConfig) {
        if let Some(env) = process.env.values().next() {
            let message =
                "there is no process to give it to: set process.command or give a command after `--`";
            self.findings.push(Finding::Config(Problem::new(env.place.clone(), message)));
        }
    }

    fn refuse_life_without_process(&mut self, probe: Option<&ProbeConfig>) {
        if let Some(ProbeConfig { kind: ProbeKind::Alive(_), place, .. }) = probe {
            let message = "there is no process to stay alive: set process.command, give a command after `--`, or \
                           probe by `http`, `tcp` or `command`";
            self.findings.push(Finding::Config(Problem::new(place.clone(), message)));
        }
    }

    fn problem(&mut self, file: &FileConfig, message: String) {
        self.findings.push(Finding::Config(Problem::new(file.place.clone(), message)));
    }
}

fn unknown_secret(name: &str, config: &Config) -> String {
    let nearest = config
        .secrets
        .keys()
        .map(|known| (strsim::damerau_levenshtein(name, known.as_str()), known))
        .min()
        .filter(|(distance, known)| *distance <= known.as_str().len().max(name.len()) / 3 + 1);
    match nearest {
        Some((_, known)) => format!("unknown secret `{name}`; did you mean `{known}`?"),
        None => format!("unknown secret `{name}`; add `[secret.{name}]` to the configuration"),
    }
}
