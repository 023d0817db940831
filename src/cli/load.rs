//! From the name of a configuration file to a plan, with everything on this machine that a plan refers to.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use nix::unistd::{Gid, Group, Uid, User, getegid, geteuid, getgrouplist};

use crate::config::{self, Account, Config};
use crate::plan::{self, Person, Plan, Surroundings};
use crate::template::{self, Engine};

/// A file that a template is, or includes, may have this many bytes.
const LARGEST_FILE: u64 = 1024 * 1024;

/// A configuration with its plan, and what renders it.
pub(super) struct Loaded {
    pub(super) config: Config,
    pub(super) plan: Plan,
    pub(super) engine: Engine,
}

/// Reads and compiles everything; or every problem there is, a line each.
pub(super) fn load(file: &Path, command: Option<Vec<String>>) -> Result<Loaded, Vec<String>> {
    let text = read(file)
        .map_err(|error| vec![format!("{}: cannot read the configuration: {error}", file.display())])?;
    let variable = |name: &str| std::env::var(name).ok();
    let (config, problems) = config::survey(file, &text, &variable);
    let problems = lines(&problems);
    let Some(config) = config else { return Err(problems) };
    let engine = Engine::new(template::Surroundings {
        env: Box::new(|name| std::env::var(name).ok()),
        file: Box::new(read),
    });
    let surroundings = Surroundings {
        read: &read,
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
    Ok(Loaded { config, plan, engine })
}

fn lines<T: ToString>(problems: &[T]) -> Vec<String> {
    problems.iter().map(ToString::to_string).collect()
}

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

/// Nobody where the user has no entry in the system's database.
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

/// Writes problems to stderr.
pub(super) fn complain(problems: &[String]) {
    let lines = problems.join("\n");
    // Where stderr is closed, the exit code has to say it alone.
    drop(io::Write::write_all(&mut io::stderr(), format!("{lines}\n").as_bytes()));
}
