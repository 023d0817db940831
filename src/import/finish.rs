//! What can be said only when everything is read: defaults that differ, places on a disk, files that collide.
//!
//! *Invariant:* afterwards every file has a path that Squire takes, and no two have the same.

use std::collections::BTreeSet;

use super::foreign::{Auth, File, Foreign, Reaction, Sink, VARIABLE, shown};
use super::{Notes, Place, Wants, Written, value};

/// The directory of relative files.
pub(super) const DIRECTORY: &str = "/run/squire";

/// The files that templates write beside their own, where nobody has taken them.
pub(super) fn written(wants: &Wants, start: &Place, foreign: &mut Foreign) {
    foreign.files.extend(wants.written().iter().map(|file| self::file(file.clone(), start)));
}

/// A file that a template writes beside its own.
pub(super) fn file(written: Written, place: &Place) -> File {
    let said = |text: String| Some(text).filter(|text| !text.is_empty());
    File {
        place: place.clone(),
        path: written.path,
        template: Some(written.template),
        mode: value::quoted_mode(&written.mode).and_then(|mode| value::mode(mode.bits)),
        owner: said(written.owner),
        group: said(written.group),
        makes_dir: written.each.is_none(),
        each: written.each,
        ..File::default()
    }
}

/// Settles what concerns several parts. `start` is the place of what has none of its own.
pub(super) fn finish(foreign: &mut Foreign, start: &Place, notes: &mut Notes) {
    directories(foreign, notes);
    relative(foreign, notes);
    credentials(foreign, start, notes);
    collisions(foreign, notes);
    defaults(foreign, start, notes);
    let has_process = foreign.process.command.is_some();
    let restarts = !matches!(foreign.process.on_change, Some(Reaction::Nothing));
    if let Some(file) = foreign
        .files
        .iter()
        .find(|file| file.on_change.is_some() && has_process && restarts && foreign.moves_process)
    {
        let advice = "beside its command, a changed file restarts or signals the process there; here only the command runs. \
                      Leave out `on_change` of the file to have the process's own";
        notes.left(file.place.clone(), "command", advice);
    }
    signalled(foreign, start, notes);
}

/// Relative names of files to read are beside the configuration in Squire.
fn credentials(foreign: &Foreign, start: &Place, notes: &mut Notes) {
    let vault = &foreign.vault;
    let login = match &vault.auth {
        Some(Auth::AppRole { role_id_file, secret_id_file, .. }) => {
            [role_id_file.as_ref(), secret_id_file.as_ref()]
        }
        Some(Auth::Token { file } | Auth::Jwt { jwt_file: file, .. }) => [Some(file), None],
        Some(Auth::Kubernetes { token_file, .. }) => [token_file.as_ref(), None],
        Some(Auth::Password { password_file, .. }) => [Some(password_file), None],
        Some(Auth::Cert { .. } | Auth::Aws { .. } | Auth::Gcp { .. } | Auth::Azure { .. }) | None => {
            [None, None]
        }
    };
    let server = [&vault.ca_file, &vault.client_cert_file, &vault.client_key_file].map(Option::as_ref);
    let is_relative = |file: &&String| !file.starts_with('/') && !file.starts_with(VARIABLE);
    if let Some(file) = login.into_iter().chain(server).flatten().find(is_relative) {
        let advice = "a relative path is beside squire.toml here, and in the working directory there";
        notes.told(start.clone(), format!("{file:?}"), advice);
    }
}

/// What differs where nothing is said.
fn defaults(foreign: &Foreign, start: &Place, notes: &mut Notes) {
    let open = foreign.files.iter().find(|file| file.mode.is_none() && foreign.is_open_by_default);
    if let Some(file) = open {
        let advice = "a file without a mode is 0644 there, and everybody on the machine may read it; kept here in [output]. \
                      Squire's own default is 0400";
        notes.told(file.place.clone(), "perms", advice);
    }
    if let Some(file) = foreign.files.iter().find(|file| is_on_disk(&file.path, foreign)) {
        let advice = "this directory is usually on a disk, where a secret can outlive its deletion; allowed here by output.allow_disk. \
                      Better is a path below /run or on another tmpfs";
        notes.told(file.place.clone(), format!("destination = {:?}", shown(&file.path)), advice);
    }
    let on_disk = |sink: &&Sink| sink.path.as_ref().is_some_and(|path| is_on_disk(path, foreign));
    if let Some(sink) = foreign.sinks.iter().filter(|sink| sink.is_writable()).find(on_disk) {
        let path = shown(sink.path.as_deref().unwrap_or_default());
        let advice = "this directory is usually on a disk, and the token is on it then; allowed here by output.allow_disk. Better is a path below /run";
        notes.told(start.clone(), format!("sink {path:?}"), advice);
    }
    if let Some(file) = foreign.files.iter().find(|file| file.path.starts_with('/') && foreign.pod.is_none())
    {
        let advice = "Squire does not replace a file that another program wrote: stop that program and remove its files before the first start";
        notes.told(file.place.clone(), format!("destination = {:?}", shown(&file.path)), advice);
    }
}

/// A process that is only signalled cannot get new variables, but it can get constant ones from `env`.
fn signalled(foreign: &mut Foreign, start: &Place, notes: &mut Notes) {
    let process = &mut foreign.process;
    let is_signalled = matches!(process.on_change, Some(Reaction::Signal(_)));
    if !is_signalled || process.env.is_empty() {
        return;
    }
    let constants: Option<Vec<String>> = process
        .env
        .iter()
        .map(|variable| Some(format!("{}={}", variable.name, variable.constant.as_ref()?)))
        .collect();
    if let (Some(constants), Some(command)) = (constants, &mut process.command) {
        let env = std::iter::once("env".to_owned()).chain(constants);
        command.splice(0..0, env);
        process.env.clear();
        return;
    }
    process.on_change = None;
    let advice = "a running process cannot get a new environment, so Squire restarts it";
    notes.told(start.clone(), "reload_signal", advice);
}

/// A directory with a file for each field is below `output.dir` in Squire: below its own parent, if no other file is relative.
fn directories(foreign: &mut Foreign, notes: &mut Notes) {
    let is_absolute = |file: &File| file.path.starts_with('/');
    let parent = |file: &File| Some(file.path.rsplit_once('/')?.0.to_owned());
    let first = foreign.files.iter().find(|file| file.each.is_some() && is_absolute(file)).and_then(parent);
    // A directory of the machine is nobody's own: `/run`, `/etc`.
    if let Some(parent) = first.filter(|parent| parent.matches('/').count() > 1)
        && foreign.dir.is_none()
        && foreign.files.iter().all(is_absolute)
    {
        foreign.dir = Some(parent);
    }
    let directory = foreign.dir.clone().unwrap_or_else(|| DIRECTORY.to_owned());
    let mut taken: BTreeSet<String> = foreign.files.iter().map(|file| file.path.clone()).collect();
    for file in foreign.files.iter_mut().filter(|file| file.each.is_some() && file.path.starts_with('/')) {
        let is_below = file.path.strip_prefix(&directory).is_some_and(|rest| rest.starts_with('/'));
        if !is_below {
            let is_free =
                |name: &String| !taken.contains(name) && !taken.contains(&format!("{directory}/{name}"));
            let short = Some(file.path.rsplit('/').next().unwrap_or_default().to_owned());
            let name = short.filter(is_free).unwrap_or_else(|| file.path.trim_matches('/').replace('/', "-"));
            taken.insert(name.clone());
            let advice = format!(
                "a directory with a file for each field is a part of the release, below output.dir: {directory}/{name}; let the program look there"
            );
            notes.left(file.place.clone(), format!("writeToFile {:?}", shown(&file.path)), advice);
            file.path = name;
        }
    }
}

/// Relative paths are below one directory in Squire.
fn relative(foreign: &mut Foreign, notes: &mut Notes) {
    let directory = foreign.dir.as_deref().unwrap_or(DIRECTORY);
    for file in &mut foreign.files {
        if let Some(inside) = file.path.strip_prefix(directory).and_then(|path| path.strip_prefix('/')) {
            file.path = inside.to_owned();
        } else if !file.path.starts_with('/') && foreign.dir.is_none() {
            let advice = format!(
                "a relative path is below output.dir here, and not below the working directory: {directory}/{}",
                file.path
            );
            notes.told(file.place.clone(), format!("destination = {:?}", shown(&file.path)), advice);
        }
        file.makes_dir &= file.path.starts_with('/') || file.path.starts_with(VARIABLE);
    }
}

/// Two files of one path: the last one to render wins there, by chance; Squire takes one.
fn collisions(foreign: &mut Foreign, notes: &mut Notes) {
    let mut seen: BTreeSet<String> = BTreeSet::new();
    let mut twice = Vec::new();
    foreign.files.retain(|file| {
        let is_new = seen.insert(file.path.clone());
        if !is_new {
            twice.push((file.path.clone(), file.place.clone()));
        }
        is_new
    });
    for (path, place) in twice {
        let advice = "two templates write this file, and which one wins is chance; the first is taken";
        notes.left(place, format!("destination = {path:?}"), advice);
    }
    for file in &mut foreign.files {
        let below = format!("{}/", file.path);
        if seen.range(below.clone()..).next().is_some_and(|path| path.starts_with(&below)) {
            let advice = "another file needs this path as its directory; choose another path";
            notes.left(file.place.clone(), format!("destination = {:?}", shown(&file.path)), advice);
            file.template = None;
        }
    }
}

/// Whether a path is not at one of the places that are in memory on most machines.
pub(super) fn is_on_disk(path: &str, foreign: &Foreign) -> bool {
    const MEMORY: &[&str] = &["/run/", "/var/run/", "/dev/shm/", "/vault/secrets/", "/openbao/secrets/"];
    let is_below =
        |place: &String| path.strip_prefix(place.as_str()).is_some_and(|rest| rest.starts_with('/'));
    let is_in_memory =
        MEMORY.iter().any(|place| path.starts_with(place)) || foreign.in_memory.iter().any(is_below);
    (path.starts_with('/') || path.starts_with(VARIABLE)) && !is_in_memory
}
