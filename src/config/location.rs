//! The location of a running agent's status server, resolved from few settings.

use super::environment;
use super::error::ConfigError;
use super::file;
use super::inputs::Inputs;
use super::keys::{self, Key};
use super::layer::{Layers, Resolver};
use super::settings::{StateSettings, StatusSettings, UserDirs};
use super::value::ValueContext;

/// The location at which `nodetally status` looks for the agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusLocation {
    pub status: StatusSettings,
    /// True if a key of `[state]` or `[status]` is set.
    pub is_set: bool,
}

impl StatusLocation {
    /// Resolves `[state]` and `[status]` alone: the agent may run in another environment, and the
    /// rest of its settings may not be valid in this one.
    ///
    /// # Errors
    /// One line: the file is not TOML, or something is wrong in these two sections, in the variables
    /// for them or in `--state-dir`.
    pub fn resolve<E>(inputs: Inputs<E>) -> Result<Self, ConfigError>
    where
        E: IntoIterator<Item = (String, String)>,
    {
        let sections = [keys::STATE_DIR.section, keys::STATUS_SOCKET.section];
        let is_wanted = |key: &Key| sections.contains(&key.section);
        let mut layers = match &inputs.file {
            Some((path, text)) => file::read_sections(path, text, &sections)?,
            None => Layers::default(),
        };
        let wanted = || keys::KEYS.iter().filter(|key| is_wanted(key));
        let sets_wanted = |name: &str| wanted().any(|key| key.environment.contains(&name));
        let variables = inputs.environment.into_iter().filter(|(name, _)| sets_wanted(name));
        let from_environment = environment::read(variables);
        if let Some(error) = ConfigError::of_all(from_environment.errors) {
            return Err(error);
        }
        for (key, value, origin) in from_environment.values {
            layers.set(key, value, origin);
        }
        inputs.flags.lay_over(&mut layers, is_wanted);
        let dirs = UserDirs {
            is_root: inputs.is_root,
            state_directory: None,
            xdg_runtime_dir: inputs.xdg_runtime_dir.as_deref(),
            xdg_state_home: None,
            home: None,
        };
        let context = ValueContext { look_up: inputs.look_up, ..ValueContext::default() };
        let mut resolver = Resolver::new(&layers, context);
        let state = StateSettings::resolve(&mut resolver, &dirs)?;
        let status = StatusSettings::resolve(&mut resolver, state.dir.as_deref())?;
        Ok(Self { status, is_set: wanted().any(|key| layers.is_set(key)) })
    }
}
