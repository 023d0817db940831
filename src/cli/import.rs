//! `squire import`: takes over what another agent runs on.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::USAGE;
use super::compare::{Comparison, USUAL_PROGRAM, USUAL_TIMEOUT, compare};
use super::load::complain;
use super::output::say;
use crate::files;
use crate::import::{self, Agent, Files, Imported, Input, Kind, Note, Place, Weight};

/// The longest text that is imported, in bytes: 4 MiB.
const LONGEST: u64 = 4 << 20;

#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Asked {
    /// Configurations, templates, manifests or jobs of other agents; `-` is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// What the files are [default: what they show themselves to be]
    #[arg(long = "as", value_name = "KIND")]
    kind: Option<AskedKind>,
    /// Write squire.toml, its templates and, for a manifest, the manifest into this directory; it is made if need be
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
    /// Replace files that are there
    #[arg(long, requires = "to")]
    force: bool,
    /// Fail if anything is not taken over
    #[arg(long)]
    strict: bool,
    /// Let this agent and Squire render both once, and say what differs, without a value [default: bao agent]
    #[arg(
        long, value_name = "PROGRAM", num_args = 0..=1, default_missing_value = USUAL_PROGRAM,
        conflicts_with_all = ["to", "force"]
    )]
    compare: Option<String>,
    /// How long the agent may take for that
    #[arg(
        long, value_name = "DURATION", default_value = USUAL_TIMEOUT, value_parser = humantime::parse_duration,
        requires = "compare"
    )]
    timeout: Duration,
}

/// The kinds, as the command line calls them.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum AskedKind {
    /// Vault Agent or OpenBao Agent, HCL or JSON
    Agent,
    /// consul-template
    ConsulTemplate,
    /// envconsul
    Envconsul,
    /// A template of one of them
    Template,
    /// A manifest of Kubernetes with the annotations of an injector
    Manifest,
    /// A job of Nomad
    Nomad,
}

impl From<AskedKind> for Kind {
    fn from(kind: AskedKind) -> Self {
        match kind {
            AskedKind::Agent => Self::Agent,
            AskedKind::ConsulTemplate => Self::ConsulTemplate,
            AskedKind::Envconsul => Self::Envconsul,
            AskedKind::Template => Self::Template,
            AskedKind::Manifest => Self::Manifest,
            AskedKind::Nomad => Self::Nomad,
        }
    }
}

const EXAMPLES: &str = "\
Examples:
  squire import agent.hcl > squire.toml
  squire import agent.hcl --to /etc/squire --strict
  squire import nginx.conf.ctmpl
  helm template shop ./chart | squire import - > pod.yaml
  echo 'envconsul -secret=app/db -no-prefix -upcase -- ./app' | squire import -
  squire import agent.hcl --compare 'bao agent'   what both render, beside each other
  squire import ct.hcl --compare            the same with consul-template, for its configuration
  squire run -c agent.hcl                   the same in memory, for a first try

What differs is said on stderr, with its place: `note` is taken over and good to know, `left` is not
taken over, and is marked in the result. Templates stand in the configuration; with --to long ones
are files of their own.

With --compare, the agent runs once with its own login, without commands, sinks or a process, in a
private directory in memory that is removed at once. It may take 60 s, or --timeout.

Exit status: 0; 1 if something is left and --strict is given, a file cannot be written, or --compare
finds a difference; 2 if nothing can be imported.";

/// Imports; returns the exit code.
pub(super) fn perform(asked: &Asked) -> u8 {
    let inputs = match asked.files.iter().map(|file| input(file)).collect::<Result<Vec<_>, _>>() {
        Ok(inputs) => inputs,
        Err(problem) => {
            complain(&[problem]);
            return USAGE;
        }
    };
    let readers = Cell::new(asked.files.iter().fold(EVERYBODY, |mode, file| mode & readers(file)));
    let elsewhere = RefCell::new(BTreeSet::new());
    let open = |name: &str| {
        let (text, place) = open(&asked.files, name)?;
        readers.set(readers.get() & self::readers(&place));
        elsewhere.borrow_mut().extend(taken_elsewhere(name, &place));
        Some(text)
    };
    let places = if asked.to.is_some() { Files::Beside } else { Files::Inside };
    let imported = match import::import(&inputs, asked.kind.map(Kind::from), places, &open) {
        Ok(imported) => imported,
        Err(fault) => {
            complain(&[fault.to_string()]);
            return USAGE;
        }
    };
    let notes: Vec<String> =
        elsewhere.take().into_iter().chain(imported.notes.all().iter().map(line)).collect();
    if !notes.is_empty() {
        complain(&notes);
    }
    let code = match (&asked.compare, &asked.to) {
        (Some(program), _) => {
            let (imported, open) = (&imported, &open);
            let comparison = Comparison { inputs: &inputs, imported, open, program, timeout: asked.timeout };
            compared(&comparison, asked.kind.map(Kind::from))
        }
        (None, None) => say(imported.manifest.as_deref().unwrap_or(&imported.toml)),
        (None, Some(directory)) => write(&imported, directory, asked.force, readers.get()),
    };
    match code {
        0 if asked.strict && imported.notes.any_left() => 1,
        code => code,
    }
}

fn compared(comparison: &Comparison<'_>, kind: Option<Kind>) -> u8 {
    let kind = |input: &Input| kind.or_else(|| import::kind(&input.name, &input.text));
    let is_either = |input: &&Input| matches!(kind(input), Some(Kind::Agent | Kind::ConsulTemplate));
    if let Some(other) = comparison.inputs.iter().find(|input| !is_either(input)) {
        complain(&[format!("{}: {NO_AGENT}", other.name)]);
        return USAGE;
    }
    // Of an agent's configuration a part with nothing but templates looks like consul-template's.
    let is_agent = comparison.inputs.iter().any(|input| kind(input) == Some(Kind::Agent));
    compare(comparison, if is_agent { Agent::Vault } else { Agent::ConsulTemplate })
}

const NO_AGENT: &str = "--compare runs the configuration of Vault Agent, OpenBao Agent or consul-template; this is none. Compare by hand: import it, write \
                        the files into a directory with `squire render`, and run `diff` on both";

/// The configuration of another agent as one of Squire's, with what differs, a line each; nothing if the text is of no other agent.
///
/// # Errors
/// Why it cannot be taken over.
pub(super) fn in_memory(
    file: &Path,
    text: &str,
    open: &dyn Fn(&Path) -> Option<String>,
) -> Option<Result<(String, Vec<String>), String>> {
    // Who writes HCL into squire.toml is told so.
    if file.extension().is_some_and(|ending| ending == "toml") {
        return None;
    }
    let name = file.display().to_string();
    let kind = import::kind(&name, text)?;
    if !matches!(kind, Kind::Agent | Kind::ConsulTemplate | Kind::Envconsul) {
        return None;
    }
    let elsewhere = RefCell::new(BTreeSet::new());
    let beside = |name: &str| {
        places(std::slice::from_ref(&file), name).find_map(|place| {
            let text = open(&place)?;
            elsewhere.borrow_mut().extend(taken_elsewhere(name, &place));
            Some(text)
        })
    };
    let inputs = [Input { name, text: text.to_owned() }];
    let imported =
        import::import(&inputs, Some(kind), Files::Inside, &beside).map_err(|fault| fault.to_string());
    Some(imported.map(|imported| {
        let notes = elsewhere.take().into_iter().chain(imported.notes.all().iter().map(line)).collect();
        (imported.toml, notes)
    }))
}

/// What is said where a file of a container was found beside the configuration.
fn taken_elsewhere(name: &str, place: &Path) -> Option<String> {
    let is_elsewhere = Path::new(name).is_absolute() && place != Path::new(name);
    let place = place.display();
    is_elsewhere.then(|| format!("note: {name} is not on this machine; {place} has its name and is taken"))
}

/// A note on one line.
fn line(note: &Note) -> String {
    let Place { file, line, column } = &note.place;
    let weight = match note.weight {
        Weight::Told => "note",
        Weight::Left => "left",
    };
    format!("{file}:{line}:{column}: {weight}: {}: {}", note.construct, note.advice)
}

fn input(file: &Path) -> Result<Input, String> {
    let name = file.display().to_string();
    let text = if name == "-" { limited(io::stdin().lock()) } else { fs::File::open(file).and_then(limited) };
    match text {
        Ok(text) => Ok(Input { name, text }),
        Err(error) => Err(format!("{name}: cannot read it: {error}")),
    }
}

fn limited(from: impl Read) -> io::Result<String> {
    let mut text = String::new();
    from.take(LONGEST + 1).read_to_string(&mut text)?;
    if text.len() as u64 > LONGEST {
        return Err(io::Error::other("it has more than 4 MiB"));
    }
    Ok(text)
}

/// What everybody may do with what is written.
const EVERYBODY: u32 = 0o644;

/// Who may read what is made of this file: nobody who may not read the file itself. Whoever gave the text by a pipe has it in hand.
fn readers(file: &Path) -> u32 {
    if file == Path::new("-") {
        return EVERYBODY;
    }
    fs::metadata(file).map_or(0o600, |about| about.permissions().mode() & EVERYBODY | 0o600)
}

/// Where a file that is named in one of the inputs may be: as it is written, or beside one of them, where one of a container lies beside
/// the configuration that names it.
fn places<'a, P: AsRef<Path>>(files: &'a [P], name: &'a str) -> impl Iterator<Item = PathBuf> + 'a {
    let beside = files.iter().filter_map(move |file| Some(file.as_ref().parent()?.join(name)));
    let base = Path::new(name).file_name().filter(|_| Path::new(name).is_absolute());
    let by_base = files.iter().filter_map(move |file| Some(file.as_ref().parent()?.join(base?)));
    std::iter::once(PathBuf::from(name)).chain(beside).chain(by_base)
}

/// The text of a file that is named in one of the inputs, and where it was.
fn open(files: &[PathBuf], name: &str) -> Option<(String, PathBuf)> {
    // A configuration names it, which may be somebody else's: nothing that has no end, and nobody to wait for.
    let read = |place: PathBuf| {
        let text = files::read(&place, LONGEST)?.text().map(str::to_owned);
        text.map(|text| (text, place))
    };
    places(files, name).find_map(|place| read(place).ok())
}

/// Writes everything into the directory with this mode, or says what cannot be written.
fn write(imported: &Imported, directory: &Path, force: bool, mode: u32) -> u8 {
    let mut files = vec![("squire.toml", &imported.toml)];
    files.extend(imported.templates.iter().map(|template| (template.name.as_str(), &template.text)));
    files.extend(imported.manifest.iter().map(|manifest| ("pod.yaml", manifest)));
    let taken = |(name, _): &&(&str, &String)| !force && directory.join(name).symlink_metadata().is_ok();
    if let Some((name, _)) = files.iter().find(taken) {
        let file = directory.join(name);
        complain(&[format!(
            "{} is there already: name another directory, or replace it with --force",
            file.display()
        )]);
        return 1;
    }
    let written = fs::create_dir_all(directory).and_then(|()| {
        files.iter().try_for_each(|(name, text)| {
            let place = directory.join(name);
            if force {
                absent(fs::remove_file(&place))?;
            }
            // Never through a link that somebody put there: it may lead to any file of the machine.
            let file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(place);
            file.and_then(|mut file| io::Write::write_all(&mut file, text.as_bytes()))
        })
    });
    match written {
        Ok(()) => 0,
        Err(error) => {
            complain(&[format!("cannot write into {}: {error}", directory.display())]);
            1
        }
    }
}

/// What was removed, or was not there.
fn absent(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn imported() -> Imported {
        let text = "template {\n contents = \"x\"\n destination = \"/run/x\"\n}\n".to_owned();
        let input = Input { name: "agent.hcl".to_owned(), text };
        import::import(&[input], Some(Kind::Agent), Files::Beside, &|_| None).unwrap()
    }

    #[test]
    fn nothing_is_written_through_a_link() {
        let directory = tempfile::tempdir().unwrap();
        let (to, victim) = (directory.path().join("to"), directory.path().join("victim"));
        fs::create_dir(&to).unwrap();
        symlink(&victim, to.join("squire.toml")).unwrap();
        assert_eq!(write(&imported(), &to, false, EVERYBODY), 1, "a link that leads nowhere is there too");
        assert!(!victim.exists());
        fs::write(&victim, "of somebody else").unwrap();
        assert_eq!(write(&imported(), &to, true, EVERYBODY), 0);
        assert_eq!(fs::read_to_string(&victim).unwrap(), "of somebody else");
        assert!(to.join("squire.toml").symlink_metadata().unwrap().is_file());
        assert_eq!(write(&imported(), &to, true, 0o600), 0, "again");
        assert_eq!(write(&imported(), &to, false, EVERYBODY), 1);
        let mode = fs::metadata(to.join("squire.toml")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_template_that_never_ends_holds_up_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let pipe = directory.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(open(&[], pipe.to_str().unwrap()), None);
        assert_eq!(open(&[], "/dev/zero"), None);
        fs::write(directory.path().join("a.tpl"), "text").unwrap();
        assert_eq!(
            open(&[directory.path().join("agent.hcl")], "a.tpl").map(|(text, _)| text).as_deref(),
            Some("text")
        );
    }

    #[test]
    fn a_template_of_a_container_may_lie_beside_the_configuration() {
        let directory = tempfile::tempdir().unwrap();
        let agent = [directory.path().join("agent.hcl")];
        let there = directory.path().join("app.env.tpl");
        fs::write(&there, "text").unwrap();
        assert_eq!(open(&agent, "/vault/config/app.env.tpl"), Some(("text".to_owned(), there)));
        assert_eq!(open(&agent, "/vault/config/other.tpl"), None);
        assert_eq!(open(&agent, "below/app.env.tpl"), None, "a relative name says where it is");
    }

    #[test]
    fn a_run_looks_for_a_template_of_a_container_there_too() {
        let text = "template {\n source = \"/vault/config/app.ctmpl\"\n destination = \"/run/x\"\n}\n\
                    template {\n source = \"below/b.ctmpl\"\n destination = \"/run/y\"\n}\n\
                    auto_auth {\n method \"approle\" {}\n}\n";
        let open = |path: &Path| {
            let there = ["/etc/agent/app.ctmpl", "/etc/agent/below/b.ctmpl"];
            there.iter().find(|place| Path::new(place) == path).map(|place| format!("text of {place}"))
        };
        let (toml, notes) = in_memory(Path::new("/etc/agent/agent.hcl"), text, &open).unwrap().unwrap();
        assert!(toml.contains("text of /etc/agent/app.ctmpl"), "{toml}");
        assert!(toml.contains("text of /etc/agent/below/b.ctmpl"), "{toml}");
        let said = "note: /vault/config/app.ctmpl is not on this machine; /etc/agent/app.ctmpl has its name and is taken";
        let elsewhere: Vec<&String> = notes.iter().filter(|note| note.contains("on this machine")).collect();
        assert_eq!(elsewhere, [said]);
    }

    #[test]
    fn what_is_written_is_for_nobody_who_may_not_read_the_original() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("agent.hcl");
        fs::write(&file, "x").unwrap();
        for (mode, expected) in
            [(0o600, 0o600), (0o640, 0o640), (0o444, 0o644), (0o777, 0o644), (0o400, 0o600)]
        {
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(readers(&file), expected, "{mode:o}");
        }
        assert_eq!(readers(Path::new("-")), EVERYBODY);
    }
}
