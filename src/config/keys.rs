//! The declaration of every key.
//!
//! A key is declared here once. From its declaration come the reading and checking of its value,
//! the error lines, `nodetally config`, the flags and their help, and the table in
//! docs/configuration.md.

use std::time::Duration;

use super::choices::{
    ClientErrors, Compression, Counters, DirectorySource, Durability, LogFormat, LogLevel,
    Protocol, StalePolicy, UnknownPods,
};
use super::kind::Kind;
pub use super::value::Secrecy;
pub use super::variables::{
    CONFIG_VARIABLE, CREDENTIALS_VARIABLE, NODE_NAME_VARIABLE, SERVICE_HOST_VARIABLE,
    STATE_DIRECTORY_VARIABLE, VARIABLE_PREFIX,
};
use crate::payload::dialect::Dialect;
use crate::quantity::Bytes;

/// One setting.
#[derive(Debug, PartialEq, Eq)]
pub struct Key {
    /// The TOML table of the key.
    pub section: &'static str,
    /// The name in that table.
    pub name: &'static str,
    /// The values that it may hold.
    pub kind: Kind,
    /// A condition on other keys under which it may be set; empty if there is none.
    pub condition: &'static str,
    /// The value when it is not set.
    pub default: KeyDefault,
    /// The environment variables that set it, the preferred one first.
    pub environment: &'static [&'static str],
    /// The flag that sets it.
    pub flag: Option<KeyFlag>,
    /// The part of its value that error lines hide.
    pub secrecy: Secrecy,
    /// Its use, in sentences. The first one is the help of its flag.
    pub purpose: &'static str,
    /// Its `section.name` in former releases, which is answered with the new name.
    pub former: &'static [&'static str],
    /// Its flags in former releases, without dashes.
    pub former_flags: &'static [&'static str],
}

/// The value of a key that is not set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyDefault {
    /// This text, read as if it were set. Empty for an empty list.
    Is(&'static str),
    /// A value that depends on others, in words.
    Computed(&'static str),
    /// No value; the words say what follows.
    Unset(&'static str),
    /// It must be set, in words.
    Required(&'static str),
}

/// The flag of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyFlag {
    /// The name without dashes.
    pub long: &'static str,
    /// The placeholder of its value in the help; empty for a switch.
    pub value_name: &'static str,
    pub commands: FlagCommands,
}

/// The commands that have a flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlagCommands {
    All,
    /// `run`, and the commands that show what `run` would do.
    Run,
    /// `dump`, which declares the flag itself.
    Dump,
}

impl Key {
    /// `section.name`, as error lines write it.
    #[must_use]
    pub fn path(&self) -> String {
        format!("{}.{}", self.section, self.name)
    }

    /// The values that are allowed, and the condition under which the key may be set.
    #[must_use]
    pub fn allowed(&self) -> String {
        let allowed = self.kind.allowed();
        if self.condition.is_empty() { allowed } else { format!("{allowed}; {}", self.condition) }
    }

    /// The default as the documentation shows it: a TOML value, or words.
    #[must_use]
    pub fn default_text(&self) -> String {
        match self.default {
            KeyDefault::Is(text) if self.kind.is_string() => format!("\"{text}\""),
            KeyDefault::Is("") => "[]".to_owned(),
            KeyDefault::Is(text)
            | KeyDefault::Computed(text)
            | KeyDefault::Unset(text)
            | KeyDefault::Required(text) => text.to_owned(),
        }
    }
}

/// The section that is an array of tables.
pub const ENDPOINT: &str = "endpoint";

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const NINETY_DAYS: Duration = Duration::from_secs(90 * 24 * 60 * 60);

/// The fields that most keys have in common.
const COMMON: Key = Key {
    section: "",
    name: "",
    kind: Kind::Bool,
    condition: "",
    default: KeyDefault::Is("false"),
    environment: &[],
    flag: None,
    secrecy: Secrecy::None,
    purpose: "",
    former: &[],
    former_flags: &[],
};

const fn flag(
    long: &'static str,
    value_name: &'static str,
    commands: FlagCommands,
) -> Option<KeyFlag> {
    Some(KeyFlag { long, value_name, commands })
}

const DIRECTORY_PATH: Kind = Kind::Path("a directory's path");
const PLAIN_NAME: Kind = Kind::Name { chars_max: 253 };
const UNIX_SOCKET: Kind = Kind::AbsolutePath("a unix socket");
const TOKEN_FILE: Kind = Kind::SecretPath("a file that holds the token alone");
const NAMESPACES: Kind = Kind::List { of: &Kind::Namespace, max: 256, items: "namespaces" };
const NO_CERTIFICATE: KeyDefault = KeyDefault::Unset("not set: no certificate is shown");
const NO_TLS: KeyDefault = KeyDefault::Unset("not set: plain HTTP");
const NO_TOKEN: KeyDefault = KeyDefault::Unset("not set: nothing is sent");

macro_rules! keys {
    ($($constant:ident: $section:literal . $name:literal { $($field:ident: $value:expr,)+ })+) => {
        $(
            #[doc = concat!("`", $section, ".", $name, "`")]
            pub const $constant: Key =
                Key { section: $section, name: $name, $($field: $value,)+ ..COMMON };
        )+

        /// Every key, in the order in which they are documented and shown.
        pub const KEYS: &[&Key] = &[$(&$constant),+];
    };
}

keys! {
    NODE_NAME: "node"."name" {
        kind: PLAIN_NAME,
        default: KeyDefault::Computed("the variable NODE_NAME, else the host's name"),
        environment: &["NODETALLY_NODE_NAME"],
        flag: flag("node-name", "NAME", FlagCommands::Run),
        purpose: "The node's name in everything that is sent.",
    }
    SAMPLING_INTERVAL: "sampling"."interval" {
        kind: Kind::Duration { min: SECOND, max: HOUR, examples: "\"15s\" or \"1m 30s\"" },
        default: KeyDefault::Is("15s"),
        environment: &["NODETALLY_SAMPLING_INTERVAL", "NODETALLY_INTERVAL"],
        flag: flag("interval", "DURATION", FlagCommands::Run),
        former: &["sampling.period"],
        former_flags: &["period"],
        purpose: "The time from one sample to the next.",
    }
    SAMPLING_PROCESS_IO: "sampling"."process_io" {
        kind: Kind::Bool,
        default: KeyDefault::Is("false"),
        environment: &["NODETALLY_SAMPLING_PROCESS_IO"],
        purpose: "Whether `run` reads each process's own disk counters: one more file per \
            process and sample, and only of processes that the agent may inspect. Pods and \
            units have theirs either way.",
    }
    SAMPLING_TCP_SOCKETS: "sampling"."tcp_sockets" {
        kind: Kind::Bool,
        default: KeyDefault::Is("true"),
        environment: &["NODETALLY_SAMPLING_TCP_SOCKETS"],
        purpose: "Whether the TCP sockets of the host's network namespace are read. Nothing else \
            is known of the traffic of hostNetwork pods and host units. It costs one or \
            two microseconds a socket and sample. While connections are opened, the sockets are read \
            up to once a second, for at most 0.5 % of a CPU.",
    }
    SAMPLING_CMDLINE: "sampling"."cmdline" {
        kind: Kind::Bool,
        default: KeyDefault::Is("false"),
        environment: &["NODETALLY_SAMPLING_CMDLINE"],
        flag: flag("cmdline", "", FlagCommands::Dump),
        purpose: "Whether command lines of processes are read. They can hold secrets.",
    }
    PATHS_PROCFS: "paths"."procfs" {
        kind: DIRECTORY_PATH,
        default: KeyDefault::Is("/proc"),
        environment: &["NODETALLY_PATH_PROCFS"],
        flag: flag("path.procfs", "DIR", FlagCommands::All),
        purpose: "Where the host's procfs is mounted.",
    }
    PATHS_SYSFS: "paths"."sysfs" {
        kind: DIRECTORY_PATH,
        default: KeyDefault::Is("/sys"),
        environment: &["NODETALLY_PATH_SYSFS"],
        flag: flag("path.sysfs", "DIR", FlagCommands::All),
        purpose: "Where the host's sysfs is mounted.",
    }
    PATHS_CGROUPFS: "paths"."cgroupfs" {
        kind: DIRECTORY_PATH,
        default: KeyDefault::Unset("not set: the cgroup2 mount is found in mountinfo"),
        environment: &["NODETALLY_PATH_CGROUPFS"],
        flag: flag("path.cgroupfs", "DIR", FlagCommands::All),
        purpose: "Where the host's cgroup2 is mounted.",
    }
    PATHS_ROOTFS: "paths"."rootfs" {
        kind: DIRECTORY_PATH,
        default: KeyDefault::Is("/"),
        environment: &["NODETALLY_PATH_ROOTFS"],
        flag: flag("path.rootfs", "DIR", FlagCommands::All),
        purpose: "Where the host's root filesystem is mounted.",
    }
    DIRECTORY_SOURCES: "directory"."sources" {
        kind: Kind::Set(DirectorySource::WORDS),
        default: KeyDefault::Computed(
            "[\"kubernetes\"] in a pod (where KUBERNETES_SERVICE_HOST is set), else []"
        ),
        environment: &["NODETALLY_DIRECTORY_SOURCES"],
        purpose: "The sources of the names of pods and containers. Where several know a pod, the \
            first in this order is believed. None of them delays a sample.",
    }
    DIRECTORY_KUBECONFIG: "directory"."kubeconfig" {
        kind: Kind::Path("the path of a kubeconfig file"),
        default: KeyDefault::Unset(
            "not set: the service account of the pod that the agent runs in"
        ),
        environment: &["NODETALLY_DIRECTORY_KUBECONFIG"],
        secrecy: Secrecy::Place,
        purpose: "How the API server is reached from outside a pod: its current context is used.",
    }
    DIRECTORY_ANNOTATION_BYTES_MAX: "directory"."annotation_bytes_max" {
        kind: Kind::Bytes { min: Bytes::ZERO, max: Bytes::from_kibibytes(64), example: "1KiB" },
        default: KeyDefault::Is("1KiB"),
        environment: &["NODETALLY_DIRECTORY_ANNOTATION_BYTES_MAX"],
        purpose: "Annotations with a longer value are not kept.",
    }
    DIRECTORY_KUBELET_URL: "directory"."kubelet_url" {
        kind: Kind::HttpsUrl { example: "https://127.0.0.1:10250" },
        default: KeyDefault::Is("https://127.0.0.1:10250"),
        environment: &["NODETALLY_DIRECTORY_KUBELET_URL"],
        secrecy: Secrecy::Url,
        purpose: "Where this node's kubelet answers, by a name or address that its certificate \
            is for.",
    }
    DIRECTORY_KUBELET_CA_FILE: "directory"."kubelet_ca_file" {
        kind: Kind::Path("the path of a file of PEM certificates"),
        default: KeyDefault::Is("/var/run/secrets/kubernetes.io/serviceaccount/ca.crt"),
        environment: &["NODETALLY_DIRECTORY_KUBELET_CA_FILE"],
        purpose: "The CAs that sign the kubelet's serving certificate.",
    }
    DIRECTORY_KUBELET_INSECURE: "directory"."kubelet_insecure" {
        kind: Kind::Bool,
        default: KeyDefault::Is("false"),
        environment: &["NODETALLY_DIRECTORY_KUBELET_INSECURE"],
        purpose: "Whether any certificate of the kubelet is accepted. A server that can answer \
            in its place then gets the token.",
    }
    DIRECTORY_KUBELET_TOKEN_FILE: "directory"."kubelet_token_file" {
        kind: TOKEN_FILE,
        default: KeyDefault::Is("/var/run/secrets/kubernetes.io/serviceaccount/token"),
        environment: &["NODETALLY_DIRECTORY_KUBELET_TOKEN_FILE"],
        secrecy: Secrecy::Place,
        purpose: "The token that is sent to the kubelet. It is read again for each request.",
    }
    DIRECTORY_CRI_SOCKET: "directory"."cri_socket" {
        kind: UNIX_SOCKET,
        default: KeyDefault::Unset(
            "not set: the first that is there of /run/containerd/containerd.sock, \
             /run/crio/crio.sock, /run/cri-dockerd.sock and \
             /run/k3s/containerd/containerd.sock"
        ),
        environment: &["NODETALLY_DIRECTORY_CRI_SOCKET"],
        purpose: "Where the container runtime (containerd, CRI-O) answers.",
    }
    DIRECTORY_FILE: "directory"."file" {
        kind: Kind::Path("the path of a TOML file of [[cgroup]] entries"),
        default: KeyDefault::Is("/etc/nodetally/names.toml"),
        environment: &["NODETALLY_DIRECTORY_FILE"],
        purpose: "Names for cgroups, by pattern. It is read again when it changes.",
    }
    DIRECTORY_DOCKER_SOCKET: "directory"."docker_socket" {
        kind: UNIX_SOCKET,
        default: KeyDefault::Is("/var/run/docker.sock"),
        environment: &["NODETALLY_DIRECTORY_DOCKER_SOCKET"],
        purpose: "Where Docker answers.",
    }
    DIRECTORY_PODMAN_SOCKET: "directory"."podman_socket" {
        kind: UNIX_SOCKET,
        default: KeyDefault::Is("/run/podman/podman.sock"),
        environment: &["NODETALLY_DIRECTORY_PODMAN_SOCKET"],
        purpose: "Where Podman answers.",
    }
    CLUSTER_ID: "cluster"."id" {
        kind: PLAIN_NAME,
        default: KeyDefault::Is("default"),
        environment: &["NODETALLY_CLUSTER_ID"],
        purpose: "The cluster's id in the pod batch API. Kubernetes itself has no name for a \
            cluster.",
    }
    CLUSTER_NAME: "cluster"."name" {
        kind: PLAIN_NAME,
        default: KeyDefault::Computed("the cluster's id"),
        environment: &["NODETALLY_CLUSTER_NAME"],
        purpose: "The cluster's name beside the id.",
    }
    CLUSTER_PROVIDER: "cluster"."provider" {
        kind: PLAIN_NAME,
        default: KeyDefault::Unset("not set: from the node's providerID"),
        environment: &["NODETALLY_CLUSTER_PROVIDER"],
        purpose: "The provider of the nodes' machines.",
    }
    CLUSTER_REGION: "cluster"."region" {
        kind: PLAIN_NAME,
        default: KeyDefault::Unset("not set: from the node's label topology.kubernetes.io/region"),
        environment: &["NODETALLY_CLUSTER_REGION"],
        purpose: "The region of the cluster.",
    }
    CLUSTER_ZONE: "cluster"."zone" {
        kind: PLAIN_NAME,
        default: KeyDefault::Unset("not set: from the node's label topology.kubernetes.io/zone"),
        environment: &["NODETALLY_CLUSTER_ZONE"],
        purpose: "The zone of the node.",
    }
    CLUSTER_LABELS: "cluster"."labels" {
        kind: Kind::List { of: &Kind::KeyAndValue, max: 32, items: "texts KEY=VALUE" },
        default: KeyDefault::Is(""),
        environment: &["NODETALLY_CLUSTER_LABELS"],
        purpose: "Labels of the cluster in the pod batch API.",
    }
    FILESYSTEM_POD_USAGE: "filesystem"."pod_usage" {
        kind: Kind::Bool,
        default: KeyDefault::Is("true"),
        environment: &["NODETALLY_FILESYSTEM_POD_USAGE"],
        purpose: "Whether the writable layers, emptyDir volumes and logs of pods are measured, \
            on a thread of its own that yields to all other I/O.",
    }
    FILESYSTEM_ENTRIES_PER_SECOND: "filesystem"."entries_per_second" {
        kind: Kind::Count { min: 10, max: 100_000 },
        default: KeyDefault::Is("2000"),
        environment: &["NODETALLY_FILESYSTEM_ENTRIES_PER_SECOND"],
        purpose: "The most files and directories that are looked at in a second.",
    }
    FILESYSTEM_REFRESH: "filesystem"."refresh" {
        kind: Kind::Duration { min: Duration::from_secs(10), max: DAY, examples: "\"5m\"" },
        default: KeyDefault::Is("5m"),
        environment: &["NODETALLY_FILESYSTEM_REFRESH"],
        purpose: "The shortest time from one measurement of a directory to the next.",
    }
    FILESYSTEM_KUBELET_DIR: "filesystem"."kubelet_dir" {
        kind: Kind::AbsolutePath("a directory of the host"),
        default: KeyDefault::Is("/var/lib/kubelet"),
        environment: &["NODETALLY_FILESYSTEM_KUBELET_DIR"],
        purpose: "Where the kubelet keeps the pods' volumes.",
    }
    STATE_DIR: "state"."dir" {
        kind: Kind::OrNone(&DIRECTORY_PATH, "to keep no state"),
        default: KeyDefault::Computed(
            "\"/run/nodetally\" for root, else \"$XDG_RUNTIME_DIR/nodetally\", else \
             \"none\""
        ),
        environment: &["NODETALLY_STATE_DIR"],
        flag: flag("state-dir", "DIR", FlagCommands::Run),
        purpose: "Where the last counters are kept, so that a restart of the agent is no gap. \
            Counters hold within one boot only, so a directory that is emptied at boot \
            (tmpfs) is the right place.",
    }
    SPOOL_DIR: "spool"."dir" {
        kind: Kind::OrNone(&DIRECTORY_PATH, "to keep what waits in memory alone"),
        default: KeyDefault::Computed(
            "\"$STATE_DIRECTORY/spool\" under systemd; \"spool\" below state.dir where that \
             is set; else \"/var/lib/nodetally/spool\" for root, and for others \
             \"$XDG_STATE_HOME/nodetally/spool\", \"~/.local/state/nodetally/spool\" or \
             \"none\""
        ),
        environment: &["NODETALLY_SPOOL_DIR"],
        purpose: "Where samples wait for endpoints that do not answer. It has to outlive a boot, \
            so a disk is the right place. Nothing is written there while all endpoints are \
            healthy.",
    }
    STATUS_LISTEN: "status"."listen" {
        kind: Kind::OrNone(&Kind::Address { examples: "\"127.0.0.1:7644\"" }, ""),
        default: KeyDefault::Is("none"),
        environment: &["NODETALLY_STATUS_LISTEN"],
        purpose: "Where `run` serves /healthz, /readyz, its own metrics at /metrics, and the \
            answer of `nodetally status` at /status.",
    }
    STATUS_SOCKET: "status"."socket" {
        kind: Kind::OrNone(&Kind::SocketPath, ""),
        default: KeyDefault::Computed(
            "\"status.sock\" in state.dir; \"none\" without one, or where its path would be \
             too long"
        ),
        environment: &["NODETALLY_STATUS_SOCKET"],
        purpose: "Where `run` serves the same to its own user and root. `nodetally status` asks \
            there.",
    }
    METRICS_LISTEN: "metrics"."listen" {
        kind: Kind::OrNone(&Kind::Address { examples: "\"127.0.0.1:9753\"" }, ""),
        default: KeyDefault::Is("none"),
        environment: &["NODETALLY_METRICS_LISTEN"],
        purpose: "Where `run` serves the metrics of node, pods, containers and units at /metrics, \
            for Prometheus and whatever else scrapes.",
    }
    METRICS_SOCKET: "metrics"."socket" {
        kind: Kind::OrNone(&Kind::SocketPath, ""),
        default: KeyDefault::Is("none"),
        environment: &["NODETALLY_METRICS_SOCKET"],
        purpose: "The unix socket where `run` serves the same, without TLS, to its own user and \
            root.",
    }
    METRICS_TLS_CERTIFICATE_FILE: "metrics"."tls_certificate_file" {
        kind: Kind::SecretPath("a PEM file"),
        condition: "together with tls_key_file and listen",
        default: NO_TLS,
        environment: &["NODETALLY_METRICS_TLS_CERTIFICATE_FILE"],
        purpose: "The certificate of the server at metrics.listen, then those between it and its \
            CA. It is read again when it changes.",
    }
    METRICS_TLS_KEY_FILE: "metrics"."tls_key_file" {
        kind: Kind::SecretPath("a PEM file without a passphrase"),
        condition: "together with tls_certificate_file and listen",
        default: NO_TLS,
        environment: &["NODETALLY_METRICS_TLS_KEY_FILE"],
        secrecy: Secrecy::Place,
        purpose: "The key of that certificate. It is read again when it changes.",
    }
    METRICS_BEARER_TOKEN_FILE: "metrics"."bearer_token_file" {
        kind: TOKEN_FILE,
        condition: "together with listen or socket",
        default: KeyDefault::Unset("not set: everybody who reaches the address may read"),
        environment: &["NODETALLY_METRICS_BEARER_TOKEN_FILE"],
        secrecy: Secrecy::Place,
        purpose: "The file of the token that a request must carry as `Authorization: Bearer`, \
            but for /healthz. It is read again when it changes.",
    }
    METRICS_PROCESSES: "metrics"."processes" {
        kind: Kind::Count { min: 0, max: 1000 },
        default: KeyDefault::Is("0"),
        environment: &["NODETALLY_METRICS_PROCESSES"],
        purpose: "Metrics of this many processes with the most CPU time, and of as many with the most \
            memory. The others are summed by owner. 0: no metrics of processes.",
    }
    LOG_LEVEL: "log"."level" {
        kind: Kind::Choice(LogLevel::WORDS),
        default: KeyDefault::Is("info"),
        environment: &["NODETALLY_LOG_LEVEL"],
        flag: flag("log-level", "LEVEL", FlagCommands::All),
        purpose: "How much is logged. If it is not set, the levels in the variable RUST_LOG count, such \
            as \"info,nodetally::delivery=debug\".",
    }
    LOG_FORMAT: "log"."format" {
        kind: Kind::Choice(LogFormat::WORDS),
        default: KeyDefault::Is("auto"),
        environment: &["NODETALLY_LOG_FORMAT"],
        flag: flag("log-format", "FORMAT", FlagCommands::All),
        purpose: "The format of log lines. auto: for journald (priorities, no time) where it reads \
            standard error, else text.",
    }
    ENDPOINT_NAME: "endpoint"."name" {
        kind: Kind::Name { chars_max: 63 },
        default: KeyDefault::Required("required; \"env\" for the endpoint that the environment sets"),
        purpose: "The endpoint's name in logs and state. It has to be unique.",
    }
    ENDPOINT_DIALECT: "endpoint"."dialect" {
        kind: Kind::Choice(Dialect::WORDS),
        default: KeyDefault::Is("resource-api"),
        environment: &["NODETALLY_ENDPOINT_DIALECT"],
        purpose: "The API that the endpoint speaks.",
    }
    ENDPOINT_URL: "endpoint"."url" {
        kind: Kind::Destination { example: "http://metrics.example.com:5000" },
        condition: "with the dialect \"ndjson\" also \"stdout:\" or \"file:///PATH\"",
        default: KeyDefault::Required("required"),
        environment: &["NODETALLY_ENDPOINT_URL"],
        secrecy: Secrecy::Url,
        purpose: "The address below which the dialect's paths are found; or the file to which lines are \
            appended.",
    }
    ENDPOINT_ROTATE_BYTES: "endpoint"."rotate_bytes" {
        kind: Kind::OrNone(
            &Kind::Bytes { min: Bytes::from_kibibytes(1 << 10), max: Bytes::from_kibibytes(64 << 20), example: "64MiB" },
            "where another program rotates the file",
        ),
        condition: "with a file:// URL",
        default: KeyDefault::Is("64MiB"),
        environment: &["NODETALLY_ENDPOINT_ROTATE_BYTES"],
        purpose: "The size at which the file is renamed to PATH.1 and a new one is begun.",
    }
    ENDPOINT_ROTATE_KEEP: "endpoint"."rotate_keep" {
        kind: Kind::Count { min: 1, max: 100 },
        condition: "with a file:// URL and rotate_bytes",
        default: KeyDefault::Is("5"),
        environment: &["NODETALLY_ENDPOINT_ROTATE_KEEP"],
        purpose: "The number of renamed files that are kept: PATH.1 is the newest.",
    }
    ENDPOINT_PROTOCOL: "endpoint"."protocol" {
        kind: Kind::Choice(Protocol::WORDS),
        condition: "of prometheus-remote-write alone",
        default: KeyDefault::Is("auto"),
        environment: &["NODETALLY_ENDPOINT_PROTOCOL"],
        purpose: "The version of remote write. \"auto\" begins with 2.0, and goes on with 1.0 where the \
            server does not know that.",
    }
    ENDPOINT_EXTERNAL_LABELS: "endpoint"."external_labels" {
        kind: Kind::List { of: &Kind::KeyAndValue, max: 32, items: "texts LABEL=VALUE" },
        condition: "of prometheus-remote-write alone",
        default: KeyDefault::Is(""),
        environment: &["NODETALLY_ENDPOINT_EXTERNAL_LABELS"],
        purpose: "Labels of every series, such as \"cluster=prod\". They win over `job` and `instance`, \
            and never over a label that the series has itself.",
    }
    ENDPOINT_COUNTERS: "endpoint"."counters" {
        kind: Kind::Choice(Counters::WORDS),
        condition: "with the dialects \"resource-api\", \"pod-batch\" and \"ndjson\"; with \"ndjson\" only \
            \"delta\"",
        default: KeyDefault::Is("delta"),
        environment: &["NODETALLY_ENDPOINT_COUNTERS"],
        purpose: "Whether disk and network counters are sent as the bytes of the interval or as \
            running totals.",
    }
    ENDPOINT_TEMPORALITY: "endpoint"."temporality" {
        kind: Kind::Choice(Counters::WORDS),
        condition: "with the dialect \"otlp\"",
        default: KeyDefault::Computed("\"cumulative\""),
        environment: &["NODETALLY_ENDPOINT_TEMPORALITY"],
        purpose: "Whether counters are sent as running totals, as Prometheus needs them, or as the \
            amounts since the last sample. What can also fall is sent as it is.",
    }
    ENDPOINT_MAX_REQUEST_BYTES: "endpoint"."max_request_bytes" {
        kind: Kind::Bytes { min: Bytes::from_kibibytes(64), max: Bytes::from_kibibytes(64 << 10), example: "4MiB" },
        condition: "with the dialect \"otlp\"",
        default: KeyDefault::Is("4MiB"),
        environment: &["NODETALLY_ENDPOINT_MAX_REQUEST_BYTES"],
        purpose: "The largest body, before it is compressed. What is more goes into further requests. \
            Receivers of gRPC and many of HTTP refuse more than 4 MiB.",
    }
    ENDPOINT_TIMEOUT: "endpoint"."timeout" {
        kind: Kind::Duration { min: Duration::from_millis(100), max: Duration::from_secs(5 * 60), examples: "\"10s\"" },
        default: KeyDefault::Is("10s"),
        environment: &["NODETALLY_ENDPOINT_TIMEOUT"],
        purpose: "The longest time for one request and its answer.",
    }
    ENDPOINT_CONCURRENCY: "endpoint"."concurrency" {
        kind: Kind::Count { min: 1, max: 64 },
        default: KeyDefault::Is("8"),
        environment: &["NODETALLY_ENDPOINT_CONCURRENCY"],
        purpose: "The most requests in flight at once.",
    }
    ENDPOINT_QUEUE_BYTES: "endpoint"."queue_bytes" {
        kind: Kind::Bytes { min: Bytes::from_kibibytes(64), max: Bytes::from_kibibytes(1 << 20), example: "16MiB" },
        default: KeyDefault::Is("16MiB"),
        environment: &["NODETALLY_ENDPOINT_QUEUE_BYTES"],
        purpose: "The room for the endpoint in memory: where durability is \"memory\", or the \
            disk fails. Beyond it the oldest is dropped. Files in state.dir take as much \
            again, which is memory too where that is a tmpfs.",
    }
    ENDPOINT_DURABILITY: "endpoint"."durability" {
        kind: Kind::Choice(Durability::WORDS),
        default: KeyDefault::Computed("\"disk\" where spool.dir is a directory, else \"memory\""),
        environment: &["NODETALLY_ENDPOINT_DURABILITY"],
        purpose: "Where samples wait while the endpoint does not accept them.",
    }
    ENDPOINT_SPOOL_BYTES: "endpoint"."spool_bytes" {
        kind: Kind::Bytes { min: Bytes::from_kibibytes(1 << 10), max: Bytes::from_kibibytes(64 << 20), example: "256MiB" },
        default: KeyDefault::Is("256MiB"),
        environment: &["NODETALLY_ENDPOINT_SPOOL_BYTES"],
        purpose: "The room for the endpoint on disk. Beyond it the oldest is dropped and \
            counted.",
    }
    ENDPOINT_SPOOL_AGE: "endpoint"."spool_age" {
        kind: Kind::Duration { min: MINUTE, max: Duration::from_secs(30 * 24 * 60 * 60), examples: "\"24h\"" },
        default: KeyDefault::Is("24h"),
        environment: &["NODETALLY_ENDPOINT_SPOOL_AGE"],
        purpose: "The longest time that a sample waits for the endpoint, on disk or in memory. \
            After it the sample is dropped and counted.",
    }
    ENDPOINT_STALE_AFTER: "endpoint"."stale_after" {
        kind: Kind::Duration { min: SECOND, max: Duration::from_secs(30 * 24 * 60 * 60), examples: "\"1m\"" },
        condition: "of resource-api alone",
        default: KeyDefault::Computed("\"1m\", at least four intervals"),
        environment: &["NODETALLY_ENDPOINT_STALE_AFTER"],
        former: &["endpoint.late_after"],
        purpose: "The oldest that a sample may be for a server that files it under the time at \
            which it comes, as those of the resource API do. The other dialects carry \
            their own time.",
    }
    ENDPOINT_STALE: "endpoint"."stale" {
        kind: Kind::Choice(StalePolicy::WORDS),
        condition: "of resource-api alone; \"add\" only with counters = \"delta\"",
        default: KeyDefault::Computed("\"add\", with counters = \"cumulative\" \"drop\""),
        environment: &["NODETALLY_ENDPOINT_STALE"],
        former: &["endpoint.late"],
        purpose: "What becomes of samples older than stale_after: their bytes and CPU time are \
            added up and sent as one sample; they are dropped and counted; or each is \
            sent, and filed under a wrong time.",
    }
    ENDPOINT_TRIES_MAX: "endpoint"."tries_max" {
        kind: Kind::Count { min: 1, max: 100 },
        default: KeyDefault::Is("3"),
        environment: &["NODETALLY_ENDPOINT_TRIES_MAX"],
        purpose: "How often a post is tried before it is given up. A post that the resource API \
            answers with 500, which can be for good, is given up at once then. A post that \
            fails in another way while the endpoint accepts others is given up after ten \
            minutes at the earliest, and so is one that blocks the queue. An endpoint that \
            accepts nothing is retried for as long as samples may wait.",
    }
    ENDPOINT_SPREAD: "endpoint"."spread" {
        kind: Kind::Duration { min: Duration::ZERO, max: HOUR, examples: "\"5s\"" },
        condition: "at most sampling.interval",
        default: KeyDefault::Computed("half of sampling.interval, at most \"30s\""),
        environment: &["NODETALLY_ENDPOINT_SPREAD"],
        purpose: "The time over which nodes spread their sending. All nodes sample in the same \
            instant; each then waits for its own part of this time, which depends on its \
            name. The first sample of a run is sent at once.",
    }
    ENDPOINT_UNKNOWN_PODS: "endpoint"."unknown_pods" {
        kind: Kind::Choice(UnknownPods::WORDS),
        default: KeyDefault::Computed(
            "\"wait\" where directory.sources has one that knows pods, else \"uid\""
        ),
        environment: &["NODETALLY_ENDPOINT_UNKNOWN_PODS"],
        purpose: "What happens to a pod whose name is not known: it is sent once it becomes \
            known, with everything counted until then; or under its uid; or not at all.",
    }
    ENDPOINT_UNKNOWN_NAMESPACE: "endpoint"."unknown_namespace" {
        kind: Kind::Namespace,
        default: KeyDefault::Is("unknown"),
        environment: &["NODETALLY_ENDPOINT_UNKNOWN_NAMESPACE"],
        purpose: "The namespace of a pod that is sent under its uid.",
    }
    ENDPOINT_BEARER_TOKEN_FILE: "endpoint"."bearer_token_file" {
        kind: TOKEN_FILE,
        default: NO_TOKEN,
        environment: &["NODETALLY_ENDPOINT_BEARER_TOKEN_FILE"],
        secrecy: Secrecy::Place,
        purpose: "The file of the secret that is sent in `auth_header`. In a file of its own, \
            neither the configuration nor a process list shows it. It is read again when \
            it changes and when the endpoint answers 401.",
    }
    ENDPOINT_BEARER_TOKEN_ENV: "endpoint"."bearer_token_env" {
        kind: Kind::TokenVariable,
        condition: "in place of bearer_token_file",
        default: NO_TOKEN,
        environment: &["NODETALLY_ENDPOINT_BEARER_TOKEN_ENV"],
        secrecy: Secrecy::Place,
        purpose: "The environment variable of the secret that is sent in `auth_header`. It is \
            read at the start.",
    }
    ENDPOINT_AUTH_HEADER: "endpoint"."auth_header" {
        kind: Kind::TokenHeader,
        condition: "together with bearer_token_file or bearer_token_env",
        default: KeyDefault::Is("Authorization"),
        environment: &["NODETALLY_ENDPOINT_AUTH_HEADER"],
        secrecy: Secrecy::Place,
        purpose: "The header that carries the token: `Authorization` as `Bearer` and the token, \
            any other the token alone.",
    }
    ENDPOINT_HEADERS: "endpoint"."headers" {
        kind: Kind::Headers,
        default: KeyDefault::Unset("not set: no further headers"),
        environment: &["NODETALLY_ENDPOINT_HEADERS"],
        secrecy: Secrecy::Place,
        purpose: "Headers of every request, such as the tenant. `nodetally config` hides the values.",
    }
    ENDPOINT_HEADER_FILES: "endpoint"."header_files" {
        kind: Kind::HeaderFiles,
        default: KeyDefault::Unset("not set: no further headers"),
        environment: &["NODETALLY_ENDPOINT_HEADER_FILES"],
        secrecy: Secrecy::Place,
        purpose: "Headers of every request whose values are secret: each file holds the whole value, \
            which is read again when the file changes and when the endpoint answers 401.",
    }
    ENDPOINT_CA_FILE: "endpoint"."ca_file" {
        kind: Kind::SecretPath("a file of PEM certificates"),
        condition: "with an https:// URL",
        default: KeyDefault::Unset("not set: the CAs that the system trusts"),
        environment: &["NODETALLY_ENDPOINT_CA_FILE"],
        purpose: "The CAs that may sign the endpoint's certificate. The system's CAs are then \
            not trusted for it. It is read again when it changes.",
    }
    ENDPOINT_CLIENT_CERTIFICATE_FILE: "endpoint"."client_certificate_file" {
        kind: Kind::SecretPath("a PEM file"),
        condition: "together with client_key_file, with an https:// URL",
        default: NO_CERTIFICATE,
        environment: &["NODETALLY_ENDPOINT_CLIENT_CERTIFICATE_FILE"],
        purpose: "The certificate that the endpoint is shown, then those between it and its CA. \
            It is read again when it changes.",
    }
    ENDPOINT_CLIENT_KEY_FILE: "endpoint"."client_key_file" {
        kind: Kind::SecretPath("a PEM file without a passphrase"),
        condition: "together with client_certificate_file, with an https:// URL",
        default: NO_CERTIFICATE,
        environment: &["NODETALLY_ENDPOINT_CLIENT_KEY_FILE"],
        secrecy: Secrecy::Place,
        purpose: "The key of the client certificate.",
    }
    ENDPOINT_SERVER_NAME: "endpoint"."server_name" {
        kind: Kind::DnsName,
        condition: "with an https:// URL",
        default: KeyDefault::Unset("not set: the URL's host"),
        environment: &["NODETALLY_ENDPOINT_SERVER_NAME"],
        purpose: "The name that the endpoint is asked for (SNI and `Host`) and that its \
            certificate must be for, while the connection goes to the URL's host.",
    }
    ENDPOINT_COMPRESSION: "endpoint"."compression" {
        kind: Kind::Choice(Compression::WORDS),
        condition: "with the dialects \"resource-api\" and \"prometheus-remote-write\" only \"none\"",
        default: KeyDefault::Computed("\"none\"; with the dialect \"otlp\" \"gzip\""),
        environment: &["NODETALLY_ENDPOINT_COMPRESSION"],
        purpose: "The encoding of bodies of 1 KiB and more. Only receivers of OTLP are known to \
            unpack gzip.",
    }
    ENDPOINT_NAMESPACES: "endpoint"."namespaces" {
        kind: NAMESPACES,
        default: KeyDefault::Is(""),
        environment: &["NODETALLY_ENDPOINT_NAMESPACES"],
        purpose: "Only pods of these namespaces are sent; of all, where none is named.",
    }
    ENDPOINT_NAMESPACES_EXCEPT: "endpoint"."namespaces_except" {
        kind: NAMESPACES,
        default: KeyDefault::Is(""),
        environment: &["NODETALLY_ENDPOINT_NAMESPACES_EXCEPT"],
        purpose: "Pods of these namespaces are not sent.",
    }
    ENDPOINT_POD_SELECTOR: "endpoint"."pod_selector" {
        kind: Kind::Text {
            bytes_max: 4096,
            what: "a label selector of Kubernetes, such as \"app=web,tier in (front,back),!canary\"",
        },
        default: KeyDefault::Is(""),
        environment: &["NODETALLY_ENDPOINT_POD_SELECTOR"],
        purpose: "Only pods whose labels it selects are sent; all, where it is empty.",
    }
    ENDPOINT_ANNOTATIONS: "endpoint"."annotations" {
        kind: Kind::List {
            of: &Kind::Text { bytes_max: 317, what: "an annotation key" },
            max: 64,
            items: "annotation keys, of which the last character may be \"*\"",
        },
        default: KeyDefault::Is(""),
        environment: &["NODETALLY_ENDPOINT_ANNOTATIONS"],
        purpose: "The annotations that the pod batch API is sent.",
    }
    ENDPOINT_EXTRAS: "endpoint"."extras" {
        kind: Kind::Bool,
        default: KeyDefault::Is("true"),
        environment: &["NODETALLY_ENDPOINT_EXTRAS"],
        purpose: "Whether the resource API is sent more than its document asks for: uid, QoS \
            class, workload, labels, containers.",
    }
    ENDPOINT_CLIENT_ERRORS: "endpoint"."client_errors" {
        kind: Kind::Choice(ClientErrors::WORDS),
        default: KeyDefault::Is("drop"),
        environment: &["NODETALLY_ENDPOINT_CLIENT_ERRORS"],
        purpose: "What becomes of a post that is answered with a 4xx (but 408, 425 and 429, \
            which are always retried): it is dropped and counted, or retried as after a \
            5xx.",
    }
    RECEIVER_LISTEN: "receiver"."listen" {
        kind: Kind::Address { examples: "\"127.0.0.1:7643\" or \"[::1]:7643\"" },
        default: KeyDefault::Is("127.0.0.1:7643"),
        environment: &["NODETALLY_RECEIVER_LISTEN"],
        flag: flag("listen", "ADDRESS", FlagCommands::Run),
        purpose: "Where the embedded receiver answers. It runs only while no endpoint is \
            configured.",
    }
    RECEIVER_TLS_CERTIFICATE_FILE: "receiver"."tls_certificate_file" {
        kind: Kind::SecretPath("a PEM file"),
        condition: "together with tls_key_file",
        default: NO_TLS,
        environment: &["NODETALLY_RECEIVER_TLS_CERTIFICATE_FILE"],
        purpose: "The certificate of the receiver, then those between it and its CA. It is read again \
            when it changes.",
    }
    RECEIVER_TLS_KEY_FILE: "receiver"."tls_key_file" {
        kind: Kind::SecretPath("a PEM file without a passphrase"),
        condition: "together with tls_certificate_file",
        default: NO_TLS,
        environment: &["NODETALLY_RECEIVER_TLS_KEY_FILE"],
        secrecy: Secrecy::Place,
        purpose: "The key of that certificate. It is read again when it changes.",
    }
    RECEIVER_TOKENS_FILE: "receiver"."tokens_file" {
        kind: Kind::SecretPath("a file of tokens"),
        default: KeyDefault::Unset("not set: everybody who reaches the address may read and write"),
        environment: &["NODETALLY_RECEIVER_TOKENS_FILE"],
        secrecy: Secrecy::Place,
        purpose: "The tokens of those who may read and write, by their hashes, each with a role. It is \
            read again when it changes.",
    }
    RECEIVER_REQUESTHEADER_CLIENT_CA_FILE: "receiver"."requestheader_client_ca_file" {
        kind: Kind::SecretPath("a file of PEM certificates"),
        condition: "together with tls_certificate_file and tokens_file",
        default: KeyDefault::Unset("not set: X-Remote-User counts for nothing"),
        environment: &["NODETALLY_RECEIVER_REQUESTHEADER_CLIENT_CA_FILE"],
        purpose: "The CA of the Kubernetes API server's front proxy. A request with a certificate of it and \
            the header X-Remote-User may read metrics.k8s.io without a token. It is read again when \
            it changes.",
    }
    RECEIVER_REQUESTHEADER_ALLOWED_NAMES: "receiver"."requestheader_allowed_names" {
        kind: Kind::List {
            of: &Kind::Text { bytes_max: 253, what: "a common name" },
            max: 64,
            items: "common names",
        },
        condition: "together with requestheader_client_ca_file",
        default: KeyDefault::Is(""),
        environment: &["NODETALLY_RECEIVER_REQUESTHEADER_ALLOWED_NAMES"],
        purpose: "The common names that such a certificate may have. With an empty list it may have any.",
    }
    RECEIVER_TOKEN_REVIEW: "receiver"."token_review" {
        kind: Kind::Bool,
        condition: "together with tokens_file",
        default: KeyDefault::Is("false"),
        environment: &["NODETALLY_RECEIVER_TOKEN_REVIEW"],
        purpose: "Whether the Kubernetes API server is asked whose a token is that is not in tokens_file. \
            Its service account must then be in a line of that file.",
    }
    RECEIVER_INSECURE: "receiver"."insecure" {
        kind: Kind::Bool,
        default: KeyDefault::Is("false"),
        environment: &["NODETALLY_RECEIVER_INSECURE"],
        flag: flag("insecure", "", FlagCommands::Run),
        purpose: "Whether the receiver may listen on an address that other hosts reach without TLS and \
            tokens. It then has what of the two is configured.",
    }
    RECEIVER_STORE: "receiver"."store" {
        kind: Kind::OrNone(&Kind::Store, "to keep an hour in memory"),
        default: KeyDefault::Computed(
            "\"$STATE_DIRECTORY/receiver.db\" under systemd; \"receiver.db\" below state.dir where \
             that is set; else \"/var/lib/nodetally/receiver.db\" for root, and for others \
             \"$XDG_STATE_HOME/nodetally/receiver.db\", \"~/.local/state/nodetally/receiver.db\" or \
             \"none\""
        ),
        environment: &["NODETALLY_RECEIVER_STORE"],
        flag: flag("store", "FILE|URL", FlagCommands::Run),
        secrecy: Secrecy::Url,
        purpose: "The database of the receiver. What was answered 2xx is in it, also after a crash. A \
            file needs a local disk. A PostgreSQL database may be that of several receivers.",
    }
    RECEIVER_RETENTION: "receiver"."retention" {
        kind: Kind::Duration { min: MINUTE, max: NINETY_DAYS, examples: "\"1h\" or \"30days\"" },
        default: KeyDefault::Computed("\"90days\", or \"1h\" in memory"),
        environment: &["NODETALLY_RECEIVER_RETENTION"],
        purpose: "How far back the receiver can answer. Samples are kept for a day, means of a minute \
            for a week, means of an hour beyond.",
    }
    RECEIVER_STALE_AFTER: "receiver"."stale_after" {
        kind: Kind::Duration { min: SECOND, max: DAY, examples: "\"60s\"" },
        default: KeyDefault::Computed("\"60s\", or four sampling intervals where that is longer"),
        environment: &["NODETALLY_RECEIVER_STALE_AFTER"],
        purpose: "The oldest that a node's or pod's last values may be before the receiver \
            leaves it out as gone.",
    }
}

/// The key of this name in this section.
pub(super) fn find(section: &str, name: &str) -> Option<&'static Key> {
    KEYS.iter().copied().find(|key| key.section == section && key.name == name)
}

/// The keys of one section, in the order of [`KEYS`].
pub fn in_section(section: &str) -> impl Iterator<Item = &'static Key> {
    KEYS.iter().copied().filter(move |key| key.section == section)
}

/// The sections, in the order of [`KEYS`].
#[must_use]
pub fn sections() -> Vec<&'static str> {
    let mut sections: Vec<&'static str> = KEYS.iter().map(|key| key.section).collect();
    sections.dedup();
    sections
}

/// The key that had this `section.name` in a former release.
pub(super) fn successor(path: &str) -> Option<&'static Key> {
    KEYS.iter().copied().find(|key| key.former.contains(&path))
}

/// The key that this variable set in a former release.
pub(super) fn successor_of_variable(name: &str) -> Option<&'static Key> {
    KEYS.iter().copied().find(|key| {
        key.former.iter().any(|path| {
            let upper = path.replace('.', "_").to_ascii_uppercase();
            name.strip_prefix(VARIABLE_PREFIX) == Some(upper.as_str())
        })
    })
}
