//! The file of the audit: appends lines to it, begins a new one when it is full, and goes on where an earlier run ended.
//!
//! A line is written first and the anchor after it. So what a kill leaves is a line that the anchor does not know yet, which bears its key.
//! A line that was only begun is taken away again.
//!
//! *Invariant:* what was found wrong is never written over: the file is set aside, and the next one begins with what was found.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use nix::unistd::geteuid;
use rustix::fs::{CWD, OFlags, RenameFlags, renameat_with};

use super::anchor::{Anchor, Place, is_in_memory, make, require_own, settle};
use super::line::{self, Entry};
use super::read::{Examined, examine};
use super::verify::{Finding, Harm};
use super::{AuditError, full_name};
use crate::chain::Point;
use crate::config::AuditConfig;

/// The audit, and nobody else's while this lives.
#[derive(Debug)]
pub struct Log {
    config: AuditConfig,
    place: Place,
    _lock: File,
    anchor: Anchor,
    /// The newest line that is written; the anchor may not know it yet.
    tip: Point,
    current: Option<Current>,
    is_on_disk: bool,
}

/// The file that is written now, as we left it.
#[derive(Debug)]
struct Current {
    file: File,
    size: u64,
    has_entries: bool,
}

/// What became of an attempt to go on.
#[derive(Debug, PartialEq, Eq)]
pub struct Resumed {
    /// The newest line.
    pub tip: Point,
    /// What was not as Squire had left it.
    pub found: Option<String>,
}

impl Log {
    /// Goes on with the audit, or begins it.
    ///
    /// # Errors
    /// When another Squire has it, and when it cannot be written.
    pub fn open(config: &AuditConfig) -> Result<(Self, Resumed), AuditError> {
        let place = Place(config.anchor.clone());
        let lock = place.lock()?;
        let (anchor, found) = match place.read()? {
            Some(anchor) => (anchor, None),
            None => begin(config, &place)?,
        };
        let tip = anchor.remembered.newest;
        let is_on_disk = !is_in_memory(&config.file);
        let mut log =
            Self { config: config.clone(), place, _lock: lock, anchor, tip, current: None, is_on_disk };
        let resumed = log.resume(found)?;
        Ok((log, resumed))
    }

    /// Writes these entries and takes them away; those that stay were not written. Returns what was not as it had been left.
    pub fn append(&mut self, entries: &mut VecDeque<Entry>) -> Result<Option<Resumed>, AuditError> {
        let resumed = if self.is_as_left() { None } else { Some(self.resume(Some(self.what_happened()))?) };
        if self.anchor.remembered.newest != self.tip {
            self.remember()?;
        }
        if self.is_asked_to_rotate() {
            self.rotate()?;
        }
        if !entries.is_empty() {
            self.write(entries.make_contiguous())?;
            entries.clear();
            self.remember()?;
        }
        Ok(resumed)
    }

    /// Begins a new file.
    pub fn rotate(&mut self) -> Result<(), AuditError> {
        if self.current.as_ref().is_none_or(|current| !current.has_entries) {
            return Ok(());
        }
        self.set_aside()?;
        self.begin_file("continued", None)?;
        self.remember()?;
        self.prune()
    }

    /// The end: nothing may follow.
    pub fn close(mut self) -> Result<Point, AuditError> {
        self.anchor.remembered.is_closed = true;
        self.anchor.remembered.newest = self.tip;
        self.place.write(&self.anchor)?;
        Ok(self.tip)
    }

    /// The newest line.
    pub fn tip(&self) -> Point {
        self.tip
    }

    fn remember(&mut self) -> Result<(), AuditError> {
        let before = self.anchor.remembered.newest;
        self.anchor.remembered.newest = self.tip;
        // What could not be written is written with the next entry.
        self.place.write(&self.anchor).inspect_err(|_| self.anchor.remembered.newest = before)
    }

    /// Whether Squire's own user, or root, asked for a new file; the request is taken away. Somebody else may write where the anchor is, if
    /// that is a shared directory, and could have every line thrown away by asking again and again.
    fn is_asked_to_rotate(&self) -> bool {
        let request = self.place.request();
        let own = geteuid().as_raw();
        let is_ours = fs::symlink_metadata(&request).is_ok_and(|what| [own, 0].contains(&what.uid()));
        is_ours && fs::remove_file(request).is_ok()
    }

    fn is_as_left(&self) -> bool {
        let Some(current) = &self.current else { return false };
        let (Ok(open), Ok(named)) = (current.file.metadata(), fs::symlink_metadata(&self.config.file)) else {
            return false;
        };
        (open.dev(), open.ino()) == (named.dev(), named.ino())
            && open.len() == current.size
            && open.nlink() == 1
    }

    fn what_happened(&self) -> String {
        match (&self.current, fs::symlink_metadata(&self.config.file)) {
            // Then nothing is known yet.
            (None, _) => String::new(),
            (Some(_), Err(_)) => "the file was removed while squire wrote it".to_owned(),
            (Some(current), Ok(named)) => match current.file.metadata() {
                Ok(open) if open.ino() != named.ino() => {
                    "the file was replaced while squire wrote it".to_owned()
                }
                Ok(open) if open.len() < current.size => "the file was cut while squire wrote it".to_owned(),
                Ok(_) | Err(_) => "somebody else wrote to the file".to_owned(),
            },
        }
    }

    /// Goes on from what is there. `suspicion` is what is known to be wrong already.
    fn resume(&mut self, suspicion: Option<String>) -> Result<Resumed, AuditError> {
        self.current = None;
        self.note_cut_off_rotation();
        let suspicion = suspicion.filter(|suspicion| !suspicion.is_empty());
        let (end, wrong) = self.end_of_what_is_there()?;
        let found =
            wrong.map(|wrong| suspicion.clone().map_or(wrong.clone(), |known| format!("{known}: {wrong}")));
        let found = found.or(suspicion);
        if let Some(tip) = end.filter(|end| end.number >= self.tip.number) {
            self.tip = tip;
        }
        if self.anchor.remembered.is_closed {
            // Before the first line, or a kill between the two would look as if somebody had gone on without us.
            self.anchor.remembered.is_closed = false;
            self.place.write(&self.anchor)?;
        }
        if found.is_some() && self.config.file.exists() {
            self.set_aside()?;
        }
        let outcome = if self.tip.number == 0 { "begun" } else { "resumed" };
        self.begin_file(outcome, found.clone())?;
        // Where that fails the next entry tries it again, and says so.
        drop(self.remember());
        Ok(Resumed { tip: self.tip, found })
    }

    /// A kill came after the file had got its name among the full ones, and before the anchor knew.
    fn note_cut_off_rotation(&mut self) {
        let first = self.anchor.current;
        if !self.anchor.full.contains(&first) && full_name(&self.config.file, first).exists() {
            self.anchor.full.push(first);
        }
    }

    /// The newest line that is there and right, and what is wrong. A rotation may have been cut off between two files.
    fn end_of_what_is_there(&mut self) -> Result<(Option<Point>, Option<String>), AuditError> {
        let files = [self.config.file.clone(), full_name(&self.config.file, self.anchor.current)];
        let last = self.anchor.full.last().map(|first| full_name(&self.config.file, *first));
        for file in files.into_iter().chain(last) {
            let Some(examined) = examine(&file, &self.anchor)? else { continue };
            let Examined { verdict, whole, first } = examined;
            let wrong = verdict.findings.iter().find(|finding| !is_old(finding));
            if let Some(finding) = wrong {
                return Ok((None, Some(finding.to_string())));
            }
            if verdict.unfinished > 0 {
                self.take_away(&file, whole)?;
            }
            if file == self.config.file {
                self.anchor.current = first;
            }
            return Ok((Some(verdict.last), None));
        }
        let gone = (self.anchor.remembered.newest.number > 0).then(|| "the file is gone".to_owned());
        Ok((None, gone))
    }

    /// Takes away what was begun of a line when Squire was killed.
    fn take_away(&self, path: &Path, whole: u64) -> Result<(), AuditError> {
        let file = open_to_append(path, false)?;
        file.set_len(whole).map_err(self.failed("cut an unfinished line off"))
    }

    /// Opens the file, and begins it or this run's part of it.
    fn begin_file(&mut self, outcome: &str, found: Option<String>) -> Result<(), AuditError> {
        let path = self.config.file.clone();
        if let Some(directory) = path.parent() {
            make(directory).map_err(self.failed("make the directory of"))?;
        }
        let is_new = !path.exists();
        let file = open_to_append(&path, true)?;
        let size = file.metadata().map_err(self.failed("look at"))?.len();
        if is_new && self.is_on_disk {
            settle(&path)?;
        }
        if size == 0 {
            self.anchor.current = self.tip.number.saturating_add(1);
        }
        self.current = Some(Current { file, size, has_entries: false });
        self.write_now(&[Entry::head(outcome, found, SystemTime::now())])?;
        if let Some(current) = &mut self.current {
            current.has_entries = size > 0;
        }
        Ok(())
    }

    fn write(&mut self, entries: &[Entry]) -> Result<(), AuditError> {
        let (text, _) = self.text(entries);
        let is_full = self.current.as_ref().is_some_and(|current| {
            current.has_entries && current.size.saturating_add(text.len() as u64) > self.config.max_size
        });
        if is_full {
            self.rotate()?;
        }
        self.write_now(entries)
    }

    /// These entries after the newest line, and where the chain is then.
    fn text(&self, entries: &[Entry]) -> (Vec<u8>, Point) {
        let (mut text, mut tip) = (Vec::new(), self.tip);
        for entry in entries {
            line::write(&self.anchor.chain, &mut tip, entry.clone(), &mut text);
        }
        (text, tip)
    }

    /// All of them, or none.
    fn write_now(&mut self, entries: &[Entry]) -> Result<(), AuditError> {
        let failed = self.failed("write");
        let (text, tip) = self.text(entries);
        let is_on_disk = self.is_on_disk;
        let Some(current) = &mut self.current else {
            return Err(failed(io::Error::from(ErrorKind::NotFound)));
        };
        let written = current.file.write_all(&text);
        let written = written.and_then(|()| if is_on_disk { current.file.sync_data() } else { Ok(()) });
        if let Err(error) = written {
            // A part of it would be no line; what cannot be taken away now is found by the next attempt.
            current.file.set_len(current.size).ok();
            return Err(failed(error));
        }
        current.size = current.size.saturating_add(text.len() as u64);
        current.has_entries = true;
        self.tip = tip;
        Ok(())
    }

    /// Moves the file to its name among the full ones, over nothing that is there.
    fn set_aside(&mut self) -> Result<(), AuditError> {
        let (file, first) = (&self.config.file, self.anchor.current);
        let full = full_name(file, first);
        self.current = None;
        match renameat_with(CWD, file, CWD, &full, RenameFlags::NOREPLACE) {
            Ok(()) if !self.anchor.full.contains(&first) => self.anchor.full.push(first),
            Ok(()) => {}
            Err(rustix::io::Errno::EXIST) => {
                let aside = full.with_added_extension(format!("aside-{}", self.tip.number));
                fs::rename(file, aside).map_err(self.failed("set aside"))?;
            }
            Err(errno) => return Err(self.failed("rename")(errno.into())),
        }
        if self.is_on_disk { settle(file) } else { Ok(()) }
    }

    /// Removes the oldest full files over the number that is kept. The anchor knows it first: a kill leaves a file too many.
    fn prune(&mut self) -> Result<(), AuditError> {
        let excess = self.anchor.full.len().saturating_sub(self.config.keep);
        if excess == 0 {
            return Ok(());
        }
        let old: Vec<u64> = self.anchor.full.drain(..excess).collect();
        self.anchor.remembered.oldest = self.anchor.full.first().copied().unwrap_or(self.anchor.current);
        self.place.write(&self.anchor)?;
        for first in old {
            // One that is gone is no line too many.
            fs::remove_file(full_name(&self.config.file, first)).ok();
        }
        Ok(())
    }

    fn failed(&self, doing: &'static str) -> impl FnOnce(io::Error) -> AuditError + use<> {
        let path = self.config.file.clone();
        move |source| AuditError::System { doing, path, source }
    }
}

fn open_to_append(path: &Path, may_make: bool) -> Result<File, AuditError> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let mut options = OpenOptions::new();
    options.append(true).create(may_make).mode(0o600).custom_flags(flags.bits().cast_signed());
    let file = options.open(path).map_err(|source| AuditError::of_opening(path, source))?;
    require_own(&file, path, 0o022)?;
    Ok(file)
}

/// What Squire found in an earlier run stands in a file that was set aside, and in the head after it.
fn is_old(finding: &Finding) -> bool {
    matches!(finding.harm, Harm::Noted(_))
}

/// Begins a chain. What is there without an anchor is no part of it, and kept.
fn begin(config: &AuditConfig, place: &Place) -> Result<(Anchor, Option<String>), AuditError> {
    let failed = |source| AuditError::System { doing: "begin", path: config.file.clone(), source };
    let anchor = Anchor::new().map_err(failed)?;
    let has_lines = fs::symlink_metadata(&config.file).is_ok_and(|found| found.is_file() && found.len() > 0);
    let found = if has_lines {
        // What is not ours alone is not moved either: with a mistake in the configuration it may be somebody's log.
        open_to_append(&config.file, false)?;
        let aside = aside(&config.file);
        fs::rename(&config.file, &aside).map_err(failed)?;
        let name = aside.file_name().map(|name| name.display().to_string()).unwrap_or_default();
        Some(format!("there was no anchor, so what was there is set aside as {name}"))
    } else {
        None
    };
    place.write(&anchor)?;
    Ok((anchor, found))
}

fn aside(file: &Path) -> PathBuf {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    file.with_added_extension(format!("without-anchor-{}", now.as_millis()))
}

#[cfg(test)]
mod tests;
