//! Reads the audit, entry after entry.
//!
//! *Invariant:* only reads, and stops where the chain is broken: entries after that place prove nothing.

use std::collections::BTreeMap;

use super::audit::{Entry, Spot};
use super::error::{StoreError, damaged};
use super::file::Reading;
use super::keys::{self, Id, Writer};
use super::replay::Replay;
use super::report::Finding;
use super::roles::writers;
use super::seal::{Key, place};
use crate::chain::BEFORE_ALL;
use crate::chain::Point;
use crate::ordered::Order as _;

/// The row with the summary of the entries that are in an archive.
pub(super) const BASE: &str = "audit base";

/// An entry that was read.
pub(super) struct Visited<'a> {
    pub(super) at: Point,
    pub(super) writer: Id,
    pub(super) who: &'a str,
    pub(super) entry: Entry,
}

/// How far a walk came.
pub(super) struct Walked {
    /// The last entry that was read.
    pub(super) end: Point,
    /// The number of entries that were read.
    pub(super) count: u64,
    /// Where the chain is broken.
    pub(super) broken: Option<Finding>,
}

/// The summary of the entries that were pruned, and the last of them.
pub(super) fn base(reading: &Reading<'_>, id: &Id, root: &Key) -> Result<(Point, Replay), StoreError> {
    let row =
        reading.one("SELECT value FROM meta WHERE name = ?1", [BASE], |row| row.get::<_, Vec<u8>>(0))?;
    let Some(row) = row else { return Ok((Point { number: 0, link: BEFORE_ALL }, Replay::default())) };
    keys::open(root, place(BASE, &[id]), &row)
        .ok_or_else(|| damaged("what the archived audit came to", "it does not open"))
}

/// Opens every entry after this one, in order.
pub(super) fn walk(
    reading: &Reading<'_>,
    id: &Id,
    root: &Key,
    from: Point,
    mut visit: impl FnMut(Visited<'_>) -> Result<(), StoreError>,
) -> Result<Walked, StoreError> {
    let known: BTreeMap<Id, Writer> = writers(reading, id, root)?.into_iter().ordered();
    let row = |row: &rusqlite::Row<'_>| {
        Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?, row.get::<_, Vec<u8>>(2)?))
    };
    let mut walked = Walked { end: from, count: 0, broken: None };
    let sql = "SELECT number, writer, sealed FROM audit ORDER BY number";
    reading.each(sql, [], row, |(number, writer, sealed)| {
        if walked.broken.is_some() {
            return Ok(());
        }
        let expected = walked.end.number.saturating_add(1);
        let mut broken = |why: &str| {
            let finding = Finding { place: format!("audit entry {expected}"), why: why.to_owned() };
            walked.broken = Some(finding);
            Ok(())
        };
        if u64::try_from(number) != Ok(expected) {
            return broken("it is not there");
        }
        let Some((writer, Writer { name, key })) =
            Id::try_from(writer).ok().and_then(|writer| Some((writer, known.get(&writer)?)))
        else {
            return broken("its writer is unknown");
        };
        let spot = Spot { store: id, number: expected, before: &walked.end.link, writer: &writer };
        let Some(entry) = spot.open(key, &sealed) else {
            return broken("it, or the entry before it, was edited, moved, or is of somebody else");
        };
        let at = Point { number: expected, link: spot.link(&sealed) };
        (walked.end, walked.count) = (at, walked.count + 1);
        visit(Visited { at, writer, who: name, entry })
    })?;
    Ok(walked)
}
