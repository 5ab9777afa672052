//! What a person gets for a configuration: the settings, or one line that says what is wrong.

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
        xdg_runtime_dir: None,
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
[state]
dir = "/var/lib/odd \"name\"\\"
[log]
level = "debug"
[[endpoint]]
name = "central"
dialect = "resource-api"
url = "https://metrics.example.com:5000/base"
counters = "cumulative"
timeout = "2s"
concurrency = 0x10
queue_bytes = 100_000
unknown_pods = "skip"
unknown_namespace = "nowhere"
bearer_token_file = "/etc/nodetally/token"
[receiver]
listen = "[::1]:0"
retention = "2h"
stale_after = "90s"
"#;
