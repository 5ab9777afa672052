//! The settings as resolved: every value checked, every default filled in.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::choices::{ClientErrors, Counters, Durability, LogLevel, StalePolicy, UnknownPods};
use super::directory::{ClusterSettings, DirectorySettings};
use super::endpoint_url::EndpointUrl;
use super::layer::Origins;
use super::trust::TrustSettings;
use crate::payload::dialect::Dialect;
use crate::quantity::Bytes;

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
    pub log: LogSettings,
    /// Where figures are sent, in the file's order, the environment's last. At most
    /// [`super::ENDPOINTS_MAX`]; their names differ.
    pub endpoints: Vec<EndpointSettings>,
    pub receiver: ReceiverSettings,
    /// Where each value outside `endpoints` came from.
    pub origins: Origins,
}

impl Settings {
    /// Whether `run` starts its own receiver and sends to it: when it has nobody else to send to.
    #[must_use]
    pub fn uses_embedded_receiver(&self) -> bool {
        self.endpoints.is_empty()
    }
}

/// `[node]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeSettings {
    /// What the node is called in everything that is sent: one segment of a URL.
    pub name: String,
}

/// `[sampling]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SamplingSettings {
    /// From one sample to the next; 1 s to 1 h.
    pub interval: Duration,
    /// Whether each process's own `/proc/<pid>/io` is read.
    pub process_io: bool,
    /// Whether the TCP sockets of the host's network namespace are asked for.
    pub tcp_sockets: bool,
    /// Whether command lines, which can hold secrets, are read.
    pub cmdline: bool,
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

/// `[state]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateSettings {
    /// Where the last counters are kept; `None`: they are not.
    ///
    /// Counters hold within one boot only, so the defaults lie on tmpfs.
    pub dir: Option<PathBuf>,
}

/// `[spool]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpoolSettings {
    /// Where samples wait for endpoints that do not answer; `None`: in memory.
    pub dir: Option<PathBuf>,
}

/// `[filesystem]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilesystemSettings {
    /// Whether what pods keep on disk is measured.
    pub pod_usage: bool,
    /// Files and directories looked at in a second at most; 10 to 100,000.
    pub entries_per_second: usize,
    /// From one measurement of a directory to the next; 10 s to 24 h.
    pub refresh: Duration,
    /// On the host.
    pub kubelet_dir: PathBuf,
}

/// `[status]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusSettings {
    /// Where the agent answers for itself; `None`: nowhere.
    pub listen: Option<SocketAddr>,
    /// The unix socket on which it does; `None`: on none.
    pub socket: Option<PathBuf>,
}

/// `[log]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSettings {
    pub level: LogLevel,
}

/// One `[[endpoint]]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointSettings {
    /// Unique among the endpoints; usable as a file's name.
    pub name: String,
    pub dialect: Dialect,
    /// The address below which the dialect's paths are found.
    pub url: EndpointUrl,
    pub counters: Counters,
    /// How long one request may take, the answer included; 100 ms to 5 min.
    pub timeout: Duration,
    /// How many requests may be under way at once; 1 to 64.
    pub concurrency: usize,
    /// How much is kept in memory while the endpoint cannot be reached; 64 KiB to 1 GiB.
    pub queue_bytes: Bytes,
    pub waiting: WaitingSettings,
    pub unknown_pods: UnknownPods,
    /// The namespace that stands beside a pod sent under its uid.
    pub unknown_namespace: String,
    /// The file that holds the bearer token; `None`: none is sent, unless
    /// [`TrustSettings::bearer_token_env`] names a variable.
    pub bearer_token_file: Option<PathBuf>,
    /// The header that carries it; `Authorization` as `Bearer`, any other bare.
    pub auth_header: String,
    pub trust: TrustSettings,
    pub client_errors: ClientErrors,
    pub scope: ScopeSettings,
    /// Where each of these values came from.
    pub origins: Origins,
}

/// What becomes of samples that an endpoint does not take at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitingSettings {
    pub durability: Durability,
    /// How much waits on disk; 1 MiB to 64 GiB.
    pub spool_bytes: Bytes,
    /// How long a sample waits; 1 min to 30 d.
    pub spool_age: Duration,
    /// How old a sample may be for a server that stamps what it gets; 1 s to 30 d.
    pub stale_after: Duration,
    pub stale: StalePolicy,
    /// How often a post is tried that the endpoint fails on; 1 to 100.
    pub tries_max: usize,
    /// The time over which nodes spread what they send; up to the interval.
    pub spread: Duration,
}

/// What an endpoint is told.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ScopeSettings {
    /// Only pods of these are sent; empty: of all.
    pub namespaces: Vec<String>,
    pub namespaces_except: Vec<String>,
    /// A label selector as Kubernetes writes it; empty: all.
    pub pod_selector: String,
    /// Keys of annotations, a `*` at the end standing for the rest.
    pub annotations: Vec<String>,
    /// Whether the resource API is told more than its document asks for.
    pub extras: bool,
}

/// `[receiver]`: the embedded one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiverSettings {
    /// Port 0 takes any free port.
    pub listen: SocketAddr,
    /// How far back it can answer; 1 min to 24 h.
    pub retention: Duration,
    /// How old the last figures of what still exists may be; 1 s to 24 h.
    pub stale_after: Duration,
}
