//! The settings of a configuration, or the one line that says what is wrong.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test that cannot go on fails"
)]

mod arguments;
mod errors;
mod properties;
mod resolution;
mod secrets;
mod shown;

use std::path::PathBuf;

use nodetally::config::{Flags, Inputs, Origins, Settings};

type Variables = Vec<(String, String)>;

fn inputs(file: Option<&str>, environment: &[(&str, &str)]) -> Inputs<Variables> {
    Inputs {
        file: file.map(|text| (PathBuf::from("nodetally.toml"), text.to_owned())),
        environment: environment
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        flags: Flags::default(),
        host_name: "box".to_owned(),
        is_root: true,
        ..Inputs::default()
    }
}

fn from_file(text: &str) -> Settings {
    Settings::resolve(inputs(Some(text), &[])).unwrap()
}

fn error(inputs: Inputs<Variables>) -> String {
    Settings::resolve(inputs).unwrap_err().to_string()
}

/// The settings without where they came from.
fn bare(settings: &Settings) -> Settings {
    let mut bare = settings.clone();
    bare.origins = Origins::default();
    for endpoint in &mut bare.endpoints {
        endpoint.origins = Origins::default();
    }
    bare
}

/// A file that sets each key to something else than its default.
const EVERY_KEY: &str = r#"
[node]
name = "worker-1"
[sampling]
interval = "1m 30s"
process_io = true
tcp_sockets = false
cmdline = true
[paths]
procfs = "/host/proc"
sysfs = "/host/sys"
cgroupfs = "/host/sys/fs/cgroup"
rootfs = "/host"
[directory]
sources = ["cri", "kubelet"]
kubeconfig = "/etc/kubernetes/agent.conf"
annotation_bytes_max = 100
kubelet_url = "https://node:10250"
kubelet_ca_file = "/etc/kubelet-ca.crt"
kubelet_insecure = true
kubelet_token_file = "/etc/kubelet-token"
cri_socket = "/run/crio/crio.sock"
file = "/etc/names.toml"
docker_socket = "/run/docker.sock"
podman_socket = "/run/podman.sock"
[cluster]
id = "c-1"
name = "prod"
provider = "metal"
region = "eu"
zone = "eu-1"
labels = ["env=prod", "team=a \"b\""]
[filesystem]
pod_usage = false
entries_per_second = 100
refresh = "1h"
kubelet_dir = "/data/kubelet"
[status]
listen = "127.0.0.1:7644"
socket = "/run/agent/status.sock"
[metrics]
listen = "127.0.0.1:9753"
socket = "/run/agent/metrics.sock"
tls_certificate_file = "/etc/nodetally/metrics.crt"
tls_key_file = "/etc/nodetally/metrics.key"
bearer_token_file = "/etc/nodetally/metrics.token"
processes = 10
[state]
dir = "/var/lib/odd \"name\"\\"
[spool]
dir = "/data/spool"
[log]
level = "debug"
format = "json"
[[endpoint]]
name = "central"
dialect = "pod-batch"
url = "https://metrics.example.com:5000/base"
counters = "cumulative"
timeout = "2s"
concurrency = 0x10
queue_bytes = 100_000
unknown_pods = "skip"
unknown_namespace = "nowhere"
bearer_token_file = "/etc/nodetally/token"
auth_header = "X-API-Key"
ca_file = "/etc/nodetally/ca.pem"
client_certificate_file = "/etc/nodetally/client.pem"
client_key_file = "/etc/nodetally/client.key"
server_name = "metrics.internal"
compression = "zstd"
namespaces = ["shop", "web"]
namespaces_except = ["kube-system"]
pod_selector = "app in (web,db),!canary"
annotations = ["prometheus.io/*"]
extras = false
client_errors = "retry"
durability = "memory"
spool_bytes = "1GiB"
spool_age = "2h"
tries_max = 5
spread = "3s"
[[endpoint]]
name = "other"
url = "http://other"
stale_after = "10m"
stale = "send"
# What cannot stand beside a token's file.
bearer_token_env = "BROKER_TOKEN"
[[endpoint]]
name = "collector"
dialect = "otlp"
url = "https://collector"
temporality = "delta"
max_request_bytes = "1MiB"
# The value is shown like this, so that it reads again as the same.
headers = { "X-Scope-OrgID" = "(hidden)" }
header_files = { "X-API-Key" = "/etc/nodetally/key" }
[[endpoint]]
name = "push"
url = "http://push/api/v1/write"
dialect = "prometheus-remote-write"
protocol = "1.0"
external_labels = ["cluster=prod"]
[[endpoint]]
name = "lines"
url = "file:///var/log/a%20b"
dialect = "ndjson"
rotate_bytes = 2097152
rotate_keep = 3
[receiver]
listen = "[::1]:0"
tls_certificate_file = "/etc/nodetally/receiver.pem"
tls_key_file = "/etc/nodetally/receiver.key"
tokens_file = "/etc/nodetally/tokens"
requestheader_client_ca_file = "/etc/nodetally/front-proxy-ca.pem"
requestheader_allowed_names = ["front-proxy-client", "aggregator"]
token_review = true
insecure = true
store = "/var/lib/receiver.db"
retention = "2h"
stale_after = "90s"
"#;
