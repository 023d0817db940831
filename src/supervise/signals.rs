//! The signals of Squire's process: which ones it takes, how they are told, and how a child finds them.
//!
//! A signal that was ignored when Squire started (by `nohup`, or for a shell's background job) stays ignored, in Squire and in
//! the child. Not taken are those that no process can take, and those that stand for a fault (SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE,
//! SIGSEGV, SIGSYS). What the kernel sends about Squire's own doing is told to nobody: SIGPIPE for a log that nobody reads, SIGXFSZ for one
//! that is too long, SIGXCPU for Squire's own time. SIGTSTP, SIGTTIN and SIGTTOU stop the child and Squire as one job. Real-time signals are
//! ignored.
//!
//! *Invariant:* a signal that was taken is told at least once, though several of one kind may be told as one.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;
use nix::libc::{self, c_int};
use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use nix::unistd::getpid;
use signal_hook::iterator::backend::SignalDelivery;
use signal_hook::iterator::exfiltrator::raw::WithRawSiginfo;

/// What may be meant for the child.
const TAKEN: [Signal; 22] = [
    Signal::SIGTERM,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGHUP,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGPIPE,
    Signal::SIGALRM,
    Signal::SIGSTKFLT,
    Signal::SIGXCPU,
    Signal::SIGXFSZ,
    Signal::SIGVTALRM,
    Signal::SIGPROF,
    Signal::SIGIO,
    Signal::SIGPWR,
    Signal::SIGURG,
    Signal::SIGWINCH,
    Signal::SIGCONT,
    Signal::SIGTSTP,
    Signal::SIGTTIN,
    Signal::SIGTTOU,
    Signal::SIGCHLD,
];

/// Rust's runtime ignores SIGPIPE before `main`, so what it was is looked at before that.
static SIGPIPE_WAS_IGNORED: AtomicBool = AtomicBool::new(false);

#[expect(unsafe_code, reason = "the linker's list of what runs before `main`")]
#[used]
// SAFETY: it is a function that takes nothing, and it needs nothing that `main` has to prepare.
#[unsafe(link_section = ".init_array")]
static LOOK_EARLY: extern "C" fn() = look_early;

extern "C" fn look_early() {
    SIGPIPE_WAS_IGNORED.store(is_ignored(libc::SIGPIPE).unwrap_or(false), Ordering::Relaxed);
}

/// The signals that came to Squire.
#[derive(Debug)]
pub(super) struct Signals {
    delivery: SignalDelivery<UnixStream, WithRawSiginfo>,
    hears_of_continuing: bool,
}

/// What a child needs to find its signals as Squire found them.
#[derive(Debug)]
pub(super) struct Inheritance {
    defaults: Vec<c_int>,
    mask: SigSet,
}

impl Signals {
    /// Takes every signal that may be meant for the child, and SIGCHLD. To be called before other threads are started, which
    /// get their mask from this one.
    pub(super) fn take() -> io::Result<(Self, Inheritance)> {
        // Where SIGCHLD is ignored the kernel throws the statuses of children away.
        dispose(libc::SIGCHLD, libc::SIG_DFL)?;
        let mask = SigSet::thread_get_mask()?;
        let mut taken = Vec::new();
        for signal in TAKEN {
            if !was_ignored(signal)? {
                taken.push(signal);
            }
        }
        let (read, write) = UnixStream::pair()?;
        let numbers = taken.iter().map(|signal| *signal as c_int);
        let delivery = SignalDelivery::with_pipe(read, write, WithRawSiginfo, numbers)?;
        taken.iter().copied().collect::<SigSet>().thread_unblock()?;
        let hears_of_continuing = taken.contains(&Signal::SIGCONT);
        let defaults = taken.into_iter().map(|signal| signal as c_int).chain(ignore_real_time()?).collect();
        Ok((Self { delivery, hears_of_continuing }, Inheritance { defaults, mask }))
    }

    /// The signals that came since the last call, SIGCHLD left out. Those that stop come first: SIGCONT undoes them, and which came first
    /// is not known.
    pub(super) fn pending(&mut self) -> Vec<Signal> {
        let heard = self.delivery.pending().filter(|info| !is_about_squire(info));
        let signals = heard.filter_map(|info| Signal::try_from(info.si_signo).ok());
        let mut signals: Vec<_> = signals.filter(|signal| *signal != Signal::SIGCHLD).collect();
        signals.dedup();
        signals.sort_by_key(|signal| !stops(*signal));
        signals
    }

    /// Whether SIGCONT is told. It is not where it was ignored when Squire started.
    pub(super) fn hears_of_continuing(&self) -> bool {
        self.hears_of_continuing
    }
}

/// Whether a signal asks a job to stop until SIGCONT.
pub(super) fn stops(signal: Signal) -> bool {
    matches!(signal, Signal::SIGTSTP | Signal::SIGTTIN | Signal::SIGTTOU)
}

impl AsFd for Signals {
    /// Readable when signals are pending.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.delivery.get_read().as_fd()
    }
}

impl Inheritance {
    /// Makes this process's signals what they were. For the time between fork and exec, with every signal blocked until here:
    /// what came meanwhile now has its default effect and is not swallowed by a handler of Squire's.
    pub(super) fn restore(&self) -> nix::Result<()> {
        for signal in &self.defaults {
            dispose(*signal, libc::SIG_DFL)?;
        }
        self.mask.thread_set_mask()
    }
}

/// Blocks every signal for this thread; answers the mask that was before.
pub(super) fn block_all() -> nix::Result<SigSet> {
    SigSet::all().thread_swap_mask(SigmaskHow::SIG_BLOCK)
}

/// Whether the kernel sent it because of what Squire did itself: it says so, or names Squire as the sender.
#[expect(unsafe_code, reason = "what a siginfo holds depends on its code")]
fn is_about_squire(info: &libc::siginfo_t) -> bool {
    // SAFETY: without a code of the kernel's a process has sent it, and then there is its number.
    matches!(info.si_signo, libc::SIGPIPE | libc::SIGXCPU | libc::SIGXFSZ)
        && (info.si_code > 0 || unsafe { info.si_pid() } == getpid().as_raw())
}

/// Ignores the real-time signals, which would end Squire. Answers with those that were not ignored before.
fn ignore_real_time() -> nix::Result<Vec<c_int>> {
    let mut changed = Vec::new();
    for number in libc::SIGRTMIN()..=libc::SIGRTMAX() {
        if !is_ignored(number)? {
            dispose(number, libc::SIG_IGN)?;
            changed.push(number);
        }
    }
    Ok(changed)
}

/// As Squire found it, and not as the runtime left it.
fn was_ignored(signal: Signal) -> nix::Result<bool> {
    if signal == Signal::SIGPIPE {
        return Ok(SIGPIPE_WAS_IGNORED.load(Ordering::Relaxed));
    }
    is_ignored(signal as c_int)
}

#[expect(unsafe_code, reason = "nix has no way to look at a disposition without changing it")]
fn is_ignored(signal: c_int) -> nix::Result<bool> {
    let mut found = MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: a null action changes nothing; `found` has room for what sigaction writes.
    Errno::result(unsafe { libc::sigaction(signal, std::ptr::null(), found.as_mut_ptr()) })?;
    // SAFETY: sigaction succeeded, so it wrote the whole structure.
    Ok(unsafe { found.assume_init() }.sa_sigaction == libc::SIG_IGN)
}

/// `disposition` is `SIG_DFL` or `SIG_IGN`. Safe in a signal handler.
#[expect(unsafe_code, reason = "nix has no names for real-time signals")]
fn dispose(signal: c_int, disposition: libc::sighandler_t) -> nix::Result<()> {
    // SAFETY: a structure of numbers and of a pointer that may be null.
    let mut action = unsafe { MaybeUninit::<libc::sigaction>::zeroed().assume_init() };
    action.sa_sigaction = disposition;
    // SAFETY: no handler is installed, and what was there before is not asked for.
    Errno::result(unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) }).map(drop)
}
