//! Opens the database: its place, its settings, its lock.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};
use rustix::fs::{FlockOperation, flock};
use tracing::error;

use super::error::SqliteError;
use super::schema;
use super::totals::count_all;
use crate::aside;
use crate::quantity::WallTime;
use crate::receiver::store::totals::Totals;

/// The place of a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SqlitePlace {
    /// It ends with the process.
    Memory,
    File(PathBuf),
}

/// The writing connection, the number of its rows, and the lock that keeps other receivers out.
pub(super) struct StoreDatabase {
    pub(super) connection: Connection,
    pub(super) totals: Totals,
    _lock: Option<File>,
}

const SETTINGS: &str = "
    PRAGMA temp_store = MEMORY;
    PRAGMA cell_size_check = ON;
    PRAGMA trusted_schema = OFF;
    PRAGMA mmap_size = 0;
";

/// A post is on disk before it is answered, so `synchronous` is FULL: one wait for the disk a batch of
/// posts.
const WRITER: &str = "
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    PRAGMA journal_size_limit = 16777216;
    PRAGMA cache_size = -8192;
";

const READER: &str = "
    PRAGMA query_only = ON;
    PRAGMA cache_size = -2048;
";

impl StoreDatabase {
    /// Opens or creates the database. A damaged one is set aside, and an empty one begun.
    ///
    /// # Errors
    /// The place cannot be used, another receiver uses it, or it is not a database of ours.
    pub(super) fn open(
        place: &SqlitePlace,
        bytes_max: Option<u64>,
        now: WallTime,
    ) -> Result<Self, SqliteError> {
        let SqlitePlace::File(path) = place else {
            let mut connection = Connection::open_in_memory()?;
            connection.execute_batch(SETTINGS)?;
            Self::prepared(&mut connection, bytes_max)?;
            let totals = count_all(&connection)?;
            return Ok(Self { connection, totals, _lock: None });
        };
        let lock = lock(path)?;
        // What is counted is most of what a damaged file would be found by.
        let open = || {
            let connection = open_file(path, bytes_max)?;
            let totals = count_all(&connection)?;
            Ok::<_, SqliteError>((connection, totals))
        };
        let (connection, totals) = match open() {
            Err(error) if error.is_damage() => {
                set_aside(path, now, &error)?;
                open()?
            }
            other => other?,
        };
        Ok(Self { connection, totals, _lock: Some(lock) })
    }

    fn prepared(connection: &mut Connection, bytes_max: Option<u64>) -> Result<(), SqliteError> {
        schema::prepare(connection)?;
        connection.set_prepared_statement_cache_capacity(64);
        if let Some(bytes_max) = bytes_max {
            let page: i64 = connection.pragma_query_value(None, "page_size", |row| row.get(0))?;
            let pages = i64::try_from(bytes_max).unwrap_or(i64::MAX) / page.max(1);
            connection.pragma_update(None, "max_page_count", pages.max(64))?;
        }
        Ok(())
    }
}

/// Sets a damaged database aside for inspection.
pub(super) fn set_aside(
    path: &Path,
    now: WallTime,
    damage: &SqliteError,
) -> Result<(), SqliteError> {
    let aside = aside::set_aside(path, now)?;
    error!(
        "receiver: the store {} is damaged ({damage}): set aside as {}, and an empty one is begun; \
         the past of all nodes and pods is lost; remove the file once it is not needed",
        path.display(),
        aside.display()
    );
    Ok(())
}

pub(super) fn open_file(path: &Path, bytes_max: Option<u64>) -> Result<Connection, SqliteError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    // Created here, since SQLite would let everybody read it.
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
    let mut connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.execute_batch(SETTINGS)?;
    connection.execute_batch(WRITER)?;
    StoreDatabase::prepared(&mut connection, bytes_max)?;
    Ok(connection)
}

/// A connection that only reads.
pub(super) fn open_reader(path: &Path) -> Result<Connection, SqliteError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.execute_batch(SETTINGS)?;
    connection.execute_batch(READER)?;
    connection.set_prepared_statement_cache_capacity(32);
    Ok(connection)
}

/// The attempts to lock a store, and the time between two of them.
const LOCK_TRIES: u32 = 10;
const LOCK_PAUSE: Duration = Duration::from_millis(100);

/// Locks the store for this receiver. The lock ends with the process.
pub(super) fn lock(path: &Path) -> Result<File, SqliteError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let file =
        OpenOptions::new().create(true).append(true).mode(0o600).open(&name).map_err(|error| {
            std::io::Error::new(error.kind(), format!("its lock {}: {error}", name.display()))
        })?;
    if let (true, Ok(store)) = (rustix::process::geteuid().is_root(), path.metadata()) {
        // A command of root may make it before the receiver of another user does.
        std::os::unix::fs::fchown(&file, Some(store.uid()), Some(store.gid()))?;
    }
    // A receiver that is just ending, or a child of this process before its exec, has it for a moment.
    for _ in 0..LOCK_TRIES {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            Err(rustix::io::Errno::WOULDBLOCK) => std::thread::sleep(LOCK_PAUSE),
            Err(errno) => return Err(std::io::Error::from(errno).into()),
        }
    }
    Err(SqliteError::InUse)
}
