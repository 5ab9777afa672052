//! The values that file, environment and flags give each key, and the origin of what is resolved.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use super::error::{ConfigError, InvalidValue, one_line};
use super::keys::{self, Key, KeyDefault};
use super::kind::{SettingType, SettingValue};
use super::value::{Raw, ValueContext};

/// The place where a resolved value was set. Displayed as one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// It is not set.
    Default,
    /// It is not set, and the default is the host's name.
    HostName,
    /// A line (from 1) of the configuration file.
    File { path: PathBuf, line: usize },
    /// An environment variable.
    Environment(String),
    /// A flag, without its dashes.
    Flag(&'static str),
}

impl Origin {
    /// The line of the file (from 1); behind all lines if it is another place.
    pub(super) fn file_line(&self) -> usize {
        if let Self::File { line, .. } = self { *line } else { usize::MAX }
    }
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
            Self::Flag(name) => write!(f, "--{name}"),
        }
    }
}

/// A value and its place.
#[derive(Debug)]
struct KeyLayer {
    value: Raw,
    origin: Origin,
}

impl KeyLayer {
    /// The error line for this value of this key.
    fn refused(&self, key: &Key, reason: &InvalidValue) -> ConfigError {
        let shown = self.value.shown(key.secrecy);
        let place = &self.origin;
        let allowed = key.allowed();
        let error = ConfigError::new(&match place {
            Origin::File { .. } => {
                format!("{place}: {} = {shown}: {reason}; allowed: {allowed}", key.path())
            }
            Origin::Environment(_) => format!("{place}={shown}: {reason}; allowed: {allowed}"),
            Origin::Flag(_) => format!("{place} {shown}: {reason}; allowed: {allowed}"),
            Origin::Default | Origin::HostName => {
                format!("{place} {shown}: {reason}; allowed for {}: {allowed}", key.path())
            }
        });
        error.at_line(place.file_line())
    }
}

type KeyId = (&'static str, &'static str);

fn id(key: &Key) -> KeyId {
    (key.section, key.name)
}

/// Everything that is set, key by key, before it is checked.
#[derive(Debug, Default)]
pub(super) struct Layers {
    layers: BTreeMap<KeyId, Vec<KeyLayer>>,
}

impl Layers {
    /// Lays a value over those that the key has.
    pub(super) fn set(&mut self, key: &Key, value: Raw, origin: Origin) {
        self.layers.entry(id(key)).or_default().push(KeyLayer { value, origin });
    }

    /// True if the key is set in any layer.
    pub(super) fn is_set(&self, key: &Key) -> bool {
        self.layers.contains_key(&id(key))
    }

    /// The place of the first value of any key; `None` if nothing is set.
    pub(super) fn first_origin(&self) -> Option<&Origin> {
        self.layers.values().flatten().map(|layer| &layer.origin).next()
    }

    /// The error of each value that its key does not allow, whatever other keys say.
    pub(super) fn errors(&self, context: ValueContext<'_>) -> Vec<ConfigError> {
        let values = self.layers.iter().flat_map(|((section, name), layers)| {
            let key = keys::find(section, name);
            key.into_iter().flat_map(move |key| layers.iter().map(move |layer| (key, layer)))
        });
        let refused = values.filter_map(|(key, layer)| {
            let reason = key.kind.read(&layer.value, context).err()?;
            Some(layer.refused(key, &reason))
        });
        refused.collect()
    }

    fn of(&self, key: &Key) -> &[KeyLayer] {
        self.layers.get(&id(key)).map_or(&[], Vec::as_slice)
    }
}

/// Resolves the keys of one table, and notes the value and origin of each.
pub(super) struct Resolver<'l> {
    layers: &'l Layers,
    context: ValueContext<'l>,
    pub origins: Origins,
}

impl<'l> Resolver<'l> {
    pub(super) fn new(layers: &'l Layers, context: ValueContext<'l>) -> Self {
        Self { layers, context, origins: Origins::default() }
    }

    /// True if the key is set in any layer.
    pub(super) fn is_set(&self, key: &Key) -> bool {
        self.layers.is_set(key)
    }

    /// The key's value, or the declared default.
    pub(super) fn get<T: SettingType>(&mut self, key: &Key) -> Result<T, ConfigError> {
        if let Some(value) = self.find(key)? {
            return Ok(value);
        }
        let text = if let KeyDefault::Is(text) = key.default { text } else { "" };
        self.read_from(key, text, Origin::Default)
    }

    /// The key's value, or `default`.
    pub(super) fn get_or<T: SettingType>(
        &mut self,
        key: &Key,
        default: T,
    ) -> Result<T, ConfigError> {
        self.get_or_checked(key, default, |_| Ok(()))
    }

    /// The key's value, or `default`. Each layer's value has to pass `check` too.
    pub(super) fn get_or_checked<T: SettingType>(
        &mut self,
        key: &Key,
        default: T,
        check: impl Fn(&T) -> Result<(), InvalidValue>,
    ) -> Result<T, ConfigError> {
        if let Some(value) = self.topmost(key, check)? {
            return Ok(value);
        }
        self.origins.set(key, Origin::Default, &default.clone().into_value());
        Ok(default)
    }

    /// The key's value; `None` if it is not set.
    pub(super) fn find<T: SettingType>(&mut self, key: &Key) -> Result<Option<T>, ConfigError> {
        self.topmost(key, |_| Ok(()))
    }

    /// The value of this text from a place that is no layer, such as the host's name.
    pub(super) fn read_from<T: SettingType>(
        &mut self,
        key: &Key,
        text: &str,
        origin: Origin,
    ) -> Result<T, ConfigError> {
        let layer = KeyLayer { value: Raw::Text(text.to_owned()), origin };
        self.read(key, &layer, |_| Ok(()))
    }

    /// The topmost value.
    ///
    /// A value that another one overrides is checked too: it would come into force, and fail, on
    /// the day the other goes.
    fn topmost<T: SettingType>(
        &mut self,
        key: &Key,
        check: impl Fn(&T) -> Result<(), InvalidValue>,
    ) -> Result<Option<T>, ConfigError> {
        let mut topmost = None;
        for layer in self.layers.of(key) {
            topmost = Some(self.read(key, layer, &check)?);
        }
        Ok(topmost)
    }

    fn read<T: SettingType>(
        &mut self,
        key: &Key,
        layer: &KeyLayer,
        check: impl Fn(&T) -> Result<(), InvalidValue>,
    ) -> Result<T, ConfigError> {
        let refused = |reason| layer.refused(key, &reason);
        let value = key.kind.read(&layer.value, self.context).map_err(refused)?;
        self.origins.set(key, layer.origin.clone(), &value);
        let value = T::from_value(value).ok_or(InvalidValue::OtherType).map_err(refused)?;
        check(&value).map_err(refused)?;
        Ok(value)
    }

    /// The error for the topmost value of a key that does not go together with another.
    pub(super) fn conflict(&self, key: &Key, reason: &str) -> ConfigError {
        let reason = InvalidValue::Conflict(reason.to_owned());
        match self.layers.of(key).last() {
            Some(layer) => layer.refused(key, &reason),
            None => ConfigError::new(&format!("{}: {reason}", key.path())),
        }
    }
}

/// The origin of each resolved value, and the value as TOML.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Origins {
    of: BTreeMap<KeyId, (Origin, String)>,
}

impl Origins {
    fn set(&mut self, key: &Key, origin: Origin, value: &SettingValue) {
        self.of.insert(id(key), (origin, value.to_toml()));
    }

    /// Notes that the key has no value.
    pub(super) fn unset(&mut self, key: &Key) {
        self.of.remove(&id(key));
    }

    /// The origin of the key's value; [`Origin::Default`] if it is not set.
    #[must_use]
    pub fn of(&self, key: &Key) -> &Origin {
        self.of.get(&id(key)).map_or(&Origin::Default, |(origin, _)| origin)
    }

    /// The key's value as TOML that reads again as the same value, but for the query of a URL,
    /// which is hidden. `None` if the key has no value.
    #[must_use]
    pub fn value_of(&self, key: &Key) -> Option<&str> {
        self.of.get(&id(key)).map(|(_, value)| value.as_str())
    }
}
