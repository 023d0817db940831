//! The end of a process's output: read as it comes, so that the process never waits; only the last lines are kept.
//!
//! *Invariant:* no more than [`KEPT`] bytes are told, however much is written, and no line without its beginning or its end.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::fcntl::OFlag;
use nix::fcntl::{FcntlArg, fcntl};
use nix::unistd::pipe2;

use crate::mask::{finished_lines, last_lines};

/// So much is kept, in bytes: what fits into a line of a log.
const KEPT: usize = 4 << 10;

/// How many chunks are read in one turn: a full pipe holds about this many.
const CHUNKS_A_TURN: usize = 16;

/// The output of a process, and the pipe that it writes to.
#[derive(Debug)]
pub(super) struct Tail {
    /// `None` once every process has closed the other end.
    pipe: Option<File>,
    /// One byte more than is told tells that there were more.
    kept: Vec<u8>,
}

impl Tail {
    /// Makes it, with the end of the pipe for the process.
    pub(super) fn new() -> nix::Result<(Self, OwnedFd)> {
        let (read, write) = pipe2(OFlag::O_CLOEXEC)?;
        fcntl(&read, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        Ok((Self { pipe: Some(read.into()), kept: Vec::new() }, write))
    }

    /// Readable when there is output.
    pub(super) fn pipe(&self) -> Option<BorrowedFd<'_>> {
        self.pipe.as_ref().map(File::as_fd)
    }

    /// Reads the output that is there, or a part of it: a process that writes faster than Squire reads must not block the main thread.
    pub(super) fn drain(&mut self) {
        let mut chunk = [0; KEPT];
        for _ in 0..CHUNKS_A_TURN {
            let Some(pipe) = &mut self.pipe else { return };
            match pipe.read(&mut chunk) {
                Ok(0) => self.pipe = None,
                Ok(read) => self.keep(&chunk[..read]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => self.pipe = None,
            }
        }
    }

    fn keep(&mut self, written: &[u8]) {
        self.kept.extend_from_slice(written);
        let too_many = self.kept.len().saturating_sub(KEPT + 1);
        self.kept.drain(..too_many);
    }

    /// The last lines. A line that was cut at its beginning, or has no end because who wrote it was killed or still writes, could hold a
    /// part of a secret, which nobody would know, so it is left out.
    pub(super) fn last_lines(mut self, was_killed: bool) -> Vec<u8> {
        self.drain();
        let lines = last_lines(&self.kept, KEPT);
        let is_whole = !was_killed && self.pipe.is_none();
        if is_whole { lines } else { finished_lines(lines) }.to_vec()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn tail_of(written: &[u8]) -> Vec<u8> {
        let (mut tail, write) = Tail::new().unwrap();
        let mut write = File::from(write);
        for chunk in written.chunks(1024) {
            write.write_all(chunk).unwrap();
            tail.drain();
        }
        drop(write);
        tail.last_lines(false)
    }

    #[test]
    fn the_last_whole_lines_are_kept() {
        assert_eq!(tail_of(b""), b"");
        assert_eq!(tail_of(b"one\ntwo"), b"one\ntwo");
        let long: Vec<u8> = (0..10_000).flat_map(|number| format!("line {number}\n").into_bytes()).collect();
        let kept = tail_of(&long);
        assert!(kept.len() <= KEPT && kept.starts_with(b"line ") && kept.ends_with(b"line 9999\n"));
        assert_eq!(tail_of(&[b'x'; KEPT + 1]), b"", "a line without an end could be the half of a secret");
    }

    #[test]
    fn an_end_that_stays_open_is_not_waited_for() {
        let (tail, write) = Tail::new().unwrap();
        File::from(write.try_clone().unwrap()).write_all(b"one\nhalf of").unwrap();
        assert_eq!(tail.last_lines(false), b"one\n", "who has it still writes");
        drop(write);
    }

    #[test]
    fn who_was_killed_leaves_no_half_of_a_line() {
        for (written, told) in
            [(&b"one\nhalf of"[..], &b"one\n"[..]), (b"half of", b""), (b"one\n", b"one\n")]
        {
            let (tail, write) = Tail::new().unwrap();
            File::from(write).write_all(written).unwrap();
            assert_eq!(tail.last_lines(true), told);
        }
    }
}
