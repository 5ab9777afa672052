//! The inputs of the settings: file, environment, flags and the host.

use std::path::{Path, PathBuf};

use super::keys::{self, Key};
use super::layer::{Layers, Origin};
use super::value::{HostLookup, Raw};

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
    /// A path in `${CREDENTIALS_DIRECTORY}` is no error without that variable: for commands that show
    /// or check what another process does.
    pub credentials_elsewhere: bool,
    /// The look-up of host names to listen on; `None`: only `localhost` has an address.
    pub look_up: Option<HostLookup>,
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

/// The file that is read where no flag and no variable names one.
pub const DEFAULT_FILE: &str = "/etc/nodetally/config.toml";

/// The word in place of a file's name for no file.
const NO_FILE: &str = "none";

/// The configuration file to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileChoice {
    /// A flag or variable names it: it has to be there.
    Named(PathBuf),
    /// [`DEFAULT_FILE`], which may be missing.
    Default,
    /// A flag or variable says `none`.
    None,
}

/// The configuration file: the flag's, else the one `NODETALLY_CONFIG` names, else the default.
#[must_use]
pub fn file_choice<'e>(
    flag: Option<&Path>,
    environment: impl IntoIterator<Item = &'e (String, String)>,
) -> FileChoice {
    let named = flag.map(PathBuf::from).or_else(|| {
        environment
            .into_iter()
            .find(|(name, value)| name == keys::CONFIG_VARIABLE && !value.is_empty())
            .map(|(_, value)| PathBuf::from(value))
    });
    match named {
        Some(path) if path == Path::new(NO_FILE) => FileChoice::None,
        Some(path) => FileChoice::Named(path),
        None => FileChoice::Default,
    }
}
