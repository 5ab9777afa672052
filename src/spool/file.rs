//! One queue's file: its tables, and every SQL statement.
//!
//! It is a SQLite database of two tables. `batches` is small, so that all of it can be checked and
//! counted when the file is opened; `records` holds the batches, each with a checksum that is
//! checked when it is read.
//!
//! A transaction is on disk once it is committed, with a rollback journal and `synchronous = FULL`. A
//! write-ahead log would need one wait for the disk instead of four, but damaged parts of it are lost
//! silently. It also grows, while the journal is kept and written over, so that rows can be removed on
//! a full disk. Both write about as much. The lock is exclusive: there is no file for shared memory,
//! and one process at a time. Nothing is mapped into memory.
//!
//! Pages of removed rows are used again, and the file is removed with its last row, so it is not made
//! smaller in between.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension, Transaction, TransactionBehavior};

use super::error::{BatchDamage, QueueFileError};
use super::{Batch, Moment, RowId, record};
use crate::identity::BootId;
use crate::quantity::{BootTime, WallTime};

/// "ntsp", in the database's header.
const APPLICATION_ID: i64 = 0x6e74_7370;
/// The version of the schema and of the records.
const VERSION: i64 = 1;

const TABLES: [(&str, &str); 2] = [
    (
        "batches",
        "CREATE TABLE batches (id INTEGER PRIMARY KEY, boot TEXT NOT NULL, \
         since_boot INTEGER NOT NULL, wall INTEGER NOT NULL, posts INTEGER NOT NULL, \
         bytes INTEGER NOT NULL) STRICT",
    ),
    ("records", "CREATE TABLE records (id INTEGER PRIMARY KEY, record BLOB NOT NULL) STRICT"),
];

/// The schema's page and the first of each table.
const EMPTY_PAGES: u64 = 1 + TABLES.len() as u64;
pub(super) const PAGE_BYTES: u64 = 4096;

const SETTINGS: &str = "
    PRAGMA locking_mode = EXCLUSIVE;
    PRAGMA synchronous = FULL;
    PRAGMA cache_size = -256;
    PRAGMA mmap_size = 0;
    PRAGMA temp_store = MEMORY;
    PRAGMA journal_size_limit = 262144;
    PRAGMA cell_size_check = ON;
    PRAGMA trusted_schema = OFF;
";

/// A locked, open queue file.
#[derive(Debug)]
pub(super) struct QueueFile {
    connection: Connection,
    totals: FileTotals,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct FileTotals {
    pub(super) batches: u64,
    pub(super) posts: u64,
    /// The largest row number so far, as far as known; 0 before the first.
    pub(super) last: i64,
}

impl FileTotals {
    /// Both have as many batches and posts.
    pub(super) fn is_as(self, other: Self) -> bool {
        (self.batches, self.posts) == (other.batches, other.posts)
    }
}

/// A row of `batches`.
#[derive(Debug, Clone, Copy)]
pub(super) struct BatchRow {
    pub(super) id: RowId,
    /// `None`: the columns make no valid moment.
    pub(super) sampled_at: Option<Moment>,
    pub(super) posts: u64,
    /// The length of the record.
    bytes: i64,
}

impl QueueFile {
    /// Creates an empty queue in an empty file.
    pub(super) fn begin(path: &Path) -> Result<Self, QueueFileError> {
        let mut connection = connect(path)?;
        connection.execute_batch("PRAGMA page_size = 4096; PRAGMA journal_mode = PERSIST;")?;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Exclusive)?;
        let tables: i64 =
            transaction.query_row("SELECT count(*) FROM sqlite_schema", (), |row| row.get(0))?;
        if tables > 0 {
            return Err(QueueFileError::Begun);
        }
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", VERSION)?;
        for (_, statement) in TABLES {
            transaction.execute_batch(statement)?;
        }
        transaction.commit()?;
        Ok(Self { connection, totals: FileTotals::default() })
    }

    /// Opens an existing file; `None`: it is empty, since its creation was cut off.
    pub(super) fn open(path: &Path) -> Result<Option<Self>, QueueFileError> {
        let mut connection = connect(path)?;
        // A read rolls back an unfinished transaction; an exclusive one would write a first page. A
        // damaged file can be shorter than a page, but is not empty.
        let pages: i64 = connection.pragma_query_value(None, "page_count", |row| row.get(0))?;
        if pages == 0 && std::fs::metadata(path).is_ok_and(|metadata| metadata.len() == 0) {
            return Ok(None);
        }
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Exclusive)?;
        check_form(&transaction)?;
        let totals = count(&transaction)?;
        transaction.commit()?;
        connection.execute_batch("PRAGMA journal_mode = PERSIST;")?;
        Ok(Some(Self { connection, totals }))
    }

    pub(super) fn totals(&self) -> FileTotals {
        self.totals
    }

    /// The bytes that the rows take on disk; 0 without rows.
    pub(super) fn bytes(&self) -> Result<u64, QueueFileError> {
        bytes(&self.connection)
    }

    /// The first row behind `after` that is wanted.
    pub(super) fn row_after(
        &self,
        after: RowId,
        is_wanted: impl Fn(RowId) -> bool,
    ) -> Result<Option<BatchRow>, QueueFileError> {
        row_after(&self.connection, after, is_wanted)
    }

    /// The batch of a row, or the reason why it cannot be read.
    pub(super) fn batch(
        &self,
        row: &BatchRow,
    ) -> Result<Result<Batch, BatchDamage>, QueueFileError> {
        // The length is checked first: a damaged one may be as long as the file.
        let mut statement = self
            .connection
            .prepare("SELECT record FROM records WHERE id = ?1 AND length(record) = ?2")?;
        let mut rows = statement.query((row.id.0, row.bytes))?;
        let Some(found) = rows.next()? else {
            return Ok(Err(BatchDamage::NoRecord));
        };
        let bytes = found.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?;
        let batch = match record::decode(bytes) {
            Ok(batch) => batch,
            Err(error) => return Ok(Err(error.into())),
        };
        // The record has its own checksum, which does not cover that it is this row's.
        let is_of_row = Some(batch.sampled_at) == row.sampled_at;
        Ok(if is_of_row { Ok(batch) } else { Err(BatchDamage::ForeignRecord) })
    }

    /// The number of posts of a row; `None`: there is no such row.
    pub(super) fn posts(&self, row: RowId) -> Result<Option<u64>, QueueFileError> {
        posts(&self.connection, row)
    }

    /// Runs `work` in one transaction.
    pub(super) fn change<T>(
        &mut self,
        work: impl FnOnce(&mut QueueChange<'_>) -> Result<T, QueueFileError>,
    ) -> Result<T, QueueFileError> {
        let transaction =
            self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut change = QueueChange { transaction, totals: self.totals };
        let value = work(&mut change)?;
        let totals = change.totals;
        change.transaction.commit()?;
        self.totals = totals;
        Ok(value)
    }

    /// Lets further rows begin behind this number.
    pub(super) fn number_from(&mut self, last: i64) {
        self.totals.last = self.totals.last.max(last);
    }
}

/// A transaction that changes the queue.
pub(super) struct QueueChange<'a> {
    transaction: Transaction<'a>,
    totals: FileTotals,
}

impl QueueChange<'_> {
    pub(super) fn bytes(&self) -> Result<u64, QueueFileError> {
        bytes(&self.transaction)
    }

    /// The first row behind `after` that is wanted.
    pub(super) fn row_after(
        &self,
        after: RowId,
        is_wanted: impl Fn(RowId) -> bool,
    ) -> Result<Option<BatchRow>, QueueFileError> {
        row_after(&self.transaction, after, is_wanted)
    }

    /// The error of a queue that is too large though only one record is left: the record is too
    /// large, or the file has lost pages.
    pub(super) fn too_large(&self, record_bytes: usize) -> Result<QueueFileError, QueueFileError> {
        let record_bytes = record_bytes as u64;
        if self.bytes()? > record_bytes + record_bytes / 64 + 8 * PAGE_BYTES {
            return Ok(QueueFileError::damaged("it has pages that belong to no batch"));
        }
        Ok(QueueFileError::TooLarge)
    }

    pub(super) fn append(&mut self, batch: &Batch, record: &[u8]) -> Result<RowId, QueueFileError> {
        let Some(id) = self.totals.last.checked_add(1) else {
            return Err(QueueFileError::damaged("its numbers are used up"));
        };
        self.put(RowId(id), batch, record)?;
        self.totals.last = id;
        self.totals.batches += 1;
        self.totals.posts += batch.posts.len() as u64;
        Ok(RowId(id))
    }

    /// Writes a batch over a row; whether there was one.
    pub(super) fn replace(
        &mut self,
        row: RowId,
        batch: &Batch,
        record: &[u8],
    ) -> Result<bool, QueueFileError> {
        let Some(posts) = posts(&self.transaction, row)? else { return Ok(false) };
        self.put(row, batch, record)?;
        self.totals.posts = self.totals.posts.saturating_sub(posts) + batch.posts.len() as u64;
        Ok(true)
    }

    fn put(&self, row: RowId, batch: &Batch, record: &[u8]) -> Result<(), QueueFileError> {
        let Moment { boot, since_boot, wall } = batch.sampled_at;
        let length = |bytes: usize| i64::try_from(bytes).unwrap_or(i64::MAX);
        self.transaction.execute(
            "REPLACE INTO batches (id, boot, since_boot, wall, posts, bytes) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            (
                row.0,
                boot.as_str(),
                since_boot.as_nanos().cast_signed(),
                wall.as_unix_millis().cast_signed(),
                length(batch.posts.len()),
                length(record.len()),
            ),
        )?;
        let values = (row.0, record);
        self.transaction.execute("REPLACE INTO records (id, record) VALUES (?1, ?2)", values)?;
        Ok(())
    }

    /// Removes a row, if it is there.
    pub(super) fn remove(&mut self, row: RowId) -> Result<(), QueueFileError> {
        let Some(posts) = posts(&self.transaction, row)? else { return Ok(()) };
        self.transaction.execute("DELETE FROM batches WHERE id = ?1", (row.0,))?;
        self.transaction.execute("DELETE FROM records WHERE id = ?1", (row.0,))?;
        self.totals.batches = self.totals.batches.saturating_sub(1);
        self.totals.posts = self.totals.posts.saturating_sub(posts);
        Ok(())
    }
}

fn connect(path: &Path) -> Result<Connection, QueueFileError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    // SQLite refuses a link anywhere in the path. Those above the spool are the host's own.
    let dir = path.parent().and_then(|dir| dir.canonicalize().ok());
    let resolved = dir.zip(path.file_name()).map(|(dir, name)| dir.join(name));
    let connection = Connection::open_with_flags(resolved.as_deref().unwrap_or(path), flags)?;
    connection.busy_timeout(Duration::ZERO)?;
    connection.execute_batch(SETTINGS)?;
    Ok(connection)
}

/// Checks that the file is a queue of this version, and that `batches` is intact.
fn check_form(connection: &Connection) -> Result<(), QueueFileError> {
    let header = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    if header("application_id")? != APPLICATION_ID {
        return Err(QueueFileError::damaged("it is another program's"));
    }
    let version = header("user_version")?;
    if version != VERSION {
        let what = format!("it is of version {version}, and only {VERSION} is known here");
        return Err(QueueFileError::Damaged(what));
    }
    let mut statement =
        connection.prepare("SELECT name, sql FROM sqlite_schema ORDER BY name LIMIT 9")?;
    let tables: Vec<(String, Option<String>)> =
        statement.query_map((), |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?;
    let expected = TABLES.map(|(name, sql)| (name.to_owned(), Some(sql.to_owned())));
    if tables != expected {
        return Err(QueueFileError::damaged("its tables are not those of a queue"));
    }
    let mut check = connection.prepare("PRAGMA integrity_check('batches')")?;
    let found: String = check.query_row((), |row| row.get(0))?;
    match found.as_str() {
        "ok" => Ok(()),
        found => Err(QueueFileError::Damaged(found.replace('\n', ", "))),
    }
}

fn count(connection: &Connection) -> Result<FileTotals, QueueFileError> {
    let sql = "SELECT count(*), coalesce(sum(posts), 0), coalesce(max(id), 0) FROM batches";
    let (batches, posts, last): (i64, i64, i64) =
        connection.query_row(sql, (), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    match (u64::try_from(batches), u64::try_from(posts)) {
        (Ok(batches), Ok(posts)) => Ok(FileTotals { batches, posts, last }),
        _ => Err(QueueFileError::damaged("it counts less than no posts")),
    }
}

/// The batches and posts that a damaged file still lists.
pub(super) fn count_readable(path: &Path) -> FileTotals {
    let mut totals = FileTotals::default();
    // SQLite would read a device or a FIFO.
    if !std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_file()) {
        return totals;
    }
    let Ok(connection) = connect(path) else { return totals };
    let Ok(mut statement) = connection.prepare("SELECT posts FROM batches LIMIT 1048576") else {
        return totals;
    };
    let Ok(mut rows) = statement.query(()) else { return totals };
    while let Ok(Some(row)) = rows.next() {
        // A larger number is damaged itself.
        let Ok(Ok(posts)) = row.get::<_, i64>(0).map(u32::try_from) else { continue };
        totals.batches += 1;
        totals.posts += u64::from(posts);
    }
    totals
}

fn bytes(connection: &Connection) -> Result<u64, QueueFileError> {
    let pages = |name| {
        let pages = connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0))?;
        Ok::<_, QueueFileError>(u64::try_from(pages).unwrap_or(0))
    };
    let used = pages("page_count")?.saturating_sub(pages("freelist_count")?);
    Ok(used.saturating_sub(EMPTY_PAGES) * PAGE_BYTES)
}

fn posts(connection: &Connection, row: RowId) -> Result<Option<u64>, QueueFileError> {
    let mut statement = connection.prepare("SELECT posts FROM batches WHERE id = ?1")?;
    let posts: Option<i64> = statement.query_one((row.0,), |row| row.get(0)).optional()?;
    Ok(posts.map(|posts| u64::try_from(posts).unwrap_or(0)))
}

fn row_after(
    connection: &Connection,
    after: RowId,
    is_wanted: impl Fn(RowId) -> bool,
) -> Result<Option<BatchRow>, QueueFileError> {
    let mut statement = connection.prepare(
        "SELECT id, boot, since_boot, wall, posts, bytes FROM batches WHERE id > ?1 ORDER BY id",
    )?;
    let mut rows = statement.query((after.0,))?;
    while let Some(row) = rows.next()? {
        let id = RowId(row.get(0)?);
        if is_wanted(id) {
            return Ok(Some(as_row(id, row)?));
        }
    }
    Ok(None)
}

fn as_row(id: RowId, row: &rusqlite::Row<'_>) -> rusqlite::Result<BatchRow> {
    let boot = BootId::parse(row.get_ref(1)?.as_bytes()?);
    let since_boot = BootTime::from_nanos(row.get::<_, i64>(2)?.cast_unsigned());
    let wall = WallTime::from_unix_millis(row.get::<_, i64>(3)?.cast_unsigned());
    Ok(BatchRow {
        id,
        sampled_at: boot.map(|boot| Moment { boot, since_boot, wall }),
        posts: u64::try_from(row.get::<_, i64>(4)?).unwrap_or(0),
        bytes: row.get(5)?,
    })
}
