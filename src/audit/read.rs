//! Reads the files of an audit, also while a Squire writes them.
//!
//! *Invariant:* bounded memory, whatever stands in the files; nothing is changed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, ErrorKind, Read as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::anchor::{Anchor, Place};
use super::line::{Entry, Line};
use super::verify::{Remembered, Spot, Verdict, Verifier};
use super::{AuditError, full_name};
use crate::chain::Point;

/// A longer line is none of Squire's: it may name all secrets of a configuration, each once.
const LONGEST: usize = 16 << 20;

/// How often a verdict is asked for again because Squire went on meanwhile.
const ATTEMPTS: usize = 5;

/// One file.
#[derive(Debug)]
pub struct Examined {
    /// What is to be said of it alone.
    pub verdict: Verdict,
    /// Its bytes up to the end of the last line.
    pub whole: u64,
    /// The number of its first line.
    pub first: u64,
}

/// All files.
#[derive(Debug)]
pub struct Checked<T> {
    /// What was made of the entries.
    pub made: T,
    /// What is to be said of the lines.
    pub verdict: Verdict,
    /// The point that was asked for is in the chain.
    pub has_point: bool,
    /// Files that look like the audit's, and are not.
    pub others: Vec<PathBuf>,
}

/// Checks one file alone, from its first line on; `None` if it is not there, or empty.
pub(super) fn examine(path: &Path, anchor: &Anchor) -> Result<Option<Examined>, AuditError> {
    let Some(mut lines) = Lines::open(path)? else { return Ok(None) };
    let mut verifier: Option<Verifier<'_>> = None;
    let mut first = anchor.remembered.oldest;
    while let Some(part) = lines.next()? {
        let verifier = verifier.get_or_insert_with(|| {
            first = Line::read(part.text).map_or(first, |line| line.entry.n);
            Verifier::new(&anchor.chain, alone(first, anchor.remembered))
        });
        if part.is_whole {
            verifier.line(part.spot, part.text);
        } else {
            verifier.unfinished(part.spot, part.text);
        }
    }
    Ok(verifier.map(|verifier| Examined { verdict: verifier.finish(), whole: lines.whole, first }))
}

/// What has to be in a file that begins with this line. Whether it follows the file before is not asked here, and a kill may have come between
/// its first line and the anchor, which knows the line before then.
fn alone(first: u64, remembered: Remembered) -> Remembered {
    let newest = if first > remembered.newest.number { Point::NONE } else { remembered.newest };
    Remembered { oldest: first, newest, ..remembered }
}

/// Checks all files, and makes something of each entry. If Squire wrote meanwhile and something seems wrong, it is done again.
pub fn check<T>(
    file: &Path,
    place: &Place,
    since: Option<Point>,
    make: impl Fn() -> T,
    mut each: impl FnMut(&mut T, &Entry),
) -> Result<Checked<T>, AuditError> {
    let unanchored = || AuditError::Unanchored { path: place.0.clone() };
    for _ in 1..ATTEMPTS {
        let anchor = place.look()?.ok_or_else(unanchored)?;
        let checked = once(file, &anchor, since, make(), &mut each)?;
        let later = place.look()?.ok_or_else(unanchored)?;
        if checked.verdict.findings.is_empty() || later.remembered == anchor.remembered {
            return Ok(checked);
        }
    }
    let anchor = place.look()?.ok_or_else(unanchored)?;
    once(file, &anchor, since, make(), &mut each)
}

fn once<T>(
    file: &Path,
    anchor: &Anchor,
    since: Option<Point>,
    mut made: T,
    each: &mut impl FnMut(&mut T, &Entry),
) -> Result<Checked<T>, AuditError> {
    let mut verifier = Verifier::new(&anchor.chain, anchor.remembered);
    // Between two files of a rotation the one that was written has its new name already.
    let full = anchor.full.iter().chain([&anchor.current]).map(|first| full_name(file, *first));
    let files: Vec<PathBuf> = full.chain([file.to_owned()]).collect();
    let mut has_point = since.is_none_or(|since| since.number == 0);
    for path in &files {
        let Some(mut lines) = Lines::open(path)? else { continue };
        while let Some(part) = lines.next()? {
            if !part.is_whole {
                verifier.unfinished(part.spot, part.text);
                continue;
            }
            has_point |= since.is_some() && Line::read(part.text).map(|line| line.point()) == since;
            if let Some(entry) = verifier.line(part.spot, part.text) {
                each(&mut made, &entry);
            }
        }
    }
    Ok(Checked { made, verdict: verifier.finish(), has_point, others: others(file, &files) })
}

/// What is beside the file and begins with its name.
fn others(file: &Path, known: &[PathBuf]) -> Vec<PathBuf> {
    let (Some(directory), Some(name)) = (file.parent(), file.file_name()) else { return Vec::new() };
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let begins = |path: &PathBuf| {
        let own = path.file_name().map(std::ffi::OsStr::as_encoded_bytes);
        own.is_some_and(|own| own.starts_with(&[name.as_encoded_bytes(), b"."].concat()))
    };
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let mut others: Vec<_> = paths.filter(|path| begins(path) && !known.contains(path)).collect();
    others.sort();
    others
}

/// One file, line by line.
struct Lines {
    path: PathBuf,
    from: BufReader<File>,
    text: Vec<u8>,
    number: usize,
    whole: u64,
}

/// A line of a file, or what is behind the last one.
struct Part<'a> {
    spot: Spot,
    text: &'a [u8],
    is_whole: bool,
}

impl Lines {
    fn open(path: &Path) -> Result<Option<Self>, AuditError> {
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        let opened = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path);
        let file = match opened {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(AuditError::of_opening(path, source)),
        };
        if !file.metadata().map_err(|source| failed(path, source))?.is_file() {
            return Err(AuditError::Foreign {
                path: path.to_owned(),
                what: "is no regular file",
                way_out: "move it away",
            });
        }
        Ok(Some(Self {
            path: path.to_owned(),
            from: BufReader::new(file),
            text: Vec::new(),
            number: 0,
            whole: 0,
        }))
    }

    fn next(&mut self) -> Result<Option<Part<'_>>, AuditError> {
        self.text.clear();
        let limit = LONGEST as u64 + 1;
        let read = (&mut self.from).take(limit).read_until(b'\n', &mut self.text);
        let read = read.map_err(|source| failed(&self.path, source))?;
        if read == 0 {
            return Ok(None);
        }
        self.number += 1;
        let mut size = read as u64;
        let mut is_whole = self.text.last() == Some(&b'\n');
        if !is_whole && self.text.len() > LONGEST {
            (size, is_whole) = self.skip(size).map_err(|source| failed(&self.path, source))?;
            // It is no line of ours, whatever it is.
            self.text.truncate(1);
        } else if is_whole {
            self.text.pop();
        }
        if is_whole {
            self.whole += size;
        }
        let spot = Spot { file: self.path.display().to_string(), line: self.number };
        Ok(Some(Part { spot, text: &self.text, is_whole }))
    }

    /// Passes over the rest of a line that is too long; its size, and whether it has an end.
    fn skip(&mut self, mut size: u64) -> io::Result<(u64, bool)> {
        loop {
            let buffer = self.from.fill_buf()?;
            let end = buffer.iter().position(|byte| *byte == b'\n');
            let (used, is_end) = end.map_or((buffer.len(), buffer.is_empty()), |at| (at + 1, true));
            self.from.consume(used);
            size += used as u64;
            if is_end {
                return Ok((size, used > 0));
            }
        }
    }
}

fn failed(path: &Path, source: io::Error) -> AuditError {
    AuditError::System { doing: "read", path: path.to_owned(), source }
}
