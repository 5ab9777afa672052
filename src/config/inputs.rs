//! The inputs of the settings: file, environment, flags and the host.

use std::path::{Path, PathBuf};

use super::keys::{self, Key};
use super::layer::{Layers, Origin};
use super::value::Raw;

/// Everything that settings are resolved from.
///
/// `E` yields the environment's variables. `std::env::vars` panics on one that is not UTF-8, so it
/// is best made from `std::env::vars_os`.
#[derive(Debug, Clone, Default)]
pub struct Inputs<E> {
    /// The configuration file's path, for naming it, and its text.
    pub file: Option<(PathBuf, String)>,
    pub environment: E,
    pub flags: Flags,
    /// The host's name: the node's name if nothing else names it.
    pub host_name: String,
    /// True if the effective user is root, who keeps state in /run.
    pub is_root: bool,
    /// `$XDG_RUNTIME_DIR`, if set: where other users keep state.
    pub xdg_runtime_dir: Option<String>,
    /// `$XDG_STATE_HOME`, if set: where other users keep files over a boot.
    pub xdg_state_home: Option<String>,
    /// `$HOME`, if set: the fallback for `$XDG_STATE_HOME`.
    pub home: Option<String>,
}

/// Values of keys that flags set, as typed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Flags(Vec<(&'static Key, String)>);

impl Flags {
    /// Notes the value of the key's flag.
    pub fn set(&mut self, key: &'static Key, value: &str) {
        self.0.push((key, value.to_owned()));
    }

    /// Adds the flags of `others`.
    pub fn extend(&mut self, others: &Self) {
        self.0.extend(others.0.iter().cloned());
    }

    pub(super) fn lay_over(self, layers: &mut Layers, is_wanted: impl Fn(&Key) -> bool) {
        for (key, value) in self.0.into_iter().filter(|(key, _)| is_wanted(key)) {
            let long = key.flag.map_or(key.name, |flag| flag.long);
            layers.set(key, Raw::Text(value), Origin::Flag(long));
        }
    }
}

/// The path of the configuration file: the flag's, else the one `NODETALLY_CONFIG` names, else
/// `None`.
#[must_use]
pub fn file_path<'e>(
    flag: Option<&Path>,
    environment: impl IntoIterator<Item = &'e (String, String)>,
) -> Option<PathBuf> {
    flag.map(PathBuf::from).or_else(|| {
        environment
            .into_iter()
            .find(|(name, value)| name == keys::CONFIG_VARIABLE && !value.is_empty())
            .map(|(_, value)| PathBuf::from(value))
    })
}
