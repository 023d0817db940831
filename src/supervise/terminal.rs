//! The terminal, if there is one: the child's group is in its foreground, and Squire stops and continues together with it as a job of a
//! shell.
//!
//! *Invariant:* only the foreground group hands the terminal on: a Squire in the background never takes it.

use std::io::{self, IsTerminal};
use std::os::fd::AsFd;

use nix::sys::signal::{SigSet, SigmaskHow, Signal, raise};
use nix::unistd::{Pid, getpgid, getpgrp, getppid, getsid, tcgetpgrp, tcsetpgrp};

/// Whether a child that is started now gets the terminal: Squire's own group has it.
pub(super) fn is_ours() -> bool {
    io::stdin().is_terminal() && tcgetpgrp(io::stdin().as_fd()) == Ok(getpgrp())
}

/// Whether this group has the terminal.
pub(super) fn is_of(group: Pid) -> bool {
    io::stdin().is_terminal() && tcgetpgrp(io::stdin().as_fd()) == Ok(group)
}

/// Hands the terminal to this group. A process in the background gets SIGTTOU for that, unless it is blocked.
pub(super) fn hand_to(group: Pid) -> nix::Result<()> {
    let mask = SigSet::from(Signal::SIGTTOU).thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
    let handed = tcsetpgrp(io::stdin().as_fd(), group);
    mask.thread_set_mask()?;
    handed
}

/// Takes the terminal back from this group, if it has it.
pub(super) fn take_back(group: Pid) {
    if is_of(group)
        && let Err(error) = hand_to(getpgrp())
    {
        tracing::debug!(%error, "cannot take the terminal back");
    }
}

/// Stops Squire until somebody continues it. Process 1 of a PID namespace cannot stop itself.
pub(super) fn stop() {
    if let Err(error) = raise(Signal::SIGSTOP) {
        tracing::debug!(%error, "cannot stop with the process");
    }
}

/// Whether no shell controls Squire's group, so that nobody would continue it: its parent is of another session, or of the same group.
pub(super) fn is_orphaned() -> bool {
    let parent = getppid();
    let ours = getsid(None);
    parent.as_raw() == 0 || getsid(Some(parent)) != ours || getpgid(Some(parent)) == Ok(getpgrp())
}
