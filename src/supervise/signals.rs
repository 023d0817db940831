//! The signals of Squire's process: which ones it takes, how they are told, and how a child finds them.
//!
//! A signal that was ignored when Squire started (by `nohup`, or for a shell's background job) stays ignored, in Squire and in
//! the child. Not taken are those that no process can take, and those that the kernel sends about Squire's own doing (faults,
//! SIGABRT, SIGPIPE, SIGXCPU, SIGXFSZ). SIGTSTP, SIGTTIN and SIGTTOU stop the child and Squire as one job.
//!
//! *Invariant:* a signal that was taken is told at least once, though several of one kind may be told as one.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal, sigaction};
use signal_hook::iterator::backend::SignalDelivery;
use signal_hook::iterator::exfiltrator::SignalOnly;

/// What may be meant for the child.
const TAKEN: [Signal; 18] = [
    Signal::SIGTERM,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGHUP,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGALRM,
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
    SIGPIPE_WAS_IGNORED.store(is_ignored(Signal::SIGPIPE).unwrap_or(false), Ordering::Relaxed);
}

/// The signals that came to Squire.
#[derive(Debug)]
pub(super) struct Signals {
    delivery: SignalDelivery<UnixStream, SignalOnly>,
}

/// What a child needs to find its signals as Squire found them.
#[derive(Debug)]
pub(super) struct Inheritance {
    defaults: Vec<Signal>,
    mask: SigSet,
}

impl Signals {
    /// Takes every signal that may be meant for the child, and SIGCHLD. To be called before other threads are started, which
    /// get their mask from this one.
    pub(super) fn take() -> io::Result<(Self, Inheritance)> {
        // Where SIGCHLD is ignored the kernel throws the statuses of children away.
        set_default(Signal::SIGCHLD)?;
        let mask = SigSet::thread_get_mask()?;
        let mut taken = Vec::new();
        for signal in TAKEN {
            if !is_ignored(signal)? {
                taken.push(signal);
            }
        }
        let (read, write) = UnixStream::pair()?;
        let numbers = taken.iter().map(|signal| *signal as libc::c_int);
        let delivery = SignalDelivery::with_pipe(read, write, SignalOnly, numbers)?;
        taken.iter().copied().collect::<SigSet>().thread_unblock()?;
        let pipe = (!SIGPIPE_WAS_IGNORED.load(Ordering::Relaxed)).then_some(Signal::SIGPIPE);
        let defaults = taken.into_iter().chain(pipe).collect();
        Ok((Self { delivery }, Inheritance { defaults, mask }))
    }

    /// The signals that came since the last call, SIGCHLD left out.
    pub(super) fn pending(&mut self) -> Vec<Signal> {
        let signals = self.delivery.pending().filter_map(|number| Signal::try_from(number).ok());
        signals.filter(|signal| *signal != Signal::SIGCHLD).collect()
    }
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
            set_default(*signal)?;
        }
        self.mask.thread_set_mask()
    }
}

/// Blocks every signal for this thread; answers the mask that was before.
pub(super) fn block_all() -> nix::Result<SigSet> {
    SigSet::all().thread_swap_mask(SigmaskHow::SIG_BLOCK)
}

#[expect(unsafe_code, reason = "sigaction can install handlers, which may do anything")]
fn set_default(signal: Signal) -> nix::Result<()> {
    let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    // SAFETY: no handler is installed. The action that is replaced is dropped unseen.
    unsafe { sigaction(signal, &default) }.map(drop)
}

#[expect(unsafe_code, reason = "nix has no way to look at a disposition without changing it")]
fn is_ignored(signal: Signal) -> nix::Result<bool> {
    let mut found = MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: a null action changes nothing; `found` has room for what sigaction writes.
    Errno::result(unsafe { libc::sigaction(signal as libc::c_int, std::ptr::null(), found.as_mut_ptr()) })?;
    // SAFETY: sigaction succeeded, so it wrote the whole structure.
    Ok(unsafe { found.assume_init() }.sa_sigaction == libc::SIG_IGN)
}
