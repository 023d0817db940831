//! Other keys for an environment, because somebody who has those of before is to have none.
//!
//! *Invariant:* one transaction. What was in the environment is in it afterwards, to the letter; only the keys are others.

use rusqlite::params;

use super::audit::Epoch;
use super::chance::{key, nonce};
use super::error::{StoreError, sealed};
use super::file::Writing;
use super::head::Head;
use super::keys::{self, Environment, Fresh, Id, Seed};
use super::proof::{self, Proofs};
use super::rows::{digest, head_rows, open_head, seal_head, value_place, write_folders};
use super::seal::{Key, place};

/// Other keys for an environment: heads are sealed anew and signed anew, so are the keys of values, and every row is found by another digest.
/// What was there with which serial and digest: for the audit.
///
/// What does not open is left as it is, and what somebody wrote who may not gets no new signature: both stay what they are for whoever
/// reads or verifies them, and neither keeps the owner from taking keys away.
pub(super) fn renew(
    writing: &Writing<'_>,
    id: &Id,
    root: &Key,
    environment: &mut Environment,
) -> Result<Epoch, StoreError> {
    let old = environment.clone();
    *environment = old.renewed(fresh()?);
    write_environment(writing, id, root, environment)?;
    writing.execute("DELETE FROM folders WHERE environment = ?1", [old.id])?;
    let mut heads = Vec::new();
    for (row, sealed_head) in head_rows(writing, &old)? {
        let Some((mut head, text)) = open_head(id, &old, &row, &sealed_head) else { continue };
        let moved = environment.row(&head.path);
        move_values(writing, id, (&old, &*environment), (&row, &moved), &head.path)?;
        write_folders(writing, environment, &moved, &head.path)?;
        head.proofs = renewed_proofs(id, &old, environment, &head, text.expose());
        let again = seal_head(id, environment, &moved, &head.proofs, text.expose())?;
        writing.execute(
            "UPDATE secrets SET row = ?3, head = ?4 WHERE environment = ?1 AND row = ?2",
            params![old.id, row, moved, again],
        )?;
        heads.push((head.path, head.serial, digest(text.expose())));
    }
    heads.sort();
    let heads = super::audit::root(heads.iter().map(|(path, serial, head)| (path.as_str(), *serial, head)));
    Ok(Epoch { environment: old.id, name: old.name, keys: environment.fingerprint(), heads })
}

/// Only what held under the old keys is signed with the new ones.
fn renewed_proofs(id: &Id, old: &Environment, new: &Environment, head: &Head, text: &[u8]) -> Proofs {
    let mut proofs = Proofs::default();
    if let Some(Seed(write)) = new.write.as_ref().filter(|_| proof::is_written(id, old, text, &head.proofs)) {
        proofs.head = proof::written(id, new, write, text);
    }
    if let Some(admin) = &new.admin {
        let signed = proof::administered(id, new, admin, head);
        if proof::has_policy(id, old, head) {
            proofs.policy = signed.policy;
        }
        if proof::has_approval(id, old, head) {
            proofs.approval = signed.approval;
        }
    }
    proofs
}

fn move_values(
    writing: &Writing<'_>,
    id: &Id,
    (old, new): (&Environment, &Environment),
    (row, moved): (&[u8], &[u8; 32]),
    path: &str,
) -> Result<(), StoreError> {
    let sql = "SELECT number, key FROM versions WHERE environment = ?1 AND row = ?2";
    let keys = writing
        .all(sql, params![old.id, row], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?)))?;
    let (from, to) = (old.values(), new.values());
    for (number, wrapped) in keys {
        // As it was written; one below 0 never was, and opens nothing.
        let number_bytes = number.cast_unsigned().to_be_bytes();
        let place = value_place("value key", id, old, path, &number_bytes);
        let again = match from.open(place.as_place(), &wrapped) {
            Some(own) => sealed(to.seal(nonce()?, place.as_place(), own.expose()))?,
            None => wrapped,
        };
        writing.execute(
            "UPDATE versions SET row = ?4, key = ?5 WHERE environment = ?1 AND row = ?2 AND number = ?3",
            params![old.id, row, number, moved, again],
        )?;
    }
    Ok(())
}

/// Keys that nobody had before.
pub(super) fn fresh() -> Result<Fresh, StoreError> {
    Ok(Fresh { data: key()?, write: key()?, admin: key()? })
}

/// An environment's keys, for the owner.
pub(super) fn write_environment(
    writing: &Writing<'_>,
    id: &Id,
    root: &Key,
    environment: &Environment,
) -> Result<(), StoreError> {
    let own = environment.id;
    let keys = sealed(keys::seal(root, nonce()?, place("environment", &[id, &own]), environment))?;
    writing.execute("INSERT OR REPLACE INTO environments VALUES (?1, ?2)", params![own, keys]).map(drop)
}
