//! Every key there is: where it is set, what it may hold and what holds when nobody sets it.
//!
//! The table is what the readers of the file, the environment and the flags go by, what error
//! lines quote, and what docs/configuration.md is checked against.

pub mod delivery;
pub mod directory;
pub mod endpoint;
pub mod trust;

/// One setting as a person meets it.
#[derive(Debug, PartialEq, Eq)]
pub struct Key {
    /// The TOML table it stands in.
    pub section: &'static str,
    /// Its name in that table.
    pub name: &'static str,
    /// What it may hold, as error lines say it.
    pub allowed: &'static str,
    /// What holds when it is not set.
    pub default: &'static str,
    /// The environment variables that set it, the one to write first.
    pub environment: &'static [&'static str],
    /// The flag that sets it.
    pub flag: Option<&'static str>,
    /// Whether error lines quote what it was set to.
    pub secret: Secret,
    /// What it is for.
    pub purpose: &'static str,
}

/// What of a value may be a secret, by intention or because somebody put it into the wrong key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Secret {
    /// Nothing.
    No,
    /// A URL's user, password and query.
    Url,
    /// All of it: it says where a secret is or how it is shown, and may have been given the secret
    /// itself.
    Place,
}

impl Key {
    /// `section.name`, as error lines write it.
    #[must_use]
    pub fn path(&self) -> String {
        format!("{}.{}", self.section, self.name)
    }
}

/// The section that is an array of tables.
pub const ENDPOINT: &str = "endpoint";

/// `name` in `[node]`; its `purpose` says what for.
pub const NODE_NAME: Key = Key {
    section: "node",
    name: "name",
    allowed: "1 to 253 letters, digits, \".\", \"_\" and \"-\", starting with a letter or digit",
    default: "the variable NODE_NAME, else the host's name",
    environment: &["NODETALLY_NODE_NAME"],
    flag: Some("--node-name"),
    secret: Secret::No,
    purpose: "What the node is called in everything that is sent.",
};

/// `interval` in `[sampling]`; its `purpose` says what for.
pub const SAMPLING_INTERVAL: Key = Key {
    section: "sampling",
    name: "interval",
    allowed: "a number with a unit from 1s to 1h, such as \"15s\" or \"1m 30s\"",
    default: "\"15s\"",
    environment: &["NODETALLY_SAMPLING_INTERVAL", "NODETALLY_INTERVAL"],
    flag: Some("--interval"),
    secret: Secret::No,
    purpose: "The time from one sample to the next.",
};

/// `process_io` in `[sampling]`; its `purpose` says what for.
pub const SAMPLING_PROCESS_IO: Key = Key {
    section: "sampling",
    name: "process_io",
    allowed: "true or false",
    default: "false",
    environment: &["NODETALLY_SAMPLING_PROCESS_IO"],
    flag: None,
    secret: Secret::No,
    purpose: "Whether `run` reads each process's own disk figures: one more file per process and \
              sample, and only of processes the agent may inspect. Pods and units have theirs \
              either way.",
};

/// `tcp_sockets` in `[sampling]`; its `purpose` says what for.
pub const SAMPLING_TCP_SOCKETS: Key = Key {
    section: "sampling",
    name: "tcp_sockets",
    allowed: "true or false",
    default: "true",
    environment: &["NODETALLY_SAMPLING_TCP_SOCKETS"],
    flag: None,
    secret: Secret::No,
    purpose: "Whether the TCP sockets of the host's network namespace are asked for, which is all \
              that is known of the traffic of hostNetwork pods and host units: one or two \
              microseconds a socket and sample.",
};

/// `cmdline` in `[sampling]`; its `purpose` says what for.
pub const SAMPLING_CMDLINE: Key = Key {
    section: "sampling",
    name: "cmdline",
    allowed: "true or false",
    default: "false",
    environment: &["NODETALLY_SAMPLING_CMDLINE"],
    flag: Some("--cmdline"),
    secret: Secret::No,
    purpose: "Whether command lines of processes are read. They can hold secrets.",
};

/// `procfs` in `[paths]`; its `purpose` says what for.
pub const PATHS_PROCFS: Key = Key {
    section: "paths",
    name: "procfs",
    allowed: "a directory's path",
    default: "\"/proc\"",
    environment: &["NODETALLY_PATH_PROCFS"],
    flag: Some("--path.procfs"),
    secret: Secret::No,
    purpose: "Where the host's procfs is mounted.",
};

/// `sysfs` in `[paths]`; its `purpose` says what for.
pub const PATHS_SYSFS: Key = Key {
    section: "paths",
    name: "sysfs",
    allowed: "a directory's path",
    default: "\"/sys\"",
    environment: &["NODETALLY_PATH_SYSFS"],
    flag: Some("--path.sysfs"),
    secret: Secret::No,
    purpose: "Where the host's sysfs is mounted.",
};

/// `cgroupfs` in `[paths]`; its `purpose` says what for.
pub const PATHS_CGROUPFS: Key = Key {
    section: "paths",
    name: "cgroupfs",
    allowed: "a directory's path",
    default: "not set: the cgroup2 mount is found in mountinfo",
    environment: &["NODETALLY_PATH_CGROUPFS"],
    flag: Some("--path.cgroupfs"),
    secret: Secret::No,
    purpose: "Where the host's cgroup2 is mounted.",
};

/// `rootfs` in `[paths]`; its `purpose` says what for.
pub const PATHS_ROOTFS: Key = Key {
    section: "paths",
    name: "rootfs",
    allowed: "a directory's path",
    default: "\"/\"",
    environment: &["NODETALLY_PATH_ROOTFS"],
    flag: Some("--path.rootfs"),
    secret: Secret::No,
    purpose: "Where the host's root filesystem is mounted.",
};

/// `dir` in `[state]`; its `purpose` says what for.
pub const STATE_DIR: Key = Key {
    section: "state",
    name: "dir",
    allowed: "a directory's path, or \"none\" to keep no state",
    default: "\"/run/nodetally\" for root, else \"$XDG_RUNTIME_DIR/nodetally\", else \"none\"",
    environment: &["NODETALLY_STATE_DIR"],
    flag: Some("--state-dir"),
    secret: Secret::No,
    purpose: "Where the last counters are kept, so that a restart of the agent is no gap. Counters \
              hold within one boot only, so a directory that is emptied at boot (tmpfs) is the \
              right place.",
};

/// `level` in `[log]`; its `purpose` says what for.
pub const LOG_LEVEL: Key = Key {
    section: "log",
    name: "level",
    allowed: "\"error\", \"warn\", \"info\", \"debug\" or \"trace\"",
    default: "\"info\"",
    environment: &["NODETALLY_LOG_LEVEL"],
    flag: Some("--log-level"),
    secret: Secret::No,
    purpose: "How much is logged.",
};

/// `name` in `[[endpoint]]`; its `purpose` says what for.
pub const ENDPOINT_NAME: Key = Key {
    section: ENDPOINT,
    name: "name",
    allowed: "1 to 63 letters, digits, \".\", \"_\" and \"-\", starting with a letter or digit",
    default: "required; \"env\" for the endpoint that the environment sets",
    environment: &[],
    flag: None,
    secret: Secret::No,
    purpose: "What logs and state call the endpoint. No two may share one.",
};

/// `dialect` in `[[endpoint]]`; its `purpose` says what for.
pub const ENDPOINT_DIALECT: Key = Key {
    section: ENDPOINT,
    name: "dialect",
    allowed: "\"resource-api\", \"pod-batch\" or \"pod-lifecycle\"",
    default: "\"resource-api\"",
    environment: &["NODETALLY_ENDPOINT_DIALECT"],
    flag: None,
    secret: Secret::No,
    purpose: "The form in which figures are sent.",
};

/// `url` in `[[endpoint]]`; its `purpose` says what for.
pub const ENDPOINT_URL: Key = Key {
    section: ENDPOINT,
    name: "url",
    allowed: "an http:// or https:// URL without a user, password or fragment, such as \
              \"http://metrics.example.com:5000\"",
    default: "required",
    environment: &["NODETALLY_ENDPOINT_URL"],
    flag: None,
    secret: Secret::Url,
    purpose: "The address below which the dialect's paths are found.",
};

/// `counters` in `[[endpoint]]`; its `purpose` says what for.
pub const ENDPOINT_COUNTERS: Key = Key {
    section: ENDPOINT,
    name: "counters",
    allowed: "\"delta\" or \"cumulative\"",
    default: "\"delta\"",
    environment: &["NODETALLY_ENDPOINT_COUNTERS"],
    flag: None,
    secret: Secret::No,
    purpose: "Whether disk and network figures are what passed in the interval or running totals.",
};

/// `timeout` in `[[endpoint]]`; its `purpose` says what for.
pub const ENDPOINT_TIMEOUT: Key = Key {
    section: ENDPOINT,
    name: "timeout",
    allowed: "a number with a unit from 100ms to 5m, such as \"10s\"",
    default: "\"10s\"",
    environment: &["NODETALLY_ENDPOINT_TIMEOUT"],
    flag: None,
    secret: Secret::No,
    purpose: "How long one request may take, the answer included.",
};

/// `concurrency` in `[[endpoint]]`; its `purpose` says what for.
pub const ENDPOINT_CONCURRENCY: Key = Key {
    section: ENDPOINT,
    name: "concurrency",
    allowed: "an integer from 1 to 64",
    default: "8",
    environment: &["NODETALLY_ENDPOINT_CONCURRENCY"],
    flag: None,
    secret: Secret::No,
    purpose: "How many requests may be under way at once.",
};

/// `queue_bytes` in `[[endpoint]]`; its `purpose` says what for.
pub const ENDPOINT_QUEUE_BYTES: Key = Key {
    section: ENDPOINT,
    name: "queue_bytes",
    allowed: "from 64KiB to 1GiB: an integer of bytes, or a text such as \"16MiB\" \
              (KiB, MiB or GiB)",
    default: "\"16MiB\"",
    environment: &["NODETALLY_ENDPOINT_QUEUE_BYTES"],
    flag: None,
    secret: Secret::No,
    purpose: "How much is kept for the endpoint in memory: where durability is \"memory\", or the \
              disk fails. Beyond it the oldest goes. Files in state.dir take as much again, which is \
              memory too where that is a tmpfs.",
};

/// `unknown_pods` in `[[endpoint]]`; its `purpose` says what for.
pub const ENDPOINT_UNKNOWN_PODS: Key = Key {
    section: ENDPOINT,
    name: "unknown_pods",
    allowed: "\"wait\", \"uid\" or \"skip\"",
    default: "\"wait\" where directory.sources has one that knows pods, else \"uid\"",
    environment: &["NODETALLY_ENDPOINT_UNKNOWN_PODS"],
    flag: None,
    secret: Secret::No,
    purpose: "What happens to a pod whose name is not known: it is sent once it becomes known, with \
              all that passed until then; or under its uid; or not at all.",
};

/// `unknown_namespace` in `[[endpoint]]`; its `purpose` says what for.
pub const ENDPOINT_UNKNOWN_NAMESPACE: Key = Key {
    section: ENDPOINT,
    name: "unknown_namespace",
    allowed: "1 to 63 lower-case letters, digits and \"-\", starting and ending with a letter or \
              digit",
    default: "\"unknown\"",
    environment: &["NODETALLY_ENDPOINT_UNKNOWN_NAMESPACE"],
    flag: None,
    secret: Secret::No,
    purpose: "The namespace that stands beside a pod sent under its uid.",
};

/// `bearer_token_file` in `[[endpoint]]`; its `purpose` says what for.
pub const ENDPOINT_BEARER_TOKEN_FILE: Key = Key {
    section: ENDPOINT,
    name: "bearer_token_file",
    allowed: "the absolute path of a file that holds the token alone, or \
              \"${CREDENTIALS_DIRECTORY}/NAME\" for a credential from systemd",
    default: "not set: nothing is sent",
    environment: &["NODETALLY_ENDPOINT_BEARER_TOKEN_FILE"],
    flag: None,
    secret: Secret::Place,
    purpose: "The secret that is sent in `auth_header`. It stands in a file of its own \
              so that neither this file nor a process list shows it, and is read again when it \
              changes and when the endpoint answers 401.",
};

/// `listen` in `[receiver]`; its `purpose` says what for.
pub const RECEIVER_LISTEN: Key = Key {
    section: "receiver",
    name: "listen",
    allowed: "an IP address and a port, such as \"127.0.0.1:7643\" or \"[::1]:7643\"",
    default: "\"127.0.0.1:7643\"",
    environment: &["NODETALLY_RECEIVER_LISTEN"],
    flag: Some("--listen"),
    secret: Secret::No,
    purpose: "Where the embedded receiver answers. It runs only while no endpoint is configured.",
};

/// `retention` in `[receiver]`; its `purpose` says what for.
pub const RECEIVER_RETENTION: Key = Key {
    section: "receiver",
    name: "retention",
    allowed: "a number with a unit from 1m to 24h, such as \"1h\"",
    default: "\"1h\"",
    environment: &["NODETALLY_RECEIVER_RETENTION"],
    flag: None,
    secret: Secret::No,
    purpose: "How far back the embedded receiver can answer.",
};

/// `stale_after` in `[receiver]`; its `purpose` says what for.
pub const RECEIVER_STALE_AFTER: Key = Key {
    section: "receiver",
    name: "stale_after",
    allowed: "a number with a unit from 1s to 24h, such as \"60s\"",
    default: "\"60s\", or four sampling intervals where that is longer",
    environment: &["NODETALLY_RECEIVER_STALE_AFTER"],
    flag: None,
    secret: Secret::No,
    purpose: "How old a node's or pod's last figures may be before the receiver leaves it out as \
              gone.",
};

/// `pod_usage` in `[filesystem]`; its `purpose` says what for.
pub const FILESYSTEM_POD_USAGE: Key = Key {
    section: "filesystem",
    name: "pod_usage",
    allowed: "true or false",
    default: "true",
    environment: &["NODETALLY_FILESYSTEM_POD_USAGE"],
    flag: None,
    secret: Secret::No,
    purpose: "Whether the writable layers, emptyDir volumes and logs of pods are measured, on a \
              thread of its own that yields to all other I/O.",
};

/// `entries_per_second` in `[filesystem]`; its `purpose` says what for.
pub const FILESYSTEM_ENTRIES_PER_SECOND: Key = Key {
    section: "filesystem",
    name: "entries_per_second",
    allowed: "an integer from 10 to 100000",
    default: "2000",
    environment: &["NODETALLY_FILESYSTEM_ENTRIES_PER_SECOND"],
    flag: None,
    secret: Secret::No,
    purpose: "How many files and directories are looked at in a second at most.",
};

/// `refresh` in `[filesystem]`; its `purpose` says what for.
pub const FILESYSTEM_REFRESH: Key = Key {
    section: "filesystem",
    name: "refresh",
    allowed: "a number with a unit from 10s to 24h, such as \"5m\"",
    default: "\"5m\"",
    environment: &["NODETALLY_FILESYSTEM_REFRESH"],
    flag: None,
    secret: Secret::No,
    purpose: "The shortest time from one measurement of a directory to the next.",
};

/// `kubelet_dir` in `[filesystem]`; its `purpose` says what for.
pub const FILESYSTEM_KUBELET_DIR: Key = Key {
    section: "filesystem",
    name: "kubelet_dir",
    allowed: "the absolute path of a directory of the host",
    default: "\"/var/lib/kubelet\"",
    environment: &["NODETALLY_FILESYSTEM_KUBELET_DIR"],
    flag: None,
    secret: Secret::No,
    purpose: "Where the kubelet keeps the pods' volumes.",
};

/// `listen` in `[status]`; its `purpose` says what for.
pub const STATUS_LISTEN: Key = Key {
    section: "status",
    name: "listen",
    allowed: "an IP address and a port, such as \"127.0.0.1:7644\", or \"none\"",
    default: "\"none\"",
    environment: &["NODETALLY_STATUS_LISTEN"],
    flag: None,
    secret: Secret::No,
    purpose: "Where `run` answers for itself: /healthz, /readyz, its own figures at /metrics, and \
              what `nodetally status` shows at /status.",
};

/// `socket` in `[status]`; its `purpose` says what for.
pub const STATUS_SOCKET: Key = Key {
    section: "status",
    name: "socket",
    allowed: "the path of a unix socket of at most 107 bytes, or \"none\"",
    default: "\"status.sock\" in state.dir; \"none\" without one, or where its path would be too long",
    environment: &["NODETALLY_STATUS_SOCKET"],
    flag: None,
    secret: Secret::No,
    purpose: "Where `run` answers the same to its own user and root, and where `nodetally status` \
              asks.",
};

/// Every key, in the order in which they are documented and shown.
pub const KEYS: &[&Key] = &[
    &NODE_NAME,
    &SAMPLING_INTERVAL,
    &SAMPLING_PROCESS_IO,
    &SAMPLING_TCP_SOCKETS,
    &SAMPLING_CMDLINE,
    &PATHS_PROCFS,
    &PATHS_SYSFS,
    &PATHS_CGROUPFS,
    &PATHS_ROOTFS,
    &directory::SOURCES,
    &directory::KUBECONFIG,
    &directory::ANNOTATION_BYTES_MAX,
    &directory::KUBELET_URL,
    &directory::KUBELET_CA_FILE,
    &directory::KUBELET_INSECURE,
    &directory::KUBELET_TOKEN_FILE,
    &directory::CRI_SOCKET,
    &directory::FILE,
    &directory::DOCKER_SOCKET,
    &directory::PODMAN_SOCKET,
    &directory::CLUSTER_ID,
    &directory::CLUSTER_NAME,
    &directory::CLUSTER_PROVIDER,
    &directory::CLUSTER_REGION,
    &directory::CLUSTER_ZONE,
    &directory::CLUSTER_LABELS,
    &FILESYSTEM_POD_USAGE,
    &FILESYSTEM_ENTRIES_PER_SECOND,
    &FILESYSTEM_REFRESH,
    &FILESYSTEM_KUBELET_DIR,
    &STATE_DIR,
    &delivery::SPOOL_DIR,
    &STATUS_LISTEN,
    &STATUS_SOCKET,
    &LOG_LEVEL,
    &ENDPOINT_NAME,
    &ENDPOINT_DIALECT,
    &ENDPOINT_URL,
    &ENDPOINT_COUNTERS,
    &ENDPOINT_TIMEOUT,
    &ENDPOINT_CONCURRENCY,
    &ENDPOINT_QUEUE_BYTES,
    &delivery::DURABILITY,
    &delivery::SPOOL_BYTES,
    &delivery::SPOOL_AGE,
    &delivery::STALE_AFTER,
    &delivery::STALE,
    &delivery::TRIES_MAX,
    &delivery::SPREAD,
    &ENDPOINT_UNKNOWN_PODS,
    &ENDPOINT_UNKNOWN_NAMESPACE,
    &ENDPOINT_BEARER_TOKEN_FILE,
    &trust::BEARER_TOKEN_ENV,
    &endpoint::AUTH_HEADER,
    &trust::CA_FILE,
    &trust::CLIENT_CERTIFICATE_FILE,
    &trust::CLIENT_KEY_FILE,
    &trust::SERVER_NAME,
    &trust::COMPRESSION,
    &endpoint::NAMESPACES,
    &endpoint::NAMESPACES_EXCEPT,
    &endpoint::POD_SELECTOR,
    &endpoint::ANNOTATIONS,
    &endpoint::EXTRAS,
    &endpoint::CLIENT_ERRORS,
    &RECEIVER_LISTEN,
    &RECEIVER_RETENTION,
    &RECEIVER_STALE_AFTER,
];

/// Where systemd has a service keep what outlives a boot.
pub const STATE_DIRECTORY_VARIABLE: &str = "STATE_DIRECTORY";

/// Where systemd puts the credentials of a service; it may begin a token's path.
pub const CREDENTIALS_VARIABLE: &str = "CREDENTIALS_DIRECTORY";

/// The variable that names the configuration file.
pub const CONFIG_VARIABLE: &str = "NODETALLY_CONFIG";
/// What all variables of this program begin with.
pub const VARIABLE_PREFIX: &str = "NODETALLY_";
/// The variable that a pod's manifest usually fills from `spec.nodeName`.
pub const NODE_NAME_VARIABLE: &str = "NODE_NAME";
/// Set by the kubelet in every container of a pod.
pub const SERVICE_HOST_VARIABLE: &str = "KUBERNETES_SERVICE_HOST";

/// A key that went by another name once.
pub(super) struct Renamed {
    /// `section.name` as it was.
    pub from: &'static str,
    pub to: &'static Key,
}

pub(super) const RENAMED: &[Renamed] = &[
    Renamed { from: "sampling.period", to: &SAMPLING_INTERVAL },
    Renamed { from: "endpoint.late", to: &delivery::STALE },
    Renamed { from: "endpoint.late_after", to: &delivery::STALE_AFTER },
];

/// The key of this name in this section.
pub(super) fn find(section: &str, name: &str) -> Option<&'static Key> {
    KEYS.iter().copied().find(|key| key.section == section && key.name == name)
}

/// The keys of one section, in the order of the table.
pub(super) fn in_section(section: &str) -> impl Iterator<Item = &'static Key> {
    KEYS.iter().copied().filter(move |key| key.section == section)
}

/// The sections, in the order of the table.
pub(super) fn sections() -> Vec<&'static str> {
    let mut sections: Vec<&'static str> = KEYS.iter().map(|key| key.section).collect();
    sections.dedup();
    sections
}

/// The successor of a key, where `path` (`section.name`) is a name of the past.
pub(super) fn successor(path: &str) -> Option<&'static Key> {
    RENAMED.iter().find(|renamed| renamed.from == path).map(|renamed| renamed.to)
}

/// The candidate that `typed` was most likely meant to be, if one is near enough.
pub(super) fn nearest<T: AsRef<str>>(
    typed: &str,
    candidates: impl IntoIterator<Item = T>,
) -> Option<T> {
    // The distance costs the product of the lengths, and `typed` comes from outside.
    if typed.len() > 128 {
        return None;
    }
    let typed = typed.to_ascii_lowercase().replace('-', "_");
    candidates
        .into_iter()
        .map(|candidate| {
            let other = candidate.as_ref().to_ascii_lowercase();
            (strsim::damerau_levenshtein(&typed, &other), other.len(), candidate)
        })
        .filter(|(distance, length, _)| *distance <= length.max(&typed.len()) / 3)
        .min_by_key(|(distance, ..)| *distance)
        .map(|(.., candidate)| candidate)
}
