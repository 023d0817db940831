//! Writes the audit, entry after entry, and follows the entries of others.
//!
//! *Invariant:* an entry is written in the transaction of the action that it records. No operation is done on a store whose audit does not
//! continue from the entry that was seen.

use std::cmp::Ordering;
use std::time::SystemTime;

use rusqlite::params;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::audit::{About, Action, Entry, Outcome, Spot};
use super::chance::nonce;
use super::charter::charter;
use super::error::{StoreError, damaged, sealed};
use super::file::{Reading, Writing};
use super::keys::{self, Era, Id, Tip};
use super::power::{Keys, TIP};
use super::seal::{Key, place};
use super::sign::{Public, SIGNATURE, Signature, sign};
use crate::chain::Link;
use crate::chain::Point;

/// The rows that the owner signs: the present era, if it is not the first, and the last entry that is in an archive.
const ERA: &str = "era";
const PRUNED: &str = "pruned";

/// Writes the next entry of the audit, and the new end of the chain.
pub(super) fn record(
    writing: &Writing<'_>,
    id: &Id,
    keys: &Keys,
    action: Action,
    outcome: Outcome,
    about: About,
) -> Result<(), StoreError> {
    let tip = keys.tip.get();
    let entry = Entry { at: SystemTime::now().into(), action, outcome, about };
    // A role may have written any number there.
    let number = tip.number.checked_add(1).filter(|number| i64::try_from(*number).is_ok());
    let number =
        number.ok_or_else(|| damaged("the end of the audit", "it has a number that no entry can have"))?;
    let spot = Spot { store: id, number, before: &tip.link, writer: &keys.writer };
    let (text, link) = sealed(spot.seal(&keys.writer_key, nonce()?, &entry))?;
    writing.execute("INSERT INTO audit VALUES (?1, ?2, ?3)", params![number, keys.writer, text])?;
    write_tip(writing, id, keys, Tip { number, link, ..tip })
}

pub(super) fn write_tip(writing: &Writing<'_>, id: &Id, keys: &Keys, tip: Tip) -> Result<(), StoreError> {
    let text = sealed(keys::seal(&keys.tip_key, nonce()?, place(TIP, &[id]), &tip))?;
    writing.set_meta(TIP, &text)?;
    keys.tip.set(tip);
    Ok(())
}

/// Binds the present rows that hold keys to the end of the audit.
pub(super) fn bind_keys(writing: &Writing<'_>, id: &Id, keys: &Keys) -> Result<(), StoreError> {
    write_tip(writing, id, keys, Tip { keys: charter(writing)?, ..keys.tip.get() })
}

/// Checks that the rows that hold keys are those that are bound to the end of the audit.
pub(super) fn check_keys(reading: &Reading<'_>, keys: &Keys) -> Result<(), StoreError> {
    if charter(reading)? == keys.tip.get().keys {
        return Ok(());
    }
    let why = "an earlier or another row of an environment or a role was put in its place";
    Err(damaged("who has which keys", why))
}

/// Checks that the audit continues from the entry that was seen, by following the links of all entries since.
pub(super) fn follow(
    reading: &Reading<'_>,
    id: &Id,
    keys: &Keys,
    seen: Option<Tip>,
) -> Result<(), StoreError> {
    let now = keys.tip.get();
    let Some(seen) = seen else { return era(reading, id, &keys.owner, now.era).map(drop) };
    if (now.era, now.number, now.link) == (seen.era, seen.number, seen.link) {
        return Ok(());
    }
    let from = match now.era.cmp(&seen.era) {
        Ordering::Equal => Point { number: seen.number, link: seen.link },
        Ordering::Greater => era(reading, id, &keys.owner, now.era)?.after,
        Ordering::Less => {
            return Err(rolled_back(format!("its era is {}, and {} was seen", now.era, seen.era)));
        }
    };
    if now.number < from.number {
        let why = format!("its audit ends with entry {}, and entry {} was seen", now.number, from.number);
        return Err(rolled_back(why));
    }
    let start = match pruned(reading, id, &keys.owner)? {
        Some(pruned) if pruned.number > from.number => pruned,
        Some(_) | None => from,
    };
    if chain(reading, id, start, now.number)? == now.link {
        Ok(())
    } else {
        Err(rolled_back(format!("its audit does not continue from entry {}, which was seen", from.number)))
    }
}

/// The link after entry `last`, computed from another link on.
pub(super) fn chain(reading: &Reading<'_>, id: &Id, from: Point, last: u64) -> Result<Link, StoreError> {
    let Point { mut number, mut link } = from;
    let sql = "SELECT writer, sealed FROM audit WHERE number > ?1 AND number <= ?2 ORDER BY number";
    let row = |row: &rusqlite::Row<'_>| Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, Vec<u8>>(1)?));
    reading.each(sql, params![from.number, last], row, |(writer, sealed)| {
        // A number that is left out gives another link, too.
        number = number.saturating_add(1);
        let writer = Id::try_from(writer)
            .map_err(|_| damaged("the audit", "the writer of an entry is no valid id"))?;
        link = Spot { store: id, number, before: &link, writer: &writer }.link(&sealed);
        Ok(())
    })?;
    Ok(link)
}

fn rolled_back(why: String) -> StoreError {
    StoreError::RolledBack { why }
}

/// Begins an era after the last entry.
pub(super) fn begin_era(
    writing: &Writing<'_>,
    id: &Id,
    keys: &Keys,
    era: u64,
    signing: &Key,
) -> Result<(), StoreError> {
    let tip = keys.tip.get();
    write_tip(writing, id, keys, Tip { era, ..tip })?;
    let after = Point { number: tip.number, link: tip.link };
    write_signed(writing, id, ERA, &Era { era, after }, signing)
}

/// Notes that everything up to this entry is in an archive, and no longer here.
pub(super) fn note_pruned(
    writing: &Writing<'_>,
    id: &Id,
    up_to: &Point,
    signing: &Key,
) -> Result<(), StoreError> {
    write_signed(writing, id, PRUNED, up_to, signing)
}

/// Signs with another key everything that the owner signed.
pub(super) fn sign_anew(
    writing: &Writing<'_>,
    id: &Id,
    (owner, now): (&Public, Tip),
    signing: &Key,
) -> Result<(), StoreError> {
    if now.era > 0 {
        write_signed(writing, id, ERA, &era(writing, id, owner, now.era)?, signing)?;
    }
    match pruned(writing, id, owner)? {
        Some(pruned) => write_signed(writing, id, PRUNED, &pruned, signing),
        None => Ok(()),
    }
}

/// The era of this number, if the owner signed it.
fn era(reading: &Reading<'_>, id: &Id, owner: &Public, number: u64) -> Result<Era, StoreError> {
    if number == 0 {
        return Ok(Era { era: 0, after: Point::NONE });
    }
    let era: Option<Era> = read_signed(reading, id, ERA, owner)?;
    era.filter(|era| era.era == number)
        .ok_or_else(|| damaged("the era", "it is not one that the owner signed"))
}

/// The last entry that was pruned, if any was.
pub(super) fn pruned(reading: &Reading<'_>, id: &Id, owner: &Public) -> Result<Option<Point>, StoreError> {
    read_signed(reading, id, PRUNED, owner)
}

fn write_signed<T: Serialize>(
    writing: &Writing<'_>,
    id: &Id,
    name: &'static str,
    what: &T,
    signing: &Key,
) -> Result<(), StoreError> {
    let text = sealed(serde_json::to_vec(what).ok())?;
    let signature = sign(signing, place(name, &[id]), &text);
    writing.set_meta(name, &[signature.as_slice(), &text].concat())
}

fn read_signed<T: DeserializeOwned>(
    reading: &Reading<'_>,
    id: &Id,
    name: &'static str,
    owner: &Public,
) -> Result<Option<T>, StoreError> {
    let row =
        reading.one("SELECT value FROM meta WHERE name = ?1", [name], |row| row.get::<_, Vec<u8>>(0))?;
    let Some(row) = row else { return Ok(None) };
    let signed = row.split_first_chunk::<SIGNATURE>().and_then(|(signature, text): (&Signature, _)| {
        let holds = owner.signed(place(name, &[id]), text, signature);
        serde_json::from_slice(text).ok().filter(|_| holds)
    });
    signed.map(Some).ok_or_else(|| damaged(name, "the owner did not sign it"))
}
