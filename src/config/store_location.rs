//! The place of the receiver's store: a file, or a database by its URL.

use std::fmt;
use std::path::{Path, PathBuf};

use super::error::InvalidValue;
use super::value::{self, Raw};

/// The place of the receiver's store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreLocation {
    File(PathBuf),
    /// The URL of a PostgreSQL database. It has no password.
    Postgres(String),
}

impl StoreLocation {
    pub(super) fn read(raw: &Raw) -> Result<Self, InvalidValue> {
        let text = raw.text()?;
        let schemes = ["postgres://", "postgresql://"];
        let Some(behind) = schemes.iter().find_map(|scheme| text.strip_prefix(scheme)) else {
            return value::path(raw).map(Self::File);
        };
        let (base, query) = behind.split_once('?').unwrap_or((behind, ""));
        let user = base.rsplit_once('@').map_or("", |(user, _)| user);
        if user.contains(':') || query.split('&').any(|part| part.starts_with("password=")) {
            return Err(InvalidValue::StorePassword);
        }
        Ok(Self::Postgres(text.to_owned()))
    }

    /// The path of a file; `None`: it is a database elsewhere.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::Postgres(_) => None,
        }
    }
}

impl fmt::Display for StoreLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Postgres(url) => f.write_str(url),
        }
    }
}
