//! Writes the audit: the next entry, and where the chain ends now.
//!
//! *Invariant:* called in the transaction of what it records.

use std::time::SystemTime;

use rusqlite::params;

use super::audit::{About, Action, Entry, Outcome, Ratchet};
use super::chance::{key, nonce};
use super::error::{StoreError, damaged, sealed};
use super::file::Writing;
use super::keys::{self, Era, Id, Tip};
use super::power::{Keys, meta};
use super::seal::{Key, place};

const TIP: &str = "audit tip";

/// Writes the next entry of the audit, and where the chain ends now.
pub(super) fn record(
    writing: &Writing<'_>,
    id: &Id,
    keys: &Keys,
    action: Action,
    outcome: Outcome,
    about: About,
) -> Result<(), StoreError> {
    let (tip, ratchet) = tip(writing, id, &keys.audit)?;
    let entry = Entry { at: SystemTime::now().into(), who: keys.who.clone(), action, outcome, about };
    let number = tip.number + 1;
    let (text, link) = sealed(ratchet.seal(id, (number, &tip.link), nonce()?, &entry))?;
    writing.execute("INSERT INTO audit VALUES (?1, ?2)", params![number, text])?;
    let next = Key::new(*ratchet.next().state());
    write_tip(writing, id, &keys.audit, &Tip { number, link, state: next })
}

pub(super) fn begin_era(
    writing: &Writing<'_>,
    id: &Id,
    root: &Key,
    audit: &Key,
    (first, before): (u64, [u8; 32]),
) -> Result<(), StoreError> {
    let state = key()?;
    let era = Era { first, before, state: state.clone() };
    let era = sealed(keys::seal(root, nonce()?, place("era", &[id, &first.to_be_bytes()]), &era))?;
    writing.execute("INSERT INTO eras VALUES (?1, ?2)", params![first, era])?;
    write_tip(writing, id, audit, &Tip { number: first - 1, link: before, state })
}

pub(super) fn tip(writing: &Writing<'_>, id: &Id, audit: &Key) -> Result<(Tip, Ratchet), StoreError> {
    let tip: Option<Tip> = keys::open(audit, place(TIP, &[id]), &meta(writing, TIP)?);
    let tip = tip.ok_or_else(|| damaged("the end of the audit", "it does not open"))?;
    let ratchet = Ratchet::new(tip.state.clone());
    Ok((tip, ratchet))
}

pub(super) fn write_tip(writing: &Writing<'_>, id: &Id, audit: &Key, tip: &Tip) -> Result<(), StoreError> {
    let tip = sealed(keys::seal(audit, nonce()?, place(TIP, &[id]), tip))?;
    writing.execute("INSERT OR REPLACE INTO meta VALUES (?1, ?2)", params![TIP, tip]).map(drop)
}
