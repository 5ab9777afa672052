//! `[directory]` and `[cluster]`: the sources of names, and the cluster of the node.

use std::path::PathBuf;

use super::choices::DirectorySource;
use super::endpoint_url::EndpointUrl;
use super::error::ConfigError;
use super::keys;
use super::layer::Resolver;
use crate::quantity::Bytes;

/// `[directory]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectorySettings {
    /// In the order in which they are believed; none twice.
    pub sources: Vec<DirectorySource>,
    /// The kubeconfig file; `None`: the pod's service account.
    pub kubeconfig: Option<PathBuf>,
    pub annotation_bytes_max: Bytes,
    /// An https URL, since a token is sent there.
    pub kubelet_url: EndpointUrl,
    pub kubelet_ca_file: PathBuf,
    pub kubelet_insecure: bool,
    pub kubelet_token_file: PathBuf,
    /// The socket of the runtime; `None`: the usual places are tried.
    pub cri_socket: Option<PathBuf>,
    pub file: PathBuf,
    pub docker_socket: PathBuf,
    pub podman_socket: PathBuf,
}

impl DirectorySettings {
    /// True if a source knows the pods of Kubernetes.
    #[must_use]
    pub fn knows_pods(&self) -> bool {
        use DirectorySource::{Cri, Kubelet, Kubernetes};
        self.sources.iter().any(|source| matches!(source, Kubernetes | Kubelet | Cri))
    }

    /// True if a source knows the addresses of pods, which the life-cycle API needs.
    #[must_use]
    pub fn knows_addresses(&self) -> bool {
        use DirectorySource::{Kubelet, Kubernetes};
        self.sources.iter().any(|source| matches!(source, Kubernetes | Kubelet))
    }

    /// `in_pod` is true if the agent runs in a pod.
    pub(super) fn resolve(resolver: &mut Resolver<'_>, in_pod: bool) -> Result<Self, ConfigError> {
        let sources = if in_pod { vec![DirectorySource::Kubernetes] } else { Vec::new() };
        Ok(Self {
            sources: resolver.get_or(&keys::DIRECTORY_SOURCES, sources)?,
            kubeconfig: resolver.find(&keys::DIRECTORY_KUBECONFIG)?,
            annotation_bytes_max: resolver.get(&keys::DIRECTORY_ANNOTATION_BYTES_MAX)?,
            kubelet_url: resolver.get(&keys::DIRECTORY_KUBELET_URL)?,
            kubelet_ca_file: resolver.get(&keys::DIRECTORY_KUBELET_CA_FILE)?,
            kubelet_insecure: resolver.get(&keys::DIRECTORY_KUBELET_INSECURE)?,
            kubelet_token_file: resolver.get(&keys::DIRECTORY_KUBELET_TOKEN_FILE)?,
            cri_socket: resolver.find(&keys::DIRECTORY_CRI_SOCKET)?,
            file: resolver.get(&keys::DIRECTORY_FILE)?,
            docker_socket: resolver.get(&keys::DIRECTORY_DOCKER_SOCKET)?,
            podman_socket: resolver.get(&keys::DIRECTORY_PODMAN_SOCKET)?,
        })
    }
}

/// `[cluster]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterSettings {
    pub id: String,
    pub name: String,
    /// The provider of the machines; `None`: from the node.
    pub provider: Option<String>,
    pub region: Option<String>,
    pub zone: Option<String>,
    pub labels: Vec<(String, String)>,
}

impl ClusterSettings {
    pub(super) fn resolve(resolver: &mut Resolver<'_>) -> Result<Self, ConfigError> {
        let id: String = resolver.get(&keys::CLUSTER_ID)?;
        Ok(Self {
            name: resolver.get_or(&keys::CLUSTER_NAME, id.clone())?,
            id,
            provider: resolver.find(&keys::CLUSTER_PROVIDER)?,
            region: resolver.find(&keys::CLUSTER_REGION)?,
            zone: resolver.find(&keys::CLUSTER_ZONE)?,
            labels: resolver.get(&keys::CLUSTER_LABELS)?,
        })
    }
}
