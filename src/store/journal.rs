//! Writes the audit, entry after entry, and walks it.
//!
//! *Invariant:* an entry is written in the transaction of what it records.

use std::time::SystemTime;

use rusqlite::params;

use super::audit::{About, Action, BEFORE_ALL, Entry, Outcome, Ratchet, Subject};
use super::chance::{key, nonce};
use super::error::{StoreError, damaged, sealed};
use super::file::Writing;
use super::keys::{self, Environment, Era, Id, Tip};
use super::power::{Keys, meta};
use super::report::Finding;
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

/// Opens every entry in its turn, with the secret that it is about: how many they are, and where the chain is broken.
pub(super) fn walk(
    writing: &Writing<'_>,
    id: &Id,
    root: &Key,
    environments: &[Environment],
    mut visit: impl FnMut(u64, Entry, Option<Subject>),
) -> Result<(u64, Option<Finding>), StoreError> {
    let row = |row: &rusqlite::Row<'_>| Ok((row.get::<_, u64>(0)?, row.get::<_, Vec<u8>>(1)?));
    let eras = writing.all("SELECT first, sealed FROM eras ORDER BY first", [], row)?;
    let entries = writing.all("SELECT number, sealed FROM audit ORDER BY number", [], row)?;
    let mut eras = eras.into_iter().peekable();
    let (mut ratchet, mut link, mut count) = (None, BEFORE_ALL, 0);
    let broken = |number: u64, why: &str| {
        Some(Finding { place: format!("audit entry {number}"), why: why.to_owned() })
    };
    for (expected, (number, sealed)) in (1..).zip(entries) {
        if number != expected {
            return Ok((count, broken(expected, "it is not there")));
        }
        if let Some((_, era)) = eras.next_if(|(first, _)| *first == number) {
            let era: Option<Era> = keys::open(root, place("era", &[id, &number.to_be_bytes()]), &era);
            let Some(era) = era.filter(|era| era.before == link && era.first == number) else {
                let why = "the era that begins with it does not follow the one before";
                return Ok((count, broken(number, why)));
            };
            ratchet = Some(Ratchet::new(era.state));
        }
        let Some(now) = &ratchet else { return Ok((count, broken(number, "no era begins with it"))) };
        let Some(entry) = now.open(id, (number, &link), &sealed) else {
            let why = "it was edited, or is of another place, or the one before it is";
            return Ok((count, broken(number, why)));
        };
        link = super::audit::link(number, &link, &sealed);
        ratchet = Some(now.next());
        count += 1;
        let subject = subject(id, environments, &entry.about);
        visit(number, entry, subject);
    }
    Ok((count, None))
}

fn subject(id: &Id, environments: &[Environment], about: &About) -> Option<Subject> {
    let About::Secret { environment, sealed } = about else { return None };
    let known = environments.iter().find(|known| known.id == *environment)?;
    keys::open(&known.journal, place("subject", &[id, environment]), sealed)
}
