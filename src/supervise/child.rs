//! Fork, exec and reap.
//!
//! All that allocates happens before the fork. Between fork and exec the child makes only calls that are safe in a signal
//! handler, since another thread of Squire may hold any lock at that moment, the allocator's too.
//!
//! *Invariant:* a child that [`spawn`] answered runs its program in its own process group, with no descriptor of Squire's
//! beyond its standard streams.

use std::cell::Cell;
use std::convert::Infallible;
use std::ffi::{CString, OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::{env, ptr};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::libc;
use nix::sys::prctl;
use nix::sys::resource::setrlimit;
use nix::sys::signal::Signal;
use nix::sys::stat::{Mode, umask};
use nix::unistd::{ForkResult, Gid, Pid, Uid, chdir, setgid, setgroups, setuid};
use nix::unistd::{
    dup2_stderr, dup2_stdin, dup2_stdout, fork, getpid, getppid, pipe2, setpgid, tcsetpgrp, write,
};

use super::host::Endowment;
use super::listen::Listeners;
use super::signals::{self, Inheritance};
use super::{Ending, Launch, Refusal, environment};
use crate::config::Limit;
use crate::plan::Setting;

/// Where programs are looked for when there is no PATH, as the C library has it.
const DEFAULT_PATH: &str = "/bin:/usr/bin";

/// Where the first socket is passed on: behind the standard streams.
const FIRST_SOCKET: libc::c_int = 3;

const LISTEN_PID: &[u8] = b"LISTEN_PID=";

/// What a process reads from and writes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Streams {
    /// All three are Squire's own: for the child.
    Inherited,
    /// Nothing comes in, and what goes out goes to Squire's stderr: for the commands of a reaction.
    Aside,
    /// Nothing comes in, and the end of what goes out is reported as [`Report::Said`](super::host::Report::Said): for checks and
    /// probes.
    Captured,
}

/// What a process is connected to.
pub(super) struct Ends<'a> {
    pub(super) streams: Streams,
    /// Where it writes to, if that is not Squire's own.
    pub(super) output: Option<&'a OwnedFd>,
    /// Where it says that it is ready.
    pub(super) notify_socket: Option<&'a str>,
    /// Where it enters its control group.
    pub(super) cgroup: Option<BorrowedFd<'a>>,
}

/// What every process that Squire starts gets from Squire.
#[derive(Debug)]
pub(super) struct Surroundings {
    pub(super) endowment: Endowment,
    pub(super) signals: Inheritance,
    /// An open `/dev/null`.
    pub(super) null: File,
    /// Squire has the terminal, and a child gets it.
    pub(super) hands_over_terminal: bool,
}

/// Starts a process and answers when its program runs. What became of a refused one is left to [`reap`].
pub(super) fn spawn(launch: &Launch, ends: &Ends<'_>, surroundings: &Surroundings) -> Result<Pid, Refusal> {
    let program = launch.command.first().cloned().unwrap_or_default();
    let system = |doing| {
        let program = program.clone();
        move |cause| Refusal::System { program, doing, cause }
    };
    let Endowment { environment, listeners, .. } = &surroundings.endowment;
    let sockets = if ends.streams == Streams::Inherited { listeners.sockets().len() } else { 0 };
    let image = Image::prepare(launch, environment, sockets, ends.notify_socket)?;
    let (answer, question) = pipe2(OFlag::O_CLOEXEC).map_err(system("making a pipe"))?;
    let squire = getpid();
    let mask = signals::block_all().map_err(system("blocking signals"))?;
    let forked = match fork_safely() {
        Ok(ForkResult::Child) => become_program(&image, ends, surroundings, squire, &question),
        Ok(ForkResult::Parent { child }) => Ok(child),
        Err(errno) => Err(errno),
    };
    // This cannot fail: the mask was valid a moment ago.
    mask.thread_set_mask().map_err(system("unblocking signals"))?;
    let child = forked.map_err(system("fork"))?;
    drop(question);
    match hear(answer) {
        None => Ok(child),
        Some((Step::Program, cause)) => Err(image.refusal(program, cause)),
        Some((step, cause)) => Err(system(step.doing())(cause)),
    }
}

/// What became of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Ended(Ending),
    /// By a signal of job control.
    Stopped,
}

/// The next process that has ended or stopped, whoever started it; `None` when there is none now.
///
/// Not nix's `waitpid`: that reaps a process killed by a real-time signal, has no name for the signal, and answers EINVAL.
#[expect(unsafe_code, reason = "see above")]
pub(super) fn reap() -> Option<(Pid, Change)> {
    let mut status = 0;
    // SAFETY: waitpid writes one integer, to `status`, which lives longer than the call.
    let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG | libc::WUNTRACED) };
    let change = if libc::WIFSTOPPED(status) {
        Change::Stopped
    } else if libc::WIFEXITED(status) {
        Change::Ended(Ending::Code(u8::try_from(libc::WEXITSTATUS(status)).unwrap_or(u8::MAX)))
    } else {
        Change::Ended(Ending::Signal(libc::WTERMSIG(status)))
    };
    (pid > 0).then(|| (Pid::from_raw(pid), change))
}

/// What execve needs, ready to be handed over.
struct Image {
    /// Where the program may be, in the order to try.
    paths: Vec<CString>,
    arguments: Texts,
    variables: Texts,
    working_dir: Option<CString>,
    groups: Vec<Gid>,
    setting: Arc<Setting>,
    /// Where its sockets are while they are put in their places.
    moved: Box<[Cell<libc::c_int>]>,
    /// `LISTEN_PID=`, and room for the number, which only the child itself can know.
    listen_pid: Box<[Cell<u8>]>,
}

/// Texts as C has them: pointers to each, and a null at the end.
struct Texts {
    pointers: Vec<*const libc::c_char>,
    /// What the pointers point into; never changed after they were taken.
    _texts: Vec<CString>,
}

impl Image {
    fn prepare(
        launch: &Launch,
        own: &[(OsString, OsString)],
        sockets: usize,
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
        if sockets > 0 {
            variables.push(text(format!("LISTEN_FDS={sockets}").as_bytes(), || "LISTEN_FDS".to_owned())?);
            pid_pointer = Some(listen_pid.as_ptr().cast::<libc::c_char>());
        }
        let setting = Arc::clone(&launch.setting);
        let working_dir = setting
            .working_dir
            .as_ref()
            .map(|dir| text(dir.as_os_str().as_bytes(), || "process.working_dir".to_owned()));
        let groups = setting.person.iter().flat_map(|person| &person.groups).copied();
        Ok(Self {
            paths,
            arguments: Texts::new(arguments, None),
            variables: Texts::new(variables, pid_pointer),
            working_dir: working_dir.transpose()?,
            groups: groups.map(Gid::from_raw).collect(),
            setting,
            moved: vec![Cell::new(-1); sockets].into(),
            listen_pid,
        })
    }

    /// Why the program was not executed.
    fn refusal(&self, program: String, cause: Errno) -> Refusal {
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
    /// `more` outlives them.
    fn new(texts: Vec<CString>, more: Option<*const libc::c_char>) -> Self {
        let pointers = texts.iter().map(|text| text.as_ptr()).chain(more).chain([ptr::null()]).collect();
        Self { pointers, _texts: texts }
    }
}

fn text(bytes: &[u8], what: impl FnOnce() -> String) -> Result<CString, Refusal> {
    // The error would carry the bytes, which may be secret.
    CString::new(bytes).map_err(|_| Refusal::Unfit { what: what(), character: "a NUL byte" })
}

/// Where the shell would look for the program.
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

/// Whether there is such a program for a process of Squire's, to be known before it is needed.
pub fn find(program: &str) -> Result<(), Refusal> {
    let candidates = candidates(program, env::var_os("PATH").as_deref())?;
    let is_there = |path: &CString| Path::new(OsStr::from_bytes(path.to_bytes())).is_file();
    if candidates.iter().any(is_there) {
        Ok(())
    } else {
        Err(Refusal::NotFound { program: program.to_owned() })
    }
}

/// What a child does before it is the program. Told by number from the child to Squire.
#[derive(Clone, Copy)]
enum Step {
    Group,
    Streams,
    Sockets,
    Groups,
    User,
    Limits,
    Directory,
    Privileges,
    ParentDeath,
    Signals,
    Program,
}

impl Step {
    const ALL: [Self; 11] = [
        Self::Group,
        Self::Streams,
        Self::Sockets,
        Self::Groups,
        Self::User,
        Self::Limits,
        Self::Directory,
        Self::Privileges,
        Self::ParentDeath,
        Self::Signals,
        Self::Program,
    ];

    fn doing(self) -> &'static str {
        match self {
            Self::Group => "making its process group",
            Self::ParentDeath => "tying its life to Squire's",
            Self::Streams => "connecting its streams",
            Self::Sockets => "passing on the sockets of process.listen",
            Self::Groups => "setting process.groups",
            Self::User => "setting process.user and process.group",
            Self::Limits => "setting process.limits (only root can raise a hard limit)",
            Self::Directory => "entering process.working_dir",
            Self::Privileges => "setting no_new_privs",
            Self::Signals => "restoring its signals",
            Self::Program => "executing it",
        }
    }
}

#[expect(unsafe_code, reason = "the child of a process with threads may do next to nothing before exec")]
fn fork_safely() -> nix::Result<ForkResult> {
    // SAFETY: the child only runs `become_program`, which makes async-signal-safe calls only and neither allocates, nor
    // locks, nor panics, nor returns.
    unsafe { fork() }
}

/// The child's way to its program, or to its end. Only async-signal-safe calls from here: see the top of this file.
#[expect(unsafe_code, reason = "a forked child must not run what Squire does at its own exit")]
fn become_program(
    image: &Image,
    ends: &Ends<'_>,
    surroundings: &Surroundings,
    squire: Pid,
    question: &OwnedFd,
) -> ! {
    // Out of the way of the sockets.
    let first_free = FIRST_SOCKET + libc::c_int::try_from(image.moved.len()).unwrap_or(0);
    let moved = fcntl(question, FcntlArg::F_DUPFD_CLOEXEC(first_free));
    let question = match moved {
        // SAFETY: fcntl has just made this descriptor, and nobody else knows of it.
        Ok(moved) => unsafe { BorrowedFd::borrow_raw(moved) },
        Err(_) => question.as_fd(),
    };
    let Err((step, errno)) = prepare_and_execute(image, ends, surroundings, squire);
    let [a, b, c, d] = (errno as i32).to_ne_bytes();
    // Whether Squire hears it or not, this process ends.
    write(question, &[step as u8, a, b, c, d]).ok();
    // SAFETY: _exit ends this process at once; nothing of it is used afterwards.
    unsafe { libc::_exit(127) }
}

/// Squire waits until the program runs, so it cannot send a signal to the group before there is one.
fn prepare_and_execute(
    image: &Image,
    ends: &Ends<'_>,
    surroundings: &Surroundings,
    squire: Pid,
) -> Result<Infallible, (Step, Errno)> {
    let at = |step| move |errno| (step, errno);
    setpgid(Pid::from_raw(0), Pid::from_raw(0)).map_err(at(Step::Group))?;
    if ends.streams == Streams::Inherited && surroundings.hands_over_terminal {
        // Every signal is blocked here, SIGTTOU too. Where it cannot be handed over, the child is a job in the background.
        tcsetpgrp(io::stdin().as_fd(), getpid()).ok();
    }
    connect(ends, &surroundings.null).map_err(at(Step::Streams))?;
    if let Some(procs) = ends.cgroup {
        // Where it may not enter it, it is killed by other means.
        write(procs, b"0").ok();
    }
    pass_on(image, &surroundings.endowment.listeners).map_err(at(Step::Sockets))?;
    stand(image, &surroundings.endowment.limits)?;
    // Last of all: a change of the user takes it away.
    die_with(squire, image.setting.last_signal.unwrap_or(Signal::SIGTERM)).map_err(at(Step::ParentDeath))?;
    surroundings.signals.restore().map_err(at(Step::Signals))?;
    execute(image).map_err(at(Step::Program))
}

/// Becomes the user, with the user's place and limits. Groups first: only who may do that may change the user.
fn stand(image: &Image, given_back: &[Limit]) -> Result<(), (Step, Errno)> {
    let at = |step| move |errno| (step, errno);
    let setting = &*image.setting;
    for Limit { resource, soft, hard } in given_back.iter().chain(&setting.limits) {
        setrlimit(*resource, *soft, *hard).map_err(at(Step::Limits))?;
    }
    if let Some(person) = &setting.person {
        setgroups(&image.groups).map_err(at(Step::Groups))?;
        setgid(Gid::from_raw(person.group)).map_err(at(Step::User))?;
        setuid(Uid::from_raw(person.user)).map_err(at(Step::User))?;
        drop_inherited_capabilities().map_err(at(Step::User))?;
    }
    if let Some(mask) = setting.umask {
        umask(Mode::from_bits_truncate(mask));
    }
    if let Some(directory) = &image.working_dir {
        chdir(directory.as_c_str()).map_err(at(Step::Directory))?;
    }
    if setting.no_new_privs {
        prctl::set_no_new_privs().map_err(at(Step::Privileges))?;
    }
    Ok(())
}

/// What another user's program would be given beyond what its file says. From root the kernel takes the ambient ones itself.
#[expect(unsafe_code, reason = "nix has no capabilities")]
fn drop_inherited_capabilities() -> nix::Result<()> {
    #[repr(C)]
    struct Header {
        version: u32,
        pid: libc::c_int,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Default)]
    struct Set {
        effective: u32,
        permitted: u32,
        inheritable: u32,
    }
    // _LINUX_CAPABILITY_VERSION_3: two sets of 32 bits.
    let mut header = Header { version: 0x2008_0522, pid: 0 };
    let mut sets = [Set::default(); 2];
    let (header, set) = (&raw mut header, sets.as_mut_ptr());
    // SAFETY: plain numbers; the kernel without ambient capabilities says EINVAL, and has none to clear.
    unsafe { libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) };
    // SAFETY: the kernel reads a header and writes two sets, which is what is there.
    Errno::result(unsafe { libc::syscall(libc::SYS_capget, header, set) })?;
    for set in &mut sets {
        set.inheritable = 0;
    }
    // SAFETY: as above; it reads both.
    Errno::result(unsafe { libc::syscall(libc::SYS_capset, header, sets.as_ptr()) }).map(drop)
}

/// Puts the sockets where systemd would, and says whose they are.
#[expect(unsafe_code, reason = "descriptors are put at given numbers, which no owner has")]
fn pass_on(image: &Image, listeners: &Listeners) -> nix::Result<()> {
    if image.moved.is_empty() {
        return Ok(());
    }
    // First out of the way of each other, then each to its place; to be where it is named takes close-on-exec off.
    let first_free = FIRST_SOCKET + libc::c_int::try_from(image.moved.len()).unwrap_or(0);
    for (moved, socket) in image.moved.iter().zip(listeners.sockets()) {
        moved.set(fcntl(socket, FcntlArg::F_DUPFD_CLOEXEC(first_free))?);
    }
    for (place, moved) in (FIRST_SOCKET..).zip(&image.moved) {
        // SAFETY: dup2 takes and gives plain numbers; what it closes is not used in this process any more.
        Errno::result(unsafe { libc::dup2(moved.get(), place) })?;
    }
    let mut digits = [0; 10];
    let number = decimal(getpid().as_raw().unsigned_abs(), &mut digits);
    for (room, digit) in image.listen_pid.iter().skip(LISTEN_PID.len()).zip(number) {
        room.set(*digit);
    }
    Ok(())
}

/// The number in decimal, without allocating.
fn decimal(mut number: u32, digits: &mut [u8; 10]) -> &[u8] {
    let mut first = digits.len();
    loop {
        first -= 1;
        // A remainder of ten fits.
        digits[first] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return &digits[first..];
        }
    }
}

/// A signal if Squire dies without saying so. With process 1 the kernel ends everybody.
fn die_with(squire: Pid, signal: Signal) -> nix::Result<()> {
    if squire == Pid::from_raw(1) {
        return Ok(());
    }
    prctl::set_pdeathsig(signal)?;
    // It may have died before it was asked to tell.
    if getppid() == squire { Ok(()) } else { Err(Errno::ESRCH) }
}

fn connect(ends: &Ends<'_>, null: &File) -> nix::Result<()> {
    if ends.streams == Streams::Inherited {
        return Ok(());
    }
    dup2_stdin(null)?;
    match ends.output {
        Some(output) => {
            dup2_stdout(output)?;
            dup2_stderr(output)
        }
        None => dup2_stdout(io::stderr().as_fd()),
    }
}

/// Tries each path as execvp does: what is not there is passed over, what may not be executed is remembered.
#[expect(unsafe_code, reason = "nix's execve allocates")]
fn execute(image: &Image) -> nix::Result<Infallible> {
    let mut worst = Errno::ENOENT;
    for path in &image.paths {
        // SAFETY: all three point to NUL-terminated texts, the latter two through null-terminated arrays; `image` owns them.
        unsafe {
            libc::execve(path.as_ptr(), image.arguments.pointers.as_ptr(), image.variables.pointers.as_ptr())
        };
        let errno = Errno::last();
        if errno == Errno::EACCES {
            worst = errno;
        } else if !matches!(errno, Errno::ENOENT | Errno::ENOTDIR) {
            return Err(errno);
        }
    }
    Err(worst)
}

/// What the child told; `None` when the pipe was closed by a successful exec.
fn hear(answer: OwnedFd) -> Option<(Step, Errno)> {
    let mut told = Vec::new();
    File::from(answer).read_to_end(&mut told).ok()?;
    let (step, errno) = told.split_first()?;
    let errno = Errno::from_raw(i32::from_ne_bytes(errno.try_into().ok()?));
    Some((*Step::ALL.get(usize::from(*step))?, errno))
}
