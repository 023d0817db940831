//! A process that keeps logging in to PostgreSQL with the credentials in files, as their users would.
//!
//! *Invariant:* a log-in is judged by the time in which it was under way; none is tried a second time.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::{Canaries, Rig, log_in};

/// The pause between two rounds.
const PAUSE: Duration = Duration::from_millis(200);

/// One log-in.
#[derive(Clone, Debug)]
pub(crate) struct LogIn {
    /// When it began.
    pub(crate) at: Instant,
    /// When it was over.
    pub(crate) until: Instant,
    /// The user; or the file that failed, and why.
    pub(crate) user: Result<String, String>,
}

/// Log-ins under way.
pub(crate) struct LogIns {
    done: Arc<AtomicBool>,
    noted: Arc<Mutex<Vec<LogIn>>>,
    threads: Vec<JoinHandle<()>>,
}

impl LogIns {
    /// Begins to log in with each of these files of a rig, which contain a URL each. The canaries search for the passwords from then on.
    pub(crate) fn start(rig: &Rig, files: &[&str]) -> Self {
        let (done, noted) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let paths: Vec<_> = files.iter().map(|file| rig.path(file)).collect();
        let threads = paths
            .chunks(paths.len().div_ceil(4).max(1))
            .map(|paths| {
                let (done, noted, paths) = (Arc::clone(&done), Arc::clone(&noted), paths.to_vec());
                let canaries = rig.canaries().clone();
                std::thread::spawn(move || {
                    while !done.load(Ordering::Relaxed) {
                        for path in &paths {
                            let note = try_once(path, &canaries);
                            noted.lock().unwrap().push(note);
                        }
                        std::thread::sleep(PAUSE);
                    }
                })
            })
            .collect();
        Self { done, noted, threads }
    }

    /// The log-ins so far.
    pub(crate) fn noted(&self) -> Vec<LogIn> {
        self.noted.lock().unwrap().clone()
    }

    /// The failed log-ins that did not overlap any of these spans.
    pub(crate) fn failed_outside(&self, excused: &[(Instant, Instant)]) -> Vec<LogIn> {
        let excused =
            |log_in: &LogIn| excused.iter().any(|(from, until)| *from <= log_in.until && log_in.at < *until);
        self.noted().into_iter().filter(|log_in| log_in.user.is_err() && !excused(log_in)).collect()
    }

    /// How many different users have logged in.
    pub(crate) fn users(&self) -> usize {
        let noted = self.noted();
        let users: std::collections::BTreeSet<_> =
            noted.iter().filter_map(|note| note.user.as_ref().ok()).collect();
        users.len()
    }

    /// Ends it.
    pub(crate) fn stop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            drop(thread.join());
        }
    }
}

impl Drop for LogIns {
    fn drop(&mut self) {
        self.stop();
    }
}

fn try_once(path: &Path, canaries: &Canaries) -> LogIn {
    let at = Instant::now();
    let user = match std::fs::read_to_string(path) {
        Ok(url) => {
            learn_password(&url, canaries);
            log_in(&url).map_err(|error| format!("{error:?}"))
        }
        Err(error) => Err(error.to_string()),
    };
    LogIn { at, until: Instant::now(), user: user.map_err(|error| format!("{}: {error}", path.display())) }
}

/// The server chose the password, so the canaries take it from the output.
pub(crate) fn learn_password(url: &str, canaries: &Canaries) {
    if let Some((_, password)) = url.split_once('@').and_then(|(before, _)| before.rsplit_once(':')) {
        canaries.add(&percent_encoding::percent_decode_str(password).decode_utf8().unwrap());
    }
}
