//! The database: opens it, makes it, and runs transactions.
//!
//! *Invariant:* nothing but `SQLite` opens the file while it is open. A transaction is written whole or not at all, and is on disk when it is reported as done.

use std::fs::{self, OpenOptions};
use std::ops::Deref;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{
    Connection, ErrorCode, OpenFlags, OptionalExtension, Params, Transaction, TransactionBehavior, params,
};
use rustix::fs::{StatVfsMountFlags, statvfs};

use super::error::{StoreError, damaged};

/// "sqr1", which tells stores from other `SQLite` files.
const APPLICATION: i64 = 0x7371_7231;

/// The format that this code writes.
const FORMAT: i64 = 2;

/// How long to wait for another process to finish its write.
const PATIENCE: Duration = Duration::from_secs(10);

/// How soon to try again to empty the `-wal` while another process reads it.
const AGAIN: Duration = Duration::from_millis(10);

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
    CREATE TABLE audit (number INTEGER PRIMARY KEY, writer BLOB NOT NULL, sealed BLOB NOT NULL) STRICT;
    CREATE TABLE writers (id BLOB PRIMARY KEY, sealed BLOB NOT NULL) WITHOUT ROWID, STRICT;
    CREATE TABLE refused (
        minute INTEGER NOT NULL, role BLOB NOT NULL, count INTEGER NOT NULL, PRIMARY KEY (minute, role)
    ) WITHOUT ROWID, STRICT;
    CREATE TABLE changes (count INTEGER NOT NULL) STRICT;
    INSERT INTO changes VALUES (0);
";

/// An open database.
#[derive(Debug)]
pub(super) struct File {
    connection: Connection,
}

/// A transaction that reads: it sees the store as it was when it began, and blocks no writer.
pub(super) struct Reading<'a> {
    transaction: Transaction<'a>,
}

/// A transaction that also writes; there is only one such at a time.
pub(super) struct Writing<'a>(Reading<'a>);

impl<'a> Deref for Writing<'a> {
    type Target = Reading<'a>;

    fn deref(&self) -> &Reading<'a> {
        &self.0
    }
}

impl File {
    /// Makes a new database that only its owner may read; `fill` writes its first content.
    pub(super) fn make(
        path: &Path,
        fill: impl FnOnce(&Writing<'_>) -> Result<(), StoreError>,
    ) -> Result<Self, StoreError> {
        drop(make_private(path)?);
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
            // A store that is only half made is removed.
            for path in [path.to_owned(), beside(path, "-wal"), beside(path, "-shm")] {
                fs::remove_file(path).ok();
            }
        }
        filled
    }

    /// Opens an existing database.
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
            Ok((APPLICATION, found)) if found > 0 => {
                Err(StoreError::Older { file: path.to_owned(), found, known: FORMAT })
            }
            Ok(_) => Err(StoreError::NotAStore { file: path.to_owned() }),
            Err(error) => Err(not_a_store(path, error)),
        }
    }

    /// Opens an empty file, whose content another file will replace.
    pub(super) fn blank(path: &Path) -> Result<Self, StoreError> {
        Self::connect(path)
    }

    fn connect(path: &Path) -> Result<Self, StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(failed("open the store"))?;
        connection.busy_timeout(PATIENCE).map_err(failed("open the store"))?;
        // A transaction that was reported as done must not be lost, and the `-wal` must not grow without end.
        let pragmas = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA secure_delete = ON; PRAGMA temp_store = MEMORY;";
        connection.execute_batch(pragmas).map_err(|error| not_a_store(path, error))?;
        Ok(Self { connection })
    }

    /// Begins to write; waits while another process writes.
    pub(super) fn write(&mut self) -> Result<Writing<'_>, StoreError> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate);
        Ok(Writing(Reading { transaction: transaction.map_err(failed("begin to write"))? }))
    }

    /// Begins to read.
    pub(super) fn read(&mut self) -> Result<Reading<'_>, StoreError> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Deferred);
        Ok(Reading { transaction: transaction.map_err(failed("begin to read"))? })
    }

    /// From now on, writes may be lost when the machine fails, and do not wait for the disk.
    pub(super) fn careless(&self) -> Result<(), StoreError> {
        self.connection.execute_batch("PRAGMA synchronous = NORMAL").map_err(failed("write"))
    }

    /// Moves all writes into the file and empties the `-wal` beside it, so that no old data is left there.
    ///
    /// # Errors
    /// If another process reads for too long.
    pub(super) fn empty_log(&self) -> Result<(), StoreError> {
        let doing = "empty the log beside the store";
        let busy =
            self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, bool>(0));
        if busy.map_err(failed(doing))? {
            Err(StoreError::Busy { seconds: PATIENCE.as_secs() })
        } else {
            Ok(())
        }
    }

    /// Replaces the content of this file by that of another one, in one transaction, even while other processes have it open.
    pub(super) fn replace_by(&mut self, other: &Self) -> Result<(), StoreError> {
        let doing = "replace the store";
        let backup = Backup::new(&other.connection, &mut self.connection).map_err(failed(doing))?;
        let by = Instant::now() + PATIENCE;
        loop {
            if backup.step(-1).map_err(failed(doing))? == StepResult::Done {
                return Ok(());
            }
            if Instant::now() >= by {
                return Err(StoreError::Busy { seconds: PATIENCE.as_secs() });
            }
            thread::sleep(AGAIN);
        }
    }

    /// A counter of changes of secrets.
    pub(super) fn changes(&self) -> Result<u64, StoreError> {
        let doing = "look at the store";
        let mut statement =
            self.connection.prepare_cached("SELECT count FROM changes").map_err(failed(doing))?;
        statement.query_row([], |row| row.get(0)).map_err(failed(doing))
    }

    /// The faults that `SQLite` itself finds.
    pub(super) fn integrity(&self) -> Result<Vec<String>, StoreError> {
        let doing = "check the file";
        let mut statement = self.connection.prepare("PRAGMA integrity_check(20)").map_err(failed(doing))?;
        let rows = statement.query_map([], |row| row.get::<_, String>(0)).map_err(failed(doing))?;
        let found: Result<Vec<_>, _> = rows.collect();
        Ok(found.map_err(failed(doing))?.into_iter().filter(|line| line != "ok").collect())
    }
}

impl Writing<'_> {
    /// Commits the transaction.
    pub(super) fn commit(self) -> Result<(), StoreError> {
        self.0.transaction.commit().map_err(failed("write"))
    }

    /// Writes a value of the `meta` table.
    pub(super) fn set_meta(&self, name: &str, value: &[u8]) -> Result<(), StoreError> {
        self.execute("INSERT OR REPLACE INTO meta VALUES (?1, ?2)", params![name, value]).map(drop)
    }

    /// Changes rows; returns how many.
    pub(super) fn execute(&self, sql: &str, params: impl Params) -> Result<usize, StoreError> {
        let mut statement = self.transaction.prepare_cached(sql).map_err(failed("write"))?;
        statement.execute(params).map_err(failed("write"))
    }
}

impl Reading<'_> {
    /// Reads a value of the `meta` table.
    pub(super) fn meta(&self, name: &str) -> Result<Vec<u8>, StoreError> {
        let found = self.one("SELECT value FROM meta WHERE name = ?1", [name], |row| row.get(0))?;
        found.ok_or_else(|| damaged(name, "it is not there"))
    }

    /// Visits each row, until the closure returns an error.
    pub(super) fn each<T>(
        &self,
        sql: &str,
        params: impl Params,
        mut row: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
        mut visit: impl FnMut(T) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut statement = self.transaction.prepare_cached(sql).map_err(failed("read"))?;
        let mut rows = statement.query(params).map_err(failed("read"))?;
        while let Some(found) = rows.next().map_err(failed("read"))? {
            visit(row(found).map_err(failed("read"))?)?;
        }
        Ok(())
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

/// When the file is opened, the error for a file that is no database is that it is no store.
fn not_a_store(path: &Path, error: rusqlite::Error) -> StoreError {
    // `statvfs` does not open the file: closing a descriptor of it would release every lock that SQLite has there.
    let is_read_only = || statvfs(path).is_ok_and(|found| found.f_flag.contains(StatVfsMountFlags::RDONLY));
    let error = failed("open the store")(error);
    if matches!(error, StoreError::Damaged { .. }) {
        StoreError::NotAStore { file: path.to_owned() }
    } else if matches!(error, StoreError::Sqlite { .. }) && is_read_only() {
        // SQLite cannot create its other files beside it.
        StoreError::ReadOnly
    } else {
        error
    }
}

/// Makes an empty file if there is none, which only its owner may read.
pub(super) fn make_private(path: &Path) -> Result<fs::File, StoreError> {
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    made.map_err(|source| {
        let there = path.to_owned();
        if source.kind() == std::io::ErrorKind::AlreadyExists {
            StoreError::Exists { file: there }
        } else {
            StoreError::Io { doing: "make", file: there, source }
        }
    })
}

/// The files that `SQLite` keeps beside a database.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// The database's error, as one of ours.
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
