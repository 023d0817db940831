//! The signals of Squire's process: which ones it handles, how they are reported, and which settings a child gets.
//!
//! A signal that was ignored when Squire started (by `nohup`, or for a shell's background job) stays ignored, in Squire and in the child.
//! Squire does not handle signals that no process can catch, and those of a fault (SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGSEGV,
//! SIGSYS). It does not forward signals that the kernel sends because of Squire itself: SIGPIPE for a log that nobody reads, SIGXFSZ for a
//! log that is too long, SIGXCPU for Squire's own time. SIGTSTP, SIGTTIN and SIGTTOU stop the child and Squire as one job. Real-time
//! signals are ignored.
//!
//! *Invariant:* a signal that was caught is reported at least once, though several of one kind may be reported as one.

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

/// Signals that may be meant for the child.
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

/// Rust's runtime ignores SIGPIPE before `main`, so its first setting is read before that.
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

/// The signal settings that a child needs, so that it finds its signals as Squire found them.
#[derive(Debug)]
pub(super) struct Inheritance {
    defaults: Vec<c_int>,
    mask: SigSet,
}

impl Signals {
    /// Catches every signal that may be meant for the child, and SIGCHLD. Call it before other threads are started, which inherit the mask
    /// of this one.
    pub(super) fn take() -> io::Result<(Self, Inheritance)> {
        // If SIGCHLD is ignored, the kernel discards the exit statuses of children.
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

    /// The signals that came since the last call, without SIGCHLD. Those that stop come first, because SIGCONT undoes them, and the true
    /// order is not known.
    pub(super) fn pending(&mut self) -> Vec<Signal> {
        let heard = self.delivery.pending().filter(|info| !is_about_squire(info));
        let signals = heard.filter_map(|info| Signal::try_from(info.si_signo).ok());
        let mut signals: Vec<_> = signals.filter(|signal| *signal != Signal::SIGCHLD).collect();
        signals.dedup();
        signals.sort_by_key(|signal| !stops(*signal));
        signals
    }

    /// Whether SIGCONT is reported. It is not if it was ignored when Squire started.
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
    /// Restores this process's signals. Use it between fork and exec, with every signal blocked until here: a signal that came meanwhile
    /// then has its default effect, and no handler of Squire's swallows it.
    pub(super) fn restore(&self) -> nix::Result<()> {
        for signal in &self.defaults {
            dispose(*signal, libc::SIG_DFL)?;
        }
        self.mask.thread_set_mask()
    }
}

/// Blocks every signal for this thread; returns the mask that was before.
pub(super) fn block_all() -> nix::Result<SigSet> {
    SigSet::all().thread_swap_mask(SigmaskHow::SIG_BLOCK)
}

/// Whether the kernel sent it because of Squire's own action: the code says so, or the sender is Squire itself.
#[expect(unsafe_code, reason = "what a siginfo holds depends on its code")]
fn is_about_squire(info: &libc::siginfo_t) -> bool {
    // SAFETY: if the code is not the kernel's, a process has sent the signal, and then its number is there.
    matches!(info.si_signo, libc::SIGPIPE | libc::SIGXCPU | libc::SIGXFSZ)
        && (info.si_code > 0 || unsafe { info.si_pid() } == getpid().as_raw())
}

/// Ignores the real-time signals, which would end Squire. Returns those that were not ignored before.
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

/// The setting as Squire found it, not as the runtime left it.
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
