//! Secrets and their versions as rows: sealed on the way in, opened on the way out.
//!
//! *Invariant:* a row opens only where it belongs: its environment, its path and its version are in what seals it.

use rusqlite::params;
use serde_json::Map;

use super::chance::{key, nonce};
use super::error::{StoreError, damaged, sealed};
use super::file::Writing;
use super::head::Head;
use super::hex::hex;
use super::keys::{self, Environment, Id};
use super::path::SecretPath;
use super::seal::{Key, Place, place};
use crate::secret::{Fields, Secret};

/// A new data key: heads are sealed anew, and so are the keys of values, and every row is found by another digest.
pub(super) fn rewrap(
    writing: &Writing<'_>,
    id: &Id,
    root: &Key,
    environment: &mut Environment,
) -> Result<(), StoreError> {
    let old = environment.clone();
    environment.data = key()?;
    let keys = sealed(keys::seal(root, nonce()?, place("environment", &[id, &old.id]), &*environment))?;
    writing.execute("UPDATE environments SET sealed = ?2 WHERE id = ?1", params![old.id, keys])?;
    writing.execute("DELETE FROM folders WHERE environment = ?1", [old.id])?;
    for (row, head) in all_heads(writing, id, &old)? {
        let moved = environment.row(&head.path);
        write_folders(writing, environment, &moved, &head.path)?;
        let new_head =
            sealed(keys::seal(&environment.heads(), nonce()?, place("head", &[id, &old.id, &moved]), &head))?;
        writing.execute(
            "UPDATE secrets SET row = ?3, head = ?4 WHERE environment = ?1 AND row = ?2",
            params![old.id, row, moved, new_head],
        )?;
        let numbers = writing.all(
            "SELECT number, key FROM versions WHERE environment = ?1 AND row = ?2",
            params![old.id, row],
            |row| Ok((row.get::<_, u64>(0)?, row.get::<_, Vec<u8>>(1)?)),
        )?;
        for (number, wrapped) in numbers {
            let number_bytes = number.to_be_bytes();
            let place = value_place("value key", id, &old, &head.path, &number_bytes);
            let opened = old
                .values()
                .open(place.as_place(), &wrapped)
                .ok_or_else(|| does_not_open(&head.path, number))?;
            let wrapped = sealed(environment.values().seal(nonce()?, place.as_place(), opened.expose()))?;
            writing.execute(
                "UPDATE versions SET row = ?4, key = ?5 WHERE environment = ?1 AND row = ?2 AND number = ?3",
                params![old.id, row, number, moved, wrapped],
            )?;
        }
    }
    Ok(())
}

pub(super) fn head(
    writing: &Writing<'_>,
    id: &Id,
    environment: &Environment,
    path: &SecretPath,
) -> Result<([u8; 32], Option<Head>), StoreError> {
    let row = environment.row(path.as_str());
    let found = writing.one(
        "SELECT head FROM secrets WHERE environment = ?1 AND row = ?2",
        params![environment.id, row],
        |row| row.get::<_, Vec<u8>>(0),
    )?;
    let Some(found) = found else { return Ok((row, None)) };
    let head = open_head(id, environment, &row, &found);
    let head = head.filter(|head| head.path == path.as_str());
    head.map(|head| (row, Some(head)))
        .ok_or_else(|| damaged(path.as_str(), "what is known of it does not open"))
}

fn open_head(id: &Id, environment: &Environment, row: &[u8; 32], head: &[u8]) -> Option<Head> {
    keys::open(&environment.heads(), place("head", &[id, &environment.id, row]), head)
}

pub(super) fn all_heads(
    writing: &Writing<'_>,
    id: &Id,
    environment: &Environment,
) -> Result<Vec<([u8; 32], Head)>, StoreError> {
    let rows =
        writing.all("SELECT row, head FROM secrets WHERE environment = ?1", [environment.id], |row| {
            Ok((row.get::<_, [u8; 32]>(0)?, row.get::<_, Vec<u8>>(1)?))
        })?;
    open_heads(id, environment, rows)
}

/// Those whose paths begin so. Only the rows of the innermost folder are opened.
pub(super) fn heads_below(
    writing: &Writing<'_>,
    id: &Id,
    environment: &Environment,
    prefix: &str,
) -> Result<Vec<Head>, StoreError> {
    let heads = match innermost(prefix) {
        None => all_heads(writing, id, environment)?,
        Some(folder) => {
            let sql = "SELECT row, head FROM folders JOIN secrets USING (environment, row) WHERE environment = ?1 AND folder = ?2";
            let params = params![environment.id, environment.folder(folder)];
            let rows = writing
                .all(sql, params, |row| Ok((row.get::<_, [u8; 32]>(0)?, row.get::<_, Vec<u8>>(1)?)))?;
            open_heads(id, environment, rows)?
        }
    };
    Ok(heads.into_iter().map(|(_, head)| head).filter(|head| head.path.starts_with(prefix)).collect())
}

/// The innermost folder of a prefix; `None` where that is the environment itself.
fn innermost(prefix: &str) -> Option<&str> {
    folders(prefix).last()
}

/// The folders that a path is in, with their slashes, the environment left out: that has all.
pub(super) fn folders(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').skip(1).map(move |(at, _)| path.get(..=at).unwrap_or_default())
}

/// So that a folder is listed without opening all that is in other ones.
fn write_folders(
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
    rows: Vec<([u8; 32], Vec<u8>)>,
) -> Result<Vec<([u8; 32], Head)>, StoreError> {
    let heads = environment.heads();
    let open = |(row, sealed): ([u8; 32], Vec<u8>)| {
        let head = keys::open(&heads, place("head", &[id, &environment.id, &row]), &sealed);
        let what = || format!("a secret in {} (row {})", environment.name, hex(&row));
        head.map(|head| (row, head)).ok_or_else(|| damaged(&what(), "what is known of it does not open"))
    };
    rows.into_iter().map(open).collect()
}

pub(super) fn write_head(
    writing: &Writing<'_>,
    id: &Id,
    environment: &Environment,
    row: &[u8; 32],
    head: &mut Head,
) -> Result<(), StoreError> {
    if head.serial == 0 {
        write_folders(writing, environment, row, &head.path)?;
    }
    head.serial += 1;
    writing.execute("UPDATE changes SET count = count + 1", [])?;
    let parts: [&[u8]; 3] = [id, &environment.id, row];
    let text = sealed(keys::seal(&environment.heads(), nonce()?, place("head", &parts), head))?;
    writing
        .execute("INSERT OR REPLACE INTO secrets VALUES (?1, ?2, ?3)", params![environment.id, row, text])
        .map(drop)
}

pub(super) fn write_value(
    writing: &Writing<'_>,
    id: &Id,
    environment: &Environment,
    (row, path, number): (&[u8; 32], &SecretPath, u64),
    text: &[u8],
) -> Result<(), StoreError> {
    let number_bytes = number.to_be_bytes();
    let own = key()?;
    let wrapped = value_place("value key", id, environment, path.as_str(), &number_bytes);
    let wrapped = sealed(environment.values().seal(nonce()?, wrapped.as_place(), own.expose()))?;
    let value = value_place("value", id, environment, path.as_str(), &number_bytes);
    let value = sealed(own.seal(nonce()?, value.as_place(), text))?;
    writing
        .execute(
            "INSERT INTO versions VALUES (?1, ?2, ?3, ?4, ?5)",
            params![environment.id, row, number, wrapped, value],
        )
        .map(drop)
}

pub(super) fn read_value(
    writing: &Writing<'_>,
    id: &Id,
    environment: &Environment,
    (row, path, number): (&[u8; 32], &SecretPath, u64),
) -> Result<Secret<Fields>, StoreError> {
    let found = writing.one(
        "SELECT key, value FROM versions WHERE environment = ?1 AND row = ?2 AND number = ?3",
        params![environment.id, row, number],
        |row| Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, Vec<u8>>(1)?)),
    )?;
    let number_bytes = number.to_be_bytes();
    let opened = found.and_then(|(wrapped, value)| {
        let place = value_place("value key", id, environment, path.as_str(), &number_bytes);
        let own = Key::from_opened(&environment.values().open(place.as_place(), &wrapped)?)?;
        let place = value_place("value", id, environment, path.as_str(), &number_bytes);
        let text = own.open(place.as_place(), &value)?;
        serde_json::from_slice::<Map<_, _>>(text.expose()).ok()
    });
    opened.map(Secret::new).ok_or_else(|| does_not_open(path.as_str(), number))
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

/// Where a value, or its key, belongs: its path, its environment and its version.
struct ValuePlace<'a> {
    kind: &'static str,
    parts: [&'a [u8]; 4],
}

impl ValuePlace<'_> {
    fn as_place(&self) -> Place<'_> {
        Place { kind: self.kind, parts: &self.parts }
    }
}

fn value_place<'a>(
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
