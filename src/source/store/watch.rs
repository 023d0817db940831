//! Listens for changes of a store's files, so that nobody has to ask while the store is at rest.
//!
//! `SQLite` writes the file's `-wal` at each commit. The directories are watched, because a file that replaces another changes them.
//!
//! *Invariant:* opens no file of the store: closing a descriptor of one releases every lock that `SQLite` has there.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use rustix::fs::{FsWord, statfs};
use tokio::sync::watch;

use super::looks::ASK_EVERY;
use crate::fact::chain;
use crate::ordered::Order as _;

/// File systems whose files another machine may replace, which causes no event on this machine: NFS, SMB (both versions), 9P, FUSE, Ceph.
const REMOTE: [FsWord; 6] = [0x6969, 0xff53_4d42, 0xfe53_4d42, 0x0102_1997, 0x6573_5546, 0x00c3_6400];

/// The events of one store's files.
#[derive(Debug)]
pub(super) struct Watch {
    file: PathBuf,
    /// The number of events so far.
    heard: watch::Sender<u64>,
    ear: Mutex<Ear>,
}

#[derive(Debug, Default)]
enum Ear {
    /// Listening has not begun.
    #[default]
    None,
    Hears {
        /// Listens until it is dropped.
        _watcher: RecommendedWatcher,
    },
    Deaf,
}

#[derive(Debug, thiserror::Error)]
enum WatchError {
    #[error("its file system is one that another machine may change")]
    Remote,
    #[error("cannot look at its directory")]
    Directory(#[from] io::Error),
    #[error("the system does not tell what happens in its directory")]
    Notify(#[from] notify::Error),
}

impl Watch {
    /// Does not listen yet.
    pub(super) fn new(file: &Path) -> Self {
        Self { file: file.to_owned(), heard: watch::Sender::new(0), ear: Mutex::default() }
    }

    /// Begins to listen anew, since the directories may have been replaced. If that is not possible, it is logged once.
    pub(super) fn listen(&self) {
        let ear = self.watcher();
        let mut present = self.ear.lock().unwrap_or_else(PoisonError::into_inner);
        *present = match ear {
            Ok(watcher) => Ear::Hears { _watcher: watcher },
            Err(error) => {
                if !matches!(*present, Ear::Deaf) {
                    let (file, error, every) = (self.file.display(), chain(&error), ASK_EVERY);
                    tracing::warn!(%file, error, ?every, "store cannot be watched, asking it again and again");
                }
                Ear::Deaf
            }
        };
    }

    /// Whether no events can be heard, so that the store has to be asked regularly.
    pub(super) fn is_deaf(&self) -> bool {
        matches!(*self.ear.lock().unwrap_or_else(PoisonError::into_inner), Ear::Deaf)
    }

    /// The number of events so far.
    pub(super) fn heard(&self) -> u64 {
        *self.heard.borrow()
    }

    /// Waits until there are more events than this. The future may be dropped.
    pub(super) async fn more_than(&self, heard: u64) {
        let mut receiver = self.heard.subscribe();
        // The sender cannot be gone, because `self` holds it.
        receiver.wait_for(|now| *now != heard).await.ok();
    }

    /// Wakes the askers.
    pub(super) fn stir(&self) {
        stir(&self.heard);
    }

    fn watcher(&self) -> Result<RecommendedWatcher, WatchError> {
        let heard = self.heard.clone();
        // `SQLite` writes beside the target of a link.
        let links = [self.file.clone(), fs::canonicalize(&self.file).unwrap_or_else(|_| self.file.clone())];
        let directories: BTreeSet<_> = links.iter().map(|file| directory_of(file)).ordered();
        let files: BTreeSet<_> = links
            .iter()
            .flat_map(|file| [file.clone(), log_of(file)])
            .filter_map(|file| file.file_name().map(OsStr::to_owned))
            .ordered();
        let told = directories.clone();
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            if event.map_or(true, |event| concerns(&event, &files, &told)) {
                stir(&heard);
            }
        })?;
        for directory in directories {
            if REMOTE.contains(&statfs(&directory).map_err(io::Error::from)?.f_type) {
                return Err(WatchError::Remote);
            }
            watcher.watch(&directory, RecursiveMode::NonRecursive)?;
        }
        Ok(watcher)
    }
}

fn stir(heard: &watch::Sender<u64>) {
    heard.send_modify(|heard| *heard = heard.wrapping_add(1));
}

/// Whether an event may have changed one of these files, or one of the directories. Opening or reading a file does not.
fn concerns(event: &Event, files: &BTreeSet<OsString>, directories: &BTreeSet<PathBuf>) -> bool {
    if matches!(event.kind, EventKind::Access(access) if access != AccessKind::Close(AccessMode::Write)) {
        return false;
    }
    // An event about lost events has no path.
    event.paths.is_empty()
        || event.paths.iter().any(|path| {
            directories.contains(path) || path.file_name().is_some_and(|name| files.contains(name))
        })
}

/// The file to which `SQLite` writes a commit.
pub(super) fn log_of(file: &Path) -> PathBuf {
    beside(file, "-wal")
}

/// A path with a suffix after its file name.
pub(super) fn beside(file: &Path, suffix: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn directory_of(file: &Path) -> PathBuf {
    match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        Some(_) | None => PathBuf::from("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use notify::event::{CreateKind, DataChange, ModifyKind, RenameMode};

    #[test]
    fn only_what_may_have_changed_the_store_is_heard() {
        let files = ["app.store", "app.store-wal"].map(OsString::from).into();
        let directories = BTreeSet::from([PathBuf::from("/srv")]);
        let heard =
            |kind, path: &str| concerns(&Event::new(kind).add_path(path.into()), &files, &directories);
        let written = EventKind::Modify(ModifyKind::Data(DataChange::Any));
        let renamed = EventKind::Modify(ModifyKind::Name(RenameMode::To));
        assert!(heard(written, "/srv/app.store-wal"));
        assert!(heard(renamed, "/srv/app.store"));
        assert!(heard(EventKind::Create(CreateKind::File), "/srv/app.store"));
        assert!(heard(renamed, "/srv"), "the directory itself");
        assert!(!heard(written, "/srv/app.store-shm"), "written at no commit");
        assert!(!heard(written, "/srv/other.store-wal"));
        assert!(!heard(EventKind::Access(AccessKind::Open(AccessMode::Any)), "/srv/app.store"));
        assert!(!heard(EventKind::Access(AccessKind::Close(AccessMode::Read)), "/srv/app.store"));
        assert!(concerns(&Event::new(EventKind::Other), &files, &directories), "some events were lost");
    }

    #[test]
    fn where_nothing_can_be_heard_it_is_known() {
        let directory = tempfile::tempdir().unwrap();
        let watch = Watch::new(&directory.path().join("deeper/app.store"));
        watch.listen();
        assert!(watch.is_deaf());
        fs::create_dir(directory.path().join("deeper")).unwrap();
        watch.listen();
        assert!(!watch.is_deaf());
    }
}
