//! Gives an environment new keys, because a holder of the old ones lost the right to them.
//!
//! *Invariant:* one transaction. The contents of the environment stay the same to the letter; only the keys change.

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

/// Gives an environment new keys: heads are sealed and signed anew, the keys of values are sealed anew, and every row is found by another
/// digest. Returns the serial and digest of each head, for the audit.
///
/// A row that does not open is left as it is. A head that was written without the right to it gets no new signature. Both stay what they
/// are for readers and for `verify`, and neither keeps the owner from revoking keys.
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

/// A head is signed with the new keys only if its old signature was valid.
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
        // The number as it was written; one below 0 was never written by a store, and opens nothing.
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

/// New keys.
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
