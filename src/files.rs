//! Reads files that others write or mount: never more bytes than were asked for, and never waiting for longer than [`ANSWERS_WITHIN`].
//!
//! The other end of a pipe may never come, and a network file system may hang for ever. A thread that waits for either renews no lease and
//! handles no signal meanwhile. So only regular files are read, by a thread of their own. If a read hangs, that thread is abandoned, and
//! the file is not read again before the thread answers.
//!
//! *Invariant:* no call takes much longer than [`ANSWERS_WITHIN`], and a file that hangs costs one thread.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, TryRecvError};
use std::thread;
use std::time::Duration;

use nix::libc::O_NONBLOCK;

/// A local file answers within microseconds, one on the network within milliseconds.
pub const ANSWERS_WITHIN: Duration = Duration::from_secs(2);
/// The same for a directory of them: the system's authorities are some 300 files, and a container with a hundredth of a processor takes seconds
/// to read them.
pub const MANY_ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// A file, with its state when it was read.
#[derive(Debug)]
pub struct Contents {
    /// Its whole content.
    pub bytes: Vec<u8>,
    /// The metadata of the file that was read, even if another file has its name now.
    pub metadata: Metadata,
}

impl Contents {
    /// The content as text.
    ///
    /// # Errors
    /// When it is not UTF-8; the error contains nothing of the content.
    pub fn text(&self) -> io::Result<&str> {
        let not_text = |_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8 text");
        str::from_utf8(&self.bytes).map_err(not_text)
    }
}

/// Reads a regular file of at most `limit` bytes.
///
/// # Errors
/// When it cannot be read, is no regular file, is larger, or does not answer in time.
pub fn read(path: &Path, limit: u64) -> io::Result<Contents> {
    let file = path.to_owned();
    within(path, move || read_here(&file, limit))
}

/// Reads the beginning of a regular file, at most `limit` bytes of it.
///
/// # Errors
/// When it cannot be read, is no regular file, or does not answer in time.
pub fn beginning(path: &Path, limit: u64) -> io::Result<Contents> {
    let file = path.to_owned();
    within(path, move || read_beginning(&file, limit))
}

/// The value in a file that holds one value: without the white space around it, and without the byte order mark that editors on Windows
/// write before it.
pub fn one_value(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text).trim()
}

fn read_here(path: &Path, limit: u64) -> io::Result<Contents> {
    let contents = read_beginning(path, limit.saturating_add(1))?;
    if contents.bytes.len() as u64 > limit {
        let larger = format!("it is larger than {limit} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, larger));
    }
    Ok(contents)
}

fn read_beginning(path: &Path, limit: u64) -> io::Result<Contents> {
    let file = File::options().read(true).custom_flags(O_NONBLOCK).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(limit).read_to_end(&mut bytes)?;
    Ok(Contents { bytes, metadata })
}

type Job = Box<dyn FnOnce() + Send>;

/// A thread that reads for one other thread, and the reads that hang.
#[derive(Default)]
struct Reader {
    jobs: Option<Sender<Job>>,
    /// The files whose read hangs, each with the channel of its answer.
    hanging: BTreeMap<PathBuf, Receiver<()>>,
}

thread_local! {
    static READER: RefCell<Reader> = RefCell::default();
}

/// Does this work on a file on another thread, and waits for at most [`ANSWERS_WITHIN`].
///
/// # Errors
/// The error of the work, or that the file does not answer.
pub fn within<T: Send + 'static>(
    path: &Path,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    READER.with_borrow_mut(|reader| reader.within(path, ANSWERS_WITHIN, work))
}

/// The same for the files of a directory, and at most [`MANY_ANSWER_WITHIN`].
///
/// # Errors
/// As [`within`].
pub fn many_within<T: Send + 'static>(
    directory: &Path,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    READER.with_borrow_mut(|reader| reader.within(directory, MANY_ANSWER_WITHIN, work))
}

impl Reader {
    fn within<T: Send + 'static>(
        &mut self,
        path: &Path,
        limit: Duration,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        if self.still_hangs(path) {
            return Err(no_answer(limit));
        }
        let (answer, answered) = mpsc::channel();
        let (done, is_done) = mpsc::channel();
        self.hand(Box::new(move || {
            // The thread that asked may have given up.
            answer.send(work()).ok();
            done.send(()).ok();
        }))?;
        match answered.recv_timeout(limit) {
            Ok(result) => result,
            Err(RecvTimeoutError::Timeout) => {
                self.jobs = None;
                self.hanging.insert(path.to_owned(), is_done);
                Err(no_answer(limit))
            }
            Err(RecvTimeoutError::Disconnected) => {
                self.jobs = None;
                Err(io::Error::other("the thread that reads files has ended"))
            }
        }
    }

    fn still_hangs(&mut self, path: &Path) -> bool {
        let Some(is_done) = self.hanging.get(path) else { return false };
        let hangs = is_done.try_recv() == Err(TryRecvError::Empty);
        if !hangs {
            self.hanging.remove(path);
        }
        hangs
    }

    /// Starts a thread for the first job, and in place of one that hangs.
    fn hand(&mut self, job: Job) -> io::Result<()> {
        let jobs = if let Some(jobs) = self.jobs.take() {
            jobs
        } else {
            let (jobs, work) = mpsc::channel::<Job>();
            let reader = thread::Builder::new().name("reader".to_owned());
            drop(reader.spawn(move || work.into_iter().for_each(|job| job()))?);
            jobs
        };
        // If the thread is gone, the thread that waits for the answer finds out.
        jobs.send(job).ok();
        self.jobs = Some(jobs);
        Ok(())
    }
}

fn no_answer(limit: Duration) -> io::Error {
    let why = format!("it did not answer within {} seconds: does its file system hang?", limit.as_secs());
    io::Error::new(io::ErrorKind::TimedOut, why)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;

    use super::*;

    #[test]
    fn a_regular_file_is_read_up_to_its_limit_and_nothing_else_is() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        std::fs::write(path("file"), "12345").unwrap();
        std::os::unix::fs::symlink(path("file"), path("link")).unwrap();
        mkfifo(&path("pipe"), Mode::S_IRWXU).unwrap();
        for name in ["file", "link"] {
            assert_eq!(read(&path(name), 5).unwrap().text().unwrap(), "12345");
        }
        assert_eq!(beginning(&path("file"), 2).unwrap().bytes, b"12");
        for (name, limit, why) in [
            ("file", 4, "larger than 4 bytes"),
            ("pipe", 4, "not a regular file"),
            (".", 4, "not a regular file"),
            ("nothing", 4, "No such file"),
        ] {
            let error = read(&path(name), limit).unwrap_err().to_string();
            assert!(error.contains(why), "{name}: {error}");
        }
        for device in ["/dev/zero", "/dev/tty"] {
            drop(read(Path::new(device), 4).unwrap_err());
        }
    }

    #[test]
    fn a_value_is_what_is_between_the_mark_and_the_end_of_the_line() {
        for (text, value) in [
            ("\u{feff}role-id\r\n", "role-id"),
            ("\u{feff}  role-id", "role-id"),
            (" role-id\n", "role-id"),
            ("role\u{feff}id", "role\u{feff}id"),
            ("\u{feff}", ""),
        ] {
            assert_eq!(one_value(text), value);
        }
    }

    #[test]
    fn what_hangs_is_waited_for_once_and_read_again_when_it_answers() {
        let path = Path::new("/hangs");
        let (wake, woken) = mpsc::channel::<()>();
        let hangs = move || Ok(woken.recv().is_ok());
        let since = Instant::now();
        assert_eq!(within(path, hangs).unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert!(since.elapsed() >= ANSWERS_WITHIN);
        let never = || -> io::Result<()> { panic!("asked while it hangs") };
        assert_eq!(within(path, never).unwrap_err().kind(), io::ErrorKind::TimedOut);
        // No other thread waits for it.
        assert_eq!(within(Path::new("/other"), || Ok(7)).unwrap(), 7);
        wake.send(()).unwrap();
        let deadline = Instant::now() + Duration::from_secs(30);
        while within(path, || Ok(())).is_err() {
            assert!(Instant::now() < deadline, "it is never asked again");
            thread::yield_now();
        }
    }
}
