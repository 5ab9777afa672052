//! The settings as resolved, and the resolution of the small sections.
//!
//! Every value is checked, and every default is filled in.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::choices::{Durability, LogFormat, LogLevel};
use super::destination::Destination;
use super::directory::{ClusterSettings, DirectorySettings};
use super::endpoint::EndpointSettings;
use super::error::ConfigError;
use super::keys::{self, Key};
use super::layer::{Origin, Origins, Resolver};
use super::store_location::StoreLocation;
use super::value;

/// Everything that can be configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    pub node: NodeSettings,
    pub sampling: SamplingSettings,
    pub paths: PathSettings,
    pub directory: DirectorySettings,
    pub cluster: ClusterSettings,
    pub filesystem: FilesystemSettings,
    pub state: StateSettings,
    pub spool: SpoolSettings,
    pub status: StatusSettings,
    pub metrics: MetricsSettings,
    pub log: LogSettings,
    /// The endpoints in the file's order, that of the environment last. At most
    /// [`super::ENDPOINTS_MAX`]; their names differ.
    pub endpoints: Vec<EndpointSettings>,
    pub receiver: ReceiverSettings,
    /// The origin of each value outside `endpoints`.
    pub origins: Origins,
}

impl Settings {
    /// True if `run` starts its own receiver and sends to it, because no endpoint is configured.
    #[must_use]
    pub fn uses_embedded_receiver(&self) -> bool {
        self.endpoints.is_empty()
    }

    /// True if an endpoint is standard output, so that nothing else may be printed there.
    #[must_use]
    pub fn writes_to_stdout(&self) -> bool {
        self.endpoints.iter().any(|endpoint| endpoint.url == Destination::Stdout)
    }

    /// The same for a run that sends nothing and leaves nothing behind: without state, spool and
    /// servers, so that an agent beside it is not disturbed. Posts do not wait for their turn.
    #[must_use]
    pub fn for_dry_run(mut self) -> Self {
        self.state.dir = None;
        self.spool.dir = None;
        (self.status.listen, self.status.socket) = (None, None);
        (self.metrics.listen, self.metrics.socket) = (None, None);
        for endpoint in &mut self.endpoints {
            endpoint.waiting.durability = Durability::Memory;
            endpoint.waiting.spread = Duration::ZERO;
        }
        self
    }
}

/// `[node]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeSettings {
    /// The node's name in everything that is sent: one segment of a URL.
    pub name: String,
}

impl NodeSettings {
    /// `variable` is the value of `NODE_NAME`.
    pub(super) fn resolve(
        resolver: &mut Resolver<'_>,
        variable: Option<String>,
        host_name: &str,
    ) -> Result<Self, ConfigError> {
        let key = &keys::NODE_NAME;
        if let Some(name) = resolver.find(key)? {
            return Ok(Self { name });
        }
        let name = match variable {
            Some(name) => {
                let origin = Origin::Environment(keys::NODE_NAME_VARIABLE.to_owned());
                resolver.read_from(key, &name, origin)?
            }
            None => resolver.read_from(key, host_name, Origin::HostName)?,
        };
        Ok(Self { name })
    }
}

/// `[sampling]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SamplingSettings {
    /// From one sample to the next; 1 s to 1 h.
    pub interval: Duration,
    /// True if each process's own `/proc/<pid>/io` is read.
    pub process_io: bool,
    /// True if the TCP sockets of the host's network namespace are read.
    pub tcp_sockets: bool,
    /// True if command lines, which can hold secrets, are read.
    pub cmdline: bool,
}

impl SamplingSettings {
    pub(super) fn resolve(resolver: &mut Resolver<'_>) -> Result<Self, ConfigError> {
        Ok(Self {
            interval: resolver.get(&keys::SAMPLING_INTERVAL)?,
            process_io: resolver.get(&keys::SAMPLING_PROCESS_IO)?,
            tcp_sockets: resolver.get(&keys::SAMPLING_TCP_SOCKETS)?,
            cmdline: resolver.get(&keys::SAMPLING_CMDLINE)?,
        })
    }
}

/// `[paths]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathSettings {
    pub procfs: PathBuf,
    pub sysfs: PathBuf,
    /// The cgroup2 mount; `None`: it is found in mountinfo.
    pub cgroupfs: Option<PathBuf>,
    pub rootfs: PathBuf,
}

impl PathSettings {
    pub(super) fn resolve(resolver: &mut Resolver<'_>) -> Result<Self, ConfigError> {
        Ok(Self {
            procfs: resolver.get(&keys::PATHS_PROCFS)?,
            sysfs: resolver.get(&keys::PATHS_SYSFS)?,
            cgroupfs: resolver.find(&keys::PATHS_CGROUPFS)?,
            rootfs: resolver.get(&keys::PATHS_ROOTFS)?,
        })
    }
}

/// `[state]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateSettings {
    /// The directory of the last counters; `None`: they are not kept.
    ///
    /// Counters hold within one boot only, so the defaults lie on tmpfs.
    pub dir: Option<PathBuf>,
}

/// The user and the directories that the environment offers for files of its own.
pub(super) struct UserDirs<'a> {
    pub is_root: bool,
    /// `$STATE_DIRECTORY`: one or more paths with colons between.
    pub state_directory: Option<&'a str>,
    pub xdg_runtime_dir: Option<&'a str>,
    pub xdg_state_home: Option<&'a str>,
    pub home: Option<&'a str>,
}

/// The path in a variable. A relative one counts as unset, as the variables' specifications say.
fn absolute(text: Option<&str>) -> Option<PathBuf> {
    text.map(PathBuf::from).filter(|path| path.is_absolute())
}

impl StateSettings {
    pub(super) fn resolve(
        resolver: &mut Resolver<'_>,
        dirs: &UserDirs<'_>,
    ) -> Result<Self, ConfigError> {
        let default = if dirs.is_root {
            Some(PathBuf::from("/run/nodetally"))
        } else {
            absolute(dirs.xdg_runtime_dir).map(|dir| dir.join("nodetally"))
        };
        Ok(Self { dir: resolver.get_or(&keys::STATE_DIR, default)? })
    }
}

/// `[spool]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpoolSettings {
    /// The directory of the queues on disk; `None`: samples wait in memory.
    pub dir: Option<PathBuf>,
}

impl SpoolSettings {
    pub(super) fn resolve(
        resolver: &mut Resolver<'_>,
        state: &StateSettings,
        dirs: &UserDirs<'_>,
    ) -> Result<Self, ConfigError> {
        let default = lasting_dir(resolver, state, dirs).map(|dir| dir.join("spool"));
        Ok(Self { dir: resolver.get_or(&keys::SPOOL_DIR, default)? })
    }
}

/// The default directory of what outlives a boot.
fn lasting_dir(
    resolver: &Resolver<'_>,
    state: &StateSettings,
    dirs: &UserDirs<'_>,
) -> Option<PathBuf> {
    let of_systemd = dirs.state_directory.and_then(|dirs| dirs.split(':').next());
    if let Some(dir) = absolute(of_systemd) {
        return Some(dir);
    }
    if resolver.is_set(&keys::STATE_DIR) {
        return state.dir.clone();
    }
    if dirs.is_root {
        return Some(PathBuf::from("/var/lib/nodetally"));
    }
    let home = || absolute(dirs.home).map(|home| home.join(".local/state"));
    let dir = absolute(dirs.xdg_state_home).or_else(home)?;
    Some(dir.join("nodetally"))
}

/// `[filesystem]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilesystemSettings {
    /// True if the disk usage of pods is measured.
    pub pod_usage: bool,
    /// Files and directories looked at in a second at most; 10 to 100,000.
    pub entries_per_second: usize,
    /// From one measurement of a directory to the next; 10 s to 24 h.
    pub refresh: Duration,
    /// A path of the host.
    pub kubelet_dir: PathBuf,
}

impl FilesystemSettings {
    pub(super) fn resolve(resolver: &mut Resolver<'_>) -> Result<Self, ConfigError> {
        Ok(Self {
            pod_usage: resolver.get(&keys::FILESYSTEM_POD_USAGE)?,
            entries_per_second: resolver.get(&keys::FILESYSTEM_ENTRIES_PER_SECOND)?,
            refresh: resolver.get(&keys::FILESYSTEM_REFRESH)?,
            kubelet_dir: resolver.get(&keys::FILESYSTEM_KUBELET_DIR)?,
        })
    }
}

/// `[status]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusSettings {
    /// The address of the status server; `None` for none.
    pub listen: Option<SocketAddr>,
    /// The unix socket of the status server; `None` for none.
    pub socket: Option<PathBuf>,
}

impl StatusSettings {
    pub(super) fn resolve(
        resolver: &mut Resolver<'_>,
        state_dir: Option<&Path>,
    ) -> Result<Self, ConfigError> {
        let socket = state_dir.map(|dir| dir.join("status.sock"));
        let socket = socket.filter(|path| value::is_socket_path(path));
        Ok(Self {
            listen: resolver.get(&keys::STATUS_LISTEN)?,
            socket: resolver.get_or(&keys::STATUS_SOCKET, socket)?,
        })
    }
}

/// `[metrics]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetricsSettings {
    /// The address at which metrics are served; `None` for none.
    pub listen: Option<SocketAddr>,
    /// The unix socket at which they are served; `None` for none.
    pub socket: Option<PathBuf>,
    /// The address speaks TLS with this certificate; `None`: plain HTTP.
    pub tls: Option<ServerCertificateFiles>,
    /// The file of the token that requests must carry; `None`: they need none.
    pub bearer_token_file: Option<PathBuf>,
    /// The processes with figures of their own: so many by CPU time and by memory; 0: no processes.
    pub processes: usize,
}

/// The files of a server's certificate and its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerCertificateFiles {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl ServerCertificateFiles {
    /// The files that two keys name; `None`: neither is set.
    fn resolve(
        resolver: &mut Resolver<'_>,
        certificate: &'static Key,
        key: &'static Key,
    ) -> Result<Option<Self>, ConfigError> {
        match (resolver.find(certificate)?, resolver.find(key)?) {
            (None, None) => Ok(None),
            (Some(certificate), Some(key)) => Ok(Some(Self { certificate, key })),
            (Some(_), None) => Err(resolver.conflict(certificate, "its key is missing")),
            (None, Some(_)) => Err(resolver.conflict(key, "its certificate is missing")),
        }
    }
}

impl MetricsSettings {
    /// `true` if metrics are served anywhere.
    #[must_use]
    pub fn is_served(&self) -> bool {
        self.listen.is_some() || self.socket.is_some()
    }

    /// True if a file of it is a credential of the service, which this process does not have.
    #[must_use]
    pub fn has_credentials_elsewhere(&self) -> bool {
        let of_tls = self.tls.iter().flat_map(|tls| [&tls.certificate, &tls.key]);
        let mut files = self.bearer_token_file.iter().chain(of_tls);
        files.any(|file| value::is_credential_elsewhere(file))
    }

    pub(super) fn resolve(resolver: &mut Resolver<'_>) -> Result<Self, ConfigError> {
        let listen: Option<SocketAddr> = resolver.get(&keys::METRICS_LISTEN)?;
        let socket: Option<PathBuf> = resolver.get(&keys::METRICS_SOCKET)?;
        let (certificate, key) = (&keys::METRICS_TLS_CERTIFICATE_FILE, &keys::METRICS_TLS_KEY_FILE);
        let tls = ServerCertificateFiles::resolve(resolver, certificate, key)?;
        let bearer_token_file = resolver.find(&keys::METRICS_BEARER_TOKEN_FILE)?;
        if tls.is_some() && listen.is_none() {
            let key = &keys::METRICS_TLS_CERTIFICATE_FILE;
            return Err(resolver.conflict(key, "metrics.listen is \"none\""));
        }
        if bearer_token_file.is_some() && listen.is_none() && socket.is_none() {
            let reason = "metrics.listen and metrics.socket are \"none\"";
            return Err(resolver.conflict(&keys::METRICS_BEARER_TOKEN_FILE, reason));
        }
        let processes = resolver.get(&keys::METRICS_PROCESSES)?;
        Ok(Self { listen, socket, tls, bearer_token_file, processes })
    }
}

/// `[log]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSettings {
    pub level: LogLevel,
    pub format: LogFormat,
}

impl LogSettings {
    pub(super) fn resolve(resolver: &mut Resolver<'_>) -> Result<Self, ConfigError> {
        Ok(Self {
            level: resolver.get(&keys::LOG_LEVEL)?,
            format: resolver.get(&keys::LOG_FORMAT)?,
        })
    }
}

/// `[receiver]`: the embedded one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiverSettings {
    /// Port 0 chooses a free port.
    pub listen: SocketAddr,
    /// `None`: plain HTTP.
    pub tls: Option<ServerCertificateFiles>,
    /// The file of the tokens that requests must carry; `None`: they need none.
    pub tokens_file: Option<PathBuf>,
    /// The API server that may name a request's user; `None`: none may.
    pub front_proxy: Option<FrontProxySettings>,
    /// True if the API server is asked whose other tokens are.
    pub token_review: bool,
    /// True if other hosts may reach it without TLS or without tokens.
    pub insecure: bool,
    /// The database; `None`: in memory.
    pub store: Option<StoreLocation>,
    /// The age of the oldest sample that is kept; 1 min to 90 days.
    pub retention: Duration,
    /// The age at which the last values of a node or pod count as gone; 1 s to 24 h.
    pub stale_after: Duration,
}

/// The front proxy of a Kubernetes API server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrontProxySettings {
    pub client_ca_file: PathBuf,
    /// Empty: every common name is allowed.
    pub allowed_names: Vec<String>,
}

impl FrontProxySettings {
    fn resolve(resolver: &mut Resolver<'_>) -> Result<Option<Self>, ConfigError> {
        let names = &keys::RECEIVER_REQUESTHEADER_ALLOWED_NAMES;
        let allowed_names: Vec<String> = resolver.get(names)?;
        match resolver.find(&keys::RECEIVER_REQUESTHEADER_CLIENT_CA_FILE)? {
            Some(client_ca_file) => Ok(Some(Self { client_ca_file, allowed_names })),
            None if allowed_names.is_empty() => Ok(None),
            None => Err(resolver.conflict(names, "requestheader_client_ca_file is not set")),
        }
    }
}

impl ReceiverSettings {
    /// True if other hosts reach its address.
    #[must_use]
    pub fn is_exposed(&self) -> bool {
        !self.listen.ip().to_canonical().is_loopback()
    }

    /// True if a file of it is a credential of the service, which this process does not have.
    #[must_use]
    pub fn has_credentials_elsewhere(&self) -> bool {
        let of_tls = self.tls.iter().flat_map(|tls| [&tls.certificate, &tls.key]);
        let of_proxy = self.front_proxy.iter().map(|proxy| &proxy.client_ca_file);
        let mut files = self.tokens_file.iter().chain(of_tls).chain(of_proxy);
        files.any(|file| value::is_credential_elsewhere(file))
    }

    pub(super) fn resolve(
        resolver: &mut Resolver<'_>,
        state: &StateSettings,
        dirs: &UserDirs<'_>,
        interval: Duration,
    ) -> Result<Self, ConfigError> {
        let store = lasting_dir(resolver, state, dirs).map(|dir| dir.join("receiver.db"));
        let store = store.map(StoreLocation::File);
        let store: Option<StoreLocation> = resolver.get_or(&keys::RECEIVER_STORE, store)?;
        // What is in memory is bounded, so it is short.
        let hours = if store.is_some() { 90 * 24 } else { 1 };
        let retention = Duration::from_secs(hours * 3600);
        // With a sample every five minutes, a limit of one would leave every node out.
        let stale_after = Duration::from_secs(60).max(4 * interval);
        let tls = ServerCertificateFiles::resolve(
            resolver,
            &keys::RECEIVER_TLS_CERTIFICATE_FILE,
            &keys::RECEIVER_TLS_KEY_FILE,
        )?;
        let tokens_file: Option<PathBuf> = resolver.find(&keys::RECEIVER_TOKENS_FILE)?;
        let front_proxy = FrontProxySettings::resolve(resolver)?;
        if front_proxy.is_some() && (tls.is_none() || tokens_file.is_none()) {
            let key = &keys::RECEIVER_REQUESTHEADER_CLIENT_CA_FILE;
            let missing = if tls.is_none() { "tls_certificate_file" } else { "tokens_file" };
            return Err(resolver.conflict(key, &format!("receiver.{missing} is not set")));
        }
        let token_review = resolver.get(&keys::RECEIVER_TOKEN_REVIEW)?;
        if token_review && tokens_file.is_none() {
            let key = &keys::RECEIVER_TOKEN_REVIEW;
            return Err(resolver.conflict(key, "receiver.tokens_file is not set"));
        }
        Ok(Self {
            listen: resolver.get(&keys::RECEIVER_LISTEN)?,
            tls,
            token_review,
            tokens_file,
            front_proxy,
            insecure: resolver.get(&keys::RECEIVER_INSECURE)?,
            store,
            retention: resolver.get_or(&keys::RECEIVER_RETENTION, retention)?,
            stale_after: resolver.get_or(&keys::RECEIVER_STALE_AFTER, stale_after)?,
        })
    }
}
