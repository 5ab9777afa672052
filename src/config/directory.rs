//! `[directory]` and `[cluster]`: who pods are, and what cluster they belong to.

use std::path::PathBuf;

use super::choices::DirectorySource;
use super::endpoint_url::EndpointUrl;
use super::error::ConfigError;
use super::keys::directory as keys;
use super::layer::{Layers, Origins};
use super::value::{self, Raw};
use crate::quantity::Bytes;

/// Where a pod finds its service account.
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// `[directory]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectorySettings {
    /// In the order in which they are believed; none twice.
    pub sources: Vec<DirectorySource>,
    /// `None`: the pod's service account.
    pub kubeconfig: Option<PathBuf>,
    pub annotation_bytes_max: Bytes,
    /// https, since a token goes there.
    pub kubelet_url: EndpointUrl,
    pub kubelet_ca_file: PathBuf,
    pub kubelet_insecure: bool,
    pub kubelet_token_file: PathBuf,
    /// `None`: where the runtimes usually answer.
    pub cri_socket: Option<PathBuf>,
    pub file: PathBuf,
    pub docker_socket: PathBuf,
    pub podman_socket: PathBuf,
}

impl DirectorySettings {
    /// Whether a source is among them that knows the pods of Kubernetes.
    #[must_use]
    pub fn knows_pods(&self) -> bool {
        use DirectorySource::{Cri, Kubelet, Kubernetes};
        self.sources.iter().any(|source| matches!(source, Kubernetes | Kubelet | Cri))
    }

    /// Whether one is among them that knows their addresses too, without which a life cycle cannot
    /// be told.
    #[must_use]
    pub fn knows_addresses(&self) -> bool {
        use DirectorySource::{Kubelet, Kubernetes};
        self.sources.iter().any(|source| matches!(source, Kubernetes | Kubelet))
    }
}

/// `[cluster]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterSettings {
    pub id: String,
    pub name: String,
    /// `None`: what the node says.
    pub provider: Option<String>,
    pub region: Option<String>,
    pub zone: Option<String>,
    pub labels: Vec<(String, String)>,
}

/// `in_pod`: whether the agent runs in a pod.
pub(super) fn directory(
    layers: &Layers,
    origins: &mut Origins,
    in_pod: bool,
    credentials: Option<&str>,
) -> Result<DirectorySettings, ConfigError> {
    let sources = layers.get(&keys::SOURCES, origins, |raw| {
        let sources =
            value::list(raw, usize::MAX, |raw| value::choice(raw, DirectorySource::from_word))?;
        let twice = sources.iter().enumerate().find(|(at, one)| sources[..*at].contains(one));
        match twice {
            Some((_, one)) => Err(format!("\"{}\" stands there twice", one.as_str())),
            None => Ok(sources),
        }
    })?;
    let default = if in_pod { vec![DirectorySource::Kubernetes] } else { Vec::new() };
    let mut socket = |key, default: &str| {
        layers.get_or(key, origins, PathBuf::from(default), value::absolute_path)
    };
    let docker_socket = socket(&keys::DOCKER_SOCKET, "/var/run/docker.sock")?;
    let podman_socket = socket(&keys::PODMAN_SOCKET, "/run/podman/podman.sock")?;
    let ca_file = PathBuf::from(format!("{SERVICE_ACCOUNT}/ca.crt"));
    let token_file = PathBuf::from(format!("{SERVICE_ACCOUNT}/token"));
    let kubelet_url = layers.get(&keys::KUBELET_URL, origins, |raw| https_url(raw.text()?))?;
    let kubelet_url = match kubelet_url {
        Some(url) => url,
        None => https_url("https://127.0.0.1:10250").map_err(|reason| ConfigError::new(&reason))?,
    };
    Ok(DirectorySettings {
        sources: sources.unwrap_or(default),
        kubeconfig: layers.get(&keys::KUBECONFIG, origins, value::path)?,
        annotation_bytes_max: layers.get_or(
            &keys::ANNOTATION_BYTES_MAX,
            origins,
            Bytes::from_kibibytes(1),
            |raw| value::bytes(raw, Bytes::ZERO..=Bytes::from_kibibytes(64)),
        )?,
        kubelet_url,
        kubelet_ca_file: layers.get_or(&keys::KUBELET_CA_FILE, origins, ca_file, value::path)?,
        kubelet_insecure: layers.get_or(&keys::KUBELET_INSECURE, origins, false, value::boolean)?,
        kubelet_token_file: layers.get_or(
            &keys::KUBELET_TOKEN_FILE,
            origins,
            token_file,
            |raw| value::secret_path(raw, credentials),
        )?,
        cri_socket: layers.get(&keys::CRI_SOCKET, origins, value::absolute_path)?,
        file: layers.get_or(
            &keys::FILE,
            origins,
            PathBuf::from("/etc/nodetally/names.toml"),
            value::path,
        )?,
        docker_socket,
        podman_socket,
    })
}

fn https_url(text: &str) -> Result<EndpointUrl, String> {
    let url = EndpointUrl::parse(text)?;
    match url.as_url().scheme() {
        "https" => Ok(url),
        _ => Err("not https, and a token goes there".to_owned()),
    }
}

pub(super) fn cluster(
    layers: &Layers,
    origins: &mut Origins,
) -> Result<ClusterSettings, ConfigError> {
    let name = |raw: &Raw| value::plain_name(raw, 253);
    let id = layers.get_or(&keys::CLUSTER_ID, origins, "default".to_owned(), name)?;
    Ok(ClusterSettings {
        name: layers.get_or(&keys::CLUSTER_NAME, origins, id.clone(), name)?,
        id,
        provider: layers.get(&keys::CLUSTER_PROVIDER, origins, name)?,
        region: layers.get(&keys::CLUSTER_REGION, origins, name)?,
        zone: layers.get(&keys::CLUSTER_ZONE, origins, name)?,
        labels: layers.get_or(&keys::CLUSTER_LABELS, origins, Vec::new(), |raw| {
            value::list(raw, 32, value::key_and_value)
        })?,
    })
}
