//! Watches the files of credentials and of TLS, and sends notices to the keepers that use them when a file appears or changes. With
//! `agent.reload = "watch"` it also watches the files of the configuration, and asks for a reload. A file that a template includes is always
//! watched: if it changes, the same secrets render another text.
//!
//! Directories are watched, not files: whoever replaces a file by a rename, or a symlink in it as Kubernetes does, changes the directory. A
//! symlink further above may be exchanged too, so each directory with a symlink on the way to a file is watched as well. Other machines may
//! change a network file system without an event, so every file is also looked at once a minute. Only a change of contents counts, since a
//! refused credential must not be sent again without one.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;

use super::reloads::{Asker, Files, Seen};
use crate::files;
use crate::links;
use crate::ordered::Order as _;
use crate::secret::{Digest, DigestKey};
use crate::session::keeper::Notice;

/// How often to look for a directory that is missing.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// How often to look at every file, even without an event.
const LOOK_ANYWAY: Duration = Duration::from_mins(1);

/// The files of one source, and the keeper to notify.
pub struct Credentials {
    /// The files of its credentials.
    pub files: Vec<PathBuf>,
    /// The files of its TLS.
    pub tls_files: Vec<PathBuf>,
    /// The keeper that uses them.
    pub keeper: mpsc::UnboundedSender<Notice>,
}

/// The files of the configuration, as they were read last, and whom to ask for a reload. The first is what was read at the start.
pub struct ConfigurationWatch {
    /// Each reload reads files, other ones perhaps.
    pub files: mpsc::UnboundedReceiver<Files>,
    /// Who is asked.
    pub asker: Asker,
    /// Whether that is wanted.
    pub is_on: bool,
    /// Who is told that an included file changed, which needs no reload.
    pub changes: mpsc::UnboundedSender<super::Event>,
}

/// Whether there is another content.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Changed {
    configuration: bool,
    included: bool,
}

/// Whoever writes a file, or several, is given this long to finish.
const SETTLE: Duration = Duration::from_millis(200);

/// Watches for as long as it is not dropped.
pub async fn watch(
    mut credentials: mpsc::UnboundedReceiver<Credentials>,
    mut configuration: ConfigurationWatch,
    key: DigestKey,
) {
    let (woken, mut wake) = mpsc::channel(1);
    let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
        // Looking opens and reads the files: if that woke the watch, it would never end.
        let only_looked_at = event.is_ok_and(|event| {
            matches!(event.kind, EventKind::Access(access) if access != AccessKind::Close(AccessMode::Write))
        });
        if !only_looked_at {
            // One pending wake-up is enough: after it all files are looked at.
            woken.try_send(()).ok();
        }
    });
    let mut inbox = Inbox::new(key, watcher.ok());
    loop {
        while let Ok(new) = credentials.try_recv() {
            inbox.add(new);
        }
        let mut changed = inbox.look();
        if changed != Changed::default() {
            tokio::time::sleep(SETTLE).await;
            let more = inbox.look();
            changed.configuration |= more.configuration;
            changed.included |= more.included;
        }
        if changed.configuration {
            configuration.asker.ask();
        } else if changed.included {
            // An agent that is gone renders nothing.
            configuration.changes.send(super::Event::IncludedChanged).ok();
        }
        tokio::select! {
            _ = wake.recv(), if inbox.watches_all() => {}
            Some(new) = credentials.recv() => inbox.add(new),
            Some(files) = configuration.files.recv() => {
                inbox.include(files.included);
                if configuration.is_on {
                    inbox.configuration = files.configuration;
                }
            }
            () = tokio::time::sleep(if inbox.watches_all() { LOOK_ANYWAY } else { LOOK_AGAIN }), if !inbox.is_empty() => {}
        }
    }
}

/// The largest credential, in bytes.
const LONGEST: u64 = 64 << 10;

/// The largest file of certificates.
const LONGEST_OF_TLS: u64 = 4 << 20;

struct Inbox {
    watched: Vec<Watched>,
    configuration: Seen,
    /// What templates include.
    included: Seen,
    watcher: Option<RecommendedWatcher>,
    /// Each with its device and inode, which tell it from another directory in its place.
    directories: BTreeMap<PathBuf, (u64, u64)>,
    /// Directories that are missing, or do not answer.
    absent: BTreeSet<PathBuf>,
    missing: bool,
    key: DigestKey,
}

struct Watched {
    file: PathBuf,
    kind: Kind,
    keeper: mpsc::UnboundedSender<Notice>,
    contents: Option<Digest>,
}

/// The purpose of a file.
#[derive(Clone, Copy)]
enum Kind {
    Credential,
    Tls,
}

impl Kind {
    fn notice(self) -> Notice {
        match self {
            Self::Credential => Notice::CredentialChanged,
            Self::Tls => Notice::TlsChanged,
        }
    }
}

impl Inbox {
    fn new(key: DigestKey, watcher: Option<RecommendedWatcher>) -> Self {
        Self {
            watched: Vec::new(),
            configuration: Seen::new(),
            included: Seen::new(),
            watcher,
            directories: BTreeMap::new(),
            absent: BTreeSet::new(),
            missing: true,
            key,
        }
    }

    fn add(&mut self, Credentials { files, tls_files, keeper }: Credentials) {
        // TLS files are handled before a login.
        let files = tls_files
            .into_iter()
            .map(|file| (file, Kind::Tls))
            .chain(files.into_iter().map(|file| (file, Kind::Credential)));
        let watched = files.map(|(file, kind)| {
            let contents = digest(&file, kind, &self.key);
            Watched { file, kind, keeper: keeper.clone(), contents }
        });
        self.watched.extend(watched);
    }

    /// A file stays when no template includes it any more: a reload may be refused, and then the former templates still do.
    fn include(&mut self, files: BTreeSet<PathBuf>) {
        for file in files {
            self.included.entry(file).or_insert_with_key(|file| hash(file));
        }
    }

    fn is_empty(&self) -> bool {
        self.watched.is_empty() && self.configuration.is_empty() && self.included.is_empty()
    }

    /// Without inotify, or while a directory is missing, files are looked at regularly instead.
    fn watches_all(&self) -> bool {
        self.watcher.is_some() && !self.missing
    }

    /// Sends notices of changes. Returns what else changed.
    fn look(&mut self) -> Changed {
        // The keeper of a source that changed is gone after a while.
        self.watched.retain(|watched| !watched.keeper.is_closed());
        self.look_at_directories();
        for watched in self.watched.iter_mut().filter(|watched| !Self::is_absent(&self.absent, &watched.file))
        {
            let contents = digest(&watched.file, watched.kind, &self.key);
            // A program that rewrites a file may empty it first: that is not a change, and neither are the same contents again.
            if contents.is_some() && contents != watched.contents {
                watched.contents = contents;
                drop(watched.keeper.send(watched.kind.notice()));
            }
        }
        let Self { configuration, included, absent, .. } = self;
        Changed {
            configuration: Self::have_changed(configuration, absent),
            included: Self::have_changed(included, absent),
        }
    }

    /// The same rules hold: only other contents are a change.
    fn have_changed(files: &mut Seen, absent: &BTreeSet<PathBuf>) -> bool {
        let mut has_changed = false;
        for (file, seen) in files {
            let contents = Some(()).filter(|()| !Self::is_absent(absent, file)).and_then(|()| hash(file));
            if contents.is_some() && contents != *seen {
                *seen = contents;
                has_changed = true;
            }
        }
        has_changed
    }

    fn look_at_directories(&mut self) {
        let Self { watched, configuration, included, watcher, directories, absent, missing, .. } = self;
        absent.clear();
        *missing = false;
        let files =
            watched.iter().map(|watched| &watched.file).chain(configuration.keys()).chain(included.keys());
        let parents: BTreeSet<_> = files.clone().filter_map(|file| directory_of(file)).ordered();
        let links: BTreeSet<PathBuf> = files.flat_map(|file| directories_of_links(file)).ordered();
        directories.retain(|directory, _| {
            let is_wanted = parents.contains(directory.as_path()) || links.contains(directory);
            if let (false, Some(watcher)) = (is_wanted, watcher.as_mut()) {
                watcher.unwatch(directory).ok();
            }
            is_wanted
        });
        let all: BTreeSet<&Path> = parents.into_iter().chain(links.iter().map(PathBuf::as_path)).ordered();
        for directory in all {
            // The kernel resolves the path when a watch is added, and would block on a file system that hangs.
            let found = identity(directory);
            if found.is_none() {
                absent.insert(directory.to_owned());
            }
            let Some(watcher) = watcher else { continue };
            if found.is_some() && directories.get(directory) == found.as_ref() {
                continue;
            }
            if directories.remove(directory).is_some() {
                // The watched directory is no longer the one with this path.
                watcher.unwatch(directory).ok();
            }
            match found.filter(|_| watcher.watch(directory, RecursiveMode::NonRecursive).is_ok()) {
                Some(found) => drop(directories.insert(directory.to_owned(), found)),
                None => *missing = true,
            }
        }
    }

    /// A directory that does not answer need not be asked once for each of its files.
    fn is_absent(absent: &BTreeSet<PathBuf>, file: &Path) -> bool {
        directory_of(file).is_some_and(|directory| absent.contains(directory))
    }
}

/// A file name without a directory is in the current one.
fn directory_of(file: &Path) -> Option<&Path> {
    file.parent().map(|parent| if parent.as_os_str().is_empty() { Path::new(".") } else { parent })
}

/// What a file of the configuration holds; `None` while it is missing, empty or not a regular file.
fn hash(file: &Path) -> Option<blake3::Hash> {
    let contents = files::beginning(file, LONGEST_OF_TLS).ok()?;
    (!contents.bytes.is_empty()).then(|| blake3::hash(&contents.bytes))
}

/// The directories with a symlink that leads to this file. Who exchanges one of these links changes its directory.
fn directories_of_links(file: &Path) -> BTreeSet<PathBuf> {
    let path = file.to_owned();
    let links = files::within(file, move || links::on_the_way(&path)).unwrap_or_default();
    links.iter().filter_map(|link| link.parent()).map(Path::to_owned).ordered()
}

/// Device and inode of this path, if it answers.
fn identity(directory: &Path) -> Option<(u64, u64)> {
    let path = directory.to_owned();
    let metadata = files::within(directory, move || std::fs::metadata(path)).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

/// A digest of the contents; a credential is trimmed as a login trims it. `None` while the file is missing, empty or not a regular file.
fn digest(file: &Path, kind: Kind, key: &DigestKey) -> Option<Digest> {
    let limit = match kind {
        Kind::Credential => LONGEST,
        Kind::Tls => LONGEST_OF_TLS,
    };
    let contents = files::beginning(file, limit).ok()?;
    let value = match kind {
        Kind::Credential => files::one_value(contents.text().ok()?).as_bytes(),
        // The file may contain remarks in any encoding.
        Kind::Tls => &contents.bytes,
    };
    (!value.is_empty()).then(|| key.digest(value))
}
