//! The resolution of all settings from file, environment and flags.

use super::choices::UnknownPods;
use super::directory::{ClusterSettings, DirectorySettings};
use super::endpoint::{EndpointDefaults, EndpointSettings};
use super::environment::{self, EnvironmentLayers};
use super::error::ConfigError;
use super::file::{self, FileLayers};
use super::inputs::Inputs;
use super::layer::Resolver;
use super::settings::{
    FilesystemSettings, LogSettings, MetricsSettings, NodeSettings, PathSettings, ReceiverSettings,
    SamplingSettings, Settings, SpoolSettings, StateSettings, StatusSettings, UserDirs,
};

impl Settings {
    /// Lays file, environment and flags over the defaults and checks all of it.
    ///
    /// # Errors
    /// The first thing found wrong, in one line: what the file has and should not, from its top;
    /// then variables that are unknown; then values, key by key.
    pub fn resolve<E>(inputs: Inputs<E>) -> Result<Self, ConfigError>
    where
        E: IntoIterator<Item = (String, String)>,
    {
        let FileLayers { values: mut layers, endpoints: from_file } = match &inputs.file {
            Some((path, text)) => file::read(path, text)?,
            None => FileLayers::default(),
        };
        let from_environment = environment::read(inputs.environment)?;
        let EnvironmentLayers { values, endpoint, node_name, credentials, state_directory, in_pod } =
            from_environment;
        for (key, value, origin) in values {
            layers.set(key, value, origin);
        }
        inputs.flags.lay_over(&mut layers, |_| true);

        let credentials = credentials.as_deref();
        let dirs = UserDirs {
            is_root: inputs.is_root,
            state_directory: state_directory.as_deref(),
            xdg_runtime_dir: inputs.xdg_runtime_dir.as_deref(),
            xdg_state_home: inputs.xdg_state_home.as_deref(),
            home: inputs.home.as_deref(),
        };
        let r = &mut Resolver::new(&layers, credentials);
        let node = NodeSettings::resolve(r, node_name, &inputs.host_name)?;
        let sampling = SamplingSettings::resolve(r)?;
        let paths = PathSettings::resolve(r)?;
        let directory = DirectorySettings::resolve(r, in_pod)?;
        let cluster = ClusterSettings::resolve(r)?;
        let filesystem = FilesystemSettings::resolve(r)?;
        let state = StateSettings::resolve(r, &dirs)?;
        let spool = SpoolSettings::resolve(r, &state, &dirs)?;
        let status = StatusSettings::resolve(r, state.dir.as_deref())?;
        let metrics = MetricsSettings::resolve(r)?;
        let log = LogSettings::resolve(r)?;
        let receiver = ReceiverSettings::resolve(r, sampling.interval)?;
        let defaults = EndpointDefaults {
            credentials,
            // Without a source that knows pods, no name ever becomes known.
            unknown_pods: if directory.knows_pods() { UnknownPods::Wait } else { UnknownPods::Uid },
            has_spool: spool.dir.is_some(),
            interval: sampling.interval,
        };
        Ok(Self {
            endpoints: EndpointSettings::resolve_all(from_file, &endpoint, defaults)?,
            node,
            sampling,
            paths,
            directory,
            cluster,
            filesystem,
            state,
            spool,
            status,
            metrics,
            log,
            receiver,
            origins: std::mem::take(&mut r.origins),
        })
    }
}
