//! Makes a plan from the name of a configuration file, together with the templates and users on this machine that the plan refers to.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::CString;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
#[cfg(feature = "import")]
use std::time::Duration;

use nix::unistd::{Gid, Group, Uid, User, getegid, geteuid, getgrouplist};

use crate::agent::Setup;
use crate::agent::reloads::Seen;
use crate::config::{
    self, Account, AuditConfig, CREDENTIAL_VARIABLES, Config, EnvConfig, Place, Proof, References, env_file,
};
#[cfg(feature = "import")]
use crate::config::{AuthConfig, SourceConfig, TemplateSource};
use crate::files;
#[cfg(feature = "import")]
use crate::import::Subject;
use crate::ordered::Order as _;
use crate::plain::plain;
use crate::plan::{self, Person, Surroundings};
use crate::secret::Secret;
use crate::supervise;
use crate::template::{self, Engine};

/// The largest template, or file that a template includes, in bytes.
const LARGEST_FILE: u64 = 1024 * 1024;

/// Where the configuration comes from.
#[derive(Clone, Debug)]
pub(super) enum Origin {
    /// In a file.
    File(PathBuf),
    /// In the variables of the environment, and of these files.
    Environment(Vec<PathBuf>),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(file) => file.display().fmt(f),
            Self::Environment(_) => f.write_str(ENVIRONMENT),
        }
    }
}

/// A template that is rendered only to stdout is this variable of the plan.
pub(super) const STDOUT: &str = "stdout";

/// The name, in problems, of a configuration that was made from the environment.
const ENVIRONMENT: &str = "the environment";

/// How often static secrets are re-read if no file sets it.
const REFRESH: &str = "SQUIRE_REFRESH";

/// What Squire reads: files, and variables of its environment.
pub(super) struct Reader {
    /// Credentials, which are blanked in the environment once Squire runs.
    credentials: BTreeMap<&'static str, Secret<str>>,
    /// Squire runs: no file may hold it up.
    runs: bool,
    seen: RefCell<Seen>,
}

impl Reader {
    /// Reads at the start, when a file may be a pipe. Call it before the credentials in the environment are forgotten.
    pub(super) fn at_start() -> Self {
        let value = |name: &&'static str| Some((*name, Secret::new(std::env::var(name).ok()?)));
        Self {
            credentials: CREDENTIAL_VARIABLES.iter().filter_map(value).ordered(),
            runs: false,
            seen: RefCell::default(),
        }
    }

    /// Reads for a reload.
    pub(super) fn of_reload(self) -> Self {
        Self { runs: true, ..self }
    }

    /// The files that were read since this was asked last.
    pub(super) fn seen(&self) -> Seen {
        self.seen.take()
    }

    fn variable(&self, name: &str) -> Option<String> {
        let credential = self.credentials.get(name).map(|value| value.expose().to_owned());
        credential.or_else(|| std::env::var(name).ok())
    }

    /// Says what differs where the configuration of another agent is taken over.
    fn say(&self, notes: &[String]) {
        if self.runs {
            for note in notes {
                tracing::info!(note, "the configuration of another agent is taken over");
            }
        } else if !notes.is_empty() {
            complain(notes);
        }
    }

    fn read(&self, path: &Path) -> io::Result<String> {
        let text = if self.runs {
            files::read(path, LARGEST_FILE).and_then(|contents| contents.text().map(str::to_owned))
        } else {
            read(path)
        };
        let hash = text.as_ref().ok().map(|text| blake3::hash(text.as_bytes()));
        self.seen.borrow_mut().insert(path.to_owned(), hash);
        text
    }
}

/// Reads and compiles everything; or returns every problem, a line each.
pub(super) fn load(
    reader: &Reader,
    origin: &Origin,
    command: Option<Vec<String>>,
) -> Result<Setup, Vec<String>> {
    let (file, text) = match origin {
        Origin::File(file) => (file.as_path(), configuration(reader, file)?),
        Origin::Environment(files) => (Path::new(ENVIRONMENT), of_environment(reader, files)?),
    };
    let (config, problems) = survey(reader, file, &text)?;
    let loaded = compile(reader, config, problems, command)?;
    match origin {
        Origin::File(file) => refuse_references(file, loaded),
        Origin::Environment(_) => Ok(loaded),
    }
}

/// With a configuration, references in variables are not resolved: the process would get the text of the reference as its password.
fn refuse_references(file: &Path, loaded: Setup) -> Result<Setup, Vec<String>> {
    let Some(process) = &loaded.plan.process else { return Ok(loaded) };
    let own: Vec<_> = std::env::vars_os().collect();
    let nothing = BTreeMap::new();
    let passed = supervise::environment(&own, &nothing, &process.setting);
    let asked_for = |name: &str| process.setting.env.pass.iter().any(|passed| passed == name);
    let problems: Vec<String> = passed
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_str()?, value.to_str()?)))
        .filter(|(name, value)| References::is_one(value) && !loaded.plan.env.contains_key(*name) && !asked_for(name))
        .map(|(name, _)| {
            format!(
                "the environment variable {name} refers to a secret, and with the configuration {} nobody would resolve it: write it as a \
                 template in [process.env], or start squire where there is no configuration and without -c; if the process is to have it \
                 as it is, name it in process.env_pass",
                file.display()
            )
        })
        .collect();
    if problems.is_empty() { Ok(loaded) } else { Err(problems) }
}

/// The same for a template that is rendered to stdout: nothing is published, and nothing else is rendered.
pub(super) fn load_template(origin: &Origin, template: &Path) -> Result<Setup, Vec<String>> {
    let reader = &Reader::at_start();
    let text = read(template)
        .map_err(|error| vec![format!("{}: cannot read the template: {error}", template.display())])?;
    let mut references = References::default();
    let (mut config, problems) = match origin {
        Origin::File(file) => survey(reader, file, &configuration(reader, file)?)?,
        Origin::Environment(_) => {
            let name = |why| vec![format!("{}: {why}", template.display())];
            references.in_template(STDOUT, &text).map_err(name)?;
            survey(reader, Path::new(ENVIRONMENT), &references.document(None))?
        }
    };
    let place = Place { file: template.to_owned(), line: 1, key: String::new() };
    let made = config.process.env.remove(STDOUT).map(|env| env.template);
    let template = EnvConfig { template: made.unwrap_or(text), place };
    config.process.env = [(STDOUT.to_owned(), template)].into();
    publishes_nothing(&mut config);
    compile(reader, config, problems, Some(vec![STDOUT.to_owned()]))
}

/// What an import would render, to be compared with what the agent renders.
#[cfg(feature = "import")]
pub(super) struct Comparable {
    /// As the agent calls it.
    pub(super) subject: Subject,
    /// The variable of the setup that is rendered for it.
    pub(super) key: String,
    /// In Squire's language.
    pub(super) template: String,
    /// The paths of its secrets that are made for each reader: leased credentials, certificates.
    pub(super) made_for_each: Vec<String>,
}

/// What is compared, and how to render it.
#[cfg(feature = "import")]
pub(super) struct Comparison {
    pub(super) setup: Setup,
    pub(super) parts: Vec<Comparable>,
}

/// The same for everything that a configuration renders: each file and each variable becomes a variable, and nothing is published. No
/// credential is used up. It gives up after so long.
#[cfg(feature = "import")]
pub(super) fn load_comparison(name: &Path, text: &str, timeout: Duration) -> Result<Comparison, Vec<String>> {
    let reader = &Reader::at_start();
    let (mut config, problems) = survey(reader, name, text)?;
    let dir = config.output.dir.clone().unwrap_or_default();
    let files = std::mem::take(&mut config.files).into_iter().filter_map(|file| {
        let subject = Subject::File(dir.join(&file.path).to_str()?.to_owned());
        match file.template {
            TemplateSource::Inline(template) => Some((subject, EnvConfig { template, place: file.place })),
            TemplateSource::File(_) | TemplateSource::Base64(_) | TemplateSource::Each(_) => None,
        }
    });
    let variables = std::mem::take(&mut config.process.env).into_iter();
    let all: Vec<_> = files.chain(variables.map(|(name, env)| (Subject::Variable(name), env))).collect();
    let mut parts = Vec::new();
    for (number, (subject, env)) in all.into_iter().enumerate() {
        let key = format!("part{number}");
        let made_for_each = made_for_each(&config, &env.template);
        parts.push(Comparable { subject, key: key.clone(), template: env.template.clone(), made_for_each });
        config.process.env.insert(key, env);
    }
    config.sources.values_mut().for_each(spare);
    publishes_nothing(&mut config);
    config.startup_timeout = Some(timeout);
    let setup = compile(reader, config, problems, Some(vec![STDOUT.to_owned()]))?;
    Ok(Comparison { setup, parts })
}

/// The paths of the secrets in a template that are made for whoever reads them, as far as a path tells.
#[cfg(feature = "import")]
fn made_for_each(config: &Config, template: &str) -> Vec<String> {
    let is_made =
        |path: &str| ["/creds/", "/issue/", "/sign/", "/sts/"].iter().any(|part| path.contains(part));
    let secrets = config.secrets.iter();
    let named = secrets.filter(|(name, _)| template.contains(name.as_str()));
    let made = named.filter(|(_, secret)| secret.params.is_some() || is_made(&secret.path));
    made.map(|(_, secret)| secret.path.clone()).collect()
}

/// Leaves the secret-id where it is, and writes no token for others.
#[cfg(feature = "import")]
fn spare(source: &mut SourceConfig) {
    let SourceConfig::Vault(vault) = source else { return };
    vault.token_files.clear();
    if let AuthConfig::AppRole(role) = &mut vault.auth
        && let Some(secret_id) = &mut role.secret_id
    {
        (secret_id.delete, secret_id.keep) = (false, false);
    }
}

/// For a configuration of which only variables are rendered.
fn publishes_nothing(config: &mut Config) {
    config.process.listen.clear();
    (config.files, config.mount, config.output.dir) = (Vec::new(), None, None);
    config.webhook = None;
    config.credentials.clear();
    (config.rollout.checks, config.rollout.proof) = (Vec::new(), Proof::Nothing);
}

fn configuration(reader: &Reader, file: &Path) -> Result<String, Vec<String>> {
    let text = reader
        .read(file)
        .map_err(|error| vec![format!("{}: cannot read the configuration: {error}", file.display())])?;
    match taken_over(reader, file, &text) {
        None => Ok(text),
        Some(Ok((taken_over, notes))) => {
            reader.say(&notes);
            Ok(taken_over)
        }
        Some(Err(problem)) => Err(vec![problem]),
    }
}

/// The configuration of another agent, as one of Squire's, with what differs.
#[cfg(feature = "import")]
fn taken_over(reader: &Reader, file: &Path, text: &str) -> Option<Result<(String, Vec<String>), String>> {
    super::import::in_memory(file, text, &|path| reader.read(path).ok())
}

#[cfg(not(feature = "import"))]
fn taken_over(_: &Reader, _: &Path, _: &str) -> Option<Result<(String, Vec<String>), String>> {
    None
}

/// The configuration of the references in the variables.
fn of_environment(reader: &Reader, files: &[PathBuf]) -> Result<String, Vec<String>> {
    let mut references = References::default();
    let mut problems = Vec::new();
    // A value that is not UTF-8 contains no reference.
    for (name, value) in
        std::env::vars_os().filter_map(|(name, value)| name.into_string().ok().zip(value.into_string().ok()))
    {
        problems.extend(references.variable(&name, &value).err());
    }
    for file in files {
        let name = file.display().to_string();
        let text = reader.read(file).map_err(|error| vec![format!("{name}: cannot read it: {error}")])?;
        match env_file::variables(&name, &text) {
            Ok(variables) => {
                let given = variables.iter().filter_map(|(name, value)| references.given(name, value).err());
                problems.extend(given);
            }
            Err(found) => problems.extend(found),
        }
    }
    if problems.is_empty() && references.is_empty() {
        problems.push(
            "there is no squire.toml here, and no environment variable refers to a secret: write a configuration and name it \
             with -c, or set for example DB_PASSWORD='vault:secret/app#password'"
                .to_owned(),
        );
    }
    let refresh = std::env::var(REFRESH).ok();
    if problems.is_empty() { Ok(references.document(refresh.as_deref())) } else { Err(problems) }
}

/// The configuration in a file, as far as it can be read; its templates are not looked at.
pub(super) fn configuration_of(file: &Path) -> Result<Config, Vec<String>> {
    let reader = &Reader::at_start();
    survey(reader, file, &configuration(reader, file)?).map(|(config, _)| config)
}

/// The audit of a configuration, of which nothing else matters here: what else is wrong in it is for those who use it.
pub(super) fn configured_audit(file: &Path) -> Result<AuditConfig, Vec<String>> {
    let reader = &Reader::at_start();
    let (config, problems) = survey(reader, file, &configuration(reader, file)?)?;
    match config.audit {
        Some(audit) => Ok(audit),
        None if problems.is_empty() => {
            Err(vec![format!("{}: there is no [audit] in it: name --file and --anchor", file.display())])
        }
        None => Err(problems),
    }
}

fn survey(reader: &Reader, file: &Path, text: &str) -> Result<(Config, Vec<String>), Vec<String>> {
    let variable = |name: &str| reader.variable(name);
    let (config, problems) = config::survey(file, text, &variable);
    let problems = lines(&problems);
    match config {
        Some(config) => Ok((config, problems)),
        None => Err(problems),
    }
}

fn compile(
    reader: &Reader,
    config: Config,
    problems: Vec<String>,
    command: Option<Vec<String>>,
) -> Result<Setup, Vec<String>> {
    let engine = Engine::new(template::Surroundings {
        env: Box::new(|name| std::env::var(name).ok()),
        file: Box::new(|path| files::read(path, LARGEST_FILE)?.text().map(str::to_owned)),
    });
    let surroundings = Surroundings {
        read: &|path| reader.read(path),
        user: &user,
        group: &group,
        person: &person,
        own: (geteuid().as_raw(), getegid().as_raw()),
    };
    let plan = match plan::compile(&config, command, &surroundings) {
        Ok(plan) if problems.is_empty() => plan,
        Ok(_) => return Err(problems),
        Err(findings) => return Err([problems, lines(&findings)].concat()),
    };
    Ok(Setup { config, plan, engine })
}

fn lines<T: ToString>(problems: &[T]) -> Vec<String> {
    problems.iter().map(ToString::to_string).collect()
}

/// Read once, before anything runs, so it may be a pipe.
fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(LARGEST_FILE + 1).read_to_string(&mut text)?;
    if text.len() as u64 > LARGEST_FILE {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "larger than 1 MiB"));
    }
    Ok(text)
}

fn user(name: &str) -> Option<u32> {
    User::from_name(name).ok().flatten().map(|user| user.uid.as_raw())
}

/// `None` if the user has no entry in the system's database.
fn person(account: &Account) -> Option<Person> {
    let user = match account {
        Account::Name(name) => User::from_name(name),
        Account::Id(id) => User::from_uid(Uid::from_raw(*id)),
    };
    let user = user.ok().flatten()?;
    let name = CString::new(user.name.as_str()).ok()?;
    let groups = getgrouplist(&name, user.gid).ok()?;
    Some(Person {
        user: user.uid.as_raw(),
        group: user.gid.as_raw(),
        groups: groups.into_iter().map(Gid::as_raw).collect(),
        name_and_home: Some((user.name, user.dir)),
    })
}

fn group(name: &str) -> Option<u32> {
    Group::from_name(name).ok().flatten().map(|group| group.gid.as_raw())
}

/// Writes problems to stderr, a line each.
pub(super) fn complain(problems: &[String]) {
    let lines = problems.iter().map(|problem| plain(problem)).collect::<Vec<_>>().join("\n");
    // If stderr is closed, only the exit code can tell.
    drop(io::Write::write_all(&mut io::stderr(), format!("{lines}\n").as_bytes()));
}
