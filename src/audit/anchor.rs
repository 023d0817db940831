//! The anchor: which chain the audit is, its key, and its oldest and newest line; a small file where only Squire writes.
//!
//! *Invariant:* it is replaced whole or not at all, nobody else can read or write it, and what it knows as newest only moves forward.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;
use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};

use super::AuditError;
use super::line::Chain;
use super::verify::Remembered;
use crate::chain::{ChainKey, Point};
use crate::hex::{hex, unhex};
use crate::{locked, memory};

/// It is a line with a number for each file; a longer text is none.
const LONGEST: u64 = 256 << 10;

/// What the anchor remembers.
#[derive(Clone, Debug)]
pub struct Anchor {
    /// Which chain.
    pub chain: Chain,
    /// What of it there has to be.
    pub remembered: Remembered,
    /// The full files, by the numbers of their first lines. Others that have such a name are not Squire's.
    pub full: Vec<u64>,
    /// The number of the first line of the file that is written now.
    pub current: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    log: String,
    key: String,
    oldest: u64,
    newest: String,
    closed: bool,
    full: Vec<u64>,
    current: u64,
}

impl Anchor {
    /// One of a chain that begins now.
    pub fn new() -> Result<Self, io::Error> {
        let (mut key, mut log) = ([0; 32], [0; 16]);
        let random =
            |bytes: &mut [u8]| getrandom::fill(bytes).map_err(|error| io::Error::other(error.to_string()));
        random(&mut key)?;
        random(&mut log)?;
        let remembered = Remembered { oldest: 1, newest: Point::NONE, is_closed: false };
        let chain = Chain { key: ChainKey::new(key), log };
        Ok(Self { chain, remembered, full: Vec::new(), current: 1 })
    }

    fn text(&self) -> String {
        let Self { chain, remembered, full, current } = self;
        let written = Written {
            log: hex(&chain.log),
            key: hex(chain.key.expose()),
            oldest: remembered.oldest,
            newest: remembered.newest.to_string(),
            closed: remembered.is_closed,
            full: full.clone(),
            current: *current,
        };
        // Text and numbers can always be written.
        format!("{}\n", serde_json::to_string(&written).unwrap_or_default())
    }

    fn of_text(text: &str) -> Option<Self> {
        let Written { log, key, oldest, newest, closed, full, current } = serde_json::from_str(text).ok()?;
        let chain = Chain { key: ChainKey::new(unhex(&key)?), log: unhex(&log)? };
        let remembered = Remembered { oldest, newest: newest.parse().ok()?, is_closed: closed };
        Some(Self { chain, remembered, full, current })
    }
}

/// Where it is.
#[derive(Clone, Debug)]
pub struct Place(pub PathBuf);

impl Place {
    /// What it remembers; `None` if it is not there. Whoever goes on from it has to be its owner, and the only one who can read it.
    pub fn read(&self) -> Result<Option<Anchor>, AuditError> {
        self.take(|file| require_own(file, &self.0, 0o077))
    }

    /// The same for whoever only looks: an operator may be another user than Squire.
    pub fn look(&self) -> Result<Option<Anchor>, AuditError> {
        self.take(|_| Ok(()))
    }

    fn take(
        &self,
        may_be: impl FnOnce(&File) -> Result<(), AuditError>,
    ) -> Result<Option<Anchor>, AuditError> {
        let Self(path) = self;
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        let opened = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path);
        let file = match opened {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(AuditError::of_opening(path, source)),
        };
        may_be(&file)?;
        let mut text = String::new();
        match file.take(LONGEST).read_to_string(&mut text) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {}
            Err(source) => return Err(self.failed("read", source)),
        }
        Anchor::of_text(&text).map(Some).ok_or_else(|| AuditError::NoAnchor { path: path.clone() })
    }

    /// Remembers this.
    pub fn write(&self, anchor: &Anchor) -> Result<(), AuditError> {
        let Self(path) = self;
        let next = path.with_added_extension("new");
        let is_on_disk = !is_in_memory(path);
        let written = write_whole(&next, &anchor.text(), is_on_disk).and_then(|()| fs::rename(&next, path));
        written.map_err(|source| {
            fs::remove_file(&next).ok();
            self.failed("write", source)
        })?;
        if is_on_disk { settle(path) } else { Ok(()) }
    }

    /// Keeps every other Squire from writing the audit for as long as the file lives.
    pub fn lock(&self) -> Result<File, AuditError> {
        let Self(path) = self;
        if let Some(directory) = path.parent() {
            make(directory).map_err(|source| self.failed("make the directory of", source))?;
        }
        let lock = path.with_added_extension("lock");
        let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
        let mut options = OpenOptions::new();
        let opened =
            options.write(true).create(true).truncate(false).mode(0o600).custom_flags(flags).open(&lock);
        let file =
            opened.map_err(|source| AuditError::System { doing: "open", path: lock.clone(), source })?;
        match locked::lock(&file) {
            Ok(true) => Ok(file),
            Ok(false) => Err(AuditError::InUse { path: path.clone() }),
            Err(errno) => Err(AuditError::System { doing: "lock", path: lock, source: errno.into() }),
        }
    }

    /// Where somebody asks the Squire that runs for a new file.
    pub fn request(&self) -> PathBuf {
        self.0.with_added_extension("rotate")
    }

    fn failed(&self, doing: &'static str, source: io::Error) -> AuditError {
        AuditError::System { doing, path: self.0.clone(), source }
    }
}

/// Makes a directory, where only Squire may write, if it is not there.
pub(super) fn make(directory: &Path) -> io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o700).create(directory)
}

/// Whether the file is an ordinary one, ours, with one name, and none of these bits for others.
pub(super) fn require_own(file: &File, path: &Path, forbidden: u32) -> Result<(), AuditError> {
    let found = file.metadata().map_err(|source| AuditError::System {
        doing: "look at",
        path: path.to_owned(),
        source,
    })?;
    let foreign = |what, way_out| Err(AuditError::Foreign { path: path.to_owned(), what, way_out });
    if !found.is_file() {
        return foreign("is no regular file", "move it away");
    }
    if found.uid() != geteuid().as_raw() {
        return foreign(
            "belongs to another user",
            "move it away, or give it to squire's user if you know whose it is",
        );
    }
    if found.nlink() > 1 {
        return foreign("has a second name, by which somebody else may reach it", "move it away");
    }
    if found.mode() & forbidden != 0 {
        return foreign("is open to others", "give it to squire's user alone: chmod 0600");
    }
    Ok(())
}

/// Whether nothing there has to be written to disk.
pub(super) fn is_in_memory(path: &Path) -> bool {
    memory::require(path, false).is_ok()
}

/// Waits until the disk has the names in the directory of this file.
pub(super) fn settle(path: &Path) -> Result<(), AuditError> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let settled = File::open(directory).and_then(|directory| directory.sync_all());
    settled.map_err(|source| AuditError::System { doing: "write to disk", path: path.to_owned(), source })
}

/// Never through a link that somebody put there.
fn write_whole(path: &Path, text: &str, is_on_disk: bool) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    if is_on_disk { file.sync_all() } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn what_is_remembered_is_read_back_and_nothing_else_is() {
        let directory = tempfile::tempdir().unwrap();
        let place = Place(directory.path().join("audit.anchor"));
        assert!(place.read().unwrap().is_none());
        let mut anchor = Anchor::new().unwrap();
        anchor.remembered =
            Remembered { oldest: 3, newest: Point { number: 7, link: [5; 32] }, is_closed: true };
        (anchor.full, anchor.current) = (vec![3, 5], 6);
        place.write(&anchor).unwrap();
        let read = place.read().unwrap().unwrap();
        assert_eq!((read.remembered, read.chain.log), (anchor.remembered, anchor.chain.log));
        assert_eq!((read.full, read.current), (vec![3, 5], 6));
        assert_eq!(read.chain.key.expose(), anchor.chain.key.expose());
        for odd in ["", "{}", "x", &anchor.text().replace("true", "1"), &anchor.text()[..100]] {
            fs::write(&place.0, odd).unwrap();
            assert!(matches!(place.read(), Err(AuditError::NoAnchor { .. })), "{odd}");
        }
    }

    #[test]
    fn an_anchor_that_others_can_reach_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let place = Place(directory.path().join("audit.anchor"));
        place.write(&Anchor::new().unwrap()).unwrap();
        fs::set_permissions(&place.0, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(place.read().unwrap_err().to_string().contains("is open to others"));
        fs::set_permissions(&place.0, fs::Permissions::from_mode(0o600)).unwrap();
        fs::hard_link(&place.0, directory.path().join("second")).unwrap();
        assert!(place.read().unwrap_err().to_string().contains("second name"));
        fs::rename(directory.path().join("second"), directory.path().join("other")).unwrap();
        fs::remove_file(&place.0).unwrap();
        std::os::unix::fs::symlink("other", &place.0).unwrap();
        assert!(place.read().is_err(), "a link");
    }

    #[test]
    fn only_one_squire_has_it() {
        let directory = tempfile::tempdir().unwrap();
        let place = Place(directory.path().join("made/for/it/audit.anchor"));
        let first = place.lock().unwrap();
        assert!(matches!(place.lock(), Err(AuditError::InUse { .. })));
        drop(first);
        place.lock().unwrap();
    }
}
