//! Secrets and their versions as rows: sealed when written, opened when read.
//!
//! *Invariant:* a row opens only in its own place: its environment, path and version are part of the seal.

use rusqlite::params;
use serde_json::Map;

use super::audit::Change;
use super::chance::{key, nonce};
use super::error::{StoreError, damaged, sealed};
use super::file::{Reading, Writing};
use super::head::Head;
use super::keys::{Environment, Id, Seed};
use super::path::SecretPath;
use super::proof::{self, Proofs};
use super::seal::{Digest, Key, Place, place};
use super::sign::Signer;
use crate::hex::hex;
use crate::secret::{Fields, Packed, Secret};
use crate::size::weight;

/// The digest that finds a secret. In a row that was written by another program it may have any length.
pub(super) type Row = Vec<u8>;

/// The row of a secret, and its sealed head.
type SealedHead = (Row, Vec<u8>);

/// The head of a secret, if there is one.
///
/// # Errors
/// If it does not open, or was written without the right to it.
pub(super) fn head(
    reading: &Reading<'_>,
    id: &Id,
    environment: &Environment,
    path: &SecretPath,
) -> Result<([u8; 32], Option<Head>), StoreError> {
    let row = environment.row(path.as_str());
    let found = reading.one(
        "SELECT head FROM secrets WHERE environment = ?1 AND row = ?2",
        params![environment.id, row],
        |row| row.get::<_, Vec<u8>>(0),
    )?;
    let Some(found) = found else { return Ok((row, None)) };
    let (head, text) = open_head(id, environment, &row, &found)
        .filter(|(head, _)| head.path == path.as_str())
        .ok_or_else(|| damaged(path.as_str(), "what is known of it does not open"))?;
    if proof::is_written(id, environment, text.expose(), &head.proofs) {
        Ok((row, Some(head)))
    } else {
        Err(StoreError::Forged { what: path.to_string() })
    }
}

/// A head and the text that it was read from.
pub(super) fn open_head(
    id: &Id,
    environment: &Environment,
    row: &[u8],
    sealed: &[u8],
) -> Option<(Head, Secret<Vec<u8>>)> {
    open_head_with(&environment.heads(), id, environment, row, sealed)
}

/// The same, if the key for heads was already derived.
fn open_head_with(
    heads: &Key,
    id: &Id,
    environment: &Environment,
    row: &[u8],
    sealed: &[u8],
) -> Option<(Head, Secret<Vec<u8>>)> {
    let opened = heads.open(place("head", &[id, &environment.id, row]), sealed)?;
    let (proofs, text) = Proofs::split(opened.expose())?;
    let head: Head = serde_json::from_slice(text).ok()?;
    Some((Head { proofs, ..head }, Secret::new(text.to_vec())))
}

pub(super) fn seal_head(
    id: &Id,
    environment: &Environment,
    row: &[u8; 32],
    proofs: &Proofs,
    text: &[u8],
) -> Result<Vec<u8>, StoreError> {
    let parts: [&[u8]; 3] = [id, &environment.id, row];
    sealed(environment.heads().seal(nonce()?, place("head", &parts), &proofs.before(text)))
}

pub(super) fn head_rows(
    reading: &Reading<'_>,
    environment: &Environment,
) -> Result<Vec<SealedHead>, StoreError> {
    reading.all("SELECT row, head FROM secrets WHERE environment = ?1", [environment.id], |row| {
        Ok((row.get::<_, Row>(0)?, row.get::<_, Vec<u8>>(1)?))
    })
}

/// Every head that opens, with or without a valid signature.
///
/// # Errors
/// If one does not open.
pub(super) fn all_heads(
    reading: &Reading<'_>,
    id: &Id,
    environment: &Environment,
) -> Result<Vec<(Row, Head)>, StoreError> {
    open_heads(id, environment, head_rows(reading, environment)?)
}

/// Every head that opens; heads that do not open are left out, because one broken row must not block the others.
pub(super) fn sound_heads(
    reading: &Reading<'_>,
    id: &Id,
    environment: &Environment,
) -> Result<Vec<Head>, StoreError> {
    let heads = environment.heads();
    let rows = head_rows(reading, environment)?.into_iter();
    let open = |(row, sealed): SealedHead| open_head_with(&heads, id, environment, &row, &sealed);
    Ok(rows.filter_map(open).map(|(head, _)| head).collect())
}

/// A head that opens.
pub(super) struct Found {
    pub(super) head: Head,
    pub(super) digest: Digest,
    /// Whether a role with the right to it wrote it.
    pub(super) is_written: bool,
}

/// Visits each head; `None` for one that does not open.
pub(super) fn each_head(
    reading: &Reading<'_>,
    id: &Id,
    environment: &Environment,
    mut visit: impl FnMut(Row, Option<Found>) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let sql = "SELECT row, head FROM secrets WHERE environment = ?1";
    let row = |row: &rusqlite::Row<'_>| Ok((row.get::<_, Row>(0)?, row.get::<_, Vec<u8>>(1)?));
    let heads = environment.heads();
    let signer = environment.write.as_ref().map(|Seed(write)| Signer::new(write));
    let is_written = |text: &[u8], proofs: &Proofs| match &signer {
        Some(signer) => proof::is_what_it_signs(id, environment, signer, text, proofs),
        None => proof::is_written(id, environment, text, proofs),
    };
    reading.each(sql, [environment.id], row, |(row, sealed)| {
        let opened = open_head_with(&heads, id, environment, &row, &sealed);
        visit(
            row,
            opened.map(|(head, text)| Found {
                digest: digest(text.expose()),
                is_written: is_written(text.expose(), &head.proofs),
                head,
            }),
        )
    })
}

/// The digest of a head: of the sealed text, without the signatures beside it.
pub(super) fn digest(text: &[u8]) -> Digest {
    *blake3::hash(text).as_bytes()
}

/// The secrets whose paths begin with this. Only the rows of the innermost folder are opened.
pub(super) fn heads_below(
    reading: &Reading<'_>,
    id: &Id,
    environment: &Environment,
    prefix: &str,
) -> Result<Vec<Head>, StoreError> {
    let heads = match innermost(prefix) {
        None => all_heads(reading, id, environment)?,
        Some(folder) => {
            let sql = "SELECT row, head FROM folders JOIN secrets USING (environment, row) WHERE environment = ?1 AND folder = ?2";
            let params = params![environment.id, environment.folder(folder)];
            let rows =
                reading.all(sql, params, |row| Ok((row.get::<_, Row>(0)?, row.get::<_, Vec<u8>>(1)?)))?;
            open_heads(id, environment, rows)?
        }
    };
    Ok(heads.into_iter().map(|(_, head)| head).filter(|head| head.path.starts_with(prefix)).collect())
}

/// The innermost folder of a prefix; `None` if that is the environment itself.
fn innermost(prefix: &str) -> Option<&str> {
    folders(prefix).last()
}

/// The folders that a path is in, with their slashes. The environment is left out, since it contains everything.
pub(super) fn folders(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').skip(1).map(move |(at, _)| path.get(..=at).unwrap_or_default())
}

/// Writes the folder digests, so that a listing opens only the rows of its own folder.
pub(super) fn write_folders(
    writing: &Writing<'_>,
    environment: &Environment,
    row: &[u8; 32],
    path: &str,
) -> Result<(), StoreError> {
    for folder in folders(path) {
        let params = params![environment.id, environment.folder(folder), row];
        writing.execute("INSERT INTO folders VALUES (?1, ?2, ?3)", params)?;
    }
    Ok(())
}

fn open_heads(
    id: &Id,
    environment: &Environment,
    rows: Vec<SealedHead>,
) -> Result<Vec<(Row, Head)>, StoreError> {
    let heads = environment.heads();
    let open = |(row, sealed): SealedHead| {
        let opened = open_head_with(&heads, id, environment, &row, &sealed);
        let Some((head, _)) = opened else {
            let what = format!("a secret in {} (row {})", environment.name, hex(&row));
            return Err(damaged(&what, "what is known of it does not open"));
        };
        Ok((row, head))
    };
    rows.into_iter().map(open).collect()
}

/// Writes a changed head; returns its state for the audit.
///
/// # Errors
/// If the writer does not have the signing key.
pub(super) fn write_head(
    writing: &Writing<'_>,
    id: &Id,
    environment: &Environment,
    row: &[u8; 32],
    head: &mut Head,
) -> Result<Change, StoreError> {
    let Some(Seed(write)) = &environment.write else { return Err(no_key(&head.path)) };
    if head.serial == 0 {
        write_folders(writing, environment, row, &head.path)?;
    }
    head.serial = head.serial.saturating_add(1);
    writing.execute("UPDATE changes SET count = count + 1", [])?;
    let text = sealed(serde_json::to_vec(head).ok())?;
    head.proofs.head = proof::written(id, environment, write, &text);
    let row_text = seal_head(id, environment, row, &head.proofs, &text)?;
    let sql = "INSERT OR REPLACE INTO secrets VALUES (?1, ?2, ?3)";
    writing.execute(sql, params![environment.id, row, row_text])?;
    let policy = proof::policy_digest(head.policy.as_ref());
    Ok(Change { serial: head.serial, head: digest(&text), policy })
}

/// Signs the policy and the approval of a head that will be written.
///
/// # Errors
/// If the writer does not have the signing key.
pub(super) fn administer(id: &Id, environment: &Environment, head: &mut Head) -> Result<(), StoreError> {
    let admin = environment.admin.as_ref().ok_or_else(|| no_key(&head.path))?;
    head.proofs = proof::administered(id, environment, admin, head);
    Ok(())
}

/// The rights and the keys of a role come from the same grants, so the key has to be there.
fn no_key(path: &str) -> StoreError {
    damaged(path, "the role does not have the key for this right")
}

/// Writes the value of a version of the head, and stores its digest in the head.
pub(super) fn write_value(
    writing: &Writing<'_>,
    id: &Id,
    environment: &Environment,
    (row, head, number): (&[u8; 32], &mut Head, u64),
    text: &[u8],
) -> Result<(), StoreError> {
    let number_bytes = number.to_be_bytes();
    let own = key()?;
    let wrapped = value_place("value key", id, environment, &head.path, &number_bytes);
    let wrapped = sealed(environment.values().seal(nonce()?, wrapped.as_place(), own.expose()))?;
    let value = value_place("value", id, environment, &head.path, &number_bytes);
    let value = sealed(own.seal(nonce()?, value.as_place(), text))?;
    head.note_digest(number, value_digest(&own, &value));
    writing
        .execute(
            "INSERT INTO versions VALUES (?1, ?2, ?3, ?4, ?5)",
            params![environment.id, row, number, wrapped, value],
        )
        .map(drop)
}

/// Made with the value's own key: a sealed value that opened with two keys would have two digests.
fn value_digest(own: &Key, sealed: &[u8]) -> Digest {
    own.derive("value digest").digest(sealed)
}

/// Reads a version of the head.
pub(super) fn read_value(
    reading: &Reading<'_>,
    id: &Id,
    environment: &Environment,
    version: (&[u8], &Head, u64),
) -> Result<Secret<Fields>, StoreError> {
    let text = read_text(reading, id, environment, version)?;
    serde_json::from_slice::<Map<_, _>>(text.expose())
        .map(Secret::new)
        .map_err(|_| does_not_open(&version.1.path, version.2))
}

/// The same for who holds it: its weight is counted before it is read.
pub(super) fn read_packed(
    reading: &Reading<'_>,
    id: &Id,
    environment: &Environment,
    version: (&[u8], &Head, u64),
    max_size: usize,
) -> Result<Packed, StoreError> {
    let text = read_text(reading, id, environment, version)?;
    if weight(text.expose()) > max_size {
        return Err(StoreError::TooHeavy { path: version.1.path.clone(), limit: max_size });
    }
    serde_json::from_slice(text.expose()).map_err(|_| does_not_open(&version.1.path, version.2))
}

fn read_text(
    reading: &Reading<'_>,
    id: &Id,
    environment: &Environment,
    (row, head, number): (&[u8], &Head, u64),
) -> Result<Secret<Vec<u8>>, StoreError> {
    let found = reading.one(
        "SELECT key, value FROM versions WHERE environment = ?1 AND row = ?2 AND number = ?3",
        params![environment.id, row, number],
        |row| Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, Vec<u8>>(1)?)),
    )?;
    let path = &head.path;
    let number_bytes = number.to_be_bytes();
    let own = found.as_ref().and_then(|(wrapped, _)| {
        let place = value_place("value key", id, environment, path, &number_bytes);
        Key::from_opened(&environment.values().open(place.as_place(), wrapped)?)
    });
    let (Some(own), Some((_, value))) = (own, found) else { return Err(does_not_open(path, number)) };
    if head.version(number).is_none_or(|version| version.digest != value_digest(&own, &value)) {
        let why = "another value was put in its place";
        return Err(damaged(&format!("version {number} of {path}"), why));
    }
    let place = value_place("value", id, environment, path, &number_bytes);
    own.open(place.as_place(), &value).ok_or_else(|| does_not_open(path, number))
}

pub(super) fn forget(
    writing: &Writing<'_>,
    environment: &Environment,
    row: &[u8; 32],
    numbers: &[u64],
) -> Result<(), StoreError> {
    for number in numbers {
        writing.execute(
            "DELETE FROM versions WHERE environment = ?1 AND row = ?2 AND number = ?3",
            params![environment.id, row, number],
        )?;
    }
    Ok(())
}

/// The place of a value, or of its key: its path, its environment and its version.
pub(super) struct ValuePlace<'a> {
    kind: &'static str,
    parts: [&'a [u8]; 4],
}

impl ValuePlace<'_> {
    pub(super) fn as_place(&self) -> Place<'_> {
        Place { kind: self.kind, parts: &self.parts }
    }
}

pub(super) fn value_place<'a>(
    kind: &'static str,
    id: &'a Id,
    environment: &'a Environment,
    path: &'a str,
    number: &'a [u8; 8],
) -> ValuePlace<'a> {
    ValuePlace { kind, parts: [id, &environment.id, path.as_bytes(), number] }
}

fn does_not_open(path: &str, number: u64) -> StoreError {
    damaged(&format!("version {number} of {path}"), "it does not open")
}

/// A path that was read in the store.
pub(super) fn parsed(path: &str) -> Result<SecretPath, StoreError> {
    SecretPath::parse(path).map_err(|why| damaged(path, &why))
}
