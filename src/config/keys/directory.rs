//! Who pods are, and what cluster they belong to.

use super::{Key, Secret};

/// `sources` in `[directory]`; its `purpose` says what for.
pub const SOURCES: Key = Key {
    section: "directory",
    name: "sources",
    allowed: "a list of \"kubernetes\", \"kubelet\", \"cri\", \"file\", \"docker\" and \"podman\", \
              each once; in a variable with commas between",
    default: "[\"kubernetes\"] in a pod (where KUBERNETES_SERVICE_HOST is set), else []",
    environment: &["NODETALLY_DIRECTORY_SOURCES"],
    flag: None,
    secret: Secret::No,
    purpose: "Who is asked for the names of pods and containers. Of a pod that several know, the \
              first in this order is believed. None of them holds up a sample.",
};

/// `kubeconfig` in `[directory]`; its `purpose` says what for.
pub const KUBECONFIG: Key = Key {
    section: "directory",
    name: "kubeconfig",
    allowed: "the path of a kubeconfig file",
    default: "not set: the service account of the pod that the agent runs in",
    environment: &["NODETALLY_DIRECTORY_KUBECONFIG"],
    flag: None,
    secret: Secret::Place,
    purpose: "How the API server is reached from outside a pod: its current context is used.",
};

/// `annotation_bytes_max` in `[directory]`; its `purpose` says what for.
pub const ANNOTATION_BYTES_MAX: Key = Key {
    section: "directory",
    name: "annotation_bytes_max",
    allowed: "from 0 to 64KiB: an integer of bytes, or a text such as \"1KiB\"",
    default: "\"1KiB\"",
    environment: &["NODETALLY_DIRECTORY_ANNOTATION_BYTES_MAX"],
    flag: None,
    secret: Secret::No,
    purpose: "Annotations with a longer value are not kept.",
};

/// `kubelet_url` in `[directory]`; its `purpose` says what for.
pub const KUBELET_URL: Key = Key {
    section: "directory",
    name: "kubelet_url",
    allowed: "an https:// URL without a user, password or fragment, such as \
              \"https://127.0.0.1:10250\"",
    default: "\"https://127.0.0.1:10250\"",
    environment: &["NODETALLY_DIRECTORY_KUBELET_URL"],
    flag: None,
    secret: Secret::Url,
    purpose: "Where this node's kubelet answers, by a name or address that its certificate is for.",
};

/// `kubelet_ca_file` in `[directory]`; its `purpose` says what for.
pub const KUBELET_CA_FILE: Key = Key {
    section: "directory",
    name: "kubelet_ca_file",
    allowed: "the path of a file of PEM certificates",
    default: "\"/var/run/secrets/kubernetes.io/serviceaccount/ca.crt\"",
    environment: &["NODETALLY_DIRECTORY_KUBELET_CA_FILE"],
    flag: None,
    secret: Secret::No,
    purpose: "Who signs the kubelet's serving certificate.",
};

/// `kubelet_insecure` in `[directory]`; its `purpose` says what for.
pub const KUBELET_INSECURE: Key = Key {
    section: "directory",
    name: "kubelet_insecure",
    allowed: "true or false",
    default: "false",
    environment: &["NODETALLY_DIRECTORY_KUBELET_INSECURE"],
    flag: None,
    secret: Secret::No,
    purpose: "Whether any certificate of the kubelet is believed. Whoever can answer in its place \
              then gets the token.",
};

/// `kubelet_token_file` in `[directory]`; its `purpose` says what for.
pub const KUBELET_TOKEN_FILE: Key = Key {
    section: "directory",
    name: "kubelet_token_file",
    allowed: "the absolute path of a file that holds the token alone, or \
              \"${CREDENTIALS_DIRECTORY}/NAME\" for a credential from systemd",
    default: "\"/var/run/secrets/kubernetes.io/serviceaccount/token\"",
    environment: &["NODETALLY_DIRECTORY_KUBELET_TOKEN_FILE"],
    flag: None,
    secret: Secret::Place,
    purpose: "The token that the kubelet is shown. It is read anew for each question.",
};

/// `cri_socket` in `[directory]`; its `purpose` says what for.
pub const CRI_SOCKET: Key = Key {
    section: "directory",
    name: "cri_socket",
    allowed: "the absolute path of a unix socket",
    default: "not set: the first that is there of /run/containerd/containerd.sock, \
              /run/crio/crio.sock, /run/cri-dockerd.sock and /run/k3s/containerd/containerd.sock",
    environment: &["NODETALLY_DIRECTORY_CRI_SOCKET"],
    flag: None,
    secret: Secret::No,
    purpose: "Where the container runtime (containerd, CRI-O) answers.",
};

/// `file` in `[directory]`; its `purpose` says what for.
pub const FILE: Key = Key {
    section: "directory",
    name: "file",
    allowed: "the path of a TOML file of [[cgroup]] entries",
    default: "\"/etc/nodetally/names.toml\"",
    environment: &["NODETALLY_DIRECTORY_FILE"],
    flag: None,
    secret: Secret::No,
    purpose: "Names for cgroups, by pattern. It is read again when it changes.",
};

/// `docker_socket` in `[directory]`; its `purpose` says what for.
pub const DOCKER_SOCKET: Key = Key {
    section: "directory",
    name: "docker_socket",
    allowed: "the absolute path of a unix socket",
    default: "\"/var/run/docker.sock\"",
    environment: &["NODETALLY_DIRECTORY_DOCKER_SOCKET"],
    flag: None,
    secret: Secret::No,
    purpose: "Where Docker answers.",
};

/// `podman_socket` in `[directory]`; its `purpose` says what for.
pub const PODMAN_SOCKET: Key = Key {
    section: "directory",
    name: "podman_socket",
    allowed: "the absolute path of a unix socket",
    default: "\"/run/podman/podman.sock\"",
    environment: &["NODETALLY_DIRECTORY_PODMAN_SOCKET"],
    flag: None,
    secret: Secret::No,
    purpose: "Where Podman answers.",
};

/// `id` in `[cluster]`; its `purpose` says what for.
pub const CLUSTER_ID: Key = Key {
    section: "cluster",
    name: "id",
    allowed: "1 to 253 letters, digits, \".\", \"_\" and \"-\", starting with a letter or digit",
    default: "\"default\"",
    environment: &["NODETALLY_CLUSTER_ID"],
    flag: None,
    secret: Secret::No,
    purpose: "What the pod batch API calls the cluster: Kubernetes itself has no name for one.",
};

/// `name` in `[cluster]`; its `purpose` says what for.
pub const CLUSTER_NAME: Key = Key {
    section: "cluster",
    name: "name",
    allowed: "1 to 253 letters, digits, \".\", \"_\" and \"-\", starting with a letter or digit",
    default: "the cluster's id",
    environment: &["NODETALLY_CLUSTER_NAME"],
    flag: None,
    secret: Secret::No,
    purpose: "The name beside the id.",
};

/// `provider` in `[cluster]`; its `purpose` says what for.
pub const CLUSTER_PROVIDER: Key = Key {
    section: "cluster",
    name: "provider",
    allowed: "1 to 253 letters, digits, \".\", \"_\" and \"-\", starting with a letter or digit",
    default: "not set: from the node's providerID",
    environment: &["NODETALLY_CLUSTER_PROVIDER"],
    flag: None,
    secret: Secret::No,
    purpose: "Whose machines the nodes are.",
};

/// `region` in `[cluster]`; its `purpose` says what for.
pub const CLUSTER_REGION: Key = Key {
    section: "cluster",
    name: "region",
    allowed: "1 to 253 letters, digits, \".\", \"_\" and \"-\", starting with a letter or digit",
    default: "not set: from the node's label topology.kubernetes.io/region",
    environment: &["NODETALLY_CLUSTER_REGION"],
    flag: None,
    secret: Secret::No,
    purpose: "The region of the cluster.",
};

/// `zone` in `[cluster]`; its `purpose` says what for.
pub const CLUSTER_ZONE: Key = Key {
    section: "cluster",
    name: "zone",
    allowed: "1 to 253 letters, digits, \".\", \"_\" and \"-\", starting with a letter or digit",
    default: "not set: from the node's label topology.kubernetes.io/zone",
    environment: &["NODETALLY_CLUSTER_ZONE"],
    flag: None,
    secret: Secret::No,
    purpose: "The zone of the node.",
};

/// `labels` in `[cluster]`; its `purpose` says what for.
pub const CLUSTER_LABELS: Key = Key {
    section: "cluster",
    name: "labels",
    allowed: "a list of up to 32 texts KEY=VALUE; in a variable with commas between",
    default: "[]",
    environment: &["NODETALLY_CLUSTER_LABELS"],
    flag: None,
    secret: Secret::No,
    purpose: "What else is said of the cluster.",
};
