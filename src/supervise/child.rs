//! Fork, exec and reap.
//!
//! All allocations happen before the fork. Between fork and exec the child makes only async-signal-safe calls, since another thread of
//! Squire may hold any lock at that moment, also the allocator's.
//!
//! *Invariant:* a child that [`spawn`] returned runs its program in its own process group. It has no descriptor of Squire's except its
//! standard streams.

use std::convert::Infallible;
use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::libc;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::prctl;
use nix::sys::resource::setrlimit;
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{ForkResult, Gid, Pid, Uid, chdir, setgid, setgroups, setuid};
use nix::unistd::{
    dup2_stderr, dup2_stdin, dup2_stdout, fork, getpid, getppid, pipe2, setpgid, tcsetpgrp, write,
};

use super::host::{Endowment, timeout};
use super::image::{Image, LISTEN_PID};
use super::listen::Listeners;
use super::signals::{self, Inheritance};
use super::{Ending, Launch, Refusal};
use crate::config::Limit;

/// The descriptor of the first socket: after the standard streams.
const FIRST_SOCKET: libc::c_int = 3;

/// The standard streams of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Streams {
    /// All three are Squire's own: for the child.
    Inherited,
    /// stdin is empty, and output goes to Squire's stderr: for the commands of a reaction.
    Aside,
    /// stdin is empty, and the end of the output is reported as [`Report::Said`](super::host::Report::Said): for checks and probes.
    Captured,
}

/// The descriptors that a process gets.
pub(super) struct Ends<'a> {
    pub(super) streams: Streams,
    /// The pipe for its output, if that is not Squire's own.
    pub(super) output: Option<&'a OwnedFd>,
    /// The socket on which it says that it is ready.
    pub(super) notify_socket: Option<&'a str>,
    /// The file by which it enters its control group.
    pub(super) cgroup: Option<BorrowedFd<'a>>,
}

/// What every process gets from Squire.
#[derive(Debug)]
pub(super) struct Surroundings {
    pub(super) endowment: Endowment,
    pub(super) signals: Inheritance,
    /// An open `/dev/null`.
    pub(super) null: File,
    /// Squire has the terminal, and a child gets it.
    pub(super) hands_over_terminal: bool,
}

/// Starts a process and returns when its program runs. A refused process is left to [`reap`].
pub(super) fn spawn(launch: &Launch, ends: &Ends<'_>, surroundings: &Surroundings) -> Result<Pid, Refusal> {
    let Endowment { environment, listeners, .. } = &surroundings.endowment;
    let listeners = Some(listeners).filter(|_| ends.streams == Streams::Inherited);
    let image = Image::prepare(launch, environment, listeners, ends.notify_socket)?;
    make(launch, &image, ends, surroundings, Finale::Execute)
}

/// Does everything that [`spawn`] does except the last step: a child takes the user, place and limits of the process, tests whether it
/// could execute the program, and ends. So a problem with a launch is known while the former process still runs.
pub(super) fn rehearse(launch: &Launch, surroundings: &Surroundings) -> Result<(), Refusal> {
    let image = Image::prepare(launch, &surroundings.endowment.environment, None, None)?;
    let ends = Ends { streams: Streams::Aside, output: None, notify_socket: None, cgroup: None };
    make(launch, &image, &ends, surroundings, Finale::Look).map(drop)
}

/// What a child does at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Finale {
    /// It executes the program.
    Execute,
    /// It tests whether it could execute the program, and exits.
    Look,
}

fn make(
    launch: &Launch,
    image: &Image,
    ends: &Ends<'_>,
    surroundings: &Surroundings,
    finale: Finale,
) -> Result<Pid, Refusal> {
    let program = launch.command.first().cloned().unwrap_or_default();
    let system = |doing| {
        let program = program.clone();
        move |cause| Refusal::System { program, doing, cause }
    };
    let (answer, question) = pipe2(OFlag::O_CLOEXEC).map_err(system("making a pipe"))?;
    let squire = getpid();
    let mask = signals::block_all().map_err(system("blocking signals"))?;
    let forked = match fork_safely() {
        Ok(ForkResult::Child) => become_program(image, ends, surroundings, squire, &question, finale),
        Ok(ForkResult::Parent { child }) => Ok(child),
        Err(errno) => Err(errno),
    };
    // This cannot fail: the mask was valid a moment ago.
    mask.thread_set_mask().map_err(system("unblocking signals"))?;
    let child = forked.map_err(system("fork"))?;
    drop(question);
    if !speaks_within(&answer, HEARD_WITHIN) {
        // The child waits for a file system; it is left to `reap`.
        kill(child, Signal::SIGKILL).ok();
        return Err(system("becoming its program in time (does the file system of working_dir hang?)")(
            Errno::ETIMEDOUT,
        ));
    }
    match hear(answer) {
        None => Ok(child),
        Some((Step::Program, cause)) => Err(image.refusal(program, cause)),
        Some((step, cause)) => Err(system(step.doing())(cause)),
    }
}

/// A change of a process's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Ended(Ending),
    /// Stopped by a signal of job control.
    Stopped,
}

/// The next process that has ended or stopped, whoever started it; `None` if there is none now.
///
/// Not nix's `waitpid`: for a process that was killed by a real-time signal it reaps the process, has no name for the signal, and returns
/// EINVAL.
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

/// The steps of a child before it executes the program. A number tells Squire the step that failed.
#[derive(Clone, Copy)]
enum Step {
    Group,
    Streams,
    Sockets,
    Groups,
    User,
    Limits,
    Directory,
    Capabilities,
    Privileges,
    ParentDeath,
    Signals,
    Program,
}

impl Step {
    const ALL: [Self; 12] = [
        Self::Group,
        Self::Streams,
        Self::Sockets,
        Self::Groups,
        Self::User,
        Self::Limits,
        Self::Directory,
        Self::Capabilities,
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
            Self::Capabilities => "taking Squire's ambient capabilities from it",
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

/// The child's steps to its program, or to its end. Only async-signal-safe calls from here: see the top of this file.
#[expect(unsafe_code, reason = "a forked child must not run what Squire does at its own exit")]
fn become_program(
    image: &Image,
    ends: &Ends<'_>,
    surroundings: &Surroundings,
    squire: Pid,
    question: &OwnedFd,
    finale: Finale,
) -> ! {
    // Moved away from the descriptors of the sockets.
    let first_free = FIRST_SOCKET + libc::c_int::try_from(image.moved.len()).unwrap_or(0);
    let moved = fcntl(question, FcntlArg::F_DUPFD_CLOEXEC(first_free));
    let question = match moved {
        // SAFETY: fcntl has just made this descriptor, and nothing else uses it.
        Ok(moved) => unsafe { BorrowedFd::borrow_raw(moved) },
        Err(_) => question.as_fd(),
    };
    let Err((step, errno)) = prepare_and_execute(image, ends, surroundings, squire, finale);
    let [a, b, c, d] = (errno as i32).to_ne_bytes();
    // This process ends even if Squire cannot be told.
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
    finale: Finale,
) -> Result<Infallible, (Step, Errno)> {
    let at = |step| move |errno| (step, errno);
    setpgid(Pid::from_raw(0), Pid::from_raw(0)).map_err(at(Step::Group))?;
    if ends.streams == Streams::Inherited && surroundings.hands_over_terminal {
        // Every signal is blocked here, SIGTTOU too. If the terminal cannot be handed over, the child is a job in the background.
        tcsetpgrp(io::stdin().as_fd(), getpid()).ok();
    }
    connect(ends, &surroundings.null).map_err(at(Step::Streams))?;
    if let Some(procs) = ends.cgroup {
        // If it may not enter the group, it is killed by other means.
        write(procs, b"0").ok();
    }
    pass_on(image, &surroundings.endowment.listeners).map_err(at(Step::Sockets))?;
    stand(image, &surroundings.endowment.limits)?;
    // This has to be last: a change of the user resets it.
    die_with(squire, image.setting.last_signal.unwrap_or(Signal::SIGTERM)).map_err(at(Step::ParentDeath))?;
    surroundings.signals.restore().map_err(at(Step::Signals))?;
    match finale {
        Finale::Execute => execute(image),
        Finale::Look => look(image),
    }
    .map_err(at(Step::Program))
}

/// Changes to the user, working directory and limits of the process. Groups come first: after a change of the user they could no longer be
/// set.
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
        drop_inheritable_capabilities().map_err(at(Step::User))?;
    }
    if let Some(mask) = setting.umask {
        umask(Mode::from_bits_truncate(mask));
    }
    if let Some(directory) = &image.working_dir {
        chdir(directory.as_c_str()).map_err(at(Step::Directory))?;
    }
    // After the directory, which Squire may need a capability to enter.
    drop_ambient_capabilities().map_err(at(Step::Capabilities))?;
    if setting.no_new_privs {
        prctl::set_no_new_privs().map_err(at(Step::Privileges))?;
    }
    Ok(())
}

/// Clears the ambient capabilities that Squire got without being root, for `output.mount` or to read its credentials: no program that it
/// starts may have them.
#[expect(unsafe_code, reason = "nix has no capabilities")]
fn drop_ambient_capabilities() -> nix::Result<()> {
    // SAFETY: plain numbers.
    let cleared = unsafe { libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) };
    match Errno::result(cleared) {
        // A kernel without ambient capabilities has none to clear.
        Ok(_) | Err(Errno::EINVAL) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// Clears the inheritable capabilities, which another user's program would get in addition to those of its file.
#[expect(unsafe_code, reason = "nix has no capabilities")]
fn drop_inheritable_capabilities() -> nix::Result<()> {
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
    // SAFETY: the kernel reads a header and writes two sets, which is what is there.
    Errno::result(unsafe { libc::syscall(libc::SYS_capget, header, set) })?;
    for set in &mut sets {
        set.inheritable = 0;
    }
    // SAFETY: as above; it reads both.
    Errno::result(unsafe { libc::syscall(libc::SYS_capset, header, sets.as_ptr()) }).map(drop)
}

/// Moves the sockets to the descriptors that systemd would use, and writes whose they are.
#[expect(unsafe_code, reason = "descriptors are put at given numbers, which no owner has")]
fn pass_on(image: &Image, listeners: &Listeners) -> nix::Result<()> {
    if image.moved.is_empty() {
        return Ok(());
    }
    // First they are moved out of each other's way, then each to its own descriptor. If a socket is already there, only close-on-exec has
    // to be cleared.
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

/// Writes the number in decimal, without allocating.
fn decimal(mut number: u32, digits: &mut [u8; 10]) -> &[u8] {
    let mut first = digits.len();
    loop {
        first -= 1;
        // A remainder of ten fits into a byte.
        digits[first] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return &digits[first..];
        }
    }
}

/// Asks for a signal at Squire's death. If Squire is process 1, the kernel kills all processes.
fn die_with(squire: Pid, signal: Signal) -> nix::Result<()> {
    if squire == Pid::from_raw(1) {
        return Ok(());
    }
    prctl::set_pdeathsig(signal)?;
    // Squire may have died before the child asked for the signal.
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

/// Tries each path as execvp does: a missing file is skipped, and a file that may not be executed is remembered.
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

/// Exits with 0 if one of the paths is a file that this process may execute. Only the kernel can find out what the file then needs.
#[expect(unsafe_code, reason = "a forked child must not run what Squire does at its own exit")]
fn look(image: &Image) -> nix::Result<Infallible> {
    let mut worst = Errno::ENOENT;
    for path in &image.paths {
        match may_execute(path) {
            // SAFETY: _exit ends this process at once; nothing of it is used afterwards.
            Ok(()) => unsafe { libc::_exit(0) },
            Err(Errno::EACCES) => worst = Errno::EACCES,
            Err(Errno::ENOENT | Errno::ENOTDIR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Err(worst)
}

#[expect(unsafe_code, reason = "nix's forms may allocate")]
fn may_execute(path: &CStr) -> nix::Result<()> {
    let mut status = MaybeUninit::<libc::stat>::uninit();
    // SAFETY: `path` ends with NUL, and the kernel writes one `stat`, for which there is room.
    Errno::result(unsafe { libc::stat(path.as_ptr(), status.as_mut_ptr()) })?;
    // SAFETY: the call above has filled it.
    let mode = unsafe { status.assume_init() }.st_mode;
    if mode & libc::S_IFMT != libc::S_IFREG {
        return Err(Errno::EACCES);
    }
    // SAFETY: `path` ends with NUL.
    Errno::result(unsafe { libc::access(path.as_ptr(), libc::X_OK) }).map(drop)
}

/// How long a child may take to become its program. It usually takes milliseconds, and Squire's main thread waits meanwhile.
const HEARD_WITHIN: Duration = Duration::from_secs(5);

/// Whether the child reports a failure, or executes its program, within this time.
fn speaks_within(answer: &OwnedFd, time: Duration) -> bool {
    let until = Instant::now() + time;
    loop {
        let mut polled = [PollFd::new(answer.as_fd(), PollFlags::POLLIN)];
        match poll(&mut polled, timeout(until)) {
            Ok(0) => return false,
            Err(Errno::EINTR) => {}
            // The following read reports an error.
            Ok(_) | Err(_) => return true,
        }
    }
}

/// The report of the child; `None` if a successful exec closed the pipe.
fn hear(answer: OwnedFd) -> Option<(Step, Errno)> {
    let mut told = Vec::new();
    File::from(answer).read_to_end(&mut told).ok()?;
    let (step, errno) = told.split_first()?;
    let errno = Errno::from_raw(i32::from_ne_bytes(errno.try_into().ok()?));
    Some((*Step::ALL.get(usize::from(*step))?, errno))
}
