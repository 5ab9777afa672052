//! Errors of the database, and what follows from each.

use std::error::Error as _;

use thiserror::Error;
use tokio_postgres::error::SqlState;

use crate::receiver::store::port::StoreError;

#[derive(Debug, Error)]
pub(super) enum PostgresError {
    #[error("{}", described(.0))]
    Database(#[from] tokio_postgres::Error),
    #[error("it does not answer within {0} s")]
    Timeout(u64),
    #[error("{0}")]
    Settings(String),
    #[error("its schema nodetally is another program's")]
    Foreign,
    #[error("its schema nodetally is of version {version}, and this nodetally knows up to {known}")]
    Later { version: i64, known: i64 },
    #[error("its encoding is {0} and must be UTF8: create the database with ENCODING 'UTF8'")]
    Encoding(String),
    /// The post is refused, and the others of its batch are not.
    #[error(transparent)]
    Refused(#[from] StoreError),
}

impl PostgresError {
    fn code(&self) -> Option<&SqlState> {
        let Self::Database(error) = self else { return None };
        error.code()
    }

    /// The database is there and will not answer otherwise until somebody changes it or the settings.
    pub(super) fn is_lasting(&self) -> bool {
        match self {
            Self::Settings(_) | Self::Foreign | Self::Later { .. } | Self::Encoding(_) => true,
            Self::Database(error) => {
                // The server accepts connections again after it: 57P03, 53300 and the like are away.
                let of_class =
                    |class| error.code().is_some_and(|code| code.code().starts_with(class));
                let is_of_tls = error.source().is_some_and(|source| {
                    let text = source.to_string();
                    text.contains("certificate") || text.contains("does not support TLS")
                });
                of_class("28") || of_class("3D") || of_class("42") || is_of_tls
            }
            Self::Timeout(_) | Self::Refused(_) => false,
        }
    }

    /// An earlier statement of the transaction failed, and its error is the reason.
    pub(super) fn is_of_failed_transaction(&self) -> bool {
        self.code() == Some(&SqlState::IN_FAILED_SQL_TRANSACTION)
    }

    /// The disk of the database is full.
    fn is_no_room(&self) -> bool {
        self.code() == Some(&SqlState::DISK_FULL)
    }
}

impl From<PostgresError> for StoreError {
    fn from(error: PostgresError) -> Self {
        match error {
            PostgresError::Refused(error) => error,
            error if error.is_no_room() => Self::NoRoom("the database's disk is full".to_owned()),
            error => Self::Unavailable(error.to_string().replace('\n', ", ")),
        }
    }
}

/// The error of the server or of the connection in one line.
pub(super) fn described(error: &tokio_postgres::Error) -> String {
    if let Some(error) = error.as_db_error() {
        return format!("{} ({})", error.message(), error.code().code());
    }
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}
