//! Errors of SQLite and of the system, as errors of the spool.

use std::io;
use std::path::Path;

use rusqlite::ErrorCode;
use rustix::fs::{Access, access, statvfs};
use rustix::io::Errno;

use super::SpoolError;
use super::record::RecordError;
use crate::descriptors::{describe, present_shortage};

/// An error of a queue's file.
#[derive(Debug)]
pub(super) enum QueueFileError {
    /// It is no queue, or damaged; with the reason.
    Damaged(String),
    Sqlite(rusqlite::Error),
    /// The batch is larger than the queue's limit.
    TooLarge,
    /// The file that was to become a queue already is one.
    Begun,
}

impl QueueFileError {
    pub(super) fn damaged(what: &str) -> Self {
        Self::Damaged(what.to_owned())
    }

    /// Another process has the file open.
    pub(super) fn is_locked_by_another(&self) -> bool {
        let Self::Sqlite(error) = self else { return matches!(self, Self::Begun) };
        let code = error.sqlite_error_code();
        matches!(code, Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
    }

    /// The consequence for the queue: the file is damaged, or the call fails.
    pub(super) fn judge(self, path: &Path) -> Result<FileDamage, SpoolError> {
        let error = match self {
            Self::Damaged(what) => return Ok(FileDamage(what)),
            Self::Sqlite(error) => error,
            Self::TooLarge => {
                return Err(SpoolError::TooLarge { path: path.display().to_string() });
            }
            Self::Begun => return Err(failed(path, "another process has just begun it")),
        };
        let code = match &error {
            rusqlite::Error::SqliteFailure(failure, _) => failure.code,
            // A value has another type than its column.
            _ => return Ok(FileDamage(one_line(&error))),
        };
        match code {
            // The statements never change, so with the last five the tables are others.
            ErrorCode::DatabaseCorrupt
            | ErrorCode::NotADatabase
            | ErrorCode::Unknown
            | ErrorCode::SchemaChanged
            | ErrorCode::ConstraintViolation
            | ErrorCode::TypeMismatch
            | ErrorCode::TooBig => Ok(FileDamage(one_line(&error))),
            ErrorCode::DiskFull => Err(no_space(path)),
            ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => {
                Err(failed(path, "another process has it open"))
            }
            ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::CannotOpen => {
                // SQLite does not say that it found no descriptor.
                Err(match present_shortage() {
                    Some(shortage) => failed(path, shortage),
                    None => {
                        why_not_writable(path).unwrap_or_else(|| failed(path, one_line(&error)))
                    }
                })
            }
            _ => Err(failed(path, one_line(&error))),
        }
    }
}

impl From<rusqlite::Error> for QueueFileError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

/// The reason why a stored batch cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum BatchDamage {
    #[error(transparent)]
    Unreadable(#[from] io::Error),
    #[error(transparent)]
    Record(#[from] RecordError),
    #[error("it has no record of its length")]
    NoRecord,
    #[error("its record is another's")]
    ForeignRecord,
    #[error("it has another sample's name")]
    FileName,
    #[error("it is not as long as it says")]
    Length,
}

/// The reason why a file is no usable queue.
pub(super) struct FileDamage(pub(super) String);

fn one_line(error: &rusqlite::Error) -> String {
    error.to_string().replace('\n', ", ")
}

fn no_space(path: &Path) -> SpoolError {
    SpoolError::NoSpace { path: path.display().to_string() }
}

pub(super) fn failed(path: &Path, reason: impl Into<String>) -> SpoolError {
    SpoolError::Failed { path: path.display().to_string(), reason: reason.into() }
}

/// An error of the system about this path.
pub(super) fn from_io(path: &Path, error: &io::Error) -> SpoolError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => no_space(path),
        io::ErrorKind::ReadOnlyFilesystem => failed(path, "read-only file system"),
        io::ErrorKind::PermissionDenied => failed(path, "permission denied"),
        io::ErrorKind::NotADirectory => failed(path, "it is to lie in what is no directory"),
        _ => failed(path, describe(error)),
    }
}

/// The bytes free in a directory, or in the one in which it would be created. Writes nothing.
///
/// # Errors
/// No file could be created there.
pub(super) fn free_bytes(dir: &Path) -> Result<u64, SpoolError> {
    // The directory, or the nearest parent that exists.
    let ways =
        dir.ancestors().map(|way| if way.as_os_str().is_empty() { Path::new(".") } else { way });
    for way in ways {
        match std::fs::metadata(way) {
            Ok(metadata) if !metadata.is_dir() => return Err(failed(way, "it is no directory")),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(from_io(way, &error)),
        }
        let entered = Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK;
        access(way, entered).map_err(|errno| from_io(way, &errno.into()))?;
        let space = statvfs(way).map_err(|errno| from_io(way, &errno.into()))?;
        return Ok(space.f_bavail.saturating_mul(space.f_frsize));
    }
    Err(failed(dir, "there is no such place"))
}

/// SQLite says only that it cannot write; the system knows the reason.
fn why_not_writable(path: &Path) -> Option<SpoolError> {
    let dir = path.parent()?;
    let denied = |path: &Path| match access(path, Access::READ_OK | Access::WRITE_OK) {
        Ok(()) | Err(Errno::NOENT) => None,
        Err(errno) => Some(from_io(path, &errno.into())),
    };
    let full = || {
        let space = statvfs(dir).ok()?;
        let no_inodes = space.f_files > 0 && space.f_favail == 0;
        (space.f_bavail == 0 || no_inodes).then(|| no_space(path))
    };
    denied(path).or_else(|| denied(dir)).or_else(full)
}
