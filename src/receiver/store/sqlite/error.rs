//! Errors of the database, and what follows from each.

use rusqlite::ErrorCode;
use thiserror::Error;

use crate::receiver::bounds::Full;
use crate::receiver::store::port::StoreError;

#[derive(Debug, Error)]
pub(super) enum SqliteError {
    #[error(transparent)]
    Database(#[from] rusqlite::Error),
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error("it is another program's")]
    Foreign,
    #[error("it is of version {version}, and this nodetally knows up to {known}")]
    Later { version: i64, known: i64 },
    #[error("it is of version {version}; `receive` brings it up to {known}")]
    Earlier { version: i64, known: i64 },
    #[error("another receiver has it open")]
    InUse,
    #[error(transparent)]
    Full(#[from] Full),
    #[error("another body was accepted under the key")]
    OtherBody,
    #[error("a pod of that name is alive on another node")]
    OtherNode,
}

impl SqliteError {
    fn code(&self) -> Option<ErrorCode> {
        let Self::Database(error) = self else { return None };
        error.sqlite_error_code()
    }

    /// The file is damaged: it is to be set aside.
    pub(super) fn is_damage(&self) -> bool {
        matches!(self.code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
    }

    /// The disk is full, or the most pages are used.
    pub(super) fn is_no_room(&self) -> bool {
        let is_full = |error: &std::io::Error| error.kind() == std::io::ErrorKind::StorageFull;
        matches!(self.code(), Some(ErrorCode::DiskFull))
            || matches!(self, Self::Io(error) if is_full(error))
    }
}

impl From<SqliteError> for StoreError {
    fn from(error: SqliteError) -> Self {
        match error {
            SqliteError::Full(full) => Self::Full(full),
            SqliteError::OtherBody => Self::OtherBody,
            SqliteError::OtherNode => Self::OtherNode,
            error if error.is_no_room() => Self::NoRoom("database or disk is full".to_owned()),
            error => Self::Unavailable(error.to_string().replace('\n', ", ")),
        }
    }
}
