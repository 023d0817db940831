//! The queue of log lines for stderr, with a thread of its own: a thread that logs never waits for the reader of the log.
//!
//! A pipe that nobody reads, a full disk and a terminal that was closed are common, and none of them may hold up a process or a lease. So
//! lines go into a queue of [`ROOM`] bytes. Lines that do not fit, or cannot be written, are dropped and counted, and the next line that
//! gets through is preceded by the number of missing lines.
//!
//! *Invariant:* logging never waits, fails or panics. [`Queue::finish`] waits as long as the reader reads, and otherwise for at most
//! [`LAST_WORDS`].

use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::SigSet;
use tracing_subscriber::fmt::MakeWriter;

/// The largest number of bytes in the queue: some thousand lines.
const ROOM: usize = 1 << 20;

/// How long the end waits for lines to be written. After each write it waits again, up to ten times.
const LAST_WORDS: Duration = Duration::from_millis(200);
const LAST_TURNS: usize = 10;

/// The sending end of the queue.
#[derive(Clone, Debug)]
pub(in crate::cli) struct Queue {
    parcels: Sender<Parcel>,
    state: Arc<State>,
    shown: Shown,
}

#[derive(Debug, Default)]
struct State {
    /// The number of bytes in the queue.
    waiting: AtomicUsize,
    /// The number of lines that are missing since the last one that was written.
    missing: AtomicU64,
}

#[derive(Debug)]
enum Parcel {
    Line(Vec<u8>),
    /// Everything before it was written or dropped.
    Finish(Sender<()>),
}

/// A whole line as it is shown.
pub(super) type Shown = fn(Vec<u8>) -> Vec<u8>;

/// The line that reports missing lines.
pub(super) type Notice = fn(u64) -> String;

impl Queue {
    /// Starts the thread.
    ///
    /// # Errors
    /// When no thread can be started.
    pub(super) fn start(notice: Notice, shown: Shown) -> io::Result<Self> {
        let (parcels, incoming) = mpsc::channel();
        let state = Arc::<State>::default();
        let writer = Writer { incoming, state: Arc::clone(&state), notice };
        drop(thread::Builder::new().name("log".to_owned()).spawn(move || {
            // This thread handles no signals.
            SigSet::all().thread_block().ok();
            writer.run(io::stderr().as_fd());
        })?);
        Ok(Self { parcels, state, shown })
    }

    /// Waits until all lines are written, as long as the reader reads.
    pub(in crate::cli) fn finish(&self) {
        let (done, is_done) = mpsc::channel();
        if self.parcels.send(Parcel::Finish(done)).is_err() {
            return;
        }
        for _ in 0..LAST_TURNS {
            let before = self.state.waiting.load(Ordering::Relaxed);
            let is_over = is_done.recv_timeout(LAST_WORDS) != Err(RecvTimeoutError::Timeout);
            if is_over || self.state.waiting.load(Ordering::Relaxed) == before {
                return;
            }
        }
    }

    fn put(&self, line: Vec<u8>) {
        let length = line.len();
        let before = self.state.waiting.fetch_add(length, Ordering::Relaxed);
        let fits = before.saturating_add(length) <= ROOM;
        if !fits || self.parcels.send(Parcel::Line(line)).is_err() {
            self.state.waiting.fetch_sub(length, Ordering::Relaxed);
            self.state.missing.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// One event on its way into the queue: it is added as a whole when it is dropped.
#[derive(Debug)]
pub(in crate::cli) struct Line<'a> {
    queue: &'a Queue,
    text: Vec<u8>,
}

impl Write for Line<'_> {
    fn write(&mut self, part: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(part);
        Ok(part.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        if !self.text.is_empty() {
            let shown = self.queue.shown;
            self.queue.put(shown(std::mem::take(&mut self.text)));
        }
    }
}

impl<'a> MakeWriter<'a> for Queue {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Self::Writer {
        Line { queue: self, text: Vec::new() }
    }
}

/// The receiving end, on its own thread.
struct Writer {
    incoming: Receiver<Parcel>,
    state: Arc<State>,
    notice: Notice,
}

impl Writer {
    fn run(self, stderr: BorrowedFd<'_>) {
        let mut is_torn = false;
        for parcel in &self.incoming {
            match parcel {
                Parcel::Line(line) => {
                    self.state.waiting.fetch_sub(line.len(), Ordering::Relaxed);
                    is_torn = self.write(stderr, &line, is_torn);
                }
                Parcel::Finish(done) => {
                    if self.state.missing.load(Ordering::Relaxed) > 0 {
                        is_torn = self.write(stderr, b"", is_torn);
                    }
                    done.send(()).ok();
                }
            }
        }
    }

    /// Writes a line, or only the number of missing lines. Returns whether the output now ends with half a line.
    fn write(&self, stderr: BorrowedFd<'_>, line: &[u8], is_torn: bool) -> bool {
        let missing = self.state.missing.swap(0, Ordering::Relaxed);
        let mut text = Vec::with_capacity(line.len());
        if is_torn {
            text.push(b'\n');
        }
        if missing > 0 {
            text.extend_from_slice((self.notice)(missing).as_bytes());
        }
        text.extend_from_slice(line);
        match write_all(stderr, &text) {
            Ok(()) => false,
            Err(written) => {
                let lost = missing.saturating_add(u64::from(!line.is_empty()));
                self.state.missing.fetch_add(lost, Ordering::Relaxed);
                written > 0 || is_torn
            }
        }
    }
}

/// Waits for a reader, however long. If writing fails, it gives up after this many bytes.
fn write_all(to: BorrowedFd<'_>, text: &[u8]) -> Result<(), usize> {
    let mut written = 0;
    while let Some(rest) = text.get(written..).filter(|rest| !rest.is_empty()) {
        match nix::unistd::write(to, rest) {
            Ok(0) => return Err(written),
            Ok(length) => written += length,
            Err(Errno::EINTR) => {}
            // Another process that shares the terminal or the pipe has made it non-blocking.
            Err(Errno::EAGAIN) => {
                let mut polled = [PollFd::new(to, PollFlags::POLLOUT)];
                poll(&mut polled, PollTimeout::NONE).map_err(|_| written)?;
            }
            Err(_) => return Err(written),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Read;

    use nix::fcntl::{FcntlArg, OFlag, fcntl};
    use nix::unistd::pipe;

    use super::*;

    fn notice(missing: u64) -> String {
        format!("{missing} missing\n")
    }

    /// A queue whose thread writes here.
    fn queue(to: File) -> Queue {
        let (parcels, incoming) = mpsc::channel();
        let state = Arc::<State>::default();
        let writer = Writer { incoming, state: Arc::clone(&state), notice };
        drop(thread::spawn(move || writer.run(to.as_fd())));
        Queue { parcels, state, shown: |line| line }
    }

    fn say(queue: &Queue, text: &str) {
        queue.make_writer().write_all(text.as_bytes()).unwrap();
    }

    #[test]
    fn what_nobody_reads_holds_nobody_up_and_is_counted() {
        for nonblocking in [false, true] {
            let (read, write) = pipe().unwrap();
            if nonblocking {
                fcntl(&write, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
            }
            let queue = queue(write.into());
            let line = format!("{}\n", "x".repeat(999));
            let lines = 3 * ROOM / line.len();
            for _ in 0..lines {
                say(&queue, &line);
            }
            queue.finish();
            // The reader reads again: first the waiting lines arrive, and the number of missing ones comes with the next line.
            let reader = thread::spawn(move || {
                let mut all = String::new();
                File::from(read).read_to_string(&mut all).map(|_| all)
            });
            let deadline = std::time::Instant::now() + Duration::from_secs(30);
            while queue.state.waiting.load(Ordering::Relaxed) > 0 {
                assert!(std::time::Instant::now() < deadline, "nobody writes");
                thread::yield_now();
            }
            say(&queue, "last\n");
            drop(queue);
            let all = reader.join().unwrap().unwrap();
            let told: u64 =
                all.lines().filter_map(|line| line.strip_suffix(" missing")?.parse::<u64>().ok()).sum();
            assert!(told > 0, "more was said than there is room for");
            assert_eq!(all.lines().filter(|line| line.len() == 999).count() as u64 + told, lines as u64);
            assert!(all.ends_with("last\n"));
        }
    }

    #[test]
    fn what_cannot_be_written_is_counted_and_nobody_fails() {
        let (read, write) = pipe().unwrap();
        drop(read);
        for broken in [File::options().write(true).open("/dev/full").unwrap(), write.into()] {
            let queue = queue(broken);
            say(&queue, "one\n");
            say(&queue, "two\n");
            queue.finish();
            assert_eq!(queue.state.missing.load(Ordering::Relaxed), 2);
        }
    }
}
