//! An operator's commands for a store file: look at it, copy it, shrink it.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use serde::Serialize;
use thiserror::Error;

use super::database::{lock, open_file, open_reader};
use super::error::SqliteError;
use super::rows::from_column;
use super::schema;
use crate::receiver::store::totals::{NODE, POD, UNIT};

/// A store file cannot be read, copied or shrunk.
#[derive(Debug, Error)]
pub enum StoreFileError {
    #[error("there is no store at {0}: --store names another, and `receive` makes one")]
    Missing(PathBuf),
    #[error("the store {0} is in use: stop the receiver first")]
    InUse(PathBuf),
    #[error("{0} exists already: name a new file")]
    Exists(PathBuf),
    #[error("the store {store}: {reason}")]
    Store { store: PathBuf, reason: String },
    #[error("{path}: {reason}")]
    Copy { path: PathBuf, reason: String },
}

/// The contents of a store file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StoreFileInfo {
    /// The file with its write-ahead log.
    pub file_bytes: u64,
    /// The part of the file that removed rows left.
    pub free_bytes: u64,
    pub schema_version: i64,
    pub senders: u64,
    pub nodes: u64,
    pub pods: u64,
    pub host_units: u64,
    /// Rows of the life-cycle API.
    pub pod_specs: u64,
    /// Resources of batches, and records of samples.
    pub documents: u64,
    pub document_bytes: u64,
    pub idempotency_keys: u64,
    /// Time series as they were pushed, by minutes, and by hours.
    pub history: [HistoryInfo; 3],
}

/// The closed blocks of one resolution.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HistoryInfo {
    pub resolution: &'static str,
    pub blocks: u64,
    pub bytes: u64,
    /// The time of the last point of the oldest block, in milliseconds since 1970; absent without blocks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oldest_unix_millis: Option<u64>,
    /// The time of the last point of the newest block, in milliseconds since 1970; absent without blocks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub newest_unix_millis: Option<u64>,
}

/// Reads the store at `path`, also while a receiver uses it.
///
/// # Errors
/// There is none, it is another program's or damaged, or it is of another version.
pub fn store_info(path: &Path) -> Result<StoreFileInfo, StoreFileError> {
    check_present(path)?;
    read_info(path).map_err(|error| of_store(path, &error))
}

/// Writes a copy of the store at `path` to the new file `to`, also while a receiver uses it. The copy is
/// of one moment, and has no free room. Returns its size in bytes.
///
/// # Errors
/// There is no store, `to` exists or cannot be written, or the disk is full. Then `to` does not appear.
pub fn backup_store(path: &Path, to: &Path) -> Result<u64, StoreFileError> {
    check_present(path)?;
    if to.symlink_metadata().is_ok() {
        return Err(StoreFileError::Exists(to.to_owned()));
    }
    let copy = PartialCopy::begin(to).map_err(|error| of_copy(to, &error))?;
    copy.fill(path).map_err(|error| of_store(path, &error))?;
    copy.place_new(to).map_err(|error| of_copy(to, &error))
}

/// Rewrites the store at `path` without its free room. Returns its size in bytes before and after.
///
/// # Errors
/// There is no store, a receiver uses it, or the disk has no room for a second copy of it.
pub fn compact_store(path: &Path) -> Result<(u64, u64), StoreFileError> {
    check_present(path)?;
    let compact = || {
        // Before the lock: nothing is put beside a file of another program.
        schema::check(&open_reader(path)?)?;
        let _lock = lock(path)?;
        let before = file_bytes(path)?;
        let connection = open_file(path, None)?;
        // The log is emptied, so that none of it can meet the new file.
        connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")?;
        drop(connection);
        // VACUUM alone would build the copy in memory.
        let copy = PartialCopy::begin(path)?;
        copy.fill(path)?;
        copy.replace(path)?;
        Ok((before, file_bytes(path)?))
    };
    compact().map_err(|error| of_store(path, &error))
}

fn of_copy(path: &Path, error: &io::Error) -> StoreFileError {
    StoreFileError::Copy { path: path.to_owned(), reason: error.to_string() }
}

/// A file beside the one that it is to become. It is removed unless it does.
struct PartialCopy {
    file: File,
    /// Absolute, so that SQLite reads it as a path and not as a URI.
    path: PathBuf,
}

impl PartialCopy {
    /// Creates an empty file that nobody else may read. One that is there is left alone.
    fn begin(to: &Path) -> io::Result<Self> {
        let mut name = std::path::absolute(to)?.into_os_string();
        name.push(format!(".partial-{}", std::process::id()));
        let path = PathBuf::from(name);
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        Ok(Self { file: file?, path })
    }

    /// Copies the store at `path`.
    fn fill(&self, path: &Path) -> Result<(), SqliteError> {
        let connection = open_reader(path)?;
        schema::check(&connection)?;
        // A reader of the store: it is the copy that is written.
        connection.pragma_update(None, "query_only", false)?;
        let to = self.path.to_str().ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidInput, "the name of the copy is not UTF-8")
        })?;
        connection.execute("VACUUM INTO ?1", [to])?;
        self.file.sync_all()?;
        if self.file.metadata()?.len() == 0 {
            return Err(io::Error::other("the copy is empty").into());
        }
        Ok(())
    }

    /// Gives the copy its name, which no file may have.
    fn place_new(&self, to: &Path) -> io::Result<u64> {
        let bytes = self.file.metadata()?.len();
        match renameat_with(CWD, &self.path, CWD, to, RenameFlags::NOREPLACE) {
            Ok(()) => {}
            // A file system without that flag.
            Err(Errno::INVAL | Errno::NOSYS) => std::fs::hard_link(&self.path, to)?,
            Err(errno) => return Err(errno.into()),
        }
        sync_directory(to);
        Ok(bytes)
    }

    /// Puts the copy in the place of the store, with the owner of that.
    fn replace(&self, path: &Path) -> io::Result<()> {
        let owner = std::fs::metadata(path)?;
        std::os::unix::fs::fchown(&self.file, Some(owner.uid()), Some(owner.gid()))?;
        std::fs::rename(&self.path, path)?;
        sync_directory(path);
        Ok(())
    }
}

impl Drop for PartialCopy {
    fn drop(&mut self) {
        // It is gone where it got its name.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Puts the entry of a file on disk. A directory that cannot be opened keeps it in memory for some seconds.
fn sync_directory(file: &Path) {
    let directory = file.parent().filter(|directory| !directory.as_os_str().is_empty());
    let opened = OpenOptions::new().read(true).open(directory.unwrap_or(Path::new(".")));
    let _ = opened.and_then(|directory| directory.sync_all());
}

fn check_present(path: &Path) -> Result<(), StoreFileError> {
    match path.metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(StoreFileError::Missing(path.to_owned()))
        }
        // Any other fault is that of opening it.
        _ => Ok(()),
    }
}

fn of_store(path: &Path, error: &SqliteError) -> StoreFileError {
    let store = path.to_owned();
    if matches!(error, SqliteError::InUse) {
        return StoreFileError::InUse(store);
    }
    StoreFileError::Store { store, reason: error.to_string().replace('\n', ", ") }
}

fn file_bytes(path: &Path) -> Result<u64, SqliteError> {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    let log = std::fs::metadata(log).map_or(0, |log| log.len());
    Ok(std::fs::metadata(path)?.len() + log)
}

fn read_info(path: &Path) -> Result<StoreFileInfo, SqliteError> {
    let connection = open_reader(path)?;
    // All figures are of one moment.
    let moment = connection.unchecked_transaction()?;
    let schema_version = schema::check(&connection)?;
    let number = |sql: &str| -> Result<u64, SqliteError> {
        let number: i64 = connection.query_row(sql, (), |row| row.get(0))?;
        Ok(from_column(number))
    };
    let latest = |kind: i64| number(&format!("SELECT count(*) FROM latest WHERE kind = {kind}"));
    let pragma = |name: &str| -> Result<u64, SqliteError> {
        let number: i64 = connection.pragma_query_value(None, name, |row| row.get(0))?;
        Ok(from_column(number))
    };
    let info = StoreFileInfo {
        file_bytes: file_bytes(path)?,
        free_bytes: pragma("freelist_count")? * pragma("page_size")?,
        schema_version,
        senders: number("SELECT count(*) FROM sender")?,
        nodes: latest(NODE)?,
        pods: latest(POD)?,
        host_units: latest(UNIT)?,
        pod_specs: number("SELECT count(*) FROM pod_spec")?,
        documents: number("SELECT count(*) FROM document")?,
        document_bytes: number("SELECT coalesce(sum(octet_length(json)), 0) FROM document")?,
        idempotency_keys: number("SELECT count(*) FROM accepted")?,
        history: [
            history(&connection, 0, "pushes")?,
            history(&connection, 1, "minutes")?,
            history(&connection, 2, "hours")?,
        ],
    };
    drop(moment);
    Ok(info)
}

fn history(
    connection: &Connection,
    level: i64,
    resolution: &'static str,
) -> Result<HistoryInfo, SqliteError> {
    let found: (i64, i64, Option<i64>, Option<i64>) = connection.query_row(
        "SELECT count(*), coalesce(sum(length(points)), 0), min(until), max(until) FROM block \
         WHERE level = ?1",
        [level],
        |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)),
    )?;
    let (blocks, bytes, oldest, newest) = found;
    Ok(HistoryInfo {
        resolution,
        blocks: from_column(blocks),
        bytes: from_column(bytes),
        oldest_unix_millis: oldest.map(from_column),
        newest_unix_millis: newest.map(from_column),
    })
}
