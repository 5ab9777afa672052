//! What one key was given by the file, the environment and the flags, in rising order.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use super::error::{ConfigError, one_line};
use super::keys::Key;
use super::value::Raw;

/// Where a resolved value came from. Displayed as one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// Nobody set it, and the default is what the host is called.
    HostName,
    /// A line (from 1) of the configuration file.
    File { path: PathBuf, line: usize },
    /// An environment variable.
    Environment(String),
    /// A flag, with its dashes.
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::HostName => f.write_str("default: the host's name"),
            Self::File { path, line } => {
                write!(f, "{}:{line}", one_line(&path.display().to_string()))
            }
            Self::Environment(name) => write!(f, "environment {}", one_line(name)),
            Self::Flag(name) => f.write_str(name),
        }
    }
}

/// A value and where it stands.
#[derive(Debug)]
struct Entry {
    value: Raw,
    origin: Origin,
}

impl Entry {
    /// The error line for this value of this key.
    fn refused(&self, key: &Key, reason: &str) -> ConfigError {
        let shown = self.value.shown(key.secret);
        let place = &self.origin;
        let allowed = key.allowed;
        ConfigError::new(&match place {
            Origin::File { .. } => {
                format!("{place}: {} = {shown}: {reason}; allowed: {allowed}", key.path())
            }
            Origin::Environment(_) => format!("{place}={shown}: {reason}; allowed: {allowed}"),
            Origin::Flag(_) => format!("{place} {shown}: {reason}; allowed: {allowed}"),
            Origin::Default | Origin::HostName => {
                format!("{place} {shown}: {reason}; allowed for {}: {allowed}", key.path())
            }
        })
    }
}

type KeyId = (&'static str, &'static str);

fn id(key: &Key) -> KeyId {
    (key.section, key.name)
}

/// Everything that was set, key by key, before it is checked.
#[derive(Debug, Default)]
pub(super) struct Layers {
    entries: BTreeMap<KeyId, Vec<Entry>>,
}

impl Layers {
    /// Lays a value over what the key has so far.
    pub(super) fn set(&mut self, key: &Key, value: Raw, origin: Origin) {
        self.entries.entry(id(key)).or_default().push(Entry { value, origin });
    }

    /// Whether anybody set the key.
    pub(super) fn is_set(&self, key: &Key) -> bool {
        self.entries.contains_key(&id(key))
    }

    /// Where the first value that is set at all stands.
    pub(super) fn first_origin(&self) -> Option<&Origin> {
        self.entries.values().flatten().map(|entry| &entry.origin).next()
    }

    /// The key's topmost value, noted in `origins`; `None` if nobody set it.
    ///
    /// A value that another one overrides is checked too: it would come into force, and fail, on
    /// the day the other goes.
    pub(super) fn get<T>(
        &self,
        key: &Key,
        origins: &mut Origins,
        check: impl Fn(&Raw) -> Result<T, String>,
    ) -> Result<Option<T>, ConfigError> {
        let mut topmost = None;
        for entry in self.entries.get(&id(key)).into_iter().flatten() {
            let value = check(&entry.value).map_err(|reason| entry.refused(key, &reason))?;
            origins.set(key, entry.origin.clone());
            topmost = Some(value);
        }
        Ok(topmost)
    }

    /// The same, with a value for a key that nobody set.
    pub(super) fn get_or<T>(
        &self,
        key: &Key,
        origins: &mut Origins,
        default: T,
        check: impl Fn(&Raw) -> Result<T, String>,
    ) -> Result<T, ConfigError> {
        Ok(self.get(key, origins, check)?.unwrap_or(default))
    }
}

/// The error for a value that no layer holds, such as the host's name.
pub(super) fn refused(key: &Key, value: &str, origin: Origin, reason: &str) -> ConfigError {
    Entry { value: Raw::Text(value.to_owned()), origin }.refused(key, reason)
}

/// Where each resolved value came from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Origins {
    of: BTreeMap<KeyId, Origin>,
}

impl Origins {
    pub(super) fn set(&mut self, key: &Key, origin: Origin) {
        self.of.insert(id(key), origin);
    }

    /// Where the key's value came from; [`Origin::Default`] if nobody set it.
    #[must_use]
    pub fn of(&self, key: &Key) -> &Origin {
        self.of.get(&id(key)).unwrap_or(&Origin::Default)
    }
}
