//! The anchor: what the owner saw of a store last, kept beside the key. An earlier state of the store does not match it.
//!
//! *Invariant:* it only moves forward. If it cannot be written, that is reported, but no command fails: the change is in the store itself.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read as _, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::{Failed, complain};
use crate::store::{StoreError, Witness};

/// A witness is a line; a longer text is none.
const LONGEST: u64 = 1024;

/// A file with a witness.
#[derive(Clone, Debug)]
pub(super) struct Anchor(pub(super) PathBuf);

impl Anchor {
    /// The last witness, if there is one.
    pub(super) fn read(&self) -> Result<Option<Witness>, Failed> {
        let Self(file) = self;
        let mut text = String::new();
        let read = File::open(file).and_then(|file| file.take(LONGEST).read_to_string(&mut text));
        match read {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(source) => {
                return Err(StoreError::Io { doing: "read the anchor", file: file.clone(), source }.into());
            }
        }
        text.parse().map(Some).map_err(|_| {
            Failed::Usage(format!(
                "the anchor {} cannot be understood: put its copy back, or remove it if you know that the store is the right one",
                file.display()
            ))
        })
    }

    /// Writes a witness, unless a later one is there.
    pub(super) fn keep(&self, witness: &Witness) {
        // A lock makes commands take turns, so that the anchor only moves forward. If it cannot be locked, it is written all the same.
        let directory = self.0.parent().filter(|directory| !directory.as_os_str().is_empty());
        let directory = File::open(directory.unwrap_or(Path::new("."))).ok();
        let _locked = directory.filter(|directory| directory.lock().is_ok());
        let kept = self.read().ok().flatten();
        if kept.is_some_and(|kept| kept == *witness || (kept.is_after(witness) && !witness.is_after(&kept))) {
            return;
        }
        if let Err(error) = self.write(witness) {
            complain(&format!(
                "cannot keep what was seen of the store in {}: {error}; name another place with --anchor, or an earlier \
                 state of the store that is put back is not noticed",
                self.0.display()
            ));
        }
    }

    /// Written beside it first and renamed: the anchor is either the new one or the old one, whole.
    fn write(&self, witness: &Witness) -> Result<(), std::io::Error> {
        let new = self.0.with_added_extension(format!("{}.new", std::process::id()));
        let written = write_whole(&new, &format!("{witness}\n")).and_then(|()| fs::rename(&new, &self.0));
        if written.is_err() {
            fs::remove_file(&new).ok();
        }
        written
    }
}

fn write_whole(file: &Path, text: &str) -> Result<(), std::io::Error> {
    // Never through a link that another user put there.
    fs::remove_file(file)
        .or_else(|error| if error.kind() == ErrorKind::NotFound { Ok(()) } else { Err(error) })?;
    let mut opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?;
    opened.write_all(text.as_bytes())?;
    opened.sync_all()
}
