//! Credential files that appear or change → notices to the keepers that log in with them.
//!
//! Directories are watched, not files: whoever replaces a file by a rename, or a symlink above it as Kubernetes does, changes
//! the directory. A change is a change of contents, since a credential that was refused must not be sent again for less.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;

use crate::files;
use crate::secret::{Digest, DigestKey};
use crate::session::keeper::Notice;

/// How often a directory that is not there yet is looked for.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// The credential files of one source, and who wants to know.
pub struct Credentials {
    /// The files.
    pub files: Vec<PathBuf>,
    /// The keeper that logs in with them.
    pub keeper: mpsc::UnboundedSender<Notice>,
}

/// Watches until every keeper is gone.
pub async fn watch(credentials: Vec<Credentials>, key: DigestKey) {
    let (woken, mut wake) = mpsc::channel(1);
    let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
        // Looking opens and reads the files: to be woken by that would never end.
        let only_looked_at = event.is_ok_and(|event| {
            matches!(event.kind, EventKind::Access(access) if access != AccessKind::Close(AccessMode::Write))
        });
        if !only_looked_at {
            // One waiting wake-up is enough: it makes everything be looked at.
            woken.try_send(()).ok();
        }
    });
    let mut inbox = Inbox::new(credentials, key, watcher.ok());
    while inbox.look() {
        tokio::select! {
            _ = wake.recv(), if inbox.watches_all() => {}
            () = tokio::time::sleep(LOOK_AGAIN), if !inbox.watches_all() => {}
        }
    }
}

/// No credential is longer than this, in bytes.
const LONGEST: u64 = 64 << 10;

struct Inbox {
    watched: Vec<Watched>,
    watcher: Option<RecommendedWatcher>,
    directories: BTreeSet<PathBuf>,
    missing: bool,
    key: DigestKey,
}

struct Watched {
    file: PathBuf,
    keeper: mpsc::UnboundedSender<Notice>,
    contents: Option<Digest>,
}

impl Inbox {
    fn new(credentials: Vec<Credentials>, key: DigestKey, watcher: Option<RecommendedWatcher>) -> Self {
        let files = credentials.into_iter().flat_map(|Credentials { files, keeper }| {
            files.into_iter().map(move |file| Watched { file, keeper: keeper.clone(), contents: None })
        });
        let mut inbox =
            Self { watched: files.collect(), watcher, directories: BTreeSet::new(), missing: true, key };
        for watched in &mut inbox.watched {
            watched.contents = digest(&watched.file, &inbox.key);
        }
        inbox
    }

    /// Without inotify, or while a directory is missing, files are looked at again and again instead.
    fn watches_all(&self) -> bool {
        self.watcher.is_some() && !self.missing
    }

    /// Says what changed. Whether anybody still wants to know.
    fn look(&mut self) -> bool {
        self.watch_directories();
        for watched in &mut self.watched {
            let contents = digest(&watched.file, &self.key);
            // Whoever rewrites a file may empty it first: that is not a change, and the same contents again are not either.
            if contents.is_some() && contents != watched.contents {
                watched.contents = contents;
                drop(watched.keeper.send(Notice::CredentialChanged));
            }
        }
        self.watched.iter().any(|watched| !watched.keeper.is_closed())
    }

    fn watch_directories(&mut self) {
        let Some(watcher) = &mut self.watcher else { return };
        self.missing = false;
        for directory in self.watched.iter().filter_map(|watched| watched.file.parent()) {
            // The kernel looks for it when a watch is added, and would wait for a file system that hangs.
            let is_there = files::is_there(directory);
            if self.directories.contains(directory) && is_there {
                continue;
            }
            self.directories.remove(directory);
            if !is_there {
                self.missing = true;
                continue;
            }
            match watcher.watch(directory, RecursiveMode::NonRecursive) {
                Ok(()) => drop(self.directories.insert(directory.to_owned())),
                Err(_) => self.missing = true,
            }
        }
    }
}

/// Of what is in the file, trimmed as a login trims it; `None` while it is missing, empty or not a regular file.
fn digest(file: &Path, key: &DigestKey) -> Option<Digest> {
    let contents = files::beginning(file, LONGEST).ok()?;
    let value = files::one_value(contents.text().ok()?);
    (!value.is_empty()).then(|| key.digest(value.as_bytes()))
}
