//! Environment variables that are read and are no keys.

/// The prefix of every variable of this program.
pub const VARIABLE_PREFIX: &str = "NODETALLY_";
/// The path of the configuration file.
pub const CONFIG_VARIABLE: &str = "NODETALLY_CONFIG";
/// The node's name, which a pod's manifest usually fills from `spec.nodeName`.
pub const NODE_NAME_VARIABLE: &str = "NODE_NAME";
/// Set by the kubelet in every container of a pod.
pub const SERVICE_HOST_VARIABLE: &str = "KUBERNETES_SERVICE_HOST";
/// The directories in which systemd lets a service keep data over a boot.
pub const STATE_DIRECTORY_VARIABLE: &str = "STATE_DIRECTORY";
/// The directory in which systemd puts a service's credentials. A secret's path may begin with it.
pub const CREDENTIALS_VARIABLE: &str = "CREDENTIALS_DIRECTORY";
/// The beginning of a path in that directory.
pub(super) const CREDENTIALS: &str = "${CREDENTIALS_DIRECTORY}";
