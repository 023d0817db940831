//! The arguments of `execve`, made before the fork, so that every problem that can be known is known while the former process still runs.
//!
//! *Invariant:* an error names the argument or the variable, and contains no value.

use std::cell::Cell;
use std::env;
use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;
use std::sync::Arc;

use nix::errno::Errno;
use nix::libc;
use nix::sys::resource::{Resource, getrlimit};
use nix::unistd::Gid;

use super::listen::Listeners;
use super::{Launch, Refusal, environment};
use crate::plan::Setting;

/// Where programs are searched for if there is no PATH, as in the C library.
const DEFAULT_PATH: &str = "/bin:/usr/bin";

/// A variable for a process that gets sockets: the number of the process that they are for.
pub(super) const LISTEN_PID: &[u8] = b"LISTEN_PID=";

/// The largest argument or variable in bytes, with its NUL: `MAX_ARG_STRLEN` of the kernel, 32 pages.
const LONGEST_TEXT: usize = 32 * 4096;

/// The limits of all together: a quarter of the stack's limit, but not less and not more than these (execve(2), "Limits on size of
/// arguments and environment"; `bprm_stack_limits` in the kernel's fs/exec.c).
const LEAST_ROOM: u64 = 128 * 1024;
const MOST_ROOM: u64 = 6 * 1024 * 1024;

/// Everything for `execve`.
pub(super) struct Image {
    /// The paths where the program may be, in the order to try.
    pub(super) paths: Vec<CString>,
    pub(super) arguments: Texts,
    pub(super) variables: Texts,
    pub(super) working_dir: Option<CString>,
    pub(super) groups: Vec<Gid>,
    pub(super) setting: Arc<Setting>,
    /// The descriptors of its sockets, used while they are moved.
    pub(super) moved: Box<[Cell<libc::c_int>]>,
    /// [`LISTEN_PID`], with room for the number, which only the child itself can know.
    pub(super) listen_pid: Box<[Cell<u8>]>,
}

/// Texts for C: pointers to each, and a null at the end.
pub(super) struct Texts {
    pub(super) pointers: Vec<*const libc::c_char>,
    /// The texts that the pointers point into; never changed afterwards.
    texts: Vec<CString>,
}

impl Image {
    pub(super) fn prepare(
        launch: &Launch,
        own: &[(OsString, OsString)],
        listeners: Option<&Listeners>,
        notify_socket: Option<&str>,
    ) -> Result<Self, Refusal> {
        let mut arguments = Vec::new();
        for (number, argument) in launch.command.iter().enumerate() {
            arguments.push(text(argument.as_bytes(), || format!("argument {number} of the command"))?);
        }
        let mut variables = Vec::new();
        let mut environment = environment(own, &launch.env, &launch.setting);
        environment.extend(notify_socket.map(|address| (OsStr::new("NOTIFY_SOCKET"), OsStr::new(address))));
        for (name, value) in environment {
            let what = || format!("the variable {}", name.display());
            if name.as_bytes().contains(&b'=') {
                return Err(Refusal::Unfit { what: what(), character: "'=' in its name" });
            }
            variables.push(text(&[name.as_bytes(), b"=", value.as_bytes()].concat(), what)?);
        }
        let search = own.iter().find(|(name, _)| name == "PATH").map(|(_, path)| path.as_os_str());
        let paths = candidates(launch.command.first().map_or("", String::as_str), search)?;
        let mut pid_pointer = None;
        let listen_pid: Box<[Cell<u8>]> = LISTEN_PID.iter().copied().chain([0; 12]).map(Cell::new).collect();
        let sockets = listeners.map_or(0, |listeners| listeners.sockets().len());
        if sockets > 0 {
            variables.push(text(format!("LISTEN_FDS={sockets}").as_bytes(), || "LISTEN_FDS".to_owned())?);
            if let Some(names) = listeners.and_then(Listeners::names) {
                variables.push(text(format!("LISTEN_FDNAMES={names}").as_bytes(), || {
                    "LISTEN_FDNAMES".to_owned()
                })?);
            }
            pid_pointer = Some(listen_pid.as_ptr().cast::<libc::c_char>());
        }
        let setting = Arc::clone(&launch.setting);
        let arguments = Texts::new(arguments, None);
        let variables = Texts::new(variables, pid_pointer);
        require_room(&paths, &arguments, &variables, &setting)?;
        let working_dir = setting
            .working_dir
            .as_ref()
            .map(|dir| text(dir.as_os_str().as_bytes(), || "process.working_dir".to_owned()));
        let groups = setting.person.iter().flat_map(|person| &person.groups).copied();
        Ok(Self {
            paths,
            arguments,
            variables,
            working_dir: working_dir.transpose()?,
            groups: groups.map(Gid::from_raw).collect(),
            setting,
            moved: vec![Cell::new(-1); sockets].into(),
            listen_pid,
        })
    }

    /// Why the program was not executed.
    pub(super) fn refusal(&self, program: String, cause: Errno) -> Refusal {
        let is_there = |path: &CString| Path::new(OsStr::from_bytes(path.to_bytes())).exists();
        if cause != Errno::ENOENT {
            Refusal::NotExecutable { program, cause }
        } else if self.paths.iter().any(is_there) {
            Refusal::NoInterpreter { program }
        } else {
            Refusal::NotFound { program }
        }
    }
}

impl Texts {
    /// `more` lives longer than they do.
    fn new(texts: Vec<CString>, more: Option<*const libc::c_char>) -> Self {
        let pointers = texts.iter().map(|text| text.as_ptr()).chain(more).chain([ptr::null()]).collect();
        Self { pointers, texts }
    }

    /// The size that the kernel counts: the bytes of each text with its NUL, and the pointers except for the null at the end.
    fn size(&self) -> u64 {
        let texts: usize = self.texts.iter().map(|text| text.count_bytes() + 1).sum();
        let pointers = (self.pointers.len() - 1) * size_of::<*const libc::c_char>();
        (texts + pointers) as u64
    }
}

/// Checks whether the kernel will accept all of it.
fn require_room(
    paths: &[CString],
    arguments: &Texts,
    variables: &Texts,
    setting: &Setting,
) -> Result<(), Refusal> {
    let own = || getrlimit(Resource::RLIMIT_STACK).map_or(u64::MAX, |(soft, _)| soft);
    let asked = setting.limits.iter().rfind(|limit| limit.resource == Resource::RLIMIT_STACK);
    let stack = asked.map_or_else(own, |limit| limit.soft);
    let room = (stack / 4).clamp(LEAST_ROOM, MOST_ROOM);
    let path = paths.iter().map(|path| path.count_bytes() as u64 + 1).max().unwrap_or(0);
    let size = arguments.size() + variables.size() + path;
    if size > room { Err(Refusal::NoRoom { size, room }) } else { Ok(()) }
}

fn text(bytes: &[u8], what: impl Fn() -> String) -> Result<CString, Refusal> {
    if bytes.len() >= LONGEST_TEXT {
        return Err(Refusal::TooLong { what: what(), size: bytes.len() + 1, limit: LONGEST_TEXT });
    }
    // The error would contain the bytes, which may be secret.
    CString::new(bytes).map_err(|_| Refusal::Unfit { what: what(), character: "a NUL byte" })
}

/// The paths where a shell would search for the program.
fn candidates(program: &str, search: Option<&OsStr>) -> Result<Vec<CString>, Refusal> {
    let search = search.unwrap_or(OsStr::new(DEFAULT_PATH));
    let found = if program.is_empty() {
        vec![]
    } else if program.contains('/') {
        vec![program.into()]
    } else {
        env::split_paths(search).map(|dir| Path::new(".").join(dir).join(program)).collect()
    };
    let what = || "the path of the program".to_owned();
    found.iter().map(|path| text(path.as_os_str().as_bytes(), what)).collect()
}

/// Checks whether there is such a program for a process of Squire's, before it is needed.
pub fn find(program: &str) -> Result<(), Refusal> {
    let candidates = candidates(program, env::var_os("PATH").as_deref())?;
    let is_there = |path: &CString| Path::new(OsStr::from_bytes(path.to_bytes())).is_file();
    if candidates.iter().any(is_there) {
        Ok(())
    } else {
        Err(Refusal::NotFound { program: program.to_owned() })
    }
}
