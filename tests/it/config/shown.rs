//! `nodetally config` and the documentation.

use nodetally::cli::show_config::{TokenState, render};
use nodetally::config::{KEYS, Key, Settings, keys};

use crate::config::{EVERY_KEY, bare, from_file, inputs};

pub fn shown(settings: &Settings) -> String {
    render(settings, |_| TokenState::Set)
}

#[test]
fn config_shows_each_value_with_where_it_came_from() {
    let file = "[sampling]\ninterval = \"20s\"\n[[endpoint]]\nname = \"a\"\n\
                url = \"http://a/?key=hunter2\"\nbearer_token_file = \"/t\"";
    let mut inputs = inputs(Some(file), &[("NODETALLY_LOG_LEVEL", "debug")]);
    inputs.flags.set(&keys::STATE_DIR, "none");
    let settings = Settings::resolve(inputs).unwrap();
    let text = shown(&settings);
    let expected = r#"[node]
name = "box"                          # default: the host's name

[sampling]
interval = "20s"                      # nodetally.toml:2
process_io = false                    # default
tcp_sockets = true                    # default
cmdline = false                       # default

[paths]
procfs = "/proc"                      # default
sysfs = "/sys"                        # default
# cgroupfs: not set: the cgroup2 mount is found in mountinfo
rootfs = "/"                          # default

[directory]
sources = []                          # default
# kubeconfig: not set: the service account of the pod that the agent runs in
annotation_bytes_max = "1KiB"         # default
kubelet_url = "https://127.0.0.1:10250/"  # default
kubelet_ca_file = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt"  # default
kubelet_insecure = false              # default
kubelet_token_file = "/var/run/secrets/kubernetes.io/serviceaccount/token"  # default
# cri_socket: not set: the first that is there of /run/containerd/containerd.sock, /run/crio/crio.sock, /run/cri-dockerd.sock and /run/k3s/containerd/containerd.sock
file = "/etc/nodetally/names.toml"    # default
docker_socket = "/var/run/docker.sock"  # default
podman_socket = "/run/podman/podman.sock"  # default

[cluster]
id = "default"                        # default
name = "default"                      # default
# provider: not set: from the node's providerID
# region: not set: from the node's label topology.kubernetes.io/region
# zone: not set: from the node's label topology.kubernetes.io/zone
labels = []                           # default

[filesystem]
pod_usage = true                      # default
entries_per_second = 2000             # default
refresh = "5m"                        # default
kubelet_dir = "/var/lib/kubelet"      # default

[state]
dir = "none"                          # --state-dir

[spool]
dir = "none"                          # default

[status]
listen = "none"                       # default
socket = "none"                       # default

[metrics]
listen = "none"                       # default
socket = "none"                       # default
# tls_certificate_file: not set: plain HTTP
# tls_key_file: not set: plain HTTP
# bearer_token_file: not set: everybody who reaches the address may read
processes = 0                         # default

[log]
level = "debug"                       # environment NODETALLY_LOG_LEVEL
format = "auto"                       # default

[[endpoint]]
name = "a"                            # nodetally.toml:4
dialect = "resource-api"              # default
url = "http://a/?hidden"              # nodetally.toml:5
# rotate_bytes: "64MiB"
# rotate_keep: 5
# protocol: "auto"
# external_labels: []
counters = "delta"                    # default
# temporality: "cumulative"
# max_request_bytes: "4MiB"
timeout = "10s"                       # default
concurrency = 8                       # default
queue_bytes = "16MiB"                 # default
durability = "memory"                 # default
spool_bytes = "256MiB"                # default
spool_age = "1day"                    # default
stale_after = "1m 20s"                # default
stale = "add"                         # default
tries_max = 3                         # default
spread = "10s"                        # default
unknown_pods = "uid"                  # default
unknown_namespace = "unknown"         # default
bearer_token_file = "/t"              # nodetally.toml:6; token: set (hidden)
# bearer_token_env: not set: nothing is sent
auth_header = "Authorization"         # default
# headers: not set: no further headers
# header_files: not set: no further headers
# ca_file: not set: the CAs that the system trusts
# client_certificate_file: not set: no certificate is shown
# client_key_file: not set: no certificate is shown
# server_name: not set: the URL's host
compression = "none"                  # default
namespaces = []                       # default
namespaces_except = []                # default
pod_selector = ""                     # default
annotations = []                      # default
extras = true                         # default
client_errors = "drop"                # default

[receiver]  # off while an endpoint is configured
listen = "127.0.0.1:7643"             # default
# tls_certificate_file: not set: plain HTTP
# tls_key_file: not set: plain HTTP
# tokens_file: not set: everybody who reaches the address may read and write
# requestheader_client_ca_file: not set: X-Remote-User counts for nothing
requestheader_allowed_names = []      # default
token_review = false                  # default
insecure = false                      # default
store = "none"                        # default
retention = "1h"                      # default
stale_after = "1m 20s"                # default
"#;
    assert_eq!(text, expected);
    assert!(!format!("{settings:?}").contains("hunter2"));
}

#[test]
fn config_shows_every_key_and_reads_again_as_the_same_settings() {
    for file in [EVERY_KEY, "", "[[endpoint]]\nname = \"a\"\nurl = \"http://a\""] {
        let settings = from_file(file);
        let text = shown(&settings);
        assert_eq!(bare(&from_file(&text)), bare(&settings), "{text}");
        for key in KEYS.iter().filter(|key| key.section != "endpoint" || !file.is_empty()) {
            let lines = [format!("\n{} = ", key.name), format!("\n# {}: ", key.name)];
            assert!(lines.iter().any(|line| text.contains(line)), "{}", key.path());
        }
    }
}

#[test]
fn a_tokens_file_is_described_and_never_quoted() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    };
    assert_eq!(TokenState::of_file(&file("token", "hunter2\n")), TokenState::Set);
    assert_eq!(TokenState::of_file(&file("blank", " \n")), TokenState::Empty);
    for path in [dir.path().to_owned(), dir.path().join("absent")] {
        assert!(matches!(TokenState::of_file(&path), TokenState::Unreadable(_)), "{path:?}");
    }

    let token = file("token2", "hunter2");
    let text = format!(
        "[[endpoint]]\nname = \"a\"\nurl = \"http://a\"\nbearer_token_file = {:?}",
        token.display().to_string()
    );
    let text = render(&from_file(&text), TokenState::of_file);
    assert!(text.contains("token: set (hidden)") && !text.contains("hunter2"), "{text}");
}

/// One row of docs/configuration.md.
fn documented(key: &Key) -> String {
    let mut set_by: Vec<String> = key.environment.iter().map(|name| format!("`{name}`")).collect();
    set_by.extend(key.flag.map(|flag| format!("`--{}`", flag.long)));
    let set_by = set_by.join(", ");
    let (path, allowed, default) = (key.path(), key.allowed(), key.default_text());
    format!("| `{path}` | {} | {allowed} | {default} | {set_by} |\n", key.purpose)
}

/// `UPDATE_DOCS=1` rewrites the table instead.
#[test]
fn the_documentation_has_every_key_as_it_is_declared() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md");
    let document = std::fs::read_to_string(path).unwrap();
    let head = "|---|---|---|---|---|\n";
    let (before, table) = document.split_once(head).unwrap();
    let (_, after) = table.split_once("\n\n").unwrap();
    let rows: String = KEYS.iter().map(|key| documented(key)).collect();
    let expected = format!("{before}{head}{rows}\n{after}");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, &expected).unwrap();
    } else {
        assert!(
            document == expected,
            "the table of keys is out of date: UPDATE_DOCS=1 cargo test --test it documentation"
        );
    }
    let example = document.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next());
    assert_eq!(from_file(example.unwrap()).endpoints.len(), 1);
}

/// Each example of a configuration in the documentation can be used, and each dialect has one.
#[test]
fn every_example_of_the_documentation_is_a_configuration() {
    let docs = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let mut dialects = std::collections::BTreeSet::new();
    let mut count = 0;
    for page in [
        "apis.md",
        "configuration.md",
        "delivery.md",
        "kubelet-paths.md",
        "kubernetes.md",
        "metrics.md",
        "service.md",
        "wire/ndjson.md",
        "wire/otlp.md",
        "wire/remote-write.md",
    ] {
        let text = std::fs::read_to_string(docs.join(page)).unwrap();
        for block in text.split("```toml\n").skip(1) {
            let block = block.split("```").next().unwrap();
            // A line for an endpoint that is there.
            let endpoint = "[[endpoint]]\nname = \"x\"\nurl = \"https://x\"\n";
            let is_part = !block.contains('[');
            let file = if is_part { format!("{endpoint}{block}") } else { block.to_owned() };
            let mut variables = vec![("CREDENTIALS_DIRECTORY", "/run/credentials/x")];
            if page == "kubernetes.md" {
                // As components/metrics has it.
                variables.push(("NODETALLY_METRICS_LISTEN", "192.0.2.7:9753"));
            }
            let settings = Settings::resolve(inputs(Some(&file), &variables));
            let settings = settings.unwrap_or_else(|error| panic!("{page}: {error}\n{block}"));
            dialects.extend(settings.endpoints.iter().map(|endpoint| endpoint.dialect.as_str()));
            count += 1;
        }
    }
    assert!(count > 18, "{count}");
    let all = nodetally::payload::dialect::Dialect::WORDS;
    assert_eq!(dialects, all.iter().copied().collect());
}
