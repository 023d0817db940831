//! The database: opened, made, and asked in transactions.
//!
//! *Invariant:* nothing but `SQLite` opens the file while it is open. A transaction is written whole or not at all, and is on disk when it is reported as done.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{
    Connection, ErrorCode, OpenFlags, OptionalExtension, Params, Transaction, TransactionBehavior,
};
use rustix::fs::{StatVfsMountFlags, statvfs};

use super::StoreError;

/// "sqr1", so that other `SQLite` files are told from stores.
const APPLICATION: i64 = 0x7371_7231;

/// The format that this code writes.
const FORMAT: i64 = 1;

/// How long another process may take to finish what it writes.
const PATIENCE: Duration = Duration::from_secs(10);

const SCHEMA: &str = "
    CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID, STRICT;
    CREATE TABLE environments (id BLOB PRIMARY KEY, sealed BLOB NOT NULL) WITHOUT ROWID, STRICT;
    CREATE TABLE roles (
        id BLOB PRIMARY KEY, salt BLOB NOT NULL, cost TEXT NOT NULL, sealed BLOB NOT NULL, record BLOB NOT NULL,
        uses INTEGER NOT NULL
    ) WITHOUT ROWID, STRICT;
    CREATE TABLE secrets (
        environment BLOB NOT NULL, row BLOB NOT NULL, head BLOB NOT NULL, PRIMARY KEY (environment, row)
    ) WITHOUT ROWID, STRICT;
    CREATE TABLE folders (
        environment BLOB NOT NULL, folder BLOB NOT NULL, row BLOB NOT NULL, PRIMARY KEY (environment, folder, row)
    ) WITHOUT ROWID, STRICT;
    CREATE TABLE versions (
        environment BLOB NOT NULL, row BLOB NOT NULL, number INTEGER NOT NULL, key BLOB NOT NULL, value BLOB NOT NULL,
        PRIMARY KEY (environment, row, number)
    ) STRICT;
    CREATE TABLE audit (number INTEGER PRIMARY KEY, sealed BLOB NOT NULL) STRICT;
    CREATE TABLE changes (count INTEGER NOT NULL) STRICT;
    INSERT INTO changes VALUES (0);
    CREATE TABLE eras (first INTEGER PRIMARY KEY, sealed BLOB NOT NULL) STRICT;
";

/// An open database.
#[derive(Debug)]
pub(super) struct File {
    connection: Connection,
}

/// A transaction that writes, and has nobody beside it.
pub(super) struct Writing<'a> {
    transaction: Transaction<'a>,
}

impl File {
    /// Makes a new one, for its owner alone; `fill` writes what it begins with.
    pub(super) fn make(
        path: &Path,
        fill: impl FnOnce(&Writing<'_>) -> Result<(), StoreError>,
    ) -> Result<Self, StoreError> {
        let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        made.map_err(|source| {
            let there = path.to_owned();
            if source.kind() == std::io::ErrorKind::AlreadyExists {
                StoreError::Exists { file: there }
            } else {
                StoreError::Io { doing: "make", file: there, source }
            }
        })?;
        let filled = (|| {
            let mut made = Self::connect(path)?;
            let format = format!("PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {FORMAT};");
            let writing = made.write()?;
            writing
                .transaction
                .execute_batch(&format!("{format}{SCHEMA}"))
                .map_err(failed("make the tables"))?;
            fill(&writing)?;
            writing.commit()?;
            Ok(made)
        })();
        if filled.is_err() {
            // Half of a store is none.
            for path in [path.to_owned(), beside(path, "-wal"), beside(path, "-shm")] {
                fs::remove_file(path).ok();
            }
        }
        filled
    }

    /// Opens one that is there.
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        if !path.exists() {
            return Err(StoreError::NotThere { file: path.to_owned() });
        }
        let file = Self::connect(path)?;
        let pragma = |name: &str| -> Result<i64, rusqlite::Error> {
            file.connection.query_row(&format!("PRAGMA {name}"), [], |row| row.get(0))
        };
        let format =
            pragma("application_id").and_then(|application| Ok((application, pragma("user_version")?)));
        match format {
            Ok((APPLICATION, FORMAT)) => Ok(file),
            Ok((APPLICATION, found)) if found > FORMAT => {
                Err(StoreError::Newer { file: path.to_owned(), found, known: FORMAT })
            }
            Ok(_) => Err(StoreError::NotAStore { file: path.to_owned() }),
            Err(error) => Err(not_a_store(path, error)),
        }
    }

    fn connect(path: &Path) -> Result<Self, StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(failed("open the store"))?;
        connection.busy_timeout(PATIENCE).map_err(failed("open the store"))?;
        // Nothing of a transaction may be lost once it was reported; the file beside it may not grow without end.
        let pragmas = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA secure_delete = ON; PRAGMA temp_store = MEMORY;";
        connection.execute_batch(pragmas).map_err(|error| not_a_store(path, error))?;
        Ok(Self { connection })
    }

    /// Begins to write; waits while somebody else does.
    pub(super) fn write(&mut self) -> Result<Writing<'_>, StoreError> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate);
        Ok(Writing { transaction: transaction.map_err(failed("begin to write"))? })
    }

    /// How often secrets were changed.
    pub(super) fn changes(&self) -> Result<u64, StoreError> {
        let doing = "look at the store";
        let mut statement =
            self.connection.prepare_cached("SELECT count FROM changes").map_err(failed(doing))?;
        statement.query_row([], |row| row.get(0)).map_err(failed(doing))
    }

    /// What `SQLite` itself finds wrong.
    pub(super) fn integrity(&self) -> Result<Vec<String>, StoreError> {
        let doing = "check the file";
        let mut statement = self.connection.prepare("PRAGMA integrity_check(20)").map_err(failed(doing))?;
        let rows = statement.query_map([], |row| row.get::<_, String>(0)).map_err(failed(doing))?;
        let found: Result<Vec<_>, _> = rows.collect();
        Ok(found.map_err(failed(doing))?.into_iter().filter(|line| line != "ok").collect())
    }
}

impl Writing<'_> {
    /// Writes it.
    pub(super) fn commit(self) -> Result<(), StoreError> {
        self.transaction.commit().map_err(failed("write"))
    }

    /// Changes rows: how many.
    pub(super) fn execute(&self, sql: &str, params: impl Params) -> Result<usize, StoreError> {
        let mut statement = self.transaction.prepare_cached(sql).map_err(failed("write"))?;
        statement.execute(params).map_err(failed("write"))
    }

    /// The first row, if there is one.
    pub(super) fn one<T>(
        &self,
        sql: &str,
        params: impl Params,
        row: impl FnOnce(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, StoreError> {
        let mut statement = self.transaction.prepare_cached(sql).map_err(failed("read"))?;
        statement.query_row(params, row).optional().map_err(failed("read"))
    }

    /// Every row.
    pub(super) fn all<T>(
        &self,
        sql: &str,
        params: impl Params,
        row: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, StoreError> {
        let mut statement = self.transaction.prepare_cached(sql).map_err(failed("read"))?;
        let rows = statement.query_map(params, row).map_err(failed("read"))?;
        rows.collect::<Result<_, _>>().map_err(failed("read"))
    }
}

/// While it is opened, a file that is no database is no store either.
fn not_a_store(path: &Path, error: rusqlite::Error) -> StoreError {
    // Asked without opening it: to close a descriptor of it would take off every lock that SQLite has there.
    let is_read_only = || statvfs(path).is_ok_and(|found| found.f_flag.contains(StatVfsMountFlags::RDONLY));
    let error = failed("open the store")(error);
    if matches!(error, StoreError::Damaged { .. }) {
        StoreError::NotAStore { file: path.to_owned() }
    } else if matches!(error, StoreError::Sqlite { .. }) && is_read_only() {
        // SQLite cannot make its files beside it.
        StoreError::ReadOnly
    } else {
        error
    }
}

/// The files that `SQLite` keeps beside one.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// What the database said, in our words.
pub(super) fn failed(doing: &'static str) -> impl Fn(rusqlite::Error) -> StoreError {
    move |source| match source.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => StoreError::Full,
        Some(ErrorCode::ReadOnly) => StoreError::ReadOnly,
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            StoreError::Busy { seconds: PATIENCE.as_secs() }
        }
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
            StoreError::Damaged { place: "the file".to_owned(), why: source.to_string() }
        }
        _ => StoreError::Sqlite { doing, source },
    }
}
