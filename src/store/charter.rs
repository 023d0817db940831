//! A digest of all rows that say who has which keys.
//!
//! The end of the audit contains it, and only holders of the present keys can write that end. If somebody whose keys were revoked puts back
//! the row of an environment or a role, the row does not match the digest.
//!
//! *Invariant:* only reads. The number of log-ins of a role is not part of the digest, because it changes with every log-in.

use rusqlite::Row;

use super::error::StoreError;
use super::file::Reading;
use super::seal::Digest;

const ROWS: [&str; 4] = [
    "SELECT CAST(name AS BLOB), value, x'', x'', x'' FROM meta WHERE name IN ('root', 'owner', 'passphrase') ORDER BY name",
    "SELECT id, sealed, x'', x'', x'' FROM environments ORDER BY id",
    "SELECT id, salt, CAST(cost AS BLOB), sealed, record FROM roles ORDER BY id",
    "SELECT id, sealed, x'', x'', x'' FROM writers ORDER BY id",
];

/// The digest of the present rows.
pub(super) fn charter(reading: &Reading<'_>) -> Result<Digest, StoreError> {
    let mut hasher = blake3::Hasher::new();
    for (table, sql) in (0_u8..).zip(ROWS) {
        hasher.update(&[table]);
        reading.each(sql, [], cells, |cells| {
            for cell in cells {
                hasher.update(&(cell.len() as u64).to_be_bytes()).update(&cell);
            }
            Ok(())
        })?;
        hasher.update(&u64::MAX.to_be_bytes());
    }
    Ok(*hasher.finalize().as_bytes())
}

fn cells(row: &Row<'_>) -> rusqlite::Result<[Vec<u8>; 5]> {
    Ok([row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?])
}
