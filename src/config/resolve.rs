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
use super::value::ValueContext;

impl Settings {
    /// Lays file, environment and flags over the defaults and checks all of it.
    ///
    /// # Errors
    /// Everything found wrong, a line each. Of the conflicts between the values of one section or
    /// endpoint, only the first is found; and none in a part that depends on another one with errors.
    pub fn resolve<E>(inputs: Inputs<E>) -> Result<Self, ConfigError>
    where
        E: IntoIterator<Item = (String, String)>,
    {
        let from_file = match &inputs.file {
            Some((path, text)) => file::read(path, text)?,
            None => FileLayers::default(),
        };
        let FileLayers { values: mut layers, endpoints: from_file, errors: in_file } = from_file;
        let mut found = FoundErrors(in_file);
        let from_environment = environment::read(inputs.environment);
        let EnvironmentLayers {
            values,
            endpoint,
            node_name,
            credentials,
            state_directory,
            in_pod,
            errors,
        } = from_environment;
        found.0.extend(errors);
        for (key, value, origin) in values {
            layers.set(key, value, origin);
        }
        inputs.flags.lay_over(&mut layers, |_| true);

        let context = ValueContext {
            credentials: credentials.as_deref(),
            credentials_elsewhere: inputs.credentials_elsewhere,
            look_up: inputs.look_up,
        };
        let of_endpoints = from_file.iter().map(|endpoint| &endpoint.values);
        for layers in [&layers, &endpoint].into_iter().chain(of_endpoints) {
            found.0.extend(layers.errors(context));
        }
        // Endpoints are not resolved where a section that they need has an error.
        found.0.extend(from_file.iter().flat_map(EndpointSettings::missing_keys));
        let dirs = UserDirs {
            is_root: inputs.is_root,
            state_directory: state_directory.as_deref(),
            xdg_runtime_dir: inputs.xdg_runtime_dir.as_deref(),
            xdg_state_home: inputs.xdg_state_home.as_deref(),
            home: inputs.home.as_deref(),
        };
        let r = &mut Resolver::new(&layers, context);
        let node = found.note(NodeSettings::resolve(r, node_name, &inputs.host_name));
        let sampling = found.note(SamplingSettings::resolve(r));
        let paths = found.note(PathSettings::resolve(r));
        let directory = found.note(DirectorySettings::resolve(r, in_pod));
        let cluster = found.note(ClusterSettings::resolve(r));
        let filesystem = found.note(FilesystemSettings::resolve(r));
        let state = found.note(StateSettings::resolve(r, &dirs));
        let spool = match &state {
            Some(state) => found.note(SpoolSettings::resolve(r, state, &dirs)),
            None => None,
        };
        let status = match &state {
            Some(state) => found.note(StatusSettings::resolve(r, state.dir.as_deref())),
            None => None,
        };
        let metrics = found.note(MetricsSettings::resolve(r));
        let log = found.note(LogSettings::resolve(r));
        let receiver = match (&sampling, &state) {
            (Some(sampling), Some(state)) => {
                found.note(ReceiverSettings::resolve(r, state, &dirs, sampling.interval))
            }
            _ => None,
        };
        let endpoints = match (&directory, &spool, &sampling) {
            (Some(directory), Some(spool), Some(sampling)) => {
                let defaults = EndpointDefaults {
                    context,
                    // Without a source that knows pods, no name ever becomes known.
                    unknown_pods: if directory.knows_pods() {
                        UnknownPods::Wait
                    } else {
                        UnknownPods::Uid
                    },
                    has_spool: spool.dir.is_some(),
                    interval: sampling.interval,
                };
                found.note(EndpointSettings::resolve_all(from_file, &endpoint, defaults))
            }
            _ => None,
        };
        let origins = std::mem::take(&mut r.origins);
        if let Some(error) = ConfigError::of_all(found.0) {
            return Err(error);
        }
        let resolved = || {
            Some(Self {
                endpoints: endpoints?,
                node: node?,
                sampling: sampling?,
                paths: paths?,
                directory: directory?,
                cluster: cluster?,
                filesystem: filesystem?,
                state: state?,
                spool: spool?,
                status: status?,
                metrics: metrics?,
                log: log?,
                receiver: receiver?,
                origins,
            })
        };
        // Each part that is missing has an error above.
        resolved().ok_or_else(|| ConfigError::new("a part of the settings is missing"))
    }
}

/// The errors so far.
struct FoundErrors(Vec<ConfigError>);

impl FoundErrors {
    fn note<T>(&mut self, resolved: Result<T, ConfigError>) -> Option<T> {
        resolved.map_err(|error| self.0.push(error)).ok()
    }
}
