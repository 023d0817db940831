//! Config + templates → which secrets to fetch, what to render, and which reactions follow.
//!
//! Every problem that can be found without a server is found here, all of them in one run.
//!
//! *Invariant:* pure: files, users and groups are looked up through the [`Surroundings`] that the caller passes. A [`Plan`] refers only to
//! secrets that it wants, and reacts on a process only if there is one.

mod credential;
pub mod diff;
#[cfg(test)]
mod of_text;
mod token;
mod webhook;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::config::{
    AWS_VARIABLES, Account, AuthConfig, COLLECTOR_VARIABLES, Config, DirectoryConfig, EngineKind, EnvConfig,
    EnvFrom, FileConfig, Limit, Listen, Listing, Mode, Place, ProbeConfig, ProbeKind, Problem, ProcessConfig,
    Reaction, RestartConfig, RestartMode, SecretConfig, SettingConfig, SourceConfig, TemplateSource, Version,
};
use crate::names::{SecretName, SourceName};
use crate::secret::Fields;
use crate::template::{Template, TemplateError};

use nix::sys::signal::Signal;

pub use credential::{PlannedCredential, Terms};
pub use token::{PlannedProcessToken, PlannedToken, TOKEN_VARIABLES};
pub use webhook::PlannedWebhook;

/// The plan of one run.
#[derive(Debug)]
pub struct Plan {
    /// The secrets to fetch from each source: only those that a template refers to.
    pub wants: BTreeMap<SourceName, Vec<Want>>,
    /// Every file, in the order of the configuration.
    pub files: Vec<PlannedFile>,
    /// Every variable of the process.
    pub env: BTreeMap<String, Template>,
    /// The secrets of which each field is a variable too.
    pub env_from: Vec<EnvFrom>,
    /// The process, if there is one.
    pub process: Option<PlannedProcess>,
    /// The files that have the token of a source.
    pub tokens: Vec<PlannedToken>,
    /// The token that the process gets, if it gets one.
    pub process_token: Option<PlannedProcessToken>,
    /// The webhooks that are taken, if any are.
    pub webhook: Option<PlannedWebhook>,
    /// The credentials of units, in the order of the configuration.
    pub credentials: Vec<PlannedCredential>,
    /// Secrets in the configuration that no template refers to, with their places.
    pub unused: Vec<(SecretName, Place)>,
}

impl Plan {
    /// The files that templates include.
    pub fn included(&self) -> BTreeSet<PathBuf> {
        let contents = self.files.iter().map(|file| &file.content);
        let contents = contents.chain(self.credentials.iter().map(|credential| &credential.content));
        let templates = contents.filter_map(Content::template).chain(self.env.values());
        templates.flat_map(|template| template.included().iter().cloned()).collect()
    }

    /// Whether there is nothing to publish, nothing to pass on and no process.
    pub fn is_idle(&self) -> bool {
        let is_empty = self.files.is_empty() && self.env.is_empty() && self.env_from.is_empty();
        is_empty && self.process.is_none() && self.tokens.is_empty() && self.credentials.is_empty()
    }

    /// The warnings about unused secrets, a line each.
    pub fn unused(&self) -> impl Iterator<Item = String> {
        self.unused.iter().map(|(name, Place { file, line, .. })| {
            let file = file.display();
            format!("{file}:{line}: nothing refers to the secret `{name}`, so it is not fetched; use it in a template, or remove it")
        })
    }
}

/// A request for one secret.
#[derive(Clone, Debug, PartialEq)]
pub struct Want {
    /// Its name in templates.
    pub name: SecretName,
    /// The source that has it.
    pub source: SourceName,
    /// Its path in the source.
    pub path: String,
    /// Parameters; with them the request is a write.
    pub params: Option<Fields>,
    /// Pins a version of a versioned secret.
    pub version: Option<Version>,
    /// The kind of its mount, if the configuration gives one.
    pub kind: Option<EngineKind>,
    /// The path is a folder, and the secret is what is in it.
    pub list: Option<Listing>,
    /// Of a folder of AWS: only what has all of these tags.
    pub tags: BTreeMap<String, String>,
    /// How often it is re-read if it has no lease.
    pub refresh: Duration,
    /// The most that it may weigh, in bytes.
    pub max_size: usize,
}

/// A file to render.
#[derive(Debug)]
pub struct PlannedFile {
    /// Relative and normalized: part of the generation. Absolute: replaced by one rename.
    pub path: PathBuf,
    /// What is in it.
    pub content: Content,
    /// The mode and owners of the file.
    pub attributes: Attributes,
    /// How to make the directory of an absolute path, if the configuration asks for that.
    pub directory: Option<Attributes>,
    /// The reaction to a change of the file.
    pub on_change: Reaction,
}

/// What a file has in it.
#[derive(Debug)]
pub enum Content {
    /// What a template renders.
    Text(Template),
    /// The bytes of the base64 that a template renders.
    Bytes(Template),
    /// It is a directory, with a file for each field of a secret.
    Each {
        /// The secret.
        secret: SecretName,
        /// It is a folder: each secret in it is a directory of its own.
        is_folder: bool,
        /// Where the configuration says so.
        place: Place,
    },
}

impl Content {
    /// The template, if there is one.
    pub fn template(&self) -> Option<&Template> {
        match self {
            Self::Text(template) | Self::Bytes(template) => Some(template),
            Self::Each { .. } => None,
        }
    }

    /// Whether it makes the same of the same secrets.
    pub fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Text(one), Self::Text(another)) | (Self::Bytes(one), Self::Bytes(another)) => {
                one.is_like(another)
            }
            (
                Self::Each { secret: one, is_folder: is_one, .. },
                Self::Each { secret: another, is_folder: is_another, .. },
            ) => one == another && is_one == is_another,
            (Self::Text(_) | Self::Bytes(_) | Self::Each { .. }, _) => false,
        }
    }
}

/// Mode and owners of a file, resolved to numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attributes {
    /// Permission bits.
    pub mode: Mode,
    /// User id.
    pub owner: u32,
    /// The group of the file.
    pub group: FileGroup,
}

/// The group of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileGroup {
    /// This one.
    Of(u32),
    /// The group that the file system gives: that of a setgid directory, or else of the process that made the file. So a neighbour in a
    /// pod, whose volume has an `fsGroup`, can read it.
    Inherited,
    /// The group of a setgid directory; in other directories this group, which is that of the process.
    InheritedOr(u32),
}

impl FileGroup {
    /// Whether one file can satisfy both. The group of a directory is not known before the file is there.
    pub fn agrees(self, other: Self) -> bool {
        match (self, other) {
            (Self::Of(one), Self::Of(another)) => one == another,
            (Self::Inherited | Self::InheritedOr(_), _) | (_, Self::Inherited | Self::InheritedOr(_)) => true,
        }
    }
}

/// The process to supervise.
#[derive(Clone, Debug, PartialEq)]
pub struct PlannedProcess {
    /// Program and arguments.
    pub command: Vec<String>,
    /// The reaction to a change of the environment.
    pub on_change: Reaction,
    /// The signal that asks it to stop.
    pub stop_signal: Signal,
    /// How long it may take to stop.
    pub stop_timeout: Duration,
    /// Whether to start it again when it exits by itself.
    pub restart: RestartConfig,
    /// How a successor takes its place.
    pub restart_mode: RestartMode,
    /// Sockets that Squire holds for it.
    pub listen: Vec<Listen>,
    /// Its user, limits and environment.
    pub setting: Arc<Setting>,
}

/// User, limits and environment of a process; the default is Squire's own.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Setting {
    /// Its user and groups.
    pub person: Option<Person>,
    /// Its working directory; absolute.
    pub working_dir: Option<PathBuf>,
    /// Its mask for new files.
    pub umask: Option<u32>,
    /// Which of Squire's variables it gets.
    pub env: EnvRules,
    /// Its resource limits.
    pub limits: Vec<Limit>,
    /// No program that it executes gains privileges.
    pub no_new_privs: bool,
    /// The signal that it gets if Squire is killed; `None` is SIGTERM.
    pub last_signal: Option<Signal>,
    /// It gets a socket on which it can say that it is ready.
    pub says_ready: bool,
}

/// A user of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// User id.
    pub user: u32,
    /// Group id.
    pub group: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// Name and home directory, if the user has any.
    pub name_and_home: Option<(String, PathBuf)>,
}

/// Which variables of Squire's environment are passed on. Names may have `*` and `?`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EnvRules {
    /// Pass on only the variables that `pass` names.
    pub clear: bool,
    /// Pass these on, even if they would be kept back.
    pub pass: Vec<String>,
    /// Never passed on.
    pub deny: Vec<String>,
    /// Squire's own credentials that other programs might use too: passed on only if `pass` names them.
    pub own: Vec<&'static str>,
}

/// What the plan asks the machine.
pub struct Surroundings<'a> {
    /// Reads a template.
    pub read: &'a dyn Fn(&Path) -> io::Result<String>,
    /// The number of a user.
    pub user: &'a dyn Fn(&str) -> Option<u32>,
    /// The number of a group.
    pub group: &'a dyn Fn(&str) -> Option<u32>,
    /// A user with all groups.
    pub person: &'a dyn Fn(&Account) -> Option<Person>,
    /// Squire's own user and group.
    pub own: (u32, u32),
}

/// A problem in the configuration or in a template.
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

/// Makes the plan, or returns every problem. `command` is the command line after `--`; it wins over the configuration's.
pub fn compile(
    config: &Config,
    command: Option<Vec<String>>,
    surroundings: &Surroundings<'_>,
) -> Result<Plan, Vec<Finding>> {
    let own = surroundings.own;
    let mut compiler = Compiler { config, surroundings, own, findings: Vec::new(), used: BTreeSet::new() };
    let setting = Arc::new(compiler.setting(&config.process.setting));
    if let Some(person) = &setting.person {
        compiler.own = (person.user, person.group);
    }
    let process = planned_process(&config.process, command, setting);
    let files: Vec<_> =
        config.files.iter().filter_map(|file| compiler.file(file, process.is_some())).collect();
    let tokens = compiler.tokens(&files);
    let process_token = compiler.process_token();
    let credentials =
        config.credentials.iter().filter_map(|credential| compiler.credential(credential)).collect();
    let env = config.process.env.iter().filter_map(|(name, env)| compiler.variable(name, env)).collect();
    config.process.env_from.iter().for_each(|from| compiler.variables(from));
    if process.is_none() {
        compiler.refuse_env_without_process(&config.process);
        compiler.refuse_settings_without_process(&config.process);
        compiler.refuse_life_without_process(config.rollout.proof.probe());
    }
    if config.process.restart_mode == RestartMode::Overlap {
        compiler.refuse_overlap_without_proof(&config.process, config.rollout.proof.probe());
    }
    let webhook = config.webhook.as_ref().and_then(|webhook| compiler.webhook(webhook));
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
    if let Some(proxy) = &config.proxy {
        // Its token is needed, even if nothing is fetched.
        wants.entry(proxy.source.clone()).or_default();
    }
    let is_proxied = |secret: &SecretConfig| {
        config.proxy.as_ref().is_some_and(|proxy| proxy.paths.is_none() && proxy.source == secret.source)
    };
    let unused = unused.into_iter().filter(|(_, secret)| !is_proxied(secret));
    // Somebody has to log in for it, though nothing is fetched.
    let of_files = tokens.iter().map(|token| &token.source);
    for source in of_files.chain(process_token.iter().map(|token| &token.source)) {
        wants.entry(source.clone()).or_default();
    }
    Ok(Plan {
        wants,
        files,
        env,
        env_from: config.process.env_from.clone(),
        process,
        tokens,
        process_token,
        webhook,
        credentials,
        unused: unused.map(|(name, secret)| (name.clone(), secret.place.clone())).collect(),
    })
}

fn planned_process(
    config: &ProcessConfig,
    command: Option<Vec<String>>,
    setting: Arc<Setting>,
) -> Option<PlannedProcess> {
    let command = command.or_else(|| config.command.clone())?;
    Some(PlannedProcess {
        command,
        on_change: config.on_change.clone(),
        stop_signal: config.stop_signal,
        stop_timeout: config.stop_timeout,
        restart: config.restart,
        restart_mode: config.restart_mode,
        listen: config.listen.clone(),
        setting,
    })
}

/// What all secrets of a source ask for, whether a template uses them or not.
pub fn of_source(config: &Config, source: &SourceName) -> Vec<Want> {
    let of_it = config.secrets.iter().filter(|(_, secret)| secret.source == *source);
    of_it.map(|(name, secret)| want(name, secret)).collect()
}

fn want(name: &SecretName, secret: &SecretConfig) -> Want {
    Want {
        name: name.clone(),
        source: secret.source.clone(),
        path: secret.path.clone(),
        params: secret.params.clone(),
        version: secret.version.clone(),
        kind: secret.kind,
        list: secret.list,
        tags: secret.tags.clone(),
        refresh: secret.refresh,
        max_size: secret.max_size,
    }
}

/// Compiles part after part and gathers the problems.
struct Compiler<'a> {
    config: &'a Config,
    surroundings: &'a Surroundings<'a>,
    /// The owners of files without owners of their own.
    own: (u32, u32),
    findings: Vec<Finding>,
    used: BTreeSet<String>,
}

impl Compiler<'_> {
    /// Compiles every part, so that a problem in one does not hide a problem in another.
    fn file(&mut self, file: &FileConfig, has_process: bool) -> Option<PlannedFile> {
        let content = self.content(file);
        let attributes = self.attributes(file);
        let directory = file.make_dir.as_ref().map(|made| self.directory(file, made));
        let on_change = self.reaction(file, has_process);
        Some(PlannedFile {
            path: file.path.clone(),
            content: content?,
            attributes: attributes?,
            directory: match directory {
                None => None,
                Some(attributes) => Some(attributes?),
            },
            on_change: on_change?,
        })
    }

    fn content(&mut self, file: &FileConfig) -> Option<Content> {
        let Place { file: written, line, key } = &file.place;
        let origin = |kind| format!("{}:{line}: {key}.{kind}", written.display());
        match &file.template {
            TemplateSource::Inline(text) => self.compiled(&origin("inline"), text).map(Content::Text),
            TemplateSource::Base64(text) => self.compiled(&origin("base64"), text).map(Content::Bytes),
            TemplateSource::Each(secret) => {
                self.uses(secret, &file.place, "each: ");
                let is_folder = self.is_folder(secret);
                Some(Content::Each { secret: secret.clone(), is_folder, place: file.place.clone() })
            }
            TemplateSource::File(path) => match (self.surroundings.read)(path) {
                Ok(text) => self.compiled(&path.display().to_string(), &text).map(Content::Text),
                Err(error) => {
                    self.problem(file, format!("cannot read template {}: {error}", path.display()));
                    None
                }
            },
        }
    }

    /// All fields of a secret are used.
    fn uses(&mut self, secret: &SecretName, place: &Place, key: &str) {
        self.used.insert(secret.as_str().to_owned());
        if !self.config.secrets.contains_key(secret.as_str()) {
            let message = format!("{key}{}", unknown_secret(secret.as_str(), self.config));
            self.findings.push(Finding::Config(Problem::new(place.clone(), message)));
        }
    }

    fn is_folder(&self, secret: &SecretName) -> bool {
        self.config.secrets.get(secret.as_str()).is_some_and(|secret| secret.list.is_some())
    }

    fn variables(&mut self, from: &EnvFrom) {
        self.uses(&from.secret, &from.place, "");
        if self.is_folder(&from.secret) {
            let message = format!(
                "`{}` is a folder, and what is in it are secrets and no values; name one of them",
                from.secret
            );
            self.findings.push(Finding::Config(Problem::new(from.place.clone(), message)));
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
        self.attributes_of(&file.place, file.mode, file.owner.as_ref(), file.group.as_ref())
    }

    /// The directory that is made for a file; by default it has the file's owner and group.
    fn directory(&mut self, file: &FileConfig, made: &DirectoryConfig) -> Option<Attributes> {
        let owner = made.owner.as_ref().or(file.owner.as_ref());
        self.attributes_of(&file.place, made.mode, owner, made.group.as_ref().or(file.group.as_ref()))
    }

    fn attributes_of(
        &mut self,
        place: &Place,
        mode: Mode,
        owner: Option<&Account>,
        group: Option<&Account>,
    ) -> Option<Attributes> {
        let ((own_user, own_group), look_up) = (self.own, self.surroundings);
        let owner = self.account(place, owner, own_user, "user", look_up.user);
        let group = match group {
            None if self.own == look_up.own => Some(FileGroup::Inherited),
            None => Some(FileGroup::InheritedOr(own_group)),
            given => self.account(place, given, own_group, "group", look_up.group).map(FileGroup::Of),
        };
        Some(Attributes { mode, owner: owner?, group: group? })
    }

    fn account(
        &mut self,
        place: &Place,
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
                    let message = format!("there is no {kind} `{name}` on this machine");
                    self.findings.push(Finding::Config(Problem::new(place.clone(), message)));
                }
                id
            }
        }
    }

    /// If AWS is a source, or says who logs in to one, its keys are Squire's. Otherwise they may well be the process's.
    fn own_credentials(&self) -> Vec<&'static str> {
        let is_aws = |source: &SourceConfig| match source {
            SourceConfig::Aws(_) => true,
            SourceConfig::Vault(vault) => matches!(vault.auth, AuthConfig::Aws(_)),
            SourceConfig::Store(_) => false,
        };
        let of_aws = if self.config.sources.values().any(is_aws) { &AWS_VARIABLES[..] } else { &[] };
        [of_aws, COLLECTOR_VARIABLES].concat()
    }

    fn setting(&mut self, config: &SettingConfig) -> Setting {
        Setting {
            person: self.person(config),
            working_dir: config.working_dir.clone(),
            umask: config.umask,
            env: EnvRules {
                clear: config.env_clear,
                pass: config.env_pass.clone(),
                deny: config.env_deny.clone(),
                own: self.own_credentials(),
            },
            limits: config.limits.values().copied().collect(),
            no_new_privs: config.no_new_privs,
            last_signal: Some(self.config.process.stop_signal),
            says_ready: self
                .config
                .rollout
                .proof
                .probe()
                .is_some_and(|probe| probe.kind == ProbeKind::Notify),
        }
    }

    /// No user, if neither user nor group is configured.
    fn person(&mut self, config: &SettingConfig) -> Option<Person> {
        let (own_user, own_group) = self.own;
        let known = config.user.as_ref().and_then(|user| (self.surroundings.person)(user));
        if config.user.is_none() && config.group.is_none() && config.groups.is_none() {
            return None;
        }
        if let (Some(Account::Id(id)), None, None) = (&config.user, &known, &config.group) {
            let message =
                format!("`user` {id} has no name on this machine, so no group either; write `group` too");
            self.findings.push(Finding::Config(Problem::new(config.place.clone(), message)));
        }
        let look_up = self.surroundings;
        let user = self.account(&config.place, config.user.as_ref(), own_user, "user", look_up.user);
        let default = known.as_ref().map_or(own_group, |known| known.group);
        let group = self.account(&config.place, config.group.as_ref(), default, "group", look_up.group);
        let groups = config.groups.as_ref().map(|groups| {
            let ids = groups.iter().filter_map(|group| {
                self.account(&config.place, Some(group), own_group, "group", look_up.group)
            });
            ids.collect::<Vec<_>>()
        });
        let of_user = known.as_ref().map(|known| known.groups.clone());
        let (user, group) = (user?, group?);
        Some(Person {
            user,
            group,
            groups: groups.or(of_user).unwrap_or_else(|| vec![group]),
            name_and_home: known.and_then(|known| known.name_and_home),
        })
    }

    /// Without a process there is nothing to restart or to signal. A reaction that asks for it is refused; the default becomes no reaction.
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
            Reaction::Restart | Reaction::Signal(_) | Reaction::Act(_) | Reaction::Nothing => Some(reaction),
        }
    }

    fn refuse_env_without_process(&mut self, process: &ProcessConfig) {
        let places = process.env.values().map(|env| &env.place);
        if let Some(place) = places.chain(process.env_from.iter().map(|from| &from.place)).next() {
            let message =
                "there is no process to give it to: set process.command or give a command after `--`";
            self.findings.push(Finding::Config(Problem::new(place.clone(), message)));
        }
    }

    fn refuse_settings_without_process(&mut self, process: &ProcessConfig) {
        if let Some(said) = &process.said {
            let message = "says how a process is run, and there is none: set process.command or give a command after `--`";
            self.findings.push(Finding::Config(Problem::new(said.clone(), message)));
        }
    }

    fn refuse_life_without_process(&mut self, probe: Option<&ProbeConfig>) {
        if let Some(ProbeConfig { kind: ProbeKind::Alive(_) | ProbeKind::Notify, place, .. }) = probe {
            let message = "there is no process to prove anything: set process.command, give a command after `--`, or \
                           probe by `http`, `tcp` or `command`";
            self.findings.push(Finding::Config(Problem::new(place.clone(), message)));
        }
    }

    /// While both run, the former process accepts connections on every shared socket too.
    fn refuse_overlap_without_proof(&mut self, process: &ProcessConfig, probe: Option<&ProbeConfig>) {
        let shared = |port: Option<u16>| {
            process.listen.iter().any(|listen| match listen {
                Listen::Tcp(address) => {
                    address.rsplit_once(':').and_then(|(_, port)| port.parse().ok()) == port
                }
                Listen::Unix(_) => false,
            })
        };
        let port = |probe: &ProbeConfig| match &probe.kind {
            ProbeKind::Http(http) => {
                let url = http.url.parse::<hyper::Uri>().ok()?;
                Some(url.port_u16().unwrap_or(80))
            }
            ProbeKind::Tcp(address) => address.rsplit_once(':')?.1.parse().ok(),
            ProbeKind::Command(_) | ProbeKind::Alive(_) | ProbeKind::Notify => None,
        };
        let (place, message) = match probe {
            None => (
                &process.setting.place,
                "`restart_mode = \"overlap\"` needs to know when the new process is well: write [rollout] with probe = { notify = \
                 true }, or another probe that only the new process can pass",
            ),
            Some(probe) if shared(port(probe)) => (
                &probe.place,
                "asks a port of `process.listen`, where the former process still answers while the new one starts; write notify = \
                 true, a command (it has SQUIRE_PID), or a port that only the new process has",
            ),
            Some(_) => return,
        };
        self.findings.push(Finding::Config(Problem::new(place.clone(), message)));
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
