//! `[state]` and `[status]`: where the agent keeps what it counted, and where it is asked how it is.

use std::path::{Path, PathBuf};

use super::environment;
use super::error::ConfigError;
use super::file;
use super::inputs::Inputs;
use super::keys::{self, Key};
use super::layer::{Layers, Origin, Origins};
use super::settings::{StateSettings, StatusSettings};
use super::value::{self, Raw};

/// Where whoever asks an agent looks for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Whereabouts {
    pub status: StatusSettings,
    /// Whether anybody set a key of `[state]` or `[status]`; else all of it is by default.
    pub is_named: bool,
}

impl Whereabouts {
    /// Looks at nothing but `[state]` and `[status]`: who asks has other surroundings than the agent, in
    /// which the rest of its settings may not hold.
    ///
    /// # Errors
    /// One line: the file is not TOML, or something is wrong in these two sections, in the variables
    /// for them or in `--state-dir`.
    pub fn resolve<E>(inputs: Inputs<E>) -> Result<Self, ConfigError>
    where
        E: IntoIterator<Item = (String, String)>,
    {
        let sections = [keys::STATE_DIR.section, keys::STATUS_SOCKET.section];
        let is_asked = |key: &Key| sections.contains(&key.section);
        let mut layers = match &inputs.file {
            Some((path, text)) => file::read_sections(path, text, &sections)?,
            None => Layers::default(),
        };
        let asked = || keys::KEYS.iter().filter(|key| is_asked(key));
        let own = |name: &str| asked().any(|key| key.environment.contains(&name));
        let variables = inputs.environment.into_iter().filter(|(name, _)| own(name));
        for (key, value, origin) in environment::read(variables)?.values {
            layers.set(key, value, origin);
        }
        for (key, value) in inputs.flags.into_values().filter(|(key, _)| is_asked(key)) {
            layers.set(key, Raw::Text(value), Origin::Flag(key.flag.unwrap_or_default()));
        }
        let mut origins = Origins::default();
        let state = state(&layers, &mut origins, inputs.is_root, inputs.xdg_runtime_dir)?;
        let status = status(&layers, &mut origins, state.dir.as_deref())?;
        let is_named = asked().any(|key| layers.is_set(key));
        Ok(Self { status, is_named })
    }
}

pub(super) fn state(
    layers: &Layers,
    origins: &mut Origins,
    is_root: bool,
    xdg_runtime_dir: Option<String>,
) -> Result<StateSettings, ConfigError> {
    let default = default_dir(is_root, xdg_runtime_dir);
    Ok(StateSettings {
        dir: layers.get_or(&keys::STATE_DIR, origins, default, value::path_or_none)?,
    })
}

fn default_dir(is_root: bool, xdg_runtime_dir: Option<String>) -> Option<PathBuf> {
    if is_root {
        return Some(PathBuf::from("/run/nodetally"));
    }
    // A relative $XDG_RUNTIME_DIR counts as unset, as its specification has it.
    let dir = PathBuf::from(xdg_runtime_dir?);
    dir.is_absolute().then(|| dir.join("nodetally"))
}

pub(super) fn status(
    layers: &Layers,
    origins: &mut Origins,
    state_dir: Option<&Path>,
) -> Result<StatusSettings, ConfigError> {
    let listen =
        layers.get_or(&keys::STATUS_LISTEN, origins, None, value::listen_address_or_none)?;
    let socket = state_dir.map(|dir| dir.join("status.sock"));
    let socket = socket.filter(|path| value::is_socket_path(path));
    let socket =
        layers.get_or(&keys::STATUS_SOCKET, origins, socket, value::socket_path_or_none)?;
    Ok(StatusSettings { listen, socket })
}
