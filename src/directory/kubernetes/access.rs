//! The credentials and address of the API server: a pod's service account or a kubeconfig.

use std::path::PathBuf;

/// The folder of a pod's service account.
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// The credentials and address of the API server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ApiAccess {
    InCluster(ServiceAccount),
    /// A kubeconfig with client certificate, bearer token, token file or exec plugin.
    Kubeconfig(PathBuf),
}

/// A pod's credentials for the API server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceAccount {
    /// Holds `token` and `ca.crt`, both of which are read again when they change.
    pub folder: PathBuf,
    /// Host and port. `None`: those in the variables that the kubelet sets in a pod
    /// (`KUBERNETES_SERVICE_HOST`, `KUBERNETES_SERVICE_PORT`).
    pub server: Option<(String, u16)>,
}

impl Default for ServiceAccount {
    fn default() -> Self {
        Self { folder: SERVICE_ACCOUNT.into(), server: None }
    }
}

impl ServiceAccount {
    /// `HOST:PORT`
    pub(super) fn server(&self) -> Option<String> {
        let (host, port) = self.server.clone().or_else(|| {
            let host = std::env::var("KUBERNETES_SERVICE_HOST").ok()?;
            Some((host, std::env::var("KUBERNETES_SERVICE_PORT").ok()?.parse().ok()?))
        })?;
        let bare = host.contains(':') && !host.starts_with('[');
        Some(if bare { format!("[{host}]:{port}") } else { format!("{host}:{port}") })
    }
}

impl ApiAccess {
    /// ` at HOST:PORT` where it is known without a file, else ` of KUBECONFIG`, for error texts.
    pub(super) fn server_name(&self) -> String {
        match self {
            Self::InCluster(account) => {
                account.server().map_or_else(String::new, |server| format!(" at {server}"))
            }
            Self::Kubeconfig(path) => format!(" of {}", path.display()),
        }
    }

    /// The file with the CA that signs the server's certificate.
    pub(super) fn authority(&self) -> String {
        match self {
            Self::InCluster(account) => account.folder.join("ca.crt").display().to_string(),
            Self::Kubeconfig(path) => path.display().to_string(),
        }
    }

    /// The file with the credentials.
    pub(super) fn credentials(&self) -> String {
        match self {
            Self::InCluster(account) => account.folder.join("token").display().to_string(),
            Self::Kubeconfig(path) => path.display().to_string(),
        }
    }

    pub(super) fn credentials_not_accepted(&self) -> String {
        let from = self.credentials();
        match self {
            Self::InCluster(_) => format!("the API server does not accept the token in {from}"),
            Self::Kubeconfig(_) => {
                format!("the API server does not accept the credentials of {from}")
            }
        }
    }

    /// The account and the role that gives it rights, for error texts.
    pub(super) const fn who(&self) -> (&'static str, &'static str) {
        match self {
            Self::InCluster(_) => ("the service account", "the ClusterRole"),
            Self::Kubeconfig(_) => ("the kubeconfig's user", "its role"),
        }
    }
}
