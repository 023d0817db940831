//! Moves the audit out of the store: into an archive that the owner signs. Then the store no longer keeps those entries.
//!
//! A summary of the entries stays in the store, so that the chain goes on and `verify` still knows what the store should contain.
//!
//! *Invariant:* only exported entries are pruned, and no entry of a chain that is broken or contradicts itself.

use std::io::{self, BufRead, Write};

use serde::{Deserialize, Serialize};

use super::access::Store;
use super::audit::{About, Action, Outcome};
use super::chance::nonce;
use super::error::{StoreError, damaged, sealed, unfit};
use super::file::Writing;
use super::journal::{bind_keys, note_pruned, record};
use super::keys::{self, Id};
use super::owner::owner_keys;
use super::query::Record;
use super::replay::Replay;
use super::seal::{Digest, Key, place};
use super::sign::{Public, SIGNATURE, public, sign};
use super::walk::{BASE, base, walk};
use crate::chain::Point;
use crate::hex::as_hex;

/// The context in which an archive is signed.
const ARCHIVE: &str = "audit archive";

/// An export, ready to be pruned.
#[derive(Debug)]
pub struct Exported {
    /// The number of entries.
    pub entries: u64,
    end: Point,
    replay: Replay,
}

/// The last line of an archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Seal {
    archive: Bounds,
    /// The owner's public key when the archive was written.
    owner: Public,
    /// The signature of the bounds, as they are written.
    #[serde(with = "as_hex")]
    signature: [u8; SIGNATURE],
}

/// The range of an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Bounds {
    #[serde(with = "as_hex")]
    store: Id,
    /// The entry before its first one, and its last entry.
    after: Point,
    end: Point,
    /// A digest of all lines before this one.
    #[serde(with = "as_hex")]
    lines: Digest,
}

impl Store {
    /// Writes every entry of the audit, a line of JSON each, and a last line that the owner signs.
    ///
    /// # Errors
    /// If the chain is broken, or the writer fails.
    pub fn export_audit(&mut self, to: &mut dyn Write) -> Result<Exported, StoreError> {
        let about = (Action::AuditExport, "the audit");
        self.look_as_owner("export the audit", about, |reading, id, root, _| {
            let (after, mut replay) = base(reading, id, root)?;
            let mut lines = blake3::Hasher::new();
            let walked = walk(reading, id, root, after, |visited| {
                replay.apply(visited.at.number, &visited.writer, &visited.entry);
                let text = sealed(serde_json::to_string(&Record::of(visited)).ok())?;
                write(to, &mut lines, &text)
            })?;
            if let Some(found) = walked.broken.or_else(|| replay.findings.pop()) {
                return Err(damaged(&found.place, &found.why));
            }
            let lines = *lines.finalize().as_bytes();
            let archive = Bounds { store: *id, after, end: walked.end, lines };
            let signing = owner_keys(reading, id, root)?.signing;
            let signature = sign(&signing, place(ARCHIVE, &[id]), &text_of(&archive)?);
            let seal = Seal { archive, owner: public(&signing), signature };
            let text = sealed(serde_json::to_string(&seal).ok())?;
            write(to, &mut blake3::Hasher::new(), &text)?;
            Ok(Exported { entries: walked.count, end: walked.end, replay })
        })
    }

    /// Removes the exported entries. A summary of them is kept.
    pub fn prune_audit(&mut self, exported: Exported) -> Result<(), StoreError> {
        let (root, id) = (self.root("prune the audit")?, self.id);
        let Exported { end, replay, .. } = exported;
        self.transact(|writing, keys, _| {
            let about = About::Named(format!("the audit, up to entry {}", end.number));
            record(writing, &id, keys, Action::AuditPrune, Outcome::Done, about)?;
            writing.execute("DELETE FROM audit WHERE number <= ?1", [end.number])?;
            write_base(writing, &id, &root, &(end, replay))?;
            note_pruned(writing, &id, &end, &owner_keys(writing, &id, &root)?.signing)?;
            bind_keys(writing, &id, keys).map(Ok)
        })
    }

    /// Checks that an archive is complete and was signed by the owner of this store, with the present key. Returns the number of its
    /// entries.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check_archive(&mut self, archive: &mut dyn BufRead) -> Result<u64, StoreError> {
        let about = (Action::Audit, "an archive");
        let read = |error| Err(unfit("the archive".to_owned(), format!("cannot be read: {error}")));
        let (mut lines, mut count, mut last) = (blake3::Hasher::new(), 0, None::<String>);
        for line in archive.lines() {
            let line = match line {
                Ok(line) => line,
                Err(error) => return read(error),
            };
            if let Some(line) = last.replace(line) {
                lines.update(line.as_bytes()).update(b"\n");
                count += 1;
            }
        }
        self.look_as_owner("check an archive", about, |_, id, _, keys| {
            let bad = |why: &str| Err(unfit("the archive".to_owned(), why.to_owned()));
            let Some(seal) = last.and_then(|line| serde_json::from_str::<Seal>(&line).ok()) else {
                return bad("does not end with the line that the owner signs: it was cut, or is none");
            };
            if seal.archive.store != *id {
                return bad("is of another store");
            }
            if seal.archive.lines != *lines.finalize().as_bytes() {
                return bad("has lines that were changed");
            }
            if !keys.owner.signed(place(ARCHIVE, &[id]), &text_of(&seal.archive)?, &seal.signature) {
                return bad("was not signed with the present key of the owner: it was forged, or is older than a `rekey`");
            }
            Ok(count)
        })
    }
}

fn text_of(bounds: &Bounds) -> Result<Vec<u8>, StoreError> {
    sealed(serde_json::to_vec(bounds).ok())
}

fn write(to: &mut dyn Write, lines: &mut blake3::Hasher, text: &str) -> Result<(), StoreError> {
    lines.update(text.as_bytes()).update(b"\n");
    let written = to.write_all(text.as_bytes()).and_then(|()| to.write_all(b"\n"));
    written.map_err(|error: io::Error| unfit("the archive".to_owned(), format!("cannot be written: {error}")))
}

fn write_base(writing: &Writing<'_>, id: &Id, root: &Key, base: &(Point, Replay)) -> Result<(), StoreError> {
    writing.set_meta(BASE, &sealed(keys::seal(root, nonce()?, place(BASE, &[id]), base))?)
}

/// Seals the summary of the archived entries under another root key.
pub(super) fn renew_base(
    writing: &Writing<'_>,
    id: &Id,
    (root, new_root): (&Key, &Key),
) -> Result<(), StoreError> {
    let base = base(writing, id, root)?;
    if base.0 == Point::NONE { Ok(()) } else { write_base(writing, id, new_root, &base) }
}
