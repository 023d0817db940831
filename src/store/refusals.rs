//! Counts refused log-ins, since a refused caller has no key to write into the audit.
//!
//! Anybody who may write the file may edit the counts. They show the tries of callers who can only ask.
//!
//! *Invariant:* cheap and bounded: no wait for the disk, a limited number of rows, and no part that a refused caller could choose.

use std::path::Path;
use std::time::SystemTime;

use rusqlite::params;

use super::error::StoreError;
use super::file::{File, Reading};
use super::keys::Id;
use super::moment::Moment;
use crate::hex::hex;

/// The largest number of rows, one for each minute and role.
const KEPT: usize = 500;

/// Refused log-ins of one minute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// When the minute began.
    pub at: Moment,
    /// The id of the role, `owner`, or nothing if there is no such role.
    pub who: Option<String>,
    /// The number of log-ins.
    pub count: u64,
}

/// Counts one.
pub(super) fn note(path: &Path, who: &[u8]) -> Result<(), StoreError> {
    let mut file = File::open(path)?;
    file.careless()?;
    let writing = file.write()?;
    let minute = Moment::from(SystemTime::now()).millis() / 60_000;
    let sql = "INSERT INTO refused VALUES (?1, ?2, 1) ON CONFLICT DO UPDATE SET count = count + 1";
    writing.execute(sql, params![minute, who])?;
    let kept = "DELETE FROM refused WHERE (minute, role) NOT IN (SELECT minute, role FROM refused ORDER BY minute DESC LIMIT ?1)";
    if writing.one("SELECT count(*) FROM refused", [], |row| row.get::<_, usize>(0))? > Some(KEPT) {
        writing.execute(kept, [KEPT])?;
    }
    writing.commit()
}

/// All counts, the oldest first.
pub(super) fn all(reading: &Reading<'_>) -> Result<Vec<Refused>, StoreError> {
    reading.all("SELECT minute, role, count FROM refused ORDER BY minute, role", [], |row| {
        let (minute, role, count): (i64, Vec<u8>, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let minute = u64::try_from(minute).unwrap_or_default();
        Ok(Refused {
            at: Moment::from_millis(minute.saturating_mul(60_000)),
            who: match Id::try_from(role.as_slice()) {
                Ok(id) => Some(hex(&id)),
                Err(_) if role == super::power::OWNER.as_bytes() => Some(super::power::OWNER.to_owned()),
                Err(_) => None,
            },
            count: u64::try_from(count).unwrap_or_default(),
        })
    })
}
