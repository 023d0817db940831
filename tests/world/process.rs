//! A disk and a process in miniature.
//!
//! A process keeps what it read until it is told to read again.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use squire::render::Release;
use squire::supervise::Launch;
use squire::supervise::host::Ticket;

/// What is published.
#[derive(Default)]
pub(crate) struct Disk {
    pub files: BTreeMap<PathBuf, String>,
}

impl Disk {
    /// Whether publishing this would change anything.
    pub(crate) fn differs(&self, release: &Release) -> bool {
        release.files.iter().any(|file| {
            self.files.get(&file.path).is_none_or(|text| text.as_bytes() != file.contents.expose())
        })
    }

    /// Replaces everything at once; answers with what differs from before.
    pub(crate) fn publish(&mut self, release: &Release) -> BTreeSet<PathBuf> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("templates render text");
        let files: BTreeMap<_, _> =
            release.files.iter().map(|file| (file.path.clone(), text(file.contents.expose()))).collect();
        let changed = files.iter().filter(|(path, text)| self.files.get(*path) != Some(text));
        let changed = changed.map(|(path, _)| path.clone()).collect();
        self.files = files;
        changed
    }

    /// Whether this stands in any file.
    pub(crate) fn has(&self, text: &str) -> bool {
        self.files.values().any(|file| file.contains(text))
    }

    /// Removes all that was published.
    pub(crate) fn sweep(&mut self) {
        self.files.clear();
    }

    fn credential(&self) -> Option<String> {
        self.files.get(&PathBuf::from("db")).cloned()
    }
}

/// The child: it has one credential in its environment, and one that it read from its file.
pub(crate) struct Process {
    pub ticket: Ticket,
    pub started: bool,
    in_environment: String,
    from_file: Option<String>,
}

impl Process {
    pub(crate) fn new(ticket: Ticket, launch: &Launch) -> Self {
        let in_environment = launch.env.get("DB").map(|value| value.expose().to_owned()).unwrap_or_default();
        Self { ticket, started: false, in_environment, from_file: None }
    }

    pub(crate) fn read(&mut self, disk: &Disk) {
        self.from_file = disk.credential();
    }

    /// The names of the credentials that it uses now: none while it is starting.
    pub(crate) fn credentials(&self) -> impl Iterator<Item = &str> {
        let texts = [Some(self.in_environment.as_str()), self.from_file.as_deref()];
        let texts = texts.into_iter().flatten().filter(|text| self.started && !text.is_empty());
        texts.filter_map(|text| text.split(':').next())
    }
}
