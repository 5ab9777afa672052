//! `nodetally config`: the settings as resolved, as TOML, each line with where it came from.
//!
//! What is printed reads again as the same settings, but for the query of an endpoint's URL, which
//! may hold a key and is hidden.

use std::fmt::Write as _;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::{
    ClusterSettings, DirectorySettings, EndpointSettings, Key, Origin, Origins, Settings,
    format_bytes, keys, one_line,
};

/// What can be told of a token's file without telling the token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenState {
    Set,
    Empty,
    /// With the reason.
    Unreadable(String),
}

impl TokenState {
    /// Looks at the file at `path`. Reads of it no more than shows whether it holds anything.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "a token's file is no file of the kernel's")]
    pub fn of_file(path: &Path) -> Self {
        // Opening a FIFO would wait for somebody to write.
        let opened = fs::metadata(path).and_then(|metadata| match metadata.is_file() {
            true => fs::File::open(path),
            false => Err(std::io::Error::other("not a regular file")),
        });
        let mut start = Vec::new();
        match opened.and_then(|file| file.take(4096).read_to_end(&mut start)) {
            Err(reason) => Self::Unreadable(reason.to_string()),
            Ok(_) if start.trim_ascii().is_empty() => Self::Empty,
            Ok(_) => Self::Set,
        }
    }

    fn shown(&self) -> String {
        match self {
            Self::Set => "token: set (hidden)".to_owned(),
            Self::Empty => "token: empty".to_owned(),
            Self::Unreadable(reason) => format!("token: unreadable ({reason})"),
        }
    }
}

/// The settings as TOML. `token_state` says what is known of a token's file, usually
/// [`TokenState::of_file`].
#[must_use]
pub fn render(settings: &Settings, token_state: impl Fn(&Path) -> TokenState) -> String {
    let mut page = Page::default();
    let origins = &settings.origins;
    let quoted_path = |path: &Path| toml_string(&path.to_string_lossy());

    page.header("[node]");
    page.value(&keys::NODE_NAME, toml_string(&settings.node.name), origins);

    page.header("[sampling]");
    page.value(&keys::SAMPLING_INTERVAL, toml_duration(settings.sampling.interval), origins);
    page.value(&keys::SAMPLING_PROCESS_IO, settings.sampling.process_io.to_string(), origins);
    page.value(&keys::SAMPLING_TCP_SOCKETS, settings.sampling.tcp_sockets.to_string(), origins);
    page.value(&keys::SAMPLING_CMDLINE, settings.sampling.cmdline.to_string(), origins);

    page.header("[paths]");
    page.value(&keys::PATHS_PROCFS, quoted_path(&settings.paths.procfs), origins);
    page.value(&keys::PATHS_SYSFS, quoted_path(&settings.paths.sysfs), origins);
    match &settings.paths.cgroupfs {
        Some(path) => page.value(&keys::PATHS_CGROUPFS, quoted_path(path), origins),
        None => page.unset(&keys::PATHS_CGROUPFS),
    }
    page.value(&keys::PATHS_ROOTFS, quoted_path(&settings.paths.rootfs), origins);

    page.directory(&settings.directory, origins);
    page.cluster(&settings.cluster, origins);

    page.header("[filesystem]");
    let filesystem = &settings.filesystem;
    page.value(&keys::FILESYSTEM_POD_USAGE, filesystem.pod_usage.to_string(), origins);
    let entries = filesystem.entries_per_second.to_string();
    page.value(&keys::FILESYSTEM_ENTRIES_PER_SECOND, entries, origins);
    page.value(&keys::FILESYSTEM_REFRESH, toml_duration(filesystem.refresh), origins);
    page.value(&keys::FILESYSTEM_KUBELET_DIR, quoted_path(&filesystem.kubelet_dir), origins);

    page.header("[state]");
    let dir = settings.state.dir.as_deref();
    page.value(&keys::STATE_DIR, dir.map_or_else(|| toml_string("none"), quoted_path), origins);

    page.header("[spool]");
    let dir = settings.spool.dir.as_deref();
    let dir = dir.map_or_else(|| toml_string("none"), quoted_path);
    page.value(&keys::delivery::SPOOL_DIR, dir, origins);

    page.header("[status]");
    let listen = settings.status.listen.map_or("none".to_owned(), |address| address.to_string());
    page.value(&keys::STATUS_LISTEN, toml_string(&listen), origins);
    let socket = settings.status.socket.as_deref();
    let socket = socket.map_or_else(|| toml_string("none"), quoted_path);
    page.value(&keys::STATUS_SOCKET, socket, origins);

    page.header("[log]");
    page.value(&keys::LOG_LEVEL, toml_string(settings.log.level.as_str()), origins);

    if settings.uses_embedded_receiver() {
        page.header("# no [[endpoint]]: `run` starts the receiver below and sends to it");
    }
    for endpoint in &settings.endpoints {
        page.endpoint(endpoint, &token_state);
    }

    page.header(if settings.uses_embedded_receiver() {
        "[receiver]"
    } else {
        "[receiver]  # off while an endpoint is configured"
    });
    let receiver = &settings.receiver;
    page.value(&keys::RECEIVER_LISTEN, toml_string(&receiver.listen.to_string()), origins);
    page.value(&keys::RECEIVER_RETENTION, toml_duration(receiver.retention), origins);
    page.value(&keys::RECEIVER_STALE_AFTER, toml_duration(receiver.stale_after), origins);
    page.text
}

#[derive(Default)]
struct Page {
    text: String,
}

impl Page {
    fn header(&mut self, header: &str) {
        let blank = if self.text.is_empty() { "" } else { "\n" };
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(self.text, "{blank}{header}");
    }

    fn value(&mut self, key: &Key, value: String, origins: &Origins) {
        self.line(key, &value, &origins.of(key).to_string());
    }

    fn line(&mut self, key: &Key, value: &str, comment: &str) {
        let assignment = format!("{} = {value}", key.name);
        let _ = writeln!(self.text, "{assignment:<36}  # {}", one_line(comment));
    }

    fn unset(&mut self, key: &Key) {
        let _ = writeln!(self.text, "# {}: {}", key.name, key.default);
    }

    fn directory(&mut self, directory: &DirectorySettings, origins: &Origins) {
        use keys::directory as key;
        let path = |path: &Path| toml_string(&path.to_string_lossy());
        self.header("[directory]");
        let sources = directory.sources.iter().map(|source| source.as_str());
        self.value(&key::SOURCES, toml_list(sources), origins);
        match &directory.kubeconfig {
            Some(file) => self.value(&key::KUBECONFIG, path(file), origins),
            None => self.unset(&key::KUBECONFIG),
        }
        let bytes = toml_string(&format_bytes(directory.annotation_bytes_max));
        self.value(&key::ANNOTATION_BYTES_MAX, bytes, origins);
        self.value(&key::KUBELET_URL, toml_string(&directory.kubelet_url.to_string()), origins);
        self.value(&key::KUBELET_CA_FILE, path(&directory.kubelet_ca_file), origins);
        self.value(&key::KUBELET_INSECURE, directory.kubelet_insecure.to_string(), origins);
        self.value(&key::KUBELET_TOKEN_FILE, path(&directory.kubelet_token_file), origins);
        match &directory.cri_socket {
            Some(socket) => self.value(&key::CRI_SOCKET, path(socket), origins),
            None => self.unset(&key::CRI_SOCKET),
        }
        self.value(&key::FILE, path(&directory.file), origins);
        self.value(&key::DOCKER_SOCKET, path(&directory.docker_socket), origins);
        self.value(&key::PODMAN_SOCKET, path(&directory.podman_socket), origins);
    }

    fn cluster(&mut self, cluster: &ClusterSettings, origins: &Origins) {
        use keys::directory as key;
        self.header("[cluster]");
        self.value(&key::CLUSTER_ID, toml_string(&cluster.id), origins);
        self.value(&key::CLUSTER_NAME, toml_string(&cluster.name), origins);
        let from_the_node = [
            (&key::CLUSTER_PROVIDER, &cluster.provider),
            (&key::CLUSTER_REGION, &cluster.region),
            (&key::CLUSTER_ZONE, &cluster.zone),
        ];
        for (key, value) in from_the_node {
            match value {
                Some(value) => self.value(key, toml_string(value), origins),
                None => self.unset(key),
            }
        }
        let labels: Vec<String> =
            cluster.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        self.value(&key::CLUSTER_LABELS, toml_list(labels.iter().map(String::as_str)), origins);
    }

    fn scope(&mut self, endpoint: &EndpointSettings) {
        use keys::endpoint as key;
        let (origins, scope) = (&endpoint.origins, &endpoint.scope);
        let lists = [
            (&key::NAMESPACES, &scope.namespaces),
            (&key::NAMESPACES_EXCEPT, &scope.namespaces_except),
        ];
        for (key, list) in lists {
            self.value(key, toml_list(list.iter().map(String::as_str)), origins);
        }
        self.value(&key::POD_SELECTOR, toml_string(&scope.pod_selector), origins);
        let annotations = toml_list(scope.annotations.iter().map(String::as_str));
        self.value(&key::ANNOTATIONS, annotations, origins);
        self.value(&key::EXTRAS, scope.extras.to_string(), origins);
        let client_errors = toml_string(endpoint.client_errors.as_str());
        self.value(&key::CLIENT_ERRORS, client_errors, origins);
    }

    fn waiting(&mut self, endpoint: &EndpointSettings) {
        use keys::delivery as key;
        let (waiting, origins) = (&endpoint.waiting, &endpoint.origins);
        self.value(&key::DURABILITY, toml_string(waiting.durability.as_str()), origins);
        let spool_bytes = toml_string(&format_bytes(waiting.spool_bytes));
        self.value(&key::SPOOL_BYTES, spool_bytes, origins);
        self.value(&key::SPOOL_AGE, toml_duration(waiting.spool_age), origins);
        if endpoint.dialect.profile().timestamps.merge().is_some() {
            self.value(&key::STALE_AFTER, toml_duration(waiting.stale_after), origins);
            self.value(&key::STALE, toml_string(waiting.stale.as_str()), origins);
        } else {
            self.unset(&key::STALE_AFTER);
            self.unset(&key::STALE);
        }
        self.value(&key::TRIES_MAX, waiting.tries_max.to_string(), origins);
        self.value(&key::SPREAD, toml_duration(waiting.spread), origins);
    }

    fn trust(&mut self, endpoint: &EndpointSettings) {
        use keys::trust as key;
        let (origins, trust) = (&endpoint.origins, &endpoint.trust);
        let client = trust.client_certificate.as_ref();
        let path = |path: &PathBuf| toml_string(&path.to_string_lossy());
        let values = [
            (&key::CA_FILE, trust.ca_file.as_ref().map(path)),
            (&key::CLIENT_CERTIFICATE_FILE, client.map(|client| path(&client.certificate))),
            (&key::CLIENT_KEY_FILE, client.map(|client| path(&client.key))),
            (&key::SERVER_NAME, trust.server_name.as_deref().map(toml_string)),
        ];
        for (key, value) in values {
            match value {
                Some(value) => self.value(key, value, origins),
                None => self.unset(key),
            }
        }
        self.value(&key::COMPRESSION, toml_string(trust.compression.as_str()), origins);
    }

    fn endpoint(
        &mut self,
        endpoint: &EndpointSettings,
        token_state: &impl Fn(&Path) -> TokenState,
    ) {
        let origins = &endpoint.origins;
        self.header("[[endpoint]]");
        self.value(&keys::ENDPOINT_NAME, toml_string(&endpoint.name), origins);
        let dialect = toml_string(endpoint.dialect.as_str());
        self.value(&keys::ENDPOINT_DIALECT, dialect, origins);
        self.value(&keys::ENDPOINT_URL, toml_string(&endpoint.url.to_string()), origins);
        let counters = toml_string(endpoint.counters.as_str());
        self.value(&keys::ENDPOINT_COUNTERS, counters, origins);
        self.value(&keys::ENDPOINT_TIMEOUT, toml_duration(endpoint.timeout), origins);
        self.value(&keys::ENDPOINT_CONCURRENCY, endpoint.concurrency.to_string(), origins);
        let queue = toml_string(&format_bytes(endpoint.queue_bytes));
        self.value(&keys::ENDPOINT_QUEUE_BYTES, queue, origins);
        self.waiting(endpoint);
        let unknown_pods = toml_string(endpoint.unknown_pods.as_str());
        self.value(&keys::ENDPOINT_UNKNOWN_PODS, unknown_pods, origins);
        let namespace = toml_string(&endpoint.unknown_namespace);
        self.value(&keys::ENDPOINT_UNKNOWN_NAMESPACE, namespace, origins);
        let key = &keys::ENDPOINT_BEARER_TOKEN_FILE;
        match &endpoint.bearer_token_file {
            Some(path) => {
                let origin: &Origin = origins.of(key);
                let comment = format!("{origin}; {}", token_state(path).shown());
                self.line(key, &toml_string(&path.to_string_lossy()), &comment);
            }
            None => self.unset(key),
        }
        let key = &keys::trust::BEARER_TOKEN_ENV;
        match &endpoint.trust.bearer_token_env {
            // The variable's name, not what it holds.
            Some(name) => self.value(key, toml_string(name), origins),
            None => self.unset(key),
        }
        let key = &keys::endpoint::AUTH_HEADER;
        match endpoint.bearer_token_file.is_some() || endpoint.trust.bearer_token_env.is_some() {
            true => self.value(key, toml_string(&endpoint.auth_header), origins),
            false => self.unset(key),
        }
        self.trust(endpoint);
        self.scope(endpoint);
    }
}

fn toml_list<'t>(items: impl Iterator<Item = &'t str>) -> String {
    let items: Vec<String> = items.map(toml_string).collect();
    format!("[{}]", items.join(", "))
}

fn toml_duration(duration: Duration) -> String {
    toml_string(&humantime::format_duration(duration).to_string())
}

/// The text as a basic string of TOML.
fn toml_string(text: &str) -> String {
    let mut string = String::with_capacity(text.len() + 2);
    string.push('"');
    for c in text.chars() {
        match c {
            '"' => string.push_str("\\\""),
            '\\' => string.push_str("\\\\"),
            '\n' => string.push_str("\\n"),
            '\t' => string.push_str("\\t"),
            // Direction and line marks are legal TOML, but a terminal would act on them.
            _ if c.is_control() || one_line(c.encode_utf8(&mut [0; 4])).starts_with('\\') => {
                let _ = write!(string, "\\U{:08X}", u32::from(c));
            }
            _ => string.push(c),
        }
    }
    string.push('"');
    string
}
