//! Flags as typed, variables as set and the file as written → settings as resolved.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::choices::{ClientErrors, Counters, LogLevel, UnknownPods};
use super::delivery::{self, Surroundings, WaitingDefaults};
use super::directory;
use super::endpoint_url::EndpointUrl;
use super::environment::{self, EnvironmentLayers};
use super::error::ConfigError;
use super::file::{self, ENDPOINTS_MAX, FileLayers};
use super::inputs::Inputs;
use super::keys::{self, Key};
use super::layer::{Layers, Origin, Origins, refused};
use super::settings::{
    EndpointSettings, FilesystemSettings, LogSettings, NodeSettings, PathSettings,
    ReceiverSettings, SamplingSettings, ScopeSettings, Settings,
};
use super::status::{state, status};
use super::trust::trust;
use super::value::{self, Raw};
use crate::payload::dialect::Dialect;
use crate::quantity::Bytes;

/// The name of the endpoint that the environment describes.
const ENVIRONMENT_ENDPOINT: &str = "env";

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);

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
        for (key, value) in inputs.flags.into_values() {
            layers.set(key, Raw::Text(value), Origin::Flag(key.flag.unwrap_or_default()));
        }

        let mut origins = Origins::default();
        let origins_of = &mut origins;
        let node = node(&layers, origins_of, node_name, inputs.host_name)?;
        let sampling = sampling(&layers, origins_of)?;
        let paths = paths(&layers, origins_of)?;
        let credentials = credentials.as_deref();
        let directory = directory::directory(&layers, origins_of, in_pod, credentials)?;
        let cluster = directory::cluster(&layers, origins_of)?;
        let filesystem = filesystem(&layers, origins_of)?;
        let state = state(&layers, origins_of, inputs.is_root, inputs.xdg_runtime_dir)?;
        let surroundings = Surroundings {
            state_directory: state_directory.as_deref(),
            is_root: inputs.is_root,
            xdg_state_home: inputs.xdg_state_home.as_deref(),
            home: inputs.home.as_deref(),
        };
        let spool = delivery::spool(&layers, origins_of, &state, &surroundings)?;
        let status = status(&layers, origins_of, state.dir.as_deref())?;
        let level = layers.get_or(&keys::LOG_LEVEL, origins_of, LogLevel::Info, |raw| {
            value::choice(raw, LogLevel::from_word)
        })?;
        let receiver = receiver(&layers, origins_of, sampling.interval)?;
        // Who asks nobody that knows pods never learns a name.
        let unknown_pods = match directory.knows_pods() {
            true => UnknownPods::Wait,
            false => UnknownPods::Uid,
        };
        let waiting =
            WaitingDefaults { has_spool: spool.dir.is_some(), interval: sampling.interval };
        let defaults = EndpointDefaults { credentials, unknown_pods, waiting };
        let endpoints = endpoints(from_file, &endpoint, defaults)?;
        Ok(Self {
            node,
            sampling,
            paths,
            directory,
            cluster,
            filesystem,
            state,
            spool,
            status,
            log: LogSettings { level },
            endpoints,
            receiver,
            origins,
        })
    }
}

fn node(
    layers: &Layers,
    origins: &mut Origins,
    variable: Option<String>,
    host_name: String,
) -> Result<NodeSettings, ConfigError> {
    let key = &keys::NODE_NAME;
    let check = |raw: &Raw| value::plain_name(raw, 253);
    if let Some(name) = layers.get(key, origins, check)? {
        return Ok(NodeSettings { name });
    }
    let (name, origin) = match variable {
        Some(name) => (name, Origin::Environment(keys::NODE_NAME_VARIABLE.to_owned())),
        None => (host_name, Origin::HostName),
    };
    origins.set(key, origin.clone());
    match check(&Raw::Text(name.clone())) {
        Ok(name) => Ok(NodeSettings { name }),
        Err(reason) => Err(refused(key, &name, origin, &reason)),
    }
}

fn sampling(layers: &Layers, origins: &mut Origins) -> Result<SamplingSettings, ConfigError> {
    Ok(SamplingSettings {
        interval: layers.get_or(&keys::SAMPLING_INTERVAL, origins, 15 * SECOND, |raw| {
            value::duration(raw, SECOND..=HOUR)
        })?,
        process_io: layers.get_or(&keys::SAMPLING_PROCESS_IO, origins, false, value::boolean)?,
        tcp_sockets: layers.get_or(&keys::SAMPLING_TCP_SOCKETS, origins, true, value::boolean)?,
        cmdline: layers.get_or(&keys::SAMPLING_CMDLINE, origins, false, value::boolean)?,
    })
}

fn paths(layers: &Layers, origins: &mut Origins) -> Result<PathSettings, ConfigError> {
    let mut path_or =
        |key: &Key, default: &str| layers.get_or(key, origins, PathBuf::from(default), value::path);
    Ok(PathSettings {
        procfs: path_or(&keys::PATHS_PROCFS, "/proc")?,
        sysfs: path_or(&keys::PATHS_SYSFS, "/sys")?,
        rootfs: path_or(&keys::PATHS_ROOTFS, "/")?,
        cgroupfs: layers.get(&keys::PATHS_CGROUPFS, origins, value::path)?,
    })
}

fn filesystem(layers: &Layers, origins: &mut Origins) -> Result<FilesystemSettings, ConfigError> {
    Ok(FilesystemSettings {
        pod_usage: layers.get_or(&keys::FILESYSTEM_POD_USAGE, origins, true, value::boolean)?,
        entries_per_second: layers.get_or(
            &keys::FILESYSTEM_ENTRIES_PER_SECOND,
            origins,
            2000,
            |raw| value::count(raw, 10..=100_000),
        )?,
        refresh: layers.get_or(&keys::FILESYSTEM_REFRESH, origins, 5 * MINUTE, |raw| {
            value::duration(raw, 10 * SECOND..=24 * HOUR)
        })?,
        kubelet_dir: layers.get_or(
            &keys::FILESYSTEM_KUBELET_DIR,
            origins,
            PathBuf::from("/var/lib/kubelet"),
            value::absolute_path,
        )?,
    })
}

fn receiver(
    layers: &Layers,
    origins: &mut Origins,
    interval: Duration,
) -> Result<ReceiverSettings, ConfigError> {
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 7643));
    // With a minute of patience and samples every five, every node would always look gone.
    let stale_after = MINUTE.max(4 * interval);
    Ok(ReceiverSettings {
        listen: layers.get_or(&keys::RECEIVER_LISTEN, origins, listen, value::listen_address)?,
        retention: layers.get_or(&keys::RECEIVER_RETENTION, origins, HOUR, |raw| {
            value::duration(raw, MINUTE..=24 * HOUR)
        })?,
        stale_after: layers.get_or(&keys::RECEIVER_STALE_AFTER, origins, stale_after, |raw| {
            value::duration(raw, SECOND..=24 * HOUR)
        })?,
    })
}

/// What an endpoint's settings follow from that stands elsewhere.
#[derive(Debug, Clone, Copy)]
struct EndpointDefaults<'a> {
    credentials: Option<&'a str>,
    unknown_pods: UnknownPods,
    waiting: WaitingDefaults,
}

fn endpoints(
    from_file: Vec<file::EndpointLayers>,
    from_environment: &Layers,
    defaults: EndpointDefaults<'_>,
) -> Result<Vec<EndpointSettings>, ConfigError> {
    let mut endpoints: Vec<(EndpointSettings, Origin)> = Vec::new();
    for layers in from_file {
        let settings = endpoint(&layers.values, &layers.header, defaults)?;
        add(&mut endpoints, settings, layers.named_at)?;
    }
    if let Some(origin) = from_environment.first_origin() {
        let settings = endpoint(from_environment, origin, defaults)?;
        let origin = settings.origins.of(&keys::ENDPOINT_URL).clone();
        add(&mut endpoints, settings, origin)?;
    }
    Ok(endpoints.into_iter().map(|(settings, _)| settings).collect())
}

fn add(
    endpoints: &mut Vec<(EndpointSettings, Origin)>,
    settings: EndpointSettings,
    named_at: Origin,
) -> Result<(), ConfigError> {
    let name = &settings.name;
    if let Some((_, first)) = endpoints.iter().find(|(other, _)| other.name == *name) {
        return Err(ConfigError::new(&format!(
            "{named_at}: endpoint.name = \"{name}\": also the name of the endpoint at {first}; \
             allowed: a name of its own"
        )));
    }
    if endpoints.len() == ENDPOINTS_MAX {
        return Err(ConfigError::new(&format!(
            "{named_at}: endpoint: too many; allowed: at most {ENDPOINTS_MAX}"
        )));
    }
    endpoints.push((settings, named_at));
    Ok(())
}

/// One endpoint; `header` is where it stands as a whole.
fn endpoint(
    layers: &Layers,
    header: &Origin,
    defaults: EndpointDefaults<'_>,
) -> Result<EndpointSettings, ConfigError> {
    let mut origins = Origins::default();
    let missing = |key: &Key| match header {
        Origin::Environment(_) => ConfigError::new(&format!(
            "{header}: an endpoint without an address; allowed: with {} beside it",
            key.environment.first().copied().unwrap_or_default()
        )),
        _ => ConfigError::new(&format!(
            "{header}: {} is missing; allowed: {}",
            key.path(),
            key.allowed
        )),
    };

    let name_key = &keys::ENDPOINT_NAME;
    let name = match layers.get(name_key, &mut origins, |raw| value::plain_name(raw, 63))? {
        Some(name) => name,
        None if matches!(header, Origin::Environment(_)) => {
            origins.set(name_key, header.clone());
            ENVIRONMENT_ENDPOINT.to_owned()
        }
        None => return Err(missing(name_key)),
    };
    let dialect =
        layers.get_or(&keys::ENDPOINT_DIALECT, &mut origins, Dialect::default(), dialect)?;
    let url = layers
        .get(&keys::ENDPOINT_URL, &mut origins, |raw| EndpointUrl::parse(raw.text()?))?
        .ok_or_else(|| missing(&keys::ENDPOINT_URL))?;
    let o = &mut origins;
    let counters = layers.get_or(&keys::ENDPOINT_COUNTERS, o, Counters::Delta, |raw| {
        value::choice(raw, Counters::from_word)
    })?;
    let timeout = layers.get_or(&keys::ENDPOINT_TIMEOUT, o, 10 * SECOND, |raw| {
        value::duration(raw, Duration::from_millis(100)..=5 * MINUTE)
    })?;
    let concurrency =
        layers.get_or(&keys::ENDPOINT_CONCURRENCY, o, 8, |raw| value::count(raw, 1..=64))?;
    let queue_default = Bytes::from_kibibytes(16 * 1024);
    let queue_bytes = layers.get_or(&keys::ENDPOINT_QUEUE_BYTES, o, queue_default, |raw| {
        value::bytes(raw, Bytes::from_kibibytes(64)..=Bytes::from_kibibytes(1024 * 1024))
    })?;
    let waiting = delivery::waiting(layers, o, dialect, counters, defaults.waiting)?;
    let unknown_pods =
        layers.get_or(&keys::ENDPOINT_UNKNOWN_PODS, o, defaults.unknown_pods, |raw| {
            value::choice(raw, UnknownPods::from_word)
        })?;
    let unknown_namespace = layers.get_or(
        &keys::ENDPOINT_UNKNOWN_NAMESPACE,
        o,
        "unknown".to_owned(),
        value::namespace,
    )?;
    let bearer_token_file = layers.get(&keys::ENDPOINT_BEARER_TOKEN_FILE, &mut origins, |raw| {
        value::secret_path(raw, defaults.credentials)
    })?;
    let o = &mut origins;
    let authorization = "Authorization".to_owned();
    let auth_header =
        layers.get_or(&keys::endpoint::AUTH_HEADER, o, authorization, value::token_header)?;
    let trust = trust(layers, o, (dialect, &url), defaults.credentials)?;
    if layers.is_set(&keys::endpoint::AUTH_HEADER)
        && bearer_token_file.is_none()
        && trust.bearer_token_env.is_none()
    {
        let key = &keys::endpoint::AUTH_HEADER;
        let reason = "there is no token that it would carry";
        return Err(refused(key, &auth_header, o.of(key).clone(), reason));
    }
    let client_errors =
        layers.get_or(&keys::endpoint::CLIENT_ERRORS, o, ClientErrors::Drop, |raw| {
            value::choice(raw, ClientErrors::from_word)
        })?;
    let scope = scope(layers, o)?;
    Ok(EndpointSettings {
        name,
        dialect,
        url,
        counters,
        timeout,
        concurrency,
        queue_bytes,
        waiting,
        unknown_pods,
        unknown_namespace,
        bearer_token_file,
        auth_header,
        trust,
        client_errors,
        scope,
        origins,
    })
}

/// What an endpoint is told.
fn scope(layers: &Layers, origins: &mut Origins) -> Result<ScopeSettings, ConfigError> {
    let mut namespaces = |key| {
        layers.get_or(key, origins, Vec::new(), |raw| value::list(raw, 256, value::namespace))
    };
    Ok(ScopeSettings {
        namespaces: namespaces(&keys::endpoint::NAMESPACES)?,
        namespaces_except: namespaces(&keys::endpoint::NAMESPACES_EXCEPT)?,
        pod_selector: layers.get_or(
            &keys::endpoint::POD_SELECTOR,
            origins,
            String::new(),
            |raw| value::plain_text(raw, 4096),
        )?,
        annotations: layers.get_or(&keys::endpoint::ANNOTATIONS, origins, Vec::new(), |raw| {
            value::list(raw, 64, |raw| value::plain_text(raw, 317))
        })?,
        extras: layers.get_or(&keys::endpoint::EXTRAS, origins, true, value::boolean)?,
    })
}

fn dialect(raw: &Raw) -> Result<Dialect, String> {
    match value::choice(raw, Dialect::from_word) {
        Err(_) if raw.text().is_ok_and(|text| Dialect::NOT_BUILT.contains(&text)) => {
            Err("a known dialect, but not built yet".to_owned())
        }
        checked => checked,
    }
}
